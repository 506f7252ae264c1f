"""``attach --serve``: addresses, and ports that are taken."""

import argparse
import asyncio
import socket
from pathlib import Path

import pytest

from blkrun.cli import Exit, browser, main
from blkrun.cli.browser import ANYWHERE, WebAddress, listen, serve_to_browsers, web_address
from blkrun.errors import BlkrunError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("localhost:9000", "127.0.0.1", 9000),
        ("9000", "127.0.0.1", 9000),
        (":9000", "127.0.0.1", 9000),
        ("127.0.0.2", "127.0.0.2", 0),
        ("::1", "::1", 0),
        ("[::1]:9000", "::1", 9000),
        ("[::1]", "::1", 0),
    ],
)
def test_addresses_of_this_machine(text: str, host: str, port: int) -> None:
    """With a port or without; port 0 is for us to choose."""
    assert web_address(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0:8000", "use: ssh -L 8000:127.0.0.1:8000"),
        ("192.0.2.1", "use: ssh -L 8000:"),
        ("[::]:9000", "use: ssh -L 9000:"),
        ("vm.toml", "FILE comes first"),
        ("example.org:80", "no HOST:PORT"),
        ("127.0.0.1:http", "no HOST:PORT"),
        ("127.0.0.1:65536", "no port: 65536"),
    ],
)
def test_other_addresses_are_wrong_usage(
    text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others would see it unencrypted: it says what to use for that."""
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        web_address(text)
    assert why in str(refused.value)
    with pytest.raises(SystemExit) as ended:
        main(["attach", "vm.toml", "--serve", text])
    assert ended.value.code == Exit.USAGE
    assert "argument --serve: " in capsys.readouterr().err


def test_a_port_that_was_asked_for_is_that_or_none() -> None:
    """Taken, or not for us: it says which and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            BlkrunError, match=rf"^cannot serve 127\.0\.0\.1 port {port}: Address already in use$"
        ):
            listen(WebAddress("127.0.0.1", port))


def test_without_one_the_next_free_port_is_taken() -> None:
    """From 8000 on; two of them get two."""
    with listen(ANYWHERE) as first, listen(ANYWHERE) as second:
        ports = [each.getsockname()[1] for each in (first, second)]
        assert 8000 <= ports[0] < ports[1]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words to install it, and no port is taken."""
    monkeypatch.setattr(browser, "find_spec", lambda name: None)
    with pytest.raises(BlkrunError, match=r"pip install 'blkrun\[web\]'$"):
        asyncio.run(serve_to_browsers(Path("vm.toml"), ANYWHERE, read_only=False))
