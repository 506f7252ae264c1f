"""The scanner: every key that tomllib knows is found, where it is written."""

import tomllib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun.decode import Path as KeyPath
from blkrun.toml.positions import Span, locate

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.toml"))


def paths_of(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Every key path and list index below a value."""
    below: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    found = [path] if path else []
    for key, inner in below:
        found += paths_of(inner, (*path, key))
    return found


BARE = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
ODD = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=5)


def quoted(name: str) -> str:
    """A basic string; the first letter escaped, to be sure that escapes are met."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if not name else f'"\\U{ord(name[0]):08x}{escaped_rest(name)}"'


def escaped_rest(name: str) -> str:
    """What follows the first letter."""
    return name[1:].replace("\\", "\\\\").replace('"', '\\"')


KEY = st.one_of(
    BARE.map(lambda name: (name, name)),
    ODD.map(lambda name: (name, quoted(name))),
    ODD.filter(lambda name: "'" not in name).map(lambda name: (name, f"'{name}'")),
)
"""The name, and one way to write it."""

SCALARS = st.sampled_from(
    [
        "1",
        "-0x1f",
        "1.5e3",
        "true",
        "1979-05-27 07:32:00.5",
        "1979-05-27T07:32:00Z",
        "07:32:00",
        '"a # b = [c]"',
        '"\\" \\\\"',
        "'c:\\'",
        '""',
        "''",
        '"""a "quoted"" = \\""" word"""""',
        '"""\nx = 1\n[t]\n\\\n  """',
        "'''\ny = ''2\n# no'''''",
        '""""""',
    ]
)


def arrays(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Lists on one line and on several, with a comment between and a comma at the end."""
    return st.lists(value, max_size=3).flatmap(
        lambda items: st.sampled_from(
            [
                f"[{', '.join(items)}]",
                "[ # first ]\n" + "".join(f"\t{item}, # x\n" for item in items) + "]",
            ]
        )
    )


def inline_tables(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """``{ a = 1, b.c = 2 }``."""
    pair = st.tuples(KEY, st.booleans(), value)
    return st.lists(pair, max_size=3, unique_by=lambda each: each[0][0]).map(
        lambda pairs: (
            "{ "
            + ", ".join(
                f"{key[1]}{' . sub' if deeper else ''} = {item}" for key, deeper, item in pairs
            )
            + " }"
        )
    )


VALUE = st.recursive(
    SCALARS, lambda inner: st.one_of(arrays(inner), inline_tables(inner)), max_leaves=6
)

PAIRS = st.lists(
    st.tuples(
        KEY, st.sampled_from(["", ".deep", ' . "de ep"']), VALUE, st.sampled_from(["", " # c"])
    ),
    max_size=4,
    unique_by=lambda pair: pair[0][0],
)
TABLES = st.lists(
    st.tuples(
        st.lists(KEY, min_size=1, max_size=3),
        st.sampled_from([("[", "]"), ("[[", "]]"), ("[ ", " ] # [x]")]),
        PAIRS,
    ),
    max_size=5,
)


def compose(pairs: list[Any], tables: list[Any]) -> str:
    """A text; perhaps one that TOML refuses, when a table is there twice."""
    lines = [f"{key[1]}{more}\t= {value}{tail}" for key, more, value, tail in pairs]
    for keys, (opening, closing), inner in tables:
        header = ".".join(written for _, written in keys)
        lines += ["", "  # comment", f"{opening}{header}{closing}"]
        lines += [f"  {key[1]}{more} ={value}{tail}" for key, more, value, tail in inner]
    return "\n".join(lines) + "\n"


@given(PAIRS, TABLES)
def test_every_key_is_found_at_its_line(pairs: list[Any], tables: list[Any]) -> None:
    """Whatever tomllib parses, each key path has a place, and its name stands there."""
    text = compose(pairs, tables)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    at = locate(text)
    lines = text.split("\n")
    for path in paths_of(document):
        assert path in at.names or path in at.values, path
        if path in at.names:
            span = at.name(path)
            assert span is not None
            written = lines[span.line - 1][span.column - 1 : span.column - 1 + span.length]
            assert tomllib.loads(f"{written} = 0") == {path[-1]: 0}
        if path in at.values and not is_header(text, at.values[path][0]):
            start, end = at.values[path]
            assert tomllib.loads(f"v = {text[start:end]}")["v"] == item(document, path)


def is_header(text: str, start: int) -> bool:
    """A bracket that is the first thing on its line; no value is written so here."""
    return text.startswith("[", start) and text[:start].endswith("\n")


def item(document: Any, path: KeyPath) -> Any:
    """What the document has at a path."""
    for key in path:
        document = document[key]
    return document


@given(st.text(alphabet="ab.=[]{}\"'#, \n\\1-:", max_size=60))
def test_any_text_ends(text: str) -> None:
    """On text that is not TOML the scanner stops without an error."""
    locate(text)


@given(st.text(alphabet="ab=[]{}\"'#, \n\\1.", max_size=40))
def test_short_documents(text: str) -> None:
    """Small texts of nothing but TOML's own signs: whatever tomllib takes is located."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    at = locate(text)
    assert all(path in at.names or path in at.values for path in paths_of(document))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_located(file: Path) -> None:
    """Real files, every key of them."""
    text = file.read_text()
    at = locate(text)
    for path in paths_of(tomllib.loads(text)):
        span = at.name(path)
        assert span is not None
        assert str(path[-1]) in text.split("\n")[span.line - 1] or isinstance(path[-1], int)


TEXT = """\
# comment
[nodes."my disk"]
file = "disk"   # the child
a.b = { c = 1, d = [
  "x", "y",
] }
[[list]]
[[list]]
key = '''
two lines'''
[list.sub]
last = 1
"""


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (("nodes",), Span(2, 2, 5), Span(2, 2, 5)),
        (("nodes", "my disk"), Span(2, 8, 9), Span(2, 1, 17)),
        (("nodes", "my disk", "file"), Span(3, 1, 4), Span(3, 8, 6)),
        (("nodes", "my disk", "a", "b"), Span(4, 3, 1), Span(4, 7, 14)),
        (("nodes", "my disk", "a", "b", "c"), Span(4, 9, 1), Span(4, 13, 1)),
        (("nodes", "my disk", "a", "b", "d", 1), Span(5, 8, 3), Span(5, 8, 3)),
        (("list", 0), Span(7, 1, 8), Span(7, 1, 8)),
        (("list", 1), Span(8, 1, 8), Span(8, 1, 8)),
        (("list", 1, "key"), Span(9, 1, 3), Span(9, 7, 3)),
        (("list", 1, "sub", "last"), Span(12, 1, 4), Span(12, 8, 1)),
    ],
)
def test_names_and_values(path: KeyPath, name: Span, value: Span) -> None:
    """A key's name and its value (for a table: its header) have places of their own."""
    at = locate(TEXT)
    assert (at.name(path), at.value(path)) == (name, value)


def test_a_missing_key_falls_back_to_its_table() -> None:
    """What is not written is shown at the nearest header around it, or nowhere."""
    at = locate(TEXT)
    assert at.name(("nodes", "my disk", "driver")) == Span(2, 1, 17)
    assert at.value(("exports", "vda")) is None
