"""Every driver: an error from the bottom reaches whoever reports it to the client, as it is."""

import errno
import os
from collections import Counter
from functools import partial
from typing import Any, NoReturn

import pytest

from blkrun.options import ExportOptions
from blkrun.server import connection as connection_module
from blkrun.server.actions import export_add
from blkrun.server.threads import KeptState
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, NOWHERE, Way

from .subjects import Subject
from .tools import change_way


@pytest.fixture(autouse=True)
def plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread here is Python's own: only nbdkit's need keeping."""
    monkeypatch.setattr(connection_module, "keep_thread_state", lambda: KeptState(0, 0))
    monkeypatch.setattr(connection_module, "release_thread_states", list)


def test_every_errno(passing: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each errno there is and each kind of request, the very error is told, once."""
    wanted: list[OSError] = []

    def fail(*_: object) -> NoReturn:
        raise wanted[-1]

    broken = Way._make(fail for _ in NOWHERE)
    for bottom in passing.bottoms:
        change_way(bottom, lambda _: broken, monkeypatch)
    told: list[BaseException] = []
    graph = passing.shop.graph
    graph.transaction([lambda s: export_add(s, "vda", ExportOptions(node="subject"))])
    connection = graph.connect("vda", told.append)
    buf = memoryview(bytearray(512))
    requests: dict[str, tuple[Any, ...]] = {
        "pread": (buf, 1, 0),
        "pwrite": (buf, 1, FLAG_FUA),
        "zero": (512, 1, FLAG_MAY_TRIM | FLAG_FAST_ZERO),
        "trim": (512, 1, 0),
        "flush": (0,),
        "extents": (512, 1, 0),
        "cache": (512, 1, 0),
    }
    for code in errno.errorcode:
        for kind, arguments in requests.items():
            if passing.row.forgives(kind, code):
                continue
            wanted.append(OSError(code, os.strerror(code)))
            with pytest.raises(OSError, match=r".") as raised:
                getattr(connection, kind)(*arguments)
            assert told == [wanted[-1]]
            assert raised.value is wanted[-1]
            told.clear()
    assert {node.stats.in_flight for node in passing.nodes} == {0}
    graph.disconnect(connection)


def test_flush_reaches_what_holds_data(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written on one connection, flushed on another: the flush gets to every backend, each time."""
    flushed: list[str] = []

    def watched(name: str, way: Way) -> Way:
        def flush() -> None:
            flushed.append(name)
            way.flush()

        return way._replace(flush=flush)

    for bottom in subject.bottoms:
        change_way(bottom, partial(watched, bottom.name), monkeypatch)
    graph = subject.shop.graph
    graph.transaction([lambda s: export_add(s, "vda", ExportOptions(node="subject"))])
    graph.transaction([lambda s: export_add(s, "vdb", ExportOptions(node="subject"))])
    one, two, other = (graph.connect(name, lambda _: None) for name in ("vda", "vda", "vdb"))
    for flusher in (two, one, other):
        one.pwrite(memoryview(b"x" * 512), 1, 0)
        before = Counter(flushed)
        flusher.flush(0)
        for bottom in subject.bottoms:
            more = flushed.count(bottom.name) - before[bottom.name]
            # A format may have something to write then, which has to be durable as well.
            assert more == 1 or (subject.row.translates and more > 1)
    for connection in (one, two, other):
        graph.disconnect(connection)
