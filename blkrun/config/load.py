"""TOML file → checked Config, in passes.

::

    read ─▶ parse ─▶ locate ─▶ decode ─▶ refer ─▶ resolve
    bytes   mapping  places    Structs   problems  Config

All but ``read`` are pure.  ``decode`` and ``refer`` collect every problem there is; if there is
none, ``resolve`` cannot fail.
"""

from pathlib import Path

from blkrun.config.address import decode_address
from blkrun.config.check import refer
from blkrun.config.diagnostics import Diagnostic, diagnose, place, render
from blkrun.config.positions import Positions
from blkrun.config.resolve import resolve
from blkrun.config.sections import COLLECTIONS, decode_document
from blkrun.config.source import absolute, read
from blkrun.config.syntax import parse_toml
from blkrun.config.tables import Draft, Raw
from blkrun.decode import Kind, Problem
from blkrun.decode import Path as KeyPath
from blkrun.errors import FileError
from blkrun.model import Config
from blkrun.options import DashboardOptions, RunnerOptions, ServerOptions

EMPTY = Problem(path=(), kind=Kind.OTHER, message="the file describes nothing")


class EmptyFileError(FileError):
    """Nothing but blanks and comments: a watcher takes it for a save that is half done."""


def load(path: Path) -> Config:
    """Read and parse one file; FileError with every problem if there is any."""
    return parse(read(path), path)


def parse(text: bytes | str, path: Path) -> Config:
    """The same for a text that has been read; ``path`` is what its relative paths start from."""
    outcome = _examine(text, path)
    if isinstance(outcome, Config):
        return outcome
    problems = [diagnostic.problem for diagnostic in outcome]
    raise (EmptyFileError if EMPTY in problems else FileError)(render(outcome, text), problems)


def check(text: bytes | str, path: Path) -> list[Diagnostic]:
    """Everything that is wrong with a text, in its order; empty if it can be used."""
    outcome = _examine(text, path)
    return [] if isinstance(outcome, Config) else outcome


def _examine(source: bytes | str, path: Path) -> Config | list[Diagnostic]:
    parsed = parse_toml(source, path)
    if isinstance(parsed, Diagnostic):
        return [parsed]
    document, at = parsed
    if not document:
        return [place(path, EMPTY)]
    file = absolute(Path.cwd(), str(path))
    problems: list[Problem] = []
    draft = decode_document(document, file.parent, problems)
    address = decode_address(draft.server, file, problems)
    # A reference that is no proper name at all is wrong once, not twice.
    badly_written = {each.path for each in problems if each.kind in (Kind.TYPE, Kind.VALUE)}
    problems.extend(each for each in refer(draft) if each.path not in badly_written)
    if problems or address is None:
        return diagnose(path, problems, at)
    lines = _header_lines(document, at)
    return Config(
        path=file,
        address=address,
        server=draft.server.options or ServerOptions(),
        runner=draft.runner.options or RunnerOptions(),
        dashboard=draft.dashboard.options or DashboardOptions(),
        graph=resolve(draft),
        lines=lines,
        made_by=_made_by(draft, lines),
    )


def _header_lines(document: Raw, at: Positions) -> dict[str, int]:
    paths: list[KeyPath] = [(section,) for section in document]
    paths += [(section, name) for section in COLLECTIONS for name in document.get(section, ())]
    places = {".".join(map(str, path)): at.value(path) for path in paths}
    return {name: span.line for name, span in places.items() if span is not None}


def _made_by(draft: Draft, lines: dict[str, int]) -> dict[str, str]:
    makers: dict[str, str] = {}
    for export in draft.exports:
        made = (f"throttle-groups.{export.throttle_group}", f"nodes.{export.throttle_node}")
        makers |= {table: f"exports.{export.name}" for table in made if table not in lines}
    return makers
