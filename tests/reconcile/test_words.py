"""Options in words, as a plan shows them."""

import pytest

from blkrun.options import ExportOptions, FileOptions
from blkrun.reconcile.words import change_words


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"description": ""}, {"description": "mail"}, 'description "" → mail'),
        ({"read_only": False}, {"read_only": True}, "read-only false → true"),
    ],
)
def test_changes_of_an_export(
    old: dict[str, object], new: dict[str, object], expected: str
) -> None:
    """The key as it is written, what it was and what it will be; an empty text can be seen."""
    before, after = (ExportOptions(node="d", **each) for each in (old, new))  # type: ignore[arg-type]  # a table's
    assert change_words(before, after, [key.replace("_", "-") for key in new]) == expected


def test_units_and_what_is_left_out() -> None:
    """Bytes in the unit that fits exactly; an option that is not there is unset."""
    old, new = (
        FileOptions(node_name="d", path="a"),
        FileOptions(node_name="d", path="a", size=2**30),
    )
    assert change_words(old, new, ["size"]) == "size unset → 1GiB"
