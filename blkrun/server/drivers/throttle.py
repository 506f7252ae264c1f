"""A member of a throttle group: requests wait here for their turn (qemu-semantics §3.1).

Reads are charged as reads; writes, zeroes and trims as writes with their length.  Flush and
extents never wait.  In a drained section, and once removed from the graph, nobody waits.
"""

from collections.abc import Callable
from typing import Any

from blkrun.options import ThrottleOptions
from blkrun.server.node import Filter
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.throttle.bucket import READ, WRITE
from blkrun.server.throttle.group import ThrottleGroup
from blkrun.server.throttle.schedule import Member
from blkrun.server.way import Late, Way

Ranged = Callable[[int, int, int], Late | None]
"""A zero or a trim: (count, offset, flags)."""


class Throttle(Filter[ThrottleOptions]):
    """``waited_ns`` and ``waited_operations`` count what throttling has cost so far."""

    driver = "throttle"
    group: ThrottleGroup

    def __init__(self, options: ThrottleOptions) -> None:
        super().__init__(options)
        self.waited_ns = 0
        self.waited_operations = 0
        self._member = Member(options.node_name)

    def open(self, staging: Staging) -> None:
        """Join the group."""
        self.group = staging.use_group(self, self.options.throttle_group)
        self.group.join(self._member)

    def close(self) -> None:
        """Leave the group."""
        self.group.leave(self._member)

    def prepare_reopen(self, options: ThrottleOptions, staging: Staging) -> Callable[[], None]:
        """Move to another group; what waits in the old one has been let go by the drain."""
        group = staging.use_group(self, options.throttle_group)

        def commit() -> None:
            if group is not self.group:
                old_group, old_member = self.group, self._member
                member = Member(self.name, drains=old_member.drains)
                group.join(member)
                self.group, self._member = group, member
                old_group.leave(old_member)
            self.options = options

        return commit

    def do_drain_begin(self) -> None:
        """Let everybody go."""
        self.group.drain_begin(self._member)

    def do_drain_end(self) -> None:
        """Hold back again."""
        self.group.drain_end(self._member)

    def describe(self) -> dict[str, Any]:
        """What waiting has cost."""
        return {
            "waiting": self._member.waiting(),
            "waited-ns": self.waited_ns,
            "waited-operations": self.waited_operations,
        }

    def form(self) -> Key:
        """Also as which member of which group, and in which directions that has limits.

        A member that has left its group waits no more, though the node may have come back to it.
        """
        return (*super().form(), self._member, self.group, self.group.limited)

    def may_wait(self) -> bool:
        """In a group without limits nobody waits."""
        return any(self.group.limited)

    def lower(self, below: Way, late: Way) -> Way:
        """Wait, then go on; in a direction without limits, only that."""
        reads, writes = self.group.limited
        if reads:
            below = below._replace(pread=self._throttled_read(below, late))
        if writes:
            below = below._replace(
                pwrite=self._throttled_write(below, late),
                zero=self._throttled(below.zero, late.zero),
                trim=self._throttled(below.trim, late.trim),
            )
        return below

    def _throttled_read(self, below: Way, late: Way) -> Callable[[memoryview, int], Late | None]:
        admit, member = self.group.admit, self._member
        go_on, go_on_late = below.pread, late.pread

        def pread(buf: memoryview, offset: int) -> Late | None:
            if waited_ns := admit(member, READ, len(buf)):
                self._count(waited_ns)
                return go_on_late(buf, offset)
            return go_on(buf, offset)

        return pread

    def _throttled_write(
        self, below: Way, late: Way
    ) -> Callable[[memoryview, int, int], Late | None]:
        admit, member = self.group.admit, self._member
        go_on, go_on_late = below.pwrite, late.pwrite

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            if waited_ns := admit(member, WRITE, len(buf)):
                self._count(waited_ns)
                return go_on_late(buf, offset, flags)
            return go_on(buf, offset, flags)

        return pwrite

    def _throttled(self, go_on: Ranged, go_on_late: Ranged) -> Ranged:
        admit, member = self.group.admit, self._member

        def throttled(count: int, offset: int, flags: int) -> Late | None:
            if waited_ns := admit(member, WRITE, count):
                self._count(waited_ns)
                return go_on_late(count, offset, flags)
            return go_on(count, offset, flags)

        return throttled

    def _count(self, waited_ns: int) -> None:
        self.waited_ns += waited_ns
        self.waited_operations += 1
