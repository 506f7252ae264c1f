"""Texts that are not TOML: a message for each mistake, at its place, and none besides."""

import tomllib
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun import config
from blkrun.decode import Kind
from blkrun.toml.syntax import MAX_ERRORS


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (b"a = 1\nb = =\n", (2, 5), "invalid value"),
        (b"[server\n", (1, 8), "expected ']' at the end of a table declaration"),
        (b'a = """\nx\n\n', (2, 2), "unterminated string"),
        (b"\xef\xbb\xbfa = 1\n", (1, 1), "the file begins with a byte order mark"),
        (b'a = "\xc3\xa9"\nb = "\xe9"\n', (2, 6), "byte 0xe9 is not UTF-8"),
        (b"\xff\xfea\x00", (1, 1), "byte 0xff is not UTF-8"),
        (b"a = 'x\nb = 1\n", (1, 7), 'expected "\'"'),
        (b"a = 1\x00\n", (1, 6), "expected newline or end of document after a statement"),
    ],
)
def test_syntax_error(text: bytes, place: tuple[int, int], message: str) -> None:
    """The reason tomllib gives, or a better one, with line and column."""
    (one,) = config.check(text, Path("a.toml"))
    assert (one.line, one.column) == place
    assert one.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "place", "message", "first"),
    [
        ("[nodes.a]\nx = 1\n[nodes.a]\n", (3, 1), "nodes.a is written twice", (1, 8)),
        ("[a]\nx = 1\ny = 2\nx = 3\n", (4, 5), "a.x is written twice", (2, 1)),
        ("b.c = 1\nb.c = 2\n", (2, 7), "b.c is written twice", (1, 3)),
        ("b.c = 1\nb.c = 2", (2, 7), "b.c is written twice", (1, 3)),
    ],
)
def test_written_twice(
    text: str, place: tuple[int, int], message: str, first: tuple[int, int]
) -> None:
    """The likeliest slip of all names the key and shows the first place."""
    (one,) = config.check(text, Path("a.toml"))
    assert (one.line, one.column, one.message) == (*place, message)
    assert one.related is not None
    assert (one.related.line, one.related.column) == first


def test_nested_too_deeply() -> None:
    """Brackets without end are an error and not a crash."""
    (one,) = config.check("a = " + "[" * 5000 + "]" * 5000, Path("a.toml"))
    assert (one.line, one.message) == (0, "arrays or tables are nested too deeply")


def test_nested_as_deeply_as_only_tomllib_can() -> None:
    """Whatever the depth, it is TOML or there is a message: never neither."""
    for depth in range(200, 520, 20):
        text = "a = " + "[" * depth + "]" * depth
        assert config.check(text, Path("a.toml"))
        assert config.check(f"{text}\na = 1\n", Path("a.toml"))


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "0x" + "f" * 5000])
def test_numbers_without_end(number: str) -> None:
    """Python refuses to read them, or to write them into a message: neither is a crash."""
    (one,) = config.check(f"[server]\nthreads = {number}\n", Path("a.toml"))
    assert (one.line, one.column, one.message) == (2, 11, "a number has too many digits")


def lines_of(text: str) -> list[int]:
    """The line of each diagnostic that is about the text as TOML."""
    found = config.check(text, Path("a.toml"))
    return [each.line for each in found if each.problem.kind is Kind.SYNTAX]


def test_several() -> None:
    """Each has its own message and place, in the order of the text."""
    text = "[nodes.a\nfile = 'x'\n[exports.b]\nnode 'a'\nread-only = yes\nnode = 'a'\n"
    found = config.check(text, Path("a.toml"))
    assert [(each.line, each.column, each.message) for each in found] == [
        (1, 9, "expected ']' at the end of a table declaration"),
        (4, 6, "expected '=' after a key in a key/value pair"),
        (5, 13, "invalid value"),
    ]


def test_written_again_and_again() -> None:
    """Each writing after the first is told, and shows the first."""
    found = config.check("[a]\nx = 1\nx = 2\n[a]\ny = 1\nx = 3\n[a]\n", Path("a.toml"))
    assert [(each.line, each.message, each.related and each.related.line) for each in found] == [
        (3, "a.x is written twice", 2),
        (4, "a is written twice", 1),
        (7, "a is written twice", 1),
    ]


BROKEN = st.sampled_from(
    [
        "{} = = 1",
        "{} 1",
        "{}",
        "{} =",
        "= 1",
        "! {}",
        "{}. = 1",
        "{} = tru",
        "{} = 1 2",
        "{} = 01",
        "{} = 10GiB",
        "{} = 'abc",
        '{} = "abc',
        "{} = \"abc # '",
        '{} = "\\q"',
        '{} = """\\q"""',
        '{} = "a" # \x01',
        "{} = [1, = ]",
        "{} = 1]",
        "{} = {{ a = }}",
        '{} = "a" "b"',
        "{} = 1999-13-45",
        "[]",
        "[{}",
        "[{}. ]",
        "[{}]]",
        "[[{}]",
        "  [{} # [x]",
        '["{}]',
    ]
)
GOOD = st.sampled_from(
    [
        "{} = 1",
        '{} = "# ["',
        "{} = '''\n = =\n[x\n'''",
        '{} = """\n[\n\\"""\n"""',
        "{} = [ # ]\n  1,\n\n  [2],\n]",
        "{} = {{ a = [1,\n2] }}",
        "# = [ {}",
        "",
    ]
)
NAMES = st.sampled_from(["a", "b-c", "'d e'", "f.g"])


@given(
    st.lists(
        st.tuples(st.booleans(), GOOD, st.lists(st.tuples(BROKEN, NAMES), max_size=3)),
        max_size=MAX_ERRORS // 3,
    ),
    st.sampled_from(["", "\n"]),
)
def test_every_broken_statement_is_one_error(
    steps: list[tuple[bool, str, list[tuple[str, str]]]], end: str
) -> None:
    """At its line, wherever it stands between good ones, whatever those are."""
    good, lines, expected = ["x = 0"], ["x = 0"], []
    for number, (header, statement, broken) in enumerate(steps):
        written = statement.format(f"k{0 if header else number}").split("\n")
        written = [*([f"[t{number}]"] if header else []), *written]
        good += written
        lines += written
        for text, name in broken:
            lines.append(text.format(name))
            expected.append(len(lines))
    tomllib.loads("\n".join(good))
    assert lines_of("\n".join(lines) + end) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = [1,\n[b]\nc = = 1\n", 2),
        ("a = [1,\n2\nc = 1\nd = 2\n[e]\n", 3),
        ("a = [\n  1,\n  =,\n  =,\n]\n", 3),
        ('a = ["x,\n  "y",\n  "z",\n]\n', 1),
        ("a = {\n  b = 1,\n  c = 2,\n}\n", 1),
        ('a = """\nb = = 1\nc = = 1\n', 3),
        ('a = """ \\q\nb = = 1\n"""\n', 1),
        ("a = '''\n[b\n", 2),
        ("a = [\n1\n]\na = [\n1,\n]\nb = = 1\n", 4),
    ],
)
def test_where_nobody_can_say_it_is_one_error(text: str, line: int) -> None:
    """Behind something that is not closed nothing is reported."""
    assert lines_of(text) == [line]


def test_no_more_than_so_many() -> None:
    """A file that is something else altogether does not fill the screen."""
    assert lines_of("x y\n" * 100) == [*range(1, MAX_ERRORS + 1)]


def test_a_large_file_is_not_parsed_twenty_times() -> None:
    """Looking for more errors is worth a moment and no more."""
    text = "".join(f"[t{number}]\nx = {number}\n" for number in range(20_000))
    assert 1 <= len(lines_of(text + "x y\n" * 20)) < 5


def test_several_files() -> None:
    """Each tells its own."""
    a, b = Path("a.toml"), Path("b.toml")
    sources = config.Sources(main=a, texts={a: b"x y\n[server\n", b: b"\n= 1\n= 2\n"})
    found = [(each.file, each.line) for each in config.check(sources)]
    assert found == [(a, 1), (a, 2), (b, 2), (b, 3)]
