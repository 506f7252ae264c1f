"""The control socket: one thread accepts, each client has one that reads and one that writes.

Threads and blocking sockets, because asyncio alone costs more start-up time than all the rest.
A client that does not read is cut off when its queue is full; it never holds up an event.
"""

import contextlib
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Final

from blkrun.server.context import Context
from blkrun.server.qmp.outbox import Outbox
from blkrun.server.qmp.session import Session

_READ_BYTES: Final = 2**16
_ACCEPT_AGAIN_S: Final = 0.1
"""After an error, such as no descriptors left."""


class QmpServer:
    """Owns the socket file; mode 0600, so only the same user may edit the graph."""

    def __init__(self, path: str, context: Context) -> None:
        self._path = path
        self._context = context
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()  # the set above
        self._stopping = False
        self._socket = _listen(path)

    def start(self) -> None:
        """Accept clients from now on.  After nbdkit has forked, if it does."""
        threading.Thread(target=self._accept, name="blkrun-qmp", daemon=True).start()

    def stop(self) -> None:
        """No more clients; those that are there have what was sent to them."""
        self._stopping = True
        with contextlib.suppress(OSError):
            Path(self._path).unlink()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            client.finish()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if self._stopping:
                    return
                print(f"control socket: {error}", file=sys.stderr)  # noqa: T201 - the log
                sleep(_ACCEPT_AGAIN_S)
                continue
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        client = _Client(connection, self._context, self._forget)
        with self._lock:
            self._clients.add(client)
        try:
            client.start()
        except RuntimeError as error:  # no thread to be had
            print(f"control socket: {error}", file=sys.stderr)  # noqa: T201 - the log
            client.abandon()

    def _forget(self, client: "_Client") -> None:
        with self._lock:
            self._clients.discard(client)


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode is set before anybody can connect: bind makes the file, listen opens it.
    listener.bind(path)
    Path(path).chmod(0o600)
    listener.listen()
    return listener


class _Client:
    """Two threads and a queue around a Session."""

    def __init__(
        self, connection: socket.socket, context: Context, forget: "Callable[[_Client], None]"
    ) -> None:
        self._socket = connection
        self._context = context
        self._forget = forget
        self._outgoing = Outbox()
        self._session = Session(context, self._send)
        self._writer = threading.Thread(target=self._write, name="blkrun-qmp-w", daemon=True)

    def start(self) -> None:
        """Greet and listen.  Subscribed first: no event from here on is missed."""
        self._context.events.subscribe(self._session.on_event)
        self._session.greet()
        self._writer.start()
        threading.Thread(target=self._read, name="blkrun-qmp-r", daemon=True).start()

    def abandon(self) -> None:
        """The conversation is over: give everything back."""
        self._context.events.unsubscribe(self._session.on_event)
        self.finish()
        self._socket.close()
        self._forget(self)

    def finish(self) -> None:
        """Send what is queued, then close."""
        self._outgoing.finish()
        if self._writer.is_alive():
            self._writer.join(timeout=1)

    def _read(self) -> None:
        try:
            while data := self._socket.recv(_READ_BYTES):
                if not self._session.feed(data):
                    break
        except OSError:
            pass  # the client is gone, which is what the next lines are for
        except Exception:  # noqa: BLE001 - the top of a thread: a defect ends this client only
            traceback.print_exc()  # into the server's log
        finally:
            self.abandon()

    def _write(self) -> None:
        try:
            while (message := self._outgoing.get()) is not None:
                self._socket.sendall(message)
        except OSError:
            pass  # the reader notices too
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, message: bytes) -> None:
        if not self._outgoing.put(message):
            # It does not read: waiting for it would hold up whoever emits the event.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
