"""[jobs.NAME]: what it becomes, and everything that can be wrong with it."""

from pathlib import Path

import pytest
from msgspec import structs

from blkrun import config
from blkrun.job_options import BackupOptions, MirrorOptions

FILE = Path("/lab/lab.toml")

GOOD = """\
[backends.disk]
driver = "memory"
[backends.copy]
driver = "memory"
[nodes.limit]
driver = "write-threshold"
file = "disk"
write-threshold = 0
[exports.vda]
node = "limit"
[jobs.nightly]
type = "backup"
device = "disk"
target = "copy"
"""
MIRROR = GOOD.replace('"backup"', '"mirror"')
MORE = '[backends.more]\ndriver = "memory"\n'
SECOND = '[jobs.second]\ntype = "backup"\ndevice = "limit"\ntarget = "more"\n' + MORE


def found(text: str) -> list[tuple[int, int, str, str | None]]:
    """Line, column, message and suggestion of each diagnostic."""
    return [
        (each.line, each.column, each.message, each.suggestion) for each in config.check(text, FILE)
    ]


def related(text: str) -> list[int]:
    """The lines of the other places that diagnostics name."""
    return [each.related.line for each in config.check(text, FILE) if each.related is not None]


def jobs(text: str) -> dict[str, object]:
    """What the file asks for."""
    return dict(config.parse(text, FILE).graph.jobs)


NIGHTLY = BackupOptions(
    job_id="nightly", device="disk", target="copy", filter_node_name="nightly-filter"
)


def test_a_backup() -> None:
    """The table's name is the job's, its filter is named after it; its line is known."""
    graph = config.parse(GOOD, FILE)
    assert graph.graph.jobs == {"nightly": NIGHTLY}
    assert graph.graph.resting == frozenset()
    assert graph.places["jobs.nightly"].line == 11


def test_a_mirror_with_everything() -> None:
    """Units are read, and a filter's name that is written is taken."""
    text = MIRROR + (
        'sync = "top"\nspeed = "50MiB"\ngranularity = "1MiB"\ncopy-mode = "write-blocking"\n'
        'when-ready = "pivot"\non-source-error = "stop"\non-target-error = "enospc"\n'
        'filter-node-name = "moving"\n'
    )
    assert jobs(text) == {
        "nightly": MirrorOptions(
            job_id="nightly",
            device="disk",
            target="copy",
            sync="top",
            speed=50 * 2**20,
            granularity=2**20,
            copy_mode="write-blocking",
            when_ready="pivot",
            on_source_error="stop",
            on_target_error="enospc",
            filter_node_name="moving",
        )
    }


def test_switched_off() -> None:
    """It is no job of the graph, and its name is known."""
    graph = config.parse(GOOD + "enabled = false\n", FILE).graph
    assert graph.jobs == {}
    assert graph.resting == {"nightly"}
    assert jobs(GOOD + "enabled = true\n") == {"nightly": NIGHTLY}


def test_a_filter_that_is_switched_off_counts_as_its_child() -> None:
    """As it does for edges."""
    text = GOOD.replace('device = "disk"', 'device = "limit"')
    off = text.replace("write-threshold = 0", "write-threshold = 0\nenabled = false")
    assert jobs(text) == {"nightly": structs.replace(NIGHTLY, device="limit")}
    assert jobs(off) == {"nightly": NIGHTLY}


CHOICES = "it is one of: backup, commit, mirror, stream"
BUSY = "; set enabled = false in one of them, or remove one that has ended"

PROBLEMS = {
    "no table": ("jobs = 3\n", (1, 1, "jobs is not a table: write [jobs.NAME] and its keys", None)),
    "no type": (
        GOOD.replace('type = "backup"\n', ""),
        (11, 1, f'"type" is missing in jobs.nightly; {CHOICES}', None),
    ),
    "a type that is no string": (
        GOOD.replace('"backup"', "1"),
        (12, 8, f"jobs.nightly.type is not a string; {CHOICES}", None),
    ),
    "an unknown type": (
        GOOD.replace('"backup"', '"bakcup"'),
        (12, 8, 'unknown type "bakcup" in jobs.nightly', "backup"),
    ),
    "a type like no other": (
        GOOD.replace('"backup"', '"zzz"'),
        (12, 8, f'unknown type "zzz" in jobs.nightly; {CHOICES}', None),
    ),
    "job-id": (
        GOOD + 'job-id = "x"\n',
        (15, 1, "job-id in jobs.nightly: the table's name is it already; remove this key", None),
    ),
    "enabled": (
        GOOD + 'enabled = "no"\n',
        (15, 11, "jobs.nightly.enabled is not a boolean: write true or false", None),
    ),
    "a key only TOML has": (
        GOOD + "enable = true\n",
        (15, 1, 'unknown key "enable" in jobs.nightly', "enabled"),
    ),
    "another type's key": (
        GOOD + "granularity = 512\n",
        (15, 1, 'unknown key "granularity" in jobs.nightly', None),
    ),
    "no target": (
        GOOD.replace('target = "copy"\n', ""),
        (11, 1, '"target" is missing in jobs.nightly', None),
    ),
    "a mode": (
        GOOD + 'sync = "fulll"\n',
        (15, 8, "jobs.nightly.sync: 'fulll' is not one of", "full"),
    ),
    "a name": (
        GOOD.replace("[jobs.nightly]", '[jobs."0 night"]'),
        (11, 7, 'Invalid job ID "0 night": it takes a letter first', None),
    ),
    "an unknown device": (
        GOOD.replace('device = "disk"', 'device = "dsk"'),
        (13, 10, 'jobs.nightly.device: there is no node or backend "dsk"', "disk"),
    ),
    "an unknown target": (
        GOOD.replace('target = "copy"', 'target = "zzz"'),
        (14, 10, 'jobs.nightly.target: there is no node or backend "zzz"; [backends.zzz]', None),
    ),
    "the same disk, backup": (
        GOOD.replace('target = "copy"', 'target = "disk"').replace('"limit"\n[', '"copy"\n['),
        (
            14,
            10,
            'jobs.nightly.target: Source and target cannot be the same: both are "disk"',
            None,
        ),
    ),
    "the same disk, mirror": (
        MIRROR.replace('target = "copy"', 'target = "disk"').replace('"limit"\n[', '"copy"\n['),
        (14, 10, "jobs.nightly.target: Can't mirror node into itself: both are", None),
    ),
    "a device under the target": (
        GOOD.replace('target = "copy"', 'target = "limit"').replace('"limit"\n[', '"copy"\n['),
        (14, 10, 'jobs.nightly.target: the device "disk" is under "limit"', None),
    ),
    "a target under the device": (
        GOOD.replace('device = "disk"', 'device = "limit"')
        .replace('target = "copy"', 'target = "disk"')
        .replace('"limit"\n[', '"copy"\n['),
        (14, 10, 'jobs.nightly.target: "disk" is under the device "limit"', None),
    ),
    "a filter's name that is taken": (
        GOOD + 'filter-node-name = "limit"\n',
        (15, 20, 'the filter node of jobs.nightly cannot be "limit": that name is taken', None),
    ),
    "a default name that is taken": (
        GOOD + '[backends.nightly-filter]\ndriver = "memory"\n',
        (11, 7, 'the filter node of jobs.nightly cannot be "nightly-filter": that name', None),
    ),
    "a filter's name of an export's limits": (
        GOOD.replace('"limit"\n[', '"limit"\niops-total = 1\n[')
        + 'filter-node-name = "vda-throttle"\n',
        (16, 20, 'the filter node of jobs.nightly cannot be "vda-throttle": that name', None),
    ),
    "two filters with one name": (
        GOOD + SECOND.replace("[backends", 'filter-node-name = "nightly-filter"\n[backends'),
        (19, 20, 'the filter node of jobs.second cannot be "nightly-filter": that name', None),
    ),
    "a filter's name that is too long": (
        GOOD + f'filter-node-name = "{"x" * 32}"\n',
        (15, 20, "jobs.nightly.filter-node-name: ", None),
    ),
    "a default name that is too long": (
        GOOD.replace("[jobs.nightly]", f"[jobs.{'x' * 25}]"),
        (11, 7, f'the filter node of jobs.{"x" * 25} "{"x" * 25}-filter" cannot be a name', None),
    ),
    "a small granularity": (
        MIRROR + "granularity = 256\n",
        (
            15,
            15,
            (
                "jobs.nightly.granularity: Parameter 'granularity' expects a value in range "
                "[512B, 64MB]"
            ),
            None,
        ),
    ),
    "a large granularity": (
        MIRROR + 'granularity = "128MiB"\n',
        (15, 15, "jobs.nightly.granularity: Parameter 'granularity' expects a value in", None),
    ),
    "an odd granularity": (
        MIRROR + "granularity = 1000\n",
        (
            15,
            15,
            (
                "jobs.nightly.granularity: Parameter 'granularity' expects a power of 2: "
                "512 or 1024 is near"
            ),
            None,
        ),
    ),
    "no bitmap": (
        GOOD + 'sync = "incremental"\n',
        (
            15,
            8,
            "jobs.nightly.sync: must provide a valid bitmap name for 'incremental' sync mode",
            None,
        ),
    ),
    "a bitmap without a mode": (
        GOOD + 'sync = "bitmap"\nbitmap = "b0"\n',
        (
            16,
            10,
            "jobs.nightly.bitmap: Bitmap sync mode must be given when providing a bitmap",
            None,
        ),
    ),
    "incremental with another mode": (
        GOOD + 'sync = "incremental"\nbitmap = "b0"\nbitmap-mode = "never"\n',
        (17, 15, "jobs.nightly.bitmap-mode: Bitmap sync mode must be 'on-success' when", None),
    ),
    "a mode without a bitmap": (
        GOOD + 'bitmap-mode = "never"\n',
        (15, 15, "jobs.nightly.bitmap-mode: Cannot specify bitmap sync mode without a bit", None),
    ),
    "none with a bitmap": (
        GOOD + 'sync = "none"\nbitmap = "b0"\nbitmap-mode = "always"\n',
        (16, 10, "jobs.nightly.bitmap: sync mode 'none' does not produce meaningful bitmap", None),
    ),
    "a bitmap that nothing is done with": (
        GOOD + 'bitmap = "b0"\nbitmap-mode = "never"\n',
        (16, 15, "jobs.nightly.bitmap-mode: Bitmap sync mode 'never' has no meaningful eff", None),
    ),
    "one device for two": (
        GOOD + SECOND.replace('"limit"', '"disk"'),
        (
            17,
            10,
            f"jobs.second.device: node 'disk' is busy: jobs.nightly uses it{BUSY}",
            None,
        ),
    ),
    "one target for two": (
        GOOD + SECOND.replace('"more"\n[', '"copy"\n['),
        (18, 10, "jobs.second.target: node 'copy' is busy: jobs.nightly uses it", None),
    ),
    "a target that is another's device": (
        GOOD + SECOND.replace('"limit"', '"copy"'),
        (17, 10, "jobs.second.device: node 'copy' is busy: jobs.nightly uses it", None),
    ),
    "a target that clients write": (
        GOOD + '[exports.copy]\nnode = "copy"\n',
        (
            14,
            10,
            (
                'jobs.nightly.target: clients of exports.copy see "copy", which the job would '
                "overwrite: take another target, or set read-only = true in exports.copy"
            ),
            None,
        ),
    ),
    "a target below what clients write": (
        GOOD + '[exports.copy]\nnode = "r"\n[nodes.r]\ndriver = "raw"\nfile = "copy"\n',
        (14, 10, 'jobs.nightly.target: clients of exports.copy see "copy"', None),
    ),
    "a target below what is switched off": (
        GOOD
        + '[exports.copy]\nnode = "w"\n[nodes.r]\ndriver = "raw"\nfile = "w"\n'
        + GOOD[GOOD.index("[nodes.limit]") : GOOD.index("[exports")]
        .replace("limit", "w")
        .replace("disk", "copy")
        + "enabled = false\n",
        (14, 10, 'jobs.nightly.target: clients of exports.copy see "copy"', None),
    ),
    "a mirror's target that clients read": (
        MIRROR + '[exports.copy]\nnode = "copy"\nread-only = true\n',
        (14, 10, 'jobs.nightly.target: clients of exports.copy see "copy"', None),
    ),
    "a target that cannot be written": (
        GOOD.replace("copy]\n", "copy]\nread-only = true\n"),
        (15, 10, "jobs.nightly.target: the job writes to it, but backends.copy is read-only", None),
    ),
}


@pytest.mark.parametrize(("text", "expected"), PROBLEMS.values(), ids=PROBLEMS)
def test_problem(text: str, expected: tuple[int, int, str, str | None]) -> None:
    """One, at its place, with these words first."""
    ((line, column, message, suggestion),) = found(text)
    assert (line, column, suggestion) == (expected[0], expected[1], expected[3])
    assert message[: len(expected[2])] == expected[2]


ONLY_AT_WORK = [name for name in PROBLEMS if name.split()[0] in ("one", "the") or "clients" in name]


@pytest.mark.parametrize("name", ONLY_AT_WORK)
def test_a_job_that_is_switched_off_is_in_nobodys_way(name: str) -> None:
    """What it would do to others is looked at once it is switched on."""
    text = PROBLEMS[name][0].replace("[jobs.nightly]\n", "[jobs.nightly]\nenabled = false\n")
    assert found(text) == []


ALLOWED = {
    "a read-only view of a backup": GOOD + '[exports.copy]\nnode = "copy"\nread-only = true\n',
    "a device over another's": GOOD + SECOND,
    "an exported device": GOOD + '[exports.vdb]\nnode = "disk"\n',
    "incremental": GOOD + 'sync = "incremental"\nbitmap = "b0"\n',
    "incremental, with its mode": (
        GOOD + 'sync = "incremental"\nbitmap = "b0"\nbitmap-mode = "on-success"\n'
    ),
    "a bitmap that is kept": GOOD + 'sync = "bitmap"\nbitmap = "b0"\nbitmap-mode = "never"\n',
    "a full backup that clears a bitmap": GOOD + 'bitmap = "b0"\nbitmap-mode = "on-success"\n',
    "the longest name": GOOD.replace("nightly", "x" * 24),
    "a long name with a filter's name": (
        GOOD.replace("nightly", "x" * 40) + 'filter-node-name = "f"\n'
    ),
    "the smallest granularity": MIRROR + "granularity = 512\n",
    "the largest granularity": MIRROR + 'granularity = "64MiB"\n',
}


@pytest.mark.parametrize("text", ALLOWED.values(), ids=ALLOWED)
def test_nothing_is_wrong_with_it(text: str) -> None:
    """The rules forbid no more than they should."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("one device for two", 11),
        ("a target that clients write", 16),
        ("a target that cannot be written", 3),
        ("a filter's name that is taken", 5),
        ("the same disk, backup", 13),
    ],
)
def test_the_other_place_is_named(name: str, line: int) -> None:
    """What it is that stands in the way."""
    assert related(PROBLEMS[name][0]) == [line]
