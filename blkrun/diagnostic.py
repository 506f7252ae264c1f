"""What is wrong with a file, and where: plain data, for whoever shows it.

A :class:`~blkrun.decode.Problem` leads to a key; a :class:`Diagnostic` to a place in a text.  How
one looks is ``blkrun.toml.diagnostics``' business.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from blkrun.decode import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; the file is named as in ``Sources.texts``, lines count from 1."""

    file: Path
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another place that explains a diagnostic: where the thing referred to is written."""

    file: Path
    line: int
    column: int
    length: int
    message: str

    def row(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "file": str(self.file)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """A problem and its place.  ``line`` is 0 when it is about the file as a whole.

    With a warning the file can be used.
    """

    file: Path
    line: int
    column: int
    length: int
    severity: Literal["error", "warning"]
    message: str
    suggestion: str | None
    related: Related | None
    problem: Problem

    def row(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "file": str(self.file),
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "severity": self.severity,
            "message": self.message,
            "suggestion": self.suggestion,
            "related": self.related.row() if self.related is not None else None,
        }
