"""Throttle groups: a gauge for each limit that is set, and who is held back."""

from collections.abc import Iterator, Sequence

from blkrun.dashboard.lines import GAP, Line, Span, Tone, fit, fit_right, gauge, line, spread
from blkrun.dashboard.model.groups import GroupRow, LimitRow, MemberRow
from blkrun.dashboard.widgets.panel import LinesPanel
from blkrun.units import format_short

_LABEL = 9
_FIGURES = 11
_LEAST_GAUGE = 4
_MUCH = 0.8


def group_lines(rows: Sequence[GroupRow], width: int) -> list[Line]:
    """All groups, each line exactly ``width`` cells."""
    return [shown for row in rows for shown in _group(row, width)]


def _group(row: GroupRow, width: int) -> Iterator[Line]:
    count = len(row.members)
    members = "1 member" if count == 1 else f"{count} members"
    held = Span(f"HELD {row.held}", "warn") if row.held else Span("held 0", "dim")
    yield spread(row.name, width, (Span(row.name, "export"), Span(f"  {members}", "dim")), held)
    if not row.limits:
        yield line(f"{row.name}/", width, Span(" no limits", "dim"))
    for limit in row.limits:
        yield _limit(row, limit, width)
        if limit.burst_left is not None:
            yield _burst(row, limit, limit.burst_left, width)
    for member in row.members:
        yield _member(row, member, width)


def _limit(row: GroupRow, limit: LimitRow, width: int) -> Line:
    share = (limit.used or 0.0) / limit.limit
    used = GAP if limit.used is None else format_short(limit.used)
    figures = f"{used}/{format_short(limit.limit)}"
    tone = _limit_tone(share, held=row.held > 0)
    return _gauge_line(f"{row.name}/{limit.name}", width, limit.name, share, figures, tone)


def _limit_tone(share: float, *, held: bool) -> Tone:
    if share < _MUCH:
        return "good"
    return "bad" if held else "warn"


def _burst(row: GroupRow, limit: LimitRow, left: float, width: int) -> Line:
    key = f"{row.name}/{limit.name}/burst"
    tone: Tone = "good" if left > 1 - _MUCH else "warn"
    return _gauge_line(key, width, "  burst", left, f"{left:.0%} left", tone)


def _gauge_line(  # noqa: PLR0913, PLR0917 - the parts of one line, from left to right
    key: str, width: int, label: str, share: float, figures: str, tone: Tone
) -> Line:
    room = width - _LABEL - _FIGURES
    if room < _LEAST_GAUGE:
        return line(key, width, Span(fit(f" {label}", _LABEL), "dim"), Span(f" {figures}", tone))
    return Line(
        key,
        (
            Span(fit(f" {label}", _LABEL), "dim"),
            Span(gauge(share, room), tone),
            Span(fit_right(figures, _FIGURES), "number"),
        ),
    )


def _member(row: GroupRow, member: MemberRow, width: int) -> Line:
    rate = GAP if member.rate is None else f"{format_short(member.rate.operations)}/s"
    held = f"held {member.held}" if member.held else ""
    right = Span(fit_right(held, 10) + fit_right(rate, 7), "warn" if member.held else "dim")
    name = (Span(f" · {member.name}", "name"),)
    return spread(f"{row.name}//{member.name}", width, name, right)


class GroupsPanel(LinesPanel):
    """All throttle groups."""

    TITLE = "Throttle groups"
    NUMBER = "2"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: Sequence[GroupRow] = ()

    def show(self, rows: Sequence[GroupRow]) -> None:
        """New numbers."""
        self._rows = rows
        self.update_lines()

    def make_lines(self, width: int) -> list[Line]:
        """The groups, or that there are none."""
        if not self._rows:
            return [line("", width, Span("no throttle groups", "dim"))]
        return group_lines(self._rows, width)
