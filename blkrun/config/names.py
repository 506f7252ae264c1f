"""QEMU's syntax for the names of nodes and groups."""

import re

RULE = 'it takes a letter first, then letters, digits, "-", "." or "_", 31 characters at most'

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}")


def is_name(text: str) -> bool:
    """Whether a node or a group may be named so."""
    return _ID.fullmatch(text) is not None
