"""nbdkit's callbacks and nothing else: ``nbdkit python plugin.py control=PATH listen=… threads=N``.

nbdkit runs this file as ``__main__`` and looks the callbacks up by name, so it shadows builtins
and is imported by nobody.  Requests go to :class:`Connection`; its plain functions are the
callbacks, so that there is no further call in between.

This is the edge where an error becomes an errno: nbdkit takes it from ``set_error``, and prints
the exception with ``traceback.format_exception``, which is replaced so that a request that
fails costs one line in the log instead of a traceback.
"""

import errno
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import nbdkit

from blkrun.errors import BlkrunError
from blkrun.server.client import Clients, peer_here
from blkrun.server.connection import Connection
from blkrun.server.context import Context
from blkrun.server.door import Door
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.last_flush import flush_all
from blkrun.server.one_cpu import OneCpu
from blkrun.server.parent import outlive_parent
from blkrun.server.qmp.server import QmpServer
from blkrun.server.shutdown import REST_TIMEOUT_S, Shutdown

API_VERSION = 2

_SWITCH_INTERVAL_S = 0.001
"""How long a QMP command may keep the GIL from a request.

With 200 nodes asked about 20 times a second, 99.9 % of the reads at queue depth 1 were done within
3.3 ms at Python's 5 ms, 1.7 ms at 1 ms, 2.6 ms at 0.2 ms; throughput and other tails do not care.
"""

_MAX_REQUEST_BYTES = 32 * 2**20

_parameters: dict[str, str] = {}
_events = Events()
_graph = Graph(_events)
_servers: list[QmpServer] = []
_shutdowns: list[Shutdown] = []
_clients: list[Clients] = []
_cpus: list[OneCpu] = []
_doors: list[Door] = []


def _one_line(kind: type[BaseException], error: BaseException, trace: Any) -> list[str]:
    """What nbdkit logs.

    nbdkit never gives the exception back (seen in 1.32.5), so what hangs on it is let go of here:
    frames, and with them the connection and its export.
    """
    text = _in_words(kind, error, trace)
    traceback.clear_frames(trace)
    error.__traceback__ = None
    return text


def _in_words(kind: type[BaseException], error: BaseException, trace: Any) -> list[str]:
    if isinstance(error, (OSError, BlkrunError)):
        return [str(error)]
    return _format_exception(kind, error, trace)


_format_exception = traceback.format_exception
setattr(traceback, "format_exception", _one_line)  # noqa: B010 - mypy knows the function as constant


def _report_error(error: BaseException) -> None:
    """Tell nbdkit the errno for the client, on the way out."""
    code = error.errno if isinstance(error, OSError) else None
    nbdkit.set_error(code or errno.EIO)


def thread_model() -> int:
    """Requests of one connection run in parallel."""
    return int(nbdkit.THREAD_MODEL_PARALLEL)


def config(key: str, value: str) -> None:
    """Parameters: ``control``, ``listen``, ``threads``, ``cpus`` and ``wait``.

    The path of the QMP socket; ``unix:PATH`` or ``tcp:PORT``, as given to nbdkit; likewise -t;
    ``one`` or ``all``: where requests run; for how many seconds clients wait for the file.
    """
    if key not in ("control", "listen", "threads", "cpus", "wait"):
        raise BlkrunError(f"unknown parameter {key!r}")
    _parameters[key] = value


def config_complete() -> None:
    """Refuse what could not work."""
    for key in ("control", "listen", "threads"):
        if key not in _parameters:
            raise BlkrunError(f"{key}= is missing")
    if _parameters.setdefault("cpus", "one") not in ("one", "all"):
        raise BlkrunError(f"cpus={_parameters['cpus']} is neither one nor all")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise BlkrunError("this Python has no GIL, and blkrun's counters count on it")


def get_ready() -> None:
    """Bind the control socket, while failing can still be seen."""
    outlive_parent()
    _graph.control = Path(_parameters["control"])
    _clients.append(Clients(_parameters["listen"]))
    _doors.append(Door(_events, float(_parameters.get("wait", "0"))))
    _shutdowns.append(Shutdown(_graph, _parameters["listen"], _end))
    context = Context(
        graph=_graph,
        events=_events,
        shutdown=_shutdowns[0].begin,
        threads=int(_parameters["threads"]),
        started_ns=time.monotonic_ns(),
    )
    _servers.append(QmpServer(_parameters["control"], context))


def _end() -> None:
    """Nobody is let in any more; who waits at the door is sent away with the others."""
    _doors[0].open()
    nbdkit.shutdown()


def after_fork() -> None:
    """Threads may start now."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if _parameters["cpus"] == "one":
        _cpus.append(OneCpu(os.sched_getaffinity(0)))
    for cpu in _cpus:
        cpu.watch()
    for shutdown in _shutdowns:
        shutdown.on_sigterm()
    for server in _servers:
        server.start()


def cleanup() -> None:
    """The server ends: all connections are closed."""
    for server in _servers:
        server.stop()
    _graph.jobs.cancel_all()  # there are some if nbdkit was ended by another way than ours
    _graph.jobs.join(REST_TIMEOUT_S)
    flush_all(_graph.nodes.values(), REST_TIMEOUT_S)
    _graph.close()


def preconnect(readonly: bool) -> None:  # noqa: ARG001, FBT001 - nbdkit's signature
    """A client has come, and nothing has been said yet."""
    _doors[0].wait()


def list_exports(readonly: bool, is_tls: bool) -> list[tuple[str, str]]:  # noqa: ARG001, FBT001 - nbdkit's signature
    """All exports, for ``nbdinfo --list``."""
    return [(export.name, export.options.description) for export in _graph.exports.values()]


def default_export(readonly: bool, is_tls: bool) -> str:  # noqa: ARG001, FBT001 - nbdkit's signature
    """The only export, if there is just one."""
    exports = list(_graph.exports)
    return exports[0] if len(exports) == 1 else ""


def open(readonly: bool) -> Connection:  # noqa: A001, ARG001, FBT001 - nbdkit's name and signature
    """A client opens the export it negotiated."""
    for cpu in _cpus:
        cpu.seat()  # this thread makes those that will perform the requests
    try:
        client = _clients[0].meet(peer_here())
        return _graph.connect(nbdkit.export_name(), _report_error, client)
    except BlkrunError:
        nbdkit.set_error(errno.ENOENT)
        raise


def close(h: Connection) -> None:
    """The connection's requests and threads have ended."""
    _graph.disconnect(h)


def export_description(h: Connection) -> str:
    """As written in the file."""
    return h.export.options.description


def get_size(h: Connection) -> int:
    """What it was when the client opened the export; edits do not change that."""
    return h.size_bytes


def block_size(h: Connection) -> tuple[int, int, int]:
    """Any alignment will do; what the backend likes; and what every client may send (NBD).

    nbdkit takes reads and writes of up to 64 MiB, also from those who do not heed this.
    """
    return 1, h.preferred_block_bytes, _MAX_REQUEST_BYTES


def can_write(h: Connection) -> bool:
    """Writable exports."""
    return h.writable


def can_fua(h: Connection) -> int:  # noqa: ARG001 - nbdkit's signature
    """FUA goes down to the backend, which does it natively or by a flush."""
    return int(nbdkit.FUA_NATIVE)


def can_cache(h: Connection) -> int:  # noqa: ARG001 - nbdkit's signature
    """Prefetch goes down too."""
    return int(nbdkit.CACHE_NATIVE)


def _yes(h: Connection) -> bool:  # noqa: ARG001 - nbdkit's signature
    """Every graph has it: a node that lacks it is given it by the layer."""
    return True


can_flush = can_trim = can_zero = can_fast_zero = can_extents = can_multi_conn = _yes

pread = Connection.pread
pwrite = Connection.pwrite
zero = Connection.zero
trim = Connection.trim
flush = Connection.flush
extents = Connection.extents
cache = Connection.cache
