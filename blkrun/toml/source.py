"""One file's bytes and the text in them: the ``read`` pass and the first half of ``parse``."""

import os
import tomllib
from pathlib import Path
from typing import Any

from blkrun.decode import Kind, Problem
from blkrun.errors import FileError

BOM = "\ufeff"


def read_bytes(path: Path) -> bytes:
    """The file's bytes, or FileError with one clear message."""
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read the file: {reason_of(error)}"
        problem = Problem(path=(), kind=Kind.OTHER, message=message)
        raise FileError(f"{path}: error: {message}", [problem]) from error


def reason_of(error: OSError) -> str:
    """The system's own words, without number and path."""
    return error.strerror or str(error)


def text_of(source: bytes) -> str:
    """The text as shown in messages: whatever cannot be decoded is replaced, not refused."""
    return source.decode("utf-8", "replace").replace("\r\n", "\n")  # as TOML reads it


def document_of(source: bytes) -> dict[str, Any] | None:
    """What the text says, if it is TOML."""
    try:
        return tomllib.loads(text_of(source))
    except (ValueError, RecursionError):  # TOML's errors, and numbers of thousands of digits
        return None


def encoding_fault(source: bytes) -> tuple[int, str] | None:
    """Why this is not TOML's plain UTF-8, and the offset in :func:`text_of` of the fault."""
    if text_of(source).startswith(BOM):
        return 0, "the file begins with a byte order mark (BOM); save it as UTF-8 without one"
    try:
        source.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text_of(source[: error.start])
        byte = source[error.start]
        return len(before), f"byte 0x{byte:02x} is not UTF-8; TOML files are UTF-8"
    return None


def absolute(directory: Path, written: str) -> Path:
    """A path from the file, relative to its directory; symbolic links stay as they are."""
    return Path(os.path.abspath(directory / written))  # noqa: PTH100 - resolve() follows links
