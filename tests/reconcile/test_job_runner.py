"""The runner and jobs: what it does when one ends, pivots, or has ended with its server."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from blkrun.config import load, read
from blkrun.job_options import BackupOptions
from blkrun.model import JobState
from blkrun.reconcile.apply import RefusedError
from blkrun.reconcile.runner import Runner
from tests.reconcile.fake_jobs import FakeJob, JobClient

FILE = """\
[backends.old]
driver = "memory"
size   = "1MiB"
[backends.new]
driver = "memory"
size   = "1MiB"
[exports.vda]
node = "old"
[jobs.move]
type   = "mirror"
device = "old"
target = "new"   # there
"""
FOLLOWED = FILE.replace('node = "old"', 'node = "new"') + "enabled = false\n"


class Running:
    """A runner that is led step by step."""

    def __init__(self, file: Path, clients: list[JobClient], server: Any = None) -> None:
        self.file = file
        self.clients = clients
        self.notes: list[str] = []
        self.runner = Runner(
            load(file),
            server,
            sources=read(file),
            shown=file,
            on_event=lambda _: None,
            note=self.notes.append,
        )

    async def steps(self, count: int = 10) -> None:
        """As many looks as it takes for what has happened, and some more."""
        for _ in range(count):
            await asyncio.sleep(0)
            await self.runner._step()

    async def save(self, text: str) -> None:
        """An edit, and what follows from it."""
        self.file.write_text(text)
        await self.steps()

    def kinds(self) -> list[str]:
        """What has been reported, and forget it."""
        kinds = [kind for client in self.clients for kind, _ in client.reports]
        for client in self.clients:
            client.reports.clear()
        return kinds


Story = Callable[[Running, JobClient], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Adopt a server that has nothing yet, and go on as a test says."""
    file = tmp_path / "vm.toml"

    def play(story: Story, text: str = FILE, *, old: bool = False) -> None:
        asyncio.run(go(story, text, old=old))

    async def go(story: Story, text: str, *, old: bool) -> None:
        file.write_text(text)
        client = JobClient(old=old)
        running = Running(file, [client])

        async def connect(_: object) -> JobClient:
            return running.clients[-1]

        monkeypatch.setattr("blkrun.reconcile.runner.Client.connect", connect)
        monkeypatch.setattr("blkrun.reconcile.watch.LOOK_INTERVAL_S", 0)
        await running.runner.start()
        await running.steps()
        await story(running, client)
        await running.runner.close()

    return play


def test_a_job_with_other_options_starts_when_the_old_one_has_ended(play: Play) -> None:
    """The edit cancels it; its end asks for the next plan, and nothing is done in between."""

    async def story(running: Running, client: JobClient) -> None:
        assert running.kinds() == ["adopted", "applied"]
        await running.save(FILE + 'sync = "top"\n')
        assert client.live.jobs["move"].state.leaving
        assert running.kinds() == ["applied"]
        client.emit("JOB_STATUS_CHANGE", id="move", status="aborting")
        await running.steps()
        assert running.kinds() == []
        client.live.end()
        client.emit("JOB_STATUS_CHANGE", id="move", status="concluded")
        client.emit("JOB_STATUS_CHANGE", id="move", status="null")
        await running.steps()
        assert running.kinds() == ["applied"]
        assert getattr(client.live.jobs["move"].options, "sync", None) == "top"

    play(story)


def test_a_jobs_end_is_no_news_by_itself(play: Play) -> None:
    """Where no plan comes of it nothing is reported."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        client.live.jobs["move"].state = JobState(status="concluded")
        client.emit("JOB_STATUS_CHANGE", id="move", status="concluded")
        await running.steps()
        assert running.kinds() == []
        assert running.file.read_text() == FILE

    play(story)


def test_an_edit_that_a_job_was_in_the_way_of(play: Play) -> None:
    """It is refused and told, and applied when the job has ended."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        client.refuse = True
        await running.save(FILE + '[exports.vdb]\nnode = "old"\n')
        assert running.kinds() == ["failed"]
        client.refuse = False
        await running.steps()
        assert running.kinds() == []
        client.live.jobs["move"].state = JobState(status="concluded")
        client.emit("JOB_STATUS_CHANGE", id="move", status="concluded")
        await running.steps()
        assert running.kinds() == ["applied"]
        assert "vdb" in client.live.model().exports

    play(story)


def test_an_edit_leaves_alone_what_somebody_started(play: Play) -> None:
    """A job by QMP: no save cancels it, however the file's own jobs change."""

    async def story(running: Running, client: JobClient) -> None:
        text = FILE + '[backends.more]\ndriver = "memory"\nsize   = "1MiB"\n'
        await running.save(text)
        options = BackupOptions(job_id="theirs", device="more", target="elsewhere")
        client.live.jobs["theirs"] = FakeJob(options, of_file=False)
        running.kinds()
        await running.save(text.replace("# there", "\nspeed = 4096"))
        assert running.kinds() == ["applied"]
        await running.save(text.partition("[jobs.move]")[0] + text.partition("# there\n")[2])
        assert client.live.jobs["move"].state.leaving
        assert client.live.jobs["theirs"].state == JobState()

    play(story)


def test_a_bitmap_that_a_job_was_in_the_way_of(play: Play) -> None:
    """It goes when the job that the same edit cancels has ended."""
    job = '[jobs.copy]\ntype = "backup"\ndevice = "old"\ntarget = "new"\n'
    job += 'sync = "incremental"\nbitmap = "b0"\n'
    alone = FILE.partition("[jobs.move]")[0]
    text = alone + '[bitmaps.b0]\nnode = "old"\n' + job

    async def story(running: Running, client: JobClient) -> None:
        assert client.live.model().bitmaps.keys() == {"b0"}
        await running.save(alone)
        assert running.kinds() == ["adopted", "applied", "applied"]
        assert client.live.model().bitmaps.keys() == {"b0"}
        client.live.end()
        client.emit("JOB_STATUS_CHANGE", id="copy", status="null")
        await running.steps()
        assert running.kinds() == ["applied"]
        assert client.live.model().bitmaps == {}

    play(story, text)


def test_what_is_done_beside_the_file_is_no_business_of_a_jobs_end(play: Play) -> None:
    """Somebody's node and job, by QMP, are there until the next edit."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        add = {"driver": "null", "node-name": "mine"}
        client.live.server.execute("blockdev-add", add)
        options = BackupOptions(job_id="theirs", device="mine", target="new")
        client.live.jobs["theirs"] = FakeJob(options, of_file=False)
        client.live.jobs["move"].state = JobState(status="concluded")
        client.emit("JOB_STATUS_CHANGE", id="move", status="concluded")
        await running.steps()
        assert running.kinds() == []
        assert "mine" in client.live.model().nodes
        assert not client.live.jobs["theirs"].state.cancelled

    play(story)


def test_the_file_follows_a_pivot(play: Play) -> None:
    """It is edited, that is reported, and the plan of the edited file is empty."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        client.pivot("move")
        await running.steps()
        assert running.file.read_text() == FOLLOWED
        reports = dict(client.reports)
        assert running.kinds() == ["followed", "applied"]
        assert reports["followed"]["changes"][0] == '[exports.vda] node = "new"'
        assert reports["applied"]["operations"] == []
        await running.steps()
        assert running.kinds() == []

    play(story)


def test_a_pivot_while_no_runner_was_there(play: Play) -> None:
    """The next one neither leads clients back nor forgets to edit the file."""

    async def story(running: Running, client: JobClient) -> None:
        await running.runner.close()
        client.pivot("move")
        client.reports.clear()
        again = Running(running.file, running.clients)
        await again.runner.start()
        assert client.live.model().exports["vda"].node == "new"
        await again.steps()
        assert again.kinds() == ["adopted", "applied", "followed", "applied"]
        assert running.file.read_text() == FOLLOWED
        await again.runner.close()

    play(story)


def test_a_file_with_a_mistake_follows_when_it_is_mended(play: Play) -> None:
    """It is left alone until then, and that is said once."""

    async def story(running: Running, client: JobClient) -> None:
        wrong = FILE.replace("size ", "sizes ", 1)
        await running.save(wrong)
        running.kinds()
        client.pivot("move")
        await running.steps()
        message = client.reports[0][1]["message"]
        assert 'unknown key "sizes"' in message
        assert running.kinds() == ["followed"]
        assert running.file.read_text() == wrong
        await running.save(FILE)
        assert running.kinds() == ["applied", "followed", "applied"]
        assert running.file.read_text() == FOLLOWED

    play(story)


def test_a_pivot_while_the_file_is_being_saved(play: Play) -> None:
    """Somebody's editor has written a half of it: that is waited for, and then edited."""

    async def story(running: Running, client: JobClient) -> None:
        running.file.write_text(FILE + "# and")
        client.pivot("move")
        await running.steps(1)
        assert running.file.read_text() == FILE + "# and"
        running.file.write_text(FILE + "# and more\n")
        await running.steps(10)
        assert running.file.read_text() == FOLLOWED.replace(
            "enabled = false\n", "enabled = false\n# and more\n"
        )

    play(story)


def test_a_server_that_does_not_know_this_report(play: Play) -> None:
    """What was done is told here instead."""

    async def story(running: Running, client: JobClient) -> None:
        client.pivot("move")
        await running.steps()
        assert running.file.read_text() == FOLLOWED
        assert running.notes == [
            (
                "whoever used old uses new since move pivoted; vm.toml says so now: "
                '[exports.vda] node = "new"; [jobs.move] enabled = false'
            )
        ]

    play(story, old=True)


def test_what_waits_for_a_yes_is_told_once(play: Play) -> None:
    """An edit that is pending is not told again with each look."""

    async def story(running: Running, client: JobClient) -> None:
        ask = FILE + '[runner]\napply = "ask"\n'
        await running.save(ask)
        running.kinds()
        await running.save(ask.replace("size ", 'discard = "ignore"\nsize ', 1))
        await running.steps(20)
        assert running.kinds() == ["pending"]

    play(story)


class Server:
    """nbdkit."""

    pid = 1
    was_ended = False

    def ended(self) -> str | None:
        """How."""
        return None

    def end(self) -> None:
        """The runner has given up."""
        self.was_ended = True


def start_again(
    running: Running, client: JobClient, fresh: JobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies, and the next one is this."""
    running.clients.append(fresh)

    async def ready(*_: object) -> JobClient:
        return fresh

    monkeypatch.setattr("blkrun.reconcile.nbdkit.answers", lambda _: False)
    monkeypatch.setattr(running.runner, "_start_server", lambda _: Server())
    monkeypatch.setattr("blkrun.reconcile.runner.wait_until_ready", ready)
    client.die()


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("state", [JobState(), JobState(status="concluded")])
def test_jobs_and_a_server_that_has_to_be_started_again(
    play: Play, monkeypatch: pytest.MonkeyPatch, state: JobState, *, at_once: bool
) -> None:
    """What was running is started again, what had ended is not, not by later edits either.

    Also of a job that ends just before the server does.  A table that goes and comes back is a new
    job.
    """

    async def story(running: Running, client: JobClient) -> None:
        client.live.jobs["move"].state = state
        client.emit("JOB_STATUS_CHANGE", id="move", status=state.status)
        if not at_once:
            await running.steps()
        fresh = JobClient()
        start_again(running, client, fresh, monkeypatch)
        await running.steps()
        assert "restarted" in running.kinds()
        assert fresh.live.model().exports["vda"].node == "old"
        assert ("move" in fresh.live.jobs) == (not state.ended)
        await running.save(FILE + '[exports.vdb]\nnode = "old"\n')
        assert fresh.live.model().exports.keys() == {"vda", "vdb"}
        assert ("move" in fresh.live.jobs) == (not state.ended)
        await running.save(FILE.partition("[jobs.move]")[0])
        fresh.live.end()
        await running.save(FILE)
        assert "move" in fresh.live.jobs

    play(story)


def test_a_job_that_a_new_server_does_not_start(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exports come back without it; that is told once, and again when it is tried again."""

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        fresh = JobClient()
        fresh.refused_jobs = {"move"}
        start_again(running, client, fresh, monkeypatch)
        await running.steps(10)
        (message,) = [data["message"] for kind, data in fresh.reports if kind == "failed"]
        assert message == "vm.toml:9: [jobs.move] Bitmap 'b0' could not be found"
        assert running.kinds() == ["restarted", "failed"]
        assert fresh.live.model().exports["vda"].node == "old"
        assert fresh.live.jobs == {}
        await running.save(FILE + "# again\n")
        assert running.kinds() == ["failed"]
        fresh.refused_jobs = set()
        await running.save(FILE)
        assert running.kinds() == ["applied"]
        assert fresh.live.jobs.keys() == {"move"}

    play(story)


def test_only_the_jobs_that_are_refused_are_left_out(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three, told one by one."""
    names = ("one", "two", "three")
    text = FILE.partition("[jobs.move]")[0]
    for name in names:
        text += f'[backends.from-{name}]\ndriver = "memory"\nsize = "1MiB"\n'
        text += f'[backends.to-{name}]\ndriver = "memory"\nsize = "1MiB"\n'
        text += f'[jobs.{name}]\ntype = "backup"\ndevice = "from-{name}"\ntarget = "to-{name}"\n'

    async def story(running: Running, client: JobClient) -> None:
        running.kinds()
        fresh = JobClient()
        fresh.refused_jobs = {"one", "three"}
        start_again(running, client, fresh, monkeypatch)
        await running.steps(10)
        assert running.kinds() == ["restarted", "failed", "failed"]
        assert fresh.live.jobs.keys() == {"two"}

    play(story, text)


def test_the_first_start_is_refused_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs that did not run before, and the message names the table."""
    file = tmp_path / "vm.toml"
    file.write_text(FILE)
    client, server = JobClient(), Server()
    client.refused_jobs = {"move"}

    async def ready(*_: object) -> JobClient:
        return client

    monkeypatch.setattr("blkrun.reconcile.runner.wait_until_ready", ready)

    async def start() -> None:
        running = Running(file, [client], server)
        with pytest.raises(RefusedError, match=r"\[jobs.move\] Bitmap"):
            await running.runner.start()
        await running.runner.close()

    asyncio.run(start())
    assert server.was_ended
    assert client.live.model().exports == {}
