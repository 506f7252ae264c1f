"""Edits of files by tool: values are changed in their text; comments, order and layout stay."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Table

from blkrun.config.diagnostics import dotted
from blkrun.config.sections import members
from blkrun.config.source import document_of
from blkrun.config.sources import Sources
from blkrun.errors import FileError

Key = tuple[str, str, str]
"""Section, table, key: ``("exports", "vda", "node")``."""


def edit_sources(sources: Sources, changes: Mapping[Key, str | bool]) -> Sources:
    """The same with these values, each in the file that has its table.  Raises FileError."""
    files: dict[Path, dict[Key, str | bool]] = {}
    for key, value in changes.items():
        files.setdefault(file_of(sources, key[:2]), {})[key] = value
    texts = {file: edit(sources.texts[file].decode(), own) for file, own in files.items()}
    return sources.with_texts({file: text.encode() for file, text in texts.items()})


def file_of(sources: Sources, table: tuple[str, str]) -> Path:
    """The file with a table, ``("exports", "vda")``.  Raises FileError if none has it."""
    for file, text in sources.texts.items():
        if table in dict(members(document_of(text) or {})):
            return file
    raise FileError(
        f"there is no [{dotted(table)}] in {sources.main.name}, nor in what it includes"
    )


def edit(text: str, changes: Mapping[Key, str | bool]) -> str:
    """The text with these values.  Raises FileError if that cannot be done without side effects.

    A key that is not there comes below the last one of its table.
    """
    keys = ", ".join(dotted(key) for key in changes)
    try:
        document: Any = tomlkit.parse(text)
        for (section, name, key), value in changes.items():
            _set(document[section][name], key, value)
        edited = str(document.as_string())
        good = tomllib.loads(edited) == _expected(text, changes)
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, AttributeError, ValueError) as error:
        raise FileError(f"{keys} cannot be changed by tool ({error}): do it by hand") from error
    if not good:
        raise FileError(f"{keys} cannot be changed by tool alone: do it by hand")
    return edited


def _expected(text: str, changes: Mapping[Key, str | bool]) -> dict[str, Any]:
    document = tomllib.loads(text)
    for (section, name, key), value in changes.items():
        document[section][name][key] = value
    return document


def _set(table: Any, key: str, value: str | bool) -> None:  # noqa: FBT001 - a value
    if key in table or isinstance(table, InlineTable) or not isinstance(table, Table):
        table[key] = value
    else:
        _add_line(table, key, tomlkit.item(value).as_string())


def _add_line(table: Table, key: str, value: str) -> None:
    """By itself the library would put it below the comments that belong to the next table."""
    pairs = [(each, item) for each, item in table.value.body if each is not None]
    last = pairs[-1][1]
    newline = last.trivia.trail or "\n"
    columns = {len(each.as_string()) + each.sep.index("=") for each, _ in pairs}
    column = columns.pop() if len(columns) == 1 else 0
    sep = " " * (column - len(key)) + "= " if column > len(key) else " = "
    last.trivia.trail = f"{newline}{last.trivia.indent}{key}{sep}{value}{last.trivia.trail}"
