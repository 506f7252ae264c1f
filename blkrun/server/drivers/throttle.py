"""A member of a throttle group: requests wait here for their turn (qemu-semantics §3.1).

Reads are charged as reads; writes, zeroes and trims as writes with their length.  Flush and
extents never wait.  In a drained section, and once removed from the graph, nobody waits.
"""

from collections.abc import Callable
from typing import Any

from blkrun.options import ThrottleOptions
from blkrun.server.node import Filter
from blkrun.server.staging import Staging
from blkrun.server.throttle.bucket import Direction
from blkrun.server.throttle.group import ThrottleGroup
from blkrun.server.throttle.schedule import Member

READ, WRITE = Direction.READ, Direction.WRITE


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
        return {"waited-ns": self.waited_ns, "waited-operations": self.waited_operations}

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Wait, then read."""
        waited_ns = self.group.admit(self._member, READ, len(buf))
        if waited_ns:
            self._count(waited_ns)
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Wait, then write."""
        waited_ns = self.group.admit(self._member, WRITE, len(buf))
        if waited_ns:
            self._count(waited_ns)
        self.file.pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Wait, then zero."""
        self._count(self.group.admit(self._member, WRITE, count))
        self.file.zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Wait, then trim."""
        self._count(self.group.admit(self._member, WRITE, count))
        self.file.trim(count, offset, flags)

    def _count(self, waited_ns: int) -> None:
        if waited_ns:
            self.waited_ns += waited_ns
            self.waited_operations += 1
