"""What is in force and what the file says: two things, of which drift is about the first."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from blkrun.config import Sources, parse, read
from blkrun.history import History
from blkrun.reconcile.chronicle import Chronicle, named, sources_of
from tests.reconcile.fake_jobs import JobClient
from tests.reconcile.test_job_runner import FILE, Play, Running, play

__all__ = ["play"]

PLAIN = FILE.partition("[jobs.move]")[0]
MORE = PLAIN + '[exports.vdb]\nnode = "new"\n'


def by_hand(client: JobClient, name: str = "mine") -> None:
    """Somebody's node, by QMP."""
    client.live.server.execute("blockdev-add", {"driver": "null", "node-name": name})
    client.emit("X_BLKRUN_GRAPH_CHANGED", **{"revision": 9, "of-file": False, "operations": []})


def undone(client: JobClient) -> None:
    """And away with it."""
    client.live.server.execute("blockdev-del", {"node-name": "mine"})
    client.emit("X_BLKRUN_GRAPH_CHANGED", **{"revision": 9, "of-file": False, "operations": []})


def test_drift_is_told_and_ends(play: Play) -> None:
    """With what would bring it back; the next look says nothing."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        by_hand(client)
        await running.steps()
        (data,) = [data for kind, data in client.reports if kind == "drifted"]
        assert data["operations"] == ["- backend mine (null)"]
        assert data["on-drift"] == "warn"
        assert running.kinds() == ["drifted"]
        await running.steps()
        undone(client)
        await running.steps()
        assert running.kinds() == ["drift-ended"]

    play(story, PLAIN)


def test_a_revert_that_is_refused_is_told_once(play: Play) -> None:
    """No loop."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        client.refuse = True
        by_hand(client)
        await running.steps(20)
        (data,) = [data for _, data in client.reports]
        assert "is busy" in data["message"]
        assert running.kinds() == ["drifted"]

    play(story, '[runner]\non-drift = "revert"\n' + PLAIN)


def test_an_edit_ends_it(play: Play) -> None:
    """A save that is applied brings all to what the file says."""

    async def story(running: Running, client: JobClient) -> None:
        by_hand(client)
        await running.steps()
        running.kinds()
        await running.save(MORE)
        assert running.kinds() == ["applied", "drift-ended"]
        assert "mine" not in client.live.model().nodes

    play(story, PLAIN)


@pytest.mark.parametrize("text", [MORE + "[", '[runner]\napply = "ask"\n' + MORE])
def test_a_file_that_is_not_in_force(play: Play, text: str) -> None:
    """What is rejected or waits is not what drift is measured by."""

    async def story(running: Running, client: JobClient) -> None:
        await running.save(text)
        running.kinds()
        by_hand(client)
        await running.steps()
        (data,) = [data for _, data in client.reports]
        assert data["operations"] == ["- backend mine (null)"]

    play(story, PLAIN)


def test_the_next_runner(play: Play) -> None:
    """It finds what is in force with the server, drift and a file that was edited meanwhile."""

    async def story(running: Running, client: JobClient) -> None:
        await running.runner.close()
        by_hand(client)
        running.kinds()
        again = Running(running.file, running.clients)
        await again.runner.start()
        await again.steps()
        assert again.kinds() == ["adopted", "drifted"]
        await again.runner.close()
        running.file.write_text('[runner]\napply = "ask"\n' + MORE)
        third = Running(running.file, running.clients)
        await third.runner.start()
        await third.steps()
        reports = [(kind, data.get("operations")) for kind, data in client.reports]
        assert [kind for kind, _ in reports] == ["adopted", "pending", "drifted"]
        assert reports[-1][1] == ["- backend mine (null)"]
        await third.runner.close()

    play(story, PLAIN)


def test_what_somebody_else_has_applied(play: Play) -> None:
    """It is in force from then on, by the texts in the history if the file says something else."""

    async def story(running: Running, client: JobClient) -> None:
        sources = Sources(main=running.file, texts={running.file: MORE.encode()})
        chronicle = Chronicle(running.file.with_suffix(".qmp"), "apply", running.notes.append)
        data = {"operations": ["+ export vdb"]}
        edge = {"type": "nbd", "id": "vdb", "node-name": "new", "writable": True}
        client.live.server.execute("block-export-add", edge)
        told = await chronicle.tell(client, "applied", data, sources)  # type: ignore[arg-type]
        client.emit("X_BLKRUN_CONFIG_APPLIED", **told)
        await running.steps()
        assert running.runner.config == parse(sources)
        running.kinds()
        by_hand(client)
        await running.steps()
        (data,) = [data for _, data in client.reports]
        assert data["operations"] == ["- backend mine (null)"]
        assert running.notes == []

    play(story, PLAIN)


def test_saved_as_it_was(play: Play) -> None:
    """No report; of a text that failed another try."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        await running.save(PLAIN)
        assert running.kinds() == []
        client.refuse = True
        await running.save(MORE)
        assert running.kinds() == ["failed"]
        client.refuse = False
        await running.save(MORE)
        assert running.kinds() == ["applied"]

    play(story, PLAIN)


def test_reload(play: Play) -> None:
    """Read again because somebody asks: told though nothing has changed."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        client.emit("X_BLKRUN_RUNNER_ASKED", kind="reload")
        await running.steps()
        assert running.kinds() == ["applied"]
        running.file.unlink()
        await running.steps()
        assert running.kinds() == []

    play(story, PLAIN)


def test_names_hold_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts come back to where the main file is now, from wherever somebody asks."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "vm.toml").write_text('include = ["tenants/*.toml"]\n' + PLAIN)
    (tmp_path / "tenants" / "a.toml").write_text("# a\n")
    monkeypatch.chdir(tmp_path / "tenants")
    sources = read(Path("../vm.toml"))
    texts = named(sources)
    assert list(texts) == ["vm.toml", "tenants/a.toml"]
    assert sources_of(texts, Path("../vm.toml")) == sources
    assert sources_of(texts, tmp_path / "vm.toml").digest == sources.digest


def test_a_history_that_cannot_be_written(tmp_path: Path) -> None:
    """Is told once until it can be again; what is told to watchers has no number then."""
    notes: list[str] = []
    chronicle = Chronicle(tmp_path / "no" / "vm.qmp", "run", notes.append)

    async def write() -> list[Any]:
        return [await chronicle.write("drifted", {}, None) for _ in range(3)]

    assert asyncio.run(write()) == [None] * 3
    assert len(notes) == 1
    (tmp_path / "no").mkdir()
    assert asyncio.run(write()) == [1, 2, 3]
    assert History(tmp_path / "no" / "vm.history").changes()[0].by == "run"
