"""What people ask of a file by tool → steps: insert, remove, switch, limit, set.

Pure: each takes what the files say, also if something in them is wrong elsewhere, and gives the
steps of :mod:`blkrun.config.steps`.  Raises FileError for what cannot be meant; whether the edited
file can be used is said by ``parse``.
"""

from collections.abc import Iterable, Sequence

from blkrun.config.asked import (
    assignments,
    key_path,
    limited_path,
    node_path,
    switchable_path,
    table_path,
    unknown,
)
from blkrun.config.references import (
    NODE_SECTIONS,
    Document,
    driver_of,
    edges_to,
    keeps,
    section_of,
    table_at,
    users_of,
)
from blkrun.config.steps import Add, Remove, Set, Step, Unset, Value, as_written, value_of
from blkrun.decode import Path
from blkrun.errors import FileError
from blkrun.options import DRIVERS, EDGES, ThrottleLimits
from blkrun.toml.diagnostics import dotted

INSERTABLE = tuple(
    name
    for name, each in DRIVERS.items()
    if "file" in EDGES[each] and not (each.only_reads or each.has_image)
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
        raise unknown("driver that can be put in between", driver, INSERTABLE)
    for section in NODE_SECTIONS:
        if name in section_of(document, section):
            raise FileError(f"there is a [{dotted((section, name))}] already")
    if own := [key for key, _ in values if key in ("driver", "file")]:
        raise FileError(f"{own[0]} is said by --{'driver' if own[0] == 'driver' else 'above'}")
    child = node_path(document, above)
    parents = [path for path in edges_to(document, above) if not keeps(document, path)]
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
    if section not in NODE_SECTIONS or driver is None or not driver.is_filter:
        _refuse(path, users)
        return [Remove(path)]
    above = list(edges_to(document, name))
    _refuse(path, [user for user in users if user not in above or keeps(document, user)])
    child = table_at(document, path).get("file")
    if above and not isinstance(child, str):
        raise FileError(f"{dotted(path)} names no file that what is above it could have instead")
    return [*(Set(edge, value_of(child)) for edge in above), Remove(path)]


def switch(document: Document, name: str, *, on: bool) -> list[Step]:
    """``enabled`` of a filter or of a job; nothing if it is so already."""
    path = switchable_path(document, name)
    table = table_at(document, path)
    if table.get("enabled", True) is on:
        return []
    return [Set((*path, "enabled"), value_of(on))]


def limit(document: Document, name: str, words: Sequence[str]) -> list[Step]:
    """``iops-total=500``, of a group or of an export; ``=0`` and ``=none`` take a limit out.

    With an average its burst goes too, and with a burst its length: they mean nothing alone.
    """
    path = limited_path(document, name)
    older = ThrottleLimits.renamed
    wanted = {older.get(key, key): value for key, value in assignments(words)}
    for key in wanted:
        if key not in _LIMITS:
            raise unknown("limit", key, _LIMITS)
    gone = {key for key, value in wanted.items() if value.value in (0, "0", "none")}
    gone |= {
        f"{key}{end}" for key in gone for end in ("-max", "-max-length", "-length")
    } - wanted.keys()
    written = {older.get(key, key): key for key in table_at(document, path)}
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
        if path[-1] not in table_at(document, path[:-1]):
            raise unknown(
                f"key in {dotted(path[:-1])}", str(path[-1]), table_at(document, path[:-1])
            )
        steps.append(Unset(path))
    return steps


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
