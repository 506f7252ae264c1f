"""The directory of a run: a room for each server with its image, socket and log."""

import errno
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SIZE_BYTES = 256 * 2**20
EMPTY_BYTES = 256 * 2**30
"""Of the disk that is to be allocated: the largest that L2 caches of 32 MiB cover."""

CLUSTER_BYTES = 64 * 2**10
_CHUNK_BYTES = 2**20


class BenchError(Exception):
    """Why nothing can be measured, in one message."""


@dataclass(frozen=True)
class Image:
    """What is in a server's file, and how large a disk its clients see."""

    name: str
    title: str
    format: Literal["raw", "qcow2"]
    size_bytes: int
    fresh: bool = False
    """Whether each round has new ones, because to be loaded changes them."""


RAW = Image("raw", "", "raw", SIZE_BYTES)
QCOW2 = Image("qcow2", "in a full qcow2 image", "qcow2", SIZE_BYTES)
EMPTY_QCOW2 = Image("empty-qcow2", "in an empty qcow2 image", "qcow2", EMPTY_BYTES, fresh=True)
IMAGES = (RAW, QCOW2, EMPTY_QCOW2)


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

    def room(self, name: str, image: Image | None) -> Room:
        """Make a room; the first image of a kind is the model of the others.

        Raises BenchError if qemu-img cannot make it.
        """
        room = Room(self.directory / name)
        room.directory.mkdir()
        if image is not None:
            shutil.copyfile(self._model(image), room.image)
            room.write_back()
        return room

    def _model(self, image: Image) -> Path:
        path = self.directory / f"model.{image.name}"
        if not path.exists():
            if image is RAW:
                self._fill(path)
            elif image is QCOW2:
                _qemu_img("convert", "-f", "raw", "-O", "qcow2", *_OPTIONS, self._model(RAW), path)
            else:
                _qemu_img("create", "-q", "-f", "qcow2", *_OPTIONS, path, image.size_bytes)
        return path

    def _fill(self, path: Path) -> None:
        """Data in every block, which leaves it in the page cache as well."""
        chunk = random.Random(0).randbytes(_CHUNK_BYTES)
        with path.open("wb") as image:
            for _ in range(SIZE_BYTES // _CHUNK_BYTES):
                image.write(chunk)

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
            f"{self.directory.parent} ({cache} reads that never block: RWF_NOWAIT); qcow2 with "
            f"clusters of {CLUSTER_BYTES >> 10} KiB, full or (new in each round) empty and of "
            f"{EMPTY_BYTES >> 30} GiB, and L2 caches that cover it"
        )


_OPTIONS = ("-o", f"cluster_size={CLUSTER_BYTES}")


def _qemu_img(*words: str | Path | int) -> None:
    command = ["qemu-img", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"qemu-img {words[0]} failed: {done.stderr.strip()}")
