"""Keys that have another name since: a file may have the older one, with a warning."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from blkrun import config
from blkrun.cli import check
from blkrun.config import Diagnostic
from blkrun.decode import Kind, Problem, decode, with_current_names
from blkrun.errors import FileError
from blkrun.job_options import JOBS
from blkrun.options import DRIVERS, BitmapOptions, ExportOptions, ServerOptions, ThrottleLimits
from blkrun.reconcile.reports import warning_notes

FILE = Path("/lab/vm.toml")

TEXT = """\
[throttle-groups.gold]
bps_rd = "10MiB"                # copied from a script
bps_rd_max = "20MiB"
bps_rd_max_length = 5
bps_wr = 5
iops-total = 100
iops_size = 4096
[backends.disk]
driver = "memory"
[exports.vda]
node = "disk"
iops = 500
"""

STRUCTS = (*DRIVERS.values(), *JOBS.values(), BitmapOptions, ExportOptions, ServerOptions)


def found(text: str) -> list[Diagnostic]:
    """Everything there is to say."""
    return config.check(text, FILE)


def test_they_are_read() -> None:
    """As if the names of now were written."""
    parsed = config.parse(TEXT, FILE)
    assert parsed.graph.groups == {
        "gold": ThrottleLimits(
            bps_read=10 * 2**20,
            bps_read_max=20 * 2**20,
            bps_read_max_length=5,
            bps_write=5,
            iops_total=100,
            iops_size=4096,
        ),
        "vda": ThrottleLimits(iops_total=500),
    }


def test_each_is_told() -> None:
    """With place, old and new name, and what to do; it is no error."""
    warnings = found(TEXT)
    assert [(each.line, each.column, each.length) for each in warnings] == [
        (2, 1, 6),
        (3, 1, 10),
        (4, 1, 17),
        (5, 1, 6),
        (7, 1, 9),
        (12, 1, 4),
    ]
    assert {each.severity for each in warnings} == {"warning"}
    assert warnings[0].message == (
        'throttle-groups.gold.bps_rd: "bps_rd" is an older name of "bps-read": write bps-read'
    )
    assert config.parse(TEXT, FILE).warnings == tuple(warnings)


def test_every_older_name() -> None:
    """Those of block_set_io_throttle, and each leads to an option that there is."""
    renamed = ThrottleLimits.renamed
    limits = [f"{unit}{way}" for unit in ("bps", "iops") for way in ("", "_rd", "_wr")]
    suffixes = ("", "_max", "_max_length")
    assert {*renamed} == {*(f"{a}{b}" for a in limits for b in suffixes), "iops_size"}
    assert {*renamed.values()} == {*ThrottleLimits.__struct_encode_fields__}


@pytest.mark.parametrize("struct", [*STRUCTS, ThrottleLimits])
def test_an_older_name_is_no_name_of_now(struct: Any) -> None:
    """And leads to an option that the Struct has."""
    renamed = getattr(struct, "renamed", {})
    fields = {*struct.__struct_encode_fields__}
    assert fields.isdisjoint(renamed)
    assert fields.issuperset(renamed.values())


def test_both_names() -> None:
    """Nobody can say which is meant."""
    text = TEXT.replace("bps_wr = 5", "bps_wr = 5\nbps-write = 6")
    (one,) = [each for each in found(text) if each.severity == "error"]
    assert (one.line, one.column) == (5, 1)
    assert one.message == (
        'throttle-groups.gold.bps_wr: "bps_wr" is an older name of "bps-write", '
        "which is written too: remove one of them"
    )
    assert one.related is not None
    assert one.related.line == 6


def test_errors_are_shown_where_the_older_name_is() -> None:
    """A wrong value, and a broken rule about the option."""
    text = TEXT.replace("bps_wr = 5", 'bps_wr = "x"')
    errors = [each for each in found(text) if each.severity == "error"]
    assert [(each.line, each.column) for each in errors] == [(5, 10)]
    text = TEXT.replace('"20MiB"', '"2MiB"')
    errors = [each for each in found(text) if each.severity == "error"]
    assert [(each.line, each.column) for each in errors] == [(3, 1)]
    assert errors[0].message.startswith("throttle-groups.gold.bps-read-max: ")


def test_the_error_of_a_file_does_not_mention_warnings() -> None:
    """What keeps it from being used is not to be looked for among them."""
    with pytest.raises(FileError) as raised:
        config.parse(TEXT + "foo = 1\n", FILE)
    assert str(raised.value).count("\n") == 2
    assert "warning" not in str(raised.value)


def test_over_qmp_they_are_unknown() -> None:
    """Only a file is read so."""
    problems: list[Problem] = []
    assert decode(ThrottleLimits, {"bps": 1}, problems) is None
    assert [each.kind for each in problems] == [Kind.UNEXPECTED]


def test_a_table_without_any_is_passed_on() -> None:
    """No copy is made."""
    raw = {"bps-total": 1}
    assert with_current_names(ThrottleLimits, raw, []) is raw
    assert with_current_names(ExportOptions, raw, []) is raw


def test_the_reports_note() -> None:
    """The first, and where to see the others."""
    note = 'throttle-groups.gold.bps_rd: "bps_rd" is an older name of "bps-read": write bps-read'
    assert warning_notes(config.parse(TEXT, FILE)) == [
        f"vm.toml:2: {note} (and 5 more: blkrun check vm.toml)"
    ]
    assert warning_notes(config.parse(TEXT[: TEXT.index("bps_rd_max")], FILE)) == [
        f"vm.toml:2: {note}"
    ]
    assert warning_notes(config.parse("[server]\n", FILE)) == []


def test_check_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are on standard error, and the file is right all the same."""
    file = tmp_path / "vm.toml"
    file.write_text(TEXT)
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    assert check.run(parser.parse_args([str(file)])) == 0
    out, err = capsys.readouterr()
    assert out == f"{file}: ok, 2 nodes, 2 groups, 1 export\n"
    assert err.startswith(f"{file}:2:1: warning: throttle-groups.gold.bps_rd: ")
    assert err.count("warning: ") == 6
    assert check.run(parser.parse_args([str(file), "--json"])) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["severity"] for row in rows] == ["warning"] * 6


def test_warnings_are_yellow() -> None:
    """Errors are red."""
    shown = config.render(found(TEXT + "foo = 1\n"), {FILE: TEXT.encode()}, colour=True)
    assert shown.count("\x1b[1;33mwarning:\x1b[0m") == 6
    assert shown.count("\x1b[1;31merror:\x1b[0m") == 1
