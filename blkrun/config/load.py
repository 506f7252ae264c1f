"""TOML files → checked Config, in passes.

::

    read ─▶ parse ─▶ locate ─▶ decode ─▶ refer ─▶ resolve
    bytes   mapping  places    Structs   problems  Config

All but ``read`` are pure.  ``parse`` to ``decode`` look at each file by itself, the others at all
of them together.  ``decode`` and ``refer`` collect every problem there is; if there is none,
``resolve`` cannot fail.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from blkrun.config.address import decode_address
from blkrun.config.check import refer
from blkrun.config.parts import Parts
from blkrun.config.resolve import disabled, resolve
from blkrun.config.sections import decode_document, decode_included, merge
from blkrun.config.sources import Sources, Unread, read
from blkrun.config.tables import Draft
from blkrun.decode import Kind, Problem
from blkrun.diagnostic import Diagnostic, Place
from blkrun.errors import FileError
from blkrun.model import Config, ServerAddress
from blkrun.options import DashboardOptions, RunnerOptions, ServerOptions
from blkrun.toml.diagnostics import place, render
from blkrun.toml.part import Part
from blkrun.toml.syntax import parse_toml

EMPTY = Problem(path=(), kind=Kind.OTHER, message="the file describes nothing")


class EmptyFileError(FileError):
    """Nothing but blanks and comments: a watcher takes it for a save that is half done."""


def load(path: Path) -> Config:
    """Read and parse a file and what it includes; FileError with every problem if there is any."""
    return parse(read(path))


def parse(sources: Sources | bytes | str, path: Path | None = None) -> Config:
    """The same for what has been read.

    A text by itself is one file, whose relative paths start from ``path``.
    """
    sources = _sources(sources, path)
    config, found = _examine(sources)
    if config is not None:
        return config
    errors = [each for each in found if each.severity == "error"]
    problems = [each.problem for each in errors]
    raise (EmptyFileError if EMPTY in problems else FileError)(
        render(errors, sources.texts), problems, errors[0].line
    )


def check(sources: Sources | bytes | str, path: Path | None = None) -> list[Diagnostic]:
    """Everything that is wrong, by file and place, warnings among it."""
    return _examine(_sources(sources, path))[1]


def _sources(given: Sources | bytes | str, path: Path | None) -> Sources:
    if isinstance(given, Sources):
        return given
    if path is None:
        raise TypeError("a text needs the path that it is for")
    text = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
    return Sources(main=path, texts={path: text})


def _examine(sources: Sources) -> tuple[Config | None, list[Diagnostic]]:
    """The Config if there is no error, and everything found."""
    parsed = [parse_toml(text, file) for file, text in sources.texts.items()]
    found = [one for each in parsed if not isinstance(each, Part) for one in each]
    parts = [each for each in parsed if isinstance(each, Part)]
    config = None
    if parts and parts[0].file == sources.main:
        if parts[0].document:
            config = _check(sources, Parts(parts), found)
        else:
            found.append(place(sources.main, EMPTY))
    return config, _in_order(found, sources)


def _check(sources: Sources, parts: Parts, found: list[Diagnostic]) -> Config | None:
    """Decode, refer and resolve; adds to ``found``."""
    found += [_unread(each, parts.main) for each in sources.unread]
    whole = len(parts) == len(sources.texts) and not sources.unread
    draft, address = _decode(parts, found)
    if whole:  # else names would be missing that are in the rest
        found += _refer(parts, draft, found)
    if address is None or any(each.severity == "error" for each in found):
        return None
    places = parts.places()
    return Config(
        path=parts.main.absolute,
        address=address,
        server=draft.server.options or ServerOptions(),
        runner=draft.runner.options or RunnerOptions(),
        dashboard=draft.dashboard.options or DashboardOptions(),
        graph=resolve(draft),
        places=places,
        made_by=_made_by(draft, places),
        disabled=disabled(draft),
        digest=sources.digest,
        warnings=tuple(_in_order(found, sources)),
    )


def _unread(unread: Unread, main: Part) -> Diagnostic:
    message = f"cannot read {unread.file}: {unread.reason}"
    return main.place(Problem(path=("include", unread.index), kind=Kind.VALUE, message=message))


def _decode(parts: Parts, found: list[Diagnostic]) -> tuple[Draft, ServerAddress | None]:
    main, *others = parts
    problems: list[Problem] = []
    drafts = [decode_document(main.document, main.absolute.parent, problems)]
    address = decode_address(drafts[0].server, main.absolute, problems)
    found += [parts.diagnose(problem, main) for problem in problems]
    for part in others:
        own: list[Problem] = []
        drafts.append(decode_included(part.document, part.absolute.parent, main.file, own))
        found += [parts.diagnose(problem, part) for problem in own]
    return merge(drafts), address


def _refer(parts: Parts, draft: Draft, found: list[Diagnostic]) -> Iterator[Diagnostic]:
    # A reference that is no proper name at all is wrong once, not twice.
    kinds = (Kind.TYPE, Kind.VALUE)
    badly_written = {each.problem.path for each in found if each.problem.kind in kinds}
    yield from parts.written_twice()
    for problem in refer(draft):
        if problem.path not in badly_written:
            yield parts.diagnose(problem)


def _in_order(found: Iterable[Diagnostic], sources: Sources) -> list[Diagnostic]:
    """By file, and then by place."""
    order = {file: index for index, file in enumerate(sources.texts)}
    return sorted(found, key=lambda each: (order[each.file], each.line, each.column))


def _made_by(draft: Draft, places: Mapping[str, Place]) -> dict[str, str]:
    makers: dict[str, str] = {}
    for export in draft.exports:
        made = (f"throttle-groups.{export.throttle_group}", f"nodes.{export.throttle_node}")
        makers |= {table: f"exports.{export.name}" for table in made if table not in places}
    return makers
