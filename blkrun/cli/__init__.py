"""The command line: one file a command, each with ``add_arguments`` and ``run``.

A command's module is imported only when it is called for, and nothing here imports Textual: the
quick commands stay quick.  This is the edge where an error becomes an exit code and a message.
"""

import argparse
import os
import sys
from difflib import get_close_matches
from enum import IntEnum
from importlib import import_module

from blkrun import __version__
from blkrun.cli.usage import HelpFormatter, examples, overview
from blkrun.errors import BlkrunError, FileError, NoServerError, WaitError

GROUPS = {
    "serve": "serve and watch",
    "look": "look",
    "change": "change",
    "help": "help with the file and the shell",
}
"""A command's group → its heading in ``blkrun --help``."""

COMMANDS = {
    "run": ("serve", "serve what a file describes, and follow its edits"),
    "attach": ("serve", "show the dashboard of a server that runs"),
    "replay": ("serve", "show the dashboard of a recording, at any speed and from any time"),
    "stop": ("serve", "end the server of a file"),
    "status": ("look", "show what is served, to whom and how fast"),
    "ps": ("look", "list the servers that run, whatever file each is for"),
    "events": ("look", "show what has happened, and what happens"),
    "logs": ("look", "show what a server has said, and a runner in the background"),
    "history": ("look", "list what was applied, rejected, brought back: when and by whom"),
    "plan": ("look", "show what applying a file would do"),
    "check": ("look", "say whether a file is right, and everything that is wrong with it"),
    "dump": ("look", "print the graph in force as a file"),
    "apply": ("change", "apply a file now, also what waits for a yes"),
    "reload": ("change", "have the runner read its file again, and say what came of it"),
    "rollback": ("change", "write the file as it was at an earlier change, and apply it"),
    "init": ("change", "write a file to begin with"),
    "insert": ("change", "put a new node between one that there is and what is above it"),
    "remove": ("change", "take a node, or another table, out of the file"),
    "enable": ("change", "switch a filter or a job on"),
    "disable": ("change", "switch a filter or a job off; its table stays"),
    "limit": ("change", "change the limits of a throttle group, or of an export"),
    "set": ("change", "set or unset any key of the file"),
    "drivers": ("help", "list drivers, jobs and tables, and what each of their keys means"),
    "schema": ("help", "print the JSON Schema of the file, for editors"),
    "completion": ("help", "print what makes TAB complete in bash, zsh or fish"),
}
"""Name → its group and one line of help.

The code is in ``blkrun.cli.NAME``: ``add_arguments``, ``run``, and ``EXAMPLES``, a line each: the
words to type, two spaces or more, and what they are for.
"""


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SERVER = 3
    TIMEOUT = 4
    PENDING = 5
    INTERRUPTED = 130


EXIT_CODES = {
    Exit.DONE: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong usage, or a mistake in the file",
    Exit.NO_SERVER: "no server runs for this file",
    Exit.TIMEOUT: "waited for too long",
    Exit.PENDING: "changes wait, or a question that nobody was there to answer",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}
"""What each means, as ``blkrun --help`` says it."""


def main(argv: list[str] | None = None) -> int:
    """``blkrun COMMAND …``; gives the exit code."""
    if "_ARGCOMPLETE" in os.environ:
        return _complete()
    words = sys.argv[1:] if argv is None else argv
    parser = _parser(words)
    if (called := _called(words)) and called not in COMMANDS:
        parser.error(_unknown(called))
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
    called = _called(words)
    parser = argparse.ArgumentParser(
        prog="blkrun",
        usage="blkrun COMMAND ...",
        description="Block devices as a text file, served over NBD, edited live.",
        formatter_class=HelpFormatter,
        epilog=overview(COMMANDS, GROUPS, _exit_rows()),
    )
    parser.add_argument("--version", action="version", version=f"blkrun {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog="blkrun", help=argparse.SUPPRESS
    )
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            formatter_class=HelpFormatter,
        )
        if name == called:
            module = import_module(f"blkrun.cli.{name}")
            command.epilog = examples(module.EXAMPLES)
            module.add_arguments(command)
    return parser


def _called(words: list[str]) -> str:
    return next((word for word in words if not word.startswith("-")), "")


def _complete() -> Exit:
    """A shell asks at TAB: see ``blkrun.cli.completing``."""
    from blkrun.cli.completing import complete, typed_words  # noqa: PLC0415 - for shells only

    complete(_parser(typed_words()))
    return Exit.DONE


def _exit_rows() -> list[tuple[str, str]]:
    return [(str(code.value), text) for code, text in EXIT_CODES.items()]


def _unknown(command: str) -> str:
    meant = get_close_matches(command, COMMANDS, n=1)
    return f'unknown command "{command}"' + (f', did you mean "{meant[0]}"?' if meant else "")
