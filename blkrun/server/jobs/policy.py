"""What a job is started with, and what it does about an error (qemu-semantics §6.3)."""

import errno
from typing import Literal

from msgspec import Struct

from blkrun.errors import CommandError
from blkrun.job_options import OnError

Action = Literal["report", "ignore", "stop"]
Operation = Literal["read", "write"]
IoStatus = Literal["ok", "failed", "nospace"]


class Conduct(Struct, frozen=True, kw_only=True):
    """How a job is to be run, whatever it does.  ``speed`` in bytes/s, 0 for no limit."""

    id: str
    speed: int = 0
    on_source_error: OnError = "report"
    on_target_error: OnError = "report"
    auto_finalize: bool = True
    auto_dismiss: bool = True
    of_file: bool = False
    """A file has a table for it, rather than somebody with a QMP client."""

    def on_error(self, operation: Operation) -> OnError:
        """Jobs read the source and write the target."""
        return self.on_source_error if operation == "read" else self.on_target_error


def action_on(policy: OnError, number: int | None) -> Action:
    """What to do about an error with this errno; ``auto`` is ``enospc``, as in QEMU."""
    match policy:
        case "enospc" | "auto":
            return "stop" if number == errno.ENOSPC else "report"
        case _:
            return policy


def io_status_after(number: int | None) -> IoStatus:
    """What a job stopped by this errno shows until it is resumed."""
    return "nospace" if number == errno.ENOSPC else "failed"


def check_speed(speed: int) -> None:
    """Raises CommandError in QEMU's words."""
    if speed < 0:
        raise CommandError("Parameter 'speed' expects a non-negative value")
