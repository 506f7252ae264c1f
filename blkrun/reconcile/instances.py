"""Which servers run on this machine: asked of the processes, so nothing can be stale."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from blkrun.client import Client
from blkrun.errors import BlkrunError
from blkrun.reconcile.lease import holder_of
from blkrun.reconcile.nbdkit import FILE_VARIABLE

ANSWER_TIMEOUT_S = 2.0
"""For one that hangs; all are asked at once."""

_PLUGIN = "/blkrun/server/plugin.py"
_PROC = Path("/proc")


class Instance(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A server.  What only it can tell is None if it does not answer.

    ``file`` is the one it was started for, or None if somebody started nbdkit by hand; ``runner``
    the process that follows that file, or None; ``listen`` is ``unix:PATH`` or ``tcp:PORT``.
    """

    file: str | None
    server: int
    runner: int | None
    control: str
    listen: str
    exports: tuple[str, ...] | None = None
    clients: int | None = None
    uptime_ns: int | None = None


async def instances() -> list[Instance]:
    """All of this user's, by file."""
    found = await asyncio.gather(*(_ask(*each) for each in running()))
    return sorted(found, key=lambda instance: (instance.file or "", instance.server))


def running(proc: Path = _PROC) -> list[tuple[Instance, Path]]:
    """What the processes themselves tell, and where to ask them."""
    found = {pid: parameters for pid in _own(proc) if (parameters := _parameters(proc / str(pid)))}
    # A fork of a server that has not become another program yet still looks like it.
    servers = {pid: it for pid, it in found.items() if _parent(proc / str(pid)) not in found}
    return [
        (_instance(pid, proc / str(pid), it), Path(it["control"])) for pid, it in servers.items()
    ]


def _own(proc: Path) -> Iterator[int]:
    for entry in proc.iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if entry.name.isdecimal() and entry.stat().st_uid == os.getuid():
                yield int(entry.name)


def _parameters(process: Path) -> dict[str, str]:
    """Those of our plugin; none if it is not nbdkit with our plugin."""
    words = _words(process / "cmdline")
    if not words or Path(words[0]).name != "nbdkit":
        return {}
    at = next((at for at, word in enumerate(words) if word.endswith(_PLUGIN)), len(words))
    pairs = dict(word.split("=", 1) for word in words[at + 1 :] if "=" in word)
    return pairs if "control" in pairs else {}


def _words(path: Path) -> list[str]:
    """A file of words that each end in NUL."""
    try:
        return path.read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []


def _parent(process: Path) -> int:
    with contextlib.suppress(OSError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _instance(pid: int, process: Path, parameters: dict[str, str]) -> Instance:
    environment = dict(word.split("=", 1) for word in _words(process / "environ") if "=" in word)
    return Instance(
        file=environment.get(FILE_VARIABLE),
        server=pid,
        runner=holder_of(Path(parameters["control"])),
        control=parameters["control"],
        listen=parameters.get("listen", ""),
    )


async def _ask(instance: Instance, control: Path) -> Instance:
    with contextlib.suppress(BlkrunError, TimeoutError):
        async with asyncio.timeout(ANSWER_TIMEOUT_S), await Client.connect(control) as client:
            return _answered(instance, await client.execute("x-blkrun-query-graph"))
    return instance


def _answered(instance: Instance, graph: dict[str, Any]) -> Instance:
    exports = graph["exports"]
    return Instance(
        file=instance.file,
        server=instance.server,
        runner=instance.runner,
        control=instance.control,
        listen=instance.listen,
        exports=tuple(export["id"] for export in exports),
        clients=sum(len(export["clients"]) for export in exports),
        uptime_ns=graph["uptime-ns"],
    )
