"""Clients wait for the first graph, and not for ever."""

import threading
from collections.abc import Callable

import pytest

from blkrun.server.door import Door
from blkrun.server.events import Events


def report(events: Events, _: Door) -> None:
    """The runner has done something with the file."""
    events.emit("X_BLKRUN_CONFIG_APPLIED")


def end(_: Events, door: Door) -> None:
    """The server ends."""
    door.open()


@pytest.mark.parametrize("opener", [report, end])
def test_who_waits_is_let_in(opener: Callable[[Events, Door], None]) -> None:
    """By the first report, or at the end; nobody waits after that."""
    events = Events()
    door = Door(events, patience_s=60)
    waiting = threading.Thread(target=door.wait)
    waiting.start()
    events.emit("X_BLKRUN_CLIENT_CONNECTED")
    waiting.join(0.1)
    assert waiting.is_alive()
    opener(events, door)
    waiting.join(10)
    assert not waiting.is_alive()
    door.wait()


def test_patience_ends() -> None:
    """It counts from the server's start, not from the client's coming."""
    now_s = 100.0
    door = Door(Events(), patience_s=60, clock=lambda: now_s)
    now_s = 160.5
    door.wait()
