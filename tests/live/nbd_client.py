"""NBD clients: libnbd with errors by name, and one by hand for what libnbd would not send."""

import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbd


def connect(uri: str, *, strict: bool = True) -> Any:
    """A connection with block status."""
    handle = nbd.NBD()
    if not strict:
        handle.set_strict_mode(0)
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.connect_uri(uri)
    return handle


def errno_of(call: Callable[..., object], *arguments: object) -> str | None:
    """The name of the error a request fails with; None if it does not fail."""
    try:
        call(*arguments)
    except nbd.Error as error:
        name = str(error.errno)
        return "ENOTSUP" if name == "EOPNOTSUPP" else name  # one number, two names
    return None


def extents(handle: Any, count: int, offset: int, flags: int = 0) -> list[tuple[int, int, int]]:
    """The answer to one question: (offset, length, bits)."""
    found: list[tuple[int, int, int]] = []

    def add(_: str, at: int, entries: list[int], _error: object) -> int:
        for length, bits in zip(entries[::2], entries[1::2], strict=True):
            found.append((at, length, bits))
            at += length
        return 0

    handle.block_status(count, offset, add, flags)
    return found


def noise(count: int, seed: int) -> bytes:
    """Data that is like no other, and that does not repeat in step with any block."""
    unit = random.Random(seed).randbytes(min(count, 1_000_003))
    return (unit * (count // 1_000_003 + 1))[:count]


class Wire:
    """A client that does not stop at what is allowed, as libnbd does: NBD by hand."""

    def __init__(self, path: Path, export: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        self._file.read(18)
        name = export.encode()
        info = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self._file.write(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, len(info)))
        self._file.write(info)
        self._file.flush()
        reply = 0
        while reply != 1:  # NBD_REP_ACK
            _, _, reply, length = struct.unpack(">QIII", self._file.read(20))
            self._file.read(length)

    def ask(self, kind: int, count: int, offset: int, data: bytes = b"", flags: int = 0) -> int:
        """The error number in the reply.  Raises OSError when the server hangs up."""
        self._file.write(struct.pack(">IHHQQI", 0x25609513, flags, kind, 1, offset, count) + data)
        self._file.flush()
        reply = self._file.read(16)
        if len(reply) < 16:
            raise ConnectionResetError
        error = int(struct.unpack(">IIQ", reply)[1])
        if kind == 0 and not error:
            self._file.read(count)
        return error

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()
