"""Clients that do not read, at a real socket: cut off, and nobody waits for them."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.qmp import outbox
from blkrun.server.qmp.outbox import Outbox
from blkrun.server.qmp.server import QmpServer
from tests.server.inprocess import PATIENCE_S, InProcess, eventually

NEGOTIATE = b'{"execute": "qmp_capabilities"}'
ASK = b'{"execute": "query-commands"}'


def test_in_order_and_to_the_end() -> None:
    """What was queued before the end comes before it."""
    box = Outbox()
    assert all(box.put(word) for word in (b"a", b"b"))
    box.finish()
    assert [box.get(), box.get(), box.get(), box.get()] == [b"a", b"b", None, None]


@pytest.mark.parametrize(("most", "value"), [("MOST_MESSAGES", 3), ("MOST_BYTES", 30)])
def test_too_much_is_the_end(monkeypatch: pytest.MonkeyPatch, most: str, value: int) -> None:
    """In number or in size; then nothing is kept, also when there would be room again."""
    monkeypatch.setattr(outbox, most, value)
    box = Outbox()
    assert [box.put(b"0123456789") for _ in range(5)] == [True, True, True, False, False]
    assert box.get() is None
    assert not box.put(b"x")
    assert box._bytes == 0


def test_one_large_message_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its size: a reply that is asked for is given."""
    monkeypatch.setattr(outbox, "MOST_BYTES", 3)
    box = Outbox()
    assert box.put(b"0123456789")
    assert box.get() == b"0123456789"
    assert box.put(b"0123456789")


def test_taking_waits_for_a_message() -> None:
    """Or for the end."""
    box, taken = Outbox(), list[bytes | None]()
    thread = threading.Thread(target=lambda: taken.extend([box.get(), box.get()]), daemon=True)
    thread.start()
    box.put(b"a")
    box.finish()
    thread.join(PATIENCE_S)
    assert taken == [b"a", None]


class Control:
    """A control socket, and clients of it."""

    def __init__(self, path: Path) -> None:
        self.inner = InProcess()
        self._path = str(path)
        self._server = QmpServer(self._path, self.inner.context)
        self._server.start()
        self._clients: list[socket.socket] = []

    def client(self) -> socket.socket:
        """Negotiated."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE_S)
        client.connect(self._path)
        self._clients.append(client)
        client.sendall(NEGOTIATE)
        said = b""
        while b"return" not in said:
            said += client.recv(4096)
        return client

    def close(self) -> None:
        """All of it."""
        for client in self._clients:
            client.close()
        self._server.stop()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """One that is closed at the end."""
    made = Control(tmp_path / "qmp")
    yield made
    made.close()


def is_cut_off(client: socket.socket) -> bool:
    """What was on its way can still be read, and then the end."""
    with suppress(ConnectionResetError):
        while client.recv(2**16):
            pass
    return True


def test_who_hears_no_event_is_cut_off(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever emits waits for nobody, and another client hears them all."""
    monkeypatch.setattr(outbox, "MOST_BYTES", 2**20)
    deaf, other = control.client(), control.client()
    heard: list[Any] = []

    def listen() -> None:
        with other.makefile("rb") as lines:
            heard.extend(json.loads(line)["data"]["number"] for line in lines)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    for number in range(100):
        data = {"number": number, "text": "x" * 2**16}
        control.inner.events.emit("X_BLKRUN_TEST", data)
        eventually(lambda: heard[-1:] == [number])  # noqa: B023 - called at once
    assert heard == list(range(100))
    assert is_cut_off(deaf)
    control.close()
    listener.join(PATIENCE_S)


def test_who_takes_no_reply_is_cut_off(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it asks for."""
    monkeypatch.setattr(outbox, "MOST_BYTES", 2**20)
    deaf = control.client()
    with suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(10**5):
            deaf.sendall(ASK)
    assert is_cut_off(deaf)
