"""Lines of text that fill their width exactly: foreign names cannot shift or escape them.

A :class:`Line` is spans of text and tone.  Tones are words here and colours only in the theme.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from rich.cells import cell_len, set_cell_size

Tone = Literal[
    "plain",
    "dim",
    "title",
    "name",
    "export",
    "number",
    "good",
    "warn",
    "bad",
    "add",
    "change",
    "remove",
    "hit",
]
TONES: tuple[Tone, ...] = get_args(Tone)

_VARIATION_SELECTORS = {0xFE0E: None, 0xFE0F: None}
"""Terminals do not agree about the width of what they select."""

GAP = "—"
"""Instead of a number that is not known."""

_BAR = " ▏▎▍▌▋▊▉█"


class Span(NamedTuple):
    """Text in one tone."""

    text: str
    tone: Tone = "plain"


class Line(NamedTuple):
    """One row of a panel.  ``key`` stays the same while the row's numbers change."""

    key: str
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """All of it, without tones."""
        return "".join(span.text for span in self.spans)


class Draft(NamedTuple):
    """A line that is made when it comes into sight; anew if it is ``made_of`` something else."""

    key: str
    made_of: object
    make: Callable[[], Line]


@lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """Every character takes cells or goes: no escapes, tabs, direction marks, surrogates."""
    if text.isprintable() and text.isascii():
        return text
    text = text.expandtabs(4).translate(_VARIATION_SELECTORS)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


@lru_cache(maxsize=4096)
def fit(text: str, width: int) -> str:
    """Exactly ``width`` cells, from the left; an ellipsis shows that something is missing."""
    text = clean(text)
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def fit_left(text: str, width: int) -> str:
    """Exactly ``width`` cells; of what is too long the end stays: for paths."""
    text = clean(text)
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size(f"…{text}", width) if width > 0 else ""


def fit_right(text: str, width: int) -> str:
    """Exactly ``width`` cells, at the right: for numbers."""
    text = clean(text)
    return " " * (width - cell_len(text)) + text if cell_len(text) <= width else fit(text, width)


def fit_spans(spans: tuple[Span, ...], width: int) -> tuple[Span, ...]:
    """Spans one after the other in ``width`` cells: cut with an ellipsis, or padded."""
    fitted: list[Span] = []
    rest = width
    for index, (text, tone) in enumerate(spans):
        wanted = cell_len(clean(text))
        if wanted > rest or (wanted == rest and any(span.text for span in spans[index + 1 :])):
            return (*fitted, Span(fit(text + " …" if wanted == rest else text, rest), tone))
        fitted.append(Span(clean(text), tone))
        rest -= wanted
    return (*fitted, Span(" " * rest)) if rest else tuple(fitted)


def line(key: str, width: int, *spans: Span) -> Line:
    """A line of ``width`` cells from spans of any length."""
    return Line(key, fit_spans(spans, width))


def spread(key: str, width: int, left: tuple[Span, ...], right: Span) -> Line:
    """``right`` at the right edge; ``left`` gives way."""
    room = max(width - cell_len(clean(right.text)) - 1, 0)
    return Line(key, (*fit_spans(left, room), *fit_spans((Span(" "), right), width - room)))


def gauge(share: float, width: int) -> str:
    """A bar of ``width`` cells, in eighths; what is not nothing shows, what is not full is not."""
    share = min(max(share, 0.0), 1.0)
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    if share < 1:
        eighths = min(eighths, width * 8 - 1)
    full, part = divmod(max(eighths, 0), 8)
    return ("█" * full + (_BAR[part] if part else "")).ljust(width, "·")


def wrap(text: str, width: int) -> list[str]:
    """Break at spaces, and indent what goes on; words longer than the line are cut later."""
    first, *words = clean(text).split(" ")
    rows = [first]
    for word in words:
        candidate = f"{rows[-1]} {word}"
        if cell_len(candidate) > width:
            rows.append(f"  {word}")
        else:
            rows[-1] = candidate
    return rows
