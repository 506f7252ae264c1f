"""Edits by tool: the values asked for change, and not a character besides."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun.config import Sources
from blkrun.config.edit import Written, edit_sources, file_of
from blkrun.decode import Path as KeyPath
from blkrun.errors import FileError

TEXT = """\
# A disk on its way.

[jobs.move]                 # while it is in use
type       = "mirror"
device     = 'old'          # to
target     = "new"          # there
when-ready = "pivot"        # at once

# What clients see
[exports.vda]
node      = "old"           # the disk
read-only = false
"""
CHANGES: dict[KeyPath, Written] = {
    ("exports", "vda", "node"): "new",
    ("jobs", "move", "enabled"): False,
}


def edit(text: str, changes: Mapping[KeyPath, Written]) -> str:
    """One file's text with these values."""
    sources = Sources(main=MAIN, texts={MAIN: text.encode()})
    return edit_sources(sources, changes).texts[MAIN].decode()


def test_layout_and_comments_stay() -> None:
    """The new key stands below the last one of its table, in line with the others."""
    assert edit(TEXT, CHANGES) == TEXT.replace('= "old"', '= "new"').replace(
        "# at once\n", "# at once\nenabled    = false\n"
    )


def test_a_key_that_is_there_is_changed_in_its_place() -> None:
    """It is not written twice."""
    text = TEXT.replace("type ", "enabled = true # yes\ntype ")
    assert edit(text, CHANGES) == text.replace('= "old"', '= "new"').replace("= true", "= false")


FORMS = {
    "line ends of another system": (
        TEXT.replace("\n", "\r\n"),
        'when-ready = "pivot"        # at once\r\nenabled    = false\r\n\r\n# What',
    ),
    "keys out of line": (
        TEXT.replace("type       =", "type ="),
        'when-ready = "pivot"        # at once\nenabled = false\n\n# What',
    ),
    "indented": (
        TEXT.replace("when-ready", "  when-ready").replace("type       =", "type ="),
        '  when-ready = "pivot"        # at once\n  enabled = false\n\n# What',
    ),
    "no newline at the end": (
        '[exports.vda]\nnode = "old"\n[jobs.move]\ntype = "mirror"',
        '[jobs.move]\ntype = "mirror"\nenabled = false',
    ),
    "one table in a line": (
        '[jobs]\nmove = {type = "mirror", device = "old"} # so\n[exports]\nvda = {node = "old"}\n',
        'move = {type = "mirror", device = "old", enabled = false} # so\n[exp',
    ),
    "keys with dots": (
        '[jobs]\nmove.type = "mirror"\nmove.device = "old"\n[exports]\nvda.node = "old"\n',
        'move.device = "old"\n',
    ),
    "tables in turns": (
        (
            '[jobs.a]\ntype = "x"\n[exports.vda]\nnode = "old"\n[jobs.move]\ntype = "mirror"\n'
            '[exports.vdb]\nnode = "x"\n'
        ),
        '[jobs.move]\ntype = "mirror"\nenabled = false\n[exports.vdb]\n',
    ),
}


@pytest.mark.parametrize(("text", "part"), FORMS.values(), ids=FORMS)
def test_every_way_to_write_a_table(text: str, part: str) -> None:
    """It says what it should and keeps its form."""
    edited = edit(text, CHANGES)
    expected = tomllib.loads(text)
    expected["jobs"]["move"]["enabled"] = False
    expected["exports"]["vda"]["node"] = "new"
    assert tomllib.loads(edited) == expected
    assert part in edited
    assert edited.count("\r") == text.count("\r") + (1 if "\r" in text else 0)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


@given(NAMES)
def test_any_value_is_written_so_that_it_is_read_again(value: str) -> None:
    """Quotes, backslashes and control characters are escaped."""
    edited = edit(TEXT, {("exports", "vda", "node"): value})
    assert tomllib.loads(edited)["exports"]["vda"]["node"] == value


def test_a_table_that_is_not_there() -> None:
    """It is said which one, and it is not made."""
    with pytest.raises(FileError, match=r"there is no \[exports\.vdb\] in vm\.toml"):
        edit(TEXT, {("exports", "vdb", "node"): "new"})


MAIN, OTHER = Path("vm.toml"), Path("tenants/a.toml")
AT = TEXT.index("# What clients see")
SOURCES = Sources(main=MAIN, texts={MAIN: TEXT[:AT].encode(), OTHER: TEXT[AT:].encode()})


def test_each_key_is_changed_in_the_file_that_has_its_table() -> None:
    """Together they say what one file would."""
    edited = edit_sources(SOURCES, CHANGES)
    assert b"".join(edited.texts.values()).decode() == edit(TEXT, CHANGES)
    assert edited.texts[OTHER] != SOURCES.texts[OTHER]


def test_which_file_has_a_table() -> None:
    """Also beside a file that cannot be read just now; a table that none has is named."""
    broken = SOURCES.with_texts({MAIN: b"[jobs.move"})
    assert file_of(broken, ("exports", "vda")) == OTHER
    with pytest.raises(FileError, match=r"no \[exports\.vdb\] in vm\.toml"):
        file_of(SOURCES, ("exports", "vdb"))
