"""What a supervisor such as systemd is told: sd_notify(3), a datagram of a few lines.

Small enough to be ours; without ``NOTIFY_SOCKET`` nothing is done.
"""

import contextlib
import os
import socket

_TIMEOUT_S = 1.0


def notify(*assignments: str) -> None:
    """Tell all of it at once: ``READY=1``, ``STATUS=…``.  Line breaks within are made spaces.

    A supervisor that does not listen is no reason to end what serves disks.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    message = "\n".join(" ".join(each.splitlines()) for each in assignments)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        contextlib.suppress(OSError),
    ):
        datagrams.settimeout(_TIMEOUT_S)
        datagrams.sendto(message.encode(), address)
