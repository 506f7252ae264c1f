"""Whether a client is still there: sockets in every state, and which one is a connection's."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.server import client
from blkrun.server.client import Client, Clients, Socket, origin_of, peer_of
from tests.server.inprocess import Worker, eventually


class Listener:
    """nbdkit's part: a listening socket, and pairs of our and the client's ends."""

    def __init__(self, family: str, directory: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._socket = (
            self._unix(directory / "nbd.sock")
            if family == "unix"
            else socket.create_server(("127.0.0.1", 0))
        )
        stack.enter_context(self._socket)
        self._address = self._socket.getsockname()
        where = self._address if family == "unix" else self._address[1]
        self.clients = Clients(f"{family}:{where}")

    def _unix(self, path: Path) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        return listening

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Our end of a connection, and the client's."""
        theirs = self._stack.enter_context(socket.socket(self._socket.family))
        theirs.connect(self._address)
        ours, _ = self._socket.accept()
        return self._stack.enter_context(ours), theirs

    def meet(self, ours: socket.socket) -> Client:
        """As the plugin does when a client opens an export."""
        return self.clients.meet(peer_of(ours))


@pytest.fixture(params=["unix", "tcp"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """Over either kind of socket."""
    with ExitStack() as stack:
        yield Listener(request.param, tmp_path, stack)


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Listener]:
    """Where all clients have the same address."""
    with ExitStack() as stack:
        yield Listener("unix", tmp_path, stack)


@pytest.fixture
def tcp(tmp_path: Path) -> Iterator[Listener]:
    """Where a closed connection looks like one that is closed on one side."""
    with ExitStack() as stack:
        yield Listener("tcp", tmp_path, stack)


def nothing(ours: socket.socket, theirs: socket.socket) -> None:
    """An idle client."""


def requests(ours: socket.socket, theirs: socket.socket) -> None:
    """Requests that nobody has read yet."""
    theirs.sendall(b"x" * 1000)


def goodbye(ours: socket.socket, theirs: socket.socket) -> None:
    """What libnbd does after NBD_CMD_DISC."""
    theirs.sendall(b"x" * 1000)
    theirs.shutdown(socket.SHUT_WR)


def end_of_server(ours: socket.socket, theirs: socket.socket) -> None:
    """What blkrun does when it ends."""
    ours.shutdown(socket.SHUT_RD)


@pytest.mark.parametrize("happens", [nothing, requests, goodbye, end_of_server])
def test_who_can_hear_a_reply_is_there(
    listener: Listener, happens: Callable[[socket.socket, socket.socket], None]
) -> None:
    """Requests of such clients are performed, as the protocol asks."""
    ours, theirs = listener.pair()
    met = listener.meet(ours)
    happens(ours, theirs)
    assert [each.fd for each in met.sockets] == [ours.fileno()]
    assert not met.hung_up()


def test_who_has_closed_a_unix_socket_is_gone(unix: Listener) -> None:
    """With requests still to be read."""
    ours, theirs = unix.pair()
    met = unix.meet(ours)
    requests(ours, theirs)
    theirs.close()
    assert met.hung_up()


def test_who_has_closed_a_tcp_connection_is_gone_after_a_reply(tcp: Listener) -> None:
    """Until then it might have closed its sending side only."""
    ours, theirs = tcp.pair()
    met = tcp.meet(ours)
    theirs.close()
    assert not met.hung_up()
    ours.sendall(b"a reply")
    eventually(met.hung_up)


def test_each_connection_has_its_own_socket(listener: Listener) -> None:
    """One client closing says nothing about another, of the same process or not."""
    pairs, met = [], []
    for _ in range(3):
        pairs.append(listener.pair())
        met.append(listener.meet(pairs[-1][0]))
    found = [[each.fd for each in one.sockets] for one in met]
    assert found == [[ours.fileno()] for ours, _ in pairs]


def test_sockets_that_are_not_a_clients_do_not_count(unix: Listener, tmp_path: Path) -> None:
    """Nor files, pipes, the listening socket, or a QMP client of the same process."""
    with ExitStack() as stack:
        (tmp_path / "qmp").mkdir()
        control = Listener("unix", tmp_path / "qmp", stack)
        control.pair()
        ours, _ = unix.pair()
        assert [each.fd for each in unix.meet(ours).sockets] == [ours.fileno()]


def test_a_number_that_is_used_again_is_another_socket(unix: Listener) -> None:
    """A closed connection leaves no claim on its descriptor."""
    closed, _ = unix.pair()
    before = unix.meet(closed)
    number = closed.detach()
    opened, theirs = unix.pair()
    os.dup2(opened.detach(), number)
    with socket.socket(fileno=number) as ours:
        after = unix.meet(ours)
        theirs.close()
        assert (before.hung_up(), after.hung_up()) == (False, True)


def test_connections_opened_at_once_are_gone_together(unix: Listener) -> None:
    """Nothing tells them apart, so that neither is gone while it may be the one that is left."""
    pairs = [unix.pair() for _ in range(2)]
    met = [unix.meet(ours) for ours, _ in pairs]
    assert [len(each.sockets) for each in met] == [2, 2]
    pairs[0][1].close()
    assert [each.hung_up() for each in met] == [False, False]
    pairs[1][1].close()
    assert [each.hung_up() for each in met] == [True, True]


def test_of_two_opened_at_once_one_is_left(unix: Listener) -> None:
    """When nbdkit has closed a socket, it is the other's no more."""
    pairs = [unix.pair() for _ in range(2)]
    met = [unix.meet(ours) for ours, _ in pairs]
    pairs[0][0].close()
    pairs[1][1].close()
    assert met[1].hung_up()


def test_looking_leaves_no_descriptor_behind(listener: Listener) -> None:
    """However many clients come."""
    ours, _ = listener.pair()
    listener.meet(ours)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        listener.meet(ours)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_is_nobodys_is_never_gone() -> None:
    """Requests from inside the graph, and clients whose socket was not found."""
    assert not client.gone()
    assert not Client().hung_up()
    assert not Client([Socket(10**6, 1)]).hung_up()


def test_one_thread_hears_of_it_first(unix: Listener) -> None:
    """The others when that one has ended, and with it, in nbdkit, the connection."""
    ours, theirs = unix.pair()
    met = unix.meet(ours)
    theirs.close()
    said: list[bool] = []
    end = threading.Event()

    def first() -> None:
        met.serve()
        said.extend((client.gone(), client.gone()))
        assert end.wait(10)

    thread = Worker(first)
    eventually(lambda: len(said) == 2)
    assert said == [True, True]
    assert not met.gone()
    end.set()
    thread.finish()
    eventually(met.gone)


def test_a_client_over_a_unix_socket_is_a_process(unix: Listener) -> None:
    """Here the test's own, with its user and its name."""
    ours, _ = unix.pair()
    name = Path("/proc/self/comm").read_text().strip()
    told = {"pid": os.getpid(), "uid": os.getuid(), "process": name}
    assert unix.meet(ours).origin == told


def test_a_client_over_tcp_has_an_address(tcp: Listener) -> None:
    """With its port, by which its host knows the process."""
    ours, theirs = tcp.pair()
    assert tcp.meet(ours).origin == {"address": f"127.0.0.1:{theirs.getsockname()[1]}"}


@pytest.mark.parametrize(
    ("host", "text"), [("::1", "[::1]:4711"), ("::ffff:10.0.0.1", "10.0.0.1:4711")]
)
def test_addresses_of_ipv6(host: str, text: str) -> None:
    """An IPv4 client of a socket for both is shown as what it is."""
    address = struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(4711), 0, packed(host), 0)
    assert origin_of((address, 0, 0)) == {"address": text}


def packed(host: str) -> bytes:
    """As the system writes it."""
    return socket.inet_pton(socket.AF_INET6, host)


UNIX = struct.pack("H", socket.AF_UNIX)


@given(
    st.one_of(st.binary(max_size=40), st.sampled_from([UNIX])),
    st.one_of(st.integers(-1, 0), st.just(2**31 - 1)),
    st.integers(-(2**31), 2**31 - 1),
)
def test_nothing_that_is_said_of_a_client_keeps_it_out(address: bytes, pid: int, uid: int) -> None:
    """Whatever the system answers, and whether or not the process is there."""
    origin = origin_of((address, pid, uid))
    assert origin.keys() <= {"address", "pid", "uid", "process"}
    assert origin.get("uid", 0) >= 0
