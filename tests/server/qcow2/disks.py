"""A child that writes down what is asked of it, and what of that a crash may leave."""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from blkrun.server.node import Node
from blkrun.server.qcow2.image import Image, Settings, read_contents, read_header
from blkrun.server.qcow2.store import Store
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA


@dataclass(frozen=True)
class Write:
    """One change of the file; ``durable`` as soon as it is done, with FUA."""

    offset: int
    data: bytes
    durable: bool = False


@dataclass(frozen=True)
class Cut:
    """The file has become shorter."""

    size_bytes: int


Log = list[Write | Cut | None]
"""None is a flush that has ended."""


@dataclass
class LogDisk:
    """A file in memory.  ``before`` is told of each request, by kind and place, and may raise."""

    name: str = "disk"
    content: bytearray = field(default_factory=bytearray)
    can_grow: bool = True
    can_zero: bool = True
    log: Log = field(default_factory=list)
    before: Callable[[str, int, int], None] = lambda *_: None
    base: bytes = b""
    """What it held when the log began."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.base = bytes(self.content)

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return len(self.content)

    def debug_event(self, name: str) -> None:
        """Nobody listens."""

    def length(self) -> int:
        """The same."""
        return len(self.content)

    def truncate(self, size_bytes: int, *, exact: bool) -> None:
        """Longer, or if exact shorter."""
        self.before("truncate", size_bytes, 0)
        with self.lock:
            length = len(self.content)
            if not self.can_grow and (size_bytes > length or (exact and size_bytes != length)):
                raise OSError(errno.ENOSPC, f"{self.name} ends at byte {length}")
            if exact and size_bytes < length:
                self.log.append(Cut(size_bytes))
            else:
                self.log.append(Write(size_bytes, b""))
            apply(self.content, self.log[-1])

    def make_room(self, end: int) -> None:
        """As a Store has it."""
        self.truncate(end, exact=False)

    def pread(self, buf: memoryview, offset: int) -> None:
        """A file that ends before is an error, as it is to the file driver."""
        self.before("read", offset, len(buf))
        if offset + len(buf) > len(self.content):
            raise OSError(errno.EIO, f"{self.name} ends at byte {len(self.content)}")
        buf[:] = self.content[offset : offset + len(buf)]

    def pwrite(self, buf: memoryview, offset: int, flags: int = 0) -> None:
        """Write, longer if need be."""
        self.before("write", offset, len(buf))
        assert offset + len(buf) <= len(self.content), "a write beyond the end"
        self._write(bytes(buf), offset, durable=bool(flags & FLAG_FUA))

    def zero(self, count: int, offset: int, flags: int = 0) -> None:
        """At once, or not at all."""
        self.before("zero", offset, count)
        assert offset + count <= len(self.content), "zeroes beyond the end"
        if not self.can_zero and flags & FLAG_FAST_ZERO:
            raise OSError(errno.EOPNOTSUPP, "no fast zeroes here")
        self._write(bytes(count), offset, durable=bool(flags & FLAG_FUA))

    def trim(self, count: int, offset: int, flags: int = 0) -> None:
        """Trimmed data is garbage, the worst that is allowed."""
        del flags
        self.before("trim", offset, count)
        assert offset + count <= len(self.content), "a trim beyond the end"
        self._write(b"\xdb" * count, offset)

    def flush(self) -> None:
        """All that was written before it began is durable."""
        with self.lock:
            reached = len(self.log)
        self.before("flush", 0, 0)
        with self.lock:
            self.log.insert(reached, None)

    def start_log(self) -> None:
        """Forget what has been; what is there now is durable."""
        with self.lock:
            self.base = bytes(self.content)
            self.log.clear()

    def _write(self, data: bytes, offset: int, *, durable: bool = False) -> None:
        with self.lock:
            self.log.append(Write(offset, data, durable))
            apply(self.content, self.log[-1])


def apply(content: bytearray, write: Write | Cut | None) -> None:
    """Do a write of the log."""
    if write is None:
        return
    if isinstance(write, Cut):
        del content[write.size_bytes :]
        return
    end = write.offset + len(write.data)
    if end > len(content):
        content.extend(bytes(end - len(content)))
    content[write.offset : end] = write.data


def owner_of(**children: Any) -> Node[Any]:
    """What stands for the driver's node: a name, and edges."""
    owner: Any = SimpleNamespace(name="image", children=dict(children), **children)
    return owner  # type: ignore[no-any-return]


def settings_of(**changed: Any) -> Settings:
    """Of an image that is not damaged."""
    usual: dict[str, Any] = {
        "l2_cache_bytes": 2**20,
        "refcount_cache_bytes": 0,
        "lazy_refcounts": False,
        "pass_discards": True,
        "tell_corruption": _fail,
        "log": lambda _: None,
    }
    return Settings(**usual | changed)


def image_on(
    disk: LogDisk, *, data: LogDisk | None = None, backing: Any = None, **changed: Any
) -> Image:
    """The image on a disk, as the driver opens it."""
    edges = {"file": disk, "data_file": data, "backing": backing}
    owner = owner_of(**{role: child for role, child in edges.items() if child is not None})
    store = Store(owner, "file", disk.size_bytes)
    own = store if data is None else Store(owner, "data-file", data.size_bytes)
    header = read_header(store)
    return Image(header, store, own, read_contents(header, store), settings_of(**changed))


def _fail(message: str, offset: int | None, size: int | None, fatal: bool) -> None:  # noqa: FBT001 - as Image calls it
    raise AssertionError((message, offset, size, fatal))
