"""One runner a file: a lock that ends with the process, however it ends."""

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
            self._file = _path(config).open("a+")
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


def _path(config: Config) -> Path:
    return config.address.control.with_suffix(".lock")


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "unknown"
