"""Requests run on one CPU, or wherever the kernel likes, as the file says."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.nbd_client import connect
from tests.live.service import DISK, Service, wait_for


def on_one_cpu(pid: int) -> int:
    """How many threads of a process may run on one CPU only."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            found += len(os.sched_getaffinity(int(task.name))) == 1
    return found


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
@pytest.mark.parametrize(("cpus", "expected"), [("one", 5), ("all", 0)])
def test_threads_of_a_connection(serve: Callable[[str], Service], cpus: str, expected: int) -> None:
    """With "one" nbdkit's four workers of a connection and the one that made them; no others."""
    service = serve(f'[server]\nthreads = 4\ncpus = "{cpus}"\n{DISK}')
    client = connect(service.uri())
    client.pread(512, 0)
    pid = service.server_pid()
    wait_for(lambda: on_one_cpu(pid) == expected, "the workers to be where they belong")
    client.shutdown()
