"""Regular files and block devices.

Reads and writes go straight between nbdkit's buffer and the page cache.  FUA is RWF_DSYNC on
the write itself; zero and trim punch holes where the filesystem can; extents come from
SEEK_DATA and SEEK_HOLE.  A block device takes zeroes and discards in whole sectors only: the parts
of sectors at the ends are written, or left as they are.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import FileOptions
from blkrun.server.drivers import _block_device
from blkrun.server.drivers._blocks import blocks_within
from blkrun.server.drivers._fallocate import punch_hole, zero_range
from blkrun.server.drivers._image_lock import lock_image
from blkrun.server.node import Node, fit_block
from blkrun.server.staging import Staging
from blkrun.server.way import (
    EXTENT_DATA,
    EXTENT_HOLE,
    EXTENT_ZERO,
    FLAG_FAST_ZERO,
    FLAG_FUA,
    FLAG_MAY_TRIM,
    FLAG_REQ_ONE,
    Extent,
)

_MAX_EXTENTS = 4096
"""In one answer: of a fragmented image the beginning of a range is told, and clients ask on."""

_NOT_UNDERSTOOD = (errno.EINVAL, errno.EOPNOTSUPP)
"""By lseek, of SEEK_DATA: a filesystem that does not know its holes."""


class File(Node[FileOptions]):
    """One descriptor, shared by all threads: every operation carries its offset."""

    driver = "file"

    def __init__(self, options: FileOptions) -> None:
        super().__init__(options)
        self._fd = -1
        self._length = 0
        self._is_device = False
        self._sector_bytes = 1  # what zeroes and discards begin and end with
        self._is_trial = False  # made by a transaction that has not been committed
        self._growing = threading.Lock()  # held while ``_length`` is changed

    def open(self, staging: Staging) -> None:
        """Open (or make) the image, check its size, lock it as QEMU does."""
        read_only = self.options.read_only
        departing = self._departing(staging)
        successor_of = departing[read_only]
        self._fd = os.dup(successor_of[0]) if successor_of else self._open_or_create()
        try:
            if not successor_of:
                others = departing[not read_only]
                lock_image(self._fd, self.options.path, read_only=read_only, departing=others)
            self._length = self._measure()
        except BaseException:
            self.close()
            raise
        staging.commits.append(self._keep)

    def close(self) -> None:
        """Close; this also gives up the lock.  An image made for nothing goes away again."""
        fd, self._fd = self._fd, -1
        try:
            if self._is_trial and _same_file(fd, self.options.path):
                Path(self.options.path).unlink()
        finally:
            os.close(fd)

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """The image's length when it was opened, or last changed by a format over it."""
        del sizes
        return self._length

    def check(self, staging: Staging) -> None:
        """An image made without a size is empty: it is for a format that makes it longer."""
        if self._is_trial and self.options.size is None and not staging.is_grown(self):
            raise CommandError(
                f"Could not create '{self.options.path}': Node '{self.name}' has no size"
            )

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Read, until all is there."""
        done = os.preadv(self._fd, [buf], offset)
        while done < len(buf):
            got = os.preadv(self._fd, [buf[done:]], offset + done)
            if not got:
                raise OSError(errno.EIO, f"{self.options.path} ends at byte {offset + done}")
            done += got

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write, until all is written; with FUA each part is durable."""
        how = os.RWF_DSYNC if flags & FLAG_FUA else 0
        done = os.pwritev(self._fd, [buf], offset, how)
        while done < len(buf):
            done += os.pwritev(self._fd, [buf[done:]], offset + done, how)

    def do_flush(self) -> None:
        """All that was written to the file, whoever wrote it."""
        os.fdatasync(self._fd)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Whole sectors first: if that cannot be, nothing has been changed yet."""
        start, end = blocks_within(count, offset, self._sector_bytes)
        self._zero_sectors(end - start, start, flags)
        for first, last in ((offset, start), (end, offset + count)):
            if first < last:
                self.do_pwrite(memoryview(bytes(last - first)), first, 0)
        if flags & FLAG_FUA:
            os.fdatasync(self._fd)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Whole sectors.  Where nothing can be discarded the advice is taken for what it is."""
        start, end = blocks_within(count, offset, self._sector_bytes)
        discard = _block_device.discard if self._is_device else punch_hole
        try:
            discard(self._fd, start, end - start)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        if flags & FLAG_FUA:
            os.fdatasync(self._fd)

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """Data and holes of a regular file; all data where the question is not understood."""
        if self._is_device:
            return [(offset, count, EXTENT_DATA)]
        most = 1 if flags & FLAG_REQ_ONE else _MAX_EXTENTS
        extents: list[Extent] = []
        at, end = offset, offset + count
        while at < end and len(extents) < most:
            data = self._seek_data(at, end)
            if data > at:
                extents.append((at, data - at, EXTENT_HOLE | EXTENT_ZERO))
            at = data
            if data < end and len(extents) < most:
                # At least a byte: a hole may have come here since, and "data" is never wrong.
                at = max(self._seek_hole(data, end), data + 1)
                extents.append((data, at - data, EXTENT_DATA))
        return extents

    def do_truncate(self, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
        """A regular file can be of any length; what is added is a hole."""
        if self._is_device:
            super().do_truncate(size_bytes, exact)
            return
        with self._growing:
            if size_bytes > self._length or (exact and size_bytes != self._length):
                os.ftruncate(self._fd, size_bytes)
                self._length = size_bytes

    def do_cache(self, count: int, offset: int) -> None:
        """Ask the kernel to read ahead."""
        os.posix_fadvise(self._fd, offset, count, os.POSIX_FADV_WILLNEED)

    def prepare_reopen(self, options: FileOptions, staging: Staging) -> Callable[[], None]:
        """Only what matters when opening may change; path, size and mode need a new node."""
        if options.size not in (None, self.options.size, self._length):
            raise CommandError(self._wrong_size(options.size))
        return super().prepare_reopen(options, staging)

    def _departing(self, staging: Staging) -> dict[bool, list[int]]:
        """Descriptors, by read-only, of nodes on the same image that this transaction removes.

        None count if there is an heir already: two writers are refused however they come.
        """
        found: dict[bool, list[int]] = {True: [], False: []}
        for node in staging.departing():
            if isinstance(node, File) and node._is_on(self.options.path):  # noqa: SLF001 - the same class
                found[node.options.read_only].append(node._fd)  # noqa: SLF001 - the same class
        if found[True] or found[False]:
            new = set(staging.nodes.values()).difference(staging.graph.nodes.values(), [self])
            if any(self._is_rival(node) for node in new):
                return {True: [], False: []}
        return found

    def _is_rival(self, node: Node[Any]) -> bool:
        return (
            isinstance(node, File)
            and not (node.options.read_only and self.options.read_only)
            and node._is_on(self.options.path)  # noqa: SLF001 - the same class
        )

    def _is_on(self, path: str) -> bool:
        return _same_file(self._fd, path)

    def _keep(self) -> None:
        self._is_trial = False

    def _open_or_create(self) -> int:
        options = self.options
        flags = os.O_CLOEXEC | (os.O_RDONLY if options.read_only else os.O_RDWR)
        try:
            try:
                return _open_at_once(options.path, flags)
            except FileNotFoundError:
                if not options.create or options.read_only:
                    raise
                return self._create(flags)
        except OSError as error:
            raise CommandError(f"Could not open '{options.path}': {error.strerror}") from error

    def _create(self, flags: int) -> int:
        """A sparse file, without a size an empty one; if it cannot be had, no file."""
        fd = os.open(self.options.path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(fd, self.options.size or 0)
        except BaseException:
            Path(self.options.path).unlink()
            os.close(fd)
            raise
        self._is_trial = True
        return fd

    def _measure(self) -> int:
        status = os.fstat(self._fd)
        self.preferred_block_bytes = fit_block(status.st_blksize)
        if stat.S_ISBLK(status.st_mode):
            length = os.lseek(self._fd, 0, os.SEEK_END)
            self.preferred_block_bytes = _block_device.preferred_bytes(self._fd)
            self._sector_bytes = _block_device.sector_bytes(self._fd)
            self._is_device = True
        elif stat.S_ISREG(status.st_mode):
            length = status.st_size
        else:
            raise CommandError(
                f"Could not open '{self.options.path}': neither a regular file nor a block device"
            )
        if self.options.size is not None and self.options.size != length:
            self._length = length
            raise CommandError(self._wrong_size(self.options.size))
        return length

    def _wrong_size(self, size: int) -> str:
        return (
            f"Node '{self.name}': '{self.options.path}' has {self._length} bytes, not the "
            f"{size} that 'size' asks for; leave 'size' out to take the image as it is"
        )

    def _zero_sectors(self, count: int, offset: int, flags: int) -> None:
        """Without MAY_TRIM the range has to stay allocated, so it is not punched then."""
        if flags & FLAG_MAY_TRIM:
            try:
                punch_hole(self._fd, offset, count)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            else:
                return
        if flags & FLAG_FAST_ZERO and self._is_device:
            # The kernel may write zeroes to a device for this, and does not say so.
            raise OSError(errno.EOPNOTSUPP, "zeroing a block device may be slow")
        zero_range(self._fd, offset, count)

    def _seek_data(self, at: int, end: int) -> int:
        """Where data begins.  What the file has lost by being cut is no hole: reading it fails."""
        try:
            return min(os.lseek(self._fd, at, os.SEEK_DATA), end)
        except OSError as error:
            if error.errno in _NOT_UNDERSTOOD:
                return at
            if error.errno != errno.ENXIO:
                raise
            return min(max(os.fstat(self._fd).st_size, at), end)

    def _seek_hole(self, at: int, end: int) -> int:
        try:
            return min(os.lseek(self._fd, at, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno in (errno.ENXIO, *_NOT_UNDERSTOOD):
                return end
            raise


def _open_at_once(path: str, flags: int) -> int:
    """Open, also a FIFO, which is refused later, without waiting for its writer."""
    fd = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), Path(path).stat())
    except FileNotFoundError:
        return False
