"""The dashboard's own TOML files, themes and settings: where they are and what is wrong with them.

blkrun reads them and never writes them: they are their owner's.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from blkrun.decode import Problem
from blkrun.diagnostic import Related
from blkrun.errors import FileError
from blkrun.toml.diagnostics import render
from blkrun.toml.part import Part
from blkrun.toml.source import read_bytes
from blkrun.toml.syntax import parse_toml


def config_folder() -> Path:
    """``$XDG_CONFIG_HOME/blkrun``; a relative one counts as unset, as the specification has it."""
    said = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (said if said.is_absolute() else _home() / ".config") / "blkrun"


def shown(path: Path) -> Path:
    """As short as it can be named: messages stand in a narrow box."""
    home = _home()
    return "~" / path.relative_to(home) if home.name and path.is_relative_to(home) else path


def _home() -> Path:
    """A user that the system does not know has the root, as in most containers."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def read_own(path: Path) -> Part:
    """Raises FileError that names every syntax error, or why it cannot be read."""
    source = read_bytes(path)
    part = parse_toml(source, shown(path))
    if isinstance(part, Part):
        return part
    raise FileError(render(part, {shown(path): source}), [each.problem for each in part])


def refusal(part: Part, problems: Iterable[Problem]) -> FileError:
    """The error that shows all of them, each with its line and a caret, from the top down."""
    places = (part.place(each, _related(part, each)) for each in problems)
    found = sorted(places, key=lambda at: (at.line, at.column))
    text = render(found, {part.file: part.at.text.encode()})
    return FileError(text, [each.problem for each in found])


def _related(part: Part, problem: Problem) -> Related | None:
    return part.relate(problem.related, "is here") if problem.related is not None else None
