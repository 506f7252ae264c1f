"""``[server] listen`` and ``control``: where the server is met."""

import os
import re
from pathlib import Path

from blkrun.config.tables import Table
from blkrun.decode import Kind, Problem
from blkrun.model import ServerAddress
from blkrun.options import ServerOptions
from blkrun.toml.source import absolute

MAX_SOCKET_PATH_BYTES = 107
"""Linux: ``sun_path`` has 108 bytes, the last one NUL."""

_TCP = re.compile(r"tcp:(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]\s]+):([0-9]{1,5})")
_MAX_PORT = 65535


def decode_address(
    server: Table[ServerOptions], file: Path, problems: list[Problem]
) -> ServerAddress | None:
    """Both addresses, with paths absolute; ``FILE.sock`` and ``FILE.qmp`` if left out."""
    found: list[Problem] = []
    tcp, unix = None, None
    listen = server.text("listen")
    if listen is not None and listen.startswith("tcp:"):
        tcp = _tcp(listen, found)
    else:
        unix = _unix(server, "listen", file.with_name(f"{file.stem}.sock"), found)
    control = _unix(server, "control", file.with_name(f"{file.stem}.qmp"), found)
    if control is not None and control == unix:
        message = f"server.control and server.listen are one socket, {control}: they need two"
        found.append(Problem(path=("server", "control"), kind=Kind.VALUE, message=message))
    problems.extend(found)
    if control is None or found:
        return None
    return ServerAddress(control=control, unix=unix, tcp=tcp)


def _tcp(written: str, found: list[Problem]) -> tuple[str, int] | None:
    match = _TCP.fullmatch(written)
    if match is not None and 0 < int(match[2]) <= _MAX_PORT:
        return match[1], int(match[2])
    message = (
        f'server.listen: {written!r} is not "tcp:HOST:PORT" with a port from 1 to {_MAX_PORT}; '
        'write "tcp:127.0.0.1:10809" or "tcp:[::1]:10809"'
    )
    found.append(Problem(path=("server", "listen"), kind=Kind.VALUE, message=message))
    return None


def _unix(
    server: Table[ServerOptions], key: str, default: Path, found: list[Problem]
) -> Path | None:
    written, where = server.text(key), ("server", key)
    if written is None:
        path, name = default, f"the default socket, {default},"
    elif written.startswith("unix:") and written != "unix:":
        path = absolute(default.parent, written.removeprefix("unix:"))
        name = f"server.{key}, {path},"
    else:
        forms = '"unix:PATH" or "tcp:HOST:PORT"' if key == "listen" else '"unix:PATH"'
        message = f"server.{key}: {written!r} is not {forms}"
        found.append(Problem(path=where, kind=Kind.VALUE, message=message))
        return None
    size_bytes = len(os.fsencode(path))
    if size_bytes <= MAX_SOCKET_PATH_BYTES:
        return path
    message = (
        f"{name} has {size_bytes} bytes; a unix socket's path has "
        f'{MAX_SOCKET_PATH_BYTES} at most: set server.{key} = "unix:PATH" with a shorter one'
    )
    found.append(Problem(path=where, kind=Kind.VALUE, message=message))
    return None
