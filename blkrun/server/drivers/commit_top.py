"""A commit's filter: over the first image that is committed, while nobody may write to that.

QEMU's commit_top (qemu-semantics §8.5).  Jobs put it in; nobody else can.
"""

import errno
from typing import Any

from blkrun.options import CommitTopOptions
from blkrun.server.frozen import Frozen, check_frozen
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from blkrun.server.way import Extent


class CommitTop(Node[CommitTopOptions]):
    """``frozen`` is the chain that the job needs, from ``file`` down."""

    driver = "commit_top"
    is_filter = True
    file: Node[Any]
    target: Node[Any]

    def __init__(self, options: CommitTopOptions) -> None:
        super().__init__(options)
        self.frozen: Frozen = ()

    def check(self, staging: Staging) -> None:
        """The chain is as it was."""
        check_frozen(staging, staging.children(self)["file"], self.frozen)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """The image's, and what is below it."""
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """What is committed stays as it is."""
        raise OSError(errno.EPERM, f"'{self.file.name}' is being committed")

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Likewise."""
        raise OSError(errno.EPERM, f"'{self.file.name}' is being committed")

    def do_flush(self) -> None:
        """The image's."""
        self.file.flush()

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The image's."""
        return self.file.extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """The image's."""
        self.file.cache(count, offset)
