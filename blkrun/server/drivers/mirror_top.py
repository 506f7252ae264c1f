"""A mirror's filter: tells the job what is written, or writes it to the target as well.

QEMU's mirror_top (qemu-semantics §8.6).  Jobs put it in; nobody else can.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from blkrun.options import MirrorTopOptions
from blkrun.server.divergence import Divergence
from blkrun.server.frozen import Frozen, check_frozen
from blkrun.server.keeper import Keeper
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_MAY_TRIM


class MirrorTop(Keeper[MirrorTopOptions]):
    """A write that the target fails is none that fails: what differs is copied by the job."""

    driver = "mirror_top"
    keeps = "mirrors"
    divergence: Divergence
    frozen: Frozen = ()
    """Of a commit's: the chain that it needs as it is."""

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """A commit's job makes the target as large before it copies anything."""
        if self.frozen and sizes["target"] < sizes["file"]:
            return sizes["file"]
        return super().size_over(sizes)

    def check(self, staging: Staging) -> None:
        """And the chain is as it was."""
        super().check(staging)
        check_frozen(staging, staging.children(self)["file"], self.frozen)

    def describe(self) -> dict[str, Any]:
        """How much may differ, and whether writes go to both."""
        return {
            "dirty": self.divergence.remaining_bytes(),
            "granularity": self.divergence.dirty.granularity_bytes,
            "write-blocking": self.divergence.blocking,
        }

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """To both, or noted."""
        self._change(
            len(buf),
            offset,
            lambda: self.file.pwrite(buf, offset, flags),
            lambda: self.target.pwrite(buf, offset, 0),
        )

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """To both, or noted."""
        self._change(
            count,
            offset,
            lambda: self.file.zero(count, offset, flags),
            lambda: self.target.zero(count, offset, flags & FLAG_MAY_TRIM),
        )

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Noted: what a trimmed range reads as is the device's business."""
        divergence = self.divergence
        with divergence.writing(offset, count) if divergence.blocking else nullcontext():
            try:
                self.file.trim(count, offset, flags)
            finally:
                divergence.mark(offset, count)

    def _change(
        self, count: int, offset: int, on_file: Callable[[], None], on_target: Callable[[], None]
    ) -> None:
        """FUA is the device's: the target is flushed before anybody is given it."""
        divergence = self.divergence
        if divergence.blocking:
            with divergence.writing(offset, count):
                self._change_both(count, offset, on_file, on_target)
            return
        try:
            on_file()
        finally:
            divergence.mark(offset, count)

    def _change_both(
        self, count: int, offset: int, on_file: Callable[[], None], on_target: Callable[[], None]
    ) -> None:
        try:
            on_file()
        except BaseException:
            self.divergence.mark(offset, count)
            raise
        try:
            on_target()
        except OSError:
            self.divergence.mark(offset, count)
        else:
            self.divergence.written(offset, count)
