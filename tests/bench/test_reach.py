"""What is to be reached: the rows, and the words."""

from collections.abc import Sequence

import pytest

from tests.bench.backups import QEMU as QEMU_BACKUPS
from tests.bench.backups import SCENES, Cost, Spans
from tests.bench.edits import EditPair, SpanFigures
from tests.bench.load import WORKLOADS
from tests.bench.planning import SIZES, Planning
from tests.bench.reach import (
    COMPARISONS,
    EDITS_LONGEST,
    EDITS_LOST,
    FOUR,
    ONE,
    PLANNING,
    QCOW2_ALLOCATING,
    QCOW2_RANDOM,
    QCOW2_SEQUENTIAL,
    SEQUENTIAL,
    STATS,
    WATCHING_BUSY,
    WATCHING_IDLE,
    WATCHING_LOST,
    WATCHING_MEMORY,
    Outcome,
    Target,
    as_json,
    judged,
    lost_per_filter,
    outcomes,
    table,
)
from tests.bench.report import Results
from tests.bench.samples import figures
from tests.bench.servers import (
    CHAINS,
    FILE,
    NBDKIT_FILE,
    NBDKIT_RATE,
    QCOW2,
    QCOW2_QEMU,
    QEMU,
    QEMU_IO_URING,
    THROTTLE,
    all_servers,
)
from tests.bench.stats_call import StatsCall
from tests.bench.watching import Share, Watching

RATIO = Target("work", "others", 0.9, 1.2, more_is_better=True)
DELAY = Target("work", "others", 5.0, 1.0, "ms")


@pytest.mark.parametrize(
    ("target", "measured", "verdict"),
    [
        (RATIO, 1.2, "aim reached"),
        (RATIO, 1.19, "least reached, short of the aim"),
        (RATIO, 0.9, "least reached, short of the aim"),
        (RATIO, 0.89, "SHORT of the least"),
        (DELAY, -3.0, "aim reached"),
        (DELAY, 1.0, "aim reached"),
        (DELAY, 1.1, "least reached, short of the aim"),
        (DELAY, 5.1, "SHORT of the least"),
        (DELAY, None, "not measured"),
    ],
)
def test_verdicts(target: Target, measured: float | None, verdict: str) -> None:
    """The limits themselves are reached; which side is good depends on the row."""
    assert target.verdict(measured) == verdict


def test_every_row_is_there_without_a_measurement() -> None:
    """The chain, qcow2, further filters in two steps, the dashboard; a row a backup, or a size."""
    found = outcomes({}, [], None)
    assert len(found) == 18 + len(SCENES) + len(SIZES)
    assert {one.verdict for one in found} == {"not measured"}
    assert all(one["measured"] is None for one in as_json(found))


def test_what_is_judged_is_measured() -> None:
    """Each row's workload is in the matrix, and its servers exist and serve such images."""
    qcow2 = {QCOW2_RANDOM, QCOW2_SEQUENTIAL, QCOW2_ALLOCATING}
    assert set(judged()) == {ONE, FOUR, SEQUENTIAL} | qcow2
    for workload, names in judged().items():
        assert workload in WORKLOADS
        assert names <= {one.name for one in all_servers() if one.fits(workload.image)}


def test_the_rows_compare_what_they_say() -> None:
    """A throttle with the better of qemu's, with the rate filter, with the plain file plugin."""
    results: Results = {
        THROTTLE: {ONE: [figures(90, 300)], FOUR: [figures(80, 900)], SEQUENTIAL: [figures(16)]},
        QEMU[0]: {ONE: [figures(10, 1)], FOUR: [figures(10, 1)], SEQUENTIAL: [figures(1)]},
        QEMU_IO_URING: {
            ONE: [figures(100, 200)],
            FOUR: [figures(100, 200)],
            SEQUENTIAL: [figures(10)],
        },
        NBDKIT_RATE: {ONE: [figures(120, 100)]},
        NBDKIT_FILE: {FOUR: [figures(200, 450)]},
    }
    assert [one.measured for one in outcomes(results, [], None)[:6]] == [
        0.9,
        0.75,
        1.5,
        0.8,
        2.0,
        1.6,
    ]


def test_qcow2_is_compared_with_qemus_qcow2() -> None:
    """Each load with the better of the two, by round; other servers' figures count for nothing."""
    loads = (QCOW2_RANDOM, QCOW2_SEQUENTIAL, QCOW2_ALLOCATING)
    results: Results = {
        THROTTLE: {load: [figures(1)] for load in loads},
        QEMU[0]: {load: [figures(1000)] for load in loads},
        QCOW2_QEMU[0]: {load: [figures(100)] for load in loads},
        QCOW2_QEMU[1]: {load: [figures(10)] for load in loads},
        QCOW2: {load: [figures(iops)] for load, iops in zip(loads, (70, 130, 49), strict=True)},
    }
    found = [one for one in outcomes(results, [], None) if one.target.work.startswith("qcow2")]
    assert [(one.measured, one.verdict) for one in found] == [
        (0.7, "least reached, short of the aim"),
        (1.3, "aim reached"),
        (0.49, "SHORT of the least"),
    ]


def test_a_filters_cost_is_its_share() -> None:
    """Two filters that leave 81 % cost 10 % each, three that leave 72.9 % as well."""
    results: Results = {
        CHAINS[1]: {ONE: [figures(1000), figures(500)]},
        CHAINS[3]: {ONE: [figures(810), figures(405)]},
        CHAINS[6]: {ONE: [figures(590.49), figures(295.245)]},
    }
    assert lost_per_filter(results, (1, 3)) == pytest.approx([10.0, 10.0])
    assert lost_per_filter(results, (3, 6)) == pytest.approx([10.0, 10.0])


def test_edits_and_the_call() -> None:
    """Medians over all pairs; a command that is not there says so."""
    pairs = [
        EditPair(SpanFigures(100.0, 10.0), SpanFigures(edited, longest))
        for edited, longest in ((98.0, 10.5), (96.0, 30.0), (99.0, 9.0))
    ]
    found = by_target(outcomes({}, pairs, StatsCall((), "not there yet")))
    lost, longest, call = found[EDITS_LOST], found[EDITS_LONGEST], found[STATS]
    assert lost.measured == pytest.approx(2.0)
    assert longest.measured == pytest.approx(0.5)
    assert call.verdict == "not there yet"
    call = by_target(outcomes({}, [], StatsCall([0.1], "as it says")))[STATS]
    assert call.verdict == "aim reached (as it says)"


def by_target(found: Sequence[Outcome]) -> dict[Target, Outcome]:
    """The rows by what they are about."""
    return {row.target: row for row in found}


def test_plans() -> None:
    """Each size by its own limits, and the edit that took longest is named."""
    plans = {
        1_000: Planning([60.0, 40.0, 51.0], "no change"),
        10_000: Planning([60.0, 40.0, 51.0], "no change"),
    }
    found = by_target(outcomes({}, [], None, plans=plans))
    few, many = (found[PLANNING[nodes]] for nodes in plans)
    assert (few.measured, few.verdict) == (51.0, "SHORT of the least (no change)")
    assert (many.measured, many.verdict) == (51.0, "aim reached (no change)")


def test_a_dashboards_cost() -> None:
    """Of a core, of memory, and of the client's throughput; what is painted is only told."""
    pairs = [EditPair(SpanFigures(100, 1), SpanFigures(edited, 1)) for edited in (99, 97, 98)]
    watching = Watching(
        busy=Share(7.0, 16.5),
        opened=Share(2.5, 0.9),
        idle=Share(2.0, 0.4),
        resident_mb=47,
        pairs=pairs,
    )
    found = by_target(outcomes({}, [], None, watching=watching))
    assert found[WATCHING_BUSY].verdict == "least reached, short of the aim (16.5 kB/s painted)"
    assert (
        found[WATCHING_IDLE].verdict == "SHORT of the least (0.4 kB/s painted; just opened 2.50 %)"
    )
    assert found[WATCHING_MEMORY].verdict == "aim reached"
    assert found[WATCHING_LOST].measured == pytest.approx(2.0)
    assert by_target(outcomes({}, [], None))[WATCHING_LOST].verdict == "not measured"


def test_a_backups_cost_is_beside_the_better_of_qemus() -> None:
    """In time at the client's rate without a backup: half of it for two seconds is one second."""
    plain = Spans(iops=1000, p99_us=1, longest_us=1, seconds=1)

    def cost(iops: float) -> Cost:
        return Cost(plain, Spans(iops=iops, p99_us=1, longest_us=1, seconds=2))

    costs = {
        SCENES[0].name: {
            QEMU_BACKUPS[0]: [cost(100)],
            QEMU_BACKUPS[1]: [cost(600)],
            FILE: [cost(500)],
        }
    }
    row = outcomes({}, [], None, costs=costs)[len(COMPARISONS) + 2]
    assert row.measured == pytest.approx(200)
    assert row.target.work.startswith("a backup as fast as it can")


def test_another_checkout_is_judged_apart() -> None:
    """By its own servers, against the same others."""
    results: Results = {
        QEMU_IO_URING: {ONE: [figures(100)]},
        THROTTLE: {ONE: [figures(90)]},
        f"before: {THROTTLE}": {ONE: [figures(80)]},
    }
    assert outcomes(results, [], None)[0].measured == 0.9
    assert outcomes(results, [], None, "before")[0].measured == 0.8


def test_the_table() -> None:
    """Measured, between what, the limits, the words."""
    outcome = Outcome(RATIO, [0.8, 1.0, 0.9, 0.9, 0.9, 0.9])
    line = table([outcome]).splitlines()[1]
    words = ["work", "others", "0.90", "x", "0.80", "..", "1.00", "0.9", "1.2", "least"]
    assert line.split()[:10] == words
