"""The command line: one file a command, each with ``add_arguments`` and ``run``.

A command's module is imported only when it is called for, and nothing here imports Textual: the
quick commands stay quick.  This is the edge where an error becomes an exit code and a message.
"""

import argparse
import sys
from enum import IntEnum
from importlib import import_module

from blkrun import __version__
from blkrun.errors import BlkrunError, FileError, NoServerError, WaitError

COMMANDS = {
    "run": "serve what a file describes, and follow its edits",
    "check": "say whether a file is right, and everything that is wrong with it",
    "plan": "show what applying a file would do",
    "apply": "apply a file now, also what waits for a yes",
    "status": "show what is served, to whom and how fast",
    "stop": "end the server of a file",
}
"""Name → one line of help.  The code is in ``blkrun.cli.NAME``."""


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SERVER = 3
    TIMEOUT = 4
    PENDING = 5
    INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """``blkrun COMMAND …``; gives the exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = _parser(words)
    arguments = parser.parse_args(words)
    try:
        return int(import_module(f"blkrun.cli.{arguments.command}").run(arguments))
    except BlkrunError as error:
        print(_message(error), file=sys.stderr)  # noqa: T201 - the command line's edge
        return exit_code(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing is left to say to it.
        sys.stdout = None
        return Exit.DONE


def exit_code(error: BlkrunError) -> Exit:
    """The one place where errors become exit codes."""
    if isinstance(error, FileError):
        return Exit.USAGE
    if isinstance(error, NoServerError):
        return Exit.NO_SERVER
    if isinstance(error, WaitError):
        return Exit.TIMEOUT
    return Exit.FAILED


def _message(error: BlkrunError) -> str:
    """Problems of a file name their place themselves."""
    text = str(error)
    return text if isinstance(error, FileError) else f"blkrun: {text}"


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """Only the command that is called has its module imported and its arguments declared."""
    parser = argparse.ArgumentParser(
        prog="blkrun", description="Block devices as a text file, served over NBD, edited live."
    )
    parser.add_argument("--version", action="version", version=f"blkrun {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name in words:
            import_module(f"blkrun.cli.{name}").add_arguments(command)
    return parser
