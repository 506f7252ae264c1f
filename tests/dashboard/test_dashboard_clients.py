"""The clients: their rows, and the panel."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from blkrun.dashboard.model.clients import client_rows, origin_text, since_text
from blkrun.dashboard.model.snapshot import Peer
from blkrun.dashboard.widgets.clients import ClientsPanel
from tests.dashboard.dashboard_samples import NASTY_NAMES, client, export, lab, reply, snapshot
from tests.dashboard.panel_app import BlkrunApp
from tests.dashboard.test_dashboard_lines import WIDTHS, assert_fits

QEMU = {"pid": 4711, "uid": 1000, "process": "qemu-system-x86"}


class PanelApp(BlkrunApp):
    """The panel alone."""

    def compose(self) -> ComposeResult:
        """It."""
        yield ClientsPanel(id="clients")


Play = Callable[[ClientsPanel, Pilot[None]], Awaitable[None]]


def perform(play: Play, size: tuple[int, int] = (70, 10)) -> None:
    """Run the app around a play."""

    async def act() -> None:
        app: App[None] = PanelApp()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await play(app.query_one(ClientsPanel), pilot)

    asyncio.run(act())


def of(*clients: dict[str, Any], name: str = "vda") -> dict[str, Any]:
    """A reply with an export that these have open."""
    return reply(1, exports=[export(name, "disk", clients=list(clients))])


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (Peer(pid=4711, uid=1000, process="qemu"), "qemu pid 4711 uid 1000"),
        (Peer(pid=4711), "pid 4711"),
        (Peer(address="127.0.0.1:50714"), "127.0.0.1:50714"),
        (Peer(), ""),
    ],
)
def test_where_a_client_comes_from(peer: Peer, text: str) -> None:
    """As far as the server could tell."""
    assert origin_text(peer) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (4360, "1 h 12"),
        (86400 * 3 + 7300, "3 d 2 h"),
    ],
)
def test_since_when(seconds: float, text: str) -> None:
    """Two units at most."""
    assert since_text(seconds) == text


def test_rows_say_what_the_server_says_of_its_clients() -> None:
    """Also an older server, which says less."""
    old, new = {"id": 2}, client(1) | {"in-flight": 3, "peer": QEMU}
    first, second = client_rows(snapshot(of(old, new)))
    assert (first.id, first.mode, first.in_flight, first.connected_s) == (1, "rw", 3, 1.5)
    assert first.origin == "qemu-system-x86 pid 4711 uid 1000"
    assert (second.id, second.origin, second.mode) == (2, "", "ro")


def test_lines_fit_at_every_width() -> None:
    """Whatever exports and processes are called."""
    rows = [
        row
        for name in NASTY_NAMES
        for row in client_rows(
            snapshot(of(client(1) | {"peer": QEMU | {"process": name}}, client(10**6), name=name))
        )
    ]

    async def play(panel: ClientsPanel, _: Pilot[None]) -> None:
        panel.show(rows)
        for width in WIDTHS:
            assert_fits(panel.make_lines(width), width)
            assert cell_len(panel.heading_line(width).text) == width

    perform(play)


def test_the_frame_counts_and_the_columns_go_by_width() -> None:
    """Narrow ones keep the export, the number and what is in flight."""

    async def play(panel: ClientsPanel, _: Pilot[None]) -> None:
        panel.show(client_rows(snapshot(of(client(1) | {"peer": QEMU}, client(2)))))
        assert str(panel.border_title).endswith("Clients 2")
        words = " ".join(panel.make_lines(68)[0].text.split())
        assert words == "vda #1 qemu-system-x86 pid 4711 uid 1000 rw 1 s 0"
        assert panel.heading_line(68).text.split() == ["EXPORT", "FROM", "SINCE", "QD"]
        assert panel.make_lines(20)[0].text.split() == ["vda", "#1", "0"]

    perform(play)


def test_nobody_is_said_in_words() -> None:
    """Before the first, and after the last has left."""

    async def play(panel: ClientsPanel, pilot: Pilot[None]) -> None:
        panel.show(())
        await pilot.pause()
        assert panel.lines[0].text.strip() == "no client is connected"
        panel.show(client_rows(snapshot(lab(1))))
        panel.show(client_rows(snapshot(lab(2, clients=0))))
        assert panel.lines[0].text.strip() == "no client is connected"
        assert str(panel.border_title).endswith("Clients 0")

    perform(play)


def test_the_selected_client_stays_selected_when_others_go() -> None:
    """By its number."""

    async def play(panel: ClientsPanel, pilot: Pilot[None]) -> None:
        panel.show(client_rows(snapshot(of(*map(client, range(5))))))
        panel.focus()
        await pilot.press("down", "down", "down")
        panel.show(client_rows(snapshot(of(client(2), client(3)))))
        assert panel.selected is not None
        assert panel.selected.id == 3

    perform(play)


def test_what_did_not_change_is_not_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute goes by before a client's age is another one."""

    async def play(panel: ClientsPanel, pilot: Pilot[None]) -> None:
        def show(seconds: float) -> None:
            panel.show(client_rows(snapshot(of(client(1) | {"connected-seconds": seconds}))))

        show(61)
        await pilot.pause()
        painted: list[object] = []
        with monkeypatch.context() as patch:
            patch.setattr(ClientsPanel, "refresh", lambda *_, **__: painted.append(1))
            show(119)
            assert painted == []
            show(120)
            assert painted

    perform(play)
