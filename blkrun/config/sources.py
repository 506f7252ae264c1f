"""The files that a configuration is written in: the main one, and those that it includes.

::

    include = ["tenants/*.toml"]      # top of the main file: glob patterns, from its directory

``read`` takes them all; ``patterns`` says which files there may be, for those who watch them.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from glob import escape, glob, has_magic
from hashlib import sha256
from pathlib import Path
from typing import Any

from blkrun.decode import Kind, Problem
from blkrun.toml.source import absolute, document_of, read_bytes, reason_of


@dataclass(frozen=True, slots=True)
class Unread:
    """An included file that could not be read; ``index`` counts the patterns."""

    file: Path
    index: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that was read, as it was read.

    ``main`` is as the user wrote it; an included file is named beside it: ``lab/vm.toml`` has
    ``lab/tenants/a.toml``.  ``texts`` has the main file first.
    """

    main: Path
    texts: dict[Path, bytes]
    unread: tuple[Unread, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 in hex, of names and texts; the same from whichever directory it is asked for."""
        total = sha256()
        for file, text in self.texts.items():
            name = b"" if file == self.main else os.fsencode(self._name(file))
            total.update(b"%d %d " % (len(name), len(text)) + name + text)
        for each in self.unread:
            total.update(os.fsencode(self._name(each.file)) + each.reason.encode())
        return total.hexdigest()

    def with_texts(self, texts: Mapping[Path, bytes]) -> "Sources":
        """The same with other texts in some of its files."""
        return replace(self, texts={**self.texts, **texts})

    def _name(self, file: Path) -> str:
        here = Path.cwd()
        return os.path.relpath(absolute(here, str(file)), absolute(here, str(self.main)).parent)


def read(path: Path) -> Sources:
    """The main file and what it includes.  Raises FileError if the main file cannot be read.

    One of the others that cannot be read is left out, in ``unread``: ``parse`` tells of it.
    """
    text = read_bytes(path)
    sources = Sources(main=path, texts={path: text})
    unread: list[Unread] = []
    for index, file in _included(document_of(text) or {}, path):
        try:
            sources.texts[file] = file.read_bytes()
        except OSError as error:
            unread.append(Unread(file, index, reason_of(error)))
    return replace(sources, unread=tuple(unread))


def patterns(source: bytes, path: Path) -> tuple[str, ...] | None:
    """What the main file includes, as absolute glob patterns (recursive ones, with ``**``).

    Also if the file is wrong elsewhere; None if its TOML cannot be read.
    """
    document = document_of(source)
    if document is None:
        return None
    directory = Path(escape(str(absolute(Path.cwd(), str(path)).parent)))
    return tuple(str(absolute(directory, pattern)) for _, pattern in include_patterns(document))


def include_patterns(document: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Index and pattern of each that can be used."""
    written = document.get("include")
    for index, pattern in enumerate(written if isinstance(written, list) else ()):
        if isinstance(pattern, str) and pattern and "\0" not in pattern:
            yield index, pattern


def include_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with ``include`` itself."""
    written = document.get("include", [])
    remedy = 'write include = ["tenants/*.toml"]'
    if not isinstance(written, list):
        message = f"include is not a list of patterns: {remedy}"
        yield Problem(path=("include",), kind=Kind.TYPE, message=message, expected="array")
        return
    good = {index for index, _ in include_patterns(document)}
    for index, pattern in enumerate(written):
        if index not in good:
            message = f"include[{index}]: {pattern!r} is not a pattern of file names: {remedy}"
            yield Problem(path=("include", index), kind=Kind.VALUE, message=message)


def _included(document: Mapping[str, Any], main: Path) -> Iterator[tuple[int, Path]]:
    """Index of the pattern and file, each file once; the main file includes not itself."""
    seen = {os.path.realpath(main)}
    for index, pattern in include_patterns(document):
        names = sorted(glob(pattern, root_dir=main.parent, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not names and not has_magic(pattern):
            names = [pattern]  # a plain name is meant to be there: reading it says why it is not
        for name in names:
            file = main.parent / name
            if (real := os.path.realpath(file)) not in seen:
                seen.add(real)
                yield index, file
