"""Writing a file that a person edits too: whole or not at all, and never over another edit."""

import contextlib
import os
import tempfile
from pathlib import Path

from blkrun.config.sources import Sources
from blkrun.errors import FileError


def save_sources(before: Sources, after: Sources) -> bool:
    """Put every file that differs in its place; False if one says something else by now.

    Each is replaced at once, all of them are not: if one cannot be, those before it are put back.
    Raises FileError when one cannot be written.
    """
    changed = [file for file, text in after.texts.items() if before.texts[file] != text]
    saved: list[Path] = []
    try:
        for file in changed:
            if not save(file, before.texts[file], after.texts[file]):
                return False
            saved.append(file)
        return True
    finally:
        if len(saved) < len(changed):
            for file in saved:
                save(file, after.texts[file], before.texts[file])


def save(path: Path, before: bytes, after: bytes) -> bool:
    """Put ``after`` in the place of ``before``; False if the file says something else by now.

    Atomic: a new file beside it is renamed over it, so a reader sees one or the other.  A link
    stays, what it leads to is written.  Mode and owner stay as far as we may.  The last look is
    taken just before the rename; there is no call that would compare and rename at once.
    Raises FileError when it cannot be written.
    """
    try:
        target = path.resolve(strict=True)
        number, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        with os.fdopen(number, "wb") as file:
            file.write(after)
            file.flush()
            _same_owner(number, target)
            os.fsync(number)
        if target.read_bytes() != before or path.resolve() != target:
            return False
        Path(temporary).rename(target)
        _sync_directory(target.parent)
    except OSError as error:
        raise _cannot(path, error) from error
    else:
        return True
    finally:
        Path(temporary).unlink(missing_ok=True)


def _same_owner(number: int, target: Path) -> None:
    status = target.stat()
    with contextlib.suppress(PermissionError):  # somebody else's file in our directory
        os.fchown(number, status.st_uid, status.st_gid)
    os.fchmod(number, status.st_mode & 0o7777)


def _sync_directory(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _cannot(path: Path, error: OSError) -> FileError:
    return FileError(f"cannot write {path.name}: {error.strerror or error}")
