"""Limits in an export's own table: what they are written out as, what can be wrong with them."""

from pathlib import Path

import msgspec
import pytest

from blkrun import config
from blkrun.model import GraphModel
from blkrun.options import ExportOptions, ThrottleLimits

FILE = Path("/lab/lab.toml")

DISK = '[backends.disk]\ndriver = "memory"\n'
EXPORT = '[exports.vda]\nnode = "disk"\n'

BY_HAND = "write the throttle group and the throttle node out yourself"


def graph(text: str) -> GraphModel:
    """The desired graph of a text."""
    return config.parse(text, FILE).graph


def found(text: str) -> list[tuple[int, int, str]]:
    """Line, column and message of each diagnostic."""
    return [(each.line, each.column, each.message) for each in config.check(text, FILE)]


def group(limits: str) -> str:
    """The same keys in a group, used by nobody."""
    return f"{DISK}[throttle-groups.g]\n{limits}"


# What becomes of them


def test_written_out() -> None:
    """They are what the file would say with a group and a throttle node in it, name for name."""
    short = f'{DISK}{EXPORT}description = "a disk"\niops-total = "2k"\nbps-read = "10MiB"\n'
    long = (
        f'{DISK}[exports.vda]\nnode = "vda-throttle"\ndescription = "a disk"\n'
        '[throttle-groups.vda]\niops-total = "2k"\nbps-read = "10MiB"\n'
        '[nodes.vda-throttle]\ndriver = "throttle"\nthrottle-group = "vda"\nfile = "disk"\n'
    )
    assert graph(short) == graph(long)
    assert set(graph(short).nodes) == {"disk", "vda-throttle"}
    assert set(graph(short).groups) == {"vda"}


AVERAGES = [f"{unit}-{way}" for unit in ("bps", "iops") for way in ("total", "read", "write")]
WRITTEN = {
    **dict.fromkeys(AVERAGES, '"2M"'),
    **{f"{each}-max": '"3M"' for each in AVERAGES},
    **{f"{each}-max-length": '"10s"' for each in AVERAGES},
    "iops-size": '"4KiB"',
}


def test_every_limit_is_tried() -> None:
    """What the next test goes through is all of them."""
    assert set(WRITTEN) == set(ThrottleLimits.__struct_encode_fields__)


@pytest.mark.parametrize("key", WRITTEN)
def test_every_limit(key: str) -> None:
    """Each is taken, with its unit, and means what it means in a group."""
    keys = [key]
    if key.endswith("-length"):
        keys.insert(0, key.removesuffix("-length"))
    if "-max" in key:
        keys.insert(0, key.partition("-max")[0])
    if key == "iops-size":
        keys.insert(0, "iops-read")
    limits = "".join(f"{each} = {WRITTEN[each]}\n" for each in keys)
    ours = graph(DISK + EXPORT + limits).groups["vda"]
    assert ours == graph(group(limits)).groups["g"]
    assert {each for each in keys if getattr(ours, each.replace("-", "_")) > 1} == set(keys)


@pytest.mark.parametrize(
    "limits",
    [
        "",
        "iops-total = 0\n",
        'bps-read = "0"\nbps-write = 0\niops-total-max = 0\niops-total-max-length = "1s"\n',
    ],
)
def test_no_limit_makes_nothing(limits: str) -> None:
    """0 is no limit, and without any limit there is no throttle, as for a drive of QEMU's."""
    assert graph(DISK + EXPORT + limits) == graph(DISK + EXPORT)
    assert graph(DISK + EXPORT).nodes.keys() == {"disk"}


def test_over_a_filter_that_is_off() -> None:
    """The throttle stands over what is left of the way down."""
    text = (
        DISK + '[throttle-groups.g]\n[nodes.t]\ndriver = "throttle"\nthrottle-group = "g"\n'
        'file = "disk"\nenabled = false\n[exports.vda]\nnode = "t"\niops-read = 5\n'
    )
    own = graph(text).nodes["vda-throttle"]
    assert msgspec.structs.asdict(own)["file"] == "disk"
    on = graph(text.replace("enabled = false\n", "")).nodes["vda-throttle"]
    assert msgspec.structs.asdict(on)["file"] == "t"


def test_read_only() -> None:
    """It is about clients, and stays with the export."""
    text = DISK.replace('"memory"\n', '"memory"\nread-only = true\n') + EXPORT + "iops-read = 5\n"
    assert "vda is writable, but backends.disk is read-only" in found(text)[0][2]
    export = graph(text + "read-only = true\n").exports["vda"]
    assert export == ExportOptions(node="vda-throttle", read_only=True)


def test_each_export_has_its_own() -> None:
    """Two exports of one node do not share what they have each."""
    text = f'{DISK}{EXPORT}iops-total = 5\n[exports.vdb]\nnode = "disk"\niops-total = 6\n'
    assert graph(text).groups == {
        "vda": ThrottleLimits(iops_total=5),
        "vdb": ThrottleLimits(iops_total=6),
    }


def test_an_export_may_be_named_like_its_node() -> None:
    """Exports have names of their own; the generated ones are free all the same."""
    text = DISK + '[exports.disk]\nnode = "disk"\nbps-total = "1MiB"\n'
    assert graph(text).nodes.keys() == {"disk", "disk-throttle"}


# What can be wrong


WRONG = [
    ("iops-totl = 5", 'unknown key "iops-totl" in {}', "iops-total"),
    ("iops-total = 1.5", "{}.iops-total: 1.5 is not an integer", None),
    ("iops-total = -1", "{}.iops-total: -1 is out of range: needs >= 0", None),
    (
        'bps-read = "1 parsec"',
        '{}.bps-read: \'1 parsec\' is not a size; write "64KiB", "10GB" or 512',
        None,
    ),
    (
        "iops-size = 512",
        "{}.iops-size: iops size requires an iops value to be set",
        None,
    ),
    (
        "bps-total-max = 9",
        "{}.bps-total-max: bps_max/iops_max require corresponding bps/iops values",
        None,
    ),
    (
        f"bps-write = {10**15 + 1}",
        "{}.bps-write: bps/iops/max values must be within [0, 1000000000000000]",
        None,
    ),
    (
        'iops-read-max-length = "2s"',
        "{}.iops-read-max-length: burst length set without burst rate",
        None,
    ),
]


@pytest.mark.parametrize(("line", "message", "suggestion"), WRONG)
def test_wrong_limits(line: str, message: str, suggestion: str | None) -> None:
    """The same words and the same place in the line as in a group, QEMU's rules among them."""
    (ours,) = config.check(f"{DISK}{EXPORT}{line}\n", FILE)
    (groups,) = config.check(group(line), FILE)
    assert (ours.message, ours.suggestion) == (message.format("exports.vda"), suggestion)
    assert groups.message == message.format("throttle-groups.g")
    assert (ours.line, ours.column, ours.length) == (5, groups.column, groups.length)


def test_unknown_key_of_an_export() -> None:
    """Both what an export has and what limits have is known, and can be meant."""
    text = f"{DISK}{EXPORT}desciption = 'x'\niops-reed = 5\n"
    assert [each.suggestion for each in config.check(text, FILE)] == ["description", "iops-read"]


NAME_RULE = 'it takes a letter first, then letters, digits, "-", "." or "_", 31 characters at most'


@pytest.mark.parametrize("name", ["my disk", "é", "9", "a" * 23])
def test_a_name_that_no_node_can_have(name: str) -> None:
    """Nothing is wrong with the export until it has limits; then there are two ways out."""
    export = f"{DISK}[exports.'{name}']\nnode = 'disk'\n"
    assert found(export + "iops-total = 0\n") == []
    ((line, column, message),) = found(export + "iops-total = 5\n")
    assert (line, column) == (3, 10)
    assert message.startswith("exports.")
    assert message.endswith(
        f' has limits, which make a throttle node "{name}-throttle", and that cannot be a name: '
        f"{NAME_RULE}; name the export otherwise, or {BY_HAND}"
    )


def test_the_longest_name() -> None:
    """22 characters leave room for the node's."""
    assert graph(f"{DISK}[exports.{'a' * 22}]\nnode = 'disk'\nbps-read = 5\n").exports


def test_names_that_are_taken() -> None:
    """The group's by a group, the node's by a node or a backend; both places are shown."""
    limited = f"{DISK}{EXPORT}iops-total = 5\n"
    text = f"{limited}[throttle-groups.vda]\n[backends.vda-throttle]\ndriver = 'null'\n"
    first, second = config.check(text, FILE)
    assert first.message == (
        'exports.vda has limits, which make a throttle group "vda", and that name is taken: '
        f"name throttle-groups.vda otherwise, or {BY_HAND}"
    )
    assert second.message == (
        'exports.vda has limits, which make a throttle node "vda-throttle", and that name is '
        f"taken: name backends.vda-throttle otherwise, or {BY_HAND}"
    )
    assert [(each.line, each.column) for each in (first, second)] == [(3, 10), (3, 10)]
    assert [each.related and each.related.line for each in (first, second)] == [6, 7]
    assert found(text.replace("iops-total = 5", "iops-total = 0")) == []


def test_nobody_else_can_use_them() -> None:
    """What the limits make is seen by that name, and who refers to it learns whose it is."""
    text = (
        f"{DISK}{EXPORT}iops-total = 5\n[nodes.t]\ndriver = 'throttle'\n"
        "throttle-group = 'vda'\nfile = 'vda-throttle'\n[exports.b]\nnode = 'vda-throttle'\n"
    )
    words = (
        "is made of the limits in exports.vda, and no table can refer to it; "
        f"to share it, {BY_HAND}"
    )
    assert found(text) == [
        (8, 18, f'nodes.t.throttle-group: "vda" {words}'),
        (9, 8, f'nodes.t.file: "vda-throttle" {words}'),
        (11, 8, f'exports.b.node: "vda-throttle" {words}'),
    ]
    assert {each.related and each.related.line for each in config.check(text, FILE)} == {3}


def test_everything_at_once() -> None:
    """A wrong limit, a wrong option, a name that is taken and one that cannot be, in one go."""
    text = (
        f"{DISK}[exports.vda]\nnode = 'dsk'\nread-only = 3\niops-total = 'x'\n"
        "[throttle-groups.vda]\nbps-read = 'y'\n[exports.'a b']\nnode = 'disk'\nbps-read = 5\n"
    )
    assert [(line, column) for line, column, _ in found(text)] == [
        (3, 10),
        (4, 8),
        (5, 13),
        (6, 14),
        (8, 12),
        (9, 10),
    ]


# Whose line it is


def test_made_by() -> None:
    """What has no table itself leads to the export, also when its limits have just gone."""
    text = f'{DISK}{EXPORT}[exports."my disk"]\nnode = "disk"\n'
    made = {"throttle-groups.vda": "exports.vda", "nodes.vda-throttle": "exports.vda"}
    for limits in ("", "iops-total = 5\n"):
        loaded = config.parse(text.replace(EXPORT, EXPORT + limits), FILE)
        assert made.items() <= loaded.made_by.items()
        assert loaded.made_by["nodes.my disk-throttle"] == "exports.my disk"
        assert set(loaded.made_by.values()) <= loaded.places.keys()


def test_a_table_of_the_file_speaks_for_itself() -> None:
    """A group that is written down is not an export's, whatever its name is."""
    made = config.parse(f"{DISK}{EXPORT}[throttle-groups.vda]\n", FILE).made_by
    assert made == {"nodes.vda-throttle": "exports.vda"}
