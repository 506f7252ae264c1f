"""One backend's or node's table: which driver, is this the place for it, and its options."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from msgspec import Struct

from blkrun.config.tables import NodeTable, Raw
from blkrun.decode import Kind, Path, Problem, decode, nearest, with_current_names
from blkrun.options import DRIVERS, OPTIONAL_EDGES, BlockdevOptions
from blkrun.toml.diagnostics import dotted

_WRITTEN_ELSEWHERE = ("driver", "enabled", "node-name")
"""Keys of a node that its options do not have in TOML, or not under that name."""

_KEY_DEPTH = 3
"""[nodes.NAME] KEY; what is deeper is in a table of its own."""


def decode_node(path: Path, raw: Raw, problems: list[Problem]) -> NodeTable:
    """Decode one table, with everything that is wrong in it."""
    written = raw.get("driver")
    driver = DRIVERS.get(written) if isinstance(written, str) else None
    found = [*_driver_problems(path, raw), *_name_problems(path, raw)]
    options = None
    if driver is not None:
        raw = current(driver, raw, problems, path)
        own = {
            key: _nothing_as_none(driver, key, value)
            for key, value in raw.items()
            if key not in _WRITTEN_ELSEWHERE
        }
        decoded: list[Problem] = []
        options = decode(driver, {**own, "node-name": path[-1]}, decoded, path)
        found += _enabled_problems(path, raw, driver)
        keys = _keys(driver)
        found += (with_context(guess_again(problem, keys)) for problem in decoded)
    problems.extend(found)
    return NodeTable(
        path=path,
        raw=raw,
        options=None if found else options,
        driver=driver,
        enabled=raw.get("enabled") is not False,
    )


def _nothing_as_none(driver: type[BlockdevOptions], key: str, value: Any) -> Any:
    """TOML has no null: an edge that may lead nowhere is written ``backing = ""``."""
    return None if value == "" and key in OPTIONAL_EDGES[driver] else value


def _driver_problems(path: Path, raw: Raw) -> Iterator[Problem]:
    backends = path[0] == "backends"
    fitting = [name for name, each in DRIVERS.items() if each.is_backend == backends]
    choices = f"for [{path[0]}.*] it is one of: {', '.join(fitting)}"
    where, driver = (*path, "driver"), raw.get("driver")
    if "driver" not in raw:
        message = f'"driver" is missing in {dotted(path)}; {choices}'
        yield Problem(path=path, kind=Kind.MISSING, message=message, expected="driver")
    elif not isinstance(driver, str):
        message = f"{dotted(where)} is not a string; {choices}"
        yield Problem(path=where, kind=Kind.TYPE, message=message, expected="string")
    elif driver not in DRIVERS:
        meant = nearest(driver, DRIVERS)
        message = f'unknown driver "{driver}" in {dotted(path)}' + ("" if meant else f"; {choices}")
        yield Problem(path=where, kind=Kind.VALUE, message=message, suggestion=meant)
    elif driver not in fitting:
        what = "no backend" if backends else "a backend"
        home = dotted(("nodes" if backends else "backends", path[-1]))
        message = f'driver "{driver}" is {what}: it belongs under [{home}]'
        yield Problem(path=where, kind=Kind.VALUE, message=message)


def _name_problems(path: Path, raw: Raw) -> Iterator[Problem]:
    if "node-name" in raw:
        message = f"node-name in {dotted(path)}: the table's name is it already; remove this key"
        yield Problem(path=(*path, "node-name"), kind=Kind.UNEXPECTED, message=message)


def _enabled_problems(path: Path, raw: Raw, driver: type[BlockdevOptions]) -> Iterator[Problem]:
    where = (*path, "enabled")
    if "enabled" not in raw:
        return
    if not driver.is_filter:
        message = (
            f'{dotted(where)}: only filters can be switched off, and "{raw["driver"]}" is none'
        )
        yield Problem(path=where, kind=Kind.UNEXPECTED, message=message)
    elif not isinstance(raw["enabled"], bool):
        message = f"{dotted(where)} is not a boolean: write true or false"
        yield Problem(path=where, kind=Kind.TYPE, message=message, expected="boolean")


def _keys(driver: type[BlockdevOptions]) -> set[str]:
    """What a node may have in TOML, which are not quite its options."""
    keys = {*driver.__struct_encode_fields__, "driver"} - {"node-name"}
    return {*keys, "enabled"} if driver.is_filter else keys


def current(struct: type[Struct], raw: Raw, problems: list[Problem], path: Path) -> Raw:
    """The table with the names of now, as ``decode`` wants them; older ones are told."""
    found: list[Problem] = []
    raw = with_current_names(struct, raw, found, path)
    problems.extend(map(with_context, found))
    return raw


def guess_again(problem: Problem, keys: Iterable[str]) -> Problem:
    """The nearest of the keys that the table may have, where they are not one Struct's fields."""
    if problem.kind is not Kind.UNEXPECTED or len(problem.path) > _KEY_DEPTH:
        return problem
    return replace(problem, suggestion=nearest(str(problem.path[-1]), keys))


def with_context(problem: Problem) -> Problem:
    """Say in the message itself which key or table it is about."""
    if problem.kind is Kind.MISSING:
        message = f"{problem.message} in {dotted(problem.path)}"
    elif problem.kind is Kind.UNEXPECTED:
        message = f"{problem.message} in {dotted(problem.path[:-1])}"
        if problem.path[-1] == "include":  # of TOML's rules the one that is met most
            message += ": it stands in the main file above the first table"
    else:
        message = f"{dotted(problem.path)}: {problem.message}"
    return replace(problem, message=message)
