"""What is compared: commands and configurations that hold what their names say."""

from pathlib import Path

import pytest

from blkrun.config import load
from blkrun.options import Qcow2Options, ThrottleOptions
from tests.bench.place import QCOW2 as QCOW2_IMAGE
from tests.bench.place import BenchError, Room
from tests.bench.process import parse_cpu_s
from tests.bench.servers import (
    CHAINS,
    FILE,
    QCOW2,
    QCOW2_QEMU,
    THROTTLE,
    THROTTLE_FAR,
    all_servers,
    chain,
    qcow2_disk,
)
from tests.bench.stats_call import NODES, crowd


@pytest.mark.parametrize("filters", [0, 1, 3, 6])
def test_a_chain_is_as_long_as_it_says(tmp_path: Path, filters: int) -> None:
    """So many throttles between the export and the file."""
    path = tmp_path / "bench.toml"
    path.write_text(chain(filters))
    graph = load(path).graph
    below = graph.exports["vda"].node
    for _ in range(filters):
        node = graph.nodes[below]
        assert isinstance(node, ThrottleOptions)
        below = node.file
    assert below == "disk"
    assert len(graph.nodes) == filters + 1


def test_a_hundred_nodes(tmp_path: Path) -> None:
    """The configuration is valid, and its size is what the row says."""
    path = tmp_path / "bench.toml"
    path.write_text(crowd())
    assert len(load(path).graph.nodes) == NODES


def test_every_server_has_a_command(tmp_path: Path) -> None:
    """Each serves the room's own socket, and titles tell rows apart."""
    servers = all_servers()
    assert len({server.title for server in servers}) == len(servers) == 13
    for server in servers:
        text = " ".join(server.command(Room(tmp_path)))
        assert str(tmp_path) in text


def test_blkruns_rows() -> None:
    """File alone, one throttle without and with limits, chains; qcow2."""
    ours = {server.name for server in all_servers() if server.name.startswith("blkrun")}
    assert ours == {FILE, THROTTLE, THROTTLE_FAR, *CHAINS.values(), QCOW2}


def test_qcow2_is_over_a_file_with_default_caches(tmp_path: Path) -> None:
    """On both sides nothing is said of caches, and a raw image is served by none of them."""
    path = tmp_path / "bench.toml"
    path.write_text(qcow2_disk())
    graph = load(path).graph
    node = graph.nodes[graph.exports["vda"].node]
    assert isinstance(node, Qcow2Options)
    assert (node.file, node.cache_size, node.l2_cache_size) == ("disk", None, None)
    servers = {server.name: server for server in all_servers() if server.fits(QCOW2_IMAGE)}
    assert set(servers) == {QCOW2, *QCOW2_QEMU}
    for name in QCOW2_QEMU:
        command = " ".join(servers[name].command(Room(tmp_path)))
        assert "driver=qcow2,node-name=disk,file=protocol" in command
        assert "cache" not in command


def test_another_checkout_is_labelled(tmp_path: Path) -> None:
    """Its rows carry its name, run its Python and start in it."""
    checkout = tmp_path / "before"
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    theirs = [server for server in all_servers(checkout) if server.label]
    assert f"before: {THROTTLE}" in {server.title for server in theirs}
    assert {server.command(Room(tmp_path))[0] for server in theirs} == {str(python)}
    assert {server.cwd for server in theirs} == {checkout}


def test_another_checkout_needs_its_python(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(BenchError, match="make setup"):
        all_servers(tmp_path)


def test_cpu_time_of_a_process_with_an_odd_name() -> None:
    """proc(5): utime and stime are fields 14 and 15; the name in field 2 may hold brackets."""
    stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 9 9 20 0 1 0 100 0 0"
    assert parse_cpu_s(stat, 100) == 2.0
