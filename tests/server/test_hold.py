"""What passes below a place where requests may wait: exact, though only the late ones are timed."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.options import ExportOptions, NullOptions, ThrottleLimits, ThrottleOptions
from blkrun.server import hold as hold_module
from blkrun.server import route as route_module
from blkrun.server.drivers.null import Null
from blkrun.server.drivers.throttle import Throttle
from blkrun.server.export import Export
from blkrun.server.node import Filter, Node
from blkrun.server.route import Route
from blkrun.server.routing import resolve
from blkrun.server.stats import KINDS, Tally, index_of
from blkrun.server.throttle.group import ThrottleGroup
from blkrun.server.way import Late, Way


@dataclass
class World:
    """A clock that moves only where a request waits or is served, and what is to happen next."""

    now_ns: int = 0
    waits_ns: dict[str, int] = field(default_factory=dict)
    service_ns: int = 0
    fails_at: str | None = None

    def clock(self) -> int:
        """Now."""
        return self.now_ns


class Holding(Filter[ThrottleOptions]):
    """A throttle whose waits are the test's."""

    driver = "holding"

    def __init__(self, name: str, world: World) -> None:
        super().__init__(ThrottleOptions(node_name=name, file="-", throttle_group="-"))
        self._world = world

    def may_wait(self) -> bool:
        """That is what it is for."""
        return True

    def lower(self, below: Way, late: Way) -> Way:
        """Wait as long as the world says, then go on, late or on time."""

        def wait() -> bool:
            if self._world.fails_at == self.name:
                raise OSError(5, "gone")
            wait_ns = self._world.waits_ns.get(self.name, 0)
            self._world.now_ns += wait_ns
            return wait_ns > 0

        def pread(buf: memoryview, offset: int) -> Late | None:
            return (late if wait() else below).pread(buf, offset)

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            return (late if wait() else below).pwrite(buf, offset, flags)

        def zero(count: int, offset: int, flags: int) -> Late | None:
            return (late if wait() else below).zero(count, offset, flags)

        def trim(count: int, offset: int, flags: int) -> Late | None:
            return (late if wait() else below).trim(count, offset, flags)

        return below._replace(pread=pread, pwrite=pwrite, zero=zero, trim=trim)


class Plain(Filter[ThrottleOptions]):
    """Between the two."""

    driver = "plain"


class Slow(Null):
    """A backend that takes its time, or fails."""

    def __init__(self, world: World) -> None:
        super().__init__(NullOptions(node_name="disk"))
        self._world = world

    def lower(self, below: Way, late: Way) -> Way:
        """All requests are the same here."""

        def serve(*_: object) -> None:
            self._world.now_ns += self._world.service_ns
            if self._world.fails_at == "disk":
                raise OSError(5, "broken")

        way = super().lower(below, late)
        return way._replace(pread=serve, pwrite=serve, zero=serve, trim=serve, flush=serve)


def scene(world: World) -> tuple[Route, list[Node[Any]]]:
    """Export ─▶ first ─▶ between ─▶ second ─▶ disk, one route."""
    options = ThrottleOptions(node_name="between", file="-", throttle_group="-")
    nodes: list[Node[Any]] = [
        Holding("first", world),
        Plain(options),
        Holding("second", world),
        Slow(world),
    ]
    export = Export("vda", ExportOptions(node="first"))
    parents: list[Any] = [export, *nodes[:-1]]
    for parent, role, child in zip(parents, ["root", *["file"] * 3], nodes, strict=True):
        parent.attach(role, child)
        child.parents.add((parent, role))
    route = resolve([export], nodes, {})[export]
    assert route.nodes == tuple(nodes)
    return route, nodes


REQUESTS = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from([0, 0, 300, 70_000]),
    st.sampled_from([0, 0, 400, 10**9]),
    st.integers(20, 10**6),
    st.sampled_from([None, None, None, "first", "second", "disk"]),
)


def perform(route: Route, kind: str) -> None:
    """One request."""
    enter, buf = route.entrance, memoryview(bytearray(8))
    work = {
        "reads": lambda: enter.pread(buf, 0),
        "writes": lambda: enter.pwrite(buf, 0, 0),
        "zeroes": lambda: enter.zero(8, 0, 0),
        "trims": lambda: enter.trim(8, 0, 0),
        "flushes": enter.flush,
    }
    work[kind]()


def seen(tally: Tally, kind: str) -> tuple[object, ...]:
    """All numbers of a kind."""
    operations = getattr(tally, kind)
    return operations.done, operations.failed, operations.time_ns, dict(operations.latency)


@settings(deadline=None)
@given(st.lists(REQUESTS, max_size=25))
def test_every_level_is_exact(requests: list[tuple[str, int, int, int, str | None]]) -> None:
    """Two places to wait in one route: each node has the times that it would measure itself."""
    world = World()
    route, (first, between, second, disk) = scene(world)
    expected: dict[tuple[Node[Any], str], list[int]] = {}
    failed: Counter[tuple[Node[Any], str]] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(route_module, "perf_counter_ns", world.clock)
        patch.setattr(hold_module, "perf_counter_ns", world.clock)
        for kind, wait_first, wait_second, service_ns, fails_at in requests:
            waits = kind != "flushes"
            if not waits and fails_at in ("first", "second"):
                continue
            world.waits_ns = {"first": wait_first, "second": wait_second} if waits else {}
            world.service_ns, world.fails_at = service_ns, fails_at
            below_first = service_ns + (wait_second if waits else 0)
            above = below_first + (wait_first if waits else 0)
            took = {first: above, between: below_first, second: below_first, disk: service_ns}
            reached = {"first": [first], "second": [first, between, second]}
            if fails_at is None:
                perform(route, kind)
                for node, duration_ns in took.items():
                    expected.setdefault((node, kind), []).append(duration_ns)
            else:
                with pytest.raises(OSError, match=r"gone|broken"):
                    perform(route, kind)
                failed.update((node, kind) for node in reached.get(fails_at, list(took)))
    for node in (first, between, second, disk):
        tally = route.seen_by(node)
        assert tally.in_flight == 0
        for kind in KINDS:
            took_ns = expected.get((node, kind), [])
            histogram = dict(Counter(index_of(duration) for duration in took_ns))
            right = (len(took_ns), failed[node, kind], sum(took_ns), histogram)
            assert seen(tally, kind) == right, (node.name, kind)


def test_depth_below_leaves_out_who_waits() -> None:
    """In flight below, now and at most, are only those that have gone on."""
    world = World()
    route, (first, _, _, disk) = scene(world)
    depths: list[tuple[int, int]] = []

    class Waiting(dict[str, int]):
        """A wait in the first place during which another request comes, and goes through."""

        def get(self, name: str, default: Any = 0) -> int:
            if name == "first" and not depths:
                depths.append((route.in_flight, route.seen_by(disk).in_flight))
                perform(route, "reads")
            return 0

    world.waits_ns = Waiting()
    perform(route, "reads")
    assert depths == [(1, 0)]
    assert (route.seen_by(first).in_flight_max, route.seen_by(disk).in_flight_max) == (2, 1)
    assert route.seen_by(disk).reads.done == 2


@pytest.mark.parametrize(("limit", "holds"), [(0, 0), (1, 1)])
def test_a_throttle_without_limits_is_no_such_place(limit: int, holds: int) -> None:
    """Nobody waits there, so nothing is counted apart."""
    throttle = Throttle(ThrottleOptions(node_name="t", file="disk", throttle_group="g"))
    throttle.group = ThrottleGroup("g", ThrottleLimits(iops_read=limit))
    throttle.attach("file", Null(NullOptions(node_name="disk")))
    assert len(resolve([], [throttle], {})[throttle].holds) == holds
