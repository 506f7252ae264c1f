"""Mapping → Struct, with everything that is wrong."""

from typing import Any

import pytest
from msgspec import Struct

from blkrun.decode import Kind, Problem, decode, nearest
from blkrun.job_options import BackupOptions
from blkrun.options import (
    DRIVERS,
    BitmapPlace,
    CopyBeforeWriteOptions,
    DashboardOptions,
    FileOptions,
    NbdOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
    ThrottleOptions,
)


def problems_of(struct: type[Struct], raw: dict[str, Any]) -> list[Problem]:
    """What is wrong; nothing is decoded then."""
    problems: list[Problem] = []
    assert decode(struct, raw, problems, ("here",)) is None
    return problems


def decoded(struct: type[Struct], raw: dict[str, Any]) -> Struct:
    """The Struct, with nothing wrong."""
    problems: list[Problem] = []
    result = decode(struct, raw, problems)
    assert problems == []
    assert result is not None
    return result


def test_units_and_kebab_case() -> None:
    """Strings with a unit become integers; plain integers are taken as they are."""
    assert decoded(FileOptions, {"node-name": "a", "path": "x", "size": "1KiB"}) == FileOptions(
        node_name="a", path="x", size=1024
    )
    assert decoded(
        ThrottleLimits, {"iops-total": "2k", "bps-read": 5, "iops-total-max-length": "10s"}
    ) == ThrottleLimits(iops_total=2000, bps_read=5, iops_total_max_length=10)
    assert decoded(DashboardOptions, {"refresh": "250ms"}) == DashboardOptions(refresh=250_000_000)


def test_lists_become_tuples() -> None:
    """So that options can be hashed and compared."""
    assert decoded(NbdOptions, {"node-name": "a", "command": ["x", "y"]}) == NbdOptions(
        node_name="a", command=("x", "y")
    )


def test_everything_is_reported() -> None:
    """Unknown, missing and wrong keys of one table, each with its path."""
    found = problems_of(ThrottleOptions, {"node-name": "a", "fil": "b", "read-only": 1})
    assert {(each.kind, each.path, each.message, each.expected) for each in found} == {
        (Kind.UNEXPECTED, ("here", "fil"), 'unknown key "fil"', None),
        (Kind.TYPE, ("here", "read-only"), "1 is not a boolean", "boolean"),
        (Kind.MISSING, ("here",), '"file" is missing', "file"),
        (Kind.MISSING, ("here",), '"throttle-group" is missing', "throttle-group"),
    }
    assert found[0].suggestion == "file"


@pytest.mark.parametrize(
    ("struct", "raw", "path", "message", "expected"),
    [
        (ServerOptions, {"threads": True}, "threads", "true is not an integer", "integer"),
        (ServerOptions, {"threads": 1.5}, "threads", "1.5 is not an integer", "integer"),
        (ServerOptions, {"listen": 3}, "listen", "3 is not a string", "string"),
        (ServerOptions, {"listen": [1]}, "listen", "[1] is not a string", "string"),
        (ThrottleLimits, {"bps-read": True}, "bps-read", "true is not an integer", "integer"),
    ],
)
def test_types(
    struct: type[Struct], raw: dict[str, Any], path: str, message: str, expected: str
) -> None:
    """The value is echoed, the JSON type named; no type is converted into another."""
    (problem,) = problems_of(struct, raw)
    assert problem == Problem(
        path=("here", path), kind=Kind.TYPE, message=message, expected=expected
    )


def test_a_list_item() -> None:
    """The path leads to the item, and the item is what is echoed."""
    (problem,) = problems_of(NbdOptions, {"node-name": "a", "command": ["x", 3]})
    assert (problem.path, problem.message) == (("here", "command", 1), "3 is not a string")


@pytest.mark.parametrize(
    ("struct", "raw", "message"),
    [
        (ServerOptions, {"threads": 0}, "0 is out of range: needs >= 1"),
        (ServerOptions, {"threads": 257}, "257 is out of range: needs <= 256"),
        (DashboardOptions, {"refresh": "10ms"}, "'10ms' is out of range: needs >= 200ms"),
        (DashboardOptions, {"refresh": "6s"}, "'6s' is out of range: needs <= 5s"),
        (ThrottleLimits, {"bps-read": -1}, "-1 is out of range: needs >= 0B"),
        (ThrottleLimits, {"bps-read": "x"}, '\'x\' is not a size; write "64KiB", "10GB" or 512'),
        (RunnerOptions, {"apply": "saf"}, '\'saf\' is not one of "safe", "all", "ask"'),
    ],
)
def test_values(struct: type[Struct], raw: dict[str, Any], message: str) -> None:
    """As the user wrote it, with the limit in the same unit."""
    (problem,) = problems_of(struct, raw)
    assert (problem.kind, problem.message) == (Kind.VALUE, message)


def test_choice_suggestion() -> None:
    """The nearest of the choices is offered."""
    (problem,) = problems_of(RunnerOptions, {"apply": "saf"})
    assert problem.suggestion == "safe"


def test_choices_of_an_option_that_may_be_left_out() -> None:
    """They are listed like any others, in the order in which they are declared."""
    raw = {"job-id": "j", "device": "a", "target": "b", "bitmap-mode": "on-succes"}
    (problem,) = problems_of(BackupOptions, raw)
    assert problem.message == '\'on-succes\' is not one of "on-success", "never", "always"'
    assert problem.suggestion == "on-success"


def test_a_table_within_the_table() -> None:
    """It is decoded key by key as well: nothing in it is passed over."""
    raw = {"node-name": "k", "file": "a", "target": "b"}
    found = problems_of(CopyBeforeWriteOptions, {**raw, "bitmap": {"node": 1, "nam": "x"}})
    assert {(each.kind, each.path, each.message, each.suggestion) for each in found} == {
        (Kind.UNEXPECTED, ("here", "bitmap", "nam"), 'unknown key "nam"', "name"),
        (Kind.TYPE, ("here", "bitmap", "node"), "1 is not a string", None),
        (Kind.MISSING, ("here", "bitmap"), '"name" is missing', None),
    }
    right = decoded(CopyBeforeWriteOptions, {**raw, "bitmap": {"node": "a", "name": "x"}})
    assert isinstance(right, CopyBeforeWriteOptions)
    assert right.bitmap == BitmapPlace(node="a", name="x")


def test_nearest() -> None:
    """Near enough, or None."""
    assert nearest("iops-totl", ["iops-total", "bps-total"]) == "iops-total"
    assert nearest("zzz", ["iops-total"]) is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_reports_what_it_requires(driver: str) -> None:
    """From nothing at all, each names what is missing, the name among it."""
    found = problems_of(DRIVERS[driver], {})
    assert {each.kind for each in found} == {Kind.MISSING}
    assert "node-name" in {each.expected for each in found}
