"""What a backup costs a client, found in fio's log of requests."""

from pathlib import Path

import pytest

from tests.bench.backups import (
    QEMU,
    SCENES,
    Cost,
    Span,
    Spans,
    as_json,
    backup_servers,
    cost,
    more_lost,
    table,
)
from tests.bench.edits import Sample
from tests.bench.place import BenchError, Room
from tests.bench.servers import FILE, all_servers

PLAIN, BACKUP = Span(1000, 2000, backup=False), Span(2100, 2600, backup=True)


def every(step_ms: int, begin_ms: int, end_ms: int, value_ns: float) -> list[Sample]:
    """Requests that end at these times."""
    return [Sample(at, value_ns) for at in range(begin_ms, end_ms, step_ms)]


def seen(iops: float, seconds: float = 1.0, p99_us: float = 100.0) -> Spans:
    """What a client saw."""
    return Spans(iops=iops, p99_us=p99_us, longest_us=9 * p99_us, seconds=seconds)


def test_rates_and_times_are_of_the_spans() -> None:
    """1000 requests a second without; 200 with, for half a second: 0.4 s are lost."""
    requests = [*every(1, 900, 2100, 1e5), *every(5, 2100, 2600, 8e5), Sample(2700, 1e9)]
    found = cost([PLAIN, BACKUP], requests)
    assert (found.plain.iops, found.backup.iops, found.backup.seconds) == (1000, 200, 0.5)
    assert (found.plain.p99_us, found.backup.p99_us, found.backup.longest_us) == (100, 800, 800)
    assert (found.kept, found.p99) == (0.2, 8)
    assert found.lost_ms == pytest.approx(400)


def test_several_spans_of_a_kind_are_one() -> None:
    """Their rate is that of their whole time, their length the mean."""
    spans = [PLAIN, BACKUP, Span(3000, 4500, backup=True)]
    found = cost(spans, [*every(1, 1000, 2600, 1e5), *every(2, 3000, 4500, 1e5)])
    assert (found.backup.iops, found.backup.seconds) == (625, 1.0)


def test_a_span_without_load_is_an_error() -> None:
    """A fio that ended early must not pass for one that a backup stopped, which may be."""
    last = Span(2600, 3000, backup=False)
    requests = every(1, 1000, 2000, 1e5)
    with pytest.raises(BenchError, match="not under way"):
        cost([PLAIN, BACKUP, last], requests)
    found = cost([PLAIN, BACKUP, last], [*requests, *every(1, 2600, 3000, 1e5)])
    assert (found.kept, found.lost_ms, found.backup.p99_us) == (0, 500, 500_000)


def test_the_better_of_qemus_is_the_measure() -> None:
    """The one that loses less; and within a round."""
    by_title = {
        QEMU[0]: [Cost(seen(100), seen(50)), Cost(seen(100), seen(50))],
        QEMU[1]: [Cost(seen(100), seen(80)), Cost(seen(100), seen(60))],
        FILE: [Cost(seen(100), seen(70)), Cost(seen(100), seen(70))],
    }
    assert more_lost(by_title, FILE) == pytest.approx([100, -100])
    assert more_lost({FILE: by_title[FILE]}, FILE) == []


def test_the_table() -> None:
    """A block a scene that was measured, a line a server; without qemu no comparison."""
    costs = {SCENES[0].name: {FILE: [Cost(seen(2000), seen(500, 2.0, 300.0))]}}
    title, head, line = table(costs).splitlines()
    assert title.startswith("a backup as fast as it can under 4 KiB random write")
    assert head.split()[:3] == ["IOPS", "with", "kept"]
    assert line.split() == [
        *FILE.split(), "2,000", "500", "0.25", "0.100", "0.300", "3.0", "2.00", "1,500", "-",
    ]  # fmt: skip
    assert as_json(costs)[SCENES[0].name][FILE][0]["lost-ms"] == pytest.approx(1500)


def test_servers(tmp_path: Path) -> None:
    """QEMU's both ways of I/O, with a monitor where blkrun has its own; blkrun's file alone."""
    servers = backup_servers(all_servers())
    assert [server.name for server in servers] == [*QEMU, FILE]
    room = Room(tmp_path)
    for server in servers[:2]:
        assert str(room.control) in " ".join(server.command(room))
