"""One runner a file: a lock that ends with the process, however it ends."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from blkrun.errors import BlkrunError
from blkrun.model import Config


class Lease:
    """Held from construction to ``close``.  Raises BlkrunError naming the holder."""

    def __init__(self, config: Config) -> None:
        try:
            self._file = _path(config.address.control).open("a+")
        except OSError as error:
            directory = config.address.control.parent
            raise BlkrunError(f"[server] control: {directory}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._file)
            self._file.close()
            raise BlkrunError(
                f"{config.path.name} is already run by process {holder}; "
                f"see it with: blkrun status {config.path.name}"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        """Give it up.  The file stays: removing it would race with the next holder."""
        self._file.close()


def holder_of(control: Path) -> int | None:
    """The runner of the server behind a control socket, or None: it is not there any more.

    Without trying the lock, which could be in the way of a runner that starts just now: who has
    written its number into the file and has the file open holds it.
    """
    path = _path(control)
    with contextlib.suppress(OSError, ValueError):
        pid = int(path.read_text())
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed by now
                if descriptor.samefile(path):
                    return pid
    return None


def _path(control: Path) -> Path:
    return control.with_suffix(".lock")


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "unknown"
