"""A feed that also writes: all of it, and never in the way of the dashboard."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from blkrun.dashboard import recorder as module
from blkrun.dashboard.feed import Feed, Happened, Report, Rewound
from blkrun.dashboard.recorder import Recorder
from blkrun.dashboard.recording import Recorded, Recording
from blkrun.dashboard.recording_writer import Writer
from tests.dashboard.dashboard_samples import FakeFeed
from tests.dashboard.recording_samples import BEGIN_S, happened, look, lost

TOLD = [report for _, report in (happened(0), look(1), lost(2), look(3))]


class Talking(FakeFeed):
    """Tells some reports, calls ``then``, and ends."""

    def __init__(self, *reports: Report, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._reports = reports
        self._then = then

    async def run(self, tell: Callable[[Report], object]) -> None:
        """Tell them."""
        for report in self._reports:
            tell(report)
            await asyncio.sleep(0)
        self._then()


def recorded(
    path: Path, feed: Feed, spoil: Callable[[Writer], object] = lambda _: None
) -> tuple[list[Report], list[str]]:
    """Record a feed; what the app heard, and what was noted."""
    heard: list[Report] = []
    notes: list[str] = []

    async def act() -> None:
        writer = Writer.open(path, title="lab.toml", begin_ms=0)
        spoil(writer)
        recorder = Recorder(feed, writer, note=notes.append, unix_s=lambda: BEGIN_S)
        await recorder.run(heard.append)
        await asyncio.to_thread(recorder.close)
        await asyncio.sleep(0)  # what the thread has said last is heard
        assert recorder.recording == (not notes)

    asyncio.run(act())
    return heard, notes


def everything(path: Path) -> list[Recorded]:
    """All that a recording tells."""
    with Recording.open(path) as recording:
        return [report for _, report in recording.reports()]


def test_what_is_told_is_written(tmp_path: Path) -> None:
    """The app hears the same as without."""
    heard, notes = recorded(tmp_path / "a.rec", Talking(*TOLD))
    assert heard == TOLD
    assert notes == []
    kinds = [type(report) for report in everything(tmp_path / "a.rec")]
    assert kinds == [type(report) for report in TOLD]


def test_what_only_a_player_tells_is_not(tmp_path: Path) -> None:
    """There is no row for it."""
    recorded(tmp_path / "a.rec", Talking(Rewound(()), *TOLD))
    assert len(everything(tmp_path / "a.rec")) == len(TOLD)


def test_a_full_disk_ends_the_recording_with_a_word(tmp_path: Path) -> None:
    """The app hears everything; what had been written can be read."""

    def fill(writer: Writer) -> None:
        writer._database.execute("PRAGMA max_page_count = 8")

    many = [look(second, held=second)[1] for second in range(500)]
    heard, notes = recorded(tmp_path / "a.rec", Talking(*many), fill)
    assert heard == many
    assert notes == ["the recording has ended: database or disk is full"]
    everything(tmp_path / "a.rec")


def test_a_disk_that_hangs_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many reports wait for it; those are written when it goes on."""
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    goes_on = Event()

    def hang(writer: Writer) -> None:
        write = writer.write

        def wait(report: Recorded, at_ms: int) -> None:
            assert goes_on.wait(10)
            write(report, at_ms)

        monkeypatch.setattr(writer, "write", wait)

    feed = Talking(*[look(0)[1]] * 20, then=goes_on.set)
    heard, notes = recorded(tmp_path / "a.rec", feed, hang)
    assert len(heard) == 20
    assert notes == ["the recording has ended: the disk is too slow"]
    assert len(everything(tmp_path / "a.rec")) in (3, 4)


def test_a_report_that_cannot_be_written_ends_it_with_a_word_too(tmp_path: Path) -> None:
    """Else the dashboard would say that it records, for ever, and nothing would be written."""
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    heard, notes = recorded(tmp_path / "a.rec", Talking(TOLD[0], Happened(({"data": nested},))))
    assert len(heard) == 2
    assert len(notes) == 1
    assert notes[0].startswith("the recording has ended: RecursionError")


def test_the_rest_is_the_feeds(tmp_path: Path) -> None:
    """Its clock, its interval, and who is asked."""
    feed = FakeFeed()

    async def act() -> None:
        writer = Writer.open(tmp_path / "a.rec", title="lab.toml", begin_ms=0)
        recorder = Recorder(feed, writer, note=print)
        recorder.set_refresh(2)
        await recorder.ask_runner("apply", {"digest": "d"})
        assert recorder.now_s() == feed.now_s()
        assert recorder.wall_s(5) == feed.wall_s(5)
        assert recorder.refresh_s == feed.refresh_s == 2
        await asyncio.to_thread(recorder.close)

    asyncio.run(act())
    assert feed.asked == [("apply", {"digest": "d"})]
