"""Bytes to JSON values (qemu-semantics §9.1): however they are cut, the same values come out."""

import json
import time
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun.server.qmp.framing import MAX_DEPTH, MAX_MESSAGE_BYTES, Framer, FramingError


def feed(*pieces: bytes) -> list[Any]:
    """All values that the pieces make."""
    framer = Framer()
    return [value for piece in pieces for value in framer.feed(piece)]


VALUES: list[Any] = [
    {"execute": "qmp_capabilities"},
    {},
    {"a": {"b": [{"c": []}, [1, 2.5, None, True]]}},
    {"brackets": "}{][", "escapes": '\\"}\\\\', "quote": '"', "end": "\\"},
    {"ünïcode": "日本 \u0007 \U0001f600"},
    ["a list", ["is", "framed"], "too"],
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_cut_at_every_byte(value: Any, ascii_only: bool) -> None:  # noqa: FBT001 - a parameter
    """In two pieces, wherever the cut is, in brackets, in strings, in escapes, in a character."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    for cut in range(len(data) + 1):
        assert feed(data[:cut], data[cut:]) == [value]
    assert feed(*(bytes([byte]) for byte in data)) == [value]


@pytest.mark.parametrize("between", [b"", b"\r\n", b" \t\n\n", b"\n"])
def test_back_to_back(between: bytes) -> None:
    """Several in one piece, with line ends or without."""
    data = b"".join(json.dumps(value).encode() + between for value in VALUES)
    assert feed(between + data) == VALUES


def test_complete_without_a_line_end() -> None:
    """A command is there as soon as its last bracket is."""
    framer = Framer()
    assert list(framer.feed(b'{"execute":"x"')) == []
    assert list(framer.feed(b"}")) == [{"execute": "x"}]
    assert list(framer.feed(b"\r\n")) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"garbage", "JSON parse error, stray 'g'"),
        (b"}", "JSON parse error, stray '}'"),
        (b"\xff", "JSON parse error, stray '\ufffd'"),
        (b"'single'", "JSON parse error, stray '''"),
        (b"5 ", "QMP input must be a JSON object"),
        (b'"text"', "QMP input must be a JSON object"),
        (b"null", "QMP input must be a JSON object"),
        (b"{nope}", "JSON parse error, expecting value"),
        (b"{]", "JSON parse error, expecting value"),
        (b'{"a" 1}', "JSON parse error, expecting value"),
        (b"{'a': 1}", "JSON parse error, expecting value"),
        (b'{"a": "\xff"}', "JSON parse error, expecting value"),
        (b'{"a": "\xe6\x97"}', "JSON parse error, expecting value"),
        (b'{"a": "\\ud800"}', "JSON parse error, expecting value"),
        (b'{"a": 1e999}', "JSON parse error, expecting value"),
        (b'{"a": "line\nend"}', "JSON parse error, expecting value"),
    ],
)
def test_garbage(data: bytes, text: str) -> None:
    """§9.2: what is no value, and what is no object, ends the conversation with QMP's words."""
    with pytest.raises(FramingError) as caught:
        feed(data)
    assert str(caught.value) == text


def test_values_before_garbage_count() -> None:
    """What was complete is given first."""
    framer = Framer()
    values = framer.feed(b'{"a": 1} ?')
    assert next(values) == {"a": 1}
    with pytest.raises(FramingError):
        next(values)


def test_depth_limit() -> None:
    """More brackets than Python's stack can bear are refused as they come."""
    framer = Framer()
    assert list(framer.feed(b"[" * MAX_DEPTH)) == []
    with pytest.raises(FramingError, match="nesting depth"):
        list(framer.feed(b"["))


def test_deep_values() -> None:
    """As deep as the limit is no problem."""
    assert len(feed(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)) == 1


def test_size_limit() -> None:
    """A message that never ends is given up at the limit, so it cannot take all memory."""
    framer = Framer()
    piece = b'{"a": "' + b"x" * (MAX_MESSAGE_BYTES - 7)
    assert list(framer.feed(piece)) == []
    with pytest.raises(FramingError, match=f"exceeds {MAX_MESSAGE_BYTES} bytes"):
        list(framer.feed(b"x"))


def seconds(message: bytes, piece_bytes: int) -> float:
    """How long it takes to feed a message in pieces of that size, at best."""
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        pieces = (message[at : at + piece_bytes] for at in range(0, len(message), piece_bytes))
        assert len(feed(*pieces)) == 1
        best = min(best, time.perf_counter() - begin)
    return best


@pytest.mark.parametrize(
    "unit",
    [b"x", b'\\"', b'", "', b"\\\\", b'",{},"'],
    ids=["text", "quotes", "strings", "\\", "{}"],
)
def test_small_pieces_take_linear_time(unit: bytes) -> None:
    """Each byte is looked at once: a message 16 times as long takes about 16 times as long."""
    short, long = (b'["' + unit * (count // len(unit)) + b'"]' for count in (2**14, 2**18))
    assert seconds(long, 64) < 16 * 8 * seconds(short, 64) + 0.01


def test_many_values_in_one_piece_take_linear_time() -> None:
    """Taking a value off the front does not copy what is behind it."""

    def run(count: int) -> float:
        data = b"\n{}" * count
        begin = time.perf_counter()
        assert len(feed(data)) == count
        return time.perf_counter() - begin

    short = min(run(2**11) for _ in range(3))
    assert min(run(2**15) for _ in range(3)) < 16 * 8 * short + 0.01


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5)


def representable(value: Any) -> bool:
    """JSON text cannot hold a lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OBJECTS.filter(representable), st.sampled_from(["", "\r\n", " "]), st.data())
def test_any_objects_cut_anywhere(objects: list[Any], between: str, data: st.DataObject) -> None:
    """Any list of objects, in any pieces, comes out the same."""
    text = "".join(json.dumps(each) + between for each in objects).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edges = [0, *cuts, len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert feed(*pieces) == objects


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Whatever comes, it is values or a FramingError, and the pieces make no difference."""

    def outcome(parts: list[bytes]) -> tuple[list[Any], bool]:
        framer = Framer()
        values: list[Any] = []
        try:
            for part in parts:
                values.extend(framer.feed(part))
        except FramingError:
            return values, True
        return values, False

    def one_by_one(data: bytes) -> list[bytes]:
        return [bytes([byte]) for byte in data]

    together = b"".join(pieces)
    assert outcome(pieces) == outcome([together]) == outcome(one_by_one(together))
