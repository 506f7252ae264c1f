"""``blkrun attach FILE --serve``: where browsers find the dashboard, and for how long."""

import argparse
import asyncio
import errno
import os
import signal
import socket
import sys
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from blkrun.cli.output import console
from blkrun.errors import BlkrunError

_WEB_DRIVER = "textual.drivers.web_driver:WebDriver"
_PORTS = range(8000, 8100)


class WebAddress(NamedTuple):
    """Port 0: the first one from 8000 on that is free."""

    host: str
    port: int


ANYWHERE = WebAddress("127.0.0.1", 0)


def web_address(text: str) -> WebAddress:
    """HOST:PORT, HOST or PORT, of this machine only.  Raises ArgumentTypeError."""
    host, port = _parts(text)
    host = "127.0.0.1" if host in ("", "localhost") else host
    try:
        number, own = int(port), ip_address(host).is_loopback
    except ValueError:
        raise argparse.ArgumentTypeError(f'no HOST:PORT: "{text}" (FILE comes first)') from None
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"no port: {port}")
    if not own:
        tunnel = f"ssh -L {number or 8000}:127.0.0.1:{number or 8000}"
        raise argparse.ArgumentTypeError(
            f"{host} would show it to others, unencrypted; serve 127.0.0.1, and from elsewhere "
            f"use: {tunnel}"
        )
    return WebAddress(host, number)


def _parts(text: str) -> tuple[str, str]:
    """Host and port, "0" where it is left to us."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or "0"
    if text.isdecimal():
        return "", text
    host, _, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    return host, port or "0"


def is_for_a_browser() -> bool:
    """Whether this process draws for textual-serve, which speaks with it through pipes."""
    return os.environ.get("TEXTUAL_DRIVER") == _WEB_DRIVER


def closing_with_the_browser() -> asyncio.Event:
    """Set when nobody reads what is drawn, also where who served it was killed."""
    closing, loop, output = asyncio.Event(), asyncio.get_running_loop(), 1

    def note() -> None:
        loop.remove_reader(output)
        closing.set()

    loop.add_reader(output, note)  # nothing can be read: it is the other end that has gone
    return closing


async def serve_to_browsers(file: Path, address: WebAddress, *, read_only: bool) -> None:
    """Until a signal; each browser is shown a ``blkrun attach`` of its own."""
    if find_spec("textual_serve") is None:
        raise BlkrunError("no dashboard in a browser: pip install 'blkrun[web]'")
    from blkrun.dashboard.web import serve  # noqa: PLC0415 - for those who serve

    closing = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, closing.set)
    with listen(address) as listening:
        await serve(
            _command(file, read_only=read_only),
            listening,
            title=file.name,
            ready=lambda url: console().print(f"{file.name}: {url} (Ctrl-C ends it)"),
            closing=closing,
        )


def _command(file: Path, *, read_only: bool) -> list[str]:
    """The path begins with a slash: it is no option, whatever the file is called."""
    options = ["--read-only"] if read_only else []
    return [sys.executable, "-m", "blkrun", "attach", str(file.absolute()), *options]


def listen(address: WebAddress) -> socket.socket:
    """The port that was asked for, or one that is free."""
    for port in (address.port,) if address.port else (*_PORTS, 0):
        try:
            return _listen(address.host, port)
        except OSError as error:
            if address.port or error.errno != errno.EADDRINUSE:
                raise BlkrunError(
                    f"cannot serve {address.host} port {port}: {os.strerror(error.errno or 0)}"
                ) from error
    raise AssertionError("any port would have done")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
