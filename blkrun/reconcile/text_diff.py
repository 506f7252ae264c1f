"""What an edit changes, in a file's lines: as ``diff -u`` has it."""

from collections.abc import Iterator
from difflib import unified_diff

from blkrun.config import Sources
from blkrun.reconcile.chronicle import named

_MOST_LINES = 200
_MOST_CHARACTERS = 400


def text_diff(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    """Lines without their ends; None is a file that is not there."""
    if old != new:
        before, after = (name if text is not None else "/dev/null" for text in (old, new))
        yield from unified_diff(_lines(old), _lines(new), before, after, lineterm="")


def sources_diff(old: Sources, new: Sources) -> list[str]:
    """All files, for a report that every watcher is told: no more than a few hundred lines."""
    before, after = named(old), named(new)
    names = dict.fromkeys((*before, *after))
    found = [line for name in names for line in text_diff(name, before.get(name), after.get(name))]
    cut = [_cut(line) for line in found[:_MOST_LINES]]
    more = len(found) - len(cut)
    return [*cut, f"… and {more} more line{'s' * (more != 1)}"] if more else cut


def _cut(line: str) -> str:
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"


def _lines(source: bytes | None) -> list[str]:
    if not source:
        return []
    lines = source.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else [*lines[:-1], f"{lines[-1]}\\ no newline at the end"]
