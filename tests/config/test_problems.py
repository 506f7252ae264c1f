"""Everything a file can have wrong with it: the message, the place, the nearest valid name."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.decode import Kind

FILE = Path("/lab/lab.toml")

GOOD = """\
[throttle-groups.gold]
iops-total = 100
[backends.disk]
driver = "file"
path = "disk.img"
[nodes.limit]
driver = "throttle"
throttle-group = "gold"
file = "disk"
[exports.vda]
node = "limit"
"""


def found(text: str) -> list[tuple[int, int, str, str | None]]:
    """Line, column, message and suggestion of each diagnostic."""
    return [
        (each.line, each.column, each.message, each.suggestion) for each in config.check(text, FILE)
    ]


def only(text: str) -> tuple[int, int, str, str | None]:
    """The one diagnostic that there is."""
    (one,) = found(text)
    return one


def test_the_good_file_is_good() -> None:
    """What the tests below change one thing in has nothing wrong with it."""
    assert found(GOOD) == []


_NODE_DRIVERS = (
    "copy-before-write, copy-on-read, qcow2, raw, snapshot-access, throttle, write-threshold"
)
NODES = f"for [nodes.*] it is one of: {_NODE_DRIVERS}"
BACKENDS = "for [backends.*] it is one of: file, memory, nbd, null"

COPYING = GOOD.replace(
    'file = "disk"\n', 'file = "disk"\n[nodes.cor]\ndriver = "copy-on-read"\nfile = "limit"\n', 1
)

CASES = {
    "bottom that is not there": (
        COPYING.replace('"limit"\n[exports', '"limit"\nbottom = "disc"\n[exports'),
        (13, 10, 'nodes.cor.bottom: there is no node or backend "disc"', "disk"),
    ),
    "bottom that is a filter": (
        COPYING.replace('"limit"\n[exports', '"limit"\nbottom = "limit"\n[exports'),
        (
            13,
            10,
            'nodes.cor.bottom: "limit" is a filter: name the node with the data, below it',
            None,
        ),
    ),
    "top-level table": (
        "[node.x]\n" + GOOD,
        (1, 2, 'unknown table "node"', "nodes"),
    ),
    "top-level key": (
        "a = 1\n" + GOOD,
        (1, 1, 'unknown key "a"', None),
    ),
    "section that is no table": (
        GOOD + "[[runner]]\n",
        (12, 3, "runner is not a table: write [runner] and its keys below", None),
    ),
    "collection that is no table": (
        "jobs-free = 1\n".replace("jobs-free", "nodes"),
        (1, 1, "nodes is not a table: write [nodes.NAME] and its keys below", None),
    ),
    "member that is no table": (
        '[nodes]\nlimit = "throttle"\n',
        (2, 1, "nodes.limit is not a table: write [nodes.NAME] and its keys below", None),
    ),
    "key of a group": (
        GOOD.replace("iops-total =", "iops-totl ="),
        (2, 1, 'unknown key "iops-totl" in throttle-groups.gold', "iops-total"),
    ),
    "key of a node": (
        GOOD.replace("throttle-group =", 'group = "x"\nthrottle-group ='),
        (8, 1, 'unknown key "group" in nodes.limit', None),
    ),
    "key only TOML has": (
        GOOD + "[nodes.r]\ndriver = 'throttle'\nenable = true\n"
        "throttle-group = 'gold'\nfile = 'disk'\n",
        (14, 1, 'unknown key "enable" in nodes.r', "enabled"),
    ),
    "node-name": (
        GOOD.replace("file = ", "node-name = 'limit'\nfile = "),
        (
            9,
            1,
            "node-name in nodes.limit: the table's name is it already; remove this key",
            None,
        ),
    ),
    "setting": (
        GOOD + "[server]\nthread = 4\n",
        (13, 1, 'unknown key "thread" in server', "threads"),
    ),
    "missing key": (
        GOOD.replace("node = ", "description = "),
        (10, 1, '"node" is missing in exports.vda', None),
    ),
    "missing driver of a node": (
        GOOD + "[nodes.n]\n",
        (12, 1, f'"driver" is missing in nodes.n; {NODES}', None),
    ),
    "missing driver of a backend": (
        GOOD + "[backends.n]\n",
        (12, 1, f'"driver" is missing in backends.n; {BACKENDS}', None),
    ),
    "driver that is no string": (
        GOOD + "[nodes.n]\ndriver = 3\n",
        (13, 10, f"nodes.n.driver is not a string; {NODES}", None),
    ),
    "unknown driver": (
        GOOD + "[backends.n]\ndriver = 'memry'\n",
        (13, 10, 'unknown driver "memry" in backends.n', "memory"),
    ),
    "unknown driver like no other": (
        GOOD + "[backends.n]\ndriver = 'zzz'\n",
        (13, 10, f'unknown driver "zzz" in backends.n; {BACKENDS}', None),
    ),
    "backend among nodes": (
        GOOD + "[nodes.n]\ndriver = 'null'\n",
        (13, 10, 'driver "null" is a backend: it belongs under [backends.n]', None),
    ),
    "node among backends": (
        GOOD + "[backends.n]\ndriver = 'raw'\nfile = 'disk'\n",
        (13, 10, 'driver "raw" is no backend: it belongs under [nodes.n]', None),
    ),
    "wrong type": (
        GOOD.replace("path = ", "create = 'yes'\npath = "),
        (5, 10, "backends.disk.create: 'yes' is not a boolean", None),
    ),
    "wrong type in a list": (
        GOOD + '[backends.n]\ndriver = "nbd"\ncommand = ["a", 3]\n',
        (14, 17, "backends.n.command[1]: 3 is not a string", None),
    ),
    "wrong size": (
        GOOD.replace("path = ", "size = '10 parsecs'\npath = "),
        (
            5,
            8,
            'backends.disk.size: \'10 parsecs\' is not a size; write "64KiB", "10GB" or 512',
            None,
        ),
    ),
    "wrong time": (
        GOOD + "[dashboard]\nrefresh = '5'\n",
        (13, 11, 'dashboard.refresh: \'5\' is not a time; write "250ms" or "10s"', None),
    ),
    "out of range, in its unit": (
        GOOD + "[dashboard]\nrefresh = '10ms'\n",
        (13, 11, "dashboard.refresh: '10ms' is out of range: needs >= 200ms", None),
    ),
    "no such choice": (
        GOOD + "[runner]\napply = 'saf'\n",
        (13, 9, 'runner.apply: \'saf\' is not one of "safe", "all", "ask"', "safe"),
    ),
    "name with a digit first": (
        GOOD + "[backends.9x]\ndriver = 'null'\n",
        (
            12,
            11,
            (
                '"9x" cannot be a name: it takes a letter first, then letters, digits, "-", "." '
                'or "_", 31 characters at most'
            ),
            None,
        ),
    ),
    "unknown node of an edge": (
        GOOD.replace('file = "disk"', 'file = "dsk"'),
        (9, 8, 'nodes.limit.file: there is no node or backend "dsk"', "disk"),
    ),
    "unknown node like no other": (
        GOOD.replace('file = "disk"', 'file = "zzz"'),
        (
            9,
            8,
            'nodes.limit.file: there is no node or backend "zzz"; [backends.zzz] would define it',
            None,
        ),
    ),
    "edge that is nearly the node itself": (
        GOOD.replace('file = "disk"', 'file = "limi"'),
        (
            9,
            8,
            'nodes.limit.file: there is no node or backend "limi"; [backends.limi] would define it',
            None,
        ),
    ),
    "empty edge, reported once": (
        GOOD.replace('file = "disk"', 'file = ""'),
        (9, 8, "nodes.limit.file: '' is out of range: needs a length >= 1", None),
    ),
    "unknown node of an export": (
        GOOD.replace('node = "limit"', 'node = "limt"'),
        (11, 8, 'exports.vda.node: there is no node or backend "limt"', "limit"),
    ),
    "unknown group": (
        GOOD.replace('group = "gold"', 'group = "gol"'),
        (8, 18, 'nodes.limit.throttle-group: there is no throttle group "gol"', "gold"),
    ),
    "unknown group like no other": (
        GOOD.replace('group = "gold"', 'group = "zzz"'),
        (
            8,
            18,
            (
                'nodes.limit.throttle-group: there is no throttle group "zzz"; '
                "[throttle-groups.zzz] would define it"
            ),
            None,
        ),
    ),
    "group for a node": (
        GOOD.replace('file = "disk"', 'file = "gold"'),
        (
            9,
            8,
            'nodes.limit.file: there is no node or backend "gold"; throttle-groups.gold is not one',
            None,
        ),
    ),
    "export for a group": (
        GOOD.replace('group = "gold"', 'group = "vda"'),
        (
            8,
            18,
            'nodes.limit.throttle-group: there is no throttle group "vda"; exports.vda is not one',
            None,
        ),
    ),
    "unknown node of a bitmap": (
        GOOD + '[bitmaps.b]\nnode = "disc"\n',
        (13, 8, 'bitmaps.b.node: there is no node or backend "disc"', "disk"),
    ),
    "unknown node of a job": (
        GOOD + '[jobs.j]\ntype = "backup"\ndevice = "limit"\ntarget = "dis"\n',
        (15, 10, 'jobs.j.target: there is no node or backend "dis"', "disk"),
    ),
    "include below a table": (
        GOOD + 'include = ["a/*"]\n',
        (
            12,
            1,
            (
                'unknown key "include" in exports.vda: it stands in the main file above the '
                "first table"
            ),
            None,
        ),
    ),
    "limits at the option": (
        GOOD.replace("iops-total = 100", "iops-total = 100\niops-total-max = 50"),
        (
            3,
            1,
            "throttle-groups.gold.iops-total-max: bps_max/iops_max cannot be lower than bps/iops",
            None,
        ),
    ),
    "a new image without a size": (
        GOOD + "[nodes.image]\ndriver = 'qcow2'\nfile = 'disk'\ncreate = true\n",
        (13, 1, "nodes.image: 'create' needs 'size': there is no backing to take it from", None),
    ),
    "a new image that cannot be": (
        GOOD
        + "[nodes.image]\ndriver = 'qcow2'\nfile = 'disk'\ncreate = true\nsize = '1GiB'\n"
        + "cluster-size = '3KiB'\n",
        (17, 1, "nodes.image: Cluster size must be a power of two between 512 and 2048k", None),
    ),
    "nbd without a server": (
        GOOD + "[backends.far]\ndriver = 'nbd'\n",
        (12, 1, '"uri" or "command" is missing in backends.far: where is the NBD server?', None),
    ),
    "nbd with two": (
        GOOD + "[backends.far]\ndriver = 'nbd'\nuri = 'nbd://x'\ncommand = ['y']\n",
        (15, 1, "backends.far takes uri or command, not both", None),
    ),
    "nbd with an empty command": (
        GOOD + "[backends.far]\ndriver = 'nbd'\ncommand = []\n",
        (
            14,
            11,
            'backends.far.command is empty: write ["nbdkit", "memory", "64M"] or the like',
            None,
        ),
    ),
    "enabled on what is no filter": (
        GOOD.replace("path = ", "enabled = true\npath = "),
        (
            5,
            1,
            'backends.disk.enabled: only filters can be switched off, and "file" is none',
            None,
        ),
    ),
    "enabled that is no boolean": (
        GOOD.replace('file = "disk"', 'file = "disk"\nenabled = 0'),
        (10, 11, "nodes.limit.enabled is not a boolean: write true or false", None),
    ),
    "empty export name": (
        GOOD + '[exports.""]\nnode = "limit"\n',
        (12, 10, "an export's name may not be empty or have a NUL character in it", None),
    ),
    "long export name": (
        GOOD + f'[exports."{"é" * 2049}"]\nnode = "limit"\n',
        (12, 10, "the export's name has 4098 bytes; NBD takes 4096 at most", None),
    ),
    "NUL": (
        GOOD.replace("disk.img", "disk\\u0000img"),
        (5, 8, "backends.disk.path has a NUL character in it", None),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_mistake(case: str) -> None:
    """One mistake gives one diagnostic, at its place, that says what would be right."""
    text, expected = CASES[case]
    assert only(text) == expected


@pytest.mark.parametrize("case", CASES)
def test_how_one_mistake_looks(case: str) -> None:
    """File, line and column, the reason, the nearest name, the line, and a caret below it."""
    text, (line, column, message, suggestion) = CASES[case]
    shown = config.render(config.check(text, FILE), {FILE: text.encode()}).split("\n")
    meant = f' — did you mean "{suggestion}"?' if suggestion else ""
    assert shown[0] == f"{FILE}:{line}:{column}: error: {message}{meant}"
    assert shown[1] == f"{line:5} | " + text.split("\n")[line - 1]
    assert shown[2].startswith(f"{'':5} | {' ' * (column - 1)}^")


REFERENCES = {
    "unknown node of an edge": (3, "backends.disk"),
    "bottom that is not there": (3, "backends.disk"),
    "bottom that is a filter": (6, "nodes.limit"),
    "unknown node of an export": (6, "nodes.limit"),
    "unknown node of a bitmap": (3, "backends.disk"),
    "unknown node of a job": (3, "backends.disk"),
    "unknown group": (1, "throttle-groups.gold"),
    "group for a node": (1, "throttle-groups.gold"),
    "export for a group": (10, "exports.vda"),
    "nbd with two": (14, "backends.far.uri"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_place_of_the_definition(case: str) -> None:
    """What is meant, or what is wrong together with this, is shown where it is written."""
    text, (*_, suggestion) = CASES[case]
    (one,) = config.check(text, FILE)
    at = one.related
    assert (at and (at.line, at.message.removesuffix(" is here"))) == REFERENCES.get(case)
    assert one.problem.kind is not Kind.REFERENCE or at is not None or suggestion is None


def test_the_definition_in_another_file() -> None:
    """Its own file is named."""
    other = FILE.parent / "tenants/a.toml"
    texts = {FILE: GOOD.encode(), other: b'[exports.a]\nnode = "limt"\n'}
    (one,) = config.check(config.Sources(main=FILE, texts=texts))
    assert (one.file, one.line) == (other, 2)
    assert one.related is not None
    assert (one.related.file, one.related.line) == (FILE, 6)


def test_the_longest_names() -> None:
    """31 characters for a node and 4096 bytes for an export are right; 32 are not."""
    name = "n" * 31
    text = f'{GOOD}[backends.{name}]\ndriver = "null"\n[exports."{"x" * 4096}"]\nnode = "{name}"\n'
    assert found(text) == []
    assert "cannot be a name" in only(f"{GOOD}[backends.{name}n]\ndriver = 'null'\n")[2]


def test_groups_have_the_same_syntax() -> None:
    """A group's name follows the rule of node names."""
    line, column, message, _ = only(f'{GOOD}[throttle-groups."a b"]\n')
    assert (line, column) == (12, 18)
    assert message.startswith('"a b" cannot be a name')


def test_limit_of_an_option_left_out() -> None:
    """A rule about an option that is not written points at the group's header."""
    text = "[throttle-groups.g]\niops-size = 4096\n[backends.b]\ndriver = 'null'\n"
    assert only(text)[:2] == (2, 1)
    from_default = "[throttle-groups.g]\niops-total-max = 4\n[backends.b]\ndriver = 'null'\n"
    assert only(from_default)[:2] == (2, 1)


def related(text: str) -> list[tuple[int, int, str] | None]:
    """The place each diagnostic refers to."""
    return [
        (at.line, at.column, at.message) if (at := each.related) is not None else None
        for each in config.check(text, FILE)
    ]


def test_a_name_used_twice() -> None:
    """Backends and nodes share their names; the note shows the other one."""
    text = GOOD.replace("nodes.limit", "nodes.disk").replace('node = "limit"', 'node = "disk"')
    text = text.replace('file = "disk"', 'file = "ram"') + "[backends.ram]\ndriver = 'memory'\n"
    assert only(text) == (
        6,
        8,
        'the name "disk" is taken: nodes and backends share their names',
        None,
    )
    assert related(text) == [(3, 11, "backends.disk is here")]


RAW = '[nodes.{}]\ndriver = "raw"\nfile = "{}"\n'


def test_cycles() -> None:
    """Each cycle is shown once, from its first node in the file, with the next one as a note."""
    text = "".join(
        RAW.format(*edge) for edge in [("top", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("e", "e")]
    )
    assert found(text) == [
        (6, 8, "nodes.b.file closes a cycle: b -> c -> d -> b", None),
        (15, 8, "nodes.e.file closes a cycle: e -> e", None),
    ]
    assert related(text) == [(7, 8, "nodes.c is here"), None]


def test_a_cycle_through_a_filter_that_is_off() -> None:
    """Switching a filter off does not make its edges right."""
    text = GOOD.replace('file = "disk"', 'file = "r"\nenabled = false')
    text += RAW.format("r", "limit")
    assert "limit -> r -> limit" in only(text)[2]


def test_a_very_long_chain() -> None:
    """Thousands of nodes on top of each other do not exhaust the stack, cycle or not."""
    chain = "".join(RAW.format(f"n{i}", f"n{i + 1}") for i in range(3000))
    assert found(chain + '[backends.n3000]\ndriver = "null"\n') == []
    assert "n0 -> n1" in only(chain + RAW.format("n3000", "n0"))[2]


def test_writable_export_over_a_read_only_node() -> None:
    """The way down is followed by file edges, and past filters that are off; the remedy works."""
    text = GOOD.replace("path = ", "read-only = true\npath = ")
    assert only(text) == (
        12,
        8,
        (
            "exports.vda is writable, but backends.disk is read-only: "
            "set read-only = true in exports.vda"
        ),
        None,
    )
    assert related(text) == [(5, 1, "backends.disk.read-only is here")]
    assert found(text + "read-only = true\n") == []


def test_a_read_only_filter_that_is_off() -> None:
    """What is not in the graph makes nothing read-only."""
    text = GOOD.replace('file = "disk"', 'file = "disk"\nread-only = true')
    assert only(text)[0] == 12
    assert found(text.replace("read-only = true", "read-only = true\nenabled = false")) == []


def test_two_backends_with_one_file() -> None:
    """Two writers of one path are refused, however it is spelled; two readers are not."""
    other = '[backends.again]\ndriver = "file"\npath = "sub/../disk.img"\n'
    assert only(GOOD + other) == (
        14,
        8,
        (
            "backends.again and backends.disk are one file, /lab/disk.img: "
            "use one backend for both, or set read-only = true in each"
        ),
        None,
    )
    assert related(GOOD + other) == [(5, 1, "backends.disk.path is here")]
    assert len(found(GOOD + other + "read-only = true\n")) == 1
    readers = GOOD.replace("path =", "read-only = true\npath =") + "read-only = true\n"
    assert found(readers + other + "read-only = true\n") == []


def test_everything_is_reported_at_once_in_order() -> None:
    """Mistakes in several tables, and several in one table, come sorted by place."""
    text = (
        '[exports.vda]\nnode = "dsk"\nfoo = 1\n'
        '[backends.disk]\ndriver = "file"\npath = 3\nsize = "x"\n'
        "[throttle-groups.g]\nbps-read = true\n[bogus]\n"
    )
    assert [(line, column) for line, column, *_ in found(text)] == [
        (2, 8),
        (3, 1),
        (6, 8),
        (7, 8),
        (9, 12),
        (10, 2),
    ]


def test_a_table_with_a_mistake_is_still_known() -> None:
    """A backend that cannot be decoded is no unknown name for those that use it."""
    assert only(GOOD.replace('path = "disk.img"', "path = 3"))[0] == 5


def test_a_thousand_wrong_names_are_quick() -> None:
    """Only the first wrong names are compared with all the right ones; all are reported."""
    text = "".join(RAW.format(f"name{i}", f"nome{i + 1}") for i in range(1000))
    problems = found(text)
    assert len(problems) == 1000
    assert problems[0][3] is not None
    assert problems[-1][3] is None
