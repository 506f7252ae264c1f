"""What NBD clients see: names, sizes, data, errors, with the tools that people use."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.live.hammering import Hammer
from tests.live.service import DISK, Service, tool, wait_for

Serve = Callable[[str], Service]

TWO = """
[backends.a]
driver = "memory"
size   = "1MiB"

[backends.b]
driver    = "memory"
size      = "2MiB"
read-only = true

[exports.vda]
node        = "a"
description = "the first"

[exports.vdb]
node      = "b"
read-only = true
"""


def test_several_exports_are_listed(serve: Serve) -> None:
    """The list that nbdinfo --list gives shows every export with size and description."""
    service = serve(TWO)
    listed = tool("nbdinfo", "--list", service.uri(""))
    assert 'export="vda"' in listed
    assert "description: the first" in listed
    assert 'export="vdb"' in listed
    assert "2097152" in listed


def test_the_only_export_is_the_default(serve: Serve) -> None:
    """A client that names no export gets the one there is."""
    service = serve(DISK)
    assert "67108864" in tool("nbdinfo", service.uri(""))


def test_with_two_exports_there_is_no_default(serve: Serve) -> None:
    """A client that names none of two is refused, as is one that names none there is."""
    service = serve(TWO)
    for name in ("", "nobody"):
        done = subprocess.run(
            ["nbdinfo", "--size", service.uri(name)], capture_output=True, check=False, timeout=20
        )
        assert done.returncode != 0


def test_a_read_only_export_refuses_writes(serve: Serve) -> None:
    """Read-only is negotiated, so the client knows before it tries."""
    service = serve(TWO)
    assert "is_read_only: true" in tool("nbdinfo", service.uri("vdb"))


def test_qemu_io_round_trip(serve: Serve) -> None:
    """Patterns, zeroes, discard and flush by qemu-io."""
    service = serve(DISK)
    tool(
        "qemu-io",
        "-f",
        "raw",
        *("-c", "write -P 0x41 1000 300000"),
        *("-c", "write -f -P 0x42 70000 512"),
        *("-c", "write -z 1M 1M"),
        *("-c", "discard 4M 1M"),
        *("-c", "flush"),
        *("-c", "read -P 0x41 1000 69000"),
        *("-c", "read -P 0x42 70000 512"),
        *("-c", "read -P 0 1M 1M"),
        service.uri(),
    )


def test_nbdcopy_and_compare(serve: Serve, tmp_path: Path) -> None:
    """An image copied in and out is the same to the byte, and its holes stay holes."""
    source, back = tmp_path / "source.img", tmp_path / "back.img"
    source.write_bytes(bytes(2**20) + bytes(range(256)) * 4096 + bytes(62 * 2**20))
    service = serve(DISK)
    tool("nbdcopy", str(source), service.uri())
    tool("nbdcopy", service.uri(), str(back))
    assert back.read_bytes() == source.read_bytes()
    mapped = tool("nbdinfo", "--map", "--totals", service.uri())
    assert "hole,zero" in mapped
    assert "1048576" in mapped


def test_qemu_img_sees_the_disk(serve: Serve) -> None:
    """qemu-img info and compare work on an export."""
    service = serve(DISK)
    assert "64 MiB" in tool("qemu-img", "info", service.uri())
    assert "identical" in tool("qemu-img", "compare", service.uri(), service.uri())


def test_fio_verifies(serve: Serve) -> None:
    """The nbd engine of fio writes with checksums and reads them back, four jobs at once."""
    service = serve(DISK)
    tool(
        "fio",
        "--name=verify",
        "--ioengine=nbd",
        f"--uri={service.uri()}",
        "--rw=randwrite",
        "--bs=4k",
        "--size=4M",
        "--iodepth=16",
        "--verify=crc32c",
        "--verify_state_save=0",
        "--do_verify=1",
        "--numjobs=4",
        "--offset_increment=4M",
    )


def test_errno_reaches_the_client(serve: Serve) -> None:
    """ENOSPC from far below, through two filters and a raw node, is ENOSPC to the client."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    service = serve(
        """
        [throttle-groups.g]
        [backends.full]
        driver = "nbd"
        command = ["nbdkit", "--filter=error", "memory", "1M", "error=ENOSPC",
                   "error-pwrite-rate=100%"]
        [nodes.part]
        driver = "raw"
        file = "full"
        offset = "64KiB"
        [nodes.t]
        driver = "throttle"
        throttle-group = "g"
        file = "part"
        [exports.vda]
        node = "t"
        """
    )
    handle = nbd.NBD()
    handle.connect_uri(service.uri())
    with pytest.raises(nbd.Error) as raised:
        handle.pwrite(b"x" * 512, 0)
    assert raised.value.errno == "ENOSPC"
    assert handle.pread(512, 0) == bytes(512)
    handle.shutdown()
    export = service.graph()["exports"][0]["stats"]
    assert (export["failed_wr_operations"], export["rd_operations"]) == (1, 1)


def test_statistics_equal_what_clients_sent(serve: Serve) -> None:
    """Export, filter and backend count the same operations and bytes that fio says it did."""
    service = serve(
        DISK.replace('node = "disk"', 'node = "t"')
        + '[throttle-groups.g]\n[nodes.t]\ndriver="throttle"\nthrottle-group="g"\nfile="disk"\n'
    )
    tool(
        "fio",
        "--name=count",
        "--ioengine=nbd",
        f"--uri={service.uri()}",
        "--rw=randrw",
        "--rwmixread=50",
        "--bs=4k",
        "--size=8M",
        "--iodepth=16",
        "--numjobs=3",
    )
    graph = service.graph()
    counted = [graph["exports"][0], *graph["nodes"]]
    for each in counted:
        stats = each["stats"]
        assert stats["rd_operations"] + stats["wr_operations"] == 3 * 8 * 2**20 // 4096
        assert stats["rd_bytes"] + stats["wr_bytes"] == 3 * 8 * 2**20
        assert each["in-flight"] == 0


def test_the_image_is_locked(serve: Serve) -> None:
    """A second writer, ours or QEMU's, is told that the image is in use."""
    service = serve('[backends.d]\ndriver="null"\n[exports.d]\nnode="d"\n')
    image = service.file.parent / "disk.img"
    file = f'[backends.disk]\ndriver="file"\npath="{image}"\nsize="1MiB"\ncreate=true\n'
    service.edit_and_wait(f'{file}[exports.vda]\nnode="disk"\n')

    qemu = subprocess.run(
        ["qemu-io", "-f", "raw", "-c", "write 0 512", str(image)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert 'Failed to get "write" lock' in qemu.stderr + qemu.stdout
    other = serve('[backends.d]\ndriver="null"\n[exports.d]\nnode="d"\n')
    report = other.edit_and_wait(f'{file}[exports.vda]\nnode="disk"\n')
    assert report["event"] == "X_BLKRUN_CONFIG_FAILED"
    assert 'Failed to get "write" lock' in report["data"]["message"]
    assert "vm.toml:1: [backends.disk]" in report["data"]["message"]
    assert set(other.live().exports) == {"d"}


def test_a_client_is_known_by_its_process(serve: Serve, hammer: Callable[[str], Hammer]) -> None:
    """Over a unix socket: number, user and name, for who watches."""
    service = serve(DISK)
    process = hammer(service.uri()).process

    def peers() -> list[dict[str, Any]]:
        return [client["peer"] for client in service.graph()["exports"][0]["clients"]]

    (peer, *_) = wait_for(peers, "a client")
    name = Path(f"/proc/{process.pid}/comm").read_text().strip()
    assert peer == {"pid": process.pid, "uid": os.getuid(), "process": name}
