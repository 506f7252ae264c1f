"""Edits of whole tables and keys: what is asked for changes, and not a character besides."""

import difflib
import tomllib
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from blkrun.config.steps import (
    Add,
    Document,
    Remove,
    Set,
    Step,
    Unset,
    Value,
    as_written,
    perform,
    value_of,
)
from blkrun.decode import Path
from blkrun.errors import FileError
from tests.config.toml_texts import NAMES, SECTIONS, texts

WORDS = st.sampled_from(["500", "10MiB", "true", '["a", "b"]', "0x10", "two words"]).map(as_written)
NEW = st.sampled_from(["new", "x", "throttle-group"])


def tables(document: Document) -> list[Path]:
    """Key paths of the tables in a document."""
    return [(section, name) for section, members in document.items() for name in members]


def keys(document: Document) -> list[Path]:
    """Key paths of the plain values in a document's tables."""
    return [
        (*path, key)
        for path in tables(document)
        for key, value in _get(document, path).items()
        if not isinstance(value, dict)
    ]


def only(old: str, new: str, removed: int, added: int) -> bool:
    """Whether no more lines than that have gone and come, all in one place."""
    matcher = difflib.SequenceMatcher(None, old.split("\n"), new.split("\n"), autojunk=False)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    gone = sum(code[2] - code[1] for code in changes)
    come = sum(code[4] - code[3] for code in changes)
    return gone <= removed and come <= added


def comments(text: str) -> list[str]:
    """Comments in lines of their own."""
    return [line.strip() for line in text.splitlines() if line.lstrip().startswith("#")]


@given(texts(), st.data(), WORDS)
def test_a_value_is_changed_in_its_place(text: str, data: st.DataObject, word: Value) -> None:
    """Its lines change, and no other; it is not written twice."""
    document = tomllib.loads(text)
    assume(paths := keys(document))
    path = data.draw(st.sampled_from(paths))
    edited = perform(text, [Set(path, word)])
    assert _get(tomllib.loads(edited), path) == word.value
    assert only(text, edited, removed=4, added=1)


@given(texts(), st.data(), WORDS, NEW)
def test_a_key_comes_and_goes(text: str, data: st.DataObject, word: Value, key: str) -> None:
    """It takes one line or a place in one; without it the text is as it was."""
    document = tomllib.loads(text)
    assume(paths := tables(document))
    path = (*data.draw(st.sampled_from(paths)), key)
    edited = perform(text, [Set(path, word)])
    assert _get(tomllib.loads(edited), path) == word.value
    assert comments(edited) == comments(text)
    assert only(text, edited, removed=1, added=2)
    assert perform(edited, [Unset(path)]) == text


@given(texts(), st.data(), st.lists(st.tuples(NEW, WORDS), unique_by=lambda each: each[0]))
def test_a_table_comes_and_goes(
    text: str, data: st.DataObject, values: list[tuple[str, Value]]
) -> None:
    """Nothing else changes but blank lines; without it the text is as it was."""
    document = tomllib.loads(text)
    section = data.draw(st.sampled_from(SECTIONS))
    path = (section, "another")
    after = data.draw(st.sampled_from([None, *tables(document)]))
    edited = perform(text, [Add(path, tuple(values), after)])
    assert _get(tomllib.loads(edited), path) == {key: value.value for key, value in values}
    assert comments(edited) == comments(text)
    assert edited.count("\r\n") in (0, edited.count("\n"))
    removed = perform(edited, [Remove(path)])
    assert removed == text or (not document.get(section) and removed.rstrip() == text.rstrip())


@given(texts(), st.data())
def test_a_table_goes_alone(text: str, data: st.DataObject) -> None:
    """All lines of other tables stay, and comments that are no neighbours of it."""
    document = tomllib.loads(text)
    assume(paths := tables(document))
    path = data.draw(st.sampled_from(paths))
    edited = perform(text, [Remove(path)])
    assert path not in tables(tomllib.loads(edited))
    kept, all_lines = edited.splitlines(), iter(text.splitlines())
    assert all(any(line == each for each in all_lines) for line in kept if line.strip(" {}"))


BELONGS = """\
# The file's own words.

# Kept: it stands by itself.

# About the group,
# in two lines.
[throttle-groups.slow] # beside
iops-total = 5 # five
# iops-read = 3

# Kept too.

# About the disk.
[backends.disk]
driver = "memory"
"""


def test_the_comments_of_a_table_go_with_it() -> None:
    """Those right above and right below and beside; no others."""
    assert perform(BELONGS, [Remove(("throttle-groups", "slow"))]) == (
        "# The file's own words.\n\n# Kept: it stands by itself.\n\n# Kept too.\n\n"
        '# About the disk.\n[backends.disk]\ndriver = "memory"\n'
    )
    assert perform(BELONGS, [Remove(("backends", "disk"))]).endswith("= 3\n\n# Kept too.\n")


def test_a_table_in_a_table_goes_with_it() -> None:
    """``[nodes.keep.bitmap]`` is part of ``[nodes.keep]``, wherever it is written."""
    text = "[nodes.keep]\na = 1\n[nodes.other]\nb = 1\n[nodes.keep.bitmap]\nc = 1\n"
    assert perform(text, [Remove(("nodes", "keep"))]) == "[nodes.other]\nb = 1\n"


def test_a_new_table_is_laid_out_as_its_neighbour() -> None:
    """Equals signs in line, the same gap, the same indent."""
    text = '[backends.disk]\n  driver = "memory"\n  size   = 5\n\n\n[exports.vda]\nnode = "disk"\n'
    values = (("driver", as_written("throttle")), ("throttle-group", as_written("slow")))
    edited = perform(text, [Add(("nodes", "limit"), values, ("backends", "disk"))])
    assert edited == text.replace(
        "= 5\n",
        '= 5\n\n\n[nodes.limit]\n  driver         = "throttle"\n  throttle-group = "slow"\n',
    )


def test_a_new_table_of_a_section_in_braces() -> None:
    """A line, as the others have."""
    text = '[nodes]\na = { driver = "raw" } # so\n\n[exports]\nvda.node = "a"\n'
    edited = perform(text, [Add(("nodes", "b"), (("driver", as_written("raw")),))])
    assert edited == text.replace("# so\n", '# so\nb = { driver = "raw" }\n')


def test_a_new_settings_table_comes_first() -> None:
    """Above the first table, below the file's first words."""
    text = "# Words.\n\n# The disk\n[backends.disk]\nsize = 5\n"
    edited = perform(text, [Set(("server", "threads"), as_written("8"))])
    assert edited == text.replace("# The disk", "[server]\nthreads = 8\n\n# The disk")


@pytest.mark.parametrize("word", ["9" * 5000, "[" * 5000 + "]" * 5000])
def test_a_word_that_python_cannot_read_is_a_string(word: str) -> None:
    """What is wrong with it is said by who knows the key."""
    assert as_written(word).value == word


def test_a_comment_keeps_its_column() -> None:
    """As far as there is room."""
    text = "[a.b]\nx = 1000    # why\n"
    assert perform(text, [Set(("a", "b", "x"), as_written("5"))]) == "[a.b]\nx = 5       # why\n"
    longer = perform(text, [Set(("a", "b", "x"), as_written("1000000000000"))])
    assert longer == "[a.b]\nx = 1000000000000 # why\n"


WRITTEN: dict[str, Any] = {
    "500": 500,
    "1_000": 1000,
    "true": True,
    "10MiB": "10MiB",
    '"500"': "500",
    '["a", "b"]': ["a", "b"],
    "{ node = 'a' }": {"node": "a"},
    "1\nx = 2": "1\nx = 2",
    "5 # five": "5 # five",
    "": "",
}


@pytest.mark.parametrize(("text", "value"), WRITTEN.items())
def test_words_of_a_command_line(text: str, value: Any) -> None:
    """A TOML value, written as the person wrote it; all else is a string."""
    word = as_written(text)
    assert word.value == value
    assert type(word.value) is type(value)
    assert tomllib.loads(f"x = {word.text}") == {"x": value}


IMPOSSIBLE: dict[str, tuple[str, Step]] = {
    "a table that is not there": ("[a.b]\nx = 1\n", Remove(("a", "c"))),
    "a key that is not there": ("[a.b]\nx = 1\n", Unset(("a", "b", "y"))),
    "a key in what is no table": ("[a.b]\nx = 1\n", Set(("a", "b", "x", "y"), value_of(1))),
    "the only key of a table without header": ("a.b.x = 1\na.c.x = 1\n", Unset(("a", "b", "x"))),
}


@pytest.mark.parametrize(("text", "step"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_done_is_said(text: str, step: Step) -> None:
    """By name, with the way out."""
    with pytest.raises(FileError, match=rf"^{step.path[0]}\.{step.path[1]}.*: do it by hand$"):
        perform(text, [step])


def test_names_of_the_strategy_cover_quoting() -> None:
    """One of the names needs quotes, or the properties above would not be about them."""
    assert any(" " in name for name in NAMES)


def _get(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def test_a_thousand_edges_are_one_edit() -> None:
    """Each is changed, with what is beside it, and what comes between is not."""
    head = '[backends.disk]\ndriver = "memory"\n\n'
    text = head + "".join(f'[exports.e{n}]\nnode = "disk"  # {n}\n' for n in range(1000))
    steps = [Set(("exports", f"e{n}", "node"), value_of("longer")) for n in range(0, 1000, 2)]
    steps += [Set(("exports", f"e{n}", "read-only"), value_of(True)) for n in (1, 999)]  # noqa: FBT003
    edited = perform(text, steps)
    for n in range(0, 1000, 2):
        text = text.replace(f'"disk"  # {n}\n', f'"longer" # {n}\n')
    for n in (1, 999):
        text = text.replace(f'"disk"  # {n}\n', f'"disk"  # {n}\nread-only = true\n')
    assert edited == text
