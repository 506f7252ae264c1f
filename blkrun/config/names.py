"""QEMU's syntax for the names of nodes, groups and jobs."""

import re

RULE = 'it takes a letter first, then letters, digits, "-", "." or "_", 31 characters at most'

JOB_RULE = 'it takes a letter first, then letters, digits, "-", "." or "_"'

PATTERN = r"[A-Za-z][A-Za-z0-9._-]{0,30}"
JOB_PATTERN = r"[A-Za-z][A-Za-z0-9._-]*"

_ID = re.compile(PATTERN)
_JOB_ID = re.compile(JOB_PATTERN)


def is_name(text: str) -> bool:
    """Whether a node or a group may be named so."""
    return _ID.fullmatch(text) is not None


def is_job_name(text: str) -> bool:
    """Whether a job may be named so."""
    return _JOB_ID.fullmatch(text) is not None
