"""One theme file, checked before Textual sees it: it takes a wrong colour and dies later.

``name``, ``extends``, ``dark``, ``ansi``, the colours of Textual's ``Theme``, and ``[variables]``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import Struct
from textual.color import Color, ColorParseError
from textual.css.constants import VALID_STYLE_FLAGS
from textual.theme import BUILTIN_THEMES, Theme

from blkrun.dashboard.own_files import read_own, refusal
from blkrun.decode import Kind, Problem, decode, nearest
from blkrun.errors import FileError
from blkrun.toml.part import Part

COLOURS = (
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
WITHOUT_COLOURS = "ansi-dark"
"""Textual's own theme that it shows without colours; nobody may put another in its place."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")  # it becomes a class in the style sheet
_HUES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_ANSI = ("ansi_default", *(f"ansi_{bright}{hue}" for bright in ("", "bright_") for hue in _HUES))
_MIXED = ("background-darken-1", "primary-lighten-1")
"""Variables that Textual makes others of: it can do so only with a plain colour."""

_TRANSPARENT = re.compile(r"(.*\S)\s+\d+(?:\.\d+)?%")


class ThemeKeys(Struct, kw_only=True):
    """What a theme file may say."""

    name: str
    extends: str | None = None
    dark: bool | None = None
    ansi: bool | None = None
    variables: dict[str, Any] | None = None
    primary: str | None = None
    secondary: str | None = None
    warning: str | None = None
    error: str | None = None
    success: str | None = None
    accent: str | None = None
    foreground: str | None = None
    background: str | None = None
    surface: str | None = None
    panel: str | None = None
    boost: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A file in which everything is right that can be said without the theme it extends."""

    path: Path
    part: Part
    keys: ThemeKeys

    def theme(self, base: Theme | None) -> Theme:
        """The theme, over one that it extends.  Raises FileError that names all that is wrong."""
        keys = self.keys
        ansi = keys.ansi if keys.ansi is not None else base is not None and base.ansi
        problems = [*self._kind_problems(base, ansi=ansi)]
        if problems:
            raise refusal(self.part, problems)
        said: dict[str, Any] = {
            key: value for key in (*COLOURS, "dark") if (value := getattr(keys, key)) is not None
        }
        said |= {"name": keys.name, "ansi": ansi}
        variables = {str(name): value for name, value in (keys.variables or {}).items()}
        if base is None:
            # Textual's style sheets ask for some that it makes for no ansi theme but its own.
            needed = BUILTIN_THEMES[WITHOUT_COLOURS].variables if ansi else {}
            return Theme(**said, variables=needed | variables)
        return replace(base, **said, variables=base.variables | variables)

    def refuse(self, key: str, message: str, suggestion: str | None = None) -> FileError:
        """The error that says what is wrong with one of its keys, in the light of other files."""
        return refusal(self.part, [_problem((key,), message, suggestion)])

    def _kind_problems(self, base: Theme | None, *, ansi: bool) -> Iterator[Problem]:
        """A theme has the terminal's colours or its own, and not some of each."""
        if base is not None and base.ansi != ansi:
            other = f'"{base.name}" has {"true" if base.ansi else "false"}'
            yield _problem(("ansi",), f"it must be as in the theme that is extended: {other}")
            return
        for path, value in _written_colours(self.part.document):
            if not isinstance(value, str) or _is_neutral(value):
                continue
            if ansi and value not in _ANSI:
                message = f"{value!r} is no colour of the terminal, as ansi = true wants it"
                yield _problem(path, message, nearest(value, _ANSI) or "ansi_default")
            elif not ansi and value.startswith("ansi_"):
                yield _problem(path, f"{value!r} is the terminal's: that needs ansi = true")


def read_draft(path: Path) -> Draft:
    """Raises FileError that names everything that is wrong, each at its place."""
    part = read_own(path)
    problems: list[Problem] = []
    keys = decode(ThemeKeys, part.document, problems)
    problems += _name_problems(part.document)
    problems += _colour_problems(part.document)
    problems += _variable_problems(part.document)
    if problems or keys is None:
        raise refusal(part, problems)
    return Draft(path, part, keys)


def variable_defaults(theme: Theme) -> dict[str, str]:
    """What ``[variables]`` of ours there would be in a theme that has none."""
    if theme.ansi:  # what is dim is so by style: bright black is the background in some palettes
        quiet = {"dim": "ansi_default", "border-quiet": "ansi_bright_black"}
        return quiet | {"cursor-row": "ansi_default", "cursor-row-quiet": "ansi_default"}
    fore = Color.parse(theme.foreground or ("#e0e0e0" if theme.dark else "#202020"))
    back = Color.parse(theme.background or ("#121212" if theme.dark else "#e0e0e0"))
    shares = {"dim": 0.45, "border-quiet": 0.75, "cursor-row": 0.85}
    defaults = {name: fore.blend(back, share).hex for name, share in shares.items()}
    written = _opaque(theme.variables.get("cursor-row", ""))
    row = Color.parse(written if _is_colour(written) else defaults["cursor-row"])
    return defaults | {"cursor-row-quiet": row.blend(back, 0.4).hex}


def variable_names() -> frozenset[str]:
    """Everything ``[variables]`` may set: Textual's and ours."""
    kinds = (BUILTIN_THEMES["textual-dark"], BUILTIN_THEMES[WITHOUT_COLOURS])
    textual = {name for kind in kinds for name in kind.to_color_system().generate()}
    return frozenset(textual | variable_defaults(kinds[0]).keys())


def _name_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    name = document.get("name")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        message = f"{name!r} is no name: needs a to z, then also digits, - and _"
        yield _problem(("name",), message)
    if name == WITHOUT_COLOURS:
        yield _problem(("name",), f'"{name}" is what is shown without colours; take another name')
    if "extends" not in document and "primary" not in document:
        message = '"primary" is missing, and "extends", which could give it'
        yield Problem(path=(), kind=Kind.MISSING, message=message, expected="primary")


def _colour_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    for key in COLOURS:
        value = document.get(key)
        if isinstance(value, str) and not _is_colour(value):
            yield _no_colour((key,), value)


def _variable_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    variables = document.get("variables")
    if not isinstance(variables, Mapping) or not variables:
        return
    names = variable_names()
    for name, value in variables.items():
        path = ("variables", name)
        if name not in names:
            suggestion = nearest(name, names)
            message = f'unknown variable "{name}"'
            yield Problem(path=path, kind=Kind.UNEXPECTED, message=message, suggestion=suggestion)
        elif not isinstance(value, str):
            yield Problem(path=path, kind=Kind.TYPE, message=f"{value!r} is not a string")
        elif _is_style_name(name):
            yield from _style_problems(path, value)
        elif not _may_be(name, value):
            yield _no_colour(path, value)


def _may_be(name: str, value: str) -> bool:
    """Only text may be whatever can be read; what Textual mixes may let nothing through."""
    opaque = _opaque(value)
    if opaque == "auto":
        return name.startswith(("text", "link-color")) or name.endswith("-foreground")
    return _is_colour(value if name in _MIXED else opaque)


def _style_problems(path: tuple[str, ...], value: str) -> Iterator[Problem]:
    for word in value.split() or [""]:
        if word not in VALID_STYLE_FLAGS:
            allowed = ", ".join(sorted(VALID_STYLE_FLAGS))
            message = f"{word!r} is no text style: {allowed}"
            yield _problem(path, message, nearest(word, VALID_STYLE_FLAGS))


def _no_colour(path: tuple[str, ...], value: str) -> Problem:
    message = f'{value!r} is no colour: needs "#rrggbb" or a name such as "teal"'
    suggestion = None
    try:
        Color.parse(value)
    except ColorParseError as error:
        suggestion = error.suggested_color
    return _problem(path, message, suggestion)


def _problem(path: tuple[str, ...], message: str, suggestion: str | None = None) -> Problem:
    return Problem(path=path, kind=Kind.VALUE, message=message, suggestion=suggestion)


def _written_colours(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield from (((key,), document[key]) for key in COLOURS if key in document)
    for name, value in document.get("variables", {}).items():
        if not _is_style_name(name):
            yield ("variables", name), _opaque(value)


def _is_style_name(name: str) -> bool:
    return name.endswith("-style") or "-style-" in name


def _is_neutral(value: str) -> bool:
    """Black or white, whichever can be read; or nothing."""
    return value in ("auto", "transparent")


def _opaque(value: str) -> str:
    """``"red 35%"`` → ``"red"``."""
    found = _TRANSPARENT.fullmatch(value)
    return found[1] if found else value


def _is_colour(value: str) -> bool:
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return True
