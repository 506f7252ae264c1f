"""Files that come with blkrun and are no Python."""

import tomllib
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the examples are inside the package, in a checkout beside it.
_FOLDERS = (_PACKAGE / "examples", _PACKAGE.parent / "examples")
_FIRST = "quickstart"

SCHEMA = _PACKAGE / "schema.json"
"""What ``blkrun schema`` prints, as a file for the line ``#:schema PATH`` that an editor reads."""


def examples() -> list[Path]:
    """The example files, by name; none where they were not installed."""
    folder = next(filter(Path.is_dir, _FOLDERS), None)
    return sorted(folder.glob("*.toml")) if folder is not None else []


def example_of(name: str, kind: str) -> Path | None:
    """One that uses a driver, a type of job or another table; the one named like it, if it does."""
    using = [file for file in examples() if _uses(tomllib.loads(file.read_text()), name, kind)]
    return min(using, key=lambda file: _preference(file, name), default=None)


def _preference(file: Path, name: str) -> tuple[bool, bool, str]:
    return (file.stem != name, file.stem != _FIRST, file.name)


def _uses(document: dict[str, Any], name: str, kind: str) -> bool:
    if kind in ("table", "settings"):
        return name in document
    tag, sections = ("type", ("jobs",)) if kind == "job" else ("driver", ("backends", "nodes"))
    tables = [table for key in sections for table in document.get(key, {}).values()]
    return any(table[tag] == name for table in tables)
