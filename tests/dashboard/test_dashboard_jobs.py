"""Jobs: from what the server says to rows, lines, the header's counter and the panel."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.arrange import arrange
from blkrun.dashboard.lines import Line
from blkrun.dashboard.model.jobs import JobRow, job_count, job_rows, share_text
from blkrun.dashboard.model.rates import NOTHING
from blkrun.dashboard.model.record import Log
from blkrun.dashboard.model.status import State, Status
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.widgets.graph import graph_lines
from blkrun.dashboard.widgets.header import header_line
from blkrun.dashboard.widgets.jobs import count_spans, job_lines
from blkrun.dashboard.widgets.panel import Panel
from blkrun.messages import event_text
from tests.dashboard.dashboard_samples import (
    NASTY_NAMES,
    SECOND,
    connected,
    event,
    export,
    job,
    lab,
    node,
    reply,
    snapshot,
)
from tests.dashboard.test_dashboard_app import Stage, perform
from tests.dashboard.test_dashboard_lines import WIDTHS, assert_fits

GIB = 2**30
WANTS = {
    "graph": 9,
    "plots": 9,
    "groups": 5,
    "config": 5,
    "events": 50,
    "node": 20,
    "clients": 4,
}
NO_SPACE = "No space left on device"

SAMPLES = (
    job("runs"),
    job("unknown", total_progress=0, rate=0),
    job("empty", "concluded", total_progress=0, current_progress=0),
    job("ready", "ready", type="mirror", current_progress=10 * GIB, rate=0),
    job("stopped", "paused", io_status="nospace", rate=0),
    job("failed", "concluded", error=NO_SPACE, rate=0),
    job("cancelled", "concluded", error="Operation canceled", cancelled=True, rate=0),
)


def rows(*jobs: dict[str, Any]) -> tuple[JobRow, ...]:
    """The rows of a reply with these jobs."""
    return job_rows(snapshot(reply(jobs=list(jobs))).jobs)


def row(*jobs: dict[str, Any]) -> JobRow:
    """The row of the only job."""
    (only,) = rows(*jobs)
    return only


def nasty_jobs() -> tuple[JobRow, ...]:
    """Names and errors that try to break out, and numbers of every length."""
    options = [{"device": name, "target": name} for name in NASTY_NAMES]
    return rows(
        *(job(name, options=each) for name, each in zip(NASTY_NAMES, options, strict=True)),
        *(job(name, "concluded", error=f"{name} {name}") for name in NASTY_NAMES),
        job("slow", current_progress=0, total_progress=2**60, rate=2**40),
        *SAMPLES,
    )


def test_running_job_has_share_rate_and_time_left() -> None:
    """Time left is what is left at the server's rate."""
    runs = row(job("nightly"))
    assert (runs.name, runs.type, runs.device, runs.target) == (
        "nightly",
        "backup",
        "disk",
        "copy",
    )
    assert (runs.state, runs.mood, runs.ended) == ("running", "works", False)
    assert runs.share == 0.6
    assert runs.rate == 100 * 2**20
    assert runs.left_s == 4 * GIB / (100 * 2**20)
    assert runs.ran_s is None


@pytest.mark.parametrize(
    ("more", "share"),
    [
        ({"rate": 0}, 0.6),
        ({"rate": 1}, 0.6),
        ({"total_progress": 0}, None),
        ({"current_progress": 10 * GIB}, 1.0),
        ({"current_progress": 11 * GIB}, 1.0),
        ({"status": "paused"}, 0.6),
        ({"status": "ready"}, 0.6),
        ({"paused": True}, 0.6),
        ({"cancelled": True}, 0.6),
        ({"status": "concluded"}, 0.6),
    ],
)
def test_time_left_is_given_only_where_it_means_something(
    more: dict[str, Any], share: float | None
) -> None:
    """Not at an unknown rate, for a century, past the end, or when nothing is copied."""
    shown = row(job("nightly", **more))
    assert shown.left_s is None
    assert shown.share == share


@pytest.mark.parametrize(
    ("more", "state", "mood"),
    [
        ({"status": "created"}, "starting", "waits"),
        ({"status": "running"}, "running", "works"),
        ({"status": "running", "paused": True}, "pausing", "waits"),
        ({"status": "running", "cancelled": True}, "cancelling", "waits"),
        ({"status": "paused"}, "paused", "waits"),
        ({"status": "standby"}, "paused, ready", "waits"),
        ({"status": "paused", "io_status": "failed"}, "STOPPED I/O error", "needs"),
        ({"status": "standby", "io_status": "nospace"}, "STOPPED no space", "needs"),
        ({"status": "ready"}, "READY to complete", "needs"),
        ({"status": "ready", "options": {"when-ready": "pivot"}}, "pivoting", "works"),
        ({"status": "waiting"}, "waits for others", "waits"),
        ({"status": "pending"}, "READY to finalize", "needs"),
        ({"status": "aborting", "error": NO_SPACE}, "failing", "waits"),
        ({"status": "aborting", "cancelled": True}, "cancelling", "waits"),
        ({"status": "concluded"}, "done", "done"),
        ({"status": "concluded", "pivoted": True}, "pivoted", "done"),
        ({"status": "concluded", "error": NO_SPACE}, "FAILED", "failed"),
        ({"status": "concluded", "cancelled": True, "error": "x"}, "cancelled", "gone"),
        ({"status": "novelty"}, "novelty", "waits"),
    ],
)
def test_every_status_has_words(more: dict[str, Any], state: str, mood: str) -> None:
    """Capitals where somebody should look; a status of a newer server is shown as it is."""
    shown = row(job("nightly", **more))
    assert (shown.state, shown.mood) == (state, mood)


def test_ended_job_says_how_long_it_ran_and_why_it_failed() -> None:
    """Cancelling is not an error."""
    failed, cancelled = rows(*SAMPLES[-2:])
    assert (failed.ran_s, failed.error, failed.rate) == (61.0, NO_SPACE, None)
    assert (cancelled.ran_s, cancelled.error) == (61.0, "")


def test_nothing_to_copy_is_all_of_it_only_at_a_good_end() -> None:
    """A job without length has no share before."""
    nothing: dict[str, Any] = {"total_progress": 0, "current_progress": 0}
    assert row(job("empty", **nothing)).share is None
    assert row(job("empty", "concluded", **nothing)).share == 1.0
    assert row(job("empty", "concluded", error=NO_SPACE, **nothing)).share is None


def test_percent_is_rounded_down() -> None:
    """What is not complete is never shown as complete."""
    assert [share_text(share) for share in (0.0, 0.4299, 0.9999, 1.0)] == [
        "0%",
        "42%",
        "99%",
        "100%",
    ]


@given(st.integers(1, 2**50))
def test_a_byte_that_is_left_is_not_complete(total: int) -> None:
    """Whatever the size of the disk."""
    assert share_text((total - 1) / total) != "100%"


def test_every_whole_percent_is_shown_as_it_is() -> None:
    """No number of a hundred parts is rounded to the one below."""
    assert [share_text(part / 100) for part in range(101)] == [f"{part}%" for part in range(101)]


def test_count_is_weighted_by_bytes_and_names_alarms() -> None:
    """Ended jobs and those of unknown length do not count in the common share."""
    small = job("small", current_progress=0, total_progress=5 * GIB)
    count = job_count(rows(job("large"), small, *SAMPLES[1:]))
    assert (count.live, count.ended) == (5, 3)
    assert count.share == (6 + 0 + 10 + 6) / (10 + 5 + 10 + 10)
    assert dict(count.alarms) == {"READY": 1, "STOPPED": 1, "FAILED": 1}


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        (SAMPLES[:1], "1 ▸ 60%"),
        (SAMPLES[1:2], "1"),
        (SAMPLES[2:3], "1 ended"),
        ((SAMPLES[0], SAMPLES[5]), "1 ▸ 60% · 1 FAILED"),
        (SAMPLES[5:6], "1 FAILED"),
    ],
)
def test_counter_says_what_is_under_way_and_what_is_wrong(
    jobs: tuple[dict[str, Any], ...], text: str
) -> None:
    """And only if there is neither, how many have ended."""
    assert " · ".join(span.text for span in count_spans(job_count(rows(*jobs)))) == text


def shown(width: int, *jobs: dict[str, Any]) -> list[str]:
    """The lines without what is between the words."""
    return [" ".join(line.text.split()) for line in job_lines(rows(*jobs), width)]


def test_wide_rows_have_everything_beside_the_bar() -> None:
    """One row a job, also one that failed: its error stands where the bar was."""
    runs, failed = shown(130, SAMPLES[0], SAMPLES[5])
    assert runs.startswith("runs backup disk → copy running █")
    assert runs.endswith("· 60% 6GiB/10GiB 105M/s 40 s left")
    assert failed == f"failed backup disk → copy FAILED {NO_SPACE} 60% 6GiB/10GiB in 1:01"


def test_narrower_rows_lose_type_and_amount_and_then_the_place_beside_the_bar() -> None:
    """Rate and time left stay, and a long error has rows of its own."""
    assert shown(78, SAMPLES[0])[0].startswith("runs disk → copy running █")
    assert shown(78, SAMPLES[0])[0].endswith("60% 105M/s 40 s left")
    head, bar = shown(44, SAMPLES[0])
    assert head == "runs disk → copy running"
    assert bar.endswith("60% 105M/s 40 s left")
    assert shown(44, SAMPLES[5])[2:] == [NO_SPACE]


def test_unknown_length_and_rate_are_gaps() -> None:
    """Never zero, and no bar that claims something."""
    (line,) = shown(130, SAMPLES[1])
    assert "█" not in line
    assert line.endswith("— 6GiB —")


def test_job_rows_fit_any_width() -> None:
    """With foreign names and errors too."""
    for width in WIDTHS:
        assert_fits(job_lines(nasty_jobs(), width), width)


@given(
    st.sampled_from(["running", "paused", "ready", "concluded"]),
    st.integers(min_value=0, max_value=2**63),
    st.integers(min_value=0, max_value=2**63),
    st.integers(min_value=0, max_value=2**50),
    st.sampled_from([40, 78, 98, 158]),
)
def test_any_progress_fits(status: str, done: int, total: int, rate: int, width: int) -> None:
    """Whatever numbers a server gives."""
    more = {"current_progress": done, "total_progress": total, "rate": rate}
    assert_fits(job_lines(rows(job("nightly", status, **more)), width), width)


def test_bar_and_figures_do_not_move_while_a_job_goes_on() -> None:
    """Only what is in them changes."""

    def places(line: Line) -> list[int]:
        return [len(span.text) for span in line.spans]

    for width in (78, 98, 158):
        lines = [
            job_lines(rows(job("nightly", current_progress=done)), width)[0]
            for done in (0, 1, 5 * GIB + 12345, 10 * GIB - 1)
        ]
        assert len({tuple(places(line)) for line in lines}) == 1


def test_header_counts_jobs_before_it_shows_totals() -> None:
    """At 80 columns the counter stays whole, and without jobs there is none."""
    count = job_count(rows(SAMPLES[0], SAMPLES[5]))
    status = Status(title="lab.toml", state=State.RUN, held=3, clients=12, jobs=count)
    assert "jobs 1 ▸ 60% · 1 FAILED" in header_line(status, 80).text
    assert "jobs 1 ▸ 60% · 1 FAILED" in header_line(status, 48).text
    for width in WIDTHS:
        assert_fits([header_line(status, width)], width)
    assert "jobs" not in header_line(Status(title="lab.toml", state=State.RUN), 200).text


def filtered(**more: Any) -> dict[str, Any]:
    """A disk whose job's filter is under the export."""
    nodes = [node("disk", "file"), node("nf", "copy-before-write", "disk", job="nightly")]
    return reply(1, nodes=nodes, exports=[export("vda", "nf")]) | more


def test_filter_of_a_job_is_marked_in_its_place_in_the_graph() -> None:
    """The mark at any width, the job's name and progress where there is room."""
    found = graph_rows(snapshot(filtered(jobs=[job("nightly")])), NOTHING)
    assert [(row.name, row.guides) for row in found] == [
        ("vda", ""),
        ("nf", "└ "),
        ("disk", "  └ "),
    ]
    assert [row.job for row in found] == [None, "nightly", None]
    for width in (30, 50, 78, 120):
        assert "J nf" in graph_lines(found, width)[1].text
    assert "job nightly · copy-before-write" in graph_lines(found, 120)[1].text
    assert "job 60%" in graph_lines(found, 78)[1].text
    assert "job nightly 60%" in graph_lines(found, 120)[1].text


def test_filter_of_a_job_that_is_not_listed_is_still_its_filter() -> None:
    """Its name is known, its progress is not."""
    row = graph_rows(snapshot(filtered()), NOTHING)[1]
    assert (row.name, row.job, row.state.words) == ("nf", "nightly", ("job nightly", "job"))


def test_server_without_jobs_has_none() -> None:
    """Neither the key nor what is in it is required."""
    assert job_rows(snapshot(reply()).jobs) == ()
    bare = row({"id": "nightly"})
    assert (bare.device, bare.target, bare.share, bare.left_s) == ("?", "?", None, None)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 27), (100, 25), (50, 30)])
def test_small_screens_have_no_place_for_jobs(width: int, height: int) -> None:
    """They are arranged as without."""
    assert arrange(width, height, WANTS | {"jobs": 4}, None) == arrange(width, height, WANTS, None)


@pytest.mark.parametrize("wanted", [3, 4, 9, 40])
def test_jobs_have_the_last_row_and_leave_the_others_theirs(wanted: int) -> None:
    """All of up to three jobs are seen, and nobody else is squeezed to a frame."""
    for width, least in ((60, 28), (95, 28), (96, 26), (200, 26)):
        for height in range(least, 61):
            plan = arrange(width, height, WANTS | {"jobs": wanted}, None)
            assert sum(plan.heights) == height - 2
            assert plan.spans["jobs"] == 12
            assert min(wanted, 5) <= plan.heights[-1] <= wanted
            assert min(plan.heights[:-1]) >= 4


def test_log_leaves_out_steps_that_say_nothing_new() -> None:
    """And errors that an ignoring job meets again and again."""
    again = event("BLOCK_JOB_ERROR", device="nightly", operation="read", action="ignore")
    created, runs, gone = (
        event("JOB_STATUS_CHANGE", id="nightly", status=status)
        for status in ("created", "running", "null")
    )
    log = Log()
    log.add([created, runs, again, again, connected(1), again, gone])
    texts = [log[index].text for index in range(len(log))]
    assert texts == [event_text(each) for each in (runs, again, connected(1), again)]
    assert log.first == 0


def placed(stage: Stage) -> list[str | None]:
    """The panels in sight."""
    return [panel.id for panel in stage.app.query(Panel) if panel.display]


def caption(stage: Stage) -> str:
    """The frame of the jobs' panel."""
    return str(stage.app.query_one("#jobs", Panel).border_title)


SMALL = ["graph", "plots", "groups", "config", "events"]
FULL = ["graph", "groups", "plots", "events", "config", "node", "clients"]


def test_panel_comes_with_the_first_job_and_goes_with_the_last() -> None:
    """The other panels are as before."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2))
        before = [panel.region for panel in stage.app.query(Panel) if panel.display]
        await stage.see(lab(3, jobs=[SAMPLES[0], SAMPLES[5]]))
        await stage.pilot.pause()
        assert placed(stage) == [*FULL, "jobs"]
        assert stage.app.query_one("#jobs").region.height == 4
        assert "60%" in stage.lines("jobs")[0]
        assert NO_SPACE in stage.lines("jobs")[1]
        assert "1 ▸ 60% · 1 FAILED" in caption(stage)
        assert "jobs" not in stage.header
        await stage.see(lab(4))
        assert placed(stage) == FULL
        assert [panel.region for panel in stage.app.query(Panel) if panel.display] == before

    perform(play, size=(160, 50))


def test_small_screen_counts_jobs_and_shows_them_by_key() -> None:
    """J is on offer while there are any; escape brings the others back."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2))
        footer = {key.action for _, key, _, _ in stage.app.screen.active_bindings.values()}
        assert "pane('jobs')" not in footer
        await stage.pilot.press("J")
        assert placed(stage) == SMALL
        await stage.see(lab(3, jobs=[SAMPLES[0], SAMPLES[5]]))
        assert placed(stage) == SMALL
        assert "jobs 1 ▸ 60% · 1 FAILED" in stage.header
        assert "J" in stage.app.screen.active_bindings
        await stage.pilot.press("J")
        await stage.pilot.pause()
        assert placed(stage) == ["jobs"]
        assert stage.app.focused is stage.app.query_one("#jobs")
        assert "jobs" not in stage.header
        assert "105M/s" in stage.lines("jobs")[0]
        await stage.pilot.press("escape")
        assert placed(stage) == SMALL
        assert "jobs 1" in stage.header
        assert stage.app.focused is stage.app.query_one("#graph")

    perform(play, size=(80, 24))


@pytest.mark.parametrize(("size", "keys"), [((80, 24), "J"), ((160, 50), "Jm"), ((160, 50), "6")])
def test_last_job_goes_while_its_panel_is_focused(size: tuple[int, int], keys: str) -> None:
    """The screen is not left empty, and keys still go somewhere."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1, jobs=[SAMPLES[0]]))
        await stage.pilot.press(*keys)
        assert stage.app.focused is stage.app.query_one("#jobs")
        await stage.see(lab(2))
        assert placed(stage) == (FULL if size[1] == 50 else SMALL)
        assert stage.app.focused is stage.app.query_one("#graph")

    perform(play, size=size)


def test_jobs_neither_overlap_nor_leave_the_screen_at_any_size() -> None:
    """Also while the terminal is being resized, with more jobs than there is room for."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1, jobs=[job(name) for name in NASTY_NAMES] + list(SAMPLES)))
        for size in [(80, 24), (160, 50), (100, 30), (60, 28), (40, 10), (96, 22), (200, 60)]:
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
            panels = [panel for panel in stage.app.query(Panel) if panel.display]
            assert sum(panel.region.area for panel in panels) == size[0] * (size[1] - 2), size
            assert ("jobs" in placed(stage)) != ("jobs" in stage.header)
            for panel in panels:
                for y in range(panel.size.height):
                    assert panel.render_line(y).cell_length <= panel.size.width

    perform(play)


def test_offline_jobs_are_dimmed_and_paused_ones_frozen() -> None:
    """What is shown is not the present."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1, jobs=[SAMPLES[0]]))
        await stage.pilot.press("space")
        await stage.see(lab(2, jobs=[job("runs", current_progress=9 * GIB)]))
        assert "60%" in stage.lines("jobs")[0]
        assert stage.app.query_one("#jobs", Panel).stale
        await stage.pilot.press("space")
        assert "90%" in stage.lines("jobs")[0]
        stage.feed.lose("no server")
        await stage.pilot.pause()
        assert stage.app.query_one("#jobs", Panel).stale

    perform(play)


def test_ran_time_is_the_servers() -> None:
    """A dashboard that came later knows it, too."""
    assert row(job("old", "concluded", running_ns=3 * SECOND)).ran_s == 3.0
