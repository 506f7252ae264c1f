"""Internal snapshots: what the snapshot table says.  They are kept, and never changed here.

What a snapshot has in common with the disk has a refcount above one, so that writes copy it.
"""

import os
import struct
from dataclasses import dataclass

from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import MOST_L1_BYTES, Header
from blkrun.server.qcow2.store import Store

MOST_EXTRA_BYTES = 1024
MOST_TABLE_BYTES = 1024 * 65536
"""QEMU's limits."""

_ENTRY = struct.Struct(">QIHHIIQII")
_EXTRA = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One entry; ``disk_bytes`` is None where an old image does not say."""

    l1_table_offset: int
    l1_size: int
    id: str
    name: str
    vm_state_bytes: int
    disk_bytes: int | None


def read_snapshots(header: Header, store: Store) -> tuple[Snapshot, ...]:
    """All of them.  Raises ImageError, or OSError where reading fails."""
    found = []
    at = header.snapshots_offset
    for number in range(header.snapshot_count):
        if at + _ENTRY.size > store.end_bytes:
            raise ImageError(f"Snapshot table ends in entry {number}, where the image file ends")
        head = bytes(store.read(_ENTRY.size, at))
        snapshot, length = _parse(header, head, store, at)
        found.append(snapshot)
        at += length
        if at - header.snapshots_offset > MOST_TABLE_BYTES:
            raise ImageError("Snapshot table is too big")
    return tuple(found)


def table_bytes(header: Header, store: Store) -> int:
    """How long the snapshot table is: it takes so many bytes of its clusters."""
    at = header.snapshots_offset
    for _ in range(header.snapshot_count):
        _, length = _parse(header, bytes(store.read(_ENTRY.size, at)), store, at)
        at += length
    return at - header.snapshots_offset


def _parse(header: Header, head: bytes, store: Store, at: int) -> tuple[Snapshot, int]:
    l1_table_offset, l1_size, id_bytes, name_bytes, _, _, _, vm_state, extra_bytes = _ENTRY.unpack(
        head
    )
    if extra_bytes > MOST_EXTRA_BYTES:
        raise ImageError(f"Snapshot at 0x{at:x} has too much extra data: {extra_bytes} bytes")
    rest_bytes = extra_bytes + id_bytes + name_bytes
    if at + _ENTRY.size + rest_bytes > store.end_bytes:
        raise ImageError(f"Snapshot at 0x{at:x} ends past the end of the image file")
    rest = bytes(store.read(rest_bytes, at + _ENTRY.size))
    texts = rest[extra_bytes:]
    disk_bytes = None
    if extra_bytes >= _EXTRA.size:
        vm_state, disk_bytes = _EXTRA.unpack_from(rest)
    snapshot = Snapshot(
        l1_table_offset,
        l1_size,
        os.fsdecode(texts[:id_bytes]),
        os.fsdecode(texts[id_bytes:]),
        vm_state,
        disk_bytes,
    )
    if l1_table_offset % header.cluster_bytes or l1_table_offset >= 2**56:
        raise ImageError(f"Snapshot '{snapshot.name}': L1 table offset invalid")
    if l1_size * 8 > MOST_L1_BYTES:
        raise ImageError(f"Snapshot '{snapshot.name}': L1 table too large")
    length = _ENTRY.size + rest_bytes
    return snapshot, length + -length % 8
