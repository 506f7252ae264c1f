"""The TOML file and what it includes: from texts to a checked Config, or to all that is wrong."""

from blkrun.config.load import EmptyFileError, check, load, parse
from blkrun.config.locate import locate
from blkrun.config.sources import Sources, patterns, read
from blkrun.diagnostic import Diagnostic, Place, Related
from blkrun.toml.diagnostics import render

__all__ = [
    "Diagnostic",
    "EmptyFileError",
    "Place",
    "Related",
    "Sources",
    "check",
    "load",
    "locate",
    "parse",
    "patterns",
    "read",
    "render",
]
