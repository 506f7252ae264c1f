"""blkdebug in a graph: events from above, limits, errors to the client, and rules that change."""

import errno
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.errors import CommandError
from blkrun.options import (
    BlkDebugOptions,
    ExportOptions,
    InjectError,
    MemoryOptions,
    RawOptions,
    SetState,
    ThrottleLimits,
    ThrottleOptions,
)
from blkrun.server.actions import (
    blockdev_add,
    blockdev_reopen,
    export_add,
    group_add,
    insert_node,
)
from blkrun.server.drivers._limits import bulk_pieces
from blkrun.server.drivers.blkdebug import BlkDebug
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA
from tests.server.faulty import Faulty
from tests.server.inprocess import InProcess, Worker

SIZE = 2**16


class Noting(Faulty):
    """A RAM disk that writes down what it is asked."""

    def __init__(self, options: MemoryOptions) -> None:
        super().__init__(options)
        self.asked: list[tuple[str, int, int]] = []

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Noted."""
        self.asked.append(("read", offset, len(buf)))
        super().do_pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Noted."""
        self.asked.append(("write", offset, len(buf)))
        super().do_pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Noted."""
        self.asked.append(("zero", offset, count))
        super().do_zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Noted; the data stays."""
        self.asked.append(("trim", offset, count))


class Setup:
    """raw ``top`` → throttle ``limit`` → ``debug`` → ``disk``, full of a pattern."""

    def __init__(self, size: int = SIZE, **options: Any) -> None:
        self.graph = Graph(Events())
        self.disk = Noting(MemoryOptions(node_name="disk", size=size))
        self.content = random.Random(1).randbytes(size)
        self.do(
            lambda s: group_add(s, "g", ThrottleLimits(iops_total=10**9)),
            lambda s: s.add_node(self.disk, {}),
            partial(blockdev_add, options=debug(**options)),
            partial(
                blockdev_add,
                options=ThrottleOptions(node_name="limit", file="debug", throttle_group="g"),
            ),
            partial(blockdev_add, options=RawOptions(node_name="top", file="limit")),
        )
        self.disk.poke(self.content, 0)

    def do(self, *actions: Callable[[Staging], None]) -> None:
        """One edit."""
        self.graph.transaction(actions)

    @property
    def node(self) -> BlkDebug:
        """The driver's."""
        node = self.graph.nodes["debug"]
        assert isinstance(node, BlkDebug)
        return node

    @property
    def top(self) -> Node[Any]:
        """The format's."""
        return self.graph.nodes["top"]


def debug(**options: Any) -> BlkDebugOptions:
    """The driver's options."""
    return BlkDebugOptions(node_name="debug", image="disk", **options)


def outcome(request: Callable[[], object]) -> int:
    """The errno, or 0."""
    try:
        request()
    except OSError as error:
        return error.errno or -1
    return 0


def read(node: Node[Any], count: int = 512, offset: int = 0) -> Callable[[], bytes]:
    """A request."""

    def request() -> bytes:
        buf = bytearray(count)
        node.pread(memoryview(buf), offset)
        return bytes(buf)

    return request


def write(node: Node[Any], count: int = 512, offset: int = 0) -> Callable[[], None]:
    """A request."""
    return lambda: node.pwrite(memoryview(b"w" * count), offset, 0)


def test_iotest_071_over_raw() -> None:
    """The format above tells of its reads and writes, through a filter: read, write, EIO."""
    setup = Setup(
        inject_error=(InjectError(event="read_aio", state=42),),
        set_state=(SetState(event="write_aio", new_state=42),),
    )
    top = setup.top
    assert [outcome(request) for request in (read(top), write(top), read(top))] == [0, 0, 5]
    assert setup.node.describe() == {"state": 42, "active-rules": 1, "injected": 1}


def test_without_a_format_nothing_tells_of_reads() -> None:
    """As under an export in QEMU: read_aio never comes, pwritev does."""
    rules = (InjectError(event="read_aio"), InjectError(event="pwritev", errno=28, once=True))
    setup = Setup(inject_error=rules)
    assert outcome(read(setup.node)) == 0
    assert [outcome(write(setup.node)), outcome(write(setup.node))] == [28, 0]


def test_every_errno_reaches_the_client_as_it_is() -> None:
    """Through the filter and the format; a zero that is not supported is written, as ever."""
    for code in errno.errorcode:
        setup = Setup(inject_error=(InjectError(event="none", errno=code),))
        top = setup.top
        requests = (read(top), write(top), top.flush, partial(top.trim, 512, 0, 0))
        assert {outcome(request) for request in requests} == {code}
        assert outcome(partial(top.zero, 512, 0, 0)) == code


def test_nothing_of_a_request_that_fails_is_done() -> None:
    """The disk is as it was, and not asked."""
    setup = Setup(inject_error=(InjectError(event="none"),))
    for request in (read(setup.top), write(setup.top), partial(setup.top.zero, 9, 0, 0)):
        assert outcome(request) == errno.EIO
    assert setup.disk.asked == []


@pytest.mark.parametrize(
    ("event", "failing"),
    [
        ("pwritev", ["write", "part"]),
        ("pwritev_zero", ["zero"]),
        ("pwritev_done", []),
        ("pwritev_rmw_head", ["part"]),
        ("pwritev_rmw_after_head", ["part"]),
        ("pwritev_rmw_tail", ["part"]),
        ("pwritev_rmw_after_tail", ["part"]),
        ("flush_to_os", ["flush"]),
        ("flush_to_disk", ["flush"]),
        ("write_aio", ["write", "part"]),
        ("read_aio", ["read"]),
    ],
)
def test_which_requests_raise_an_event(event: str, failing: list[str]) -> None:
    """The request itself fails by the rule; once more, it would too: see below for "done"."""
    found = []
    for name in ("read", "write", "part", "zero", "flush"):
        setup = Setup(align=512, inject_error=(InjectError(event=event),))  # type: ignore[arg-type]
        top = setup.top
        requests: dict[str, Callable[[], object]] = {
            "read": read(top),
            "write": write(top),
            "part": write(top, 10, 100),
            "zero": partial(top.zero, 512, 0, 0),
            "flush": top.flush,
        }
        if outcome(requests[name]):
            found.append(name)
    assert found == failing


def test_done_is_after_the_write() -> None:
    """The next one fails."""
    setup = Setup(inject_error=(InjectError(event="pwritev_done", iotype="write"),))
    assert [outcome(write(setup.top)), outcome(write(setup.top))] == [0, 5]


def test_parts_of_blocks() -> None:
    """What the disk is asked for a write of a few bytes: the block is read and written back."""
    setup = Setup(align=512, max_transfer=1024)
    write(setup.node, 10, 100)()
    assert setup.disk.asked == [("read", 0, 512), ("write", 0, 512)]
    setup.disk.asked.clear()
    write(setup.node, 2000, 500)()
    assert setup.disk.asked == [
        ("read", 0, 512),
        ("read", 2048, 512),
        ("write", 0, 1024),
        ("write", 1024, 1024),
        ("write", 2048, 512),
    ]
    setup.disk.asked.clear()
    read(setup.node, 2000, 500)()
    assert setup.disk.asked == [("read", 0, 1024), ("read", 1024, 1024), ("read", 2048, 512)]


def test_zeroes_and_discards_in_pieces() -> None:
    """Aligned multiples are asked for as such; zeroes at the ends are written, as in QEMU."""
    setup = Setup(
        align=512, opt_write_zero=1024, max_write_zero=2048, opt_discard=1024, max_discard=2048
    )
    setup.node.zero(512 + 5000, 512, 0)
    assert setup.disk.asked == [
        ("read", 5632, 512),
        ("write", 512, 512),
        ("zero", 1024, 2048),
        ("zero", 3072, 2048),
        ("write", 5120, 512),
        ("write", 5632, 512),
    ]
    setup.disk.asked.clear()
    setup.node.trim(5000, 600, FLAG_FUA)
    assert setup.disk.asked == [("trim", 1024, 2048), ("trim", 3072, 2048)]


def test_fast_zeroes_are_refused_where_some_would_be_written() -> None:
    """Before anything is done; aligned ones are fast."""
    setup = Setup(align=512, opt_write_zero=1024)
    assert outcome(partial(setup.node.zero, 1024, 512, FLAG_FAST_ZERO)) == errno.EOPNOTSUPP
    assert outcome(partial(setup.node.zero, 100, 0, FLAG_FAST_ZERO)) == errno.EOPNOTSUPP
    assert setup.disk.asked == []
    assert outcome(partial(setup.node.zero, 2048, 1024, FLAG_FAST_ZERO)) == 0


requests = st.tuples(
    st.sampled_from(["pread", "pwrite", "zero", "trim", "flush"]),
    st.integers(0, 9999),
    st.integers(1, 9999),
    st.sampled_from([0, FLAG_FUA]),
)
powers = st.sampled_from([0, 1, 512, 1024, 4096])


@given(
    asked=st.lists(requests, max_size=10),
    align=powers,
    factors=st.tuples(*[st.integers(0, 3)] * 5),
    rest=st.integers(0, 700),
)
def test_data_within_any_limits(
    asked: list[tuple[str, int, int, int]], align: int, factors: tuple[int, ...], rest: int
) -> None:
    """What is read is what was written, of any alignment; the disk is asked within the limits."""
    one = max(1, align)
    zero, discard = factors[0] * one, factors[1] * one
    limits = {
        "align": align,
        "max_transfer": factors[2] * one * 100,
        "opt_write_zero": zero,
        "max_write_zero": factors[3] * max(one, zero),
        "opt_discard": discard,
        "max_discard": factors[4] * max(one, discard),
    }
    size = 20480 + rest
    setup = Setup(size, **limits)
    model = bytearray(setup.content)
    for number, (kind, offset, count, flags) in enumerate(asked):
        data = bytes([number + 1]) * count
        if kind == "pread":
            assert read(setup.node, count, offset)() == model[offset : offset + count]
        elif kind == "flush":
            setup.node.flush()
        elif kind == "trim":
            setup.node.trim(count, offset, flags)
        elif kind == "zero":
            setup.node.zero(count, offset, flags)
            model[offset : offset + count] = bytes(count)
        else:
            setup.node.pwrite(memoryview(data), offset, flags)
            model[offset : offset + count] = data
    assert read(setup.node, size)() == model == setup.disk.content()
    for kind, offset, count in setup.disk.asked:
        limit = {"zero": "max_write_zero", "trim": "max_discard"}.get(kind, "max_transfer")
        assert not limits[limit] or count <= limits[limit]
        assert not offset % one
        assert not count % one or offset + count == size
        if kind == "zero" and count >= zero > 0 and offset + count != size:
            assert not offset % zero


@given(st.integers(0, 9999), st.integers(0, 9999), st.integers(1, 500), st.integers(0, 5))
def test_pieces_are_all_of_it(start: int, length: int, align: int, factor: int) -> None:
    """In order, without gaps; none is too large, and what crosses a boundary begins at one."""
    end, most = start + length, factor * align
    found = list(bulk_pieces(start, end, align, most))
    assert [at for at, _ in found] == [start, *(past for _, past in found[:-1])][: len(found)]
    assert not found or found[-1][1] == end
    for at, past in found:
        assert not most or past - at <= most
        assert (past - 1) // align == at // align or not at % align


def test_many_that_write_to_one_block() -> None:
    """Reading and writing back is nobody's loss."""
    setup = Setup(align=4096)

    def work(number: int) -> None:
        for turn in range(50):
            byte = bytes([number * 50 + turn])
            setup.node.pwrite(memoryview(byte * 100), 100 * number, 0)
            assert read(setup.node, 100, 100 * number)() == byte * 100

    for worker in [Worker(partial(work, number)) for number in range(4)]:
        worker.finish()
    ends = b"".join(bytes([number * 50 + 49]) * 100 for number in range(4))
    assert setup.disk.content() == ends + setup.content[400:]


def test_other_rules_live() -> None:
    """The state is 1 again, and what was used up is new; a wrong one changes nothing."""
    once = InjectError(event="none", once=True)
    setup = Setup(inject_error=(once,), set_state=(SetState(event="write_aio", new_state=7),))
    assert [outcome(read(setup.top)), outcome(write(setup.top))] == [5, 0]
    assert setup.node.describe() == {"state": 7, "active-rules": 0, "injected": 1}
    with pytest.raises(CommandError, match="Cannot meet constraints with align 100"):
        setup.do(partial(blockdev_reopen, options=debug(align=100)))
    assert setup.node.rules.state == 7
    setup.do(partial(blockdev_reopen, options=debug(inject_error=(once,))))
    assert setup.node.describe() == {"state": 1, "active-rules": 1, "injected": 0}
    assert [outcome(read(setup.top)), outcome(read(setup.top))] == [5, 0]
    setup.do(partial(blockdev_reopen, options=debug(align=512)))
    write(setup.top, 10, 100)()
    assert setup.disk.asked[-1] == ("write", 0, 512)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ({"align": 100}, "align 100"),
        ({"align": 1536}, "align 1536"),
        ({"align": 2**31}, "align 2147483648"),
        ({"max_transfer": 2**31 - 1}, "max-transfer 2147483647"),
        ({"align": 4096, "max_transfer": 1536}, "max-transfer 1536"),
        ({"align": 4096, "opt_write_zero": 512}, "opt-write-zero 512"),
        ({"opt_write_zero": 4096, "max_write_zero": 6144}, "max-write-zero 6144"),
        ({"opt_discard": 4096, "max_discard": 6144}, "max-discard 6144"),
        ({"align": 4096, "max_discard": 512}, "max-discard 512"),
        ({"align": 4096, "opt_discard": 512}, "opt-discard 512"),
    ],
)
def test_limits_that_cannot_be(option: dict[str, int], values: str) -> None:
    """QEMU's words."""
    with pytest.raises(CommandError, match=f"^Cannot meet constraints with {values}$"):
        Setup(**option)


def test_rules_of_a_file_are_before_the_others(tmp_path: Path) -> None:
    """And what cannot be read is told in QEMU's words."""
    config = tmp_path / "rules"
    config.write_text('[inject-error]\nevent = "none"\nerrno = "28"\niotype = "write"\n')
    setup = Setup(config=str(config), inject_error=(InjectError(event="none"),))
    assert [outcome(write(setup.top)), outcome(read(setup.top))] == [28, 5]
    missing = debug(config=str(tmp_path / "missing"))
    with pytest.raises(CommandError, match="Could not read blkdebug config file: No such file"):
        setup.do(partial(blockdev_reopen, options=missing))
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="blkdebug config file: it is no text"):
        Setup(config=str(config))


def test_it_is_a_filter() -> None:
    """Put in under a client, and all of its main child counts: size, and what is below."""
    setup = Setup()
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="disk")))
    setup.do(partial(insert_node, parent="vda", child="disk", name="debug"))
    assert setup.graph.exports["vda"].root is setup.node
    assert setup.node.size_bytes == SIZE


def test_over_qmp() -> None:
    """Rules as QEMU's clients send them, nested; and what is wrong in one."""
    server = InProcess()
    rule = {"event": "none", "errno": 28, "iotype": "read", "once": True}
    server.add("null", "disk")
    options = {"driver": "blkdebug", "node-name": "d", "image": "disk"}
    change = {"event": "write_aio", "new_state": 2}
    server.execute("blockdev-add", {**options, "inject-error": [rule], "set-state": [change]})
    assert server.node("d")["options"]["inject-error"] == [rule]
    for wrong, message in (
        ([{"event": "nope"}], "Parameter 'inject-error[0].event' does not accept value 'nope'"),
        ([rule, {}], "Parameter 'inject-error[1].event' is missing"),
        ([{"event": "none", "x": 1}], "Parameter 'inject-error[0].x' is unexpected"),
        ([1], "Invalid parameter type for 'inject-error[0]', expected: object"),
        ("x", "Invalid parameter type for 'inject-error', expected: array"),
    ):
        again = {**options, "node-name": "e", "inject-error": wrong}
        assert server.refused("blockdev-add", again)[1] == message
