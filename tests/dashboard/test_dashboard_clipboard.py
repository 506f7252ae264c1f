"""OSC 52 through tmux and screen: what comes out on the other side."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.model.clipboard import through_multiplexer


def copy_of(text: str) -> str:
    """As a terminal wants it."""
    return f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"


@given(st.text())
def test_tmux_hands_on_what_is_in_the_wrapping(text: str) -> None:
    """With every escape doubled, as its manual says."""
    wrapped = through_multiplexer(text, {"TMUX": "/tmp/tmux-0/default,1,0", "STY": "1.a"})
    inside = wrapped.removeprefix("\x1bPtmux;").removesuffix("\x1b\\")
    assert inside.replace("\x1b\x1b", "\x1b") == copy_of(text)
    assert inside.count("\x1b") == 2


@given(st.text(max_size=5000))
def test_screen_gets_pieces_that_it_takes(text: str) -> None:
    """None is longer than its bound; together they are the whole."""
    wrapped = through_multiplexer(text, {"STY": "123.pts-0"})
    pieces = wrapped.removesuffix("\x1b\\").split("\x1b\\")
    assert all(len(piece) < 768 for piece in pieces)
    assert all(piece.startswith("\x1bP") for piece in pieces)
    assert "".join(piece.removeprefix("\x1bP") for piece in pieces) == copy_of(text)


@pytest.mark.parametrize("environ", [{}, {"TMUX": ""}, {"TERM": "screen"}])
def test_nothing_is_between(environ: dict[str, str]) -> None:
    """Then nothing is said twice."""
    assert through_multiplexer("text", environ) == ""
