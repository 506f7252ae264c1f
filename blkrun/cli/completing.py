"""What a shell asks for at TAB, answered by argcomplete and, for names, from the file itself.

argcomplete knows commands, options and choices from the parser.  What else there is goes by what an
argument is called: one called ``node`` completes to the nodes of the file that the line names.
Nothing here is imported unless a shell asks.
"""

import os
import tomllib
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import argcomplete
from argcomplete.completers import BaseCompleter

from blkrun.cli.shipped import examples
from blkrun.errors import BlkrunError

Words = Iterable[str]
Document = Mapping[str, Any]


def typed_words() -> list[str]:
    """The words before the cursor, without the program's name."""
    line = os.environ.get("COMP_LINE", "")
    return line[: int(os.environ.get("COMP_POINT") or len(line))].split()[1:]


def complete(parser: ArgumentParser) -> None:
    """Write what fits for the shell, on the descriptor that it gave us, and end the process."""
    argcomplete.autocomplete(parser, always_complete_options=False, default_completer=ByName())


class ByName(BaseCompleter):
    """For every argument that has no choices: by what it is called."""

    def __call__(
        self, *, prefix: str, action: Action, parser: ArgumentParser, parsed_args: Namespace
    ) -> list[str]:
        """Argcomplete's interface; the words that begin with what is written of the last one."""
        del parser
        if action.dest in _FILES:
            return files(prefix, _FILES[action.dest])
        words = _words(action.dest, parsed_args)
        return [word for word in words if word.startswith(prefix)]


def _words(argument: str, parsed: Namespace) -> Words:
    file = getattr(parsed, "file", None)
    if (names := _ANYWHERE.get(argument)) is not None:
        yield from names(parsed)
    if file is not None and (names_in := _IN_THE_FILE.get(argument)) is not None:
        for document in _documents(file):
            yield from names_in(document)


def files(prefix: str, suffix: str) -> list[str]:
    """Those that end so and the folders on the way to them, as they were begun to be written."""
    head, _, begun = prefix.rpartition("/")
    folder = Path(f"{head}/" if "/" in prefix else ".").expanduser()
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(begun) and (begun or not path.name.startswith(".")):
            written = prefix[: len(prefix) - len(begun)] + path.name
            if path.is_dir():
                found.append(f"{written}/")
            elif path.name.endswith(suffix):
                found.append(written)
    return found


def _documents(file: Path) -> list[Document]:
    """What the file and those that it includes say; nothing while one of them is wrong."""
    from blkrun.config import read  # noqa: PLC0415 - most completions look into no file

    try:
        return [tomllib.loads(text.decode()) for text in read(file).texts.values()]
    except (BlkrunError, ValueError):
        return []


def _keys(*sections: str) -> Callable[[Document], Words]:
    def names(document: Document) -> Words:
        for section in sections:
            tables = document.get(section)
            yield from tables if isinstance(tables, dict) else ()

    return names


def _dotted(document: Document) -> Words:
    """``exports.vda.read-only``, for each key that is there."""
    for section, members in document.items():
        for name, table in members.items() if isinstance(members, dict) else ():
            if isinstance(table, dict):
                yield from (f"{section}.{name}.{key}" for key in table)
            else:
                yield f"{section}.{name}"


def _drivers(_: Namespace) -> Words:
    """Of nodes: a backend is over nothing, and no command puts one in."""
    from blkrun.options import DRIVERS  # noqa: PLC0415 - most completions need no driver

    return [name for name, struct in DRIVERS.items() if not struct.is_backend]


def _driver_keys(parsed: Namespace) -> Words:
    """``throttle-group=`` and so on, once the driver is named."""
    from blkrun.config.catalogue import catalogue  # noqa: PLC0415 - likewise

    entry = catalogue().get(getattr(parsed, "driver", None) or "")
    return [f"{option.name}=" for option in entry.options] if entry is not None else []


def _entries(_: Namespace) -> Words:
    from blkrun.config.catalogue import catalogue  # noqa: PLC0415 - likewise

    return catalogue()


def _limits(_: Namespace) -> Words:
    from blkrun.options import ThrottleLimits  # noqa: PLC0415 - likewise

    return [f"{key}=" for key in ThrottleLimits.__struct_encode_fields__]


_FILES = {"file": ".toml", "image": "", "record": "", "recording": ""}
"""An argument's name → how the files end that it may be."""

_ANYWHERE: dict[str, Callable[[Namespace], Words]] = {
    "driver": _drivers,
    "example": lambda _: [file.stem for file in examples()],
    "limits": _limits,
    "name": _entries,
    "values": _driver_keys,
}
"""An argument's name → what it may be, whatever the file says."""

_IN_THE_FILE: dict[str, Callable[[Document], Words]] = {
    "above": _keys("nodes", "backends"),
    "below": _keys("nodes", "exports"),
    "export": _keys("exports"),
    "group": _keys("throttle-groups", "exports"),
    "job": _keys("jobs"),
    "node": _keys("nodes", "backends", "jobs"),
    "unset": _dotted,
    "words": _dotted,
}
"""An argument's name → the names that it completes to, of the file that the line names."""
