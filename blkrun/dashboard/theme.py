"""Themes from TOML files, checked before Textual sees them: it takes a wrong colour and dies later.

``name``, ``dark``, the colours of Textual's ``Theme``, and ``[variables]``.
"""

import tomllib
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

import blkrun
from blkrun.errors import FileError

_COLOURS = (
    "primary",
    "secondary",
    "warning",
    "error",
    "success",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
)
_KEYS = {"name": str, "dark": bool, "variables": dict} | dict.fromkeys(_COLOURS, str)
_REQUIRED = ("name", "primary")

_PACKAGE = Path(blkrun.__file__).parent
_FOLDERS = (_PACKAGE / "themes", _PACKAGE.parent / "themes")
"""Installed; in a checkout."""


def default_theme_path() -> Path | None:
    """``themes/blkrun.toml``, or None where it was not shipped."""
    paths = (folder / "blkrun.toml" for folder in _FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def load_theme(path: Path) -> Theme:
    """Raises FileError that names everything that is wrong."""
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(f"{path}: {error}") from error
    problems = [*_shape_problems(data), *_colour_problems(data)]
    if problems:
        raise FileError("\n".join(f"{path}: {problem}" for problem in problems))
    return Theme(**data)


def variable_defaults(theme: Theme) -> dict[str, str]:
    """What ``[variables]`` of ours there would be in a theme that has none."""
    if theme.ansi:
        quiet = {"dim": "ansi_bright_black", "border-quiet": "ansi_bright_black"}
        return quiet | {"cursor-row": "ansi_default"}
    fore = Color.parse(theme.foreground or ("#e0e0e0" if theme.dark else "#202020"))
    back = Color.parse(theme.background or ("#121212" if theme.dark else "#e0e0e0"))
    shares = {"dim": 0.45, "border-quiet": 0.75, "cursor-row": 0.85}
    return {name: fore.blend(back, share).hex for name, share in shares.items()}


def _shape_problems(data: dict[str, Any]) -> list[str]:
    missing = [f"{key} is missing" for key in _REQUIRED if key not in data]
    unknown = [f"unknown key {key!r}" for key in data if key not in _KEYS]
    wrong = [
        f"{key} must be a {kind.__name__}"
        for key, kind in _KEYS.items()
        if key in data and not isinstance(data[key], kind)
    ]
    return missing + unknown + wrong


def _colour_problems(data: dict[str, Any]) -> list[str]:
    variables = data.get("variables")
    named = {key: data[key] for key in _COLOURS if key in data}
    if isinstance(variables, dict):
        named |= {f"variables.{key}": value for key, value in variables.items()}
    return [
        f"{key} = {value!r} is no colour" for key, value in named.items() if not _is_colour(value)
    ]


def _is_colour(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return True
