"""A pivot is written down before it, if a file asked for it, and not if there is none after all."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blkrun.pivot_record import PivotRecord, read_records
from blkrun.server.jobs.job import Job
from tests.server.copy_server import MIB, CopyServer
from tests.server.copying import finish
from tests.server.inprocess import eventually
from tests.server.job_server import ended

pytestmark = pytest.mark.usefixtures("plain_threads")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CopyServer]:
    """4 MiB, and a place for records."""
    server = CopyServer()
    server.fill(1, 0, 3 * MIB)
    server.graph.control = tmp_path / "vm.qmp"
    yield server
    finish(server)


def mirror(server: CopyServer, *, of_file: bool = True) -> Job:
    """One that is ready."""
    job = server.started("blockdev-mirror", sync="full", x_blkrun_of_file=of_file)
    eventually(lambda: job.is_ready)
    return job


def records(server: CopyServer) -> list[PivotRecord]:
    """All that is written down."""
    assert server.graph.control is not None
    return read_records(server.graph.control)


def test_it_is_there_before_the_pivot(server: CopyServer) -> None:
    """When the target is flushed for the last time there is none yet, at the pivot there is."""
    job = mirror(server)
    seen: list[tuple[bool, int]] = []
    server.copy.before_flush = lambda: seen.append((job.pivoted, len(records(server))))
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert (False, 0) in seen
    assert records(server) == [PivotRecord("j", "disk", "copy")]


def test_none_without_a_pivot(server: CopyServer) -> None:
    """Stopped, it leaves clients where they are; and no file asked for one by hand."""
    job = mirror(server)
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    assert records(server) == []
    job = mirror(server, of_file=False)
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert job.pivoted
    assert records(server) == []


def test_none_if_the_last_of_it_fails(server: CopyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is removed with the edit that did not come to be."""
    job = mirror(server)

    def refuse(*, pivots: bool) -> None:
        assert pivots
        assert records(server)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(job, "_decide", refuse)
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert (job.error, job.pivoted) == ("Input/output error", False)
    assert records(server) == []


def test_no_pivot_without_a_record(server: CopyServer) -> None:
    """Where it cannot be written down clients stay where they are."""
    assert server.graph.control is not None
    server.graph.control = server.graph.control / "gone" / "vm.qmp"
    job = mirror(server)
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert job.error == os.strerror(errno.ENOENT)
    assert server.edges() == {"vda": "limit", "limit": "disk"}
