"""The edges of what NBD allows: requests too large or empty, disks of odd sizes, gibibytes at once.

And what arrives at the bottom of a chain, as a server there writes it down.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbd
import pytest

from tests.live.nbd_client import Wire, connect, errno_of, extents, noise
from tests.live.service import Service, tool

Serve = Callable[[str], Service]

MIB = 2**20
LARGEST = 64 * MIB
"""The most that nbdkit takes in a read or a write; what clients are told is 32 MiB."""


@pytest.fixture
def wire(serve: Serve) -> Iterator[Callable[[], Wire]]:
    """Connections by hand to a disk of a gibibyte."""
    service = serve('[backends.d]\ndriver="null"\nsize="1GiB"\n[exports.vda]\nnode="d"\n')
    open_ones: list[Wire] = []

    def make() -> Wire:
        open_ones.append(Wire(service.socket, "vda"))
        return open_ones[-1]

    yield make
    for each in open_ones:
        each.close()


READ, WRITE, ENOMEM, EINVAL = 0, 1, 12, 22


def test_requests_that_are_too_large(wire: Callable[[], Wire]) -> None:
    """Above 64 MiB a read or write is refused with ENOMEM, and the connection goes on."""
    client = wire()
    assert client.ask(READ, LARGEST, 0) == 0
    assert client.ask(WRITE, LARGEST, 0, bytes(LARGEST)) == 0
    for count in (LARGEST + 1, 2 * LARGEST):
        assert client.ask(READ, count, 0) == ENOMEM
        assert client.ask(WRITE, count, 0, bytes(count)) == ENOMEM
        assert client.ask(READ, 512, 0) == 0
    assert client.ask(READ, 2**30, 0) == ENOMEM
    assert client.ask(READ, 512, 0) == 0


def test_a_write_too_large_to_skip_ends_its_own_connection(wire: Callable[[], Wire]) -> None:
    """Nobody else's: others read on."""
    other, client = wire(), wire()
    count = 2 * LARGEST + 1
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        client.ask(WRITE, count, 0, bytes(count))
    assert other.ask(READ, 512, 0) == 0


def test_what_is_no_request_is_refused(wire: Callable[[], Wire]) -> None:
    """Unknown commands and flags are EINVAL, and the connection goes on."""
    client = wire()
    assert client.ask(77, 512, 0) == EINVAL
    assert client.ask(READ, 512, 0, flags=0x4000) == EINVAL
    assert client.ask(READ, 512, 0) == 0


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 65_537])
def test_disks_of_odd_sizes(serve: Serve, size: int) -> None:
    """A disk has the size it has, to the byte, and all of it can be used."""
    service = serve(
        f"""
        [backends.memory]
        driver = "memory"
        size = {size}
        [backends.file]
        driver = "file"
        path = "disk.img"
        size = {size}
        create = true
        [nodes.raw]
        driver = "raw"
        file = "wider"
        offset = 3
        size = {size}
        [backends.wider]
        driver = "memory"
        size = {size + 10}
        """
        + "".join(f'[exports.{name}]\nnode="{name}"\n' for name in ("memory", "file", "raw"))
    )
    for name in ("memory", "file", "raw"):
        uri = service.uri(name)
        assert tool("nbdinfo", "--size", uri).strip() == str(size)
        handle = connect(uri, strict=False)
        handle.flush()
        assert errno_of(handle.pread, 1, size) == "EINVAL"
        if size:
            data = noise(size, size)
            handle.pwrite(data, 0)
            assert bytes(handle.pread(size, 0)) == data
            assert sum(length for _, length, _ in extents(handle, size, 0)) == size
            handle.zero(1, size - 1)
            assert bytes(handle.pread(size, 0)) == data[:-1] + b"\0"
        handle.shutdown()
    assert (service.file.parent / "disk.img").stat().st_size == size


@pytest.mark.parametrize("flags", [0, nbd.CMD_FLAG_NO_HOLE])
def test_slow_zeroes_are_refused_when_they_have_to_be_fast(serve: Serve, flags: int) -> None:
    """Where zeroes have to be written, by a server below that has none, ENOTSUP says so."""
    service = serve(
        """
        [backends.d]
        driver = "nbd"
        command = ["nbdkit", "--filter=nozero", "memory", "1M"]
        [exports.vda]
        node = "d"
        """
    )
    handle = connect(service.uri())
    handle.pwrite(b"x" * 4096, 0)
    assert errno_of(handle.zero, 4096, 0, flags | nbd.CMD_FLAG_FAST_ZERO) == "ENOTSUP"
    assert bytes(handle.pread(4096, 0)) == b"x" * 4096
    handle.zero(4096, 0, flags)
    assert bytes(handle.pread(4096, 0)) == bytes(4096)
    handle.shutdown()


def test_lengths_of_gibibytes(serve: Serve) -> None:
    """NBD's count has 32 bits, and all of them arrive: zero, trim, cache and extents."""
    service = serve(
        """
        [backends.memory]
        driver = "memory"
        size = "6GiB"
        [backends.file]
        driver = "file"
        path = "disk.img"
        size = "6GiB"
        create = true
        [nodes.raw]
        driver = "raw"
        file = "file"
        offset = "1KiB"
        [backends.nbd]
        driver = "nbd"
        command = ["nbdkit", "memory", "6G"]
        [exports.memory]
        node = "memory"
        [exports.raw]
        node = "raw"
        [exports.nbd]
        node = "nbd"
        """
    )
    most, hole = 2**32 - 1, nbd.STATE_HOLE | nbd.STATE_ZERO
    for name in ("memory", "raw", "nbd"):
        handle = connect(service.uri(name))
        for empty in (handle.zero, handle.trim):
            for offset in (0, 2**31 - 5, most + 5, most + 6):
                handle.pwrite(b"x" * 10, offset)
            empty(most, 6)
            assert bytes(handle.pread(10, 0)) == b"xxxxxx\0\0\0\0"
            assert bytes(handle.pread(10, 2**31 - 5)) == bytes(10)
            assert bytes(handle.pread(3, most + 4)) == b"\0\0x"
        handle.cache(most, 0)
        answer = extents(handle, most, MIB)
        assert answer[0][0] == MIB
        assert answer[-1][2] == hole
        handle.shutdown()


def test_a_request_for_nothing_is_refused(serve: Serve) -> None:
    """What a length of 0 means is not NBD's to say: the client hears of it and may go on."""
    service = serve('[backends.d]\ndriver="memory"\nsize="1MiB"\n[exports.vda]\nnode="d"\n')
    handle = connect(service.uri(), strict=False)
    refused = [
        errno_of(handle.pread, 0, 0),
        errno_of(handle.pwrite, b"", 0),
        errno_of(handle.zero, 0, 0),
        errno_of(handle.trim, 0, 0),
    ]
    assert refused == ["EINVAL", "ENOSPC", "ENOSPC", "EINVAL"]
    assert len(handle.pread(1, 0)) == 1
    handle.shutdown()


# What arrives below


LOGGED = """
[throttle-groups.wide]
iops-total = 1_000_000

[backends.below]
driver  = "nbd"
command = ["nbdkit", "--filter=log", "memory", "1M", "logfile={log}"]

[nodes.low]
driver         = "throttle"
file           = "below"
throttle-group = "wide"

[nodes.window]
driver = "raw"
file   = "low"
offset = 1000

[nodes.top]
driver         = "throttle"
file           = "window"
throttle-group = "wide"

[exports.vda]
node = "top"
"""


def logged(service: Service) -> list[str]:
    """What the server below has been asked, in order: the words before the replies."""
    lines = (service.file.parent / "log").read_text().splitlines()
    kinds = ("Read", "Write", "Zero", "Trim", "Flush", "Cache", "Extents")
    asked = []
    for line in lines:
        words = [word for word in line.split() if not word.startswith(("connection=", "id="))]
        for kind in kinds:
            if kind in words:
                rest = words[words.index(kind) + 1 :]
                asked.append(" ".join([kind, *(word for word in rest if word != "...")]))
    return asked


@pytest.fixture
def with_log(serve: Serve, tmp_path: Path) -> Service:
    """Throttle over a window over throttle over a server that writes down what it is asked."""
    return serve(LOGGED.format(log=tmp_path / "run0" / "log"))


def test_requests_and_flags_arrive_below_as_they_were_sent(with_log: Service) -> None:
    """Each once, in order, moved by the window's offset, with FUA, NO_HOLE and FAST_ZERO."""
    handle = connect(with_log.uri())
    before = len(logged(with_log))
    handle.pread(512, 0)
    handle.pwrite(bytes(511), 1)
    handle.pwrite(bytes(512), 512, nbd.CMD_FLAG_FUA)
    handle.zero(512, 1024)
    handle.zero(512, 1024, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
    handle.zero(512, 1024, nbd.CMD_FLAG_FAST_ZERO)
    handle.trim(512, 2048)
    handle.trim(512, 2048, nbd.CMD_FLAG_FUA)
    handle.flush()
    handle.cache(512, 0)
    extents(handle, 512, 0)
    extents(handle, 512, 0, nbd.CMD_FLAG_REQ_ONE)
    handle.shutdown()
    assert logged(with_log)[before:] == [
        "Read offset=0x3e8 count=0x200",
        "Write offset=0x3e9 count=0x1ff fua=0",
        "Write offset=0x5e8 count=0x200 fua=1",
        "Zero offset=0x7e8 count=0x200 trim=1 fua=0 fast=0",
        "Zero offset=0x7e8 count=0x200 trim=0 fua=1 fast=0",
        "Zero offset=0x7e8 count=0x200 trim=1 fua=0 fast=1",
        "Trim offset=0xbe8 count=0x200 fua=0",
        "Trim offset=0xbe8 count=0x200 fua=1",
        "Flush",
        "Cache offset=0x3e8 count=0x200",
        "Extents offset=0x3e8 count=0x200 req_one=0",
        "Extents offset=0x3e8 count=0x200 req_one=1",
    ]


def test_a_flush_covers_all_connections(with_log: Service) -> None:
    """Multi-conn: what one connection was told is written, a flush on another makes durable."""
    clients = [connect(with_log.uri()) for _ in range(3)]
    assert all(client.can_multi_conn() for client in clients)
    for number, client in enumerate(clients):
        client.pwrite(noise(512, number), number * 512)
        for other in clients:
            assert bytes(other.pread(512, number * 512)) == noise(512, number)
    before = len(logged(with_log))
    clients[2].flush()
    assert logged(with_log)[before:] == ["Flush"]
    for client in clients:
        client.shutdown()
