"""TOML texts as people write them: comments, odd spacing, braces, dotted keys, other line ends."""

import hypothesis.strategies as st

from blkrun.config.layout import key_text
from blkrun.decode import Path

VALUES = st.sampled_from(
    ["1", "0x1F", "true", '"64MiB"', "'a # b'", "[1, 2]", '["x",\n  "y", # z\n]', '"""a\nb"""']
)
COMMENTS = st.sampled_from(["", "", "", " # why", "      # a column", "\t#"])
NOTES = st.sampled_from([[], [], ["# a note"], ["  # one", "# two"]])
BLANKS = st.sampled_from([[], [""], ["", ""], ["  "]])
EQUALS = st.sampled_from([" = ", "=", "   = ", " =  "])
KEYS = ("driver", "file", "size", "a.b", "write-threshold")
SECTIONS = ("throttle-groups", "backends", "nodes", "exports")
NAMES = ("disk", "limit", "vda", "my disk")


@st.composite
def rows_of(draw: st.DrawFn, prefix: str = "") -> list[str]:
    """Keys of one table, each with a comment or not."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=4))
    aligned = draw(st.booleans())
    equals = draw(EQUALS)
    rows = []
    for key in keys:
        pad = key.ljust(max(map(len, keys))) if aligned else key
        rows += draw(NOTES)
        rows.append(f"{prefix}{pad}{equals}{draw(VALUES)}{draw(COMMENTS)}")
    return rows


@st.composite
def table_of(draw: st.DrawFn, path: Path) -> list[str]:
    """With a header."""
    indent = draw(st.sampled_from(["", "", "  "]))
    header = f"{indent}[{'.'.join(key_text(str(word)) for word in path)}]{draw(COMMENTS)}"
    return [*draw(NOTES), header, *draw(rows_of(indent)), *draw(NOTES)]


@st.composite
def section_in_braces(draw: st.DrawFn, section: str, names: list[str]) -> list[str]:
    """``[nodes]`` and a line each."""
    rows = [f"[{section}]"]
    for name in names:
        rows += draw(NOTES)
        inside = draw(st.sampled_from(["", " ", "a = 1", ' driver = "x", b.c = 2 ']))
        dotted = draw(st.booleans())
        key = key_text(name)
        rows.append(f"{key}.driver = 1" if dotted else f"{key} = {{{inside}}}{draw(COMMENTS)}")
    return rows


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A whole file."""
    rows = [*draw(NOTES), *draw(BLANKS)]
    for section in draw(st.permutations(SECTIONS)):
        names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
        if names and draw(st.integers(0, 3)) == 0:
            rows += [*draw(section_in_braces(section, names)), *draw(BLANKS)]
            continue
        for name in names:
            rows += [*draw(table_of((section, name))), *draw(BLANKS), *draw(NOTES), *draw(BLANKS)]
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = "\n".join([*rows, ""]).replace("\n", newline)
    return text if draw(st.booleans()) else text.rstrip("\r\n")
