"""Filters that have left by themselves: not put back, not in the way of other edits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from blkrun.config import Sources, parse
from blkrun.errors import CommandError
from blkrun.model import GraphModel
from blkrun.options import BlockdevOptions, ExportOptions, MemoryOptions, WriteThresholdOptions
from blkrun.reconcile.plan import plan
from blkrun.reconcile.runner import Runner
from blkrun.server.graph import Graph
from blkrun.server.staging import Staging
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_plan import MODELS, PATIENT
from tests.server.inprocess import InProcess

SIZE = 2**20


def retire(graph: Graph, name: str) -> None:
    """As the filter does it."""

    def leave(staging: Staging) -> None:
        staging.retire(staging.nodes[name])

    graph.transaction([leave])


def says_the_same(new: BlockdevOptions | None, old: BlockdevOptions) -> bool:
    """Whether two filters' tables differ in nothing but the child."""
    return type(new) is type(old) and msgspec.structs.replace(
        new, file="-"
    ) == msgspec.structs.replace(old, file="-")


@PATIENT
@given(MODELS, MODELS, st.data())
def test_any_edit_after_any_filters_have_left(
    live: GraphModel, desired: GraphModel, data: st.DataObject
) -> None:
    """No edit, no operation; one plan leads to any other file; only new tables come back."""
    filters = [name for name, options in live.nodes.items() if options.is_filter]
    bitmaps = {name: each for name, each in live.bitmaps.items() if each.node not in filters}
    live = msgspec.structs.replace(live, bitmaps=bitmaps)  # one that leaves takes its own with it
    server = LiveGraph(live)
    left = [name for name in filters if data.draw(st.booleans(), label=name)]
    for name in left:
        retire(server.graph, name)
    assert plan(live, server.model()) == ()

    server.perform(plan(desired, server.model()))
    assert plan(desired, server.model()) == ()
    model = server.model()
    assert model.exports.keys() == desired.exports.keys()
    for name in left:
        same = says_the_same(desired.nodes.get(name), live.nodes[name])
        assert (name in model.nodes) == (name in desired.nodes and not same)
        assert (name in model.spent) == same


# The edits that people make


def alarm(file: str = "disk", threshold: int = 4096) -> WriteThresholdOptions:
    """A filter that leaves."""
    return WriteThresholdOptions(
        node_name="alarm", file=file, write_threshold=threshold, when_spent="remove"
    )


def chain(*filters: BlockdevOptions) -> GraphModel:
    """Export vda over these, topmost last, each over what its ``file`` says."""
    nodes: dict[str, BlockdevOptions] = {"disk": MemoryOptions(node_name="disk", size=SIZE)}
    nodes |= {each.node_name: each for each in filters}
    return GraphModel(nodes=nodes, groups={}, exports={"vda": ExportOptions(node=[*nodes][-1])})


def keep(name: str, file: str) -> WriteThresholdOptions:
    """Another filter, that stays."""
    return WriteThresholdOptions(node_name=name, file=file, write_threshold=0)


EDITS = {
    "none": (chain(alarm()), []),
    "a filter above": (chain(alarm(), keep("top", "alarm")), ["blockdev-add", "block-insert-node"]),
    "a filter below": (
        chain(keep("low", "disk"), alarm("low")),
        ["blockdev-add", "block-insert-node"],
    ),
    "another number": (chain(alarm(threshold=8192)), ["blockdev-add", "block-insert-node"]),
    "no table": (chain(), ["x-blkrun-forget-spent"]),
    "another driver": (chain(keep("alarm", "disk")), ["blockdev-add", "block-insert-node"]),
}


@pytest.mark.parametrize(("desired", "expected"), EDITS.values(), ids=EDITS)
def test_edits_after_it_has_left(desired: GraphModel, expected: list[str]) -> None:
    """What each does, and that it can be done."""
    server = LiveGraph(chain(alarm()))
    retire(server.graph, "alarm")
    operations = plan(desired, server.model())
    assert [each.type for each in operations] == expected
    server.perform(operations)
    assert plan(desired, server.model()) == ()


def test_a_table_that_goes_and_comes_back_is_a_new_one() -> None:
    """Also with the same words: it is forgotten, and then armed again."""
    server = LiveGraph(chain(alarm()))
    retire(server.graph, "alarm")
    (forgotten,) = plan(chain(), server.model())
    assert str(forgotten.text) == "node alarm (write-threshold), which had left by itself"
    server.perform([forgotten])
    server.perform(plan(chain(alarm()), server.model()))
    assert server.graph.nodes["alarm"].write_threshold() == 4096
    server.graph.later.stop()


# A filter that leaves while a plan is made


FILE = """\
[backends.disk]
driver = "memory"
size = "1MiB"
[nodes.alarm]
driver = "write-threshold"
file = "disk"
write-threshold = 4096
when-spent = "remove"
[nodes.low]
driver = "write-threshold"
file = "disk"
write-threshold = 0
[exports.vda]
node = "alarm"
"""


class Client:
    """A server in this process; something happens just before the first transaction."""

    def __init__(self, server: InProcess, before: Callable[[], None]) -> None:
        self.server = server
        self.reports: list[str] = []
        self._before = [before]

    async def execute(
        self, command: str, arguments: dict[str, Any] | None = None, **_: object
    ) -> Any:
        """Raises CommandError as the real one does."""
        if command == "x-blkrun-report":
            self.reports.append((arguments or {})["kind"])
        while command == "transaction" and self._before:
            self._before.pop()()
        answer = self.server.say({"execute": command, "arguments": arguments or {}})
        if "error" in answer:
            raise CommandError(answer["error"]["desc"], action=answer["error"]["data"]["action"])
        return answer["return"]

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """None."""
        nothing: tuple[dict[str, Any], ...] = ()
        for event in nothing:
            yield event

    async def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("leaves", [True, False])
def test_it_leaves_between_plan_and_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    """The edit is planned again and applied; a refusal that has another cause is told at once."""
    server = InProcess()
    path = tmp_path / "lab.toml"
    start = parse(FILE, path)
    for operation in plan(start.graph, LiveGraph().model()):
        server.execute("transaction", {"actions": [operation.action()]})
    text = FILE.replace('"disk"\nwrite-threshold = 4096', '"low"\nwrite-threshold = 4096')
    sources = Sources(main=path, texts={path: text.encode()})
    edited = parse(sources)
    moved = partial(
        server.execute, "x-blkrun-set-edge", {"parent": "alarm", "role": "file", "child": "low"}
    )
    before = partial(retire, server.graph, "alarm") if leaves else moved
    client = Client(server, before)

    async def connect(_: object) -> Client:
        return client

    monkeypatch.setattr("blkrun.reconcile.runner.Client.connect", connect)
    runner = Runner(
        edited, None, sources=sources, shown=path, on_event=lambda _: None, note=lambda _: None
    )
    asyncio.run(runner.start())
    assert client.reports == ["adopted", "applied" if leaves else "failed"]
    if leaves:
        assert server.graph.exports["vda"].root.name == "low"
    server.graph.later.stop()
