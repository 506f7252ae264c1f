"""What is written down of a pivot: one small file a job, beside the control socket."""

from pathlib import Path

import pytest

from blkrun.pivot_record import PivotRecord, read_records, remove_record, write_record

MOVE = PivotRecord("move", "old", "new")
OTHER = PivotRecord("other.job", "a", "b")


def test_written_read_and_removed(tmp_path: Path) -> None:
    """By job; removing one that is not there is none's business."""
    control = tmp_path / "vm.qmp"
    write_record(control, OTHER)
    write_record(control, MOVE)
    assert read_records(control) == [MOVE, OTHER]
    remove_record(control, "move")
    remove_record(control, "move")
    assert read_records(control) == [OTHER]


def test_servers_do_not_see_each_others(tmp_path: Path) -> None:
    """Two files in one directory, one named as the other begins."""
    write_record(tmp_path / "vm.qmp", MOVE)
    assert read_records(tmp_path / "v.qmp") == []
    assert read_records(tmp_path / "vm") == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"job_id": 1}', "\0"])
def test_one_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    """It cannot be half written, but somebody may have put it there."""
    control = tmp_path / "vm.qmp"
    write_record(control, MOVE)
    next(tmp_path.glob("*.pivoted")).write_text(text)
    assert read_records(control) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Then there is no pivot: the error is the job's."""
    with pytest.raises(FileNotFoundError):
        write_record(tmp_path / "gone" / "vm.qmp", MOVE)
