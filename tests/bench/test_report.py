"""Ratios and the table."""

import json

from tests.bench.load import Workload
from tests.bench.report import Results, as_json, better_of, ratios, summary, table
from tests.bench.samples import figures
from tests.bench.servers import FILE, NBDKIT_FILE, QEMU_IO_URING, QEMU_THREADS, THROTTLE

LOAD = Workload("randread", 4, 16, 1)


def results() -> Results:
    """A machine whose mood halves in the second round."""
    return {
        NBDKIT_FILE: {LOAD: [figures(200, 100), figures(100, 200), figures(200, 100)]},
        QEMU_THREADS: {LOAD: [figures(60), figures(30), figures(60)]},
        QEMU_IO_URING: {LOAD: [figures(80, 400), figures(40, 800), figures(80, 400)]},
        THROTTLE: {LOAD: [figures(100, 300), figures(50, 600), figures(90, 300)]},
        FILE: {LOAD: []},
    }


def test_ratios_are_taken_within_a_round() -> None:
    """What slows a whole round changes no ratio."""
    assert ratios(results(), THROTTLE, [NBDKIT_FILE], LOAD, "iops") == [0.5, 0.5, 0.45]


def test_the_better_of_qemus_is_the_measure() -> None:
    """By requests a second, and its p99 then counts as well."""
    both = (QEMU_THREADS, QEMU_IO_URING)
    assert better_of(results(), both, LOAD) == QEMU_IO_URING
    assert ratios(results(), THROTTLE, both, LOAD, "iops") == [1.25, 1.25, 1.125]
    assert ratios(results(), THROTTLE, both, LOAD, "p99_us") == [0.75, 0.75, 0.75]


def test_what_was_not_measured_has_no_ratio() -> None:
    """It is empty, and nothing fails."""
    alone: Results = {THROTTLE: results()[THROTTLE]}
    assert ratios(alone, THROTTLE, [NBDKIT_FILE], LOAD, "iops") == []
    assert summary(alone)[THROTTLE][LOAD.name]["iops-to-nbdkit"] is None


def test_medians() -> None:
    """Of each figure by itself; a server without a round has none."""
    found = summary(results())
    assert found[THROTTLE][LOAD.name]["iops"] == 90
    assert found[THROTTLE][LOAD.name]["p99-us"] == 300
    assert found[THROTTLE][LOAD.name]["rounds"] == 3
    assert found[FILE] == {}


def test_another_checkout_is_a_column() -> None:
    """A server is compared with its twin there."""
    both = results() | {f"before: {THROTTLE}": {LOAD: [figures(50), figures(25), figures(45)]}}
    assert summary(both, "before")[THROTTLE][LOAD.name]["iops-to-other"] == 2.0
    assert "to other" in table(both, "before")
    assert "to other" not in table(results())


def test_the_table_has_a_line_for_each_server() -> None:
    """Under the workload's title; what is missing is a dash."""
    lines = table({THROTTLE: results()[THROTTLE]}).splitlines()
    assert lines[0].startswith(LOAD.title)
    assert lines[2].split()[:4] == ["blkrun", "throttle", "90", "0"]
    assert lines[2].split()[-1] == "-"


def test_the_json_has_every_round() -> None:
    """Medians for a reader, rounds for somebody who doubts them."""
    found = json.loads(json.dumps(as_json(results())))
    assert [one["iops"] for one in found["rounds"][THROTTLE][LOAD.name]] == [100, 50, 90]
    assert found["medians"][THROTTLE][LOAD.name]["iops-to-qemu"] == 1.25
