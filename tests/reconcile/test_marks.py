"""What a plan touches, by name, and what an edit changes in the text, for those who show it."""

from pathlib import Path

from hypothesis import given, settings

from blkrun.config import Sources
from blkrun.model import EMPTY, GraphModel
from blkrun.reconcile.marks import marks
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import plan
from blkrun.reconcile.text_diff import sources_diff
from tests.reconcile.fake_jobs import JobClient
from tests.reconcile.test_in_force import PLAIN, by_hand
from tests.reconcile.test_job_runner import Play, Running, play
from tests.reconcile.test_plan import chain, models

__all__ = ["play"]

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


def test_what_no_table_makes_has_no_place() -> None:
    """A mirror's filter, in a graph that was taken as it was found."""
    data = {"driver": "mirror_top", "node-name": "top", "file": "a", "target": "b"}
    found = marks((Operation("blockdev-add", data, "+", "", ""),))
    assert found["added"] == {"top": {"driver": "mirror_top", "over": []}}


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


def test_an_edit_that_waits_says_what_it_touches_and_how_the_text_differs(play: Play) -> None:
    """From what is in force, also when what waits is edited once more."""
    text = PLAIN + '[exports.vdb]\nnode = "new"\n'
    ask = '[runner]\napply = "ask"\n'

    async def story(running: Running, client: JobClient) -> None:
        await running.save(text + "read-only = true\n" + ask)
        await running.save(text + ask)
        data = client.reports[-1][1]
        assert (data["nodes"], data["exports"], data["groups"]) == ({}, {"vdb": "+"}, {})
        assert [line[1:] for line in data["diff"][2:] if line[0] == "+"] == [
            "[exports.vdb]",
            'node = "new"',
            *ask.splitlines(),
        ]
        assert not any(line.startswith("-") for line in data["diff"][2:])

    play(story, PLAIN)


def test_drift_says_what_it_touches(play: Play) -> None:
    """By name, as an edit does."""

    async def story(running: Running, client: JobClient) -> None:
        by_hand(client)
        await running.steps()
        (data,) = [data for kind, data in client.reports if kind == "drifted"]
        assert data["nodes"] == {"mine": "-"}

    play(story, PLAIN)


def test_a_file_that_is_wrong_says_at_which_line(play: Play) -> None:
    """One that is empty has none."""

    async def story(running: Running, client: JobClient) -> None:
        await running.save(PLAIN + "novelty = 1\n")
        wrong = client.reports[-1][1]
        assert wrong["line"] == PLAIN.count("\n") + 1
        assert f":{wrong['line']}:" in wrong["message"]
        await running.save("# nothing\n")
        assert "line" not in client.reports[-1][1]

    play(story, PLAIN)
