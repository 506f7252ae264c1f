"""Bytes in, JSON values out: QMP values follow each other with or without line ends.

Sans I/O.  A value is complete as soon as its last bracket is there.  What cannot be a value, or
grows past the limits, raises and ends the conversation: there is no way to know where the next
value begins.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

MAX_MESSAGE_BYTES = 64 * 2**20
"""QEMU's own limit (qobject/json-streamer.c)."""

MAX_DEPTH = 512
"""QEMU's is 1024; what recurses through a value must fit Python's stack of 1000 calls."""

_MARKS = re.compile(rb'[{}\[\]"]')
_IN_STRING = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[ \t\r\n]*")


class FramingError(Exception):
    """The stream is not QMP any more; the text is QMP's error description."""


class Framer:
    """Feed it what ``recv`` gave; each byte is looked at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[Any]:
        """Values completed by ``data``.  Raises FramingError."""
        self._buffer += data
        while (end := self._end_of_value()) is not None:
            value = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._scanned = 0
            yield _decode(value)
        if len(self._buffer) > MAX_MESSAGE_BYTES:
            raise FramingError(f"JSON message exceeds {MAX_MESSAGE_BYTES} bytes")

    def _end_of_value(self) -> int | None:
        """Index after the first complete value, if there is one."""
        self._skip_space()
        buffer = self._buffer
        if buffer and self._scanned == 0 and buffer[0] not in b"{[":
            raise FramingError(_why_not(bytes(buffer)))
        while self._scanned < len(buffer):
            if self._in_string:
                if not self._leave_string():
                    return None
                continue
            mark = _MARKS.search(buffer, self._scanned)
            if mark is None:
                self._scanned = len(buffer)
                return None
            self._scanned = mark.end()
            if self._pass_mark(mark.group()):
                return self._scanned
        return None

    def _pass_mark(self, mark: bytes) -> bool:
        """Whether this bracket closes the value."""
        if mark == b'"':
            self._in_string = True
        elif mark in b"{[":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise FramingError("JSON nesting depth limit exceeded")
        else:
            self._depth -= 1
            return self._depth == 0
        return False

    def _leave_string(self) -> bool:
        while mark := _IN_STRING.search(self._buffer, self._scanned):
            if mark.group() == b'"':
                self._scanned = mark.end()
                self._in_string = False
                return True
            self._scanned = mark.end() + 1  # what is escaped; it may be still to come
        self._scanned = max(self._scanned, len(self._buffer))
        return False

    def _skip_space(self) -> None:
        if self._scanned == 0 and (space := _SPACE.match(self._buffer)):
            del self._buffer[: space.end()]


def _decode(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FramingError("JSON parse error, expecting value") from error


def _why_not(text: bytes) -> str:
    """A bare value is JSON but no QMP; anything else is no JSON."""
    first = text[:1].decode("ascii", "replace")
    if first in '"-0123456789tfn':
        return "QMP input must be a JSON object"
    return f"JSON parse error, stray '{first}'"
