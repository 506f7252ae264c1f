"""[nodes.NAME] with children that have to be equal: what may be written, and edits by tool."""

import tomllib
from pathlib import Path

import pytest

from blkrun import config
from blkrun.config import Sources
from blkrun.config.changes import insert, remove
from blkrun.config.edit import perform_in
from blkrun.errors import FileError
from blkrun.options import QuorumOptions

FILE = Path("/lab/lab.toml")

BASE = """\
[throttle-groups.g]
iops-total = 100
[backends.a]
driver = "memory"
[backends.b]
driver = "memory"
[backends.c]
driver = "memory"
read-only = true
[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "a"
"""
QUORUM = """\
[nodes.q]
driver = "quorum"
children = ["a", "b"]      # two copies
vote-threshold = 2
"""
ALREADY = "nodes.q.children[0] already: a copy counts once"
EXPORT = '[exports.vda]\nnode = "q"\n'


def found(text: str) -> list[tuple[int, int, str, str | None]]:
    """Line below the base, column, message and suggestion of each diagnostic."""
    diagnostics = config.check(BASE + text, FILE)
    above = BASE.count("\n")
    return [(each.line - above, each.column, each.message, each.suggestion) for each in diagnostics]


def test_a_good_quorum() -> None:
    """Nothing is wrong with it, and children come in their order."""
    assert found(QUORUM + EXPORT) == []
    node = config.parse(BASE + QUORUM, FILE).graph.nodes["q"]
    assert isinstance(node, QuorumOptions)
    assert node.children == ("a", "b")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '["a", "b"]',
            '["a", "bb"]',
            (3, 18, 'nodes.q.children[1]: there is no node or backend "bb"', "b"),
        ),
        (
            '["a", "b"]',
            "[]",
            (3, 12, "nodes.q.children is empty: a quorum has one child or more", None),
        ),
        ('["a", "b"]', '"a"', (3, 12, "nodes.q.children: 'a' is not an array", None)),
        ('["a", "b"]', '["a", 1]', (3, 18, "nodes.q.children[1]: 1 is not a string", None)),
        (
            '["a", "b"]',
            '["a", "b", "a"]',
            (
                3,
                23,
                'nodes.q.children[2]: "a" is nodes.q.children[0] already: a copy counts once',
                None,
            ),
        ),
        (
            "= 2",
            "= 0",
            (4, 18, "nodes.q.vote-threshold: 0 is out of range: needs int >= 1", None),
        ),
        (
            "= 2",
            "= 3",
            (
                4,
                18,
                "nodes.q.vote-threshold: 3 can never agree, as there are 2 children",
                None,
            ),
        ),
        (
            "= 2",
            "= 1\nblkverify = true",
            (5, 1, "nodes.q.blkverify needs exactly two children and vote-threshold = 2", None),
        ),
        (
            "= 2",
            "= 2\nblkverify = true\nrewrite-corrupted = true",
            (
                5,
                1,
                "nodes.q.blkverify: of two that differ neither is right: no rewrite-corrupted",
                None,
            ),
        ),
        (
            '["a", "b"]',
            '["a", "q"]',
            (3, 18, "nodes.q.children[1] closes a cycle: q -> q", None),
        ),
    ],
)
def test_one_mistake(old: str, new: str, expected: tuple[int, int, str, str | None]) -> None:
    """The message, the place in the list, the nearest valid name."""
    assert found(QUORUM.replace(old, new)) == [expected]


def test_a_filter_that_is_off_is_its_child() -> None:
    """So it may not stand beside it in a list; switched on it is no copy either, but a node."""
    both = QUORUM.replace('"b"', '"limit"')
    assert found(both) == []
    text = BASE.replace('file = "a"', 'file = "a"\nenabled = false') + both
    (problem,) = config.check(text, FILE)
    assert problem.message == (
        'nodes.q.children[1]: "a" (through "limit", which is switched off) is ' + ALREADY
    )


def test_blkverify_needs_two_disks() -> None:
    """Its edges are no list, and the rule is the same."""
    ((*_, message, _),) = found('[nodes.v]\ndriver = "blkverify"\ntest = "a"\nraw = "a"\n')
    assert message == 'nodes.v.raw: "a" is nodes.v.test already: a copy counts once'


@pytest.mark.parametrize("place", ['["c", "b"]', '["b", "c"]', '["deep", "b"]'])
def test_a_writable_export_writes_to_all(place: str) -> None:
    """One child that cannot be written is enough, wherever it is."""
    deep = '[nodes.deep]\ndriver = "raw"\nfile = "c"\n'
    text = deep + QUORUM.replace('["a", "b"]', place) + EXPORT
    ((*_, message, _),) = found(text)
    assert message == (
        "exports.vda is writable, but backends.c is read-only: set read-only = true in exports.vda"
    )
    assert found(text + "read-only = true\n") == []


def test_many_exports_over_many_copies() -> None:
    """What was found below one is not looked for again below the next."""
    nodes = '[nodes.n0]\ndriver = "raw"\nfile = "a"\n'
    for number in range(1, 400):
        below = f"n{number - 1}"
        nodes += f'[nodes.n{number}]\ndriver = "quorum"\nvote-threshold = 1\n'
        nodes += f'children = ["{below}", "b"]\n'
    exports = "".join(f'[exports.e{number}]\nnode = "n{number}"\n' for number in range(400))
    assert found(nodes + exports) == []
    blocked = BASE.replace("[backends.a]\n", "[backends.a]\nread-only = true\n")
    assert len(config.check(blocked + nodes + exports, FILE)) == 400


def edited(text: str, *commands: tuple[str, ...]) -> str:
    """After these insertions (name, above) and removals (name)."""
    for name, *above in commands:
        document = tomllib.loads(text)
        if above:
            group = (("throttle-group", config.steps.value_of("g")),)
            steps = insert(document, name, driver="throttle", above=above[0], values=group)
        else:
            steps = remove(document, name)
        text = (
            perform_in(Sources(main=FILE, texts={FILE: text.encode()}), steps).texts[FILE].decode()
        )
    return text


def test_edits_by_tool_change_one_place_in_the_list() -> None:
    """A filter goes in over a child and out again; the comment stays, and the text is as it was."""
    text = BASE + QUORUM
    after = edited(text, ("f", "b"))
    assert 'children = ["a", "f"]      # two copies' in after
    assert config.parse(after, FILE).graph.nodes["f"] is not None
    assert edited(after, ("f",)) == text


def test_two_places_at_once() -> None:
    """A filter over a disk that two lists have, and one that has it twice through others."""
    text = BASE + QUORUM + QUORUM.replace("nodes.q", "nodes.p")
    after = edited(text, ("f", "b"))
    assert after.count('children = ["a", "f"]') == 2


def test_a_child_cannot_be_removed_while_it_is_one() -> None:
    """What uses it is named with its place."""
    with pytest.raises(FileError, match=r"nodes\.q\.children\[1\]"):
        edited(BASE + QUORUM, ("b",))
