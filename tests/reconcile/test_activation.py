"""What sd_listen_fds(3) says: whose the socket is, and what it has to be."""

import os
import socket
from pathlib import Path

import pytest

from blkrun.errors import BlkrunError
from blkrun.model import ServerAddress
from blkrun.reconcile.activation import activated_socket, check_agrees, listens_at


def variables(count: int = 1, pid: int | None = None) -> dict[str, str]:
    """As systemd sets them, for this process unless another is named."""
    return {
        "LISTEN_PID": str(pid or os.getpid()),
        "LISTEN_FDS": str(count),
        "LISTEN_FDNAMES": "x",
        "HOME": "/",
    }


def test_it_is_for_one_process_only() -> None:
    """Variables that name another process are not for us; none is passed on either way."""
    environ = variables(pid=os.getpid() + 1)
    assert activated_socket(environ) is None
    assert environ == {"HOME": "/"}
    assert activated_socket({}) is None


def test_a_listening_socket_is_taken_over() -> None:
    """Under another number, closed in what is started; the variables are gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        environ = variables()
        with activated_socket(environ, os.dup(listener.fileno())) or listener as given:
            assert given is not listener
            assert listens_at(given) == f"tcp:{port}"
            assert not given.get_inheritable()
    assert environ == {"HOME": "/"}


def test_what_cannot_be_served_on_is_refused() -> None:
    """Two sockets, a connection (Accept=yes), and what is no socket."""
    with pytest.raises(BlkrunError, match="2 sockets"):
        activated_socket(variables(2))
    one, other = socket.socketpair()
    with one, other, pytest.raises(BlkrunError, match="Accept=no"):
        activated_socket(variables(), os.dup(one.fileno()))
    readable, writable = os.pipe()
    with pytest.raises(BlkrunError, match="no socket"):
        activated_socket(variables(), readable)
    os.close(writable)


@pytest.mark.parametrize(
    ("file_says", "agrees"),
    [("unix", True), ("elsewhere", False), ("tcp", False)],
)
def test_a_unix_socket_has_to_be_where_the_file_says(
    tmp_path: Path, file_says: str, *, agrees: bool
) -> None:
    """By its path."""
    path = tmp_path / "s"
    address = ServerAddress(
        control=tmp_path / "c",
        unix={"unix": path, "elsewhere": tmp_path / "t"}.get(file_says),
        tcp=("localhost", 10809) if file_says == "tcp" else None,
    )
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        given.listen()
        if agrees:
            check_agrees(given, address)
        else:
            with pytest.raises(BlkrunError, match=f'set listen = "unix:{path}"'):
                check_agrees(given, address)


def test_a_tcp_socket_has_to_have_the_port(tmp_path: Path) -> None:
    """The host is what clients are told."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        same = ServerAddress(control=tmp_path / "c", unix=None, tcp=("disks.example", port))
        check_agrees(given, same)
        other = ServerAddress(control=tmp_path / "c", unix=None, tcp=("127.0.0.1", port ^ 1))
        with pytest.raises(BlkrunError, match=f'set listen = "tcp:127.0.0.1:{port}"'):
            check_agrees(given, other)
        path = ServerAddress(control=tmp_path / "c", unix=tmp_path / "s", tcp=None)
        with pytest.raises(BlkrunError, match=f'set listen = "tcp:127.0.0.1:{port}"'):
            check_agrees(given, path)
