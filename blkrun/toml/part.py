"""One file as parsed, and the places of its keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from blkrun.decode import Kind, Path, Problem
from blkrun.diagnostic import Diagnostic, Related
from blkrun.toml.diagnostics import dotted, place, relate
from blkrun.toml.positions import Positions
from blkrun.toml.source import absolute

# A wrong value is shown at the value, a missing key at its table's header, all else at the name.
_AT_THE_VALUE = frozenset({Kind.TYPE, Kind.VALUE, Kind.REFERENCE, Kind.MISSING})


@dataclass(frozen=True, slots=True)
class Part:
    """One file that is TOML."""

    file: FilePath
    document: Mapping[str, Any]
    at: Positions

    @property
    def absolute(self) -> FilePath:
        """Its whole path."""
        return absolute(FilePath.cwd(), str(self.file))

    def place(self, problem: Problem, related: Related | None = None) -> Diagnostic:
        """A problem with a key of this file."""
        look_up = self.at.value if problem.kind in _AT_THE_VALUE else self.at.name
        return place(self.file, problem, look_up(problem.path), related)

    def relate(self, path: Path, words: str) -> Related | None:
        """``words`` about a key of this file, if the file has it or a table around it."""
        span = self.at.name(path)
        return relate(self.file, span, f"{dotted(path)} {words}") if span is not None else None
