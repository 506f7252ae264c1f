"""``$XDG_CONFIG_HOME/blkrun/settings.toml``: how one person likes every dashboard.

It is theirs: blkrun reads it, and never writes it.  If anything is wrong with it nothing of it
counts, as half of what was wanted is harder to understand than the defaults.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from blkrun.dashboard.keymap import KeyTable, key_problems, written_keys
from blkrun.dashboard.own_files import config_folder, read_own, refusal
from blkrun.decode import Kind, Problem, decode, nearest
from blkrun.errors import FileError

Symbols = Literal["auto", "braille", "block", "ascii"]


class Settings(Struct, frozen=True, kw_only=True):
    """What the file may say, and what is so where it says nothing."""

    theme: str | None = None
    symbols: Symbols = "auto"
    mouse: bool = True
    snapshots: Annotated[str, Meta(min_length=1)] = "."
    keys: dict[str, Any] = {}
    """Other keys by the id of what they do, a tuple each."""

    @property
    def snapshot_folder(self) -> Path:
        """Where snapshots are saved; ``~`` is home, and a relative one starts where blkrun does."""
        return Path(self.snapshots).expanduser()


def settings_path() -> Path:
    """Where the file is, if there is one."""
    return config_folder() / "settings.toml"


def load_settings(
    path: Path, themes: Collection[str], always: KeyTable, *sometimes: KeyTable
) -> Settings:
    """The defaults where there is no file; FileError names all that is wrong with one.

    ``always`` are keys that are on offer everywhere, each of ``sometimes`` those of one panel or
    screen, which are never on offer together with another's.
    """
    if not _is_there(path):
        return Settings()
    part = read_own(path)
    problems: list[Problem] = []
    settings = decode(Settings, part.document, problems)
    problems += _theme_problems(part.document.get("theme"), themes)
    keys = part.document.get("keys")
    if isinstance(keys, Mapping):
        problems += key_problems(keys, always, sometimes)
    if problems or settings is None:
        raise refusal(part, problems)
    return msgspec.structs.replace(settings, keys=written_keys(settings.keys))


def read_settings(
    path: Path, themes: Collection[str], always: KeyTable, *sometimes: KeyTable
) -> tuple[Settings, str]:
    """The settings, or the defaults and what is wrong with the file: it never keeps one out."""
    try:
        return load_settings(path, themes, always, *sometimes), ""
    except FileError as error:
        return Settings(), str(error)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # nobody may look: reading it says so
        return True


def _theme_problems(written: Any, themes: Collection[str]) -> Iterator[Problem]:
    if isinstance(written, str) and written not in themes:
        yield Problem(
            path=("theme",),
            kind=Kind.VALUE,
            message=f'there is no theme "{written}"',
            suggestion=nearest(written, themes),
        )
