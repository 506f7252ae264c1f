"""What ``blkrun drivers`` says of a change, the planner does."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.config.catalogue import catalogue
from blkrun.reconcile.plan import plan

FILE = """
[throttle-groups.g]
iops-total = 100
[backends.a]
driver = "null"
[backends.b]
driver = "null"
[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "a"
[exports.x]
node = "limit"
description = "one"
read-only = true
[bitmaps.c]
node = "a"
granularity = "64KiB"
"""


def types(old: str, new: str) -> list[str]:
    """The operations of an edit of the file above."""
    assert old in FILE
    before, after = (
        config.parse(text, Path("/lab/vm.toml")).graph for text in (FILE, FILE.replace(old, new))
    )
    return [operation.type for operation in plan(after, before)]


@pytest.mark.parametrize(
    ("entry", "key", "old", "new", "expected"),
    [
        ("throttle-groups", "iops-total", "= 100", "= 200", ["qom-set"]),
        ("exports", "node", '"limit"', '"b"', ["x-blkrun-set-edge"]),
        ("throttle", "file", 'file = "a"', 'file = "b"', ["x-blkrun-set-edge"]),
    ],
)
def test_what_is_live_keeps_what_there_is(
    entry: str, key: str, old: str, new: str, expected: list[str]
) -> None:
    """Nothing goes and nothing is added."""
    (option,) = [each for each in catalogue()[entry].options if each.name == key]
    assert option.live
    assert types(old, new) == expected


@pytest.mark.parametrize(
    ("entry", "key", "old", "new", "made"),
    [
        ("exports", "description", '"one"', '"two"', "block-export-add"),
        ("exports", "read-only", "read-only = true", "read-only = false", "block-export-add"),
        ("bitmaps", "granularity", "64KiB", "32KiB", "block-dirty-bitmap-add"),
        (
            "null",
            "size",
            'driver = "null"',
            'driver = "null"\nsize = "2GiB"',
            "x-blkrun-replace-node",
        ),
    ],
)
def test_what_is_not_live_is_made_anew(entry: str, key: str, old: str, new: str, made: str) -> None:
    """As the line below the keys says."""
    (option,) = [each for each in catalogue()[entry].options if each.name == key]
    assert not option.live
    assert catalogue()[entry].otherwise
    assert made in types(old, new)
