"""Theme files while they are edited: what has changed since the last look, and what is wrong."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.theme import Theme

from blkrun.dashboard.theme import resolve
from blkrun.dashboard.theme_file import Draft, read_draft
from blkrun.errors import FileError

Stamp = tuple[int, int, int]
"""Modification time in ns, size, inode: an editor that renames may keep the first two."""

Look = Mapping[Path, Stamp]


class Settling:
    """Tells which files differ, once two looks agree: one caught half-written is not taken."""

    def __init__(self, look: Look) -> None:
        self._taken = dict(look)
        self._before = dict(look)

    def see(self, look: Look) -> frozenset[Path]:
        """Files that are not as they were when they were last taken, and rest."""
        paths = look.keys() | self._taken.keys()
        differing = {path for path in paths if look.get(path) != self._taken.get(path)}
        settled = {path for path in differing if look.get(path) == self._before.get(path)}
        self._before = dict(look)
        for path in settled:
            self._taken.pop(path, None)
            if path in look:
                self._taken[path] = look[path]
        return frozenset(settled)


@dataclass(frozen=True, slots=True)
class Changes:
    """Of themes by name, and of what is told: errors that are new, files that are right again."""

    themes: Mapping[str, Theme]
    gone: frozenset[str]
    errors: tuple[str, ...]
    mended: tuple[Path, ...]


NOTHING = Changes({}, frozenset(), (), ())


class ThemeWatch:
    """All themes of some folders, later ones before earlier ones of the same name.

    While a file is wrong its theme stays as it was; one that never was right is left out.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        look = look_at(folders)
        self._settling = Settling(look)
        self._drafts: dict[Path, Draft] = {}
        self._unread: dict[Path, str] = {}
        self._themes: dict[Path, Theme] = {}
        self.errors: dict[Path, str] = {}
        self._take(look)

    @property
    def themes(self) -> dict[str, Theme]:
        """By name."""
        return {self._themes[path].name: self._themes[path] for path in self._ordered(self._themes)}

    def look(self) -> Changes:
        """What is different since the last time; costs a ``stat`` a file when nothing is."""
        settled = self._settling.see(look_at(self._folders))
        if not settled:
            return NOTHING
        themes, errors = self.themes, self.errors
        self._take(settled)
        now = self.themes
        return Changes(
            {name: theme for name, theme in now.items() if themes.get(name) != theme},
            frozenset(themes.keys() - now.keys()),
            tuple(text for path, text in self.errors.items() if errors.get(path) != text),
            tuple(path for path in errors if path not in self.errors and path in self._themes),
        )

    def _take(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._unread.pop(path, None)
            if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file() raises where nobody may look
                self._drafts.pop(path, None)
                continue
            try:
                self._drafts[path] = read_draft(path)
            except FileError as error:
                self._unread[path] = str(error)
        drafts = [self._drafts[path] for path in self._ordered(self._drafts)]
        found = resolve(drafts)
        kept = {path: theme for path, theme in self._themes.items() if path in found.errors}
        self._themes = {**found.themes, **kept}
        self.errors = {**found.errors, **self._unread}

    def _ordered(self, paths: Iterable[Path]) -> list[Path]:
        return sorted(paths, key=lambda path: (self._folders.index(path.parent), path.name))


def look_at(folders: Iterable[Path]) -> Look:
    """All theme files there are now."""
    stamps: dict[Path, Stamp] = {}
    for folder in folders:
        for path in _files(folder):
            try:
                stat = path.stat()
            except OSError:  # it went meanwhile, or leads nowhere
                continue
            stamps[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return stamps


def _files(folder: Path) -> list[Path]:
    """None where nobody can look: a home in the network may be away."""
    try:
        return [*folder.glob("*.toml")]
    except OSError:
        return []
