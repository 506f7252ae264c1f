"""Whether the client of a connection is still there, as its socket tells.

nbdkit learns that a client has gone when it reads from the socket or writes to it; while all of a
connection's workers wait in a throttle it does neither.  So they look themselves, with ``gone``.

Gone is who can receive no reply any more: whose socket is hung up or broken.  A client that has
said goodbye (NBD_CMD_DISC) or has closed only its sending side is still owed its replies, and
libnbd does both at once.  nbdkit's own ``nbdkit_nanosleep`` takes all of these for gone, and the
end of the server too.  A TCP client that was killed looks like one that has closed its sending
side, until a first reply is refused.

nbdkit does not say which descriptor a connection has.  It is found when the client opens its
export: a socket of nbdkit's with the connection's peer that no other connection has.  Should there
be several, as when two connections of one process are opened at the same moment, then the client
counts as gone when all of them are hung up.
"""

import ctypes
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
_SOCKADDR_BYTES = 128
_INET_BYTES, _INET6_BYTES = 8, 24  # of a sockaddr up to the end of the host
_UCRED = struct.Struct("3i")  # pid, uid, gid

_c = ctypes.CDLL(None)
"""The C library and, inside nbdkit, nbdkit."""

_here = threading.local()

Peer = tuple[bytes, int, int]
"""The address at the other end as the system writes it; over a unix socket the process and user."""


@dataclass(frozen=True, slots=True)
class Socket:
    """A descriptor; the inode tells whether it still is the socket that it was."""

    fd: int
    inode: int

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed, and its number perhaps been used again."""
        try:
            return os.fstat(self.fd).st_ino == self.inode
        except OSError:
            return False


class Client:
    """Who is at the other end of a connection.  ``sockets``: those that may be its own.

    ``origin`` says where that is, for who watches.
    """

    def __init__(
        self, sockets: Iterable[Socket] = (), origin: Mapping[str, Any] | None = None
    ) -> None:
        self.sockets = tuple(sockets)
        self.origin = origin or {}
        self._lock = threading.Lock()
        self._first: int | None = None

    def serve(self) -> None:
        """From now on requests on the calling thread are this client's."""
        _here.client = self

    def hung_up(self) -> bool:
        """Whether no reply can reach it."""
        sockets = [each for each in self.sockets if each.is_open]
        poll = select.poll()
        for each in sockets:
            poll.register(each.fd, 0)
        hung = [fd for fd, events in poll.poll(0) if events & _HUNG_UP]
        return bool(sockets) and len(hung) == len(sockets)

    def gone(self) -> bool:
        """Whether the calling thread may drop its request.

        Only one thread at first: its reply fails, then nbdkit closes the connection, and the
        others send none.  nbdkit 1.32.4 to 1.33.9 aborts if a reply fails while another waits to
        be sent.
        """
        if not self.hung_up():
            return False
        own = threading.get_native_id()
        with self._lock:
            if self._first is None:
                self._first = own
        return self._first == own or not Path(f"/proc/self/task/{self._first}").exists()


def gone() -> bool:
    """Whether the client has gone whose request the calling thread performs."""
    client: Client | None = getattr(_here, "client", None)
    return client is not None and client.gone()


class Clients:
    """Finds out which socket a connection has.  ``listen``: ``unix:PATH`` or ``tcp:PORT``."""

    def __init__(self, listen: str) -> None:
        self._listen = listen
        self._lock = threading.Lock()
        self._taken: set[Socket] = set()

    def meet(self, peer: Peer) -> Client:
        """The client that opens an export, ``peer`` being what nbdkit says of it."""
        with self._lock:
            self._taken = {each for each in self._taken if each.is_open}
            sockets = list(self._free_sockets(peer))
            if len(sockets) == 1:
                self._taken.update(sockets)
        return Client(sockets, origin_of(peer))

    def _free_sockets(self, peer: Peer) -> Iterator[Socket]:
        for found, duplicate in client_sockets(self._listen, besides=self._taken):
            with closing(duplicate):
                if peer_of(duplicate) == peer:
                    yield found


def peer_here() -> Peer:
    """Who the client is whose nbdkit callback the calling thread runs."""
    address = _address(_c.nbdkit_peer_name)
    if not _is_unix(address):
        return address, 0, 0
    return address, _c.nbdkit_peer_pid(), _c.nbdkit_peer_uid()


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end of a socket."""
    address = _address(_c.getpeername, connection.fileno())
    if not _is_unix(address):
        return address, 0, 0
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(credentials)
    return address, pid, uid


def origin_of(peer: Peer) -> dict[str, Any]:
    """A process and its user, or an address, as far as it can be told; raises nothing."""
    address, pid, uid = peer
    if not _is_unix(address):
        where = _inet_text(address)
        return {"address": where} if where else {}
    if pid <= 0:
        return {}  # one of another PID namespace
    origin: dict[str, Any] = {"pid": pid, "uid": uid & 0xFFFF_FFFF}
    with suppress(OSError):  # gone by now, or hidden
        origin["process"] = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    return origin


def _inet_text(address: bytes) -> str:
    """``127.0.0.1:4711`` or ``[::1]:4711``; empty if it is no such address."""
    if len(address) < _INET_BYTES:
        return ""
    family, port = struct.unpack("H", address[:2])[0], int.from_bytes(address[2:4], "big")
    if family == socket.AF_INET:
        return f"{socket.inet_ntoa(address[4:8])}:{port}"
    if family != socket.AF_INET6 or len(address) < _INET6_BYTES:
        return ""
    host = socket.inet_ntop(socket.AF_INET6, address[8:24])
    mapped = host.removeprefix("::ffff:")
    return f"{mapped}:{port}" if "." in mapped and mapped != host else f"[{host}]:{port}"


def _address(ask: Callable[..., int], *of_whom: int) -> bytes:
    """What a function like getpeername(2) writes; empty if it fails."""
    buffer, size = ctypes.create_string_buffer(_SOCKADDR_BYTES), ctypes.c_uint(_SOCKADDR_BYTES)
    return b"" if ask(*of_whom, buffer, ctypes.byref(size)) else buffer.raw[: size.value]


def _is_unix(address: bytes) -> bool:
    return address[:2] == struct.pack("H", socket.AF_UNIX)


def client_sockets(
    listen: str, besides: Collection[Socket] = ()
) -> Iterator[tuple[Socket, socket.socket]]:
    """Nbdkit's sockets of its clients, each with a duplicate that is to be closed.

    They are the streams whose own address is the listening one.
    """
    for entry in list(Path("/proc/self/fd").iterdir()):
        fd = int(entry.name)
        try:
            status = os.fstat(fd)
            if not stat.S_ISSOCK(status.st_mode) or (found := Socket(fd, status.st_ino)) in besides:
                continue
            duplicate = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue  # gone by now
        if _is_client(duplicate, listen):
            yield found, duplicate
        else:
            duplicate.close()


def _is_client(candidate: socket.socket, listen: str) -> bool:
    try:
        if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        own = candidate.getsockname()
    except OSError:
        return False
    if candidate.family == socket.AF_UNIX:
        return listen == f"unix:{own}"
    return candidate.family in (socket.AF_INET, socket.AF_INET6) and listen == f"tcp:{own[1]}"
