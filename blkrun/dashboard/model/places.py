"""Where in a file's text a table begins, for an editor that is told a line."""

import re

_HEADER = re.compile(r"\s*\[(?P<path>[^\[\]#]+)\]\s*(?:#.*)?")
_KEY = re.compile(r"""\s*(?:"(?P<basic>[^"]*)"|'(?P<literal>[^']*)'|(?P<bare>[\w-]+))\s*""")
SECTIONS = ("nodes", "backends", "exports", "throttle-groups", "jobs", "bitmaps")


def line_of(text: str, name: str, sections: tuple[str, ...] = SECTIONS) -> int | None:
    """The line, from 1, of ``[nodes.NAME]`` or another section's; None if there is none.

    Only a table with a header of its own: what is written inline has no line to go to.
    """
    for number, line in enumerate(text.split("\n"), 1):
        header = _HEADER.fullmatch(line)
        if header is not None and _keys(header["path"].strip()) in [
            (each, name) for each in sections
        ]:
            return number
    return None


def _keys(path: str) -> tuple[str, ...]:
    """``nodes."a b"`` → ("nodes", "a b"); empty if it is no dotted key."""
    keys: list[str] = []
    at = 0
    while (found := _KEY.match(path, at)) is not None:
        keys.append(next(part for part in found.groups() if part is not None))
        at = found.end()
        if at == len(path):
            return tuple(keys)
        if path[at] != ".":
            return ()
        at += 1
    return ()
