"""Plans before they are applied, on a real server: what is told is what comes of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.service import THROTTLED, Service

Serve = Callable[[str], Service]

FILE = (
    THROTTLED.replace("100000", "1000")
    + """
[backends.more]
driver = "null"

[exports.vdb]
node = "more"
"""
)
NEW = '\n[backends.new]\ndriver = "file"\npath = "new.img"\nsize = "1MiB"\ncreate = true\n'
BAD = '\n[backends.bad]\ndriver = "file"\npath = "none.img"\n'


@contextmanager
def connected(service: Service, *exports: str) -> Iterator[list[Any]]:
    """A client on each of these."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    handles = []
    for export in exports:
        handle = nbd.NBD()
        handle.connect_uri(service.uri(export))
        handles.append(handle)
    yield handles


def stop_runner(service: Service) -> None:
    """So that a saved file waits for whoever applies it."""
    service.kill_runner()


def test_a_plan_leaves_no_trace_and_is_sent_as_printed(serve: Serve) -> None:
    """No file is made and the graph is the same; --json's arguments do what was said."""
    service = serve(FILE)
    stop_runner(service)
    with connected(service, "vda", "vda"):
        service.file.write_text(FILE.replace("1000", "2000") + NEW)
        before = service.graph()["revision"], sorted(path.name for path in folder(service))
        shown = service.blkrun("plan", "--exit-code")
        assert shown.returncode == 5, shown.stderr
        assert "~ throttle group g: iops-total 1000 → 2000" in shown.stdout
        assert "export vda, 2 connected clients: changes, and nobody waits" in shown.stdout
        assert shown.stdout.endswith("vm.toml\n")
        told = json.loads(service.blkrun("plan", "--json").stdout)
        after = service.graph()["revision"], sorted(path.name for path in folder(service))
        assert after == before
        with service.qmp() as qmp:
            answer = qmp.do(told["execute"], **told["arguments"])
        assert answer == {"drains": []}
    assert "nothing to do" in service.blkrun("plan", "--exit-code").stdout


def folder(service: Service) -> list[Path]:
    """What is beside the file, but for the log."""
    return [path for path in service.file.parent.iterdir() if path != service.log]


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_what_would_be_refused_is_not_offered(serve: Serve, command: str) -> None:
    """Not even asked about, though it takes a disk too: exit 1, with the place in the file."""
    service = serve(FILE)
    stop_runner(service)
    line = FILE.count("\n") + 2
    with connected(service, "vda"):
        edited = FILE.replace('driver = "memory"', 'driver = "null"')
        service.file.write_text(edited + BAD)
        before = service.graph()["revision"]
        shown = service.blkrun(command)
        assert shown.returncode == 1
        assert f"refused, nothing would be changed: vm.toml:{line}: [backends.bad]" in shown.stdout
        assert "blkrun apply" not in shown.stdout
        assert "waits for a yes" not in shown.stdout
        assert service.graph()["revision"] == before
    refused = service.blkrun("plan", "--json")
    assert json.loads(refused.stdout)["execute"] == "transaction"
    assert (refused.returncode, "[backends.bad]" in refused.stderr) == (1, True)


def test_what_waits_says_for_whom(serve: Serve) -> None:
    """The runner's report has whom it takes the disk from and who would wait; so has apply's."""
    service = serve(FILE)
    with connected(service, "vda", "vdb"):
        report = service.edit_and_wait(FILE.replace('driver = "memory"', 'driver = "null"'))
        assert report["event"] == "X_BLKRUN_CONFIG_PENDING"
        assert report["data"]["taken"] == report["data"]["drains"] == {"vda": 1}
        shown = service.blkrun("plan")
        words = "export vda, 1 connected client: taken from them; its requests wait"
        assert words in shown.stdout
        assert "vdb" not in shown.stdout
        with service.qmp() as qmp:
            assert service.blkrun("apply", "--yes").returncode == 0
            applied = service.next_report(qmp)
        assert applied["data"]["taken"] == applied["data"]["drains"] == {"vda": 1}
        assert applied["data"]["digest"] == report["data"]["digest"]


def test_nobody_is_asked_about_what_would_be_refused(serve: Serve) -> None:
    """An edit that takes a disk and cannot be made has failed; it does not wait for a yes."""
    service = serve(FILE)
    with connected(service, "vda"):
        edited = FILE.replace('driver = "memory"', 'driver = "null"') + BAD
        report = service.edit_and_wait(edited)
    assert report["event"] == "X_BLKRUN_CONFIG_FAILED"
    assert "[backends.bad] Could not open" in report["data"]["message"]


def test_without_a_server_it_is_the_plan_of_a_start(tmp_path: Path) -> None:
    """And nothing is made for it."""
    service = Service(tmp_path, FILE + NEW)
    shown = service.blkrun("plan")
    assert shown.stdout.startswith("no server runs: this is what starting it would do\n")
    assert shown.stdout.splitlines()[-1].startswith("do it with: blkrun run ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vm.toml"]
