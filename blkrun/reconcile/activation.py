"""A listening socket that a supervisor made for us: systemd's socket activation.

The descriptor stays open for as long as the runner runs, so that a server started again after a
crash gets the same socket, and clients that connect in between wait in its queue.  It is the
supervisor's: nobody here removes its file.
"""

import os
import socket
from collections.abc import MutableMapping

from blkrun.errors import BlkrunError
from blkrun.model import ServerAddress

FIRST_FD = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def activated_socket(
    environ: MutableMapping[str, str] = os.environ, first_fd: int = FIRST_FD
) -> socket.socket | None:
    """What sd_listen_fds(3) says was given to this process, and to no other; None is the rule.

    Takes the variables out of ``environ``: what is started from here has not been given anything.
    Raises BlkrunError if it is not one socket that listens.
    """
    pid, fds, _ = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not fds.isdecimal() or fds == "0":
        return None
    if fds != "1":
        raise BlkrunError(f"{fds} sockets were handed over; an NBD server has one: ListenStream=")
    fd = os.dup(first_fd)  # unlike the one given, it is closed in what we start
    os.close(first_fd)
    try:
        given = socket.socket(fileno=fd)
    except OSError as error:
        os.close(fd)
        raise BlkrunError(f"what was handed over is no socket: {error.strerror}") from error
    if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        given.close()
        raise BlkrunError("the socket handed over does not listen: its unit needs Accept=no")
    return given


def listens_at(given: socket.socket) -> str:
    """As the plugin's ``listen=`` has it: ``unix:PATH`` or ``tcp:PORT``."""
    name = given.getsockname()
    return f"unix:{name}" if given.family == socket.AF_UNIX else f"tcp:{name[1]}"


def check_agrees(given: socket.socket, address: ServerAddress) -> None:
    """The file says where clients find the server, so the socket must be there.

    Of a TCP address only the port counts: the host of the file is the one that clients are told,
    the socket may listen on all of them.  Raises BlkrunError with the line that would agree.
    """
    wanted = f"unix:{address.unix}" if address.tcp is None else f"tcp:{address.tcp[1]}"
    there = listens_at(given)
    if there == wanted:
        return
    written = there if given.family == socket.AF_UNIX else _tcp(given)
    raise BlkrunError(
        f"the socket handed over is {written}, [server] listen is {address.listen}: "
        f'set listen = "{written}", or ListenStream= in the socket unit'
    )


def _tcp(given: socket.socket) -> str:
    host, port = given.getsockname()[:2]
    return f"tcp:[{host}]:{port}" if given.family == socket.AF_INET6 else f"tcp:{host}:{port}"
