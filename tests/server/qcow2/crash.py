"""A guest whose disk loses power: what a crash may leave, and what must be left."""

import random
from dataclasses import dataclass
from pathlib import Path

from blkrun.server.qcow2.reading import Reader
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM
from tests.server.qcow2.disks import Cut, LogDisk, Write, apply, image_on
from tests.server.qcow2.guest import Guest
from tests.server.qcow2.making import check_bytes

SECTOR = 512


@dataclass(frozen=True)
class Act:
    """What the guest did: it began when the log was ``start`` long, and ended at ``end``."""

    kind: str
    offset: int
    data: bytes
    fua: bool
    start: int
    end: int


@dataclass(frozen=True)
class Loss:
    """How a crash treats what was written since the last flush: the same for the same seed."""

    seed: int = 0
    lost_percent: int = 0
    torn: bool = False

    def apply(self, content: bytearray, at: int, write: Write | Cut) -> None:
        """Do some of a write, or none of it, or all."""
        chance = random.Random(f"{self.seed} {at}")
        if not self.torn or isinstance(write, Cut) or not write.data:
            if chance.randrange(100) >= self.lost_percent:
                apply(content, write)
            return
        start = 0
        while start < len(write.data):
            end = min(len(write.data), start + SECTOR - (write.offset + start) % SECTOR)
            if chance.randrange(100) >= self.lost_percent:
                apply(content, Write(write.offset + start, write.data[start:end]))
            start = end


def left_of(disk: LogDisk, cut: int, loss: Loss) -> bytearray:
    """The file when power went off just before ``log[cut]``."""
    content = bytearray(disk.base)
    durable = max((at for at in range(cut) if disk.log[at] is None), default=-1)
    for at, write in enumerate(disk.log[:cut]):
        if write is None:
            continue
        if at < durable or (isinstance(write, Write) and write.durable):
            apply(content, write)
        else:
            loss.apply(content, at, write)
    return content


class Diary:
    """A guest's acts on an image that has just been made, with all that is needed to judge."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.acts: list[Act] = []
        self.initial = bytes(guest.model)

    def act(self, kind: str, offset: int, data: bytes, *, fua: bool = False) -> None:
        """Write it down while doing it.  For zeroes and trims only the length of data counts."""
        log = self.guest.disk.log
        start = len(log)
        flags = FLAG_FUA if fua else 0
        if kind == "write":
            self.guest.write(data, offset, flags)
        elif kind == "zero":
            data = bytes(len(data))
            self.guest.zero(len(data), offset, flags | FLAG_MAY_TRIM)
        elif kind == "trim":
            self.guest.trim(len(data), offset, flags)
        elif kind == "flush":
            self.guest.writer.flush()
        else:
            self.guest.reopen()
        self.acts.append(Act(kind, offset, data, fua, start, len(log)))

    def judge(self, cut: int, loss: Loss, directory: Path) -> None:
        """No fault in the image, and no byte that was flushed and not changed since is another."""
        content = left_of(self.guest.disk, cut, loss)
        check_bytes(content, directory)
        disk = LogDisk(content=content)
        image = image_on(disk, backing=self.guest.base, **self.guest.settings)
        found = bytearray(len(self.initial))
        Reader(image).pread(memoryview(found), 0)
        durable, trimmed, later = self._state_at(cut)
        if found == durable:
            return
        for at, byte in enumerate(found):
            if byte != durable[at] and not (trimmed[at] and not byte):
                assert _may_be(byte, at, later), (
                    f"cut at {cut} ({loss}): byte {at} is {byte}, and was {durable[at]}"
                )

    def _state_at(self, cut: int) -> tuple[bytearray, bytearray, list[Act]]:
        """What was flushed for good, what of that may be zeroes as well, and what came after."""
        durable = bytearray(self.initial)
        trimmed = bytearray(len(durable))
        later: list[Act] = []
        for act in self.acts:
            if act.start >= cut:
                break
            later.append(act)
            if act.kind in ("flush", "reopen") and act.end <= cut:
                for each in later:
                    end = each.offset + len(each.data)
                    if each.kind != "trim":
                        durable[each.offset : end] = each.data
                    trimmed[each.offset : end] = bytes([each.kind == "trim"]) * len(each.data)
                later = []
        return durable, trimmed, later


def _may_be(byte: int, at: int, later: list[Act]) -> bool:
    """A write not yet flushed is there or not, or its cluster is new, and still blank."""
    for act in later:
        if act.offset <= at < act.offset + len(act.data) and (
            byte == 0 or (act.kind == "write" and byte == act.data[at - act.offset])
        ):
            return True
    return False
