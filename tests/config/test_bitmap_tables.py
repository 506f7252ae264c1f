"""[bitmaps.NAME]: what it becomes, and everything that can be wrong with it."""

import pytest
from msgspec import structs

from blkrun import config
from blkrun.options import BitmapOptions
from tests.config.test_job_tables import FILE, GOOD, found, related

BITMAP = GOOD + '[bitmaps.changes]\nnode = "disk"\n'
USED = BITMAP.replace("[bitmaps", 'sync = "incremental"\nbitmap = "changes"\n[bitmaps')
OFF = "write-threshold = 0\nenabled = false\n"


def bitmaps(text: str) -> dict[str, BitmapOptions]:
    """What the file asks for."""
    return config.parse(text, FILE).graph.bitmaps


def test_a_bitmap() -> None:
    """The table's name is the bitmap's; its line is known."""
    parsed = config.parse(BITMAP, FILE)
    assert parsed.graph.bitmaps == {"changes": BitmapOptions(node="disk", granularity=65536)}
    assert parsed.places["bitmaps.changes"].line == 15
    with_unit = bitmaps(BITMAP + 'granularity = "1MiB"\n')
    assert with_unit == {"changes": BitmapOptions(node="disk", granularity=2**20)}


def test_a_filter_that_is_switched_off_counts_as_its_child() -> None:
    """As it does for edges, also when a job's device is compared with it."""
    text = USED.replace('[bitmaps.changes]\nnode = "disk"', '[bitmaps.changes]\nnode = "limit"')
    off = text.replace("write-threshold = 0\n", OFF)
    assert found(off) == []
    assert bitmaps(off) == {"changes": BitmapOptions(node="disk")}
    on = structs.replace(BitmapOptions(node="disk"), node="limit")
    assert bitmaps(BITMAP.replace('changes]\nnode = "disk"', 'changes]\nnode = "limit"')) == {
        "changes": on
    }


PROBLEMS = {
    "no table": (
        "bitmaps = 3\n",
        (1, 1, "bitmaps is not a table: write [bitmaps.NAME] and its keys below", None),
    ),
    "no node": (
        BITMAP.replace('changes]\nnode = "disk"\n', "changes]\n"),
        (15, 1, '"node" is missing in bitmaps.changes', None),
    ),
    "an unknown node": (
        BITMAP.replace('changes]\nnode = "disk"', 'changes]\nnode = "dsik"'),
        (16, 8, 'bitmaps.changes.node: there is no node or backend "dsik"', "disk"),
    ),
    "an unknown key": (
        BITMAP + "granulraity = 512\n",
        (17, 1, 'unknown key "granulraity" in bitmaps.changes', "granularity"),
    ),
    "no name": (
        BITMAP.replace("bitmaps.changes", 'bitmaps.""'),
        (15, 10, "Bitmap name cannot be empty: write [bitmaps.NAME]", None),
    ),
    "a name with a NUL": (
        BITMAP.replace("bitmaps.changes", 'bitmaps."a\\u0000"'),
        (15, 10, "Bitmap name has a NUL character in it", None),
    ),
    "a name that is too long": (
        BITMAP.replace("changes", '"' + "é" * 512 + '"'),
        (15, 10, "Bitmap name too long: 1024 bytes, the limit is 1023", None),
    ),
    "a granularity that is too small": (
        BITMAP + "granularity = 256\n",
        (17, 15, "bitmaps.changes.granularity: it is 256, and has to be from 512 bytes", None),
    ),
    "a granularity that is too large": (
        BITMAP + 'granularity = "4GiB"\n',
        (17, 15, "bitmaps.changes.granularity: it is 4294967296, and has to be from 512", None),
    ),
    "a granularity between two": (
        BITMAP + "granularity = 1000\n",
        (
            17,
            15,
            (
                "bitmaps.changes.granularity: it is 1000, and has to be a power of 2: "
                "512 or 1024 is near"
            ),
            None,
        ),
    ),
    "another node than the job's": (
        USED.replace('device = "disk"', 'device = "limit"'),
        (
            16,
            10,
            (
                'jobs.nightly.bitmap: it records the writes of "disk", and the device is "limit": '
                "both have to be one node"
            ),
            None,
        ),
    ),
}


@pytest.mark.parametrize(("text", "expected"), PROBLEMS.values(), ids=PROBLEMS)
def test_problem(text: str, expected: tuple[int, int, str, str | None]) -> None:
    """One, at its place, with these words first."""
    ((line, column, message, suggestion),) = found(text)
    assert (line, column, suggestion) == (expected[0], expected[1], expected[3])
    assert message[: len(expected[2])] == expected[2]


def test_the_other_place_is_named() -> None:
    """Where it says which node the bitmap is of."""
    assert related(PROBLEMS["another node than the job's"][0]) == [18]


@pytest.mark.parametrize(
    "text",
    [
        USED,
        USED.replace("[bitmaps.changes]", "[bitmaps.others]"),
        BITMAP + "granularity = 512\n",
        BITMAP + 'granularity = "2GiB"\n',
        BITMAP.replace("changes", '"every hour"'),
        BITMAP.replace("changes", '"' + "x" * 1023 + '"'),
    ],
    ids=["used", "made by QMP", "smallest", "largest", "any text", "longest"],
)
def test_nothing_is_wrong_with_it(text: str) -> None:
    """The rules forbid no more than they should."""
    assert found(text) == []
