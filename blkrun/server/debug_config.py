"""blkdebug's file of rules, as QEMU reads it: groups in brackets, and keys with words in quotes.

::

    [inject-error]
    event = "read_aio"
    errno = "5"

Errors are CommandError, with the line where QEMU says it.  Pure.
"""

import re
from collections.abc import Iterator
from typing import Any

from blkrun.decode import Kind, Problem, decode
from blkrun.errors import CommandError
from blkrun.options import InjectError, SetState

_GROUP = re.compile(r'\[([^\]\s"]+)(?: "([^\]"]*)")?\]')
_PAIR = re.compile(r'([^\s=]+)\s*=\s*"([^"]*)"\s*')

_GROUPS: dict[str, type[InjectError | SetState]] = {
    "inject-error": InjectError,
    "set-state": SetState,
}
_BOOLEANS = {"on": True, "off": False}

Rules = tuple[list[InjectError], list[SetState]]


def parse_rules(text: str, name: str) -> Rules:
    """All rules of a file; ``name`` is what it is called in an error."""
    inject: list[InjectError] = []
    changes: list[SetState] = []
    for group, words in _groups(text, name):
        rule = _rule(group, words)
        if isinstance(rule, InjectError):
            inject.append(rule)
        else:
            changes.append(rule)
    return inject, changes


def _groups(text: str, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    found: list[tuple[str, dict[str, str]]] = []
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if (group := _GROUP.fullmatch(line)) is not None:
            if group[1] not in _GROUPS:
                raise CommandError(f"{name}:{number}: There is no option group '{group[1]}'")
            if group[2] is not None and (group[1], group[2]) in seen:
                raise CommandError(f"{name}:{number}: Duplicate ID '{group[2]}' for {group[1]}")
            seen.add((group[1], group[2] or ""))
            found.append((group[1], {}))
        elif (pair := _PAIR.fullmatch(line)) is None:
            raise CommandError(f"{name}:{number}: parse error")
        elif not found:
            raise CommandError(f"{name}:{number}: no group defined")
        else:
            found[-1][1][pair[1]] = pair[2]
    return iter(found)


def _rule(group: str, words: dict[str, str]) -> InjectError | SetState:
    if "event" not in words:
        raise CommandError("Missing event name for rule")
    if group == "set-state":
        words = {"new_state": "0", **words}  # QEMU's, where it is left out
    values = {key: _value(key, word) for key, word in words.items()}
    problems: list[Problem] = []
    rule = decode(_GROUPS[group], values, problems)
    if rule is None:
        raise CommandError(_words(problems[0]))
    return rule


def _value(key: str, word: str) -> Any:
    if key in ("once", "immediately"):
        if word not in _BOOLEANS:
            raise CommandError(f"Parameter '{key}' expects 'on' or 'off'")
        return _BOOLEANS[word]
    if key in ("state", "sector", "errno", "new_state"):
        if not word.isdecimal():
            raise CommandError(f"Parameter '{key}' expects a number")
        return int(word)
    return word


def _words(problem: Problem) -> str:
    key = problem.path[-1]
    if problem.kind is Kind.UNEXPECTED:
        return f"Invalid parameter '{key}'"
    if key == "event":
        return f'Invalid event name "{problem.value}"'
    return f"{key}: {problem.message}"
