"""Proposals: whom a plan concerns, and what the server says to it before it is done."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun.client import command_error
from blkrun.config import parse
from blkrun.errors import CommandError, CommandNotFound
from blkrun.model import EMPTY, Config, GraphModel
from blkrun.options import ThrottleOptions, children_of
from blkrun.reconcile.apply import RefusedError, apply, ask_live, transaction_of
from blkrun.reconcile.live import Live
from blkrun.reconcile.plan import plan
from blkrun.reconcile.proposal import Proposal, propose, proposed
from tests.reconcile.test_plan import models
from tests.server.inprocess import InProcess, ignore, leave_thread_states_alone

FILE = """\
[throttle-groups.g]
iops-total = 1000

[backends.disk]
driver = "memory"
size = "1MiB"

[backends.other]
driver = "memory"
size = "1MiB"

[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "disk"

[exports.vda]
node = "limit"

[exports.vdb]
node = "other"
"""


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)


class Wire:
    """A conversation with a server in this process; ``old``: one that knows no dry run."""

    def __init__(self, *, old: bool = False) -> None:
        self.server = InProcess()
        self.said: list[str] = []
        self._old = old

    async def execute(
        self, command: str, arguments: dict[str, Any] | None = None, **_: object
    ) -> Any:
        """Raises CommandError as the real one does."""
        self.said.append(command)
        if self._old and command == "x-blkrun-check-transaction":
            raise CommandNotFound("The command x-blkrun-check-transaction has not been found")
        if self._old and "properties" in (arguments or {}):
            raise CommandError("Parameter 'properties.x-blkrun-of-file' is unexpected")
        answer = self.server.say({"execute": command, "arguments": arguments or {}})
        if "error" in answer:
            error = answer["error"]
            raise command_error(error["desc"], error["class"], error.get("data", {}))
        return answer["return"]

    def start(self, text: str = FILE) -> None:
        """Bring it to what a file says."""
        operations = plan(config(text).graph, EMPTY)
        self.server.execute("transaction", transaction_of(operations, hard=False))

    def propose(self, text: str) -> Proposal:
        """For an edited file."""

        async def ask() -> Proposal:
            client: Any = self
            return await propose(client, config(text), await ask_live(client))

        return asyncio.run(ask())


def config(text: str) -> Config:
    """As read from a file that is nowhere."""
    return parse(text, Path("/nowhere/vm.toml"))


@pytest.fixture
def wire() -> Wire:
    """Two exports, with two clients and none."""
    wire = Wire()
    wire.start()
    for _ in range(2):
        wire.server.graph.connect("vda", ignore)
    return wire


def test_nothing_to_do_asks_nothing(wire: Wire) -> None:
    """No round trip but that for the graph."""
    wire.said.clear()
    assert wire.propose(FILE) == Proposal((), {}, {}, None)
    assert wire.said == ["x-blkrun-query-graph"]


def test_new_limits_hold_nobody(wire: Wire) -> None:
    """Clients are connected to what changes; nobody waits, nobody loses anything."""
    proposal = wire.propose(FILE.replace("1000", "2000"))
    assert [each.text for each in proposal.operations] == [
        "throttle group g: iops-total 1000 → 2000"
    ]
    assert (proposal.clients, proposal.drains, proposal.taken) == ({"vda": 2}, {}, {})
    assert (proposal.why, proposal.refused) == (None, None)


def test_a_replaced_disk_is_taken_after_a_wait(wire: Wire) -> None:
    """The export shows another disk: a yes is needed, and requests wait meanwhile."""
    edited = FILE.replace('driver = "memory"', 'driver = "null"')
    proposal = wire.propose(edited)
    assert [each.text for each in proposal.operations] == [
        "disk: a new node in its place (driver memory → null)",
        "other: a new node in its place (driver memory → null)",
    ]
    assert proposal.taken == proposal.clients == {"vda": 2}
    assert proposal.drains == {"vda": 2, "vdb": 0}
    assert proposal.why == "it takes a disk from connected clients: vda (2)"


def test_what_is_refused_names_the_table_and_line(wire: Wire) -> None:
    """An action's, and where the graph as a whole is refused, that of the export in question."""
    missing = '[backends.new]\ndriver = "file"\npath = "none.img"\n[exports.vdc]\nnode = "new"\n'
    refused = wire.propose(FILE + missing).refused
    assert refused is not None
    assert refused.startswith("vm.toml:22: [backends.new] Could not open '/nowhere/none.img'")
    smaller = wire.propose(FILE.replace("1MiB", "2MiB"))
    assert smaller.refused is not None
    assert smaller.refused.startswith("vm.toml:17: [exports.vda] Export 'vda' has 2 client(s)")
    assert smaller.drains == {}


def test_what_is_refused_is_what_apply_says(wire: Wire) -> None:
    """Word for word."""
    edited = FILE.replace("1MiB", "2MiB")
    proposal = wire.propose(edited)
    client: Any = wire
    with pytest.raises(RefusedError) as raised:
        asyncio.run(apply(client, proposal.operations, config(edited)))
    assert str(raised.value) == proposal.refused


def test_apply_tells_whom_it_held(wire: Wire) -> None:
    """The same as was proposed."""
    edited = FILE.replace('driver = "memory"', 'driver = "null"')
    proposal = wire.propose(edited)
    client: Any = wire
    drains = asyncio.run(apply(client, proposal.operations, config(edited)))
    assert drains == proposal.drains


def test_a_server_that_was_started_by_an_older_blkrun() -> None:
    """It has no dry run: what it would drain is not known, and edits can be made all the same."""
    wire = Wire(old=True)
    wire.start()
    edited = FILE.replace("1000", "2000")
    proposal = wire.propose(edited)
    assert (proposal.drains, proposal.refused) == (None, None)
    client: Any = wire
    assert asyncio.run(apply(client, proposal.operations, config(edited))) == {}
    assert wire.propose(edited).operations == ()


@pytest.mark.parametrize(
    ("mode", "edited", "why"),
    [
        ("ask", FILE.replace("1000", "2000"), '[runner] apply = "ask", ~1'),
        ("all", FILE.replace('"memory"', '"null"'), None),
    ],
)
def test_why_it_waits(wire: Wire, mode: str, edited: str, why: str | None) -> None:
    """As the file's [runner] table wants it."""
    assert wire.propose(f'{edited}\n[runner]\napply = "{mode}"\n').why == why


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models(), models())
def test_any_clients_of_what_changes(desired: GraphModel, live: GraphModel) -> None:
    """Clients are named where anything under their export, or itself, is not what it was."""
    desired, live = (msgspec.structs.replace(each, bitmaps={}) for each in (desired, live))
    clients = dict.fromkeys(live.exports, 1)
    asked = msgspec.structs.replace(config(FILE), graph=desired)
    proposal = proposed(asked, Live(graph=live, clients=clients, pid=1))
    changed = {
        name
        for name in live.exports
        if name not in desired.exports or picture(desired, name) != picture(live, name)
    }
    assert set(proposal.clients) == changed
    assert proposal.taken.keys() <= changed


def picture(graph: GraphModel, export: str) -> Any:
    """All that clients of an export have to do with."""
    options = graph.exports[export]
    found, rest = {}, [options.node]
    while rest:
        node = graph.nodes[rest.pop()]
        group = graph.groups[node.throttle_group] if isinstance(node, ThrottleOptions) else None
        found[node.node_name] = (node, group)
        rest.extend(children_of(node).values())
    return options, found
