"""The directory of a run: a room for each server with its image, socket and log."""

import errno
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

SIZE_BYTES = 256 * 2**20
_CHUNK_BYTES = 2**20


class BenchError(Exception):
    """Why nothing can be measured, in one message."""


@dataclass(frozen=True)
class Room:
    """Where one server has its things.

    Each has an image of its own, because those that write lock it as QEMU does.
    """

    directory: Path

    @property
    def image(self) -> Path:
        """The disk."""
        return self.directory / "disk.img"

    @property
    def socket(self) -> Path:
        """Where it serves."""
        return self.directory / "bench.sock"

    @property
    def control(self) -> Path:
        """Where blkrun speaks QMP."""
        return self.directory / "bench.qmp"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.directory / "server.log"

    @property
    def uri(self) -> str:
        """What a client opens."""
        return f"nbd+unix:///vda?socket={self.socket}"

    def write_back(self) -> None:
        """Write dirty pages to the disk now, and not while the next server is measured."""
        if self.image.exists():
            with self.image.open("rb") as image:
                os.fdatasync(image.fileno())


@dataclass(frozen=True)
class Place:
    """All rooms, on a real filesystem.

    On a tmpfs the kernel cannot try to read without blocking (RWF_NOWAIT), and that costs
    qemu-storage-daemon's io_uring a third of its rate: 62 k against 97 k 4 KiB random reads.
    """

    directory: Path

    def room(self, name: str, *, with_image: bool) -> Room:
        """Make a room; the first image is the model of the others."""
        room = Room(self.directory / name)
        room.directory.mkdir()
        if with_image:
            shutil.copyfile(self._model(), room.image)
            room.write_back()
        return room

    def _model(self) -> Path:
        """Data in every block, which leaves it in the page cache as well."""
        path = self.directory / "model.img"
        if not path.exists():
            chunk = random.Random(0).randbytes(_CHUNK_BYTES)
            with path.open("wb") as image:
                for _ in range(SIZE_BYTES // _CHUNK_BYTES):
                    image.write(chunk)
        return path

    def reads_without_blocking(self) -> bool:
        """Whether the kernel can answer from the page cache or say that it would have to wait."""
        path = self.directory / "probe"
        path.write_bytes(bytes(4096))
        with path.open("rb") as probe:
            try:
                os.preadv(probe.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                    return False
                if error.errno != errno.EAGAIN:
                    raise
        return True

    def describe(self) -> str:
        """What a reader of the figures has to know."""
        cache = "with" if self.reads_without_blocking() else "WITHOUT"
        return (
            f"an image of {SIZE_BYTES >> 20} MiB for each server, in the page cache, under "
            f"{self.directory.parent} ({cache} reads that never block: RWF_NOWAIT)"
        )
