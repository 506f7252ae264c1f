"""Edits of files by tool, as data: what to set, to add and to take out, in order.

Each step changes a text (see :mod:`blkrun.config.layout`) and, apart from that, what the text says;
if the one does not say the other then, nothing comes of it.
"""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import tomlkit

from blkrun.config.layout import add_table, remove_key, remove_table, set_values
from blkrun.decode import Path
from blkrun.errors import FileError
from blkrun.toml.diagnostics import dotted

Document = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Value:
    """A value and how it is written."""

    value: Any
    text: str


def value_of(value: Any) -> Value:
    """Written as TOML would usually have it."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update(value)
        return Value(value, str(table.as_string()))
    return Value(value, str(tomlkit.item(value).as_string()))


def as_written(text: str) -> Value:
    """A word of a command line: ``500``, ``true``, ``["a", "b"]``; all else is a string.

    ``10MiB`` and ``disk`` need no quotes; ``"500"`` with quotes is a string.
    """
    written = text.strip()
    try:
        document = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits
        return value_of(text)
    if document.keys() != {"value"} or written.rstrip().endswith("\n") or "#" in written:
        return value_of(text)
    return Value(document["value"], written)


@dataclass(frozen=True, slots=True)
class Set:
    """A key gets a value; a table that is not there is made."""

    path: Path
    value: Value

    def change(self, text: str) -> str:
        """The text with it."""
        return set_values(text, {self.path: self.value.text})

    def expect(self, document: Document) -> None:
        """What the text says then."""
        table: Any = document
        for key in self.path[:-1]:
            table = table.setdefault(key, {})
        table[self.path[-1]] = self.value.value


@dataclass(frozen=True, slots=True)
class Unset:
    """A key goes."""

    path: Path

    def change(self, text: str) -> str:
        """The text without it."""
        return remove_key(text, self.path)

    def expect(self, document: Document) -> None:
        """What the text says then."""
        _remove(document, self.path)


@dataclass(frozen=True, slots=True)
class Add:
    """A new table, below ``after`` if that is given."""

    path: Path
    values: tuple[tuple[str, Value], ...] = field(default=())
    after: Path | None = None

    def change(self, text: str) -> str:
        """The text with it."""
        pairs = [(key, value.text) for key, value in self.values]
        return add_table(text, self.path, pairs, after=self.after)

    def expect(self, document: Document) -> None:
        """What the text says then."""
        table: Any = document
        for key in self.path[:-1]:
            table = table.setdefault(key, {})
        table[self.path[-1]] = {key: value.value for key, value in self.values}


@dataclass(frozen=True, slots=True)
class Remove:
    """A table goes, and the comments that belong to it."""

    path: Path

    def change(self, text: str) -> str:
        """The text without it."""
        return remove_table(text, self.path)

    def expect(self, document: Document) -> None:
        """What the text says then."""
        _remove(document, self.path)


Step = Set | Unset | Add | Remove


def perform(text: str, steps: Iterable[Step]) -> str:
    """The text after these steps.  Raises FileError if one has side effects, or cannot be done."""
    expected, edited, names = tomllib.loads(text), text, []
    for are_sets, group in groupby(steps, lambda step: isinstance(step, Set)):
        together = tuple(group)
        for step in together:
            _doing(step, partial(step.expect, expected))
            names.append(dotted(step.path))
            edited = edited if are_sets else _doing(step, partial(step.change, edited))
        if are_sets:
            edited = _doing(together[0], partial(_set_all, edited, together))
    if not _says(edited, expected):
        raise FileError(f"{', '.join(names)} cannot be changed by tool alone: do it by hand")
    return edited


def _doing(step: Step, work: Callable[[], T]) -> T:
    try:
        return work()
    except (TypeError, AttributeError, KeyError, IndexError) as error:
        name = dotted(step.path)
        raise FileError(f"{name} cannot be changed by tool ({error}): do it by hand") from error


def _set_all(text: str, steps: tuple[Step, ...]) -> str:
    """At once: an edge may have a thousand parents."""
    return set_values(text, {step.path: step.value.text for step in steps if isinstance(step, Set)})


def _says(text: str, expected: Document) -> bool:
    try:
        return _without_empty(tomllib.loads(text)) == _without_empty(expected)
    except tomllib.TOMLDecodeError:
        return False


def _remove(document: Document, path: Path) -> None:
    table: Any = document
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]


def _without_empty(document: Document) -> Document:
    """``[nodes]`` with nothing in it says nothing."""
    return {key: value for key, value in document.items() if value != {}}
