"""An editor whose file is a list of lines: it edits, refuses, waits, hangs and fails as told."""

import asyncio
import hashlib
from dataclasses import replace

from blkrun.dashboard.model.changes import Change
from blkrun.dashboard.model.drivers import Driver, Key
from blkrun.dashboard.model.edits import Edit
from blkrun.dashboard.model.preview import Kind, Outcome, Preview
from blkrun.errors import BlkrunError

DRIVERS = (
    Driver("raw", "a window of its child"),
    Driver(
        "throttle", "limits what passes", (Key("throttle-group", "the group it is a member of"),)
    ),
    Driver("write-threshold", "tells of a write", (Key("threshold", "where", unit="bytes"),)),
)


class FakeEditor:
    """``lines``: what was done to the file, a line an edit; a rollback takes the last one out.

    ``like``: what previews are like besides their diff.  ``refusal``: raised by whatever is asked
    next.  ``going``: cleared, everything waits until it is set.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.asked: list[Edit] = []
        self.seen: list[Preview | None] = []
        self.like = Preview(changed=True, operations=("~ something",))
        self.kind: Kind = "applied"
        self.message = "~1"
        self.refusal: Exception | None = None
        self.history: tuple[Change, ...] = ()
        self.going = asyncio.Event()
        self.going.set()
        self.most_at_once = 0
        self._at_once = 0

    async def preview(self, edit: Edit) -> Preview:
        """What the file would be."""
        self.asked.append(edit)
        await self._work()
        diff, digest = self._diff(edit)
        return replace(self.like, diff=diff, digest=digest)

    async def perform(self, edit: Edit, seen: Preview | None = None) -> Outcome:
        """Do it, if it is what was seen."""
        await self._work()
        diff, digest = self._diff(edit)
        if seen is not None and seen.digest != digest:
            raise BlkrunError("lab.toml: is another text by now; nothing was written")
        self.seen.append(seen)
        self.lines = self._after(edit)
        return Outcome(self.kind, self.message, diff, digest)

    async def drivers(self) -> tuple[Driver, ...]:
        """Three."""
        await self._work()
        return DRIVERS

    async def changes(self) -> tuple[Change, ...]:
        """What a test says."""
        await self._work()
        return self.history

    @property
    def done(self) -> list[str]:
        """The commands that have been carried out, without ``blkrun`` and the file."""
        return self.lines

    async def _work(self) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.going.wait()
            if self.refusal is not None:
                refusal, self.refusal = self.refusal, None
                raise refusal
        finally:
            self._at_once -= 1

    def _after(self, edit: Edit) -> list[str]:
        if edit.command == "rollback":
            return self.lines[:-1]
        return [*self.lines, edit.typed("FILE").replace(" FILE ", " ").removeprefix("blkrun ")]

    def _diff(self, edit: Edit) -> tuple[str, str]:
        before, after = self.lines, self._after(edit)
        gone = [f"-{line}" for line in before[len(after) :]]
        come = [f"+{line}" for line in after[len(before) :]]
        digest = hashlib.sha256("\n".join(after).encode()).hexdigest()
        return "\n".join(["--- lab.toml", "+++ lab.toml", "@@ -1 +1 @@", *gone, *come]), digest
