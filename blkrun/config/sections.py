"""The ``decode`` pass: TOML's mappings → option Structs, table by table."""

from collections.abc import Collection, Container, Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any, TypeVar

from msgspec import Struct

from blkrun.config.export_table import decode_export
from blkrun.config.job_table import decode_job
from blkrun.config.node_table import current, decode_node, with_context
from blkrun.config.sources import include_problems
from blkrun.config.tables import Draft, Raw, Table
from blkrun.decode import Kind, Path, Problem, decode, nearest
from blkrun.options import (
    BitmapOptions,
    DashboardOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
)
from blkrun.toml.diagnostics import dotted

S = TypeVar("S", bound=Struct)
T = TypeVar("T", bound=Table[Any])

SETTINGS = ("server", "runner", "dashboard")
COLLECTIONS = ("throttle-groups", "backends", "nodes", "exports", "bitmaps", "jobs")

_MAIN_ONLY = (*SETTINGS, "include")


def decode_document(document: Raw, directory: FilePath, problems: list[Problem]) -> Draft:
    """Decode every table of the main file, and report what is not one of ours."""
    problems.extend(_unknown_tables(document, (*_MAIN_ONLY, *COLLECTIONS)))
    problems.extend(include_problems(document))
    return _decode(document, document, directory, problems)


def decode_included(
    document: Raw, directory: FilePath, main: FilePath, problems: list[Problem]
) -> Draft:
    """The same for a file that another includes: it holds collections only."""
    foreign = {key: value for key, value in document.items() if key not in _MAIN_ONLY}
    problems.extend(_unknown_tables(foreign, COLLECTIONS))
    problems.extend(_for_the_main_file(document, main))
    return _decode({}, document, directory, problems)


def merge(drafts: Iterable[Draft]) -> Draft:
    """One of all, with the settings of the first; of a table that is there twice the first."""
    first, *others = drafts
    for other in others:
        known = first.directories
        first = Draft(
            directories={**other.directories, **known},
            server=first.server,
            runner=first.runner,
            dashboard=first.dashboard,
            groups=(*first.groups, *_new(other.groups, known)),
            nodes=(*first.nodes, *_new(other.nodes, known)),
            exports=(*first.exports, *_new(other.exports, known)),
            bitmaps=(*first.bitmaps, *_new(other.bitmaps, known)),
            jobs=(*first.jobs, *_new(other.jobs, known)),
        )
    return first


def members(document: Raw) -> Iterator[tuple[Path, Any]]:
    """Path and value of everything in a collection: tables, if nothing is wrong with them."""
    for section in COLLECTIONS:
        tables = document.get(section)
        for name, raw in tables.items() if isinstance(tables, dict) else ():
            yield (section, name), raw


def _decode(settings: Raw, document: Raw, directory: FilePath, problems: list[Problem]) -> Draft:
    return Draft(
        directories={path: directory for path, _ in members(document)},
        server=_settings(ServerOptions, settings, "server", problems),
        runner=_settings(RunnerOptions, settings, "runner", problems),
        dashboard=_settings(DashboardOptions, settings, "dashboard", problems),
        groups=tuple(
            _table(ThrottleLimits, path, raw, problems)
            for path, raw in _members(document, "throttle-groups", problems)
        ),
        nodes=tuple(
            decode_node(path, raw, problems)
            for section in ("backends", "nodes")
            for path, raw in _members(document, section, problems)
        ),
        exports=tuple(
            decode_export(path, raw, problems)
            for path, raw in _members(document, "exports", problems)
        ),
        bitmaps=tuple(
            _table(BitmapOptions, path, raw, problems)
            for path, raw in _members(document, "bitmaps", problems)
        ),
        jobs=tuple(
            decode_job(path, raw, problems) for path, raw in _members(document, "jobs", problems)
        ),
    )


def _new(tables: tuple[T, ...], known: Container[Path]) -> Iterator[T]:
    return (table for table in tables if table.path not in known)


def _unknown_tables(document: Raw, known: Collection[str]) -> Iterator[Problem]:
    for key, value in document.items():
        if key not in known:
            what = "table" if isinstance(value, dict | list) else "key"
            yield Problem(
                path=(key,),
                kind=Kind.UNEXPECTED,
                message=f'unknown {what} "{key}"',
                suggestion=nearest(key, known),
            )


def _for_the_main_file(document: Raw, main: FilePath) -> Iterator[Problem]:
    for key in document:
        if key in _MAIN_ONLY:
            what = f"[{key}]" if key in SETTINGS else f'"{key}"'
            message = f"{what} belongs in the main file: move it to {main.name}"
            yield Problem(path=(key,), kind=Kind.UNEXPECTED, message=message)


def _settings(struct: type[S], document: Raw, section: str, problems: list[Problem]) -> Table[S]:
    raw = document.get(section, {})
    if not isinstance(raw, dict):
        problems.append(_not_a_table((section,), f"[{section}]"))
        raw = {}
    return _table(struct, (section,), raw, problems)


def _members(document: Raw, section: str, problems: list[Problem]) -> Iterator[tuple[Path, Raw]]:
    members = document.get(section, {})
    if not isinstance(members, dict):
        problems.append(_not_a_table((section,), f"[{section}.NAME]"))
        return
    for name, raw in members.items():
        if isinstance(raw, dict):
            yield (section, name), raw
        else:
            problems.append(_not_a_table((section, name), f"[{section}.NAME]"))


def _not_a_table(path: Path, header: str) -> Problem:
    message = f"{dotted(path)} is not a table: write {header} and its keys below"
    return Problem(path=path, kind=Kind.OTHER, message=message)


def _table(struct: type[S], path: Path, raw: Raw, problems: list[Problem]) -> Table[S]:
    found: list[Problem] = []
    raw = current(struct, raw, problems, path)
    options = decode(struct, raw, found, path)
    problems.extend(with_context(problem) for problem in found)
    return Table(path=path, raw=raw, options=options)
