"""``[keys]`` of the settings: other keys for the bindings of ``keys``, by their ids.

They are checked before Textual has them: it takes any word for a key, and says nothing of one that
is bound twice.
"""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

from textual.app import App
from textual.binding import Binding
from textual.keys import KEY_ALIASES, KEY_TO_UNICODE_NAME, REPLACED_KEYS, Keys

from blkrun.decode import Kind, Problem, nearest
from blkrun.decode import Path as KeyPath

KeyTable = Sequence[Binding]
"""Keys that are on offer in one place."""

_MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")
_KEYS = frozenset(key.value for key in Keys if not key.value.startswith("<"))
_CHARACTERS = REPLACED_KEYS.keys() | KEY_TO_UNICODE_NAME.keys()
_ALIASES = {alias: key for key, aliases in KEY_ALIASES.items() for alias in aliases}
_TEXTUAL = {
    "tab": "it moves the focus on",
    "shift+tab": "it moves the focus back",
    App.COMMAND_PALETTE_BINDING: "it opens the palette of commands",
    "ctrl+q": "it leaves at once",
}


class Entry(NamedTuple):
    """One id, where it is written, and what for."""

    name: str
    path: tuple[str, ...]
    value: Any


def entries(table: Mapping[str, Any], path: tuple[str, ...] = ("keys",)) -> Iterator[Entry]:
    """Ids may be written as ``"feed.pause"`` or, as TOML allows, as ``feed.pause``."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from entries(value, (*path, key))
        else:
            yield Entry(".".join((*path[1:], key)), (*path, key), value)


def written_keys(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Of a table that is right: keys by id, in Textual's long form."""
    return {entry.name: _long_keys(entry.value) for entry in entries(table)}


def keymap(keys: Mapping[str, Sequence[str]], bindings: Iterable[Binding]) -> dict[str, str]:
    """For ``App.set_keymap``: every id, or none where none is changed.

    Textual takes a key from all ids that share it when one of them gets another, so that those
    which keep it have to be named too.
    """
    if not keys:
        return {}
    kept = {binding.id: binding.key for binding in bindings if binding.id is not None}
    return kept | {name: ",".join(written) for name, written in keys.items()}


def remapped(bindings: Iterable[Binding], keys: Mapping[str, Sequence[str]]) -> tuple[Binding, ...]:
    """As they are with these keys: for the help, which tells what to press."""
    return tuple(
        replace(binding, key=",".join(keys[binding.id]), key_display=None)
        if binding.id is not None and binding.id in keys
        else binding
        for binding in bindings
    )


def key_problems(
    written: Mapping[str, Any], always: KeyTable, sometimes: Sequence[KeyTable]
) -> Iterator[Problem]:
    """What is wrong with ids and keys, then, of what is right, which keys are used twice.

    ``always`` are keys that are on offer everywhere, each of ``sometimes`` those of one panel or
    screen, which are never on offer together with another's.
    """
    bindings = [binding for table in (always, *sometimes) for binding in table]
    known = {binding.id for binding in bindings if binding.id is not None}
    right: dict[str, Entry] = {}
    for entry in entries(written):
        problems = [*_entry_problems(entry, known)]
        if entry.name in right:
            message, first = f'"{entry.name}" is written twice', right[entry.name].path
            problems.append(
                Problem(path=entry.path, kind=Kind.OTHER, message=message, related=first)
            )
        if not problems:
            right[entry.name] = entry._replace(value=_long_keys(entry.value))
        yield from problems
    yield from _taken_problems(right.values(), bindings)
    yield from _clash_problems(right, always, sometimes)


def _entry_problems(entry: Entry, known: Collection[str]) -> Iterator[Problem]:
    if entry.name not in known:
        yield Problem(
            path=entry.path,
            kind=Kind.UNEXPECTED,
            message=f'there is no action "{entry.name}"',
            suggestion=nearest(entry.name, known),
        )
    items = entry.value if isinstance(entry.value, list) else [entry.value]
    if not items or not all(isinstance(item, str) for item in items):
        message = f"{entry.value!r} is neither a key nor a list of keys"
        yield Problem(path=entry.path, kind=Kind.TYPE, message=message)
        return
    for index, key in enumerate(items):
        if not _is_key(key):
            path: KeyPath = entry.path
            if isinstance(entry.value, list):
                path = (*path, index)
            message = f'{key!r} is no key: needs a character, or a name such as "ctrl+t" or "f5"'
            lower = key.lower()
            suggestion = lower if _is_key(lower) else nearest(lower, _KEYS)
            yield Problem(path=path, kind=Kind.VALUE, message=message, suggestion=suggestion)


def _is_key(key: str) -> bool:
    """Whether Textual could ever hear of it."""
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    if not all(modifier in _MODIFIERS for modifier in modifiers):
        return False
    if len(last) == 1:  # a terminal sends A for shift+a, and ctrl+a for ctrl+A
        heard = not (modifiers and last.isupper()) and modifiers != ["shift"]
        return last.isprintable() and last != " " and heard
    return last in _KEYS or last in _CHARACTERS or _is_character_name(last)


def _is_character_name(name: str) -> bool:
    try:
        return bool(unicodedata.lookup(name.replace("_", " "))) and name.islower()
    except KeyError:
        return False


def _long_keys(value: str | list[str]) -> tuple[str, ...]:
    return tuple(_long(key) for key in ([value] if isinstance(value, str) else value))


def _long(key: str) -> str:
    """``ctrl+?`` → ``ctrl+question_mark``; ``ctrl+i`` → ``tab``, as a terminal makes of it."""
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    if last == ",":  # between keys, for Textual
        name = "comma"
    else:
        (binding,) = Binding.make_bindings([Binding(last, "")])
        name = binding.key
    long = "+".join((*modifiers, name))
    return _ALIASES.get(long, long)


def _clash_problems(
    right: Mapping[str, Entry], always: KeyTable, sometimes: Sequence[KeyTable]
) -> Iterator[Problem]:
    """Each clash once, at the one of the two that was written (the later, if both were)."""
    order = list(right)
    told: set[tuple[str, str]] = set()
    for table in sometimes or ((),):
        for pair, key in _clashes(right, (*always, *table)):
            late, other = sorted(pair, key=lambda name: -order.index(name) if name in order else 1)
            if (late, other) in told:
                continue
            told.add((late, other))
            message = f'"{key}" is the key of "{other}" too, which is on offer with it'
            yield Problem(path=right[late].path, kind=Kind.VALUE, message=message)


def _clashes(right: Mapping[str, Entry], table: KeyTable) -> Iterator[tuple[tuple[str, str], str]]:
    """Two ids that share a key in the table as it is never are on offer together, and may."""
    before = {each.id: frozenset(_default_keys(each)) for each in table if each.id is not None}
    after = before | {name: frozenset(right[name].value) for name in before.keys() & right.keys()}
    for pair in combinations(before, 2):
        first, second = pair
        shared = after[first] & after[second]
        if shared and not before[first] & before[second] and (first in right or second in right):
            yield pair, min(shared)


def _taken_problems(right: Iterable[Entry], bindings: Iterable[Binding]) -> Iterator[Problem]:
    """Textual's own keys come before any of ours."""
    ours = {key for binding in bindings for key in _default_keys(binding)}
    for entry in right:
        for key in entry.value:
            if key in _TEXTUAL and key not in ours:
                message = f'"{key}" is taken: {_TEXTUAL[key]}'
                yield Problem(path=entry.path, kind=Kind.VALUE, message=message)


def _default_keys(binding: Binding) -> Iterator[str]:
    return (_long(each.key) for each in Binding.make_bindings([binding]))
