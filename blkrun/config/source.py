"""The file's bytes and the text in them: the ``read`` pass and the first half of ``parse``."""

import os
from pathlib import Path

from blkrun.decode import Kind, Problem
from blkrun.errors import FileError

BOM = "\ufeff"


def read(path: Path) -> bytes:
    """The file's bytes, or FileError with one clear message."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        problem = Problem(path=(), kind=Kind.OTHER, message=f"cannot read the file: {reason}")
        raise FileError(f"{path}: error: {problem.message}", [problem]) from error


def text_of(source: bytes | str) -> str:
    """The text as shown in messages: whatever cannot be decoded is replaced, not refused."""
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")  # as TOML reads it


def encoding_fault(source: bytes | str) -> tuple[int, str] | None:
    """Why this is not TOML's plain UTF-8, and the offset in :func:`text_of` of the fault."""
    if text_of(source).startswith(BOM):
        return 0, "the file begins with a byte order mark (BOM); save it as UTF-8 without one"
    if isinstance(source, str):
        return None
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
