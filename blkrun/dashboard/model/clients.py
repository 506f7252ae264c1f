"""Rows of the clients: who has which export open, from where, and since when."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from blkrun.dashboard.model.snapshot import Client, Export, Peer, Snapshot

_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """A connection.  ``origin`` is empty where nobody can tell."""

    id: int
    export: str
    origin: str
    mode: Literal["rw", "ro"]
    connected_s: float
    in_flight: int

    @property
    def key(self) -> str:
        """Its number, which no other connection of the server ever has."""
        return str(self.id)


def client_rows(snapshot: Snapshot) -> tuple[ClientRow, ...]:
    """All clients, by export, the longest connected first."""
    return tuple(
        _row(export, client)
        for export in snapshot.exports
        for client in sorted(export.clients, key=lambda client: client.id)
    )


def who_of(snapshot: Snapshot | None, exports: Collection[str]) -> dict[str, str]:
    """Who the clients of these exports are, as far as that is known: what a question names."""
    found: dict[str, str] = {}
    for export in () if snapshot is None else snapshot.exports:
        names = [origin_text(client.peer) for client in export.clients]
        if export.id in exports and any(names):
            found[export.id] = ", ".join(name or "one that is not known" for name in names)
    return found


def _row(export: Export, client: Client) -> ClientRow:
    return ClientRow(
        id=client.id,
        export=export.id,
        origin=origin_text(client.peer),
        mode="rw" if client.writable else "ro",
        connected_s=client.connected_seconds,
        in_flight=client.in_flight,
    )


def origin_text(peer: Peer) -> str:
    """``qemu-system-x86 pid 4711 uid 1000`` or ``127.0.0.1:50714``."""
    if peer.address:
        return peer.address
    if not peer.pid:
        return ""
    user = "" if peer.uid is None else f"uid {peer.uid}"
    return " ".join(part for part in (peer.process, f"pid {peer.pid}", user) if part)


def since_text(seconds: float) -> str:
    """``7 s``, ``4 min``, ``1 h 12``, ``3 d 2 h``: it seldom changes, and is seldom painted."""
    passed_s = max(int(seconds), 0)
    if passed_s < _MINUTE_S:
        return f"{passed_s} s"
    if passed_s < _HOUR_S:
        return f"{passed_s // _MINUTE_S} min"
    if passed_s < _DAY_S:
        return f"{passed_s // _HOUR_S} h {passed_s % _HOUR_S // _MINUTE_S:02}"
    return f"{passed_s // _DAY_S} d {passed_s % _DAY_S // _HOUR_S} h"
