"""An overlay of these tests: clusters in memory over a backing image, without any format.

What it has not written is its backing image's; beyond the end of that, or without one, zeroes.
``registered`` makes it a driver that files and QMP know, for as long as a test runs.
"""

import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pytest
from msgspec import UNSET, Meta, UnsetType

from blkrun import options
from blkrun.options import BlockdevOptions, Bytes, NodeName
from blkrun.options.edges import EDGES, OPTIONAL_EDGES
from blkrun.server import drivers
from blkrun.server.node import Node
from blkrun.server.way import Allocated

CLUSTER_BYTES = 2**16


class OverlayOptions(BlockdevOptions, frozen=True, tag="overlay"):
    """``backing`` is looked for nowhere else: not to be said is to have none."""

    size: Annotated[Bytes, Meta(description="its size")]
    backing: Annotated[
        NodeName | UnsetType | None, Meta(description="what shows where nothing was written")
    ] = UNSET


class Overlay(Node[OverlayOptions]):
    """``clusters`` by number.  A lock each would be finer; one is enough to be right."""

    driver = "overlay"
    backing: Node[Any] | None = None

    def __init__(self, options: OverlayOptions) -> None:
        super().__init__(options)
        self.clusters: dict[int, bytearray] = {}
        self.flushes = 0
        self.header: tuple[str | None, str | None] = (None, None)
        self._lock = threading.Lock()

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """As it was made, whatever is below."""
        del sizes
        return self.options.size

    def cluster_bytes(self) -> int:
        """As it says."""
        return CLUSTER_BYTES

    def do_allocated(self, count: int, offset: int) -> list[Allocated]:
        """The clusters that have been written."""
        return [
            (offset + at, length, number in self.clusters)
            for number, _, at, length in pieces(count, offset)
        ]

    def change_backing_file(self, name: str | None, image_format: str | None) -> None:
        """Kept, for tests to look at."""
        self.header = (name, image_format)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Its own clusters, or what is below."""
        for number, start, at, length in pieces(len(buf), offset):
            with self._lock:
                own = self.clusters.get(number)
                if own is not None:
                    buf[at : at + length] = own[start : start + length]
                    continue
            self._read_below(buf[at : at + length], offset + at)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Copy on write, cluster by cluster."""
        del flags
        for number, start, at, length in pieces(len(buf), offset):
            with self._lock:
                own = self._allocate(number, copy=length < CLUSTER_BYTES)
                own[start : start + length] = buf[at : at + length]

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """As a write: zeroes of its own hide what is below."""
        self.do_pwrite(memoryview(bytes(count)), offset, flags)

    def do_flush(self) -> None:
        """Counted."""
        self.flushes += 1

    def _allocate(self, number: int, *, copy: bool) -> bytearray:
        own = self.clusters.get(number)
        if own is None:
            length = min(CLUSTER_BYTES, self.options.size - number * CLUSTER_BYTES)
            own = bytearray(length)
            if copy:
                self._read_below(memoryview(own), number * CLUSTER_BYTES)
            self.clusters[number] = own
        return own

    def _read_below(self, buf: memoryview, offset: int) -> None:
        room = 0 if self.backing is None else max(0, self.backing.size_bytes - offset)
        held = min(len(buf), room)
        if held and self.backing is not None:
            self.backing.pread(buf[:held], offset)
        buf[held:] = bytes(len(buf) - held)


def pieces(length: int, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """Split at clusters: (number, start in it, position in the range, length)."""
    at = 0
    while at < length:
        number, start = divmod(offset + at, CLUSTER_BYTES)
        piece = min(CLUSTER_BYTES - start, length - at)
        yield number, start, at, piece
        at += piece


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it a driver, of servers and of files."""
    struct: type[BlockdevOptions] = OverlayOptions
    monkeypatch.setitem(options.DRIVERS, "overlay", struct)
    monkeypatch.setitem(EDGES, struct, {"backing": "backing"})
    monkeypatch.setitem(OPTIONAL_EDGES, struct, frozenset({"backing"}))
    monkeypatch.setitem(drivers.DRIVERS, "overlay", Overlay)
