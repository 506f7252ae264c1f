"""A guest that writes to an image and knows what it should read."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blkrun.server.qcow2.create import NewImage, layout_of, write_image
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.reading import Reader
from blkrun.server.qcow2.writing import Writer
from blkrun.server.way import FLAG_MAY_TRIM
from tests.server.qcow2.disks import LogDisk, image_on
from tests.server.qcow2.images import qemu_img
from tests.server.qcow2.making import check

BACKING = "base.raw"
DATA = "data.raw"
_STEP = 512


@dataclass
class Guest:
    """``disk`` has the image, ``model`` what a guest reads.  Trimmed bytes may be anything."""

    disk: LogDisk
    base: LogDisk | None = None
    data: LogDisk | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open()
        self.model = bytearray(self.read(self.image.header.size_bytes))
        self.trimmed = bytearray(len(self.model))

    def open(self) -> None:
        """Anew."""
        self.image: Image = image_on(self.disk, data=self.data, backing=self.base, **self.settings)
        self.reader = Reader(self.image)
        self.writer = Writer(self.image, self.reader)

    def reopen(self) -> None:
        """A clean end, and a beginning."""
        self.writer.close()
        self.open()

    def read(self, length: int, offset: int = 0) -> bytes:
        """Into a buffer full of something else."""
        data = bytearray(b"\x5a") * length
        self.reader.pread(memoryview(data), offset)
        return bytes(data)

    def write(self, data: bytes, offset: int, flags: int = 0) -> None:
        """On both."""
        self.writer.pwrite(memoryview(bytearray(data)), offset, flags)
        self.model[offset : offset + len(data)] = data
        self.trimmed[offset : offset + len(data)] = bytes(len(data))

    def zero(self, count: int, offset: int, flags: int = 0) -> None:
        """On both; by writing where it is refused, as a node does."""
        try:
            self.writer.zero(count, offset, flags)
        except OSError:
            self.writer.pwrite(memoryview(bytes(count)), offset, 0)
        self.model[offset : offset + count] = bytes(count)
        self.trimmed[offset : offset + count] = bytes(count)

    def trim(self, count: int, offset: int, flags: int = 0) -> None:
        """From now on any of it may be what it was, or zero."""
        self.writer.trim(count, offset, flags | FLAG_MAY_TRIM)
        self.trimmed[offset : offset + count] = b"\1" * count

    def verify(self) -> None:
        """What the guest reads is what it wrote; of what it trimmed it knows from now on."""
        found = self.read(len(self.model))
        for start in range(0, len(found), _STEP):
            end = start + _STEP
            if found[start:end] != self.model[start:end]:
                self._verify_bytes(found, start, min(end, len(found)))
        if any(self.trimmed):
            self.trimmed = bytearray(len(self.model))

    def _verify_bytes(self, found: bytes, start: int, end: int) -> None:
        for at in range(start, end):
            if found[at] != self.model[at]:
                told = f"byte {at} is {found[at]}, and should be {self.model[at]}"
                assert self.trimmed[at], told
                assert not found[at], told
                self.model[at] = 0

    def verify_by_qemu(self, directory: Path, *, leaks: int = 0) -> None:
        """The image is closed; qemu-img reads the same, and finds no fault."""
        with contextlib.chdir(directory):  # that is where QEMU looks for a data file
            self._verify_in(directory, leaks)

    def _verify_in(self, directory: Path, leaks: int) -> None:
        path = directory / "guest.qcow2"
        path.write_bytes(self.disk.content)
        for child, name in ((self.base, BACKING), (self.data, DATA)):
            if child is not None:
                (directory / name).write_bytes(child.content)
        assert check(path).get("leaks", 0) == leaks
        model = directory / "model.raw"
        model.write_bytes(self.model)
        qemu_img("compare", "-f", "raw", "-F", "qcow2", model, path)


def guest_with(
    new: NewImage, *, base: bytes | None = None, can_zero: bool = True, **settings: Any
) -> Guest:
    """On a new image."""
    disk = LogDisk(can_zero=can_zero)
    write_image(disk, layout_of(new))
    disk.start_log()
    data = LogDisk(name="data", can_zero=can_zero) if new.external_data else None
    below = None if base is None else LogDisk(name="base", content=bytearray(base))
    return Guest(disk, below, data, settings)
