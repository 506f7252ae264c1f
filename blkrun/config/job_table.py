"""One job's table: which type it is, and its options."""

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from blkrun.config.node_table import current, guess_again, with_context
from blkrun.config.tables import JobTable, Raw
from blkrun.decode import Kind, Path, Problem, decode, nearest
from blkrun.job_options import JOBS, JobOptions
from blkrun.toml.diagnostics import dotted

_WRITTEN_ELSEWHERE = ("type", "enabled", "job-id")
"""Keys of a job that its options do not have in TOML, or not under that name."""


def decode_job(path: Path, raw: Raw, problems: list[Problem]) -> JobTable:
    """Decode one table, with everything that is wrong in it."""
    kind = _type_of(raw.get("type"))
    found = [*_type_problems(path, raw), *_id_problems(path, raw), *_enabled_problems(path, raw)]
    options = None
    if kind is not None:
        raw = current(kind, raw, problems, path)
        own = {key: value for key, value in raw.items() if key not in _WRITTEN_ELSEWHERE}
        decoded: list[Problem] = []
        options = decode(kind, {**own, "job-id": path[-1]}, decoded, path)
        keys = {*kind.__struct_encode_fields__, "type", "enabled"} - {"job-id"}
        found += (with_context(guess_again(problem, keys)) for problem in decoded)
    problems.extend(found)
    table = JobTable(
        path=path, raw=raw, options=None, type=kind, enabled=raw.get("enabled") is not False
    )
    return table if found or options is None else _with_options(table, options)


def _with_options(table: JobTable, options: JobOptions) -> JobTable:
    named = structs.replace(options, filter_node_name=table.filter_node)
    return JobTable(
        path=table.path, raw=table.raw, options=named, type=table.type, enabled=table.enabled
    )


def _type_of(written: Any) -> type[JobOptions] | None:
    return JOBS.get(written) if isinstance(written, str) else None


def _type_problems(path: Path, raw: Raw) -> Iterator[Problem]:
    choices = f"it is one of: {', '.join(JOBS)}"
    where, written = (*path, "type"), raw.get("type")
    if "type" not in raw:
        message = f'"type" is missing in {dotted(path)}; {choices}'
        yield Problem(path=path, kind=Kind.MISSING, message=message, expected="type")
    elif not isinstance(written, str):
        message = f"{dotted(where)} is not a string; {choices}"
        yield Problem(path=where, kind=Kind.TYPE, message=message, expected="string")
    elif written not in JOBS:
        meant = nearest(written, JOBS)
        message = f'unknown type "{written}" in {dotted(path)}' + ("" if meant else f"; {choices}")
        yield Problem(path=where, kind=Kind.VALUE, message=message, suggestion=meant)


def _id_problems(path: Path, raw: Raw) -> Iterator[Problem]:
    if "job-id" in raw:
        message = f"job-id in {dotted(path)}: the table's name is it already; remove this key"
        yield Problem(path=(*path, "job-id"), kind=Kind.UNEXPECTED, message=message)


def _enabled_problems(path: Path, raw: Raw) -> Iterator[Problem]:
    where = (*path, "enabled")
    if "enabled" in raw and not isinstance(raw["enabled"], bool):
        message = f"{dotted(where)} is not a boolean: write true or false"
        yield Problem(path=where, kind=Kind.TYPE, message=message, expected="boolean")
