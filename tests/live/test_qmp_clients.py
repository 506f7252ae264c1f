"""The control socket with QEMU's own clients, several at once, and with broken ones."""

import asyncio
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from qemu.qmp import QMPClient

from tests.live.service import DISK, Qmp, Service, tool

Serve = Callable[[str], Service]


def test_qemu_qmp_works_unmodified(serve: Serve) -> None:
    """The library connects, runs a command and hears an event."""
    service = serve(DISK)

    async def talk() -> tuple[object, str]:
        client = QMPClient("test")
        await client.connect(str(service.control))
        version = await client.execute("query-version")
        tool("nbdinfo", "--size", service.uri())
        event = await client.events.get()
        await client.disconnect()
        return version, str(event["event"])

    version, event = asyncio.run(talk())
    assert isinstance(version, dict)
    assert version["qemu"]["major"] == 0
    assert event == "X_BLKRUN_CLIENT_CONNECTED"


def test_qmp_shell_works_unmodified(serve: Serve) -> None:
    """A person types commands into qmp-shell."""
    service = serve(DISK)
    shell = Path(sys.executable).with_name("qmp-shell")
    done = subprocess.run(
        [str(shell), str(service.control)],
        input="query-block-exports\nblockdev-add driver=null node-name=n\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert '"node-name": "disk"' in done.stdout
    assert "n" in [node["node-name"] for node in service.graph()["nodes"]]


def test_every_client_gets_every_event(serve: Serve) -> None:
    """Three clients, one of them not negotiated yet when it happens, see the same."""
    service = serve(DISK)
    with service.qmp() as first, service.qmp() as second:
        late = Qmp(service.control)
        tool("nbdinfo", "--size", service.uri())
        late.negotiated()
        for client in (first, second, late):
            assert client.wait_event("X_BLKRUN_CLIENT_CONNECTED")["data"]["export"] == "vda"
            assert client.wait_event("X_BLKRUN_CLIENT_DISCONNECTED")["timestamp"]["seconds"] > 0
        late.close()


def test_a_broken_message_ends_that_conversation_only(serve: Serve) -> None:
    """Garbage gets a QMP error and the end; another client and a disk in use notice nothing."""
    service = serve(DISK)
    with service.qmp() as healthy:
        for garbage in (b"}{\n", b'{"execute": nope}', b"[" * 5000, b"\xff\xfe"):
            broken = Qmp(service.control)
            broken.socket.sendall(garbage)
            assert broken.read()["error"]["class"] == "GenericError"
            assert broken.read() == {}
            broken.close()
        assert healthy.do("query-version")["package"].startswith("blkrun")
    assert "67108864" in tool("nbdinfo", "--size", service.uri())


def test_an_oversized_message_ends_that_conversation_only(serve: Serve) -> None:
    """A client cannot make the server hold more than the limit."""
    service = serve(DISK)
    before = service.resident_kib()
    flood = Qmp(service.control)
    flood.socket.sendall(b'{"execute": "')
    piece = b"a" * 2**20
    try:
        for _ in range(80):
            flood.socket.sendall(piece)
    except OSError:
        pass  # cut off in the middle, as it should be
    flood.close()
    assert service.resident_kib() - before < 200 * 1024
    with service.qmp() as healthy:
        assert healthy.do("query-commands")


def test_only_the_owner_may_connect(serve: Serve) -> None:
    """The control socket has mode 0600."""
    service = serve(DISK)
    assert stat.S_IMODE(service.control.stat().st_mode) == 0o600


def test_an_edit_by_hand(serve: Serve) -> None:
    """The walk of qemu-semantics 4.1 and 4.2 with a client connected: add, insert, remove, del."""
    service = serve(DISK)
    with service.qmp() as qmp:
        qmp.do("object-add", **{"qom-type": "throttle-group", "id": "g", "limits": {}})
        qmp.do("blockdev-add", driver="throttle", file="disk", **_named("t", "g"))
        qmp.do("block-insert-node", parent="vda", child="disk", node="t")
        assert qmp.do("query-block-exports")[0]["node-name"] == "t"
        assert qmp.ask("blockdev-del", **{"node-name": "t"})["error"]["desc"] == "Node t is in use"
        qmp.do("block-remove-node", parent="vda", child="disk", node="t")
        qmp.do("blockdev-del", **{"node-name": "t"})
        qmp.do("object-del", id="g")
        assert json.dumps(qmp.do("x-debug-query-block-graph")).count('"root"') == 1


def _named(name: str, group: str) -> dict[str, str]:
    return {"node-name": name, "throttle-group": group}
