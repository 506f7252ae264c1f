"""Edits of limits in an export's table: the plans they make, executed on a real graph."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from blkrun import config
from blkrun.client import Client
from blkrun.errors import CommandError
from blkrun.model import Config
from blkrun.reconcile.apply import RefusedError, apply
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import endangered, plan
from tests.reconcile.live_graph import LiveGraph

FILE = Path("/lab/lab.toml")

TENANT = '[nodes.tenant]\ndriver = "throttle"\nthrottle-group = "tenant"\nfile = "disk"\n'
DISK = (
    '[backends.disk]\ndriver = "memory"\nsize = "1MiB"\n'
    f"[throttle-groups.tenant]\niops-total = 900\n{TENANT}"
)


def text(limits: str = "", node: str = "disk", name: str = "vda") -> str:
    """A file with one export."""
    return f'{DISK}[exports.{name}]\nnode = "{node}"\n{limits}'


def load(written: str) -> Config:
    """As the runner reads it."""
    return config.parse(written, FILE)


def edit(before: str, after: str) -> tuple[Operation, ...]:
    """What a save does to a live graph: it takes no disk away, and leaves nothing to do."""
    live, desired = load(before).graph, load(after).graph
    server = LiveGraph(live)
    operations = plan(desired, server.model())
    assert endangered(operations, desired, live) == set()
    server.perform(operations)
    assert server.model() == desired
    assert plan(desired, server.model()) == ()
    return operations


def types(operations: tuple[Operation, ...]) -> list[str]:
    """What they are."""
    return [each.type for each in operations]


@pytest.mark.parametrize("node", ["disk", "tenant"])
@pytest.mark.parametrize("name", ["vda", "disk", "tenant"])
def test_add_change_remove(name: str, node: str) -> None:
    """A filter inserted, one qom-set, a filter removed, whatever the export is named and over."""
    none, slow, fast = (
        text(limits, node, name) for limits in ("", "iops-read = 10\n", "iops-read = 20\n")
    )
    if name == "tenant":  # its group's name would be taken
        none, slow, fast = (
            each.replace("-groups.tenant", "-groups.t").replace('group = "tenant"', 'group = "t"')
            for each in (none, slow, fast)
        )
    assert types(edit(none, slow)) == ["object-add", "blockdev-add", "block-insert-node"]
    assert types(edit(slow, fast)) == ["qom-set"]
    assert types(edit(fast, none)) == ["block-remove-node", "blockdev-del", "object-del"]


def test_what_they_say() -> None:
    """Every name is in the plan that a person reads."""
    none, slow = text(), text('bps-total = "1MiB"\n')
    assert [each.text for each in edit(none, slow)] == [
        "throttle group vda: bps-total 1MiB",
        "node vda-throttle (throttle) over disk",
        "insert vda-throttle between export vda and disk",
    ]
    assert [each.text for each in edit(slow, none)] == [
        "remove vda-throttle from between export vda and disk",
        "node vda-throttle (throttle)",
        "throttle group vda",
    ]


def test_zero_removes() -> None:
    """The last average set to 0 is no limit, so the throttle goes; a further one keeps it."""
    slow = text("iops-total = 10\n")
    gone = ["block-remove-node", "blockdev-del", "object-del"]
    assert types(edit(slow, text("iops-total = 0\n"))) == gone
    both = text("iops-total = 10\nbps-read = 512\n")
    assert types(edit(both, text("iops-total = 0\nbps-read = 512\n"))) == ["qom-set"]


def test_written_out_by_hand_is_no_change() -> None:
    """Who wants to share the group takes the limits out into tables of the same names."""
    slow = text("iops-total = 10\n")
    by_hand = (
        text(node="vda-throttle") + "[throttle-groups.vda]\niops-total = 10\n"
        '[nodes.vda-throttle]\ndriver = "throttle"\nthrottle-group = "vda"\nfile = "disk"\n'
    )
    assert edit(slow, by_hand) == ()


def test_another_node_below() -> None:
    """The tenant's filter comes in below the export's own, which stays where it is."""
    slow = "iops-total = 10\n"
    assert types(edit(text(slow), text(slow, "tenant"))) == ["block-insert-node"]


def test_with_a_change_of_the_export() -> None:
    """Another description is a new export, and only that endangers it."""
    live, desired = load(text()).graph, load(text('description = "x"\niops-read = 5\n')).graph
    server = LiveGraph(live)
    operations = plan(desired, live)
    assert endangered(operations, desired, live) == {"vda"}
    server.perform(operations)
    assert server.model() == desired


def test_the_server_hears_of_no_limits() -> None:
    """block-export-add has QEMU's arguments; the limits are the group's."""
    (add,) = [
        each
        for each in plan(load(text("iops-total = 10\n")).graph, LiveGraph().model())
        if each.type == "block-export-add"
    ]
    assert add.data == {"type": "nbd", "id": "vda", "node-name": "vda-throttle", "writable": True}


# Refused


class Refusing(Client):
    """A server that refuses one action of every transaction."""

    def __init__(self, action: int) -> None:
        self.action = action

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 1.0
    ) -> Any:
        """No."""
        raise CommandError("no", action=self.action)


@pytest.mark.parametrize("action", range(3))
@pytest.mark.parametrize(("before", "after"), [("", "iops-total = 5\n"), ("iops-total = 5\n", "")])
def test_a_refusal_leads_to_the_export(before: str, after: str, action: int) -> None:
    """No table of the file has the name of what was refused; the export's made it."""
    loaded = load(text(after))
    operations = plan(loaded.graph, load(text(before)).graph)
    assert len(operations) == 3
    with pytest.raises(RefusedError, match=r"^lab\.toml:10: \[exports\.vda\] no$"):
        asyncio.run(apply(Refusing(action), operations, loaded))


def test_a_refusal_of_a_table_leads_to_the_table() -> None:
    """As it did before."""
    loaded = load(text("iops-total = 5\n"))
    with pytest.raises(RefusedError, match=r"^lab\.toml:4: \[throttle-groups\.tenant\] no$"):
        asyncio.run(apply(Refusing(0), plan(loaded.graph, LiveGraph().model()), loaded))


def test_a_refusal_of_a_table_in_an_included_file_names_that_file() -> None:
    """Beside the main file, as messages about a text do."""
    other = FILE.parent / "tenants/a.toml"
    texts = {FILE: DISK.encode(), other: b'# Anna\n[exports.vda]\nnode = "tenant"\n'}
    loaded = config.parse(config.Sources(main=FILE, texts=texts))
    operations = plan(loaded.graph, load(DISK).graph)
    assert len(operations) == 1
    with pytest.raises(RefusedError, match=r"^tenants/a\.toml:2: \[exports\.vda\] no$"):
        asyncio.run(apply(Refusing(0), operations, loaded))
