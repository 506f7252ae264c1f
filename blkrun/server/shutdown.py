"""How the server ends: jobs are cancelled, nothing waits in a throttle, clients are hung up on.

nbdkit, told to end, waits until every client has disconnected by itself, and an idle one never
does.  So when the requests under way are over, the receiving side of every NBD connection is shut
down: nbdkit sees a client that has left, replies that are due still go out, and ``cleanup`` runs.
Requests that hang at another server are given up after REST_TIMEOUT_S: they fail.

SIGTERM takes the same way: nbdkit's own handler knows nothing of throttled requests.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from time import monotonic, sleep

from blkrun.server.client import client_sockets
from blkrun.server.graph import Graph

REST_TIMEOUT_S = 5.0
_POLL_S = 0.005
_REPLY_TIMEOUT_S = 1.0
_REPLIES_S = 0.1
"""For what is past the graph, in nbdkit, and not sent yet."""


class Shutdown:
    """``begin`` may be called from any thread, any number of times."""

    def __init__(self, graph: Graph, listen: str, end_nbdkit: Callable[[], None]) -> None:
        self._graph = graph
        self._listen = listen
        self._end_nbdkit = end_nbdkit
        self._begun = threading.Lock()

    def begin(self) -> None:
        """End the server; returns at once."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._run, name="blkrun-shutdown", daemon=True).start()

    def on_sigterm(self) -> None:
        """From now on SIGTERM begins the shutdown.  On the main thread, after nbdkit's own."""
        readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(readable, True)
        # The main thread is in nbdkit's C code and runs no Python handler; the wake-up
        # descriptor is written by the C half of the handler, whatever that thread does.
        signal.signal(signal.SIGTERM, _only_wake)
        signal.set_wakeup_fd(writable)
        arguments = (readable,)
        threading.Thread(target=self._wait, args=arguments, name="blkrun-sig", daemon=True).start()

    def _wait(self, readable: int) -> None:
        while signal.SIGTERM not in os.read(readable, 64):
            pass
        self.begin()

    def _run(self) -> None:
        self._graph.jobs.cancel_all()
        self._graph.let_all_go()
        self._graph.jobs.join(REST_TIMEOUT_S)  # while QMP clients can see how they ended
        self._end_nbdkit()
        if not self._comes_to_rest(REST_TIMEOUT_S):
            for node in list(self._graph.nodes.values()):
                node.abandon()
            # Whoever writes to a connection that was shut down hangs up, and nbdkit 1.32.4 to
            # 1.33.9 aborts if replies are due then: these failures go out first.
            self._comes_to_rest(_REPLY_TIMEOUT_S)
            sleep(_REPLIES_S)
        for _, connection in client_sockets(self._listen):
            with contextlib.suppress(OSError):  # it has left by itself
                connection.shutdown(socket.SHUT_RD)
            connection.close()

    def _comes_to_rest(self, timeout_s: float) -> bool:
        deadline = monotonic() + timeout_s
        while not self._graph.at_rest() and monotonic() < deadline:
            sleep(_POLL_S)
        return self._graph.at_rest()


def _only_wake(number: int, frame: object) -> None:
    """Nothing: the wake-up descriptor has done it."""
