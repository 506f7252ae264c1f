"""One NBD connection: nbdkit's handle, and the entrance to the graph.

nbdkit calls these methods from the connection's worker threads, several at once.  Each does the
same around its request: take the thread's slot, say busy, pass the gate, go down, count, leave.
The read and the write, which are most of what happens, have that written out.
"""

import threading
from collections.abc import Callable
from time import monotonic, perf_counter_ns
from typing import Any, TypeVar

from blkrun.server.export import Export
from blkrun.server.node import Extent
from blkrun.server.stats import Slot, bucket_of
from blkrun.server.threads import KeptState, keep_thread_state, release_thread_states

R = TypeVar("R")

_local = threading.local()


class Connection:
    """A client's open export.  Size and writability are what it negotiated, for its life.

    ``report_error`` hears of every exception before it leaves: there it becomes an errno.
    """

    def __init__(
        self, number: int, export: Export, report_error: Callable[[BaseException], None]
    ) -> None:
        self.number = number
        self.export = export
        self.size_bytes = export.root.size_bytes
        self.writable = not export.options.read_only
        self.since = monotonic()
        self.slots: list[Slot] = []
        self._kept: list[KeptState] = []
        self._report_error = report_error

    def close(self) -> None:
        """All workers have ended: keep their counts, free their thread states."""
        self.export.retire_slots(self.slots)
        _local.__dict__.clear()  # with one thread, this thread was the worker
        release_thread_states(self._kept)

    def _first_request(self) -> Slot:
        """Make this thread one of the connection's workers."""
        slot = Slot()
        self._kept.append(keep_thread_state())
        self.slots.append(slot)
        self.export.add_slot(slot)
        _local.slot = slot
        return slot

    def pread(self, buf: memoryview, offset: int, flags: int) -> None:
        """Fill ``buf`` from ``offset``."""
        del flags
        try:
            slot: Slot = _local.slot
        except AttributeError:
            slot = self._first_request()
        export = self.export
        slot.busy = True
        if export.gate is not None:
            export.enter(slot)
        slot.started += 1
        begin_ns = perf_counter_ns()
        try:
            export.root.pread(buf, offset)
        except BaseException as error:
            slot.failed_rd_operations += 1
            self._report_error(error)
            raise
        else:
            elapsed_ns = perf_counter_ns() - begin_ns
            slot.rd_bytes += len(buf)
            slot.rd_operations += 1
            slot.rd_total_time_ns += elapsed_ns
            slot.read_latency[bucket_of(elapsed_ns)] += 1
        finally:
            slot.sequence += 1
            slot.busy = False

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``."""
        try:
            slot: Slot = _local.slot
        except AttributeError:
            slot = self._first_request()
        export = self.export
        slot.busy = True
        if export.gate is not None:
            export.enter(slot)
        slot.started += 1
        begin_ns = perf_counter_ns()
        try:
            export.root.pwrite(buf, offset, flags)
        except BaseException as error:
            slot.failed_wr_operations += 1
            self._report_error(error)
            raise
        else:
            elapsed_ns = perf_counter_ns() - begin_ns
            slot.wr_bytes += len(buf)
            slot.wr_operations += 1
            slot.wr_total_time_ns += elapsed_ns
            slot.write_latency[bucket_of(elapsed_ns)] += 1
        finally:
            slot.sequence += 1
            slot.busy = False

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes.  Counted as a write, as QEMU does."""
        self._counted("wr", lambda: self.export.root.zero(count, offset, flags), count)

    def trim(self, count: int, offset: int, flags: int) -> None:
        """Discard a range."""
        self._counted("unmap", lambda: self.export.root.trim(count, offset, flags), count)

    def flush(self, flags: int) -> None:
        """Make every acknowledged write durable."""
        del flags
        self._counted("flush", self._flush_root, 0)

    def _flush_root(self) -> None:
        self.export.root.flush()  # looked up only now, inside the gate

    def extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """What is allocated where."""
        del flags
        return self._inside(lambda slot: self.export.root.extents(count, offset))  # noqa: ARG005

    def cache(self, count: int, offset: int, flags: int) -> None:
        """Prefetch a range."""
        del flags
        self._inside(lambda slot: self.export.root.cache(count, offset))  # noqa: ARG005

    def _counted(self, kind: str, work: Callable[[], None], count: int) -> None:
        def run(slot: Slot) -> None:
            slot.started += 1
            begin_ns = perf_counter_ns()
            try:
                work()
            except BaseException:
                _count(slot, f"failed_{kind}_operations", 1)
                raise
            _count(slot, f"{kind}_total_time_ns", perf_counter_ns() - begin_ns)
            if count:
                _count(slot, f"{kind}_bytes", count)
            _count(slot, f"{kind}_operations", 1)

        self._inside(run)

    def _inside(self, work: Callable[[Slot], R]) -> R:
        try:
            slot: Slot = _local.slot
        except AttributeError:
            slot = self._first_request()
        slot.busy = True
        self.export.enter(slot)
        try:
            return work(slot)
        except BaseException as error:
            self._report_error(error)
            raise
        finally:
            slot.sequence += 1
            slot.busy = False


def _count(slot: Slot, name: str, amount: int) -> None:
    """Only the slot's own thread comes here."""
    setattr(slot, name, getattr(slot, name) + amount)


def describe(connection: Connection) -> dict[str, Any]:
    """For ``x-blkrun-query-graph``."""
    busy = sum(slot.busy for slot in connection.slots)
    return {
        "id": connection.number,
        "writable": connection.writable,
        "connected-seconds": round(monotonic() - connection.since, 3),
        "in-flight": busy,
    }
