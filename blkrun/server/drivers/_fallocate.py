"""Linux fallocate(2), which the standard library has only in its POSIX form.

ctypes releases the GIL during the call, so a slow hole does not stop other requests.
"""

import ctypes
import errno
import os

_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_FALLOC_FL_ZERO_RANGE = 16

_UNSUPPORTED = (errno.EINVAL, errno.ENODEV, errno.ENOSYS)
"""EINVAL: a block device, whose sectors the range does not begin and end with."""

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Deallocate; reads zeroes after.  Raises OSError, EOPNOTSUPP if that cannot be here."""
    _call(fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, length)


def zero_range(fd: int, offset: int, length: int) -> None:
    """Zero and keep allocated.  Raises OSError, EOPNOTSUPP if that cannot be here."""
    _call(fd, _FALLOC_FL_ZERO_RANGE | _FALLOC_FL_KEEP_SIZE, offset, length)


def _call(fd: int, mode: int, offset: int, length: int) -> None:
    if length and _fallocate(fd, mode, offset, length):
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            code = errno.EOPNOTSUPP
        raise OSError(code, os.strerror(code))
