"""What NBD promises its clients: one server, an export for each driver, asked over the wire."""

import json
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.service import Service, tool

MIB = 2**20
SIZE = 40 * MIB + 777
"""Room for the largest request at both ends, and a tail that no power of two divides."""

SHIFT = 12345
"""Where the raw node's window begins: no boundary of anything."""

END = -1
"""An offset that stands for "the range ends with the disk"."""

FUA, NO_HOLE, FAST_ZERO = 1, 2, 16

EXPORTS = ("file", "memory", "nbd", "null", "raw", "throttle")
STORING = tuple(name for name in EXPORTS if name != "null")
ON_FILES = {"file": 0, "raw": SHIFT, "throttle": 0}
"""Exports whose bytes are those of an image, and where in it they begin."""

ERRNOS = ("EPERM", "EIO", "ENOMEM", "EINVAL", "ENOSPC", "ESHUTDOWN")
"""What an NBD error can say (apart from what only single requests can fail with)."""

GRAPH = f"""
[throttle-groups.wide]
iops-total = 1000000
bps-total  = "1TiB"

[backends.file]
driver = "file"
path   = "file.img"
size   = {SIZE}
create = true

[backends.under-raw]
driver = "file"
path   = "raw.img"
size   = {SHIFT + SIZE + 500}
create = true

[backends.under-throttle]
driver = "file"
path   = "throttle.img"
size   = {SIZE}
create = true

[backends.memory]
driver = "memory"
size   = {SIZE}

[backends.null]
driver = "null"
size   = {SIZE}

[backends.nbd]
driver  = "nbd"
command = ["nbdkit", "memory", "{SIZE}"]

[nodes.raw]
driver = "raw"
file   = "under-raw"
offset = {SHIFT}
size   = {SIZE}

[nodes.throttle]
driver         = "throttle"
throttle-group = "wide"
file           = "under-throttle"

[backends.huge]
driver = "memory"
size   = "100MiB"

[exports.huge]
node = "huge"

[backends.coarse]
driver  = "nbd"
command = ["nbdkit", "--filter=blocksize-policy", "memory", "1M", "blocksize-preferred=64K"]

[exports.coarse]
node       = "coarse"
iops-total = 1000000

[exports.readonly]
node      = "file"
read-only = true
""" + "".join(f'[exports.{name}]\nnode = "{name}"\n' for name in EXPORTS)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The server that all tests here share."""
    found = Service(tmp_path_factory.mktemp("semantics"), GRAPH)
    try:
        found.start()
        yield found
    finally:
        found.end()


@contextmanager
def client(service: Service, export: str) -> Iterator[Any]:
    """A libnbd handle that sends whatever it is told to; the server has to be the judge."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    handle = nbd.NBD()
    handle.set_strict_mode(0)
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.connect_uri(service.uri(export))
    try:
        yield handle
    finally:
        handle.shutdown()


def image(service: Service, export: str) -> Path:
    """The image of one of ``ON_FILES``."""
    return service.file.with_name(f"{export}.img")


def refusal(call: Callable[..., object], *arguments: object) -> str | None:
    """The name of the error the server answers with; None if it does what it is asked."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    try:
        call(*arguments)
    except nbd.Error as error:
        return str(error.errno)
    return None


def pattern(count: int, seed: int) -> bytes:
    """Data without a zero byte."""
    unit = bytes((seed * 37 + i * 7) % 255 + 1 for i in range(251))
    return (unit * (count // 251 + 1))[:count]


def extents(handle: Any, count: int, offset: int) -> list[tuple[int, int, int]]:
    """One answer to block status: (offset, length, bits), neighbours of one kind joined."""
    found: list[tuple[int, int, int]] = []

    def add(_: str, at: int, entries: list[int], _error: object) -> int:
        for length, bits in zip(entries[::2], entries[1::2], strict=True):
            found.append((at, length, bits))
            at += length
        return 0

    handle.block_status(count, offset, add)
    return found


def joined(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Neighbours of one kind as one."""
    result: list[tuple[int, int, int]] = []
    for offset, length, bits in found:
        if result and result[-1][2] == bits:
            first, so_far, _ = result[-1]
            result[-1] = (first, so_far + length, bits)
        else:
            result.append((offset, length, bits))
    return result


def real_extents(path: Path, begin: int, end: int) -> list[tuple[int, int, int]]:
    """What the filesystem says of a part of an image, in offsets of that part."""
    found = []
    fd = os.open(path, os.O_RDONLY)
    try:
        at = begin
        while at < end:
            try:
                data = min(os.lseek(fd, at, os.SEEK_DATA), end)
            except OSError:  # ENXIO: no data from here on
                data = end
            hole = min(os.lseek(fd, data, os.SEEK_HOLE), end) if data < end else end
            found += [(at - begin, data - at, 3)] if data > at else []
            found += [(data - begin, hole - data, 0)] if hole > data else []
            at = hole
    finally:
        os.close(fd)
    return found


# Every request, everywhere


@pytest.mark.parametrize("length", [1, 2, 511, 4097, 65537, MIB + 1, 32 * MIB])
@pytest.mark.parametrize("export", EXPORTS)
def test_every_request_everywhere(service: Service, export: str, length: int) -> None:
    """A byte or 32 MiB, at odd places and at both ends: what is written or zeroed is read back."""
    stores = export != "null"
    with client(service, export) as handle:
        for offset in (0, 1, 4095, 5 * MIB + 3, END):
            offset = SIZE - length if offset == END else offset  # noqa: PLW2901 - made plain
            first, last = max(0, offset - 50), min(SIZE, offset + length + 50)
            handle.pwrite(pattern(last - first, 1), first)
            before = pattern(last - first, 1)[: offset - first]
            after = pattern(last - first, 1)[offset - first + length :]

            def holds(
                data: bytes, *, first: int = first, end: int = last, around: Any = (before, after)
            ) -> None:
                expected = around[0] + data + around[1] if stores else bytes(end - first)
                assert handle.pread(end - first, first) == expected

            for flags in (0, FUA):
                handle.pwrite(pattern(length, 2 + flags), offset, flags)
                holds(pattern(length, 2 + flags))
            for flags in (0, NO_HOLE, FUA, FUA | NO_HOLE):
                handle.pwrite(pattern(length, 4), offset)
                handle.zero(length, offset, flags)
                holds(bytes(length))
            handle.pwrite(pattern(length, 5), offset)
            handle.trim(length, offset, FUA)
            holds(bytes(length))
            handle.cache(length, offset)
            assert extents(handle, length, offset)[0][0] == offset
            handle.flush()


@pytest.mark.parametrize("export", EXPORTS)
def test_past_the_end(service: Service, export: str) -> None:
    """A request that goes past the end is refused whole, and the connection goes on."""
    with client(service, export) as handle:
        handle.pwrite(b"last", SIZE - 4)
        for offset, length in ((SIZE - 1, 2), (SIZE, 1), (SIZE + MIB, 512), (2**62, 512)):
            refused = {
                "read": refusal(handle.pread, length, offset),
                "write": refusal(handle.pwrite, b"x" * length, offset),
                "zero": refusal(handle.zero, length, offset),
                "trim": refusal(handle.trim, length, offset),
                "cache": refusal(handle.cache, length, offset),
                "extents": refusal(extents, handle, length, offset),
            }
            assert refused == dict.fromkeys(("read", "trim", "cache", "extents"), "EINVAL") | {
                "write": "ENOSPC",
                "zero": "ENOSPC",
            }
        assert handle.pread(4, SIZE - 4) == (b"last" if export != "null" else bytes(4))


@pytest.mark.parametrize("export", EXPORTS)
def test_zero_and_trim_of_the_whole_disk(service: Service, export: str) -> None:
    """Requests without a payload may be longer than any buffer."""
    with client(service, export) as handle:
        for request in (handle.zero, handle.trim):
            handle.pwrite(b"first", 0)
            handle.pwrite(b"last", SIZE - 4)
            request(SIZE, 0)
            assert handle.pread(5, 0) == bytes(5)
            assert handle.pread(4, SIZE - 4) == bytes(4)


@pytest.mark.parametrize("export", EXPORTS)
def test_what_is_announced(service: Service, export: str) -> None:
    """Clients are told that everything can be done, on every driver."""
    told = json.loads(tool("nbdinfo", "--json", service.uri(export)))["exports"][0]
    assert told["export-size"] == SIZE
    assert told["is_read_only"] is False
    can = ("cache", "df", "fast_zero", "flush", "fua", "multi_conn", "trim", "zero")
    assert {name: told[f"can_{name}"] for name in can} == dict.fromkeys(can, True)
    assert told["contexts"] == ["base:allocation"]


@pytest.mark.parametrize("export", EXPORTS)
def test_block_sizes(service: Service, export: str) -> None:
    """Any alignment is fine, the backend's block is preferred, 32 MiB is for everybody."""
    told = json.loads(tool("nbdinfo", "--json", service.uri(export)))["exports"][0]
    sizes = [told[f"block_size_{which}"] for which in ("minimum", "preferred", "maximum")]
    preferred = image(service, export).stat().st_blksize if export in ON_FILES else 4096
    assert sizes == [1, preferred, 32 * MIB]


def test_more_than_the_maximum(service: Service) -> None:
    """A client that does not heed the maximum is served as far as nbdkit goes, or told no."""
    with client(service, "huge") as handle:
        for length in (32 * MIB + 1, 64 * MIB):
            handle.pwrite(pattern(length, 1), 3)
            assert handle.pread(length, 3) == pattern(length, 1)
        assert refusal(handle.pread, 64 * MIB + 1, 3) is not None
        handle.zero(100 * MIB, 0)
        handle.trim(100 * MIB, 0)
    with client(service, "huge") as handle:
        assert handle.pread(512, 3) == bytes(512)


def test_preferred_block_of_a_remote_server(service: Service) -> None:
    """What the server of an nbd node prefers, its clients are told, through filters too."""
    told = json.loads(tool("nbdinfo", "--json", service.uri("coarse")))["exports"][0]
    assert told["block_size_preferred"] == 65536


def test_a_read_only_export(service: Service) -> None:
    """Said when the client connects; what would write is refused with EPERM all the same."""
    told = json.loads(tool("nbdinfo", "--json", service.uri("readonly")))["exports"][0]
    assert told["is_read_only"] is True
    assert (told["can_trim"], told["can_zero"], told["can_fast_zero"]) == (False, False, False)
    with client(service, "file") as writer, client(service, "readonly") as handle:
        writer.pwrite(b"kept", 100)
        assert refusal(handle.pwrite, b"lost", 100) == "EPERM"
        assert refusal(handle.zero, 4, 100) == "EPERM"
        assert refusal(handle.trim, 4, 100) == "EPERM"
        assert handle.pread(4, 100) == b"kept"
        handle.cache(4, 100)
        handle.flush()
        assert extents(handle, 4, 100)


# Zeroes


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("flags", [0, NO_HOLE])
def test_fast_zero(service: Service, export: str, flags: int) -> None:
    """Done, or refused with ENOTSUP and nothing touched; every driver here has some way."""
    data = pattern(3 * MIB, 1)
    with client(service, export) as handle:
        handle.pwrite(data, 1001)
        refused = refusal(handle.zero, len(data), 1001, flags | FAST_ZERO)
        assert refused in (None, "ENOTSUP")
        now = handle.pread(len(data), 1001)
        assert now == (data if refused and export != "null" else bytes(len(data)))


@pytest.mark.parametrize("export", ON_FILES)
def test_no_hole_keeps_the_space(service: Service, export: str) -> None:
    """NO_HOLE leaves the blocks with the file; without it, and by trim, they are given back."""
    path = image(service, export)
    with client(service, export) as handle:

        def blocks() -> int:
            handle.flush()
            return path.stat().st_blocks * 512

        handle.trim(SIZE, 0)
        empty = blocks()
        handle.pwrite(pattern(4 * MIB, 1), 100)
        full = blocks()
        assert full >= empty + 4 * MIB
        handle.zero(4 * MIB, 100, NO_HOLE)
        assert blocks() == full
        for free in (handle.zero, handle.trim):
            handle.pwrite(pattern(4 * MIB, 1), 100)
            free(4 * MIB, 100)
            assert blocks() <= empty + 3 * 4096
        handle.zero(MIB, 8 * MIB, NO_HOLE)
        assert blocks() >= empty + MIB


# Extents


@pytest.mark.parametrize("export", ON_FILES)
def test_the_map_is_the_files(service: Service, export: str) -> None:
    """``nbdinfo --map`` shows the image's own holes, to the byte, also in a window and through."""
    begin = ON_FILES[export]
    with client(service, export) as handle:
        handle.trim(SIZE, 0)
        for offset in (0, 3 * MIB, 7 * MIB + 5, SIZE - 1):
            handle.pwrite(b"data" * 5000 if offset < SIZE - 1 else b"d", offset)
        handle.flush()
    told = json.loads(tool("nbdinfo", "--map", "--json", service.uri(export)))
    mapped = joined([(each["offset"], each["length"], each["type"]) for each in told])
    real = real_extents(image(service, export), begin, begin + SIZE)
    assert mapped == real
    assert len(real) > 4


@pytest.mark.parametrize("export", ON_FILES)
def test_a_fragmented_image(service: Service, export: str) -> None:
    """Thousands of extents come over in pieces of any length, without a gap or a doubled byte."""
    begin = ON_FILES[export]
    with client(service, export) as handle:
        handle.trim(SIZE, 0)
        for offset in range(0, 4000 * 8192, 8192):
            handle.pwrite(b"d" * 4096, offset - begin % 4096 + 4096)
        handle.flush()
        real = real_extents(image(service, export), begin, begin + SIZE)
        assert len(real) > 7000
        for piece in (999_983, SIZE):
            found: list[tuple[int, int, int]] = []
            at = 0
            while at < SIZE:
                answer = extents(handle, min(piece, SIZE - at), at)
                assert answer[0][0] == at
                assert all(length for _, length, _ in answer)
                found += answer
                at = found[-1][0] + found[-1][1]
            assert joined(found) == real
        handle.trim(SIZE, 0)


# Several connections


@pytest.mark.parametrize("export", ON_FILES)
def test_flush_covers_other_connections(service: Service, export: str) -> None:
    """Written on one connection, seen on all and by other programs, flushed by any of them."""
    path, begin = image(service, export), ON_FILES[export]
    with client(service, export) as one, client(service, export) as other:
        for turn, (writer, flusher) in enumerate(((one, other), (other, one))):
            data = pattern(100_001, 7 + turn)
            writer.pwrite(data, 31_337)
            assert flusher.pread(len(data), 31_337) == data
            flusher.flush()
            with path.open("rb") as file:
                file.seek(begin + 31_337)
                assert file.read(len(data)) == data


@pytest.mark.parametrize("export", STORING)
def test_copied_by_several_connections(service: Service, export: str, tmp_path: Path) -> None:
    """nbdcopy, which uses as many connections as it may, brings an image in and out unchanged."""
    source, back = tmp_path / "source", tmp_path / "back"
    data = bytearray(SIZE)
    for at in range(0, SIZE - 70_000, 3 * MIB + 1):
        data[at : at + 65_537] = pattern(65_537, at % 250)
    source.write_bytes(data)
    tool("nbdcopy", "--connections=4", "--flush", str(source), service.uri(export))
    tool("nbdcopy", "--connections=4", service.uri(export), str(back))
    assert back.read_bytes() == data
    tool("qemu-img", "compare", "-f", "raw", "-F", "raw", str(source), service.uri(export))


@pytest.mark.parametrize("export", STORING)
def test_qemu_io(service: Service, export: str) -> None:
    """QEMU's client: odd writes, FUA, zeroes with and without unmap, discard, to the last byte."""
    last = SIZE - 513
    commands = (
        "write -P 1 0 1M",
        "write -f -P 2 3333 4444",
        "write -z 70000 7",
        "write -z -u 80000 8193",
        "discard 100k 64k",
        f"write -P 3 {last} 513",
        "flush",
        "read -P 1 0 3333",
        "read -P 2 3333 4444",
        "read -P 0 70000 7",
        "read -P 1 70007 9993",
        "read -P 0 80000 8193",
        f"read -P 3 {last} 513",
    )
    tool("qemu-io", "-f", "raw", *(w for c in commands for w in ("-c", c)), service.uri(export))


# Errors


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An export for each errno, that fails so in everything; through a raw node and a throttle."""
    text = "[throttle-groups.wide]\niops-total = 1000000\n"
    for name in ERRNOS:
        text += f"""
        [backends.{name}]
        driver = "nbd"
        command = ["nbdkit", "--filter=error", "memory", "1M", "error={name}", "error-rate=100%"]
        [nodes.raw-{name}]
        driver = "raw"
        file   = "{name}"
        offset = 1000
        [nodes.t-{name}]
        driver         = "throttle"
        throttle-group = "wide"
        file           = "raw-{name}"
        [exports.{name}]
        node = "t-{name}"
        """
    found = Service(tmp_path_factory.mktemp("failing"), text)
    try:
        found.start()
        yield found
    finally:
        found.end()


@pytest.mark.parametrize("name", ERRNOS)
def test_errno_is_the_backends(failing: Service, name: str) -> None:
    """Whatever NBD can say goes from a backend to the client as it is, for every request."""
    with client(failing, name) as handle:
        for _ in range(2):
            assert refusal(handle.pread, 512, 0) == name
            assert refusal(handle.pwrite, b"x" * 512, 0) == name
            assert refusal(handle.zero, 512, 0) == name
            assert refusal(handle.zero, 512, 0, FAST_ZERO) == name
            assert refusal(handle.trim, 512, 0) == name
            assert refusal(extents, handle, 512, 0) == name
        handle.flush()


def test_a_file_that_may_not_grow(service: Service) -> None:
    """EFBIG of a file over the process's limit is NBD's ENOSPC, and does not kill the server."""
    pid = service.server_pid()
    with client(service, "file") as handle:
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (10 * MIB, resource.RLIM_INFINITY))
        try:
            assert refusal(handle.pwrite, b"x" * 512, 20 * MIB) == "ENOSPC"
            assert refusal(handle.pwrite, b"x" * 512, 20 * MIB, FUA) == "ENOSPC"
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        handle.pwrite(b"x" * 512, 20 * MIB)
        assert handle.pread(512, 20 * MIB) == b"x" * 512


def test_an_image_that_shrank(service: Service) -> None:
    """What a cut image has lost is EIO to read and no zeroes; the rest, and a grown one, work."""
    path = image(service, "throttle")
    with client(service, "throttle") as handle:
        handle.pwrite(b"a" * 512, 0)
        os.truncate(path, MIB)
        assert handle.pread(512, 0) == b"a" * 512
        assert refusal(handle.pread, 512, MIB - 1) == "EIO"
        assert refusal(handle.pread, 512, 2 * MIB) == "EIO"
        assert joined(extents(handle, SIZE, 0))[-1][2] == 0, "lost bytes are told to be zeroes"
        os.truncate(path, SIZE + 5)
        assert handle.pread(512, SIZE - 512) == bytes(512)
        assert refusal(handle.pread, 1, SIZE) == "EINVAL"
        os.truncate(path, SIZE)


def test_nothing_is_left_under_way(service: Service) -> None:
    """After all that every node and export is at rest, and the log has no traceback."""
    graph = service.graph()
    assert {each["in-flight"] for each in (*graph["nodes"], *graph["exports"])} == {0}
    assert not re.search("Traceback|AssertionError", service.said())
