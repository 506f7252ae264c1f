"""``blkrun logs FILE``: what the server said, and a runner in the background."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from blkrun.cli import Exit
from blkrun.cli.output import output_is_closed
from blkrun.config import locate
from blkrun.errors import BlkrunError
from blkrun.reconcile.nbdkit import log_path

_LOOK_INTERVAL_S = 0.2
_CHUNK_BYTES = 2**16

EXAMPLES = """
blkrun logs vm.toml -n 20       the last 20 lines
blkrun logs vm.toml --follow    and what is said from now on
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --follow and -n."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument("--follow", action="store_true", help="go on with what is said from now on")
    parser.add_argument("-n", type=_count, metavar="LINES", help="only the last ones", dest="lines")


def _count(written: str) -> int:
    number = int(written)
    if number < 0:
        raise ValueError(written)
    return number


def run(args: argparse.Namespace) -> int:
    """As it is in the log, whether a server runs or not."""
    path = log_path(locate(args.file))
    try:
        log = path.open("rb")
    except OSError as error:
        raise BlkrunError(f"no log of {args.file.name}: {path}: {error.strerror}") from error
    with log:
        if args.lines is not None:
            log.seek(start_of_last(log, args.lines))
        for piece in _pieces(log, path, follow=args.follow):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    return Exit.DONE


def start_of_last(log: BinaryIO, lines: int) -> int:
    """The offset where the last so many lines begin, found from the end.

    A last line without its end is one.
    """
    end = begin = log.seek(0, os.SEEK_END)
    wanted = lines
    while begin > 0:
        size = min(_CHUNK_BYTES, begin)
        begin -= size
        log.seek(begin)
        chunk = log.read(size)
        at = len(chunk) - (begin + size == end)  # what ends the last line begins none
        while (at := chunk.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted <= 0:
                return begin + at + 1 if lines else end
    return 0 if lines else end


def _pieces(log: BinaryIO, path: Path, *, follow: bool) -> Iterator[bytes]:
    """To its end; then what comes, also when another file has taken its place or it was cut."""
    while True:
        while piece := log.read(_CHUNK_BYTES):
            yield piece
        if not follow or output_is_closed():
            return
        time.sleep(_LOOK_INTERVAL_S)
        if path.exists() and not path.samefile(f"/proc/self/fd/{log.fileno()}"):
            with path.open("rb") as other:
                yield from _pieces(other, path, follow=True)
            return
        if os.fstat(log.fileno()).st_size < log.tell():
            log.seek(0)
