"""The TOML file: from text to a checked Config, or to everything that is wrong with it."""

from blkrun.config.diagnostics import Diagnostic, Related, render
from blkrun.config.load import EmptyFileError, check, load, parse
from blkrun.config.locate import locate
from blkrun.config.source import read

__all__ = [
    "Diagnostic",
    "EmptyFileError",
    "Related",
    "check",
    "load",
    "locate",
    "parse",
    "read",
    "render",
]
