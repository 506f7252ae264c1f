"""All themes there are: those that come with blkrun and the user's, each over what it extends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from textual.theme import BUILTIN_THEMES, Theme

import blkrun
from blkrun.dashboard.own_files import config_folder
from blkrun.dashboard.theme_file import Draft, read_draft, variable_defaults
from blkrun.decode import nearest
from blkrun.errors import FileError

__all__ = [
    "DEFAULT",
    "TERMINAL",
    "Resolved",
    "default_theme_path",
    "load_theme",
    "resolve",
    "theme_folders",
    "variable_defaults",
]

DEFAULT = "blkrun"
TERMINAL = "terminal"

_PACKAGE = Path(blkrun.__file__).parent
_SHIPPED = (_PACKAGE / "themes", _PACKAGE.parent / "themes")
"""Installed; in a checkout."""


def theme_folders() -> tuple[Path, ...]:
    """The shipped one, where there is one, and the user's, which may not exist."""
    shipped = [folder for folder in _SHIPPED if folder.is_dir()][:1]
    return (*shipped, config_folder() / "themes")


def default_theme_path() -> Path | None:
    """``themes/blkrun.toml``, or None where it was not shipped."""
    paths = (folder / f"{DEFAULT}.toml" for folder in _SHIPPED)
    return next((path for path in paths if path.is_file()), None)


def load_theme(path: Path) -> Theme:
    """One file alone, over one of Textual's.  Raises FileError that names all that is wrong."""
    draft = read_draft(path)
    found = resolve([draft])
    if path in found.errors:
        raise FileError(found.errors[path])
    return found.themes[path]


class Resolved(NamedTuple):
    """Themes by their files, and of the files that are wrong all that is."""

    themes: Mapping[Path, Theme]
    errors: Mapping[Path, str]


def resolve(drafts: Sequence[Draft]) -> Resolved:
    """Each over the theme it extends; shipped ones come first, so that a user's wins."""
    themes: dict[Path, Theme] = {}
    errors: dict[Path, str] = {}
    for draft in drafts:
        try:
            _refuse_namesake(draft, drafts)
            themes[draft.path] = _theme(draft, drafts)
        except FileError as error:
            errors[draft.path] = str(error)
    return Resolved(themes, errors)


def _refuse_namesake(draft: Draft, drafts: Sequence[Draft]) -> None:
    """In one folder nobody could say which of two wins."""
    for other in drafts:
        if other is draft:
            return
        if other.keys.name == draft.keys.name and other.path.parent == draft.path.parent:
            raise draft.refuse("name", f'"{draft.keys.name}" is the name of {other.path.name} too')


def _theme(draft: Draft, drafts: Sequence[Draft]) -> Theme:
    """From the theme at the end of what it extends, back to it."""
    chain, theme = [draft], None
    while (wanted := chain[-1].keys.extends) is not None:
        base = _base(chain[-1], wanted, drafts)
        if isinstance(base, Theme):
            theme = base
            break
        if base in chain:
            raise draft.refuse("extends", f'"{chain[0].keys.extends}" leads back to "{wanted}"')
        chain.append(base)
    for each in reversed(chain[1:]):
        theme = each.theme(theme)
    return draft.theme(theme)


def _base(draft: Draft, wanted: str, drafts: Sequence[Draft]) -> Draft | Theme:
    """A user's ``blkrun`` may extend the shipped ``blkrun``: never oneself, else the last."""
    found = [each for each in drafts if each.keys.name == wanted and each is not draft]
    if found:
        return found[-1]
    if wanted in BUILTIN_THEMES:
        return BUILTIN_THEMES[wanted]
    known = {*(each.keys.name for each in drafts if each is not draft), *BUILTIN_THEMES}
    raise draft.refuse("extends", f'there is no theme "{wanted}"', nearest(wanted, known))
