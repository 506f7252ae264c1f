"""What a word of a command line means: which table, which key.  FileError says what was meant."""

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from blkrun.config.references import NODE_SECTIONS, Document, section_of
from blkrun.config.sections import COLLECTIONS, SETTINGS
from blkrun.config.steps import Value, as_written
from blkrun.decode import Path, nearest
from blkrun.errors import FileError
from blkrun.toml.diagnostics import dotted


def table_path(document: Document, text: str) -> Path:
    """``exports.vda``; a node or backend needs no section."""
    section, _, name = text.partition(".")
    if section in COLLECTIONS and name:
        name = str(_dotted_key(name)[0]) if name.startswith(('"', "'")) else name
        if name not in section_of(document, section):
            raise unknown(f"table in [{section}]", name, section_of(document, section))
        return section, name
    return node_path(document, text)


def node_path(document: Document, name: str) -> Path:
    """A node's or a backend's table."""
    for section in NODE_SECTIONS:
        if name in section_of(document, section):
            return section, name
    for section in COLLECTIONS:
        if name in section_of(document, section):
            other = dotted((section, name))
            raise FileError(f'there is no node or backend "{name}"; if you mean the table: {other}')
    raise unknown(
        "node or backend", name, [each for s in NODE_SECTIONS for each in section_of(document, s)]
    )


def switchable_path(document: Document, name: str) -> Path:
    """A node's or a job's."""
    if "." in name and name.partition(".")[0] in COLLECTIONS:
        return table_path(document, name)
    if name in section_of(document, "jobs"):
        if any(name in section_of(document, section) for section in NODE_SECTIONS):
            raise FileError(f'"{name}" is not clear: write nodes.{name} or jobs.{name}')
        return "jobs", name
    return node_path(document, name)


def limited_path(document: Document, name: str) -> Path:
    """A throttle group's or an export's."""
    groups, exports = section_of(document, "throttle-groups"), section_of(document, "exports")
    section, _, rest = name.partition(".")
    if section in ("throttle-groups", "exports") and rest:
        return table_path(document, name)
    for section, members in (("throttle-groups", groups), ("exports", exports)):
        if name in members:
            return section, name
    remedy = f"; blkrun set FILE throttle-groups.{name}.iops-total 500 would make one"
    raise unknown("throttle group or export", name, [*groups, *exports], remedy)


def key_path(document: Document, text: str) -> Path:
    """``exports.vda.read-only``, as TOML has keys; a name with dots in it needs no quotes here."""
    path = _dotted_key(text)
    section = str(path[0])
    if section not in (*COLLECTIONS, *SETTINGS):
        raise unknown("table", section, (*COLLECTIONS, *SETTINGS))
    names = section_of(document, section) if section in COLLECTIONS else {}
    for end in range(len(path) - 1, 2, -1):
        if (name := ".".join(map(str, path[1:end]))) in names:
            path = (section, name, *path[end:])
            break
    if len(path) < (3 if section in COLLECTIONS else 2):
        raise FileError(f"{text} is no key of a table: write {section}.NAME.KEY")
    return path


def assignments(words: Iterable[str]) -> Iterator[tuple[str, Value]]:
    """``KEY=VALUE``, each."""
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise FileError(f"{word!r} is not KEY=VALUE")
        yield key, as_written(value)


def unknown(what: str, name: str, known: Iterable[str], remedy: str = "") -> FileError:
    """What to raise: the nearest that there is, or all of them."""
    meant = nearest(name, list(known))
    hint = f'; did you mean "{meant}"?' if meant is not None else remedy
    if not hint and (listed := ", ".join(known)):
        hint = f"; there is: {listed}"
    return FileError(f'there is no {what} "{name}"{hint}')


def _dotted_key(text: str) -> Path:
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
