"""Throttle groups: a gauge for each limit that is set, what is left of bursts, and who waits."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from rich.cells import cell_len
from textual import events
from textual.message import Message

from blkrun.dashboard.lines import (
    GAP,
    Draft,
    Line,
    Span,
    Tone,
    clean,
    fit,
    fit_right,
    gauge,
    line,
    spread,
)
from blkrun.dashboard.model.groups import GroupRow, LimitRow, MemberRow
from blkrun.dashboard.model.status import duration_text
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets.panel import LinesPanel
from blkrun.units import format_ns, format_short

_LABEL = 9
_LEAST_FIGURES = 11
_LEAST_GAUGE = 4
_MUCH = 0.8
_WORDS_FROM = 44
"""From this width on each limit has its word; below only the group has."""

_LONGEST_S = 99 * 3600

Wanted = Mapping[tuple[str, str], int]
"""Group and limit → what it is going to be: asked for, and not in force yet."""


class Place(NamedTuple):
    """What a line is about."""

    group: str
    limit: LimitRow | None = None
    member: str = ""


Placed = tuple[Line | Draft, Place]


def group_lines(rows: Sequence[GroupRow], width: int, wanted: Wanted | None = None) -> list[Line]:
    """All groups, each line exactly ``width`` cells."""
    layout = _Layout(rows, width, wanted or {})
    shown = (each for row in rows for each, _ in layout.group(row))
    return [each.make() if isinstance(each, Draft) else each for each in shown]


class _Layout:
    """Columns at a width: label, gauge, figures, and a word if there is room."""

    def __init__(self, rows: Sequence[GroupRow], width: int, wanted: Wanted) -> None:
        self._width, self._wanted = width, wanted
        figures = [text for row in rows for limit in row.limits for text in self._texts(row, limit)]
        self._figures = max([_LEAST_FIGURES, *(cell_len(text) + 1 for text in figures)])
        self._words = 6 if width >= _WORDS_FROM else 0
        self.gauge = width - _LABEL - self._figures - self._words

    def group(self, row: GroupRow) -> Iterator[Placed]:
        """Its name and state, limits, members."""
        here = Place(row.name)
        yield self._head(row), here
        if not row.limits:
            yield line(f"{row.name}/", self._width, Span(" no limits", "dim")), here
        for limit in row.limits:
            place = Place(row.name, limit)
            yield self._limit(row, limit), place
            if limit.burst_left is not None:
                yield self._burst(row, limit, limit.burst_left), place
        for member in row.members:
            key, make = f"{row.name}//{member.name}", partial(self._member, row, member)
            yield Draft(key, member, make), Place(row.name, member=member.name)

    def _head(self, row: GroupRow) -> Line:
        count = len(row.members)
        members = "1 member" if count == 1 else f"{count} members"
        state = Span(f"HELD {row.held}", "bad") if row.held else Span("held 0", "dim")
        if not row.held and any(limit.share >= _MUCH for limit in row.limits):
            state = Span("NEAR", "warn")
        mark = f"{row.mark} " if row.mark else ""
        name = (Span(mark, "warn"), Span(row.name, "export"), Span(f"  {members}", "dim"))
        return spread(row.name, self._width, name, state)

    def _texts(self, row: GroupRow, limit: LimitRow) -> tuple[str, str]:
        """Figures of a limit, and of its burst."""
        used = GAP if limit.used is None else format_short(limit.used)
        figures = f"{used}/{format_short(limit.limit)}"
        wanted = self._wanted.get((row.name, limit.key), limit.limit)
        if wanted != limit.limit:
            figures += f" → {format_short(wanted)}*"
        return figures, _burst_text(limit)

    def _limit(self, row: GroupRow, limit: LimitRow) -> Line:
        tone, word = _limit_state(limit.share, held=row.held > 0)
        key, figures = f"{row.name}/{limit.name}", self._texts(row, limit)[0]
        return self._gauge_line(key, limit.name, limit.share, Span(figures, tone), word)

    def _burst(self, row: GroupRow, limit: LimitRow, left: float) -> Line:
        key = f"{row.name}/{limit.name}/burst"
        tone: Tone = "good" if left > 1 - _MUCH else "warn"
        word = "SPENT" if left <= 0 else "LOW" if tone == "warn" else ""
        return self._gauge_line(key, "  burst", left, Span(_burst_text(limit), tone), word)

    def _gauge_line(self, key: str, label: str, share: float, figures: Span, word: str) -> Line:
        text, tone = figures
        if self.gauge < _LEAST_GAUGE:
            label_span = Span(fit(f" {label}", _LABEL), "dim")
            return line(key, self._width, label_span, Span(f" {text}", tone))
        return Line(
            key,
            (
                Span(fit(f" {label}", _LABEL), "dim"),
                Span(gauge(share, self.gauge), tone),
                Span(fit_right(text, self._figures), "number"),
                Span(fit(f" {word}", self._words), tone),
            ),
        )

    def _member(self, row: GroupRow, member: MemberRow) -> Line:
        rate = GAP if member.rate is None else f"{format_short(member.rate.operations)}/s"
        held = f"held {member.held}" if member.held else ""
        text = fit_right(held, 10) + fit_right(rate, 7)
        name = Span(f" · {member.name}", "name")
        wait = Span(
            "" if member.wait_ns is None else f"  waits {format_ns(member.wait_ns)}", "warn"
        )
        needed = cell_len(clean(name.text)) + cell_len(wait.text) + 1
        if wait.text and needed + cell_len(text) > self._width:
            text = text.lstrip()
        left = (name, wait) if needed + cell_len(text) <= self._width else (name,)
        right = Span(text, "bad" if member.held else "dim")
        return spread(f"{row.name}//{member.name}", self._width, left, right)


def _limit_state(share: float, *, held: bool) -> tuple[Tone, str]:
    if share < _MUCH:
        return "good", ""
    return ("bad", "HELD") if held else ("warn", "NEAR")


def _burst_text(limit: LimitRow) -> str:
    """``61% 7 s left``: what is left of the credit, and for how long at this rate."""
    if limit.burst_left is None:
        return ""
    if limit.burst_left >= 1:
        return "full"
    percent = f"{int(limit.burst_left * 100)}%"
    if limit.lasts_s is None or limit.lasts_s > _LONGEST_S:
        return f"{percent} left"
    return f"{percent} {duration_text(limit.lasts_s)} left"


class GroupsPanel(LinesPanel):
    """All throttle groups.  ``wanted``: limits that are asked for and not in force yet."""

    TITLE = "Throttle groups"
    NUMBER = "3"

    class Selected(Message):
        """Another group, or a member of one, is selected."""

        def __init__(self, subject: Subject | None) -> None:
            super().__init__()
            self.subject = subject

    class LimitClicked(Message):
        """Somebody has clicked on a gauge; ``value`` is in force."""

        def __init__(self, group: str, key: str, value: int) -> None:
            super().__init__()
            self.group, self.key, self.value = group, key, value

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: Sequence[GroupRow] = ()
        self._places: list[Place] = []
        self._gauge = 0
        self._wanted: dict[tuple[str, str], int] = {}
        self._told: Subject | None = None

    def show(self, rows: Sequence[GroupRow]) -> None:
        """New numbers."""
        self._rows = rows
        self.update_lines()
        self._tell()

    @property
    def wanted(self) -> dict[tuple[str, str], int]:
        """By group and limit's key."""
        return self._wanted

    @wanted.setter
    def wanted(self, wanted: dict[tuple[str, str], int]) -> None:
        self._wanted = wanted
        self.update_lines()

    @property
    def selected(self) -> Subject | None:
        """The group of the selected row, or its member."""
        place = self._place(self.cursor)
        if place is None:
            return None
        return Subject("node", place.member) if place.member else Subject("group", place.group)

    @property
    def selected_limit(self) -> tuple[str, str, int] | None:
        """Group, key such as ``iops-total``, and value of the selected row's limit.

        Elsewhere in a group that has one limit only, that.
        """
        place = self._place(self.cursor)
        if place is None:
            return None
        limit = place.limit
        if limit is None:
            limits = next((row.limits for row in self._rows if row.name == place.group), ())
            limit = limits[0] if len(limits) == 1 else None
        return None if limit is None else (place.group, limit.key, limit.limit)

    def _place(self, index: int) -> Place | None:
        return self._places[index] if 0 <= index < len(self._places) else None

    def _tell(self) -> None:
        """Said once, also when the row that was selected has gone."""
        if self.selected != self._told:
            self._told = self.selected
            self.post_message(self.Selected(self._told))

    def select(self, index: int) -> None:
        """Also tell of it."""
        super().select(index)
        self._tell()

    def on_click(self, event: events.Click) -> None:
        """A gauge is clicked for its limit to be set."""
        offset = event.get_content_offset(self)
        if offset is None or not _LABEL <= offset.x < _LABEL + self._gauge:
            return
        place = self._place(offset.y + self.scroll_offset.y)
        if place is not None and place.limit is not None:
            self.post_message(self.LimitClicked(place.group, place.limit.key, place.limit.limit))

    def make_lines(self, width: int) -> Sequence[Line | Draft]:
        """The groups, or that there are none."""
        layout = _Layout(self._rows, width, self._wanted)
        placed = [each for row in self._rows for each in layout.group(row)]
        self._places, self._gauge = [place for _, place in placed], layout.gauge
        if not placed:
            return [line("", width, Span("no throttle groups", "dim"))]
        return [shown for shown, _ in placed]
