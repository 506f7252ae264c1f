"""Where the server listens, as the file says it."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.model import ServerAddress

FILE = Path("/lab/vm.v2.toml")


def address(server: str, file: Path = FILE) -> ServerAddress:
    """The address that a [server] table gives."""
    return config.parse(f"[server]\n{server}\n", file).address


def complaints(server: str, file: Path = FILE) -> list[tuple[int, int, str]]:
    """What is wrong with a [server] table."""
    return [
        (each.line, each.column, each.message)
        for each in config.check(f"[server]\n{server}\n", file)
    ]


def test_defaults_stand_beside_the_file() -> None:
    """Named after the file without its last suffix."""
    assert address("") == ServerAddress(
        control=Path("/lab/vm.v2.qmp"), unix=Path("/lab/vm.v2.sock"), tcp=None
    )


def test_paths_are_relative_to_the_file() -> None:
    """And lose their dots; absolute ones stay."""
    given = address('listen = "unix:run/../a.sock"\ncontrol = "unix:/run/a.qmp"')
    assert (given.unix, given.control) == (Path("/lab/a.sock"), Path("/run/a.qmp"))


@pytest.mark.parametrize(
    ("written", "tcp"),
    [
        ("tcp:127.0.0.1:10809", ("127.0.0.1", 10809)),
        ("tcp:disks.example:1", ("disks.example", 1)),
        ("tcp:[::1]:65535", ("[::1]", 65535)),
    ],
)
def test_tcp(written: str, tcp: tuple[str, int]) -> None:
    """Host and port; an IPv6 address keeps the brackets that a URI needs."""
    given = address(f'listen = "{written}"')
    assert (given.tcp, given.unix, given.listen) == (tcp, None, written)


@pytest.mark.parametrize(
    "written",
    ["tcp:", "tcp:host", "tcp::10809", "tcp:host:0", "tcp:host:65536", "tcp:::1:10809", "tcp:h:1x"],
)
def test_wrong_tcp(written: str) -> None:
    """Anything else is refused with two forms that would be right."""
    ((line, column, message),) = complaints(f'listen = "{written}"')
    assert (line, column) == (2, 10)
    assert message.startswith(f"server.listen: '{written}' is not \"tcp:HOST:PORT\"")
    assert 'write "tcp:127.0.0.1:10809" or "tcp:[::1]:10809"' in message


@pytest.mark.parametrize("written", ["", "unix:", "/run/vm.sock", "udp:x:1"])
def test_wrong_listen(written: str) -> None:
    """What is neither form names both."""
    assert complaints(f'listen = "{written}"') == [
        (2, 10, f'server.listen: \'{written}\' is not "unix:PATH" or "tcp:HOST:PORT"')
    ]


def test_control_is_a_unix_socket() -> None:
    """The socket's mode guards it, so it cannot be TCP."""
    assert complaints('control = "tcp:127.0.0.1:1"') == [
        (2, 11, "server.control: 'tcp:127.0.0.1:1' is not \"unix:PATH\"")
    ]


def test_unix_path_length() -> None:
    """107 bytes fit in sockaddr_un, 108 do not, counted after making the path absolute."""
    longest = "é" * 51  # two bytes each, after "/lab/"
    assert len(str(address(f'listen = "unix:{longest}"').unix).encode()) == 107
    assert complaints(f'listen = "unix:{longest}x"') == [
        (
            2,
            10,
            (
                f"server.listen, /lab/{longest}x, has 108 bytes; a unix socket's path has 107 at "
                'most: set server.listen = "unix:PATH" with a shorter one'
            ),
        )
    ]


def test_default_path_too_long() -> None:
    """A file deep down cannot have its sockets beside it: said at [server], or of the file."""
    file = Path("/") / ("d" * 110) / "vm.toml"
    assert [place for *place, _ in complaints("threads = 2", file)] == [[1, 1], [1, 1]]
    diagnostics = config.check("[runner]\n", file)
    assert [each.line for each in diagnostics] == [0, 0]
    assert 'set server.listen = "unix:PATH"' in diagnostics[0].message


def test_one_socket_for_both() -> None:
    """NBD and QMP cannot share a socket."""
    ((line, column, message),) = complaints('listen = "unix:a"\ncontrol = "unix:./a"')
    assert (line, column) == (3, 11)
    assert message == "server.control and server.listen are one socket, /lab/a: they need two"
