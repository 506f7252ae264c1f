"""QEMU's image locking: two programs that follow it do not write to one image at once.

QEMU's file driver (block/file-posix.c) holds shared OFD locks on single bytes of the image:
byte 100 + n says "I have permission n", byte 200 + n says "I do not share permission n with
others".  Whoever opens takes its own locks first, then looks whether somebody holds a lock on
the opposite byte.  Permissions: 0 consistent-read, 1 write, 2 write-unchanged, 3 resize.

A writer has read, write and resize and shares only reading; a reader has read and shares all
but writing and resizing, as qemu-img does for a read-only open without ``force-share``.
"""

import errno
import fcntl
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blkrun.errors import CommandError

_PERMISSION_BASE = 100
_SHARED_BASE = 200
_CONSISTENT_READ, _WRITE, _RESIZE = 0, 1, 3
_HELD = {True: (_CONSISTENT_READ,), False: (_CONSISTENT_READ, _WRITE, _RESIZE)}
"""By whether the open is read-only."""

_UNSHARED = (_WRITE, _RESIZE)
_NAMES = {_CONSISTENT_READ: "consistent read", _WRITE: "write", _RESIZE: "resize"}

_F_OFD_GETLK = 36
_F_OFD_SETLK = 37
_FLOCK = "hhqqixxxx"
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""

_UNSUPPORTED = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_image(fd: int, path: str, *, read_only: bool, departing: Sequence[int] = ()) -> None:
    """Lock for as long as ``fd`` is open.  Raises CommandError, in QEMU's words, if in use.

    ``departing``: descriptors of ours, of the other mode, that will be closed if all goes well.
    """
    try:
        _take_all(fd, read_only=read_only)
        with _standing_aside(departing, read_only=not read_only):
            conflict = _conflict(fd, _HELD[read_only])
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return  # as QEMU's locking=auto: a filesystem without OFD locks goes unlocked
        raise
    if conflict is not None:
        raise CommandError(
            f'Failed to get "{_NAMES[conflict]}" lock: is another process using the image '
            f"'{path}'?"
        )


@contextmanager
def _standing_aside(fds: Sequence[int], *, read_only: bool) -> Iterator[None]:
    """Without the locks of these for a moment, in which no writer can come: ``fd`` has its own."""
    for fd in fds:
        _set(fd, fcntl.F_UNLCK, _PERMISSION_BASE, _SHARED_BASE)  # all of both kinds
    try:
        yield
    finally:
        for fd in fds:
            _take_all(fd, read_only=read_only)


def _conflict(fd: int, held: tuple[int, ...]) -> int | None:
    for permission in held:
        if _is_locked(fd, _SHARED_BASE + permission):
            return permission
    for permission in _UNSHARED:
        if _is_locked(fd, _PERMISSION_BASE + permission):
            return permission
    return None


def _take_all(fd: int, *, read_only: bool) -> None:
    for permission in _HELD[read_only]:
        _set(fd, fcntl.F_RDLCK, _PERMISSION_BASE + permission, 1)
    for permission in _UNSHARED:
        _set(fd, fcntl.F_RDLCK, _SHARED_BASE + permission, 1)


def _set(fd: int, kind: int, start: int, count: int) -> None:
    fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack(_FLOCK, kind, 0, start, count, 0))


def _is_locked(fd: int, byte: int) -> bool:
    """Whether anybody else (another open of the file, in any process) holds the byte."""
    query = struct.pack(_FLOCK, fcntl.F_WRLCK, 0, byte, 1, 0)
    found = fcntl.fcntl(fd, _F_OFD_GETLK, query)
    kind: int = struct.unpack(_FLOCK, found)[0]
    return kind != fcntl.F_UNLCK
