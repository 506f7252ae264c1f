"""Disks that have to stay equal, under a client: what the tests of quorum and blkverify share."""

import errno
import os
import random
import threading
from typing import Any

import hypothesis.strategies as st

from blkrun.options import MemoryOptions
from blkrun.server.events import Event
from blkrun.server.node import Node
from tests.server.faulty import Faulty
from tests.server.inprocess import InProcess, ignore

SIZE = 256 * 2**10
ERRORS = st.none() | st.sampled_from([errno.EIO, errno.ENOSPC, errno.ESHUTDOWN])
BAD, FAILURE = "QUORUM_REPORT_BAD", "QUORUM_FAILURE"


class Copies(InProcess):
    """``disks`` by name, which fail when told to; ``over`` puts a node and an export on them.

    Needs ``leave_thread_states_alone``: ``client`` is used by plain Python threads.
    """

    def __init__(self, names: str = "abc") -> None:
        super().__init__()
        self.heard: list[Event] = []
        self.events.subscribe(self.heard.append)
        self.disks = {name: self.faulty(name) for name in names}

    def faulty(self, name: str) -> Faulty:
        """One more disk of this size."""
        node = Faulty(MemoryOptions(node_name=name, size=SIZE))
        self.put(node)
        return node

    def put(self, node: Node[Any]) -> None:
        """A node of a driver that only tests have."""
        self.graph.transaction([lambda staging: staging.add_node(node, {})])

    def over(self, driver: str, **options: Any) -> None:
        """The node "top", exported as vda to ``client``."""
        self.add(driver, "top", **options)
        export = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
        self.execute("block-export-add", export)
        self.client = self.graph.connect("vda", ignore)

    def read(self, count: int, offset: int = 0) -> bytes:
        """As a client reads."""
        buf = bytearray(b"\xee" * count)
        self.client.pread(memoryview(buf), offset, 0)
        return bytes(buf)

    def write(self, data: bytes, offset: int = 0, flags: int = 0) -> None:
        """As a client writes."""
        self.client.pwrite(memoryview(data), offset, flags)

    def told(self, *names: str) -> list[dict[str, Any]]:
        """The data of the events of these names so far."""
        return [each["data"] for each in self.heard if each["event"] in names]

    def specific(self) -> dict[str, Any]:
        """The node's own numbers."""
        found: dict[str, Any] = self.node("top")["driver-specific"]
        return found


def fails(number: int | None, *_: int) -> None:
    """A request of a disk that has this errno to say."""
    if number is not None:
        raise OSError(number, os.strerror(number))


def slowly(*_: int) -> None:
    """Let others go first, now and then."""
    if random.random() < 0.3:
        threading.Event().wait(random.random() / 1000)


def with_children(count: int, threshold: int, **options: Any) -> Copies:
    """A quorum of so many."""
    names = "abcde"[:count]
    server = Copies(names)
    server.over("quorum", children=[*names], vote_threshold=threshold, **options)
    return server
