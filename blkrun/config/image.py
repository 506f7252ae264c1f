"""What an image file is: the disk's size, and whether there is a driver for its bytes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from blkrun.errors import FileError

_HEAD_BYTES = 512
_AT_THE_START = {
    b"QED\0": "qed",
    b"KDMV": "vmdk",
    b"# Disk DescriptorFile": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
}
"""First bytes → QEMU's name of a format that there is no driver for."""

_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_SIZE = slice(24, 32)

_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"BZh": "bunzip2",
}
_VDI_MAGIC = b"\x7f\x10\xda\xbe"


@dataclass(frozen=True, slots=True)
class Image:
    """A file or block device with a disk in it; ``format`` is "raw" or "qcow2"."""

    path: Path
    size_bytes: int
    writable: bool
    format: str = "raw"


def look_at(path: Path) -> Image:
    """Raises FileError if it cannot be read, or if there is no driver for its bytes."""
    try:
        with path.open("rb") as file:
            if (head := file.read(_HEAD_BYTES)).startswith(_QCOW2_MAGIC):
                disk_bytes = int.from_bytes(head[_QCOW2_SIZE], "big")
                return Image(path, disk_bytes, os.access(path, os.W_OK), "qcow2")
            size_bytes = file.seek(0, os.SEEK_END)
            why = next(_why_not(file, size_bytes, str(path)), None)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    if why is not None:
        raise FileError(f"{path} {why}")
    return Image(path, size_bytes, os.access(path, os.W_OK))


def _why_not(file: IO[bytes], size_bytes: int, name: str) -> Iterator[str]:
    """The rest of a sentence; nothing if it is raw, as far as its bytes tell."""
    if size_bytes == 0:
        yield f"is empty: make it as large as the disk shall be, with: truncate -s 10G {name}"
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    for start, tool in _COMPRESSED.items():
        if head.startswith(start):
            yield f"is compressed: unpack it first, with {tool}"
    if (kind := _format(head, file, size_bytes)) is not None:
        yield (
            f"is a {kind} image: clients would see its bytes, not the disk in it.\n"
            f"Make a raw one of it:   qemu-img convert -O raw {name} {Path(name).stem}.raw\n"
            "or let qemu-nbd read it, in a file by hand:\n"
            "  [backends.disk]\n"
            '  driver  = "nbd"\n'
            f'  command = ["qemu-nbd", "--format={kind}", "{Path(name).absolute()}"]'
        )


def _format(head: bytes, file: IO[bytes], size_bytes: int) -> str | None:
    for start, kind in _AT_THE_START.items():
        if head.startswith(start):
            return kind
    if head[64:68] == _VDI_MAGIC:
        return "vdi"
    file.seek(max(size_bytes - _HEAD_BYTES, 0))  # where a VHD of fixed size says what it is
    return "vpc" if file.read(_HEAD_BYTES).startswith(b"conectix") else None
