"""What each action does: before the ``yield`` of a story all is ready for it, after it it is done.

``test_actions`` has every story happen by each key, by the footer and by the palette.
"""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from blkrun.dashboard.dialogs.apply_screen import ApplyScreen
from blkrun.dashboard.dialogs.ask_screen import AskScreen
from blkrun.dashboard.dialogs.choose_screen import ChooseScreen
from blkrun.dashboard.dialogs.edit_screen import EditScreen
from blkrun.dashboard.dialogs.event_screen import EventScreen
from blkrun.dashboard.dialogs.help_screen import HelpScreen
from blkrun.dashboard.model.changes import Change
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets.prompt import Prompt
from tests.dashboard.action_stage import Stage
from tests.dashboard.dashboard_samples import connected, event, job, lab

Story = Callable[[Stage], AsyncIterator[None]]
STORIES: dict[str, Story] = {}

OFF = {"in-force": {"kind": "applied", "disabled": {"cache": "cache"}, "resting": ["weekly"]}}
PENDING = {"kind": "pending", "file": "lab.toml", "digest": "d1", "summary": "~1", "why": "ask"}


def of(*names: str) -> Callable[[Story], Story]:
    """The story of these actions, by their ids."""

    def note(story: Story) -> Story:
        for name in names:
            assert name not in STORIES
            STORIES[name] = story
        return story

    return note


def saved_in(folder: Path) -> list[tuple[str, int]]:
    """Kinds of files, and who may read them."""
    return [(file.suffix, file.stat().st_mode & 0o777) for file in sorted(folder.iterdir())]


# Looking


@of("feed.pause")
async def pause(stage: Stage) -> AsyncIterator[None]:
    """What is shown stands still."""
    before = stage.lines("graph")
    yield
    await stage.see(lab(9, held=3))
    assert stage.lines("graph") == before
    assert "PAUSED" in stage.app.header.text


@of("feed.resume")
async def resume(stage: Stage) -> AsyncIterator[None]:
    """The present, at once."""
    await stage.press("space")
    await stage.see(lab(9, held=3))
    yield
    assert "HELD 3" in stage.lines("graph")[1]
    assert "PAUSED" not in stage.app.header.text


@of("graph.filter")
async def filter_graph(stage: Stage) -> AsyncIterator[None]:
    """A line to type in."""
    yield
    await stage.press(*"limit", "enter")
    assert stage.app.panels.graph.only == "limit"
    assert not stage.app.query(Prompt)


@of("graph.all-rows")
async def all_rows(stage: Stage) -> AsyncIterator[None]:
    """No filter any more."""
    stage.app.panels.graph.only = "limit"
    await stage.settle()
    yield
    assert stage.app.panels.graph.only == ""


@of("log.follow")
async def follow(stage: Stage) -> AsyncIterator[None]:
    """Off, and on again by the same key."""
    assert stage.app.panels.events.follow
    yield
    assert not stage.app.panels.events.follow


@of("pane.maximise")
async def maximise(stage: Stage) -> AsyncIterator[None]:
    """The focused panel alone."""
    await stage.press("3")
    yield
    assert stage.shown == ["groups"]


@of("pane.restore")
async def restore(stage: Stage) -> AsyncIterator[None]:
    """All of them."""
    before = stage.shown
    await stage.press("5", "m")
    assert stage.shown == ["events"]
    yield
    assert stage.shown == before


@of("feed.slower")
async def slower(stage: Stage) -> AsyncIterator[None]:
    """A look less often."""
    yield
    assert stage.feed.refresh_s == 1.0


@of("feed.faster")
async def faster(stage: Stage) -> AsyncIterator[None]:
    """A look more often."""
    yield
    assert stage.feed.refresh_s == 0.2


def _pane(name: str) -> Story:
    async def pane(stage: Stage) -> AsyncIterator[None]:
        await stage.see(lab(2, jobs=[job("nightly")]))
        stage.app.screen.set_focus(stage.app.panels.named("config" if name == "graph" else "graph"))
        await stage.settle()
        yield
        assert stage.focused == name
        assert name in stage.shown

    return pane


for _name in ("graph", "plots", "groups", "config", "events", "jobs", "clients", "node"):
    of(f"pane.{_name}")(_pane(_name))


# Changing the file


@of("edit.apply")
async def apply(stage: Stage) -> AsyncIterator[None]:
    """A question, and its yes."""
    await stage.see(lab(2, reports={"config": PENDING}))
    yield
    assert isinstance(stage.screen, ApplyScreen)
    await stage.press("y")
    assert stage.feed.asked == [("apply", {"digest": "d1"})]


def _nudge(value: int) -> Story:
    async def nudge(stage: Stage) -> AsyncIterator[None]:
        await stage.select("limit")
        yield
        wanted = stage.app.panels.groups.wanted
        assert wanted == {("gold", "iops-total"): value}
        assert stage.editor.done == []
        await stage.pass_time(1)
        await stage.settle()
        assert stage.editor.done == [f"limit gold iops-total={value}"]
        assert stage.app.panels.groups.wanted == {}

    return nudge


for _name, _value in {"up": 3200, "down": 2800, "double": 6000, "halve": 1500}.items():
    of(f"limit.{_name}")(_nudge(_value))


@of("limit.set")
async def set_limit(stage: Stage) -> AsyncIterator[None]:
    """A value is asked for, then the edit is."""
    await stage.select("limit")
    yield
    assert isinstance(stage.screen, AskScreen)
    assert stage.screen.typed == "3000"
    await stage.press("end", *["backspace"] * 4, *"50k", "enter")
    assert isinstance(stage.screen, EditScreen)
    await stage.press("y")
    assert stage.editor.done == ["limit gold iops-total=50k"]


@of("filter.insert")
async def insert(stage: Stage) -> AsyncIterator[None]:
    """Driver, name, group, then the edit."""
    await stage.select("disk")
    yield
    assert isinstance(stage.screen, ChooseScreen)
    await stage.press(*"throt", "enter")
    assert isinstance(stage.screen, AskScreen)
    assert stage.screen.typed == "throttle"
    await stage.press("enter")
    assert isinstance(stage.screen, ChooseScreen)
    await stage.press("enter")
    assert isinstance(stage.screen, EditScreen)
    await stage.press("y")
    assert stage.editor.done == [
        "insert --driver=throttle --above=disk --set=throttle-group=gold throttle"
    ]


@of("filter.disable")
async def disable(stage: Stage) -> AsyncIterator[None]:
    """The selected filter."""
    await stage.select("limit")
    yield
    assert "+ something" not in stage.dialog
    await stage.press("y")
    assert stage.editor.done == ["disable nodes.limit"]


@of("filter.enable")
async def enable(stage: Stage) -> AsyncIterator[None]:
    """The only one that is off, unasked which."""
    await stage.see(lab(2, reports=OFF))
    yield
    await stage.press("y")
    assert stage.editor.done == ["enable nodes.cache"]


@of("filter.remove")
async def remove(stage: Stage) -> AsyncIterator[None]:
    """The selected one."""
    await stage.select("limit")
    yield
    assert "remove limit" in stage.dialog
    await stage.press("y")
    assert stage.editor.done == ["remove limit"]


@of("job.start")
async def start_job(stage: Stage) -> AsyncIterator[None]:
    """The one that is off."""
    await stage.see(lab(2, reports=OFF))
    yield
    await stage.press("y")
    assert stage.editor.done == ["enable --again jobs.weekly"]


@of("job.cancel")
async def cancel_job(stage: Stage) -> AsyncIterator[None]:
    """The only one that runs."""
    await stage.see(lab(2, jobs=[job("nightly")]))
    yield
    assert "cancel job nightly" in stage.dialog
    await stage.press("y")
    assert stage.editor.done == ["disable jobs.nightly"]


@of("edit.undo")
async def undo(stage: Stage) -> AsyncIterator[None]:
    """The last line of the file goes."""
    stage.editor.lines = ["one", "two"]
    yield
    assert "-two" in stage.dialog
    await stage.press("y")
    assert stage.editor.done == ["one"]


@of("edit.back")
async def go_back(stage: Stage) -> AsyncIterator[None]:
    """To one of those that were in force."""
    kinds = ("applied", "rejected", "applied")
    stage.editor.history = tuple(
        Change(
            number=number, kind=kind, at_s=1e9, by="runner", said={"operations": [f"~ {number}"]}
        )
        for number, kind in enumerate(kinds, 7)
    )
    yield
    assert [line.split()[-1] for line in stage.dialog.splitlines()[1:]] == ["9", "7"]
    await stage.press("down", "enter")
    assert "go back to change 7" in stage.dialog
    await stage.press("n")
    assert stage.editor.asked[-1].words == ("7",)


@of("edit.file")
async def edit_file(stage: Stage) -> AsyncIterator[None]:
    """Where there is no terminal to give to an editor, that is told."""
    yield
    await stage.settle()
    assert stage.told == ["no editor can be shown here; edit lab.toml"]


# Taking with one


@of("copy.toml")
async def copy_toml(stage: Stage) -> AsyncIterator[None]:
    """A table of the file."""
    await stage.select("limit")
    yield
    assert stage.app.clipboard.splitlines()[0] == "[nodes.limit]"


@of("copy.qmp")
async def copy_qmp(stage: Stage) -> AsyncIterator[None]:
    """The command that makes it."""
    await stage.select("limit")
    yield
    assert json.loads(stage.app.clipboard)["execute"] == "blockdev-add"


@of("copy.uri")
async def copy_uri(stage: Stage) -> AsyncIterator[None]:
    """Where clients find the export."""
    await stage.select("vda")
    yield
    assert stage.app.clipboard == "nbd+unix:///vda?socket=/run/lab.sock"


@of("save.all")
async def save_all(stage: Stage) -> AsyncIterator[None]:
    """Three files, for nobody else to read."""
    yield
    folder = stage.app.settings.snapshot_folder
    await stage.until(lambda: stage.told)
    assert saved_in(folder) == [(".csv", 0o600), (".json", 0o600), (".svg", 0o600)]
    assert "saved" in stage.told[0]


# The session


@of("help")
async def help_screen(stage: Stage) -> AsyncIterator[None]:
    """Any of its keys closes it."""
    yield
    assert isinstance(stage.screen, HelpScreen)
    await stage.press("escape")
    assert not stage.screen.is_modal


@of("session.quit")
async def leave(stage: Stage) -> AsyncIterator[None]:
    """The server goes on."""
    yield
    assert stage.app.return_value == "detach"


# Panels


def _move(begin: int, end: int) -> Story:
    async def move(stage: Stage) -> AsyncIterator[None]:
        graph = stage.app.panels.graph
        graph.select(begin)
        await stage.settle()
        yield
        assert graph.cursor == end

    return move


for _name, (_begin, _end) in {
    "up": (2, 1),
    "down": (0, 1),
    "page-up": (2, 0),
    "page-down": (0, 2),
    "first": (2, 0),
    "last": (0, 2),
}.items():
    of(f"nav.{_name}")(_move(_begin, _end))


@of("graph.fold")
async def fold(stage: Stage) -> AsyncIterator[None]:
    """Only the export is left."""
    await stage.select("vda")
    yield
    assert len(stage.lines("graph")) == 1


@of("graph.unfold")
async def unfold(stage: Stage) -> AsyncIterator[None]:
    """All of it again."""
    await stage.select("vda")
    await stage.press("left")
    yield
    assert len(stage.lines("graph")) == 3


@of("graph.open")
async def inspect(stage: Stage) -> AsyncIterator[None]:
    """All about the selected."""
    await stage.select("disk")
    yield
    assert stage.focused == "node"
    assert "disk" in stage.lines("node")[0]


def _plot(check: Callable[[Stage], object], *before: str) -> Story:
    async def plot(stage: Stage) -> AsyncIterator[None]:
        await stage.select("limit")
        await stage.press("2", *before)
        yield
        assert check(stage)

    return plot


of("plot.longer")(_plot(lambda stage: stage.app.panels.plots.span == 300))
of("plot.shorter")(_plot(lambda stage: stage.app.panels.plots.span == 60, "right_square_bracket"))
of("plot.next")(_plot(lambda stage: stage.app.panels.plots.first == 1))
of("plot.previous")(_plot(lambda stage: stage.app.panels.plots.first == 0, "right"))
of("plot.earlier")(_plot(lambda stage: stage.app.panels.plots.cursor_s == 99.0))
of("plot.later")(
    _plot(lambda stage: stage.app.panels.plots.cursor_s == 99.0, "shift+left", "shift+left")
)
of("plot.present")(_plot(lambda stage: stage.app.panels.plots.cursor_s is None, "shift+left"))


# Events


async def _log(stage: Stage) -> None:
    """A client, an edit that failed, another client; the last one is selected."""
    failed = event("X_BLKRUN_CONFIG_FAILED", 2, file="lab.toml", message="no room")
    stage.feed.hear(connected(1), failed, connected(3))
    await stage.settle()
    await stage.press("5")


@of("log.filter")
async def filter_events(stage: Stage) -> AsyncIterator[None]:
    """Only those with the word."""
    await _log(stage)
    yield
    await stage.press(*"room", "enter")
    assert stage.app.panels.events.row_count == 1


@of("log.search")
async def search_events(stage: Stage) -> AsyncIterator[None]:
    """All stay; the hit is selected."""
    await _log(stage)
    yield
    await stage.press(*"room", "enter")
    assert stage.app.panels.events.row_count == 3
    assert stage.app.panels.events.cursor == 1


def _hit(end: int) -> Story:
    async def hit(stage: Stage) -> AsyncIterator[None]:
        await _log(stage)
        await stage.press("backslash", *"client", "enter")
        assert stage.app.panels.events.cursor == 2
        yield
        assert stage.app.panels.events.cursor == end

    return hit


of("log.next", "log.previous")(_hit(0))


@of("log.level")
async def level(stage: Stage) -> AsyncIterator[None]:
    """Those that are worth more."""
    await _log(stage)
    yield
    assert stage.app.panels.events.row_count < 3


@of("log.choose")
async def choose_event(stage: Stage) -> AsyncIterator[None]:
    """What the event is about, in the graph."""
    await _log(stage)
    await stage.select("disk")
    await stage.press("5")
    yield
    assert stage.focused == "graph"
    assert stage.app.subject == Subject("export", "vda")


@of("log.open")
async def open_event(stage: Stage) -> AsyncIterator[None]:
    """All of it."""
    await _log(stage)
    yield
    assert isinstance(stage.screen, EventScreen)
    await stage.press("escape")
    assert not stage.screen.is_modal


@of("log.copy")
async def copy_event(stage: Stage) -> AsyncIterator[None]:
    """Its line."""
    await _log(stage)
    yield
    assert "client 3" in stage.app.clipboard
