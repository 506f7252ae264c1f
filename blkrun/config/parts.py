"""The files of a configuration as parsed, and which of them a key path leads to.

A problem's path says nothing of a file: a table is in one of them only, and all else is the main
file's.
"""

from collections.abc import Iterable, Iterator

from blkrun.config.sections import members
from blkrun.decode import Kind, Path, Problem
from blkrun.diagnostic import Diagnostic, Place
from blkrun.toml.diagnostics import dotted
from blkrun.toml.part import Part


class Parts:
    """All of them, the main one first; it may be the only one."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = tuple(parts)
        self._owners: dict[Path, Part] = {}
        for part in self._parts:
            for path, _ in members(part.document):
                self._owners.setdefault(path, part)

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    @property
    def main(self) -> Part:
        """The file that includes the others."""
        return self._parts[0]

    def of(self, path: Path) -> Part:
        """The file that a key is in."""
        return self._owners.get(path[:2], self.main)

    def diagnose(self, problem: Problem, part: Part | None = None) -> Diagnostic:
        """A problem with its place; ``part`` where the path alone does not say which file."""
        part = part or self.of(problem.path)
        if problem.kind is Kind.RENAMED:  # all else that is told of the key has the name of now
            part.at.also(problem.path, problem.value)
        related = None
        if problem.related is not None:
            related = self.of(problem.related).relate(problem.related, "is here")
        return part.place(problem, related)

    def written_twice(self) -> Iterator[Diagnostic]:
        """Tables that are in two files: one may not be spread."""
        for part in self._parts:
            for path, _ in members(part.document):
                first = self._owners[path]
                if first is not part:
                    message = f"{dotted(path)} is written twice"
                    problem = Problem(path=path, kind=Kind.OTHER, message=message)
                    yield part.place(problem, first.relate(path, "is first written here"))

    def places(self) -> dict[str, Place]:
        """Dotted names of sections and tables → where each is first written."""
        places: dict[str, Place] = {}
        for part in self._parts:
            paths: list[Path] = [(section,) for section in part.document]
            paths += [path for path, _ in members(part.document)]
            for path in paths:
                if (span := part.at.value(path)) is not None:
                    name = ".".join(map(str, path))
                    places.setdefault(name, Place(part.file, span.line))
        return places
