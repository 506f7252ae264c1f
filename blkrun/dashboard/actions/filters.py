"""Filters put in, taken out, switched on and off, for what is selected in the graph."""

from collections.abc import Mapping

from blkrun.dashboard.actions.filing import Filing
from blkrun.dashboard.dialogs.insert import ask_insert
from blkrun.dashboard.model.choices import Choice
from blkrun.dashboard.model.edits import remove_edit, switch_edit
from blkrun.dashboard.model.snapshot import Node, Snapshot
from blkrun.dashboard.model.switching import disabled

_SECTIONS = {"node": "", "export": "exports.", "group": "throttle-groups."}


class Filters(Filing):
    """Every one of them is an edit of the file."""

    def offered(self) -> Mapping[str, bool]:
        """What fits what is selected."""
        node, can = self._node(), self.can_edit
        return {
            **super().offered(),
            "insert": can and node is not None,
            "disable": can and node is not None and node.is_filter and node.job is None,
            "enable": can and bool(self._off()),
            "remove": can and self.subject is not None and (node is None or node.job is None),
        }

    def action_insert(self) -> None:
        """Above the selected node: below all that leads to it."""
        node = self._node()
        if node is not None and self.board.snapshot is not None:
            self.attempt(self._insert(node.node_name, self.board.snapshot))

    async def _insert(self, above: str, snapshot: Snapshot) -> None:
        drivers = await self.editor().drivers()
        edit = await ask_insert(
            self.asking,
            drivers,
            above=above,
            nodes=[node.node_name for node in snapshot.nodes],
            groups=[group.id for group in snapshot.throttle_groups],
        )
        if edit is not None:
            await self.propose_and_wait(edit)

    def action_disable(self) -> None:
        """Its table stays; what is above it gets its child."""
        if (node := self._node()) is not None:
            self.propose(switch_edit(node.node_name, on=False))

    def action_enable(self) -> None:
        """One of those that the file has switched off."""
        self.attempt(self._enable(self._off()))

    async def _enable(self, off: tuple[Choice, ...]) -> None:
        chosen = await self.asking.choose("Switch on", off) if len(off) > 1 else off[0].value
        if chosen is not None:
            await self.propose_and_wait(switch_edit(chosen, on=True))

    def _off(self) -> tuple[Choice, ...]:
        return disabled(self.board.snapshot) if self.board.snapshot is not None else ()

    def action_remove(self) -> None:
        """The selected thing's table, after a question."""
        if self.subject is not None:
            self.propose(remove_edit(f"{_SECTIONS[self.subject.kind]}{self.subject.name}"))

    def _node(self) -> Node | None:
        """The selected one, as it is now."""
        if self.subject is None or self.subject.kind != "node" or self.board.snapshot is None:
            return None
        name = self.subject.name
        return next((n for n in self.board.snapshot.nodes if n.node_name == name), None)
