"""Meeting a server and seeing it off: waits with a deadline, for the runner and for ``stop``."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from time import monotonic

from blkrun.client import Client
from blkrun.errors import BlkrunError, NoServerError, WaitError
from blkrun.model import ServerAddress
from blkrun.reconcile.nbdkit import Server, alive, check_python

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
_QUIT_TIMEOUT_S = 2.0
_POLL_S = 0.005
_ACCEPTS_CONNECTIONS = 1 << 16  # __SO_ACCEPTCON, in /proc/net/unix


async def wait_until_ready(server: Server, address: ServerAddress) -> Client:
    """The first conversation with a server just started.  Raises BlkrunError or WaitError."""
    deadline = monotonic() + START_TIMEOUT_S
    while True:
        if address.control.exists():
            with contextlib.suppress(NoServerError):
                return await Client.connect(address.control)
        how = server.ended()
        if how is not None:
            check_python()  # the most likely reason, with its remedy
            raise BlkrunError(f"the server did not start ({how}): {server.last_words()}")
        if monotonic() > deadline:
            raise WaitError(f"the server did not answer within {START_TIMEOUT_S:.0f} s")
        await asyncio.sleep(_POLL_S)


async def stop_server(client: Client, pid: int, address: ServerAddress) -> None:
    """End a server, whoever started it, and wait until it has; a hung one is killed."""
    with contextlib.suppress(NoServerError, WaitError):
        await client.execute("quit", timeout_s=_QUIT_TIMEOUT_S)
    await client.close()
    deadline = monotonic() + STOP_TIMEOUT_S
    while alive(pid):
        if monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_POLL_S)
    for path in (address.control, address.unix):
        if path is not None and not _is_listened_at(path):
            path.unlink(missing_ok=True)


def _is_listened_at(path: Path) -> bool:
    """Whether a socket's file is somebody's still, such as systemd's.

    Asked without connecting, which would have systemd start the service again.
    """
    rows = (line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return any(
        len(row) == 8 and row[7] == str(path) and int(row[3], 16) & _ACCEPTS_CONNECTIONS
        for row in rows
    )
