"""One NBD connection: nbdkit's handle, and the entrance to the graph.

nbdkit calls these methods from the connection's worker threads, several at once.  Each does the
same: say busy, enter the export's route (see ``blkrun.server.route``), go down, count, leave, and
tell nbdkit of an error.  The read and the write, which are most of what happens, have all of that
written out: each call less between them and the driver is 3 to 5 % of the throughput, since the
time that a thread has the GIL is what others wait for.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from time import monotonic, perf_counter_ns
from typing import Any

from blkrun.server.client import Client
from blkrun.server.export import HELD, Export
from blkrun.server.route import Route
from blkrun.server.stats import hit
from blkrun.server.threads import KeptState, keep_thread_state, release_thread_states
from blkrun.server.way import Extent

_local = threading.local()


_TURN_REQUESTS = 16
"""After so many a thread lets others go first, if there are other connections.

A thread that finds a next request each time otherwise goes on until the kernel's next tick, 4 ms,
while others on its CPU wait.  With 4 connections the p99 is a quarter of what it is without.
"""


class Worker:
    """A worker thread of nbdkit's: whether it is inside a request; requests left of its turn."""

    __slots__ = ("busy", "left")

    def __init__(self) -> None:
        self.busy = False
        self.left = _TURN_REQUESTS


class Connection:
    """A client's open export.  Size and writability are what it negotiated, for its life.

    ``report_error`` hears of every exception before it leaves: there it becomes an errno.
    """

    def __init__(
        self,
        number: int,
        export: Export,
        report_error: Callable[[BaseException], None],
        client: Client,
        connections: Sized,
    ) -> None:
        self.number = number
        self.export = export
        self.size_bytes = export.root.size_bytes
        self.preferred_block_bytes = export.root.block_bytes()
        self.writable = not export.options.read_only
        self.since = monotonic()
        self.route = export.route
        """What the export's was when this connection last looked."""
        self.workers: list[Worker] = []
        self._kept: list[KeptState] = []
        self._report_error = report_error
        self.client = client
        self._connections = connections  # all that there are

    def close(self) -> None:
        """All workers have ended: free their thread states."""
        _local.__dict__.clear()  # with one thread, this thread was the worker
        release_thread_states(self._kept)

    def pread(self, buf: memoryview, offset: int, flags: int) -> None:
        """Fill ``buf`` from ``offset``."""
        del flags
        try:
            worker: Worker = _local.worker
        except AttributeError:
            worker = self._first_request()
        worker.busy = True
        route = self.route
        route.in_flight = depth = route.in_flight + 1
        if self.export.route is not route:
            route, depth = self._change_route(route)
        if depth > route.in_flight_max:
            route.in_flight_max = depth
        begin_ns = perf_counter_ns()
        try:
            late = route.read(buf, offset)
        except BaseException as error:
            route.reads.failed += 1
            self._leave_failed(route, worker, error)
            raise
        elapsed_ns = perf_counter_ns() - begin_ns
        length = len(buf)
        bits = (elapsed_ns | 16).bit_length()
        index = bits << 4 | (elapsed_ns >> (bits - 5)) & 15
        done = route.reads
        # In no line from here on is there a call: another thread's counts cannot come in between.
        try:
            done.latency[index] += 1
        except KeyError:
            hit(done.latency, index)
        done.time_ns += elapsed_ns
        done.bytes += length
        done.done += 1
        if late is not None:
            late.leave("reads", elapsed_ns)
        route.in_flight -= 1
        worker.busy = False
        worker.left = left = worker.left - 1
        if not left:
            self._end_turn(worker)

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``."""
        try:
            worker: Worker = _local.worker
        except AttributeError:
            worker = self._first_request()
        worker.busy = True
        route = self.route
        route.in_flight = depth = route.in_flight + 1
        if self.export.route is not route:
            route, depth = self._change_route(route)
        if depth > route.in_flight_max:
            route.in_flight_max = depth
        begin_ns = perf_counter_ns()
        try:
            late = route.write(buf, offset, flags)
        except BaseException as error:
            route.writes.failed += 1
            self._leave_failed(route, worker, error)
            raise
        elapsed_ns = perf_counter_ns() - begin_ns
        length = len(buf)
        bits = (elapsed_ns | 16).bit_length()
        index = bits << 4 | (elapsed_ns >> (bits - 5)) & 15
        done = route.writes
        try:
            done.latency[index] += 1
        except KeyError:
            hit(done.latency, index)
        done.time_ns += elapsed_ns
        done.bytes += length
        done.done += 1
        if late is not None:
            late.leave("writes", elapsed_ns)
        route.in_flight -= 1
        worker.busy = False
        worker.left = left = worker.left - 1
        if not left:
            self._end_turn(worker)

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes."""
        with self._inside() as route:
            route.count("zeroes", count, route.way.zero, count, offset, flags)

    def trim(self, count: int, offset: int, flags: int) -> None:
        """Discard a range."""
        with self._inside() as route:
            route.count("trims", count, route.way.trim, count, offset, flags)

    def flush(self, flags: int) -> None:
        """Make every acknowledged write durable."""
        del flags
        with self._inside() as route:
            route.count("flushes", 0, route.way.flush)

    def extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """What is allocated where."""
        with self._inside() as route:
            return route.uncounted(route.way.extents, count, offset, flags)

    def cache(self, count: int, offset: int, flags: int) -> None:
        """Prefetch a range."""
        del flags
        with self._inside() as route:
            route.uncounted(route.way.cache, count, offset)

    @contextmanager
    def _inside(self) -> Iterator[Route]:
        """Enter; whoever goes down the route leaves it."""
        try:
            worker: Worker = _local.worker
        except AttributeError:
            worker = self._first_request()
        worker.busy = True
        route = self.route
        route.in_flight = depth = route.in_flight + 1
        if self.export.route is not route:
            route, depth = self._change_route(route)
        if depth > route.in_flight_max:
            route.in_flight_max = depth
        try:
            yield route
        except BaseException as error:
            self._report_error(error)
            raise
        finally:
            worker.busy = False

    def _leave_failed(self, route: Route, worker: Worker, error: BaseException) -> None:
        route.in_flight -= 1
        worker.busy = False
        self._report_error(error)

    def _end_turn(self, worker: Worker) -> None:
        worker.left = _TURN_REQUESTS
        if len(self._connections) > 1:
            os.sched_yield()

    def _first_request(self) -> Worker:
        """Make this thread one of the connection's workers."""
        worker = Worker()
        self._kept.append(keep_thread_state())
        self.workers.append(worker)
        _local.worker = worker
        self.client.serve()
        return worker

    def _change_route(self, route: Route) -> tuple[Route, int]:
        """Leave a route that the export has no more, wait at its gate, and enter the new one."""
        export = self.export
        while True:
            route.in_flight -= 1
            while (gate := export.gate) is not None:
                gate.wait()
            route = export.route
            route.in_flight = depth = route.in_flight + 1
            if export.route is route and route is not HELD:
                self.route = route  # never HELD: while that is the export's, nobody would look
                return route, depth


def describe(connection: Connection) -> dict[str, Any]:
    """For ``x-blkrun-query-graph``."""
    return {
        "id": connection.number,
        "writable": connection.writable,
        "connected-seconds": round(monotonic() - connection.since, 3),
        "in-flight": sum(worker.busy for worker in connection.workers),
        "peer": dict(connection.client.origin),
    }
