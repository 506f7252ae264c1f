"""Mirrors of a disk that clients write to at full speed, up to the pivot and beyond.

Writers' blocks tell of each other (see ``cut``), so a copy is shown to be of one instant; after a
pivot it is the old disk that nobody writes any more.
"""

from collections.abc import Callable
from functools import partial

import pytest

from tests.live.copying import (
    DIRECT,
    WRITERS,
    Serve,
    action,
    all_finished,
    check_disk,
    finished,
    image,
    instant,
    job,
    succeeded,
)
from tests.live.cut import Writers, parts
from tests.live.service import Qmp, Service, wait_for

MODES = ["background", "write-blocking"]


def started(qmp: Qmp, **options: object) -> None:
    """A mirror, named j, of disk to copy."""
    qmp.do("blockdev-mirror", **job(**options))


def until_ready(qmp: Qmp) -> None:
    """Though clients write as fast as they can."""
    wait_for(lambda: qmp.do("query-block-jobs")[0]["ready"], "the mirror to be ready")


def _has_copied(qmp: Qmp, count: int) -> bool:
    return bool(qmp.do("query-block-jobs")[0]["offset"] >= count)


def root(service: Service) -> str:
    """The node that clients have."""
    with service.qmp() as qmp:
        (export,) = qmp.do("query-block-exports")
    return str(export["node-name"])


@pytest.mark.parametrize("mode", MODES)
def test_pivot_under_load(serve: Serve, mode: str) -> None:
    """It becomes ready, pivots without a client noticing, and both were equal at that instant."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        wait_for(lambda: all(writers.answered), "the writers")
        started(qmp, copy_mode=mode)
        until_ready(qmp)

        def pivot() -> None:
            qmp.do("job-complete", id="j")
            succeeded(qmp)

        at_pivot = instant(writers, pivot)
        assert root(service) == "copy"
        wait_for(lambda: all(map(int.__gt__, writers.answered, at_pivot.after)), "more writes")
    at_pivot.check(parts(image(service).read_bytes(), WRITERS))
    check_disk(writers, service, "copy")


@pytest.mark.parametrize("mode", MODES)
def test_stopped_under_load(serve: Serve, mode: str) -> None:
    """Told to stop when ready, it leaves a copy of one instant, and clients where they were."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        started(qmp, copy_mode=mode, speed=0)
        until_ready(qmp)

        def stop() -> None:
            qmp.do("block-job-cancel", device="j")
            succeeded(qmp)

        at_end = instant(writers, stop)
        assert root(service) == "disk"
        wait_for(lambda: all(map(int.__gt__, writers.answered, at_end.after)), "more writes")
    at_end.check(parts(image(service, "copy").read_bytes(), WRITERS))
    check_disk(writers, service)


def test_edits_around_it(serve: Serve) -> None:
    """Filters come and go above, and the pivot is to where they lead; nobody is hurt."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    edge = {"parent": "vda", "child": "disk", "node": "limit"}
    with writers.at_work(), service.qmp() as qmp:
        started(qmp, copy_mode="background")
        for _ in range(10):
            qmp.do("block-insert-node", **edge)
            qmp.do("block-remove-node", **edge)
        qmp.do("block-insert-node", **edge)
        until_ready(qmp)
        qmp.do("x-blkrun-job-change", id="j", **{"when-ready": "pivot"})
        succeeded(qmp)
        assert root(service) == "limit"
        qmp.do("block-remove-node", **(edge | {"child": "copy"}))
        qmp.do("blockdev-del", **{"node-name": "limit"})
        qmp.do("blockdev-del", **{"node-name": "disk"})
    check_disk(writers, service, "copy")


def test_there_and_back(serve: Serve) -> None:
    """Ten pivots under load, from one disk to the other and back; not a write is lost."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    places = ["disk", "copy"]
    with writers.at_work(), service.qmp() as qmp:
        for number in range(6):
            device, target = places[number % 2], places[(number + 1) % 2]
            mode = MODES[number % 2]
            started(qmp, device=device, target=target, copy_mode=mode, when_ready="pivot")
            succeeded(qmp)
            assert root(service) == target
    check_disk(writers, service, places[6 % 2])


def test_two_disks_together(serve: Serve) -> None:
    """Grouped in one transaction: both are ended together, as a success."""
    more = DIRECT.split("[throttle-groups", maxsplit=1)[0].replace('[runner]\napply = "all"\n', "")
    more = more.replace("disk", "disk2").replace("copy", "copy2")
    service = serve(DIRECT + more + '[exports.vdb]\nnode = "disk2"\n')
    writers = Writers([*[service.uri()] * 2, *[service.uri("vdb")] * 2])
    with writers.at_work(), service.qmp() as qmp:
        actions = [
            action("blockdev-mirror", **job(when_ready="pivot")),
            action(
                "blockdev-mirror",
                **job(job_id="k", device="disk2", target="copy2", when_ready="pivot"),
            ),
        ]
        grouped = {"completion-mode": "grouped"}
        qmp.do("transaction", actions=actions, properties=grouped)
        told = all_finished(qmp, {"j", "k"})
        assert [each["event"] for each in told].count("BLOCK_JOB_COMPLETED") == 2
        assert all("error" not in each["data"] for each in told)
        exports = {each["id"]: each["node-name"] for each in qmp.do("query-block-exports")}
        assert exports == {"vda": "copy", "vdb": "copy2"}
    assert not writers.errors


def test_cancelled_at_any_moment(serve: Callable[[str], Service]) -> None:
    """By force, twenty times: the graph is as before, clients notice nothing."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        for number in range(20):
            started(qmp, copy_mode=MODES[number % 2], filter_node_name="top")
            wait_for(partial(_has_copied, qmp, number * 2**20), "as much")
            qmp.do("job-cancel", id="j")
            (*_, last) = finished(qmp)
            assert last["event"] == "BLOCK_JOB_CANCELLED"
            names = [node["node-name"] for node in qmp.do("query-named-block-nodes")]
            assert "top" not in names
            assert root(service) == "disk"
    check_disk(writers, service)
