"""The configuration: from the runner's reports to the panel's title and rows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from blkrun.dashboard.lines import fit_left
from blkrun.dashboard.model.config import ConfigRow, config_view
from blkrun.dashboard.widgets.config import config_lines
from tests.dashboard.dashboard_samples import NASTY_NAMES
from tests.dashboard.test_dashboard_lines import WIDTHS, assert_fits

APPLIED: dict[str, Any] = {
    "kind": "applied",
    "file": "lab.toml",
    "summary": "+1 ~1 -1",
    "operations": ["+ filter a", "~ group b", "- export c"],
    "milliseconds": 4.1,
    "drains": {"vda": 2},
    "taken": {"vdb": 1},
    "notes": ["later"],
}
PENDING: dict[str, Any] = {
    "kind": "pending",
    "file": "lab.toml",
    "summary": "-1",
    "operations": ["- export vda"],
    "why": "a client",
    "drains": {"vdb": 1},
    "taken": {"vda": 2},
    "diff": ["--- lab.toml", "+++ lab.toml", "@@ -1,2 +1 @@", "-[exports.vda]", " node"],
}
REJECTED: dict[str, Any] = {
    "kind": "rejected",
    "message": 'lab.toml:41:1: error: unknown key "x"\n   41 | x = 1\n      | ^',
    "problems": 1,
    "line": 41,
}
DRIFT: dict[str, Any] = {
    "kind": "drifted",
    "file": "lab.toml",
    "operations": ["- node mine (throttle)"] * 2,
}


def rows(**reports: dict[str, Any] | None) -> tuple[ConfigRow, ...]:
    """Of these reports, by kind."""
    return config_view(reports).rows


@pytest.mark.parametrize(
    ("reports", "title"),
    [
        ({}, ""),
        ({"config": APPLIED}, "in force 12:03:54"),
        ({"config": PENDING}, "pending -1"),
        ({"config": REJECTED}, "INVALID :41"),
        ({"config": REJECTED | {"line": 0}}, "INVALID"),
        ({"config": {"kind": "failed"}}, "FAILED"),
        ({"config": APPLIED, "drift": DRIFT}, "in force 12:03:54 · DRIFT 2"),
        ({"config": {"kind": "novelty"}, "drift": {"kind": "drifted"}}, "novelty · DRIFT"),
    ],
)
def test_title_says_whether_the_file_is_in_force(reports: dict[str, Any], title: str) -> None:
    """In a word that is seen from afar."""
    assert config_view(reports, edited_at="12:03:54.123").title == title


def test_applied_edit_lists_clients_then_operations_by_sign() -> None:
    """Added, changed and removed differ in tone, notes come last."""
    shown = rows(config=APPLIED)
    assert [row.text for row in shown[:3]] == [
        "applied lab.toml: +1 ~1 -1 in 4.1 ms",
        "took vdb from 1 client",
        "vda: requests of 2 clients waited while it was done",
    ]
    assert [row.tone for row in shown[3:]] == ["add", "change", "remove", "change"]


def test_rejected_edit_keeps_caret_lines_as_they_came() -> None:
    """Sentences may be wrapped, excerpts may not."""
    assert [(row.text, row.verbatim) for row in rows(config=REJECTED)] == [
        ('lab.toml:41:1: error: unknown key "x"', False),
        ("   41 | x = 1", True),
        ("      | ^", True),
        ("nothing was changed; what ran goes on", False),
    ]


def test_what_is_in_force_is_shown_below_what_is_not() -> None:
    """A file with a mistake does not hide what the last edit did."""
    reports = {"config": REJECTED, "in-force": APPLIED}
    texts = [row.text for row in config_view(reports).rows]
    assert texts.index("in force:") < texts.index("applied lab.toml: +1 ~1 -1 in 4.1 ms")
    twice = {"config": APPLIED, "in-force": APPLIED}
    assert config_view(twice).rows == rows(config=APPLIED)


def test_pending_edit_shows_the_plan_whom_it_concerns_and_the_texts_difference() -> None:
    """And how to say yes to it."""
    shown = rows(config=PENDING)
    assert [(row.text, row.tone) for row in shown] == [
        ("WAITS FOR A YES: -1; a client", "warn"),
        ("say yes with: blkrun apply lab.toml", "dim"),
        ("takes vda from 2 clients", "warn"),
        ("vdb: requests of 1 client wait while it is done", "warn"),
        ("- export vda", "remove"),
        ("--- lab.toml", "title"),
        ("+++ lab.toml", "title"),
        ("@@ -1,2 +1 @@", "dim"),
        ("-[exports.vda]", "remove"),
        (" node", "plain"),
    ]


def test_drift_is_shown_before_the_last_edit() -> None:
    """With what brings the graph back; it is gone when it has ended."""
    shown = rows(config=APPLIED, drift=DRIFT)
    assert "bring it back with: blkrun apply lab.toml" in shown[0].text
    assert [row.tone for row in shown[:4]] == ["warn", "remove", "remove", "good"]
    assert rows(config=APPLIED, drift=None) == shown[3:]
    assert len(rows(drift=DRIFT)) == 4


def test_of_a_long_path_the_end_is_shown() -> None:
    """All files of a lab may be in one long directory."""
    view = config_view({}, file="/srv/labs/of/somebody/lab.toml")
    assert config_lines(view.rows, 16)[0].text == "…mebody/lab.toml"


@given(st.text(max_size=60) | st.sampled_from(NASTY_NAMES), st.integers(0, 80))
def test_any_path_fits(text: str, width: int) -> None:
    """From its end."""
    assert cell_len(fit_left(text, width)) == width


def test_all_reports_fit_every_width() -> None:
    """With foreign names in them."""
    nasty: dict[str, Any] = {
        "operations": NASTY_NAMES,
        "diff": NASTY_NAMES,
        "message": "\n".join(NASTY_NAMES),
    }
    reports = [APPLIED | nasty, PENDING | nasty, REJECTED | nasty, DRIFT | nasty]
    for width in WIDTHS:
        for report in reports:
            view = config_view({"config": report, "drift": report}, file=NASTY_NAMES[3])
            assert_fits(config_lines(view.rows, width), width)
