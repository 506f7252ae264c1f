"""Image files for the tests: a place that writes to a file, and QEMU's word on the result."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from blkrun.server.qcow2.create import NewImage, layout_of, write_image
from tests.conformance.tools import require_tool


class FilePlace:
    """A file, as a node would be."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def make_room(self, end: int) -> None:
        """Make it longer."""
        os.ftruncate(self._fd, end)

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of it."""
        assert os.pwrite(self._fd, buf, offset) == len(buf)

    def zero(self, count: int, offset: int, flags: int) -> None:
        """A new file has zeroes only, and nothing is zeroed after it was written."""

    def flush(self) -> None:
        """Not for tests."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def make(path: Path, new: NewImage) -> None:
    """A new image in a file."""
    place = FilePlace(path)
    try:
        write_image(place, layout_of(new))
    finally:
        place.close()


def check(path: Path) -> dict[str, Any]:
    """``qemu-img check``, which may find leaks, but nothing else."""
    command = (require_tool("qemu-img"), "check", "--output=json", "-f", "qcow2", str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 3), (done.stdout, done.stderr)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    assert not found.get("corruptions"), found
    assert not found.get("check-errors"), found
    return found


def check_bytes(content: bytes | bytearray, directory: Path) -> dict[str, Any]:
    """The same of an image in memory."""
    path = directory / "checked.qcow2"
    path.write_bytes(content)
    return check(path)
