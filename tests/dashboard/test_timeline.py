"""The slider, times as they are typed, and what the keys of a recording do."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot

import blkrun.dashboard
from blkrun.dashboard.keys_replay import REPLAY_KEYS
from blkrun.dashboard.model.playback import SPEEDS, Overview, Position, clock_text, typed_time
from blkrun.dashboard.playback import Playback
from blkrun.dashboard.player import Player
from blkrun.dashboard.recording import Recording
from blkrun.dashboard.theme import default_theme_path, load_theme
from blkrun.dashboard.widgets.timeline import TIMES, TO, Timeline, time_at, timeline_line
from tests.dashboard.dashboard_samples import FakeClock
from tests.dashboard.recording_samples import BEGIN_S, looks, record

DAY_S = 86400
HOUR = Position(at_s=BEGIN_S + 600, first_s=BEGIN_S, last_s=BEGIN_S + 3600)
"""It begins at 03:20:00 UTC."""


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Times of day are local: here as in Greenwich."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def at(**changes: object) -> Position:
    """The hour, changed."""
    fields = {name: getattr(HOUR, name) for name in Position.__dataclass_fields__}
    return Position(**{**fields, **changes})


POSITIONS = st.builds(
    lambda length_s, share, speed, playing, unreadable, gaps, marks: Position(
        at_s=BEGIN_S + share * length_s,
        first_s=BEGIN_S,
        last_s=BEGIN_S + length_s,
        speed=speed,
        playing=playing,
        unreadable=unreadable,
        overview=Overview(tuple(marks), tuple((BEGIN_S + a, BEGIN_S + a + b) for a, b in gaps)),
    ),
    st.integers(0, 3 * DAY_S),
    st.floats(0, 1),
    st.sampled_from(SPEEDS),
    st.booleans(),
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(-10, 10**5), st.integers(0, 10**5)), max_size=3),
    st.lists(
        st.tuples(st.integers(BEGIN_S - 10, BEGIN_S + 10**5), st.sampled_from(("warn", "error"))),
        max_size=3,
    ),
)


@given(POSITIONS, st.integers(1, 220))
def test_a_row_fills_its_width_exactly(position: Position, width: int) -> None:
    """At every size, whatever is shown; and what is played shows where there is a bar."""
    text = timeline_line(position, width).text
    assert cell_len(text) == width
    assert width < 45 or "●" in text


def plain(text: str) -> str:
    """With signs that are on keyboards."""
    return text.replace(TIMES, "x").replace(TO, "-")


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            90,
            " ‖ 03:30:00  x1   ━━━━━●" + "─" * 25 + "  03:20:00-04:20:00  (2 rows unreadable) ",
        ),
        (65, " ‖ 03:30:00  x1   ━━━━●──────────────────────  03:20:00-04:20:00 "),
        (40, " ‖ 03:30:00  x1   ━━━●───────────────── "),
        (25, " ‖ 03:30:00  ━━●──────── "),
        (20, " ‖ 03:30:00  x1     "),
        (12, " ‖ 03:30:00 "),
        (8, " ‖ 03:3…"),
    ],
)
def test_fields_go_whole(width: int, text: str) -> None:
    """What matters least goes first."""
    assert plain(timeline_line(at(unreadable=2), width).text) == text


def test_the_day_is_shown_where_there_are_two() -> None:
    """A time of day would say nothing."""
    text = plain(timeline_line(at(last_s=BEGIN_S + DAY_S, playing=True, speed=60), 120).text)
    assert text.startswith(" ▶ 11-28 03:30:00  x60  ")
    assert text.endswith("  11-28 03:20:00-11-29 03:20:00 ")


def test_marks_and_gaps_are_on_the_bar() -> None:
    """An error is over a warning, a mark over a gap, and here over all of them."""
    overview = Overview(
        marks=((BEGIN_S + 1800, "error"), (BEGIN_S + 1800, "warn"), (BEGIN_S + 2400, "warn")),
        gaps=((BEGIN_S + 2000, BEGIN_S + 3000),),
    )
    position = at(overview=overview)
    text = timeline_line(position, 100).text
    begin = next(x for x in range(100) if time_at(position, 100, x) is not None)
    end = next(x for x in range(begin, 100) if time_at(position, 100, x) is None)
    bar = text[begin:end]
    assert bar.count("!") == 1
    assert bar.count("▴") == 1
    gap = bar[bar.index("!") + 1 :].lstrip("─")
    assert gap.rstrip("─").replace("▴", " ").isspace()
    assert timeline_line(at(at_s=BEGIN_S + 1800, overview=overview), 100).text.count("!") == 0


@given(POSITIONS, st.integers(45, 220), st.data())
def test_a_click_leads_to_where_it_was(position: Position, width: int, data: st.DataObject) -> None:
    """What is played after a click on a cell is shown in that cell."""
    cells = [x for x in range(width) if time_at(position, width, x) is not None]
    x = data.draw(st.sampled_from(cells))
    sought = time_at(position, width, x)
    assert sought is not None
    moved = Position(at_s=sought, first_s=position.first_s, last_s=position.last_s)
    moved_cells = [x for x in range(width) if time_at(moved, width, x) is not None]
    assert position.first_s <= sought <= position.last_s
    if moved_cells == cells and position.last_s > position.first_s:
        assert timeline_line(moved, width).text[x] == "●"


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("03:25", 300),
        ("3:25:07", 307),
        ("04:20", 3600),
        ("+90", 690),
        ("-1:30", 510),
        ("+1:00:00", 4200),
        (" 03:30 ", 600),
        ("05:00", 6000),
        ("12", None),
        ("24:00", None),
        ("03:61", None),
        ("noon", None),
        ("", None),
        ("1:2:3:4", None),
        ("9" * 5000, None),
    ],
)
def test_typed_times(text: str, second: float | None) -> None:
    """A time of day, or so much on or back; anything else is none."""
    assert typed_time(text, HOUR) == (None if second is None else BEGIN_S + second)


def test_a_typed_time_of_several_days() -> None:
    """The nearest one."""
    days = at(last_s=BEGIN_S + 3 * DAY_S, at_s=BEGIN_S + 2 * DAY_S)
    assert typed_time("04:00", days) == BEGIN_S + 2 * DAY_S + 2400


@given(st.integers(0, 3 * DAY_S), st.floats(0, 1))
def test_a_time_that_is_shown_can_be_typed(length_s: int, share: float) -> None:
    """To the second, within a day."""
    at_s = BEGIN_S + int(share * min(length_s, DAY_S - 1))
    position = Position(at_s=at_s, first_s=BEGIN_S, last_s=BEGIN_S + length_s)
    assert typed_time(clock_text(at_s), position) == at_s


# The keys


def control(path: Path, act: Callable[[Playback, Player], Awaitable[None]]) -> None:
    """A player of a minute, and its controls."""

    async def run() -> None:
        with Recording.open(record(path, *looks(0, 61))) as recording:
            player = Player(recording, clock=FakeClock())
            await player.frame(lambda _: None)
            await act(Playback(player), player)
            player.close()

    asyncio.run(run())


def test_every_key_has_a_method() -> None:
    """Its name is in the binding; ids are of their own kind."""
    names = [key.action.split("'")[1] for key in REPLAY_KEYS if "'" in key.action]
    assert all(callable(getattr(Playback, name)) for name in names)
    assert all(str(key.id).startswith("replay.") for key in REPLAY_KEYS)
    assert len({key.id for key in REPLAY_KEYS}) == len(REPLAY_KEYS)


def test_keys_lead_where_they_say(tmp_path: Path) -> None:
    """Each from where the one before has led."""
    expected = [
        ("on", 10),
        ("on", 20),
        ("back", 10),
        ("step", 11),
        ("step_back", 10),
        ("last", 60),
        ("on", 60),
        ("first", 0),
        ("back", 0),
    ]

    async def act(playback: Playback, player: Player) -> None:
        for name, second in expected:
            getattr(playback, name)()
            await player.frame(lambda _: None)
            assert (name, playback.position.at_s) == (name, BEGIN_S + second)

    control(tmp_path / "a.rec", act)


def test_leaps_add_up_while_it_leaps(tmp_path: Path) -> None:
    """A key that is held down leads as far as it was pressed."""

    async def act(playback: Playback, player: Player) -> None:
        for _ in range(3):
            playback.on()
        await player.frame(lambda _: None)
        assert playback.position.at_s == BEGIN_S + 30

    control(tmp_path / "a.rec", act)


def test_speeds_by_key(tmp_path: Path) -> None:
    """Up to the highest and down to the lowest."""

    async def act(playback: Playback, player: Player) -> None:
        speeds = []
        for _ in range(6):
            playback.faster()
            speeds.append(playback.position.speed)
        assert speeds == [2, 5, 10, 60, 60, 60]
        for _ in range(6):
            playback.slower()
        assert playback.position.speed == 1

    control(tmp_path / "a.rec", act)


def test_one_of_play_and_pause_is_on_offer(tmp_path: Path) -> None:
    """The one that does something."""

    async def act(playback: Playback, player: Player) -> None:
        playback.pause()
        assert playback.offered() == {"replay('play')": True, "replay('pause')": False}
        playback.play()
        assert playback.offered() == {"replay('play')": False, "replay('pause')": True}

    control(tmp_path / "a.rec", act)


def test_going_to_a_typed_time(tmp_path: Path) -> None:
    """Or saying that it is none."""

    async def act(playback: Playback, player: Player) -> None:
        assert playback.go_to("03:20:30")
        await player.frame(lambda _: None)
        assert playback.position.at_s == BEGIN_S + 30
        assert not playback.go_to("later")

    control(tmp_path / "a.rec", act)


# The widget


class Stage(App[None]):
    """A timeline, and what it asked for."""

    CSS_PATH = Path(blkrun.dashboard.__file__).with_name("blkrun.tcss")

    def __init__(self) -> None:
        super().__init__()
        self.sought: list[float] = []
        path = default_theme_path()
        assert path is not None
        theme = load_theme(path)
        self.register_theme(theme)
        self.theme = theme.name

    def compose(self) -> ComposeResult:
        """Alone."""
        yield Timeline()

    def on_timeline_sought(self, message: Timeline.Sought) -> None:
        """Note it."""
        self.sought.append(round(message.at_s - BEGIN_S))


def on_stage(play: Callable[[Stage, Pilot[None]], Awaitable[None]]) -> None:
    """The hour on 100 columns: the bar is from 18 to 79."""

    async def act() -> None:
        app = Stage()
        async with app.run_test(size=(100, 5)) as pilot:
            app.query_one(Timeline).show(HOUR)
            await pilot.pause()
            await play(app, pilot)

    asyncio.run(act())


def test_a_click_asks_for_a_time() -> None:
    """Only on the bar."""

    async def play(app: Stage, pilot: Pilot[None]) -> None:
        assert app.query_one(Timeline).text == timeline_line(HOUR, 100).text
        for x in (3, 18, 78, 90):
            await pilot.click(Timeline, offset=(x, 0))
        assert len(app.sought) == 2
        assert app.sought[0] == 0
        assert app.sought[1] == round(time_at(HOUR, 100, 78) or 0) - BEGIN_S

    on_stage(play)


def test_dragging_asks_for_each_time_on_the_way() -> None:
    """Also beyond an end; letting go ends it."""

    async def play(app: Stage, pilot: Pilot[None]) -> None:
        await pilot.mouse_down(Timeline, offset=(30, 0))
        await pilot.hover(Timeline, offset=(31, 0))
        await pilot.hover(Timeline, offset=(5, 3))
        await pilot.mouse_up(Timeline, offset=(5, 0))
        await pilot.hover(Timeline, offset=(40, 0))
        first, second, third = app.sought
        assert third == 0
        assert first < second

    on_stage(play)
