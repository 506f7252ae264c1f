"""The servers that are compared: a row of the table each.

All are up during the whole run, and one at a time is measured.
"""

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from .place import SIZE_BYTES, BenchError, Image, Room
from .process import Running, running, which

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "nbdkit": "nbdkit",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-img": "qemu-utils",
    "nbdinfo": "libnbd-bin",
    "fio": "fio",
}

NBDKIT_NULL = "nbdkit null"
NBDKIT_FILE = "nbdkit file"
NBDKIT_RATE = "nbdkit file + rate filter"
QEMU_THREADS = "qemu throttle, aio threads"
QEMU_IO_URING = "qemu throttle, io_uring"
QEMU = (QEMU_THREADS, QEMU_IO_URING)
"""Of which the better one is what blkrun is compared with."""

FILE = "blkrun file"
THROTTLE = "blkrun throttle"
THROTTLE_FAR = "blkrun throttle, limits far off"
CHAINS = {1: THROTTLE, 3: "blkrun 3 throttles", 6: "blkrun 6 throttles"}
"""By the number of filters over the file, none of which has limits."""

QCOW2_QEMU = ("qemu qcow2, aio threads", "qemu qcow2, io_uring")
QCOW2 = "blkrun qcow2"


@dataclass(frozen=True)
class Server:
    """A row of the table."""

    name: str
    command: Callable[[Room], list[str]]
    cwd: Path = ROOT
    has_image: bool = True
    format: Literal["raw", "qcow2"] = "raw"
    """Of the images that it can serve."""
    may_be_missing: bool = False
    label: str = ""
    """Whose: empty for this checkout and for others' programs."""

    @property
    def title(self) -> str:
        """The name, and whose it is if not ours."""
        return titled(self.name, self.label)

    def fits(self, image: Image) -> bool:
        """Whether it is measured with such an image; the null plugin is with raw ones."""
        return self.format == image.format

    def up(self, room: Room) -> AbstractContextManager[Running]:
        """Serve until the block is left.  Raises BenchError with what the server said."""
        return running(self.title, self.command(room), room, self.cwd)


def titled(name: str, label: str) -> str:
    """The title of a server of this checkout (no label) or of another."""
    return f"{label}: {name}" if label else name


def all_servers(against: Path | None = None) -> list[Server]:
    """In the table's order; ``against`` is another checkout with a .venv of its own."""
    others = [
        Server(NBDKIT_NULL, _nbdkit_null, has_image=False),
        Server(NBDKIT_FILE, _nbdkit_file),
        Server(NBDKIT_RATE, _nbdkit_rate),
        Server(QEMU_THREADS, partial(_qemu, "threads")),
        Server(QEMU_IO_URING, partial(_qemu, "io_uring"), may_be_missing=True),
        *(
            Server(name, partial(_qemu_qcow2, aio), format="qcow2", may_be_missing=aio != "threads")
            for name, aio in zip(QCOW2_QEMU, ("threads", "io_uring"), strict=True)
        ),
    ]
    theirs = _blkrun_servers(_python_of(against), against, against.name) if against else []
    return [*others, *_blkrun_servers(sys.executable, ROOT, ""), *theirs]


def check_tools() -> None:
    """Raises BenchError naming everything that is missing at once."""
    missing = [f"{tool} ({package})" for tool, package in PACKAGES.items() if not which(tool)]
    if missing:
        raise BenchError(f"not installed: {', '.join(missing)}")
    engines = subprocess.run(
        [which("fio"), "--enghelp"], capture_output=True, text=True, check=False
    )
    if not re.search(r"^\s*nbd$", engines.stdout, re.MULTILINE):
        raise BenchError("this fio has no nbd engine (it is built without libnbd)")


def _nbdkit_null(room: Room) -> list[str]:
    return [which("nbdkit"), "-f", "-U", str(room.socket), "null", str(SIZE_BYTES)]


def _nbdkit_file(room: Room) -> list[str]:
    return [which("nbdkit"), "-f", "-U", str(room.socket), "file", str(room.image)]


def _nbdkit_rate(room: Room) -> list[str]:
    """The filter without a rate, as the throttles are without limits."""
    words = ["-f", "-U", str(room.socket), "--filter=rate", "file", str(room.image)]
    return [which("nbdkit"), *words]


def _qemu(aio: str, room: Room) -> list[str]:
    return [
        which("qemu-storage-daemon"),
        "--object=throttle-group,id=free",
        f"--blockdev=driver=file,node-name=protocol,filename={room.image},aio={aio}",
        "--blockdev=driver=raw,node-name=disk,file=protocol",
        "--blockdev=driver=throttle,node-name=limit,file=disk,throttle-group=free",
        f"--nbd-server=addr.type=unix,addr.path={room.socket},max-connections=0",
        "--export=type=nbd,id=export,node-name=limit,name=vda,writable=on",
    ]


def _qemu_qcow2(aio: str, room: Room) -> list[str]:
    """The default caches, as blkrun has them: L2 tables of up to 32 MiB, four refcount blocks."""
    return [
        which("qemu-storage-daemon"),
        f"--blockdev=driver=file,node-name=protocol,filename={room.image},aio={aio}",
        "--blockdev=driver=qcow2,node-name=disk,file=protocol",
        f"--nbd-server=addr.type=unix,addr.path={room.socket},max-connections=0",
        "--export=type=nbd,id=export,node-name=disk,name=vda,writable=on",
    ]


def _blkrun_servers(python: str, checkout: Path, label: str) -> list[Server]:
    far_off = 'iops-total = 1_000_000_000\nbps-total = "100TiB"\n'
    texts = {FILE: chain(0)}
    texts |= {name: chain(count) for count, name in CHAINS.items()}
    texts |= {THROTTLE_FAR: chain(1, limits=far_off)}
    raw = [
        Server(name, partial(blkrun, python, texts[name]), cwd=checkout, label=label)
        for name in (FILE, THROTTLE, THROTTLE_FAR, CHAINS[3], CHAINS[6])
    ]
    qcow2 = Server(
        QCOW2,
        partial(blkrun, python, qcow2_disk()),
        cwd=checkout,
        format="qcow2",
        may_be_missing=bool(label),  # a checkout from before the driver
        label=label,
    )
    return [*raw, qcow2]


def chain(filters: int, limits: str = "") -> str:
    """A configuration: throttles limit1 … limitN over a file, limitN under the export."""
    below = ["disk", *(f"limit{number + 1}" for number in range(filters))]
    group = f"[throttle-groups.free]\n{limits}" if filters else ""
    nodes = [
        f'[nodes.{name}]\ndriver = "throttle"\nthrottle-group = "free"\nfile = "{child}"\n'
        for child, name in itertools.pairwise(below)
    ]
    export = f'[exports.vda]\nnode = "{below[-1]}"\n'
    return "\n".join([_SERVED_FILE, group, *nodes, export])


def qcow2_disk() -> str:
    """A configuration: qcow2 over a file, as it is where nobody says more."""
    node = '[nodes.image]\ndriver = "qcow2"\nfile = "disk"\n'
    return f'{_SERVED_FILE}\n{node}\n[exports.vda]\nnode = "image"\n'


_SERVED_FILE = """\
[server]
listen = "unix:bench.sock"
control = "unix:bench.qmp"

[backends.disk]
driver = "file"
path = "disk.img"
"""


def blkrun(python: str, text: str, room: Room) -> list[str]:
    """Write the configuration; the command that serves it."""
    path = room.directory / "bench.toml"
    path.write_text(text)
    return [python, "-m", "blkrun", "run", "--headless", str(path)]


def _python_of(checkout: Path) -> str:
    python = checkout / ".venv" / "bin" / "python"
    if not python.exists():
        raise BenchError(f"{checkout} has no .venv: run make setup there")
    return str(python)
