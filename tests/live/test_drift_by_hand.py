"""Somebody changes the graph by QMP, with clients at work: seen, told, and acted on as asked."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.live.hammering import Hammer
from tests.live.service import Qmp, Service, wait_for

Serve = Callable[[str], Service]
Hammering = Callable[..., Hammer]

FILE = """\
[runner]
on-drift = "{}"
[throttle-groups.one]
iops-total = 100000
[backends.disk]
driver = "memory"
size   = "64MiB"
[nodes.limit]
driver         = "throttle"
throttle-group = "one"
file           = "disk"
[exports.vda]
node = "limit"
"""


def insert_by_hand(qmp: Qmp) -> None:
    """A filter that no file has."""
    node = {"driver": "throttle", "node-name": "mine", "throttle-group": "one", "file": "disk"}
    qmp.do("blockdev-add", **node)
    qmp.do("block-insert-node", parent="limit", child="disk", node="mine")


def remove_by_hand(qmp: Qmp) -> None:
    """And away."""
    qmp.do("block-remove-node", parent="limit", child="disk", node="mine")
    qmp.do("blockdev-del", **{"node-name": "mine"})


def drift(service: Service) -> dict[str, Any] | None:
    """What the server has kept of it."""
    kept: dict[str, Any] | None = service.graph()["reports"].get("drift")
    return kept


def kinds(service: Service) -> list[str]:
    """What the history has."""
    done = service.blkrun("history", "--json")
    assert done.returncode == 0, done.stderr
    return [line.split('"')[3] for line in done.stdout.splitlines() if '"kind"' in line]


def test_warn(serve: Serve, hammer: Hammering) -> None:
    """It is told with what brings it back; undone by hand it has ended; apply undoes it as well."""
    service = serve(FILE.format("warn"))
    client = hammer(service.uri())
    with service.qmp() as qmp:
        insert_by_hand(qmp)
        told = qmp.wait_event("X_BLKRUN_DRIFTED")["data"]
        assert "- remove mine from between limit and disk" in told["operations"]
        wait_for(lambda: drift(service), "the server to know")
        status = service.blkrun("status").stdout
        assert "the graph is not as vm.toml says any more; bring it back with: blkrun" in status
        assert "- remove mine from between limit and disk" in status
        assert "drift: the graph is not as vm.toml says" in service.said()
        remove_by_hand(qmp)
        qmp.wait_event("X_BLKRUN_DRIFT_ENDED")
        assert drift(service) is None
        insert_by_hand(qmp)
        qmp.wait_event("X_BLKRUN_DRIFTED")
        assert service.blkrun("apply").returncode == 0
        qmp.wait_event("X_BLKRUN_DRIFT_ENDED")
    assert service.live() == service.desired()
    assert kinds(service) == ["applied", "drifted", "drifted", "applied"]
    client.assert_unharmed()


def test_revert(serve: Serve, hammer: Hammering) -> None:
    """It is brought back at once, and again when it comes again."""
    service = serve(FILE.format("revert"))
    client = hammer(service.uri())
    with service.qmp() as qmp:
        for number in (2, 3):
            insert_by_hand(qmp)
            done = qmp.wait_event("X_BLKRUN_REVERTED")["data"]
            assert done["number"] == number
            assert service.live() == service.desired()
    assert kinds(service) == ["applied", "reverted", "reverted"]
    client.assert_unharmed()


def test_ignore(serve: Serve, hammer: Hammering) -> None:
    """Nothing is said; the next edit brings the graph to what the file says."""
    service = serve(FILE.format("ignore"))
    client = hammer(service.uri())
    with service.qmp() as qmp:
        insert_by_hand(qmp)
        service.edit(FILE.format("ignore") + "# edited\n")
        assert qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")["data"]["operations"] != []
    assert service.live() == service.desired()
    assert "drift" not in service.said()
    client.assert_unharmed()


def swap_by_hand(qmp: Qmp) -> None:
    """Another disk for the export."""
    add = {"driver": "memory", "node-name": "mine", "size": 64 * 2**20}
    edge = {"parent": "vda", "role": "root", "child": "mine"}
    actions = [{"type": "blockdev-add", "data": add}, {"type": "x-blkrun-set-edge", "data": edge}]
    qmp.do("transaction", actions=actions)


def test_a_revert_that_takes_a_disk_waits_for_a_yes(serve: Serve, hammer: Hammering) -> None:
    """Another disk under a client: told why, and done when somebody says so."""
    service = serve(FILE.format("revert"))
    with service.qmp() as qmp:
        swap_by_hand(qmp)
        qmp.wait_event("X_BLKRUN_REVERTED")
        client = hammer(service.uri())
        next(client.said())
        swap_by_hand(qmp)
        assert "vda (" in qmp.wait_event("X_BLKRUN_DRIFTED")["data"]["why"]
        assert service.live().exports["vda"].node == "mine"
        qmp.do("x-blkrun-ask-runner", kind="revert")
        qmp.wait_event("X_BLKRUN_REVERTED")
    assert service.live() == service.desired()


def test_a_runner_that_was_away(serve: Serve) -> None:
    """It sees at once what was done meanwhile, and does not take it for an edit of the file."""
    service = serve(FILE.format("warn"))
    service.kill_runner()
    with service.qmp() as qmp:
        insert_by_hand(qmp)
        service.start()
        qmp.wait_event("X_BLKRUN_DRIFTED")
        assert "mine" in service.live().nodes
        remove_by_hand(qmp)
        qmp.wait_event("X_BLKRUN_DRIFT_ENDED")


def test_jobs_and_bitmaps_by_hand_are_no_drift(serve: Serve) -> None:
    """They belong to whoever made them."""
    service = serve(FILE.format("revert") + '[backends.copy]\ndriver = "memory"\nsize = "64MiB"\n')
    with service.qmp() as qmp:
        qmp.do("block-dirty-bitmap-add", node="disk", name="mine")
        names = {"job-id": "job", "device": "disk", "target": "copy"}
        qmp.do("blockdev-backup", **names, sync="full", speed=2**18)
        service.edit(FILE.format("revert") + '[backends.copy]\ndriver="memory"\nsize="64MiB"\n#\n')
        qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")
        assert [job["id"] for job in qmp.do("query-jobs")] == ["job"]
    assert drift(service) is None
    assert kinds(service) == ["applied", "applied"]


@pytest.mark.parametrize("on_drift", ["warn", "revert"])
def test_a_file_that_waits_has_nothing_to_do_with_it(serve: Serve, on_drift: str) -> None:
    """Drift is what differs from what is in force."""
    service = serve(FILE.format(on_drift))
    with service.qmp() as qmp:
        service.edit(FILE.format(on_drift).replace("[exports", "[exprots"))
        qmp.wait_event("X_BLKRUN_CONFIG_REJECTED")
        insert_by_hand(qmp)
        event = "X_BLKRUN_DRIFTED" if on_drift == "warn" else "X_BLKRUN_REVERTED"
        operations = qmp.wait_event(event)["data"]["operations"]
        assert len(operations) == 2
        assert ("mine" in service.live().nodes) == (on_drift == "warn")
