"""What the kernel's block devices want to be asked in their own way (ioctls of <linux/fs.h>)."""

import errno
import fcntl
import os
import struct
import sys

from blkrun.server.node import DEFAULT_BLOCK_BYTES, fit_block

_BLKSSZGET, _BLKDISCARD, _BLKIOOPT, _BLKPBSZGET = 0x1268, 0x1277, 0x1279, 0x127B
_RANGE = struct.Struct("=QQ")

_UNSUPPORTED = (errno.EINVAL, errno.ENOTTY, errno.ENODEV, errno.ENOSYS)


def sector_bytes(fd: int) -> int:
    """What zeroes and discards must begin and end with.  Reads and writes need not."""
    return _number(fd, _BLKSSZGET) or 512


def preferred_bytes(fd: int) -> int:
    """The optimal size of requests, or the physical sector's."""
    sizes = (_number(fd, request) for request in (_BLKIOOPT, _BLKPBSZGET))
    return fit_block(next(filter(None, sizes), DEFAULT_BLOCK_BYTES))


def discard(fd: int, offset: int, length: int) -> None:
    """Discard whole sectors; what they read as then is up to the device.

    The ioctl, as in QEMU: fallocate has for devices only what promises zeroes, and that an SSD
    which discards without such a promise is not asked to do.  Raises OSError, EOPNOTSUPP if that
    cannot be here.
    """
    try:
        fcntl.ioctl(fd, _BLKDISCARD, _RANGE.pack(offset, length))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP)) from error


def _number(fd: int, request: int) -> int:
    """32 bits; 0 if the device does not tell."""
    try:
        answer = fcntl.ioctl(fd, request, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)
