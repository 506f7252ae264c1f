"""What blkverify and quorum have in common: several children that have to stay equal.

A request goes to all of them.  What overlaps comes one after the other (``blkrun.server.ranges``),
so no two children have two writes in different orders, and no read sees a write at one child and
not at another.  A slow child does not hold up the others (``blkrun.server.crew``); the request does
wait for it.  One that hangs, an NBD server that has fallen silent, holds up what is sent to it and
what overlaps with that, as in QEMU; take it out, and new requests go on without it, which needs no
rest of those inside.

A trim is made of zeroes that may unmap, if that is fast at all children: what a trimmed range reads
as is each child's own business, and then they would differ.  QEMU has no trims here.
"""

import errno
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blkrun.errors import CommandError
from blkrun.server.crew import Crew, Pace, Task
from blkrun.server.export import Export
from blkrun.server.node import Node, O, Parent
from blkrun.server.ranges import Ranges
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, Way

Failures = list[OSError | None]
"""In the order of the children; None: it has done it."""


class Branch:
    """A child, as requests of one route see it; how long it takes of late."""

    __slots__ = ("flushing", "name", "reading", "way", "writing")

    def __init__(self, name: str, way: Way) -> None:
        self.name = name
        self.way = way
        self.reading, self.writing, self.flushing = Pace(), Pace(), Pace()


Branches = Sequence[Branch]


class Fork(Node[O]):
    """``fork`` says what a request does over the children that there are."""

    fans_out = True

    def __init__(self, options: O) -> None:
        super().__init__(options)
        self._ranges = Ranges()
        self._crew = Crew(options.node_name)
        self._scratch = Scratch()

    # Control

    def attach(self, role: str, child: Node[Any]) -> None:
        """Routes have the children; no request looks for them here."""
        self.children[role] = child

    def close(self) -> None:
        """Let the threads go."""
        self._crew.close()

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """All have to be of one size."""
        first = next(iter(sizes))
        for role, size_bytes in sizes.items():
            if size_bytes != sizes[first]:
                raise CommandError(
                    f"Node '{self.name}': its child '{first}' has {sizes[first]} bytes and "
                    f"'{role}' {size_bytes}; they must be of one size"
                )
        return sizes[first]

    def block_bytes(self) -> int:
        """What suits all."""
        return max(child.block_bytes() for child in self.children.values())

    def check(self, staging: Staging) -> None:
        """One node cannot stand for two copies, and while this is in use, nobody writes past it.

        QEMU has permissions for the latter: both drivers unshare write on their children.
        """
        children = list(staging.children(self).values())
        for child in children:
            if children.count(child) > 1:
                raise CommandError(f"Node '{self.name}' has '{child.name}' for a child twice")
            who = self._who_writes(child, staging) if staging.parents(self) else None
            if who is not None:
                raise CommandError(
                    f"{who} writes to '{child.name}' past node '{self.name}', whose children have "
                    f"to stay equal; export it read-only, or lead it through '{self.name}'"
                )

    def _who_writes(self, child: Node[Any], staging: Staging) -> str | None:
        """A client or a job whose writes come to a child from elsewhere."""
        seen: set[Parent] = {self}
        rest = [child]
        while rest:
            for parent, role in staging.parents(rest.pop()):
                if parent in seen or role == "backing":  # which is only read
                    continue
                seen.add(parent)
                if isinstance(parent, Export):
                    if not parent.options.read_only:
                        return f"Export '{parent.name}'"
                elif isinstance(parent, Node) and not staging.read_only(parent):
                    if parent.job_id is not None and role == "target":
                        return f"Job '{parent.job_id}'"
                    rest.append(parent)
        return None

    # Requests

    def lower_over(self, below: Mapping[str, Way]) -> Way:
        """See ``fork``."""
        return self.fork([Branch(self.children[role].name, way) for role, way in below.items()])

    @abstractmethod
    def fork(self, branches: Branches) -> Way:
        """What a request does over these children."""

    def _one_size(
        self, branches: Branches
    ) -> tuple[Callable[[], int], Callable[[int, bool], None]]:
        """``length`` and ``truncate``: what has to be equal does not grow, as in QEMU."""
        length = branches[0].way.length

        def truncate(size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
            self.stay(length(), size_bytes, exact=exact)

        return length, truncate

    def _read_all(
        self, branches: Branches, bufs: Sequence[memoryview | bytearray], offset: int
    ) -> Failures:
        return self._do_all(
            [
                (branch.reading, branch.way.pread, (memoryview(buf), offset))
                for branch, buf in zip(branches, bufs, strict=True)
            ]
        )

    def _write_all(self, branches: Branches, buf: memoryview, offset: int, flags: int) -> Failures:
        arguments = buf, offset, flags
        return self._do_all([(branch.writing, branch.way.pwrite, arguments) for branch in branches])

    def _zero_all(self, branches: Branches, count: int, offset: int, flags: int) -> Failures:
        """Raises EOPNOTSUPP where FLAG_FAST_ZERO is refused; then no child has been changed.

        That the first child says, before the others are asked.  One of those that refuses it has
        to be given zeroes the slow way: the first has them already.
        """
        arguments = count, offset, flags
        tasks: list[Task] = [(each.writing, each.way.zero, arguments) for each in branches]
        if not flags & FLAG_FAST_ZERO:
            return self._do_all(tasks)
        (failure,) = self._do_all(tasks[:1])
        if failure is not None and failure.errno == errno.EOPNOTSUPP:
            raise failure
        rest: list[Task] = [
            (each.writing, _zero_anyway, (each.way, *arguments)) for each in branches[1:]
        ]
        return [failure, *self._do_all(rest)]

    def _trim_all(self, branches: Branches, count: int, offset: int, flags: int) -> Failures:
        """Zeroes, if they are fast; else nothing, at any child."""
        zero_flags = flags & FLAG_FUA | FLAG_MAY_TRIM | FLAG_FAST_ZERO
        try:
            return self._zero_all(branches, count, offset, zero_flags)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return self._flush_all(branches) if flags & FLAG_FUA else [None] * len(branches)

    def _flush_all(self, branches: Branches) -> Failures:
        return self._do_all([(branch.flushing, branch.way.flush, ()) for branch in branches])

    def _do_all(self, tasks: Sequence[Task]) -> Failures:
        """What is no error of a disk is a defect, and raised."""
        failures: Failures = []
        for failure in self._crew.do_all(tasks):
            if failure is not None and not isinstance(failure, OSError):
                raise failure
            failures.append(failure)
        return failures


def _zero_anyway(way: Way, count: int, offset: int, flags: int) -> None:
    try:
        way.zero(count, offset, flags)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        way.zero(count, offset, flags & ~FLAG_FAST_ZERO)


class Scratch:
    """Large buffers that are used again: to get a new one takes as long as to read into it.

    No lock: taking from a list and adding to it are one step each.
    """

    _LARGE_BYTES = 2**16
    _KEPT_BYTES = 4 * 2**20
    """Of one size; of more than so many sizes, none are kept."""
    _SIZES = 4

    def __init__(self) -> None:
        self._free: dict[int, list[bytearray]] = {}

    def take(self, size_bytes: int) -> bytearray:
        """With anything in it."""
        if size_bytes < self._LARGE_BYTES:
            return bytearray(size_bytes)
        try:
            return self._free[size_bytes].pop()
        except (KeyError, IndexError):
            return bytearray(size_bytes)

    def give(self, buf: bytearray) -> None:
        """It is not used any more."""
        size_bytes = len(buf)
        if size_bytes < self._LARGE_BYTES:
            return
        kept = self._free.get(size_bytes)
        if kept is None:
            if len(self._free) >= self._SIZES:
                self._free = {}
            kept = self._free.setdefault(size_bytes, [])
        if (len(kept) + 1) * size_bytes <= self._KEPT_BYTES:
            kept.append(buf)
