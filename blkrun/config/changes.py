"""What people ask of a file by tool → steps: insert, remove, switch, limit.

Pure: each takes what the files say, also if something in them is wrong elsewhere, and gives the
steps of :mod:`blkrun.config.steps`.  Raises FileError for what cannot be meant; whether the edited
file can be used is said by ``parse``.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from blkrun.config.diagnostics import dotted
from blkrun.config.sections import COLLECTIONS, SETTINGS
from blkrun.config.steps import Add, Remove, Set, Step, Unset, Value, as_written, value_of
from blkrun.decode import Path, nearest
from blkrun.errors import FileError
from blkrun.options import DRIVERS, EDGES, BlockdevOptions, ThrottleLimits

Document = Mapping[str, Any]

INSERTABLE = tuple(
    name for name, each in DRIVERS.items() if "file" in EDGES[each] and not each.only_reads
)
"""Drivers with a main child that what is above may have through them: filters, and raw."""

_LIMITS = ThrottleLimits.__struct_encode_fields__
_NODES = ("backends", "nodes")


def insert(  # noqa: PLR0913 - all by name
    document: Document,
    name: str,
    *,
    driver: str,
    above: str,
    below: str | None = None,
    values: Sequence[tuple[str, Value]] = (),
) -> list[Step]:
    """A new node over ``above``: all that led there leads to it, or only ``below``.

    Bitmaps and jobs stay on their node.  A snapshot-access node too: it reads what that node keeps.
    """
    if driver not in INSERTABLE:
        raise _unknown("driver that can be put in between", driver, INSERTABLE)
    for section in _NODES:
        if name in _section(document, section):
            raise FileError(f"there is a [{dotted((section, name))}] already")
    if own := [key for key, _ in values if key in ("driver", "file")]:
        raise FileError(f"{own[0]} is said by --{'driver' if own[0] == 'driver' else 'above'}")
    child = node_path(document, above)
    parents = [path for path in edges_to(document, above) if not _keeps(document, path)]
    if below is not None:
        parents = _edges_of(below, parents, above)
    first = (("driver", value_of(driver)), ("file", value_of(above)))
    table = Add(("nodes", name), (*first, *values), after=child)
    return [table, *(Set(path, value_of(name)) for path in parents)]


def remove(document: Document, name: str) -> list[Step]:
    """A table; what was above a filter gets its child.  Refused if anything else uses it."""
    path = table_path(document, name)
    section, name = str(path[0]), str(path[1])
    users = list(users_of(document, path))
    driver = driver_of(document, path)
    if section not in _NODES or driver is None or not driver.is_filter:
        _refuse(path, users)
        return [Remove(path)]
    above = list(edges_to(document, name))
    _refuse(path, [user for user in users if user not in above or _keeps(document, user)])
    child = _table(document, path).get("file")
    if above and not isinstance(child, str):
        raise FileError(f"{dotted(path)} names no file that what is above it could have instead")
    return [*(Set(edge, value_of(child)) for edge in above), Remove(path)]


def switch(document: Document, name: str, *, on: bool) -> list[Step]:
    """``enabled`` of a filter or of a job; nothing if it is so already."""
    path = _switchable(document, name)
    table = _table(document, path)
    if table.get("enabled", True) is on:
        return []
    return [Set((*path, "enabled"), value_of(on))]


def limit(document: Document, name: str, words: Sequence[str]) -> list[Step]:
    """``iops-total=500``, of a group or of an export; ``=0`` and ``=none`` take a limit out.

    With an average its burst goes too, and with a burst its length: they mean nothing alone.
    """
    path = _limited(document, name)
    older = ThrottleLimits.renamed
    wanted = {older.get(key, key): value for key, value in assignments(words)}
    for key in wanted:
        if key not in _LIMITS:
            raise _unknown("limit", key, _LIMITS)
    gone = {key for key, value in wanted.items() if value.value in (0, "0", "none")}
    gone |= {
        f"{key}{end}" for key in gone for end in ("-max", "-max-length", "-length")
    } - wanted.keys()
    written = {older.get(key, key): key for key in _table(document, path)}
    steps: list[Step] = [Unset((*path, key)) for new, key in written.items() if new in gone]
    kept = ((written.get(key, key), value) for key, value in wanted.items() if key not in gone)
    return [*steps, *(Set((*path, key), value) for key, value in kept)]


def set_keys(
    document: Document, values: Iterable[tuple[str, str]], unset: Iterable[str]
) -> list[Step]:
    """Any key of any table; one to unset has to be there."""
    steps: list[Step] = [Set(key_path(document, key), as_written(word)) for key, word in values]
    for key in unset:
        path = key_path(document, key)
        if path[-1] not in _table(document, path[:-1]):
            raise _unknown(
                f"key in {dotted(path[:-1])}", str(path[-1]), _table(document, path[:-1])
            )
        steps.append(Unset(path))
    return steps


def assignments(words: Iterable[str]) -> Iterator[tuple[str, Value]]:
    """``KEY=VALUE``, each."""
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise FileError(f"{word!r} is not KEY=VALUE")
        yield key, as_written(value)


def key_path(document: Document, text: str) -> Path:
    """``exports.vda.read-only``, as TOML has keys; a name with dots in it needs no quotes here."""
    path = _words(text)
    section = str(path[0])
    if section not in (*COLLECTIONS, *SETTINGS):
        raise _unknown("table", section, (*COLLECTIONS, *SETTINGS))
    names = _section(document, section) if section in COLLECTIONS else {}
    for end in range(len(path) - 1, 2, -1):
        if (name := ".".join(map(str, path[1:end]))) in names:
            path = (section, name, *path[end:])
            break
    if len(path) < (3 if section in COLLECTIONS else 2):
        raise FileError(f"{text} is no key of a table: write {section}.NAME.KEY")
    return path


def table_path(document: Document, text: str) -> Path:
    """``exports.vda``; a node or backend needs no section."""
    section, _, name = text.partition(".")
    if section in COLLECTIONS and name:
        name = str(_words(name)[0]) if name.startswith(('"', "'")) else name
        if name not in _section(document, section):
            raise _unknown(f"table in [{section}]", name, _section(document, section))
        return section, name
    return node_path(document, text)


def node_path(document: Document, name: str) -> Path:
    """A node's or a backend's table."""
    for section in _NODES:
        if name in _section(document, section):
            return section, name
    for section in COLLECTIONS:
        if name in _section(document, section):
            other = dotted((section, name))
            raise FileError(f'there is no node or backend "{name}"; if you mean the table: {other}')
    raise _unknown(
        "node or backend", name, [each for s in _NODES for each in _section(document, s)]
    )


def driver_of(document: Document, table: Path) -> type[BlockdevOptions] | None:
    """Of a node or backend; None if it names none that there is."""
    written = _table(document, table).get("driver")
    return DRIVERS.get(written) if isinstance(written, str) else None


def edges(document: Document) -> Iterator[tuple[Path, str]]:
    """Every edge as written, exports' among them, also of filters that are switched off."""
    for section in _NODES:
        for name, table in _section(document, section).items():
            driver = driver_of(document, (section, name))
            for role in EDGES[driver] if driver is not None else ():
                if isinstance(child := table.get(role), str):
                    yield (section, name, role), child
    for name, table in _section(document, "exports").items():
        if isinstance(child := table.get("node"), str):
            yield ("exports", name, "node"), child


def edges_to(document: Document, node: str) -> Iterator[Path]:
    """Those that lead to one node."""
    return (path for path, child in edges(document) if child == node)


def users_of(document: Document, table: Path) -> Iterator[Path]:
    """Keys that name what a table describes."""
    section, name = table
    if section in _NODES:
        yield from edges_to(document, str(name))
        yield from _naming(document, "bitmaps", ("node",), name)
        yield from _naming(document, "jobs", ("device", "target"), name)
    elif section == "throttle-groups":
        yield from _naming(document, "nodes", ("throttle-group",), name)
    elif section == "bitmaps":
        yield from _naming(document, "jobs", ("bitmap",), name)


def _naming(
    document: Document, section: str, keys: Sequence[str], name: str | int
) -> Iterator[Path]:
    for owner, table in _section(document, section).items():
        for key in keys:
            if table.get(key) == name:
                yield section, owner, key


def _keeps(document: Document, edge: Path) -> bool:
    """Whether it leads to a node for what that keeps, rather than for what it passes on."""
    driver = driver_of(document, edge[:2])
    return driver is not None and driver.only_reads


def _edges_of(parent: str, edges: list[Path], above: str) -> list[Path]:
    section, _, name = parent.partition(".")
    named = [path for path in edges if path[:2] == (section, name)]
    own = named or [path for path in edges if path[1] == parent]
    if len({path[:2] for path in own}) > 1:
        both = " or ".join(dotted(path[:2]) for path in own)
        raise FileError(f'"{parent}" is not clear: write {both}')
    if not own:
        those = ", ".join(dotted(path[:2]) for path in edges) or "nothing"
        raise FileError(f'"{parent}" does not lead to "{above}"; what does: {those}')
    return own


def _refuse(path: Path, users: list[Path]) -> None:
    if users:
        those = ", ".join(map(dotted, users))
        raise FileError(f"{dotted(path)} is in use: change or remove these first: {those}")


def _switchable(document: Document, name: str) -> Path:
    if "." in name and name.partition(".")[0] in COLLECTIONS:
        return table_path(document, name)
    if name in _section(document, "jobs"):
        if any(name in _section(document, section) for section in _NODES):
            raise FileError(f'"{name}" is not clear: write nodes.{name} or jobs.{name}')
        return "jobs", name
    return node_path(document, name)


def _limited(document: Document, name: str) -> Path:
    groups, exports = _section(document, "throttle-groups"), _section(document, "exports")
    section, _, rest = name.partition(".")
    if section in ("throttle-groups", "exports") and rest:
        return table_path(document, name)
    for section, members in (("throttle-groups", groups), ("exports", exports)):
        if name in members:
            return section, name
    remedy = f"; blkrun set FILE throttle-groups.{name}.iops-total 500 would make one"
    raise _unknown("throttle group or export", name, [*groups, *exports], remedy)


def _words(text: str) -> Path:
    """A dotted key."""
    try:
        rest: Any = tomllib.loads(f"{text} = 0") if "\n" not in text else None
    except tomllib.TOMLDecodeError:
        rest = None
    path: Path = ()
    while isinstance(rest, dict) and len(rest) == 1:
        ((word, rest),) = rest.items()
        path = (*path, word)
    if rest != 0:
        raise FileError(f"{text!r} is no key: write it as TOML does, such as exports.vda.read-only")
    return path


def _table(document: Document, path: Path) -> Mapping[str, Any]:
    table: Any = document
    for key in path:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def _section(document: Document, section: str) -> dict[str, dict[str, Any]]:
    members = document.get(section, {})
    if not isinstance(members, dict):
        return {}
    return {name: table for name, table in members.items() if isinstance(table, dict)}


def _unknown(what: str, name: str, known: Iterable[str], remedy: str = "") -> FileError:
    meant = nearest(name, list(known))
    hint = f'; did you mean "{meant}"?' if meant is not None else remedy
    if not hint and (listed := ", ".join(known)):
        hint = f"; there is: {listed}"
    return FileError(f'there is no {what} "{name}"{hint}')
