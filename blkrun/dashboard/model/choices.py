"""Things to choose from, narrowed by what is typed; and what may be typed as a value."""

import re
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from blkrun.units import parse_bytes, parse_count, parse_ns, parse_seconds

Check = Callable[[str], str]
"""What is wrong with a text, or nothing."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}")
"""As the file has it for nodes; the command that makes the edit has the last word."""

_PARSERS: dict[str, Callable[[str], int]] = {
    "bytes": parse_bytes,
    "count": parse_count,
    "seconds": parse_seconds,
    "ns": parse_ns,
}


class Choice(NamedTuple):
    """``value`` is the answer, ``label`` what is read, ``hint`` what stands behind it."""

    value: str
    label: str
    hint: str = ""


def narrowed(choices: Iterable[Choice], typed: str) -> tuple[Choice, ...]:
    """Those with every typed word in label or hint; first those whose label begins with it."""
    words = typed.casefold().split()
    found = [each for each in choices if all(word in _searched(each) for word in words)]
    return tuple(sorted(found, key=lambda each: _rank(each.label.casefold(), words)))


def value_check(unit: str | None) -> Check:
    """Of a value with a unit: bytes, count, seconds, ns; of any text without."""
    parse = _PARSERS.get(unit or "")

    def check(text: str) -> str:
        if not text.strip():
            return "write something"
        if parse is None:
            return ""
        try:
            parse(text)
        except ValueError as error:
            return str(error)
        return ""

    return check


def limit_check(key: str) -> Check:
    """Of a throttle limit by its key; 0 and ``none`` take it out."""
    end = key.rpartition("-")[2]
    unit = "seconds" if end == "length" else "bytes" if key.startswith("bps") else "count"
    check = value_check("bytes" if key == "iops-size" else unit)
    return lambda text: "" if text.strip() == "none" else check(text)


def name_check(taken: Collection[str]) -> Check:
    """Of a new node's name."""

    def check(text: str) -> str:
        if text in taken:
            return f"there is a {text} already"
        if NAME.fullmatch(text) is None:
            return 'a letter first, then letters, digits, "-", "." or "_", 31 at most'
        return ""

    return check


def _searched(choice: Choice) -> str:
    return f"{choice.label} {choice.hint}".casefold()


def _rank(label: str, words: list[str]) -> int:
    """Sorting is stable: otherwise they stay as they came."""
    if not words:
        return 0
    return 0 if label.startswith(words[0]) else 1 if words[0] in label else 2
