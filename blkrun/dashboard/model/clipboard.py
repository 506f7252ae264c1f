"""Copying by OSC 52 inside tmux and screen, which keep it to themselves unless it is wrapped."""

import base64
from collections.abc import Mapping

_SCREEN_PIECE = 700
"""screen drops strings of more than 768 bytes."""

_BEGIN, _END = "\x1bP", "\x1b\\"


def through_multiplexer(text: str, environ: Mapping[str, str]) -> str:
    """What the terminal outside has to be told besides; ``""`` where there is nothing between.

    tmux takes an ordinary OSC 52 with ``set-clipboard on``, and hands a wrapped one on with
    ``allow-passthrough on``: either may be set.
    """
    copy = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    if environ.get("TMUX"):
        return f"{_BEGIN}tmux;{copy.replace(chr(27), chr(27) * 2)}{_END}"
    if environ.get("STY"):
        pieces = (copy[at : at + _SCREEN_PIECE] for at in range(0, len(copy), _SCREEN_PIECE))
        return "".join(f"{_BEGIN}{piece}{_END}" for piece in pieces)
    return ""
