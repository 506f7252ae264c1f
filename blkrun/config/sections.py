"""The ``decode`` pass: TOML's mappings → option Structs, table by table."""

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TypeVar

from msgspec import Struct

from blkrun.config.diagnostics import dotted
from blkrun.config.export_table import decode_export
from blkrun.config.job_table import decode_job
from blkrun.config.node_table import decode_node, with_context
from blkrun.config.tables import Draft, Raw, Table
from blkrun.decode import Kind, Path, Problem, decode, nearest
from blkrun.options import (
    BitmapOptions,
    DashboardOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
)

S = TypeVar("S", bound=Struct)

SETTINGS = ("server", "runner", "dashboard")
COLLECTIONS = ("throttle-groups", "backends", "nodes", "exports", "bitmaps", "jobs")


def decode_document(document: Raw, directory: FilePath, problems: list[Problem]) -> Draft:
    """Decode every table, and report what is not one of ours."""
    problems.extend(_unknown_tables(document))
    return Draft(
        directory=directory,
        server=_settings(ServerOptions, document, "server", problems),
        runner=_settings(RunnerOptions, document, "runner", problems),
        dashboard=_settings(DashboardOptions, document, "dashboard", problems),
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


def _unknown_tables(document: Raw) -> Iterator[Problem]:
    known = (*SETTINGS, *COLLECTIONS)
    for key, value in document.items():
        if key not in known:
            what = "table" if isinstance(value, dict | list) else "key"
            yield Problem(
                path=(key,),
                kind=Kind.UNEXPECTED,
                message=f'unknown {what} "{key}"',
                suggestion=nearest(key, known),
            )


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
    options = decode(struct, raw, found, path)
    problems.extend(with_context(problem) for problem in found)
    return Table(path=path, raw=raw, options=options)
