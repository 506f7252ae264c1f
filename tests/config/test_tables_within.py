"""Several tables within a node's, ``[[nodes.NAME.KEY]]``: mistakes, edits, plans and dumps."""

import tomllib
from pathlib import Path

import pytest

from blkrun import config
from blkrun.config.changes import remove, set_keys
from blkrun.config.steps import Step, perform
from blkrun.errors import FileError
from blkrun.options import BlkDebugOptions, InjectError, SetState
from blkrun.reconcile.dump import dump
from blkrun.reconcile.plan import plan
from blkrun.reconcile.words import change_words

VM = Path("/lab/vm.toml")
TEXT = """\
[backends.disk]
driver = "null"

[nodes.debug]
driver = "blkdebug"
image  = "disk"
config = "rules.cfg"

# Reads fail.
[[nodes.debug.inject-error]]
event = "none"
errno = "ENOSPC"    # full

[[nodes.debug.inject-error]]
event = "pwritev"
errno = 5

[[nodes.debug.set-state]]
event     = "pwritev"
new_state = 2

[exports.vda]
node = "debug"
"""


def test_what_it_says() -> None:
    """Each a table, an errno by its name or number; a relative path starts at the file."""
    options = config.parse(TEXT, VM).graph.nodes["debug"]
    assert options == BlkDebugOptions(
        node_name="debug",
        image="disk",
        config="/lab/rules.cfg",
        inject_error=(
            InjectError(event="none", errno=28),
            InjectError(event="pwritev"),
        ),
        set_state=(SetState(event="pwritev", new_state=2),),
    )


@pytest.mark.parametrize(
    ("right", "wrong", "place", "message"),
    [
        (
            'errno = "ENOSPC"',
            'errno = "ENOSP"',
            (12, 9),
            (
                "nodes.debug.inject-error[0].errno: 'ENOSP' is not an errno; "
                'write "EIO", "ENOSPC" or a number'
            ),
        ),
        (
            "errno = 5",
            "errno = -5",
            (16, 9),
            "nodes.debug.inject-error[1].errno: -5 is out of range: needs >= 0",
        ),
        (
            "errno = 5",
            "errn = 5",
            (16, 1),
            'unknown key "errn" in nodes.debug.inject-error[1]',
        ),
        (
            "new_state = 2",
            "",
            (18, 1),
            '"new_state" is missing in nodes.debug.set-state[0]',
        ),
        (
            'driver = "blkdebug"',
            'driver = "blkdebug"\nalign = 100',
            (6, 1),
            "nodes.debug.align: Cannot meet constraints with align 100",
        ),
    ],
)
def test_a_mistake_has_its_place(
    right: str, wrong: str, place: tuple[int, int], message: str
) -> None:
    """Line and column within the one table that it is in."""
    (found,) = config.check(TEXT.replace(right, wrong, 1), VM)
    assert (found.line, found.column) == place
    assert found.message == message


@pytest.mark.parametrize("written", ["3", '"x"', "[1]", "{}"])
def test_something_else_in_its_place(written: str) -> None:
    """Told by its key, and no more than that."""
    text = TEXT.partition("# Reads")[0] + f"inject-error = {written}\n"
    (found,) = [each for each in config.check(text, VM) if each.severity == "error"]
    assert "is not a" in found.message
    assert found.line == 9


def test_many_choices_are_not_all_listed() -> None:
    """The nearest is told anyway."""
    (found,) = config.check(TEXT.replace('"pwritev"', '"pwritvev"', 1), VM)
    assert found.message.endswith('"read_aio", … (48 in all)')
    assert found.suggestion == "pwritev"


def steps(text: str, *of: Step) -> str:
    """The text after them."""
    return perform(text, of)


def test_they_go_with_their_node() -> None:
    """Also the comments between."""
    left = steps(TEXT, *remove(tomllib.loads(TEXT), "debug"))
    assert tomllib.loads(left) == {
        "backends": {"disk": {"driver": "null"}},
        "exports": {"vda": {"node": "disk"}},
    }
    assert "Reads fail" not in left


def test_a_key_of_the_node_can_be_set_beside_them() -> None:
    """It comes before the first of them."""
    changed = steps(TEXT, *set_keys(tomllib.loads(TEXT), [("nodes.debug.align", "512")], []))
    assert tomllib.loads(changed)["nodes"]["debug"]["align"] == 512
    assert changed.index("align") < changed.index("# Reads fail.")


@pytest.mark.parametrize("key", ["inject-error", "inject-error.errno", "set-state.0.event"])
def test_they_have_no_names_to_be_set_by(key: str) -> None:
    """Refused, with what to do."""
    name = f"nodes.debug.{key}"
    for values, unset in (([(name, "1")], []), ([], [name])):
        with pytest.raises(FileError, match=r"is several tables, \[\[.*\]\]: change them by hand"):
            set_keys(tomllib.loads(TEXT), values, unset)


def test_a_dump_has_them() -> None:
    """It asks for nothing."""
    graph = config.parse(TEXT, VM).graph
    text = dump(graph, {}, "vm.toml")
    assert plan(config.parse(text, VM).graph, graph) == ()


def test_other_rules_are_a_reopen() -> None:
    """In words that can be read."""
    live = config.parse(TEXT, VM).graph
    changed = config.parse(TEXT.replace("errno = 5", "errno = 28\nonce = true"), VM).graph
    (operation,) = plan(changed, live)
    assert operation.type == "blockdev-reopen"
    assert operation.data["options"][0]["inject-error"] == [
        {"event": "none", "errno": 28},
        {"event": "pwritev", "errno": 28, "once": True},
    ]
    old, new = (BlkDebugOptions(node_name="n", image="d", inject_error=each) for each in RULES)
    words = change_words(old, new, ["inject-error"])
    assert words == "inject-error [] → [{event = none, errno = ENOSPC, once = true}]"


RULES = ((), (InjectError(event="none", errno=28, once=True),))
