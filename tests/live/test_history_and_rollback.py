"""Who did what, across runners; and back to what was, under clients that check each byte."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.hammering import Hammer
from tests.live.service import DISK, Service, wait_for

Serve = Callable[[str], Service]

MORE = DISK + '[backends.more]\ndriver = "null"\n[exports.vdb]\nnode = "more"\n'
BAD = DISK.replace("size ", "sise ")
INCLUDE = 'include = ["tenants/*.toml"]\n'


def rows(service: Service) -> list[dict[str, Any]]:
    """The history."""
    done = service.blkrun("history", "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_history(serve: Serve) -> None:
    """What was applied, rejected, waited, was applied by a yes; numbers go on in the next run."""
    service = serve(DISK)
    with service.qmp() as qmp:
        service.edit(MORE)
        assert qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")["data"]["number"] == 2
        service.edit(BAD)
        assert qmp.wait_event("X_BLKRUN_CONFIG_REJECTED")["data"]["number"] == 3
    service.kill_runner()
    service.file.write_text('[runner]\napply = "ask"\n' + DISK)
    service.start()
    with service.qmp() as qmp:
        wait_for(lambda: len(rows(service)) == 4, "what waits")
        assert service.blkrun("apply").returncode == 0
        assert qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")["data"]["number"] == 5
    history = rows(service)
    assert [row["number"] for row in history] == [1, 2, 3, 4, 5]
    kinds = ["applied", "applied", "rejected", "pending", "applied"]
    assert [row["kind"] for row in history] == kinds
    assert [row["by"] for row in history] == ["run", "run", "run", "run", "apply"]
    assert history[1]["data"]["operations"] == [
        "+ backend more (null)",
        "+ export vdb of more, writable",
    ]
    assert history[1]["data"]["milliseconds"] > 0
    listed = service.blkrun("history", "-n", "3").stdout.splitlines()
    assert len(listed) == 4
    assert listed[1].split()[3:5] == ["rejected", "run"]
    one = service.blkrun("history", "2").stdout
    assert "+ export vdb of more, writable" in one
    assert "+[exports.vdb]" in one
    missing = service.blkrun("history", "99")
    assert missing.returncode == 2
    assert "change 99 is not in the history: 1 to 5 are kept" in missing.stderr


def test_a_yes_is_to_what_was_shown(serve: Serve) -> None:
    """By the digest of the text: one to something else does nothing."""
    ask = '[runner]\napply = "ask"\n'
    service = serve(ask + DISK)
    with service.qmp() as qmp:
        service.edit(ask + MORE)
        digest = qmp.wait_event("X_BLKRUN_CONFIG_PENDING")["data"]["digest"]
        qmp.do("x-blkrun-ask-runner", kind="apply", data={"digest": "of another one"})
        wait_for(lambda: "nothing was done" in service.said(), "that a yes came too late")
        assert "vdb" not in service.live().exports
        qmp.do("x-blkrun-ask-runner", kind="apply", data={"digest": digest})
        assert qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")["data"]["digest"] == digest
    assert "vdb" in service.live().exports


def test_rollback(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """To before the last change, to a number, and all files of it; clients notice nothing."""
    service = serve(INCLUDE + DISK)
    client = hammer(service.uri())
    tenants = service.file.parent / "tenants"
    tenants.mkdir()
    with service.qmp() as qmp:
        (tenants / "a.toml").write_text('[backends.a]\ndriver = "null"\n')
        qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")
        (tenants / "b.toml").write_text('[backends.b]\ndriver = "null"\n')
        qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")
        service.edit(INCLUDE + MORE)
        assert qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")["data"]["number"] == 4
    shown = service.blkrun("rollback", "2", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "- backend b (null)" in shown.stdout
    assert "+++ /dev/null" in shown.stdout
    asked = service.blkrun("rollback", "2")
    assert asked.returncode == 5
    assert service.file.read_text() == INCLUDE + MORE

    done = service.blkrun("rollback", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    assert service.file.read_text() == INCLUDE + DISK
    assert service.live().nodes.keys() == {"disk", "a", "b"}
    done = service.blkrun("rollback", "2", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    assert [file.name for file in tenants.iterdir()] == ["a.toml"]
    assert service.live().nodes.keys() == {"disk", "a"}
    done = service.blkrun("rollback", "4", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    assert service.file.read_text() == INCLUDE + MORE
    assert sorted(file.name for file in tenants.iterdir()) == ["a.toml", "b.toml"]
    assert service.live() == service.desired()
    kinds = [row["kind"] for row in rows(service)]
    assert kinds == [*["applied"] * 4, *["rolled-back", "applied"] * 3]
    client.assert_unharmed()


def test_rollback_of_what_never_was(serve: Serve) -> None:
    """Refused with the reason; from a file that is wrong or gone it works."""
    service = serve(DISK)
    refused = service.blkrun("rollback")
    assert refused.returncode == 1
    assert "there is nothing to go back to" in refused.stderr
    service.edit_and_wait(BAD)
    for number, words in (("2", "was rejected, not applied"), ("9", "not in the history")):
        refused = service.blkrun("rollback", number, "--yes")
        assert refused.returncode == 2
        assert words in refused.stderr
    assert service.blkrun("rollback", "1", "--yes").returncode == 0
    assert service.file.read_text() == DISK
    service.file.unlink()
    assert service.blkrun("rollback", "1", "--yes").returncode == 0
    assert service.file.read_text() == DISK


def test_rollback_without_a_runner(serve: Serve) -> None:
    """The command applies it."""
    service = serve(DISK)
    service.edit_and_wait(MORE)
    service.kill_runner()
    done = service.blkrun("rollback", "--yes")
    assert done.returncode == 0, done.stderr
    assert "vdb" not in service.live().exports
    service.start()
    assert service.live() == service.desired()
    assert [row["kind"] for row in rows(service)] == [
        "applied",
        "applied",
        "rolled-back",
        "applied",
    ]


@pytest.mark.parametrize("content", [b"this is no database " * 300, None])
def test_a_history_that_cannot_be_used(serve: Serve, content: bytes | None) -> None:
    """It is told once, and edits are applied as ever."""
    service = serve(DISK)
    history = service.file.with_suffix(".history")
    history.unlink()
    if content is None:
        history.mkdir()
    else:
        history.write_bytes(content)
    for text in (MORE, DISK, MORE):
        data = service.edit_and_wait(text)["data"]
        assert "number" not in data
    assert "vdb" in service.live().exports
    assert service.said().count("what is done is not written down") == 1
    assert service.blkrun("history").returncode == 1
