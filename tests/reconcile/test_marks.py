"""What a plan touches, by name, and what an edit changes in the text, for those who show it."""

from pathlib import Path

from hypothesis import given, settings

from blkrun.config import Sources
from blkrun.model import EMPTY, GraphModel
from blkrun.reconcile.marks import marks
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import plan
from blkrun.reconcile.text_diff import sources_diff
from tests.reconcile.test_plan import chain, models

MAIN = Path("lab/vm.toml")


def test_a_filter_that_comes_and_a_limit_that_changes() -> None:
    """The new node has a driver and what it will be over; who leads to it is no news by itself."""
    found = marks(plan(chain("new", "limit", iops_total=9), chain("limit", iops_total=5)))
    assert found == {
        "nodes": {"new": "+"},
        "exports": {},
        "groups": {"g": "~"},
        "added": {"new": {"driver": "throttle", "over": ["limit"]}},
    }


def test_everything_goes() -> None:
    """Nodes, groups and exports are told apart."""
    found = marks(plan(EMPTY, chain("limit")))
    assert found["nodes"] == {"limit": "-", "disk": "-"}
    assert (found["exports"], found["groups"]) == ({"vda": "-"}, {"g": "-"})


def test_what_goes_and_comes_back_is_changed() -> None:
    """As an export whose mode is another."""
    gone = Operation("block-export-del", {"id": "vda"}, "-", "", "")
    back = Operation("block-export-add", {"id": "vda"}, "+", "", "")
    assert marks((gone, back))["exports"] == {"vda": "~"}


@settings(max_examples=60)
@given(models(), models())
def test_marks_are_what_differs(desired: GraphModel, live: GraphModel) -> None:
    """What is new has a plus, what is gone a minus, and nothing else has."""
    found = marks(plan(desired, live))
    for place, new, old in (
        ("nodes", desired.nodes, live.nodes),
        ("exports", desired.exports, live.exports),
        ("groups", desired.groups, live.groups),
    ):
        plus = {name for name, sign in found[place].items() if sign == "+"}
        minus = {name for name, sign in found[place].items() if sign == "-"}
        assert plus == set(new) - set(old)
        assert minus == set(old) - set(new)
    assert set(found["added"]) == set(desired.nodes) - set(live.nodes)


def sources(main: str, **others: str) -> Sources:
    """Texts of the main file and of included ones."""
    texts = {MAIN.with_name(f"{name}.toml"): text.encode() for name, text in others.items()}
    return Sources(main=MAIN, texts={MAIN: main.encode(), **texts})


def test_diff_is_of_all_files() -> None:
    """Each under its name beside the main one; what is as it was is not told of."""
    old, new = (
        sources("a = 1\n", same="s = 1\n", gone="g = 1\n"),
        sources("a = 2\n", same="s = 1\n"),
    )
    assert sources_diff(old, new) == [
        "--- vm.toml",
        "+++ vm.toml",
        "@@ -1 +1 @@",
        "-a = 1",
        "+a = 2",
        "--- gone.toml",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-g = 1",
    ]
    assert sources_diff(old, old) == []


def test_diff_of_a_large_edit_is_cut() -> None:
    """Every look of every watcher carries it."""
    lines = [f"k{number} = '{'x' * 1000}'" for number in range(900)]
    found = sources_diff(sources(""), sources("\n".join(lines) + "\n"))
    assert len(found) == 201
    assert found[-1] == "… and 703 more lines"
    assert max(map(len, found)) == 400
