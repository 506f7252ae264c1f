"""``blkrun schema``: it accepts what the reader accepts, and refuses the mistakes that it can."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from msgspec import Meta, Struct

from blkrun import config
from blkrun.cli import main
from blkrun.cli.shipped import SCHEMA as SHIPPED
from blkrun.config import catalogue
from blkrun.config.schema import schema, schema_text
from blkrun.options import (
    DRIVERS,
    EDGES,
    BlockdevOptions,
    NbdOptions,
    Qcow2Options,
    ThrottleOptions,
    choices_of,
    extra_of,
    fields_of,
    table_of,
)

_EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(set(_EXAMPLES.rglob("*.toml")) - set((_EXAMPLES / "dashboard").rglob("*.toml")))
"""Those of the dashboard are settings and themes."""
SCHEMA = Draft7Validator(schema())
LAB = Path("/lab/vm.toml")


def refusals(text: str) -> list[str]:
    """What the schema has against a file."""
    return [error.message for error in SCHEMA.iter_errors(tomllib.loads(text))]


def test_it_is_a_schema() -> None:
    """Draft-07 has no objection to it."""
    Draft7Validator.check_schema(schema())


def test_the_shipped_file_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """``make schema`` has been run since an option was last changed."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == SHIPPED.read_text() == schema_text()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.name)
def test_examples_name_it_and_are_valid(file: Path) -> None:
    """An editor that opens one finds the schema by the first line."""
    first = file.read_text().splitlines()[0]
    assert (file.parent / first.removeprefix("#:schema ")).resolve() == SHIPPED
    assert refusals(file.read_text()) == []


# ---- what blkrun accepts ----------------------------------------------------------------------

UNITS = {
    "bytes": st.sampled_from([0, 4096, "4096", "64KiB", "1.5 MB", " 2G ", "10kB", "7TiB", "9B"]),
    "count": st.sampled_from([0, 1, 10**15, "2000", "2k", "1.5M", "3 K"]),
    "seconds": st.sampled_from([1, 10, "10s", "2min", "1000ms", "1h", "3000000 µs"]),
    "ns": st.sampled_from([500_000_000, "200ms", "5s", "0.5s", "1000000us"]),
}
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,18}", fullmatch=True)


def values(struct: type[Struct], **also: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Tables of the Struct's required keys and some of the others; names of others are left out."""
    always = dict(also)
    perhaps: dict[str, st.SearchStrategy[Any]] = {}
    for field in fields_of(struct):
        key = field.encode_name
        named_elsewhere = key in ("node-name", "throttle-group") or extra_of(field.type, "edge")
        if not named_elsewhere and key not in also:
            (always if field.required else perhaps)[key] = value(field.type)
    return st.fixed_dictionaries(always, optional=perhaps)


def value(field_type: Any) -> st.SearchStrategy[Any]:
    """Anything that the reader takes for a field of this type."""
    if unit := extra_of(field_type, "unit"):
        return UNITS[unit]
    if choices := choices_of(field_type):
        return st.sampled_from(choices)
    if table := table_of(field_type):
        return values(table)
    if "bool" in str(field_type):
        return st.booleans()
    if "int" in str(field_type):
        return st.integers(1, 64)
    return st.text("abc/é \"'", min_size=1, max_size=8)


def _backend(driver: str, struct: type[BlockdevOptions]) -> st.SearchStrategy[Any]:
    if struct is NbdOptions:
        uri = st.just("nbd+unix:///?socket=a")
        return values(struct, driver=st.just(driver), uri=uri).map(_only_uri)
    return values(struct, driver=st.just(driver))


def _only_uri(table: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in table.items() if key != "command"}


def _node(driver: str, struct: type[BlockdevOptions]) -> st.SearchStrategy[Any]:
    switch = {"enabled": st.booleans()} if struct.is_filter else {}
    tables = values(struct, driver=st.just(driver), **switch)
    return tables.map(_of_an_old_image) if struct is Qcow2Options else tables


def _of_an_old_image(table: dict[str, Any]) -> dict[str, Any]:
    """Whatever else it says of new ones goes together with that."""
    return {key: each for key, each in table.items() if key not in ("create", "cache-size")}


BACKENDS = st.one_of([_backend(*each) for each in DRIVERS.items() if each[1].is_backend])
NODES = st.one_of([_node(*each) for each in DRIVERS.items() if not each[1].is_backend])
LIMITS = st.fixed_dictionaries(
    {}, optional={"bps-total": UNITS["bytes"], "iops-read": UNITS["count"]}
)


SERVER = st.fixed_dictionaries(
    {},
    optional={
        "listen": st.sampled_from(["unix:vm.sock", "tcp:127.0.0.1:10809"]),
        "threads": st.integers(1, 256),
        "cpus": st.just("all"),
    },
)

# Switched off, so that a job's rules on who uses a disk do not matter.
_OFF = {"enabled": st.just(value=False)}
_SPEED = {"speed": UNITS["bytes"], "on-target-error": st.sampled_from(["auto", "stop"])}
_MIRROR = {"granularity": st.sampled_from([512, "64KiB", "1M"]), "when-ready": st.just("pivot")}
JOBS = st.one_of(
    st.fixed_dictionaries({"type": st.just("backup"), **_OFF}, optional=_SPEED),
    st.fixed_dictionaries({"type": st.just("mirror"), **_OFF}, optional=_SPEED | _MIRROR),
)


def backend_of(table: dict[str, Any], nodes: dict[str, Any]) -> str:
    """What is below a node by ``file``, at the end."""
    while table["file"] in nodes:
        table = nodes[table["file"]]
    return str(table["file"])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Files with nothing wrong in them: every driver, references that hold, any notation."""
    group, *names = draw(st.lists(NAMES, min_size=5, max_size=8, unique=True))
    backends = {name: draw(BACKENDS) for name in names[:2]}
    for name, table in backends.items():
        if "path" in table:
            table["path"] = f"{name}.img"
    nodes: dict[str, Any] = {}
    for name in names[2:]:
        below = st.sampled_from([*backends, *nodes])
        table = draw(NODES)
        struct = DRIVERS[table["driver"]]
        nodes[name] = table | {role: draw(below) for role in EDGES[struct]}
        if "bottom" in table:
            nodes[name]["bottom"] = backend_of(nodes[name], nodes)
        if struct is ThrottleOptions:
            nodes[name]["throttle-group"] = group
    node = st.sampled_from(names)
    return {
        "include": draw(st.lists(st.just("tenants/*.toml"), max_size=2)),
        "server": draw(SERVER),
        "throttle-groups": {group: draw(LIMITS)},
        "backends": backends,
        "nodes": nodes,
        "exports": {"any name": {"node": draw(node), "read-only": True}},
        "bitmaps": {"b": {"node": draw(node), "granularity": "64KiB"}},
        "jobs": {"j": draw(JOBS) | {"device": draw(node), "target": draw(node)}},
    }


@settings(deadline=None)
@given(documents())
def test_what_blkrun_accepts_the_schema_accepts(document: dict[str, Any]) -> None:
    """Over every driver, type and notation; an editor never marks what is right."""
    text = tomlkit.dumps(document)
    assert config.check(text, LAB) == []
    assert refusals(text) == []


# ---- mistakes ---------------------------------------------------------------------------------

GOOD = """
[throttle-groups.slow]
iops-total = 100
[backends.disk]
driver = "file"
path = "disk.img"
[backends.other]
driver = "memory"
[nodes.limit]
driver = "throttle"
throttle-group = "slow"
file = "disk"
[nodes.keep]
driver = "copy-before-write"
file = "limit"
target = "other"
[exports.vda]
node = "keep"
[bitmaps.changes]
node = "disk"
[jobs.copy]
type = "mirror"
device = "disk"
target = "other"
enabled = false
"""

MISTAKES = {
    "unknown table": "[sever]",
    "include is no list": 'include = "tenants/*.toml"',
    "include of numbers": "include = [1]",
    "unknown key of a backend": '[backends.b]\ndriver = "null"\nsise = 1',
    "key of another driver": '[backends.b]\ndriver = "null"\npath = "b.img"',
    "unknown key of a group": "[throttle-groups.g]\niops-sum = 1",
    "unknown key of an export": '[exports.b]\nnode = "disk"\nsize = 1',
    "unknown key of a bitmap": '[bitmaps.b]\nnode = "disk"\nsize = 1',
    "unknown key of a job": '[jobs.j]\ntype = "backup"\ndevice = "disk"\ntarget = "other"\nx = 1',
    "key of another type of job": '[jobs.j]\ntype = "backup"\ndevice = "disk"\n'
    'target = "other"\nwhen-ready = "wait"',
    "unknown setting": "[server]\nthread = 4",
    "unknown key in an inline table": '[nodes.n]\ndriver = "copy-before-write"\nfile = "disk"\n'
    'target = "other"\nbitmap = {node = "disk", name = "b", x = 1}',
    "missing key in an inline table": '[nodes.n]\ndriver = "copy-before-write"\nfile = "disk"\n'
    'target = "other"\nbitmap = {node = "disk"}',
    "node-name": '[backends.b]\ndriver = "null"\nnode-name = "b"',
    "enabled on a backend": '[backends.b]\ndriver = "null"\nenabled = true',
    "enabled on a format": '[nodes.n]\ndriver = "raw"\nfile = "disk"\nenabled = true',
    "integer for a string": '[backends.b]\ndriver = "file"\npath = 3',
    "string for an integer": '[server]\nthreads = "4"',
    "string for a boolean": '[exports.b]\nnode = "disk"\nread-only = "true"',
    "integer for a boolean": '[exports.b]\nnode = "disk"\nread-only = 1',
    "fraction": '[backends.b]\ndriver = "null"\nsize = 1.5',
    "boolean for a size": '[backends.b]\ndriver = "null"\nsize = true',
    "array for a name": '[nodes.n]\ndriver = "raw"\nfile = ["disk"]',
    "string for an array": '[backends.b]\ndriver = "nbd"\ncommand = "nbdkit null"',
    "integer in an array": '[backends.b]\ndriver = "nbd"\ncommand = ["nbdkit", 1]',
    "string for a table": 'server = "unix:vm.sock"',
    "string for a member": 'nodes.n = "throttle"',
    "unit of a size": '[backends.b]\ndriver = "null"\nsize = "5 bananas"',
    "time for a size": '[backends.b]\ndriver = "null"\nsize = "5s"',
    "size for a count": "[throttle-groups.g]\niops-read = '1KiB'",
    "time without its unit": "[dashboard]\nrefresh = '300'",
    "negative": '[backends.b]\ndriver = "null"\nsize = -1',
    "above": "[server]\nthreads = 257",
    "below": "[server]\nthreads = 0",
    "beyond the range in a unit": "[dashboard]\nrefresh = 1",
    "empty path": '[backends.b]\ndriver = "file"\npath = ""',
    "no such choice": '[runner]\napply = "never"',
    "no such choice of a node": '[backends.b]\ndriver = "null"\ndiscard = "on"',
    "missing key of a backend": '[backends.b]\ndriver = "file"',
    "missing edge": '[nodes.n]\ndriver = "raw"',
    "missing node of an export": "[exports.b]",
    "missing device": '[jobs.j]\ntype = "backup"\ntarget = "other"',
    "missing driver": "[backends.b]\nsize = 1",
    "missing type": '[jobs.j]\ndevice = "disk"\ntarget = "other"',
    "no such driver": '[backends.b]\ndriver = "nul"',
    "driver is no string": "[backends.b]\ndriver = 1",
    "no such type": '[jobs.j]\ntype = "copy"\ndevice = "disk"\ntarget = "other"',
    "node's driver in backends": '[backends.b]\ndriver = "raw"\nfile = "disk"',
    "backend's driver in nodes": '[nodes.n]\ndriver = "null"',
    "name of a node": '[nodes.1n]\ndriver = "raw"\nfile = "disk"',
    "name of a backend": '[backends."a b"]\ndriver = "null"',
    "name of a group": f"[throttle-groups.{'g' * 32}]",
    "name of a job": '[jobs._]\ntype = "backup"\ndevice = "disk"\ntarget = "other"',
    "empty name of an export": '[exports.""]\nnode = "disk"',
}


def test_the_file_that_mistakes_are_added_to() -> None:
    """Nothing is wrong with it, so that what is refused is the mistake."""
    assert config.check(GOOD, LAB) == []
    assert refusals(GOOD) == []


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_both_refuse(mistake: str) -> None:
    """The reader and the schema, each with one thing to say about it."""
    # First, for keys outside every table; a dotted one must not define a table that follows.
    text = f"{mistake}\n" if "\n" not in mistake and "=" in mistake else f"{GOOD}{mistake}\n"
    assert "error" in [each.severity for each in config.check(text, LAB)]
    assert len(refusals(text)) == 1


def test_an_old_name_of_a_limit() -> None:
    """The reader warns of it, and the schema calls it deprecated; neither refuses it."""
    text = "[throttle-groups.g]\niops = '2k'\n"
    assert [each.severity for each in config.check(text, LAB)] == ["warning"]
    assert refusals(text) == []


def test_a_mistake_is_told_by_its_key() -> None:
    """Not as "none of four drivers": what is wrong is about the one that is written."""
    (error,) = SCHEMA.iter_errors(tomllib.loads('[backends.b]\ndriver = "null"\nsize = "big"'))
    assert list(error.absolute_path) == ["backends", "b", "size"]


# ---- keys with a new name ---------------------------------------------------------------------


class Renamed(Struct, frozen=True, kw_only=True, rename="kebab"):
    """Options of which one had another name."""

    renamed: ClassVar[dict[str, str]] = {"old-key": "new-key"}

    new_key: Annotated[str, Meta(description="what it means")]


def test_an_old_name_is_accepted_and_deprecated() -> None:
    """A required key is there under either name; its meaning says what to write."""
    made = catalogue.as_object(catalogue.options_of(Renamed, ()))
    old = made["properties"]["old-key"]
    assert old["deprecated"]
    assert old["description"] == "what it means; this is its old name: write new-key"
    accepts = Draft7Validator(made).is_valid
    assert accepts({"new-key": "a"})
    assert accepts({"old-key": "a"})
    assert not accepts({})
    assert not accepts({"old-key": 1})
