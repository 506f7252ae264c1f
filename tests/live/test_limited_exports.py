"""Limits in an export's own table, added, changed and removed while clients write and verify."""

import time
from collections.abc import Callable
from typing import Any

from tests.live.copying import job, succeeded
from tests.live.hammering import Hammer
from tests.live.service import DISK, Service, wait_for

Serve = Callable[[str], Service]
MakeHammer = Callable[..., Hammer]

IN_FLIGHT = 16
"""Requests that a hammer has under way: let go before a look, counted after it."""


def names(service: Service) -> tuple[set[str], dict[str, int], str]:
    """Nodes, groups with their iops-total, and the node that clients of vda get."""
    graph = service.live()
    groups = {name: limits.iops_total for name, limits in graph.groups.items()}
    return set(graph.nodes), groups, graph.exports["vda"].node


def applied(service: Service, text: str) -> list[str]:
    """Save, and give the operations that came of it."""
    report = service.edit_and_wait(text)
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED", report
    return list(report["data"]["operations"])


def test_an_export_that_is_limited_live(serve: Serve, hammer: MakeHammer) -> None:
    """Added, changed, removed: the names are in the graph, the rate obeys, nobody is hurt."""
    service = serve(DISK)
    client = hammer(service.uri())
    next(client.said())

    assert applied(service, DISK + "iops-total = 1000\n") == [
        "+ throttle group vda: iops-total 1000",
        "+ node vda-throttle (throttle) over disk",
        "+ insert vda-throttle between export vda and disk",
    ]
    assert names(service) == ({"disk", "vda-throttle"}, {"vda": 1000}, "vda-throttle")
    # Above the limit: a tenth of a second's burst, and flushes, which are not limited.
    assert client.rate(1.5) < 1200
    assert applied(service, DISK + "iops-total = 300\n") == [
        "~ throttle group vda: iops-total 1000 → 300"
    ]
    assert names(service) == ({"disk", "vda-throttle"}, {"vda": 300}, "vda-throttle")
    assert client.rate(1.5) < 400
    assert applied(service, DISK) == [
        "- remove vda-throttle from between export vda and disk",
        "- node vda-throttle (throttle)",
        "- throttle group vda",
    ]
    assert names(service) == ({"disk"}, {}, "disk")

    client.assert_unharmed()
    stats = service.graph()["exports"][0]["stats"]
    assert not any(stats[name] for name in stats if name.startswith("failed_"))


COPY = """
[backends.copy]
driver = "memory"
size   = "64MiB"
"""


def test_limits_hold_over_what_a_mirror_pivots_to(serve: Serve, hammer: MakeHammer) -> None:
    """Iotest 191 of the seed's branch: clients get another disk, the device keeps its limit."""
    service = serve(COPY + DISK + "iops-total = 300\n")
    client = hammer(service.uri())
    next(client.said())
    with service.qmp() as qmp:
        qmp.do("blockdev-mirror", **job())
        wait_for(lambda: qmp.do("query-block-jobs")[0]["ready"], "the mirror to be ready")
        assert client.rate(1.5) < 400
        qmp.do("job-complete", id="j")
        succeeded(qmp)
        qmp.do("blockdev-del", **{"node-name": "disk"})
    assert names(service) == ({"copy", "vda-throttle"}, {"vda": 300}, "vda-throttle")
    assert client.rate(1.5) < 400
    client.assert_unharmed()


def test_limits_hold_over_overlays_and_what_they_are_committed_to(
    serve: Serve, hammer: MakeHammer
) -> None:
    """The same, with a snapshot put over the disk, and a commit of the active layer that pivots."""
    service = serve(DISK + "iops-total = 300\n")
    client = hammer(service.uri())
    next(client.said())
    path = str(service.file.parent / "top.qcow2")
    file = {"driver": "file", "path": path, "size": 0, "create": True}
    with service.qmp() as qmp:
        image = {"driver": "qcow2", "node-name": "top", "file": file, "backing": None}
        qmp.do("blockdev-add", **image, create=True, size=64 * 2**20)
        qmp.do("blockdev-snapshot", node="disk", overlay="top")
        assert service.graph()["exports"][0]["node-name"] == "vda-throttle"
        assert client.rate(1.5) < 400
        qmp.do("block-commit", **{"job-id": "j", "device": "top", "when-ready": "pivot"})
        succeeded(qmp)
        qmp.do("blockdev-del", **{"node-name": "top"})
    assert names(service) == ({"disk", "vda-throttle"}, {"vda": 300}, "vda-throttle")
    assert client.rate(1.5) < 400
    client.assert_unharmed()


TENANT = """
[throttle-groups.tenant]
iops-total = 600

[backends.a]
driver = "memory"
size   = "64MiB"

[backends.b]
driver = "memory"
size   = "64MiB"

[nodes.tenant-a]
driver         = "throttle"
throttle-group = "tenant"
file           = "a"

[nodes.tenant-b]
driver         = "throttle"
throttle-group = "tenant"
file           = "b"

[exports.vdb]
node = "tenant-b"

[exports.vda]
node = "tenant-a"
"""


def done(graph: dict[str, Any]) -> dict[str, int]:
    """Requests that throttles have let go and that have ended, by export."""
    counted = ("rd_operations", "wr_operations", "unmap_operations")
    return {
        export["id"]: sum(export["stats"][name] for name in counted) for export in graph["exports"]
    }


def rates(service: Service, seconds: float) -> tuple[dict[str, int], float]:
    """Requests done by each export between two looks, and the time between them in seconds."""
    before = service.graph()
    time.sleep(seconds)
    after = service.graph()
    old, new = done(before), done(after)
    elapsed_s = (after["now-ns"] - before["now-ns"]) / 1e9
    return {name: new[name] - old[name] for name in new}, elapsed_s


def at_most(iops: int, elapsed_s: float, clients: int) -> float:
    """What a limit lets go in a while: QEMU's burst is the tenth of a second."""
    return iops * (elapsed_s + 0.1) + clients * IN_FLIGHT


def test_a_disks_limit_under_a_tenants(serve: Serve, hammer: MakeHammer) -> None:
    """Throttles on one way all hold: the disk's own alone, and the tenant's over both disks."""
    service = serve(TENANT + "iops-total = 150\n")
    assert service.live().nodes["vda-throttle"] == service.desired().nodes["vda-throttle"]
    clients = [hammer(service.uri(name)) for name in ("vda", "vdb")]
    for client in clients:
        next(client.said())

    requests, elapsed_s = rates(service, 1.5)
    assert 0 < requests["vda"] <= at_most(150, elapsed_s, 1)
    assert sum(requests.values()) <= at_most(600, elapsed_s, 2)

    assert applied(service, TENANT + "iops-total = 100000\n")
    requests, elapsed_s = rates(service, 1.5)
    assert sum(requests.values()) <= at_most(600, elapsed_s, 2)

    applied(service, TENANT.replace("600", "0"))
    for client in clients:
        client.assert_unharmed()


def test_a_name_in_use_leads_to_the_export(serve: Serve) -> None:
    """The server refuses a node that no table speaks of; the message shows the export's line."""
    service = serve(DISK)
    with service.qmp() as qmp:
        inline = {"driver": "null", "node-name": "vda-throttle"}
        qmp.do("blockdev-add", driver="raw", **{"node-name": "top"}, file=inline)
    report = service.edit_and_wait(DISK + "iops-total = 5\n")
    assert report["event"] == "X_BLKRUN_CONFIG_FAILED"
    assert report["data"]["message"].startswith("vm.toml:6: [exports.vda] ")
    assert "vda-throttle" in report["data"]["message"]
    assert set(service.live().groups) == set()


def test_commands_show_them(serve: Serve) -> None:
    """Check counts them, plan and status name them; a wrong one changes nothing."""
    service = serve(DISK)
    limited = DISK + "iops-total = 5\nbps-read = '1MiB'\n"
    service.file.write_text("[runner]\napply = 'ask'\n" + limited)
    plan = service.blkrun("plan").stdout
    assert "+ insert vda-throttle between export vda and disk  block-insert-node" in plan
    assert "ok, 2 nodes, 1 group, 1 export" in service.blkrun("check").stdout
    assert service.blkrun("apply").returncode == 0
    assert "nothing to do" in service.blkrun("plan").stdout
    status = service.blkrun("status").stdout
    assert "bps-read 1048576, iops-total 5" in status
    assert "vda-throttle" in status
    service.file.write_text(DISK + "iops-totl = 5\n")
    wrong = service.blkrun("check")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert 'did you mean "iops-total"?' in wrong.stderr
    assert service.live().groups["vda"].iops_total == 5
