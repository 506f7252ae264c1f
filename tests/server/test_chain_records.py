"""What a stream and a commit of a file write down until the file follows (see ``pivot_record``)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blkrun.pivot_record import PivotRecord, read_records
from blkrun.server.jobs.job import Job
from tests.server import overlay
from tests.server.chain_server import ChainServer, arguments
from tests.server.inprocess import eventually, leave_thread_states_alone
from tests.server.job_server import ended


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ChainServer]:
    """The chain, and a place for records."""
    overlay.register(monkeypatch)
    leave_thread_states_alone(monkeypatch)
    server = ChainServer()
    server.graph.control = tmp_path / "vm.qmp"
    yield server
    server.graph.close()


def started(server: ChainServer, command: str, *, of_file: bool = True, **options: Any) -> Job:
    """A job on top, as a file starts it."""
    options = {"auto_dismiss": False, "x_blkrun_of_file": of_file, **options}
    server.execute(command, arguments(**options))
    return server.context.jobs.find("j")


def records(server: ChainServer) -> list[PivotRecord]:
    """All that is written down."""
    assert server.graph.control is not None
    return read_records(server.graph.control)


@pytest.mark.parametrize(
    ("command", "options", "names"),
    [
        ("block-stream", {}, ("top", "")),
        ("block-stream", {"base_node": "low"}, ("top", "low")),
        ("block-stream", {"bottom": "mid"}, ("top", "mid")),
        ("block-commit", {"top_node": "mid"}, ("mid", "")),
        ("block-commit", {"top_node": "mid", "base_node": "low"}, ("mid", "low")),
        ("block-commit", {"when_ready": "pivot"}, ("top", "")),
    ],
)
def test_as_the_table_names_them(
    server: ChainServer, command: str, options: dict[str, Any], names: tuple[str, str]
) -> None:
    """What leads elsewhere, and to where; nothing by hand, when no file has to follow."""
    job = started(server, command, **options)
    eventually(lambda: job.status.value == "concluded")
    assert (job.error, records(server)) == (None, [PivotRecord("j", *names)])
    server.execute("job-dismiss", {"id": "j"})


def test_none_by_hand(server: ChainServer) -> None:
    """No file has to follow."""
    job = started(server, "block-stream", of_file=False, auto_dismiss=True)
    ended(job)
    assert (job.error, records(server)) == (None, [])


def test_nothing_to_do(server: ChainServer) -> None:
    """A stream that leads no edge elsewhere writes nothing down."""
    ended(started(server, "block-stream", base_node="mid", auto_dismiss=True))
    assert records(server) == []


@pytest.mark.parametrize(
    ("command", "options"), [("block-stream", {}), ("block-commit", {"top_node": "mid"})]
)
def test_none_if_the_edit_fails(
    server: ChainServer, monkeypatch: pytest.MonkeyPatch, command: str, options: dict[str, Any]
) -> None:
    """It is removed with the edit that did not come to be."""

    def refuse(**_: bool) -> None:
        assert records(server)
        raise OSError(5, "no")

    job = started(server, command, speed=1, **options)
    monkeypatch.setattr(job, "_decide", refuse)
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    eventually(lambda: job.status.value == "concluded")
    assert (job.error, job.pivoted, records(server)) == ("no", False, [])
    server.execute("job-dismiss", {"id": "j"})


def test_no_file_leads_to_a_node_without_a_name(server: ChainServer) -> None:
    """A commit of a file to an image that came with another one: after it clients would go back."""
    server.graph.nodes["base"].monitor_owned = False
    refused = server.refused("block-commit", arguments(x_blkrun_of_file=True))
    assert refused[1] == (
        "Node 'base' comes with an image, and no file can lead to it: "
        "say what the backing is, with a name of its own"
    )
