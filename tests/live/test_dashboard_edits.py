"""The dashboard's editor against a real server: each edit, what waits, and what goes wrong."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from blkrun.dashboard.dialogs.insert import ask_insert
from blkrun.dashboard.editor import CommandEditor
from blkrun.dashboard.model.choices import Check, Choice
from blkrun.dashboard.model.edits import (
    Edit,
    apply_edit,
    cancel_edit,
    insert_edit,
    limit_edit,
    nudge_edit,
    remove_edit,
    rollback_edit,
    start_edit,
    switch_edit,
    undo_edit,
)
from blkrun.dashboard.model.preview import Outcome, Preview
from blkrun.dashboard.model.snapshot import Snapshot, read_snapshot
from blkrun.dashboard.model.switching import cancellable, resting, startable
from blkrun.errors import BlkrunError
from tests.live.hammering import Hammer
from tests.live.service import THROTTLED, Service, wait_for
from tests.live.test_job_files import BACKUP, DISKS, SLOW

Serve = Callable[[str], Service]


def try_and_do(service: Service, edit: Edit) -> tuple[Preview, Outcome]:
    """What it says that it would do, then what it does."""

    async def act() -> tuple[Preview, Outcome]:
        editor = CommandEditor(service.file)
        before = service.file.read_text()
        preview = await editor.preview(edit)
        assert service.file.read_text() == before
        outcome = await editor.perform(edit, preview)
        if preview.changed:
            assert preview.digest == outcome.digest
            assert preview.diff == outcome.diff
        return preview, outcome

    return asyncio.run(act())


def look(service: Service) -> Snapshot:
    """As the dashboard sees it."""
    return read_snapshot(service.graph())


def test_each_edit(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """It says beforehand whose requests wait, is applied, and can be undone; nobody is harmed."""
    service = serve(THROTTLED + "iops-total = 5000\n")  # of the export
    client = hammer(service.uri())
    client.rate(0.2)
    values = [("throttle-group", "g")]
    edits = (
        limit_edit("g", "iops-total", "50k"),
        nudge_edit("g", {"iops-total": (50_000, 60_000), "iops-total-max": (0, 60_000)}),
        limit_edit("vda", "iops-total", 6000),
        switch_edit("limit", on=False),
        switch_edit("limit", on=True),
        insert_edit("again", "throttle", "disk", None, values),
        remove_edit("again"),
        rollback_edit(),
    )
    for edit in edits:
        preview, outcome = try_and_do(service, edit)
        assert outcome.kind == "applied", outcome.message
        assert preview.offered
        assert not preview.dangerous
        assert preview.operations
        assert set(preview.drains or {}) <= {"vda"}
        assert set((preview.drains or {}).values()) <= {1}
    assert "again" in service.live().nodes
    client.rate(0.2)
    client.assert_unharmed()


def test_an_insert_as_it_is_asked_for(serve: Serve) -> None:
    """The drivers come from blkrun itself, and what they need from what is there."""

    class First:
        """Always the first one, or what was proposed."""

        async def choose(self, title: str, choices: Any) -> str | None:
            """Throttle where it is on offer."""
            found = [choice.value for choice in choices]
            return "throttle" if "throttle" in found else str(found[0])

        async def ask(self, title: str, value: str, check: Check) -> str | None:
            """What was proposed."""
            return value

    service = serve(THROTTLED)

    async def act() -> Edit | None:
        drivers = await CommandEditor(service.file).drivers()
        nodes, groups = [*service.live().nodes], [*service.live().groups]
        return await ask_insert(First(), drivers, above="disk", nodes=nodes, groups=groups)

    edit = asyncio.run(act())
    assert edit is not None
    assert try_and_do(service, edit)[1].kind == "applied"
    assert "throttle" in service.live().nodes


def test_what_takes_a_disk(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """Clients are named beforehand; it is saved and waits, and its yes applies it."""
    service = serve(THROTTLED)
    client = hammer(service.uri())
    client.rate(0.2)
    preview, outcome = try_and_do(service, remove_edit("exports.vda"))
    assert preview.dangerous
    assert preview.taken == {"vda": 1}
    assert "vda (1)" in preview.why
    assert outcome.kind == "pending"
    client.rate(0.2)
    client.assert_unharmed()
    with service.qmp() as qmp:
        qmp.do("x-blkrun-ask-runner", kind="apply", data={"digest": outcome.digest})
        assert service.next_report(qmp)["event"] == "X_BLKRUN_CONFIG_APPLIED"
    assert service.live().exports == {}


def test_what_waits_is_taken_back(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """By an undo: the file is as it was, and nothing waits any more."""
    service = serve(THROTTLED)
    client = hammer(service.uri())
    client.rate(0.2)
    assert try_and_do(service, remove_edit("exports.vda"))[1].kind == "pending"
    preview, outcome = try_and_do(service, undo_edit(look(service).reports))
    assert (preview.operations, preview.dangerous) == ((), False)
    assert outcome.kind == "applied"
    assert service.file.read_text() == THROTTLED
    client.assert_unharmed()


def test_what_waits_without_a_runner(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """The edit is applied by its own command, and so is what waits."""
    service = serve(THROTTLED)
    client = hammer(service.uri())
    client.rate(0.2)
    service.kill_runner()
    assert try_and_do(service, limit_edit("g", "iops-total", 70_000))[1].kind == "applied"
    assert service.live().groups["g"].iops_total == 70_000
    assert try_and_do(service, remove_edit("exports.vda"))[1].kind == "pending"
    preview, outcome = try_and_do(service, apply_edit())
    assert preview.taken == {"vda": 1}
    assert preview.operations == ("- export vda",)
    assert outcome.kind == "applied"
    assert service.live().exports == {}
    assert try_and_do(service, apply_edit())[1].kind == "unchanged"


def test_what_the_server_refuses(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """It is known beforehand, with the place in the file; done all the same it fails."""
    service = serve(THROTTLED)
    client = hammer(service.uri())
    client.rate(0.2)
    edit = Edit("set", ("backends.disk.size", "32MiB", "runner.apply", "all"), "shrink it")
    preview, outcome = try_and_do(service, edit)
    assert "vm.toml:" in preview.refused
    assert not preview.offered
    assert outcome.kind == "failed"
    assert "size" in outcome.message
    client.assert_unharmed()


def test_what_is_not_there(serve: Serve) -> None:
    """A wrong name, no server, no file: each says what there is."""
    service = serve(THROTTLED)
    with pytest.raises(BlkrunError, match='no node or backend "limt"; did you mean "limit"'):
        try_and_do(service, remove_edit("limt"))
    service.blkrun("stop")
    assert try_and_do(service, limit_edit("g", "iops-total", 5))[1].kind == "saved"
    with pytest.raises(BlkrunError, match="no server"):
        try_and_do(service, apply_edit())
    service.file.unlink()
    with pytest.raises(BlkrunError, match="cannot read the file"):
        asyncio.run(CommandEditor(service.file).perform(limit_edit("g", "iops-total", 5)))


def test_a_job_through_all_its_states(serve: Serve) -> None:
    """Off, started, cancelled; done, and once more; each is on offer when it can be done."""
    service = serve(DISKS + BACKUP + SLOW + "enabled = false\n")
    name = [Choice("job", "job", "off")]
    assert [*startable(look(service))] == name
    os.kill(service.server_pid(), signal.SIGKILL)
    wait_for(lambda: "was restarted" in service.said(), "another server")
    assert [*startable(look(service))] == name
    preview, outcome = try_and_do(service, start_edit("job"))
    assert outcome.kind == "applied"
    assert [each[0] for each in preview.operations] == ["+"]
    wait_for(lambda: cancellable(look(service)), "the job to be on offer")
    assert startable(look(service)) == ()
    assert try_and_do(service, start_edit("job"))[1].kind == "unchanged"
    preview, outcome = try_and_do(service, cancel_edit("job"))
    assert (preview.cancelled, preview.dangerous) == (("job",), True)
    assert outcome.kind == "applied"
    wait_for(lambda: resting(look(service)) == ("job",), "the report of it")
    wait_for(lambda: startable(look(service)), "the job's end")
    service.edit_and_wait(DISKS + BACKUP)
    wait_for(lambda: [each.hint for each in startable(look(service))] == ["done"], "its end")
    begin = len(service.said())
    preview, outcome = try_and_do(service, start_edit("job"))
    assert preview.operations == (
        "- job job: forgotten, as it has ended",
        "+ backup job of disk to copy (sync full)",
    )
    assert not preview.dangerous
    assert outcome.kind == "applied"
    wait_for(lambda: "job job is done" in service.said(begin), "its second end")
    assert try_and_do(service, cancel_edit("job"))[0].cancelled == ()
    assert try_and_do(service, start_edit("job"))[0].operations == preview.operations
    assert cancellable(look(service)) == ()


def test_a_job_that_is_started_again_without_a_runner(serve: Serve) -> None:
    """By the command itself."""
    service = serve(DISKS + BACKUP)
    wait_for(lambda: startable(look(service)), "the job's end")
    service.kill_runner()
    with service.qmp() as qmp:
        outcome = try_and_do(service, start_edit("job"))[1]
        assert (outcome.kind, outcome.message) == ("applied", "+1")
        assert qmp.wait_event("BLOCK_JOB_COMPLETED")["data"]["device"] == "job"


def test_a_mirror_that_has_pivoted_is_not_started_again(serve: Serve) -> None:
    """Its target is the disk now: it is not on offer, and by hand it is refused."""
    mirror = BACKUP.replace('"backup"', '"mirror"')
    service = serve(DISKS + mirror + 'when-ready = "pivot"\n')
    wait_for(lambda: "enabled = false" in service.file.read_text(), "the file to follow")
    wait_for(lambda: look(service).jobs[0].status == "concluded", "the mirror's end")
    assert startable(look(service)) == ()
    with pytest.raises(BlkrunError, match="job job has changed the graph for good"):
        try_and_do(service, start_edit("job"))
