"""Screens as text, kept beside the tests: what is on them, and in which style each cell is.

``BLKRUN_WRITE_SCREENS=1 pytest tests/dashboard`` writes those that differ; git shows the change.
"""

import io
import os
import string
from itertools import groupby
from pathlib import Path
from typing import cast

from rich.console import Console, ConsoleRenderable
from rich.style import Style
from textual.app import App

WRITING = bool(os.environ.get("BLKRUN_WRITE_SCREENS"))
KEPT = Path(__file__).with_name("screens")
_MARKS = (
    string.ascii_lowercase + string.ascii_uppercase + string.digits + "+-*/=<>!?%&@#~^:;,()[]{}"
)


def _cells(app: App[str]) -> list[list[tuple[str, Style]]]:
    """Rows of (text, style), as they are on the terminal."""
    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    compositor = app.screen._compositor
    update = compositor.render_update(full=True, screen_stack=app._background_screens)
    rows: list[list[tuple[str, Style]]] = [[]]
    for segment in console.render(cast(ConsoleRenderable, update)):
        if segment.control:
            continue
        for number, part in enumerate(segment.text.split("\n")):
            if number:
                rows.append([])
            if part:
                rows[-1].append((part, segment.style or Style()))
    return rows[:height]


def screen_rows(app: App[str]) -> list[str]:
    """Every row as it is written, blanks and all."""
    return ["".join(text for text, _ in row) for row in _cells(app)]


def screen_text(app: App[str]) -> str:
    """What can be read, one line a row, ends stripped."""
    return "\n".join(row.rstrip() for row in screen_rows(app)) + "\n"


def screen_styles(app: App[str]) -> str:
    """The text, a letter for the style of each cell, and what the letters mean."""
    rows = _cells(app)
    names: dict[str, str] = {}
    marks = []
    for row in rows:
        line = ""
        for description, run in groupby(row, key=lambda cell: _description(cell[1])):
            mark = names.setdefault(description, _MARKS[len(names) % len(_MARKS)])
            line += mark * sum(len(text) for text, _ in run)
        marks.append(line)
    legend = [f"{mark}  {description}" for description, mark in names.items()]
    return "\n".join([screen_text(app), *marks, "", *legend]) + "\n"


def _description(style: Style) -> str:
    fore = style.color.name if style.color else "default"
    back = style.bgcolor.name if style.bgcolor else "default"
    words = [
        word for word in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, word)
    ]
    return " ".join([f"{fore} on {back}", *words])


def assert_kept(name: str, shown: str) -> None:
    """It is what it was when somebody last looked at it."""
    path = KEPT / f"{name}.txt"
    if WRITING:
        KEPT.mkdir(exist_ok=True)
        path.write_text(shown)
    assert path.exists(), f"{path} is not there: look at it, then BLKRUN_WRITE_SCREENS=1"
    assert shown == path.read_text(), (
        f"{name} is another screen now: BLKRUN_WRITE_SCREENS=1 keeps it"
    )
