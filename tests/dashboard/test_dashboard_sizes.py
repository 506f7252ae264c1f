"""At every size between the smallest and a large one: nothing is cut, and nothing overlaps."""

import random
from collections.abc import Iterator
from itertools import chain, product

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.geometry import Region
from textual.widget import Widget

from blkrun.dashboard.arrange import FULL_HEIGHT, FULL_WIDTH, LEAST_HEIGHT, LEAST_WIDTH, WIDE
from blkrun.dashboard.dialogs.help_screen import HelpScreen
from blkrun.dashboard.feed import Happened, Seen
from blkrun.dashboard.widgets.header import Header
from blkrun.dashboard.widgets.key_bar import Hint, KeyBar, pieces
from blkrun.dashboard.widgets.panel import Panel
from tests.dashboard.dashboard_samples import (
    NASTY_NAMES,
    client,
    event,
    export,
    group,
    job,
    node,
    reply,
    snapshot,
)
from tests.dashboard.incident import APPLIED, DRIFT, END_S, PENDING
from tests.dashboard.incident_stage import CALM_S, Stage, perform
from tests.dashboard.recording_samples import BEGIN_S, Told
from tests.dashboard.screens import screen_rows

Size = tuple[int, int]

WIDTHS = sorted({*chain(*((w - 1, w, w + 1) for w in (LEAST_WIDTH, WIDE, FULL_WIDTH))), 80, 200})
HEIGHTS = sorted(
    {LEAST_HEIGHT, 17, 21, 22, 23, 25, 26, 27, 28, 29, FULL_HEIGHT - 1, FULL_HEIGHT, 60}
)
_ANY = random.Random(7)
SIZES: tuple[Size, ...] = (
    *_ANY.sample([*product(WIDTHS, HEIGHTS)], 28),
    *((_ANY.randint(60, 200), _ANY.randint(16, 60)) for _ in range(8)),
)


def assert_whole(stage: Stage, size: Size) -> None:
    """Every row is as wide as the screen, and the frames of panels stand where they should."""
    rows = screen_rows(stage.app)
    assert [cell_len(row) for row in rows] == [size[0]] * size[1], size
    panels = [panel for panel in stage.app.query(Panel) if panel.display]
    bars = [stage.app.query_one(Header), stage.app.notice, stage.app.query_one(KeyBar)]
    assert_tiled([*panels, *(bar for bar in bars if bar.display)], size)
    for panel in panels:
        assert_framed(rows, panel.region)
        for y in range(panel.size.height):
            strip = panel.render_line(y)
            assert strip.cell_length in (panel.inner_width, panel.size.width), (panel, size)


def assert_tiled(widgets: list[Widget], size: Size) -> None:
    """They cover the screen and one another nowhere."""
    screen = Region(0, 0, *size)
    regions = [widget.region for widget in widgets]
    assert all(screen.contains_region(region) for region in regions), size
    assert sum(region.area for region in regions) == screen.area, (size, widgets)
    assert not any(
        one.overlaps(other) for index, one in enumerate(regions) for other in regions[:index]
    ), size


def assert_framed(rows: list[str], region: Region) -> None:
    """Corners and sides are seen whole; cells, not characters, count."""
    corners = {(region.x, region.y): "╭", (region.right - 1, region.y): "╮"}
    corners |= {(region.x, region.bottom - 1): "╰", (region.right - 1, region.bottom - 1): "╯"}
    for (x, y), corner in corners.items():
        assert cell(rows[y], x) == corner, (x, y, rows[y])
    for y in range(region.y + 1, region.bottom - 1):
        assert cell(rows[y], region.x) == cell(rows[y], region.right - 1) == "│", rows[y]


def cell(row: str, x: int) -> str:
    """What begins in the cell; nothing where a wide character goes on."""
    at = 0
    for character in row:
        if at == x and cell_len(character):
            return character
        at += cell_len(character)
    return ""


def fields(text: str) -> Iterator[str]:
    """Of header or keys, parted by two blanks."""
    return (field.strip() for field in text.split("  ") if field.strip())


def test_nothing_is_cut_or_overlaps_at_any_size() -> None:
    """Break points and the sizes beside them, and others."""

    async def play(stage: Stage) -> None:
        await stage.resize(400, 60)
        whole = set(fields(stage.app.header.text)) | {"● RUN"}
        whole_keys = set(fields(stage.app.query_one(KeyBar).text)) | {"…"}
        for size in SIZES:
            await stage.resize(*size)
            assert_whole(stage, size)
            shown = {*fields(stage.app.header.text)} - {"jobs 1 ▸ 44% · 1 FAILED"}
            assert shown <= whole, size
            assert set(fields(stage.app.query_one(KeyBar).text)) <= whole_keys, size

    perform(play, (80, 24), until_s=END_S)


@pytest.mark.parametrize("name", ["graph", "plots", "groups", "config", "events", "node"])
def test_a_panel_alone_fits_at_any_size(name: str) -> None:
    """Also where there is room for no other."""

    async def play(stage: Stage) -> None:
        stage.app.action_pane(name)
        stage.app.show_only(name)
        for size in (*SIZES[::8], (40, 10), (30, 8)):
            await stage.resize(*size)
            assert_whole(stage, size)

    perform(play, (80, 24))


@pytest.mark.parametrize("keys", [("a",), ("question_mark",), ("q",), ("j", "d"), ("j", "i")])
def test_a_dialog_is_on_the_screen_at_any_size(keys: tuple[str, ...]) -> None:
    """What has no room in it scrolls."""

    async def play(stage: Stage) -> None:
        await stage.press(*keys)
        await stage.until(lambda: len(stage.app.screen_stack) > 1)
        for size in (*SIZES[::8], (60, 16), (40, 10)):
            await stage.resize(*size)
            (box,) = stage.app.screen.query(".dialog, .box")
            assert Region(0, 0, *size).contains_region(box.region), size
            assert cell_len(screen_rows(stage.app)[box.region.y]) == size[0]

    perform(play, (80, 24))


def test_help_can_be_scrolled_to_its_end() -> None:
    """By keys."""

    async def play(stage: Stage) -> None:
        await stage.press("question_mark")
        assert isinstance(stage.app.screen, HelpScreen)
        await stage.press("end")
        await stage.stand_still()
        assert "DRIFT: not as the file says" in "\n".join(screen_rows(stage.app))

    perform(play, (80, 24), until_s=CALM_S)


HINTS = st.lists(
    st.builds(
        Hint,
        st.sampled_from(("a", "space", "⏎", "^p", "磁")),
        st.sampled_from(("Apply", "Pause", "All panels", "")),
        st.just("a"),
        st.sampled_from(("help", "session.quit", "command_palette", "edit.apply", "x", "y")),
    ),
    max_size=12,
)


@given(HINTS, st.integers(1, 130))
def test_keys_go_whole(hints: list[Hint], width: int) -> None:
    """Together they fill the row, one after the other; the ellipsis stands for those left out."""
    placed = pieces(hints, width)
    assert [piece.x for piece in placed] == [
        sum(piece.width for piece in placed[:index]) for index in range(len(placed))
    ]
    assert sum(piece.width for piece in placed) == width
    shown = [piece.hint for piece in placed if piece.hint is not None]
    assert len(shown) <= len(hints)
    if sum(hint.width for hint in hints) <= width:
        assert len(shown) == len(hints)
        assert not any(piece.more for piece in placed)


NAMES = st.lists(
    st.sampled_from(NASTY_NAMES) | st.text(min_size=1, max_size=40),
    min_size=3,
    max_size=3,
    unique=True,  # as a server's are
)


def nasty(names: list[str]) -> tuple[Told, ...]:
    """Everything that has a name has one of these."""
    one, two, three = names
    nodes = [node(one, three, two, group=three), node(two, "file", one), node(three, "raw", three)]
    nodes[1] |= {"job": three, "driver-specific": {one: two}}
    peer = {"pid": 1, "uid": 2, "process": one}
    exports = [export(name, one, clients=[client(1) | {"peer": peer}]) for name in names]
    groups = [group(name, (name, 3), iops_total=5, bps_total_max=9) for name in names]
    jobs = [job(name, options={"device": one, "target": two}, error=three) for name in names]
    config = PENDING | {"file": one, "operations": names, "diff": names, "why": two}
    config |= {"added": {three: {"driver": one, "over": [two]}}, "taken": {one: 1}}
    reports = {
        "config": config,
        "in-force": APPLIED | {"file": two},
        "drift": DRIFT | {"file": one},
    }
    more = {"jobs": jobs, "reports": reports, "throttle-groups": groups}
    raw = reply(1, nodes=nodes, exports=exports, **more)
    later = raw | {"now-ns": raw["now-ns"] + 10**9}
    happened = (event(name, BEGIN_S, id=one, device=two, error=three) for name in names)
    return (
        (1, Seen(snapshot(raw), BEGIN_S + 1)),
        (1, Happened(tuple(happened))),
        (2, Seen(snapshot(later), BEGIN_S + 2)),
    )


@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@example(list(NASTY_NAMES[:3]))
@example(list(NASTY_NAMES[3:6]))
@example(list(NASTY_NAMES[6:9]))
@example(list(NASTY_NAMES[8:]))
@given(NAMES)
def test_no_name_breaks_the_screen(names: list[str]) -> None:
    """Nor does one reach the terminal as anything but letters."""

    async def play(stage: Stage) -> None:
        for size in ((80, 24), (160, 50)):
            await stage.resize(*size)
            assert_whole(stage, size)
            assert all(row.isprintable() for row in screen_rows(stage.app))
        stage.app.tell(f"saved {names}", title=names[0])
        for key in ("a", "q"):
            await stage.press(key)
            assert all(row.isprintable() for row in screen_rows(stage.app)), key
            await stage.press("escape")

    perform(play, (100, 30), reports=nasty(names))
