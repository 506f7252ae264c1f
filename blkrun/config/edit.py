"""Edits of files by tool: each step in the file that has its table; comments and layout stay."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from blkrun.config.sections import SETTINGS, members
from blkrun.config.sources import Sources
from blkrun.config.steps import Add, Set, Step, perform, value_of
from blkrun.decode import Path as KeyPath
from blkrun.errors import FileError
from blkrun.toml.diagnostics import dotted
from blkrun.toml.source import document_of

Written = str | bool | list[str]
"""A value that a key is given."""


def edit_sources(sources: Sources, changes: Mapping[KeyPath, Written]) -> Sources:
    """The same with these values, each in the file that has its table.  Raises FileError."""
    owners = _owners(sources)
    for section, name, *_ in changes:
        if (section, name) not in owners:
            raise _missing(sources, (section, name))
    return perform_in(sources, (Set(key, value_of(value)) for key, value in changes.items()))


def perform_in(sources: Sources, steps: Iterable[Step]) -> Sources:
    """The same after these steps.

    A new table goes into the file of the one that it is below, one of no file into the main one.
    Raises FileError if a step cannot be done without side effects.
    """
    owners = _owners(sources)
    by_file: dict[Path, list[Step]] = {}
    for step in steps:
        beside = step.after if isinstance(step, Add) and step.after is not None else step.path[:2]
        file = owners.setdefault(step.path[:2], owners.get(beside, sources.main))
        by_file.setdefault(file, []).append(step)
    return sources.with_texts(
        {file: perform(_text(sources, file), own).encode() for file, own in by_file.items()}
    )


def document_in(sources: Sources) -> dict[str, Any]:
    """What all files say together, whatever is wrong with it."""
    whole: dict[str, Any] = {}
    for text in sources.texts.values():
        document = document_of(text) or {}
        whole |= {key: value for key, value in document.items() if key in SETTINGS}
        for (section, name), table in members(document):
            whole.setdefault(str(section), {}).setdefault(name, table)
    return whole


def file_of(sources: Sources, table: KeyPath) -> Path:
    """The file with a table, ``("exports", "vda")``.  Raises FileError if none has it."""
    if (file := _owners(sources).get(table)) is None:
        raise _missing(sources, table)
    return file


def _owners(sources: Sources) -> dict[KeyPath, Path]:
    """Every table and the file that has it; the first one counts."""
    owners: dict[KeyPath, Path] = {}
    for file, text in sources.texts.items():
        for table, _ in members(document_of(text) or {}):
            owners.setdefault(table, file)
    return owners


def _missing(sources: Sources, table: KeyPath) -> FileError:
    return FileError(
        f"there is no [{dotted(table)}] in {sources.main.name}, nor in what it includes"
    )


def _text(sources: Sources, file: Path) -> str:
    try:
        return sources.texts[file].decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{file}: {error}") from error
