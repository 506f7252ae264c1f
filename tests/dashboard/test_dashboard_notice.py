"""The sentence above the panels, and the line of a table for an editor."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.model.notice import notice
from blkrun.dashboard.model.places import line_of
from blkrun.dashboard.model.waiting import waiting

PENDING: dict[str, Any] = {"kind": "pending", "file": "lab.toml", "digest": "d", "summary": "+1 -1"}
WRONG: dict[str, Any] = {
    "kind": "rejected",
    "file": "lab.toml",
    "message": "lab.toml:3:1: error: unknown key\n  3 | x\n    | ^",
}
DRIFT: dict[str, Any] = {"operations": ["~ group gold: iops-total 5 → 6"]}


def test_what_waits_comes_first() -> None:
    """With the key that shows it; then mistakes, then drift."""
    found = notice({"config": PENDING, "drift": DRIFT}, waiting(PENDING), "a")
    assert found is not None
    assert found.text == "lab.toml waits for a yes: +1 -1 · a: see and apply it"
    assert found.tone == "warn"


def test_a_mistake_names_its_place() -> None:
    """The first line; the rest is counted."""
    found = notice({"config": WRONG, "drift": DRIFT}, None)
    assert found is not None
    assert found.tone == "bad"
    assert found.text.endswith("lab.toml:3:1: error: unknown key (+2 lines)")


def test_drift_alone_is_said_and_all_well_is_not() -> None:
    """No row without a reason."""
    found = notice({"config": {"kind": "applied"}, "drift": DRIFT}, None)
    assert found is not None
    assert found.tone == "warn"
    assert notice({"config": {"kind": "applied"}, "drift": None}, None) is None
    assert notice({}, None) is None


FILE = """\
[throttle-groups.gold]  # [nodes.limit]
iops-total = 5
text = "x"
[ nodes . limit ]
driver = "throttle"

[exports."a b"]
[jobs.'limit']
[backends."limit.x"]
"""


@pytest.mark.parametrize(
    ("name", "line"),
    [("gold", 1), ("limit", 4), ("a b", 7), ("limit.x", 9), ("none", None), ("nodes", None)],
)
def test_line_of_a_table(name: str, line: int | None) -> None:
    """However its header is written; comments and values are not headers."""
    assert line_of(FILE, name) == line


def test_line_of_a_job_when_its_section_is_asked_for() -> None:
    """A job may be called like a node."""
    assert line_of(FILE, "limit", ("jobs",)) == 8


@given(st.text(max_size=40), st.text(max_size=8))
def test_any_text_has_an_answer(text: str, name: str) -> None:
    """Files are looked at while they are wrong, too."""
    found = line_of(text, name)
    assert found is None or 1 <= found <= text.count("\n") + 1


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x85", "\u2028"])
def test_only_newlines_end_lines(odd: str) -> None:
    """An editor counts as TOML does, and Python otherwise."""
    assert line_of(f"# a{odd}b\n[nodes.x]\n", "x") == 2


def test_a_line_of_blanks_takes_no_time() -> None:
    """A bracket and thousands of them made for minutes of looking."""
    assert line_of("[" + " " * 20_000 + "\n[nodes.x]\n", "x") == 2


@given(st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True), st.integers(0, 5))
def test_lines_agree_with_a_parser(name: str, above: int) -> None:
    """What is found is the line of what TOML reads there."""
    text = "# x\n" * above + f"[nodes.{name}]\nok = true\n"
    assert tomllib.loads(text)["nodes"][name] == {"ok": True}
    assert line_of(text, name) == above + 1
