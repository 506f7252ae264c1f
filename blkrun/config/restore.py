"""Putting several files back to what they were, together: none of them over another edit."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from blkrun.errors import FileError

Texts = Mapping[Path, bytes | None]
"""Files; None is one that is not there."""


def restore(before: Texts, after: Texts) -> bool:
    """Put ``after`` in the place of ``before``; False if a file says something else by now.

    All new texts are on the disk before the first is renamed to its place, so a reader sees some
    of the old ones beside new ones for less than a millisecond.  A link stays, what it leads to
    is written.  Raises FileError when one cannot be written; then the texts are as they were.
    """
    changed = [file for file, text in after.items() if before.get(file) != text]
    try:
        with ExitStack() as stack:
            ready = [(file, _prepare(file, after[file], stack)) for file in changed]
            if any(_text(file) != before.get(file) for file in changed):
                return False
            _replace(ready, before)
    except OSError as error:
        name = error.filename or "the files"
        raise FileError(f"cannot write {name}: {error.strerror or error}") from error
    return True


def _prepare(file: Path, text: bytes | None, stack: ExitStack) -> Path | None:
    """A file beside it with its new text; gone with the stack if it is not put in its place."""
    if text is None:
        return None
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    stack.callback(Path(name).unlink, missing_ok=True)
    with os.fdopen(number, "wb") as temporary:
        temporary.write(text)
        temporary.flush()
        _same_rights(number, target)
        os.fsync(number)
    return Path(name)


def _same_rights(number: int, target: Path) -> None:
    """Those of what it replaces; a new file has the user's own."""
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(number, 0o666 & ~mask)
    with contextlib.suppress(FileNotFoundError, PermissionError):
        status = target.stat()
        os.fchmod(number, status.st_mode & 0o7777)
        os.fchown(number, status.st_uid, status.st_gid)


def _replace(ready: list[tuple[Path, Path | None]], before: Texts) -> None:
    done: list[Path] = []
    try:
        for file, temporary in ready:
            if temporary is None:
                file.unlink()
            else:
                temporary.rename(file.resolve())
            done.append(file)
    except OSError:
        for file in done:
            _put_back(file, before.get(file))
        raise


def _put_back(file: Path, text: bytes | None) -> None:
    if text is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(text)


def _text(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
