"""Counters are exact under any load (design §5 rule 6), and histograms are good to 1/32."""

import dis
import gc
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NoReturn

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.options import ExportOptions, NullOptions
from blkrun.server import connection as connection_module
from blkrun.server import hold as hold_module
from blkrun.server import node as node_module
from blkrun.server import route as route_module
from blkrun.server import stats as stats_module
from blkrun.server.client import Client
from blkrun.server.connection import Connection
from blkrun.server.drivers import throttle as throttle_module
from blkrun.server.drivers.null import Null
from blkrun.server.export import Export
from blkrun.server.hold import Hold, Moved
from blkrun.server.node import Node
from blkrun.server.route import Route
from blkrun.server.stats import (
    COLUMNS,
    KINDS,
    Operations,
    Tally,
    floor_ns,
    hit,
    index_of,
    merge,
    middle_ns,
    percentiles_ns,
    qemu_counters,
    qemu_histogram,
    row_of,
    total,
)
from blkrun.server.throttle import bucket as bucket_module
from blkrun.server.throttle import group as group_module
from blkrun.server.way import NOWHERE, Way
from tests.server.inprocess import ignore, leave_thread_states_alone, workers

Entering = Callable[[Route], dict[str, Callable[[Any], object]]]

MINUTES_NS = 10 * 60 * 10**9


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def route_to(node: Node[Any]) -> Route:
    """A route with one node."""
    return Route((node,), node.lower(NOWHERE, NOWHERE))


# Histograms


@settings(deadline=None)
@given(st.integers(16, MINUTES_NS))
def test_a_bucket_is_good_to_a_thirtysecond(duration_ns: int) -> None:
    """What stands for a duration is at most 1/32 away from it, from 16 ns to minutes."""
    index = index_of(duration_ns)
    assert floor_ns(index) <= duration_ns < floor_ns(index + 1)
    assert abs(middle_ns(index) - duration_ns) <= duration_ns / 32


@settings(deadline=None)
@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_longer_is_never_in_a_lower_bucket(one_ns: int, other_ns: int) -> None:
    """Monotone over everything that a clock could give."""
    low_ns, high_ns = sorted((one_ns, other_ns))
    assert index_of(low_ns) <= index_of(high_ns)


def test_floors_are_the_smallest_of_their_buckets() -> None:
    """Each bucket's floor is in it, and one ns less is in the one before."""
    for index in range(index_of(16) + 1, index_of(2**40)):
        assert index_of(floor_ns(index)) == index
        assert index_of(floor_ns(index) - 1) == index - 1


def histogram_of(*durations_ns: int) -> dict[int, int]:
    """As a route counts."""
    tally = Tally()
    for duration_ns in durations_ns:
        hit(tally.reads.latency, index_of(duration_ns))
    return tally.reads.latency


@settings(deadline=None)
@given(st.lists(st.integers(16, MINUTES_NS), min_size=1), st.sampled_from([0.5, 0.99, 0.999]))
def test_percentiles(durations_ns: list[int], share: float) -> None:
    """At most a thirtysecond from the smallest duration that the share did not exceed."""
    ordered = sorted(durations_ns)
    rank = next(i for i in range(1, len(ordered) + 1) if i >= share * len(ordered))
    (found,) = percentiles_ns(histogram_of(*durations_ns), (share,))
    assert abs(found - ordered[rank - 1]) <= ordered[rank - 1] / 32


def test_no_percentiles_without_requests() -> None:
    """There is no such duration: 0."""
    assert percentiles_ns({}, (0.5, 0.99)) == [0, 0]


def test_merge_adds_bucket_by_bucket() -> None:
    """Sums, and the source stays as it is."""
    one, other = Tally().reads.latency, histogram_of(1000, 10**9)
    merge(one, histogram_of(1000, 1000))
    merge(one, other)
    assert one == {index_of(1000): 3, index_of(10**9): 1}
    assert other == histogram_of(1000, 10**9)


def test_qemu_histogram() -> None:
    """§9.8: one bin more than boundaries, and every request in the bin that it belongs to."""
    durations_ns = (1000, 1100, 5000)
    found = qemu_histogram(histogram_of(*durations_ns))
    bounds = [0, *found["boundaries"], 2**63]
    assert len(found["bins"]) == len(found["boundaries"]) + 1
    assert found["bins"] == [
        sum(low <= duration < high for duration in durations_ns)
        for low, high in itertools.pairwise(bounds)
    ]
    assert qemu_histogram({}) == {"boundaries": [], "bins": [0]}


# Counters


def client_of(route: Route) -> Connection:
    """A client whose export has this route."""
    export = Export("vda", ExportOptions(node="n"))
    export.attach("root", Null(NullOptions(node_name="n")))
    export.route = route
    return Connection(1, export, ignore, Client(), ())


def requests_of(enter: Way | Connection) -> dict[str, Callable[[Any], object]]:
    """A request of each kind, at a client or from inside the graph; reads and writes of a buffer.

    The zeroes are 3 bytes, the trims 7.
    """
    if isinstance(enter, Connection):
        return {
            "reads": lambda buf: enter.pread(buf, 0, 0),
            "writes": lambda buf: enter.pwrite(buf, 0, 0),
            "zeroes": lambda buf: enter.zero(3, 0, 0),
            "trims": lambda buf: enter.trim(7, 0, 0),
            "flushes": lambda buf: enter.flush(0),
            "cache": lambda buf: enter.cache(1, 0, 0),
            "extents": lambda buf: enter.extents(1, 0, 0),
        }
    return {
        "reads": lambda buf: enter.pread(buf, 0),
        "writes": lambda buf: enter.pwrite(buf, 0, 0),
        "zeroes": lambda buf: enter.zero(3, 0, 0),
        "trims": lambda buf: enter.trim(7, 0, 0),
        "flushes": lambda buf: enter.flush(),
        "cache": lambda buf: enter.cache(1, 0),
        "extents": lambda buf: enter.extents(1, 0, 0),
    }


@pytest.fixture(params=["client", "inside"])
def entering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Entering:
    """Both ways to come to a route: each has the counting written out."""
    leave_thread_states_alone(monkeypatch)
    if request.param == "client":
        return lambda route: requests_of(client_of(route))
    return lambda route: requests_of(route.entrance)


@pytest.mark.usefixtures("_often")
def test_a_route_counts_exactly_from_many_threads(entering: Entering) -> None:
    """8 threads and a switch interval of a microsecond: nothing is lost, nothing left over."""
    route = route_to(Null(NullOptions(node_name="n")))
    perform = entering(route)
    count, threads = 2000, 8

    def work() -> None:
        buffer = memoryview(bytearray(512))
        for _ in range(count):
            for request in perform.values():
                request(buffer)

    with workers([work] * threads):
        for _ in range(200):
            assert route.in_flight >= 0
    done = count * threads
    assert {kind: getattr(route, kind).done for kind in KINDS} == dict.fromkeys(KINDS, done)
    assert {kind: getattr(route, kind).bytes for kind in KINDS} == {
        "reads": 512 * done,
        "writes": 512 * done,
        "zeroes": 3 * done,
        "trims": 7 * done,
        "flushes": 0,
    }
    for kind in KINDS:
        assert sum(getattr(route, kind).latency.values()) == done
    assert route.in_flight == 0
    assert 1 <= route.in_flight_max <= threads


class Interrupting:
    """A buffer during whose ``len`` other requests run, as a thread switch could have it."""

    def __init__(self, other: Callable[[], None]) -> None:
        self._other = other

    def __len__(self) -> int:
        self._other()
        return 512

    def __setitem__(self, key: object, value: object) -> None:
        """Take what is read."""


@pytest.mark.parametrize("kind", ["reads", "writes"])
def test_no_call_while_a_counter_is_loaded(kind: str, entering: Entering) -> None:
    """A switch can only happen in a call, so there must be none between load and store."""
    route = route_to(Null(NullOptions(node_name="n")))
    request = entering(route)[kind]
    calls = 0

    def other() -> None:
        nonlocal calls
        calls += 1
        request(memoryview(bytearray(512)))

    request(Interrupting(other))
    assert calls
    operations = getattr(route, kind)
    assert (operations.bytes, operations.done) == (512 * (1 + calls), 1 + calls)
    assert route.in_flight == 0


COUNTERS = {"in_flight", "in_flight_max", "waited_ns", "waited_operations", "level", "at_ns"}.union(
    Tally.__slots__, Operations.__slots__, Hold.__slots__, Moved.__slots__
)


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """The functions in a code object, itself one of them if it is one."""
    if code.co_flags & inspect.CO_OPTIMIZED:
        yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from functions_of(constant)


MODULES = (
    connection_module,
    hold_module,
    node_module,
    route_module,
    stats_module,
    throttle_module,
    bucket_module,
    group_module,
)

COUNTING = [
    code
    for module in MODULES
    for code in functions_of(compile(inspect.getsource(module), str(module.__file__), "exec"))
    if code.co_name
    # Of copies, and of what is at rest.
    not in ("add", "merge", "apply", "apply_to_row", "total", "carry")
]


def torn(code: CodeType) -> list[str]:
    """Counters that are stored from what was loaded before a place where threads may switch."""
    fresh, stale, found = set[str](), set[str](), []
    for instruction in dis.get_instructions(code):
        kind, _, what = instruction.opname.partition("_")
        name = str(instruction.argval) if what == "ATTR" else f"[{what}]"
        if instruction.opname.startswith(("CALL", "JUMP_BACKWARD", "FOR_ITER")):
            stale |= fresh
        elif (kind == "LOAD" and name in COUNTERS) or instruction.opname == "BINARY_SUBSCR":
            fresh.add(name)
            stale.discard(name)
        elif kind == "STORE" and name in stale:
            found.append(f"{name} in line {code.co_firstlineno} and after")
    return found


@pytest.mark.parametrize("code", COUNTING, ids=lambda code: code.co_name)
def test_no_thread_switch_between_load_and_store(code: CodeType) -> None:
    """By the bytecode of this interpreter, which looks for other threads at calls and loops."""
    assert torn(code) == []


class Garbage:
    """A cycle, whose finalizer does some work."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.me = self
        self.work = work

    def __del__(self) -> None:
        self.work()


class Littering(Null):
    """A backend that leaves garbage behind, which the next allocation will collect."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(NullOptions(node_name="n"))
        self._work: list[Callable[[], None]] = [work]

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """The first request does it."""
        if self._work:
            Garbage(self._work.pop())
            gc.set_threshold(1)
            gc.enable()


@pytest.fixture
def _collector() -> Iterator[None]:
    """A garbage collector that the test may set."""
    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    yield
    gc.set_threshold(*threshold)
    gc.enable()


@pytest.mark.usefixtures("_collector")
def test_a_finalizer_cannot_lose_counts(
    entering: Entering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests run while a bucket is made, as in a finalizer that waits: all are in the bucket."""
    for module in (connection_module, route_module):
        monkeypatch.setattr(module, "perf_counter_ns", lambda: 0)
    buffer = memoryview(bytearray(512))
    count = 10

    def others() -> None:
        gc.disable()
        for _ in range(count):
            read(buffer)

    route = route_to(Littering(others))
    read = entering(route)["reads"]
    read(buffer)
    assert (route.reads.done, route.reads.latency) == (count + 1, {index_of(0): count + 1})


def test_depth_is_the_most_at_once(entering: Entering) -> None:
    """``in_flight_max`` stays when the requests have gone."""
    depth, left = 5, iter(range(4))

    def again(*_: object) -> None:
        if next(left, None) is not None:
            read(memoryview(bytearray(1)))

    node = Null(NullOptions(node_name="n"))
    route = Route((node,), node.lower(NOWHERE, NOWHERE)._replace(pread=again))
    read = entering(route)["reads"]
    read(memoryview(bytearray(1)))
    assert (route.in_flight, route.in_flight_max) == (0, depth)


def test_failures_are_counted_apart(entering: Entering) -> None:
    """§9.8: a failed operation counts no bytes and is no longer in flight."""

    def fail(*arguments: object) -> NoReturn:
        raise OSError(5, "broken")

    node = Null(NullOptions(node_name="n"))
    route = Route((node,), Way._make(fail for _ in Way._fields))
    for request in entering(route).values():
        with pytest.raises(OSError, match="broken"):
            request(memoryview(bytearray(8)))
    assert route.in_flight == 0
    assert {name: value for name, value in qemu_counters(row_of(route)).items() if value} == {
        "failed_rd_operations": 1,
        "failed_wr_operations": 2,
        "failed_unmap_operations": 1,
        "failed_flush_operations": 1,
    }


NUMBERS = st.integers(0, 2**60)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    """Any counts."""
    tally = Tally()
    for kind in KINDS:
        operations = getattr(tally, kind)
        operations.done, operations.bytes = draw(NUMBERS), draw(NUMBERS)
        operations.failed, operations.time_ns = draw(NUMBERS), draw(NUMBERS)
        operations.latency[draw(st.integers(80, 90))] = draw(NUMBERS)
    tally.in_flight, tally.in_flight_max = draw(NUMBERS), draw(NUMBERS)
    return tally


@settings(deadline=None)
@given(st.lists(tallies(), min_size=1, max_size=4))
def test_counters_add_up(parts: list[Tally]) -> None:
    """The sum of all is the sum of each, of histograms too; the maximum is the highest."""
    summed = total(parts)
    row = dict(zip(COLUMNS, row_of(summed), strict=True))
    assert row["reads-bytes"] == sum(part.reads.bytes for part in parts)
    assert row["in-flight"] == sum(part.in_flight for part in parts)
    assert summed.in_flight_max == max(part.in_flight_max for part in parts)
    for kind in KINDS:
        found = sum(getattr(summed, kind).latency.values())
        assert found == sum(sum(getattr(part, kind).latency.values()) for part in parts)
