"""Limits of throttle groups, up and down by keys: presses that come together are one edit."""

import math
from collections.abc import Iterable, Mapping

from textual.timer import Timer

from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.actions.filing import Filing
from blkrun.dashboard.feed import Feed
from blkrun.dashboard.model.choices import limit_check
from blkrun.dashboard.model.edits import limit_edit, nudge_edit
from blkrun.dashboard.model.nudge import Move, Nudge, Nudges, written
from blkrun.dashboard.model.snapshot import Group
from blkrun.dashboard.widgets.groups import GroupsPanel


class Limits(Filing):
    """A nudge is done at once, and its diff told: another press, or undo, takes it back."""

    def __init__(self, feed: Feed, desk: Desk, *, no_color: bool) -> None:
        super().__init__(feed, desk, no_color=no_color)
        self._nudges = Nudges()
        self._timer: Timer | None = None

    def offered(self) -> Mapping[str, bool]:
        """While a limit is selected: in the groups, or a throttle node with a group."""
        can = self.can_edit and self._limit() is not None
        names = ("up", "down", "double", "halve")
        return {
            **super().offered(),
            **{f"nudge('{name}')": can for name in names},
            "set_limit": can,
        }

    def action_nudge(self, move: Move) -> None:
        """A step; what is wanted shows at once, and is done when the presses have ceased."""
        found = self._limit()
        if found is None:
            return
        group, key = found
        self._nudges.press(self.feed.now_s(), group.id, key, group.limits, move)
        self._show_wanted()
        self._wait_for_presses()

    def _wait_for_presses(self) -> None:
        at_s = self._nudges.next_s()
        if self._timer is not None:
            self._timer.stop()
        if at_s is not None:
            self._timer = self.set_timer(max(at_s - self.feed.now_s(), 0.01), self._do_nudges)

    def _do_nudges(self) -> None:
        self._begin(self._nudges.due(self.feed.now_s()))
        self._wait_for_presses()

    def _begin(self, nudges: Iterable[Nudge]) -> None:
        for nudge in nudges:
            self.run_edit(self._do_nudge(nudge))

    def before_asking(self) -> None:
        """What was pressed before is done before."""
        super().before_asking()
        self._begin(self._nudges.due(math.inf))

    async def _do_nudge(self, nudge: Nudge) -> None:
        values = {key: (old, new) for key, (old, new) in nudge.values.items()}
        try:
            await self.carry_out(nudge_edit(nudge.group, values))
        finally:
            self._nudges.ended(nudge.group)
            self._show_wanted()
            self._wait_for_presses()

    def _show_wanted(self) -> None:
        wanted = {
            (group.id, key): value
            for group in self._groups()
            for key in group.limits
            if (value := self._nudges.wanted(group.id, key)) is not None
        }
        self.panels.groups.wanted = wanted

    def action_set_limit(self) -> None:
        """Any value, written."""
        if (found := self._limit()) is not None:
            self.attempt(self._ask_limit(*found))

    def on_groups_panel_limit_clicked(self, message: GroupsPanel.LimitClicked) -> None:
        """The same, of the gauge that was clicked."""
        found = self._named(message.group, message.key)
        if found is not None and self.can_edit:
            self.attempt(self._ask_limit(*found))

    async def _ask_limit(self, group: Group, key: str) -> None:
        title, now = f"{key} of {group.id}", written(key, group.limits.get(key, 0))
        value = await self.asking.ask(title, now, limit_check(key))
        if value is not None:
            await self.propose_and_wait(limit_edit(group.id, key, value.strip()))

    def _limit(self) -> tuple[Group, str] | None:
        """The group and key that keys are about: the gauge selected, or the first of a node's."""
        if self.screen.focused is self.panels.groups:
            selected = self.panels.groups.selected_limit
            return self._named(selected[0], selected[1]) if selected is not None else None
        if self.subject is None:
            return None
        name = self.subject.name
        if self.subject.kind == "group":
            return self._named(name)
        if self.subject.kind == "node":
            members = (g for g in self._groups() if name in {m.node_name for m in g.members})
            return next((self._named(group.id) for group in members), None)
        return None

    def _named(self, name: str, key: str | None = None) -> tuple[Group, str] | None:
        group = next((group for group in self._groups() if group.id == name), None)
        if group is None:
            return None
        found = key or next((each for each in _FIRST if group.limits.get(each)), None)
        return (group, found) if found is not None else None

    def _groups(self) -> tuple[Group, ...]:
        return self.board.snapshot.throttle_groups if self.board.snapshot is not None else ()


_FIRST = ("iops-total", "bps-total", "iops-read", "iops-write", "bps-read", "bps-write")
