"""``--detach``: the command returns when its work goes on in the background, or has failed.

The work is done by a fork, in a session of its own.  Until it says that all is well, its errors go
where the command's go, and its exit code is the command's; from then on all it says is in the log.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from blkrun.cli import Exit
from blkrun.errors import BlkrunError

Tell = Callable[[str], None]
"""Says what the command shall print: all is well."""


def in_background(log: Path, work: Callable[[Tell], int]) -> int:
    """Returns twice: in the command, and with what ``work`` gives when its process shall end.

    Raises BlkrunError in the command if the work was killed, in the other what ``work`` raises.
    """
    readable, writable = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(writable)
        return _wait(child, readable)
    os.close(readable)
    _leave(log)
    return work(lambda text: _let_go(writable, text))


def _wait(child: int, readable: int) -> int:
    try:
        with os.fdopen(readable, "rb") as pipe:
            said = pipe.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    if said:
        sys.stdout.write(said.decode())
        return Exit.DONE
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        raise BlkrunError(f"the runner was killed by {signal.Signals(-code).name}")
    return code


def _leave(log: Path) -> None:
    """Away from the terminal, except for errors."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise BlkrunError(f"{log}: {error.strerror}") from error
    os.dup2(output, 1)
    os.close(output)


def _let_go(writable: int, text: str) -> None:
    os.dup2(1, 2)
    os.write(writable, text.encode())
    os.close(writable)
