"""Curves as glyphs.  A column of dots is one integer, its lowest bit the lowest dot.

Two curves share the cells: what only one of them touches has its tone, what both do has a third.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import isnan
from typing import Literal, NamedTuple

from blkrun.dashboard.lines import Span, Tone

Symbols = Literal["braille", "block", "ascii"]

_BRAILLE_LEFT = (0x40, 0x04, 0x02, 0x01)
_BRAILLE_RIGHT = (0x80, 0x20, 0x10, 0x08)
"""Dots from the lowest up."""

_QUADRANTS = " ▖▘▌▗▄▚▙▝▞▀▛▐▟▜█"
"""By bits: left low, left high, right low, right high."""


class Dots(NamedTuple):
    """How many dots a cell has across and up."""

    across: int
    up: int


DOTS: dict[Symbols, Dots] = {"braille": Dots(2, 4), "block": Dots(2, 2), "ascii": Dots(1, 1)}


class Frame(NamedTuple):
    """What a chart is framed with."""

    tick: str
    side: str
    corner: str
    base: str
    minus: str
    dash: str
    cursor: str
    up: str
    limit: str


_DRAWN = Frame("┤", "│", "└", "─", "−", "╌", "│", "↑", "╪")  # noqa: RUF001 - a minus sign is meant
FRAMES: dict[Symbols, Frame] = {
    "braille": _DRAWN,
    "block": _DRAWN,
    "ascii": Frame("+", "|", "+", "-", "-", "-", "|", "^", "="),
}


class Ink(NamedTuple):
    """Tones of the first curve, of the second, and of where they meet; of limits and cursor."""

    first: Tone
    second: Tone
    both: Tone = "plain"
    limit: Tone = "warn"
    cursor: Tone = "dim"


@lru_cache(maxsize=1)
def _braille() -> tuple[str, ...]:
    """By the right column's four bits above the left one's."""
    codes = (
        sum(dot for bit, dot in enumerate(_BRAILLE_LEFT) if both >> bit & 1)
        + sum(dot for bit, dot in enumerate(_BRAILLE_RIGHT) if both >> bit + 4 & 1)
        for both in range(256)
    )
    return tuple(chr(0x2800 + code) for code in codes)


def height_of(value: float, top: float, dots: int) -> int:
    """The dot a value is at, from 0; what is above the top is at the top."""
    return int(min(value * ((dots - 1) / top) + 0.5, dots - 1))


def curve(values: Sequence[float], top: float, dots: int) -> list[int]:
    """A line through the values, joined where they jump; NaN is an empty column."""
    columns: list[int] = []
    before = -1
    factor, most = (dots - 1) / top, dots - 1
    for value in values:
        if isnan(value):
            columns.append(0)
            before = -1
            continue
        here = int(min(value * factor + 0.5, most))
        if before in {-1, here}:
            columns.append(1 << here)
        elif before < here:
            columns.append((1 << here + 1) - (1 << before + 1))
        else:
            columns.append((1 << before) - (1 << here))
        before = here
    return columns


def area(values: Sequence[float], top: float, dots: int) -> list[int]:
    """Everything up to the values."""
    return [0 if isnan(value) else (2 << height_of(value, top, dots)) - 1 for value in values]


class Drawing(NamedTuple):
    """What is to be drawn in ``width`` by ``height`` cells.

    ``limits``: for each, the row in which it is in every cell, -1 for none.
    """

    width: int
    height: int
    first: list[int]
    second: list[int]
    limits: Sequence[Sequence[int]] = ()
    cursor: int | None = None


def draw(drawing: Drawing, symbols: Symbols, ink: Ink) -> list[tuple[Span, ...]]:
    """Rows from the top."""
    glyph_rows = _ROWS[symbols](drawing)
    for row, (glyphs, tones) in enumerate(glyph_rows):
        _draw_limits(drawing, row, glyphs, tones, FRAMES[symbols].dash)
        if drawing.cursor is not None and tones[drawing.cursor] in {0, _LIMIT}:
            glyphs[drawing.cursor], tones[drawing.cursor] = FRAMES[symbols].cursor, _CURSOR
    return [_spans(glyphs, tones, ink) for glyphs, tones in glyph_rows]


_LIMIT, _CURSOR = 4, 5
"""Inks after 0: nothing, 1: the first curve, 2: the second, 3: both."""

_Row = tuple[list[str], list[int]]


def _draw_limits(
    drawing: Drawing, row: int, glyphs: list[str], tones: list[int], dash: str
) -> None:
    for limit in drawing.limits:
        if row not in limit:
            continue
        for cell, at in enumerate(limit):
            if at == row and not tones[cell]:
                glyphs[cell], tones[cell] = dash, _LIMIT


def _spans(glyphs: list[str], tones: list[int], ink: Ink) -> tuple[Span, ...]:
    """One span for each run of a tone; empty cells go with what is before them."""
    named: tuple[Tone, ...] = ("plain", *ink)
    spans: list[Span] = []
    begin, current = 0, 0
    for cell, tone in enumerate(tones):
        if tone in {0, current}:
            continue
        if current and cell > begin:
            spans.append(Span("".join(glyphs[begin:cell]), named[current]))
            begin = cell
        current = tone
    spans.append(Span("".join(glyphs[begin:]), named[current]))
    return tuple(spans)


def _glyph_rows(drawing: Drawing, up: int, glyph_of: Sequence[str]) -> list[_Row]:
    """``glyph_of``: by the dots of a cell's right column above those of its left one."""
    first, second = _paired(drawing.first), _paired(drawing.second)
    bits = (1 << up) - 1
    rows: list[_Row] = []
    for row in range(drawing.height):
        shift = up * (drawing.height - 1 - row)
        glyphs, tones = [], []
        for (left, right), (left_2, right_2) in zip(first, second, strict=True):
            one = (left >> shift & bits) | (right >> shift & bits) << up
            two = (left_2 >> shift & bits) | (right_2 >> shift & bits) << up
            both = one | two
            glyphs.append(glyph_of[both] if both else " ")
            tones.append((1 if one else 0) + (2 if two else 0))
        rows.append((glyphs, tones))
    return rows


def _braille_rows(drawing: Drawing) -> list[_Row]:
    return _glyph_rows(drawing, 4, _braille())


def _block_rows(drawing: Drawing) -> list[_Row]:
    return _glyph_rows(drawing, 2, _QUADRANTS)


def _ascii_rows(drawing: Drawing) -> list[_Row]:
    """The curves differ by their signs."""
    rows: list[_Row] = []
    for row in range(drawing.height):
        bit = drawing.height - 1 - row
        tones = [
            (one >> bit & 1) + 2 * (two >> bit & 1)
            for one, two in zip(drawing.first, drawing.second, strict=True)
        ]
        rows.append((list(map(" *o#".__getitem__, tones)), tones))
    return rows


def _paired(columns: list[int]) -> list[tuple[int, int]]:
    return list(zip(columns[::2], columns[1::2], strict=True))


_ROWS = {"braille": _braille_rows, "block": _block_rows, "ascii": _ascii_rows}
