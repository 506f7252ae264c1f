"""A recording played by a clock that a test sets: what is told when, and what a leap rebuilds."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.feed import Happened, Lost, Report, Rewound, Seen
from blkrun.dashboard.model.playback import SPEEDS, Overview
from blkrun.dashboard.past import GAP_MS, chosen, thinned
from blkrun.dashboard.player import Player
from blkrun.dashboard.recording import Entry, Recording
from blkrun.errors import BlkrunError
from tests.dashboard.dashboard_samples import FakeClock, connected, event
from tests.dashboard.recording_samples import (
    BEGIN_S,
    Told,
    happened,
    incident,
    look,
    looks,
    lost,
    record,
)


class Show:
    """A player, its clock, and what it told; times are seconds of the recording."""

    def __init__(self, recording: Recording) -> None:
        self.clock = FakeClock()
        self.player = Player(recording, clock=self.clock)
        self.reports: list[Report] = []

    async def frame(self, seconds: float = 0) -> list[Report]:
        """Time passes, and a frame is told; gives what came."""
        self.clock.now_s += seconds
        self.reports.clear()
        await self.player.frame(self.reports.append)
        return list(self.reports)

    @property
    def at_s(self) -> float:
        """Where it is."""
        return round(self.player.position.at_s - BEGIN_S, 3)


Play = Callable[[Show], Awaitable[None]]


def perform(path: Path, play: Play) -> None:
    """Run a player around a play."""

    async def act() -> None:
        with Recording.open(path) as recording:
            show = Show(recording)
            await play(show)
            show.player.close()

    asyncio.run(act())


def seconds(reports: list[Report]) -> list[float]:
    """When the looks among them were."""
    return [report.at_s - BEGIN_S for report in reports if isinstance(report, Seen)]


def rewound(reports: list[Report]) -> list[Report]:
    """The past that the only report is."""
    (report,) = reports
    assert isinstance(report, Rewound)
    return [each for _, each in report.past]


def minute(path: Path, *more: Told) -> Path:
    """A look a second."""
    return record(path, *looks(0, 61), *more)


def test_it_begins_at_the_beginning_and_plays(tmp_path: Path) -> None:
    """First what was first, then what came as time passes, each once and in order."""
    path = record(tmp_path / "a.rec", look(0), happened(0.5, connected(1)), look(1), look(2))

    async def play(show: Show) -> None:
        assert seconds(rewound(await show.frame())) == [0]
        assert await show.frame(0.4) == []
        assert [type(report) for report in await show.frame(0.6)] == [Happened, Seen]
        assert show.at_s == 1
        assert seconds(await show.frame(1)) == [2]

    perform(path, play)


@pytest.mark.parametrize("speed", SPEEDS)
def test_speeds(tmp_path: Path, speed: int) -> None:
    """So much recorded time passes a second; what passed before the change passed as it was."""

    async def play(show: Show) -> None:
        await show.frame()
        show.clock.now_s += 0.25
        show.player.set_speed(speed)
        await show.frame(0.5)
        assert show.at_s == 0.25 + 0.5 * speed

    perform(minute(tmp_path / "a.rec"), play)


def test_a_fast_frame_tells_some_looks_and_all_events(tmp_path: Path) -> None:
    """The last look of a frame is always told."""
    told = [each for s in range(120) for each in (look(s), happened(s + 0.5, connected(s)))]

    async def play(show: Show) -> None:
        await show.frame()
        show.player.set_speed(60)
        reports = await show.frame(1)
        assert sum(isinstance(report, Happened) for report in reports) == 60
        assert 2 <= len(seconds(reports)) <= 6
        assert seconds(reports)[-1] == 60

    perform(record(tmp_path / "a.rec", *told), play)


def test_pause_and_play(tmp_path: Path) -> None:
    """Nothing is told while it is halted, and nothing is skipped for it."""

    async def play(show: Show) -> None:
        await show.frame()
        await show.frame(2)
        show.player.pause()
        assert await show.frame(100) == []
        show.player.play()
        assert seconds(await show.frame(1)) == [3]

    perform(minute(tmp_path / "a.rec"), play)


def test_at_the_end_it_stays(tmp_path: Path) -> None:
    """At the last look, halted; playing again begins anew."""

    async def play(show: Show) -> None:
        await show.frame()
        show.player.set_speed(60)
        await show.frame(10)
        assert (show.at_s, show.player.position.playing) == (60, False)
        assert await show.frame(10) == []
        show.player.play()
        assert seconds(rewound(await show.frame())) == [0]
        assert show.player.position.playing

    perform(minute(tmp_path / "a.rec"), play)


def test_it_goes_on_with_what_is_recorded_meanwhile(tmp_path: Path) -> None:
    """The end is where the recorder is."""
    path = record(tmp_path / "a.rec", look(0), look(1), look(5))

    async def play(show: Show) -> None:
        await show.frame()
        await show.frame(1)
        record(path, look(7))
        await show.frame(1)
        assert show.player.position.last_s == BEGIN_S + 7

    perform(path, play)


def test_steps(tmp_path: Path) -> None:
    """From look to look, halted; on is told, back is a leap; at an end nothing happens."""
    path = record(tmp_path / "a.rec", look(0), look(1), happened(1.5, connected(1)), look(2))

    async def play(show: Show) -> None:
        await show.frame()
        show.player.step(1)
        assert seconds(await show.frame(50)) == [1]
        assert (show.at_s, show.player.position.playing) == (1, False)
        show.player.step(1)
        assert [type(report) for report in await show.frame()] == [Happened, Seen]
        show.player.step(1)
        assert await show.frame() == []
        show.player.step(-1)
        assert [type(report) for report in rewound(await show.frame())] == [Seen, Seen]
        assert show.at_s == 1
        show.player.step(-5)
        assert seconds(rewound(await show.frame())) == [0]
        show.player.step(-1)
        assert await show.frame() == []

    perform(path, play)


def test_steps_between_looks_of_the_same_moment(tmp_path: Path) -> None:
    """Each look is a step, whatever the clock said."""
    path = record(tmp_path / "a.rec", look(0), look(1), look(1, held=3), look(2))

    async def play(show: Show) -> None:
        show.player.seek(BEGIN_S + 2)
        await show.frame()
        for expected in ([0, 1, 1], [0, 1], [0]):
            show.player.step(-1)
            assert seconds(rewound(await show.frame())) == expected

    perform(path, play)


def test_a_leap_tells_the_past_and_goes_on_from_there(tmp_path: Path) -> None:
    """All events before, looks up to the moment, and nothing twice afterwards."""
    path = minute(tmp_path / "a.rec", happened(61, connected(1)), *looks(62, 80))

    async def play(show: Show) -> None:
        await show.frame()
        show.player.seek(BEGIN_S + 70.5)
        past = rewound(await show.frame())
        assert seconds(past)[-1] == 70
        assert past.count(happened(61, connected(1))[1]) == 1
        assert show.at_s == 70.5
        assert seconds(await show.frame(1)) == [71]
        show.player.seek(BEGIN_S - 100)
        assert seconds(rewound(await show.frame())) == [0]
        show.player.seek(BEGIN_S + 10**6)
        assert seconds(rewound(await show.frame()))[-1] == 79

    perform(path, play)


def test_a_leap_while_it_leaps(tmp_path: Path) -> None:
    """The older is given up: only the newer one is told."""

    async def play(show: Show) -> None:
        await show.frame()
        show.player.seek(BEGIN_S + 50)
        frame = asyncio.create_task(show.frame())
        await asyncio.sleep(0)
        show.player.seek(BEGIN_S + 20)
        assert seconds(rewound(await frame))[-1] == 20

    perform(minute(tmp_path / "a.rec"), play)


@pytest.mark.parametrize("hint", [(), (lost(4.5),)], ids=["unsaid", "said"])
def test_a_gap_is_told_as_one(tmp_path: Path, hint: tuple[Told, ...]) -> None:
    """Whether the server had gone or nothing was written: played, leapt over and leapt into."""
    path = record(tmp_path / "a.rec", *looks(0, 5), *hint, *looks(30, 60))

    async def play(show: Show) -> None:
        await show.frame()
        told = [report for _ in range(40) for report in await show.frame(1)]
        kinds = [type(report) for report in told]
        assert kinds.count(Lost) == 1
        assert kinds.index(Lost) == 4
        for goal_s, last in ((29, Lost), (40, Seen)):
            show.player.seek(BEGIN_S + goal_s)
            past = rewound(await show.frame())
            assert [type(each) for each in past].count(Lost) == 1
            assert isinstance(past[-1], last)
        show.player.seek(BEGIN_S)
        await show.frame()
        show.player.set_speed(60)
        assert Lost in map(type, await show.frame(0.75))

    perform(path, play)


def test_its_clock_stands_between_looks(tmp_path: Path) -> None:
    """A look is not old because the next one is far; where the server is lost, time goes on."""
    path = record(tmp_path / "a.rec", look(0), look(5), lost(6), look(20))

    async def play(show: Show) -> None:
        await show.frame()
        await show.frame(4)
        assert show.player.now_s() == BEGIN_S
        await show.frame(1)
        assert show.player.now_s() == BEGIN_S + 5
        await show.frame(4)
        assert show.player.now_s() == BEGIN_S + 9

    perform(path, play)


def test_a_long_silence_is_a_gap(tmp_path: Path) -> None:
    """Even before it is known what comes after it."""
    path = record(tmp_path / "a.rec", look(0), look(60))

    async def play(show: Show) -> None:
        await show.frame()
        assert await show.frame(GAP_MS / 1000) == []
        assert await show.frame(1) == [Lost("nothing was recorded for 11 s")]
        assert await show.frame(1) == []

    perform(path, play)


def test_events_before_are_kept_up_to_what_the_log_keeps(tmp_path: Path) -> None:
    """The newest of them, however long ago they were."""
    many = [happened(0, *[connected(n) for n in range(1000)]) for _ in range(7)]
    path = record(tmp_path / "a.rec", *many, look(10**5))

    async def play(show: Show) -> None:
        show.player.seek(BEGIN_S + 10**5)
        past = rewound(await show.frame())
        assert sum(len(each.events) for each in past if isinstance(each, Happened)) == 5000

    perform(path, play)


@pytest.mark.parametrize("steps", [-1, 1])
def test_a_leap_is_not_forgotten_for_a_step(tmp_path: Path, steps: int) -> None:
    """Somebody clicks on the slider while the look of the key before is still looked up."""

    async def play(show: Show) -> None:
        show.player.seek(BEGIN_S + 10)
        await show.frame()
        show.player.step(steps)
        stepping = asyncio.create_task(show.frame())
        await asyncio.sleep(0)
        show.player.seek(BEGIN_S + 40)
        await stepping
        await show.frame()
        assert show.at_s == 40

    perform(minute(tmp_path / "a.rec"), play)


def test_a_leap_into_a_gap_tells_what_began_it(tmp_path: Path) -> None:
    """Also when both the last look and the loss are older than anything that plots show."""
    path = record(tmp_path / "a.rec", look(0), lost(1, "why"), happened(10**5, connected(1)))

    async def play(show: Show) -> None:
        show.player.seek(BEGIN_S + 10**5)
        past = rewound(await show.frame())
        assert [type(report) for report in past] == [Seen, Lost, Happened]
        assert past[1] == Lost("why")

    perform(path, play)


def test_a_leap_into_a_long_gap_shows_the_last_look(tmp_path: Path) -> None:
    """However old it is, and that it is old."""
    path = record(tmp_path / "a.rec", look(0), look(1), happened(10**5, connected(1)))

    async def play(show: Show) -> None:
        show.player.seek(BEGIN_S + 10**5)
        past = rewound(await show.frame())
        assert [type(report) for report in past] == [Seen, Happened, Lost]

    perform(path, play)


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=3000),
    st.integers(0, 100),
)
def test_a_choice_of_looks(steps_ms: list[int], after_ms: int) -> None:
    """Not much above 300 whatever there are; the last two always; few are missing of a minute."""
    at_ms, looks = 0, []
    for number, step_ms in enumerate(steps_ms):
        at_ms += step_ms
        looks.append(Entry(number, at_ms, "look"))
    end_ms = at_ms + after_ms
    recent = [entry for entry in looks if entry.at_ms > end_ms - 30 * 60_000]
    kept = chosen(recent, end_ms)
    assert len(kept) <= 310
    assert {entry.id for entry in recent[-2:]} <= kept
    dense = sorted(e.at_ms for e in recent if e.id in kept and e.at_ms > end_ms - 60_000)
    every = sorted(e.at_ms for e in recent if e.at_ms > end_ms - 60_000)
    widest = max((b - a for a, b in pairwise(every)), default=0)
    assert all(b - a <= widest + 1000 for a, b in pairwise(dense))


@given(st.integers(0, 100), st.integers(1, 20))
def test_thinned_looks(count: int, most: int) -> None:
    """At most so many, the last one among them."""
    kept = thinned([Entry(n, n, "look") for n in range(count)], most)
    assert len(kept) == 0 if not count else 1 <= len(kept) <= most
    assert not count or count - 1 in kept


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """It is counted for the slider, and played over."""
    path = record(tmp_path / "a.rec", look(0), look(1), look(2))
    content = path.read_bytes()
    with Recording.open(path) as recording:
        (body,) = recording._rows("SELECT body FROM report WHERE id = 2")[0]
    path.write_bytes(content.replace(body, bytes(len(body))))

    async def play(show: Show) -> None:
        await show.frame()
        assert seconds(await show.frame(2)) == [2]
        assert show.player.position.unreadable == 1

    perform(path, play)


def test_a_file_that_breaks_while_it_is_played(tmp_path: Path) -> None:
    """Is told as a loss, and halts it: the dashboard stays."""
    path = record(tmp_path / "a.rec", *looks(0, 1000))

    async def play(show: Show) -> None:
        await show.frame()
        path.write_bytes(b"\0" * path.stat().st_size)
        show.player.seek(BEGIN_S + 900)
        (report,) = await show.frame()
        assert isinstance(report, Lost)
        assert "a.rec" in report.why
        assert not show.player.position.playing

    perform(path, play)


def test_nothing_can_be_changed(tmp_path: Path) -> None:
    """There is nobody who could."""

    async def play(show: Show) -> None:
        with pytest.raises(BlkrunError, match="nothing can be changed"):
            await show.player.ask_runner("apply", {})

    perform(minute(tmp_path / "a.rec"), play)


def test_a_whole_run(tmp_path: Path) -> None:
    """Played by a task as the app has it: controls wake it, and it ends well."""
    path = incident(tmp_path / "a.rec")

    async def act() -> None:
        with Recording.open(path) as recording:
            player = Player(recording, refresh_s=60)
            told: asyncio.Queue[Report] = asyncio.Queue()
            task = asyncio.create_task(player.run(told.put_nowait))
            async with asyncio.timeout(10):
                assert isinstance(await told.get(), Rewound)
                player.pause()
                player.seek(BEGIN_S + 59)
                assert isinstance(await told.get(), Rewound)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(act())


def surveyed(path: Path) -> Overview:
    """What the slider is told of the whole."""
    found: list[Overview] = []

    async def play(show: Show) -> None:
        await show.player._survey()
        found.append(show.player.position.overview)

    perform(path, play)
    return found[0]


def test_an_overview(tmp_path: Path) -> None:
    """A restart is a gap up to the next look, and worth a glance."""
    assert surveyed(incident(tmp_path / "a.rec")) == Overview(
        marks=((BEGIN_S + 31, "warn"),), gaps=((BEGIN_S + 25, BEGIN_S + 31),)
    )


def test_an_error_is_a_mark_of_its_own(tmp_path: Path) -> None:
    """And the end of the recording ends a gap."""
    rejected = event("X_BLKRUN_CONFIG_REJECTED", BEGIN_S + 1, message="no")
    told = (look(0), happened(1, rejected), lost(2), happened(5, connected(BEGIN_S + 5)))
    assert surveyed(record(tmp_path / "a.rec", *told)) == Overview(
        marks=((BEGIN_S + 1, "error"),), gaps=((BEGIN_S + 2, BEGIN_S + 5),)
    )
