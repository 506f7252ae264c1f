"""Texts that are not TOML: one message, at the place."""

from pathlib import Path

import pytest

from blkrun import config


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (b"a = 1\nb = =\n", (2, 5), "invalid value"),
        (b"[server\n", (1, 8), "expected ']' at the end of a table declaration"),
        (b'a = """\nx\n\n', (2, 2), "unterminated string"),
        (b"\xef\xbb\xbfa = 1\n", (1, 1), "the file begins with a byte order mark"),
        (b'a = "\xc3\xa9"\nb = "\xe9"\n', (2, 6), "byte 0xe9 is not UTF-8"),
        (b"\xff\xfea\x00", (1, 1), "byte 0xff is not UTF-8"),
        (b"a = 1\x00\n", (1, 6), "expected newline or end of document after a statement"),
    ],
)
def test_syntax_error(text: bytes, place: tuple[int, int], message: str) -> None:
    """The reason tomllib gives, or a better one, with line and column."""
    (one,) = config.check(text, Path("a.toml"))
    assert (one.line, one.column) == place
    assert one.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "place", "message", "first"),
    [
        ("[nodes.a]\nx = 1\n[nodes.a]\n", (3, 1), "nodes.a is written twice", (1, 8)),
        ("[a]\nx = 1\ny = 2\nx = 3\n", (4, 5), "a.x is written twice", (2, 1)),
        ("b.c = 1\nb.c = 2\n", (2, 7), "b.c is written twice", (1, 3)),
    ],
)
def test_written_twice(
    text: str, place: tuple[int, int], message: str, first: tuple[int, int]
) -> None:
    """The likeliest slip of all names the key and shows the first place."""
    (one,) = config.check(text, Path("a.toml"))
    assert (one.line, one.column, one.message) == (*place, message)
    assert one.related is not None
    assert (one.related.line, one.related.column) == first


def test_nested_too_deeply() -> None:
    """Brackets without end are an error and not a crash."""
    (one,) = config.check("a = " + "[" * 5000 + "]" * 5000, Path("a.toml"))
    assert (one.line, one.message) == (0, "arrays or tables are nested too deeply")
