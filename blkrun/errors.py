"""The one tree of errors, by what the caller does next.

::

    BlkrunError                 something a user is told in one message (exit 1)
    ├── FileError               the file (or the command line) is wrong (exit 2); carries problems
    ├── NoServerError           nobody answers on the control socket (exit 3)
    ├── WaitError               something did not happen in time (exit 4)
    └── CommandError            a QMP command was refused (exit 1); carries QEMU's error class
        ├── CommandNotFound
        ├── DeviceNotActive
        └── DeviceNotFound

On the data path there is no class of ours: drivers raise ``OSError`` with the errno the
client shall see, and the plugin hands it to nbdkit.  Translation happens once at each edge:
errno in ``server/plugin.py``, QMP class in ``server/qmp``, exit code in ``cli``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from blkrun.decode import Problem


class BlkrunError(Exception):
    """Anything blkrun says no to; ``str(error)`` is the whole message for a person."""


class FileError(BlkrunError):
    """A file or command line that cannot be used; ``problems`` lists all that is wrong with it.

    ``line`` is the first problem's, 0 if that is about the whole.
    """

    def __init__(self, message: str, problems: "Sequence[Problem]" = (), line: int = 0) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.line = line


class NoServerError(BlkrunError):
    """There is no server behind the control socket."""


class WaitError(BlkrunError):
    """Waited for long enough."""


class CommandError(BlkrunError):
    """A QMP command was refused: QEMU's GenericError, or one of the classes below.

    ``action`` is the index of the action that was refused, when it came in a transaction.  Where
    it was the graph as it would be that was refused, ``subject`` says at which place:
    ``{"node-name": NAME}`` or ``{"export": NAME}``.
    """

    qmp_class: ClassVar[str] = "GenericError"

    def __init__(self, message: str, *, action: int | None = None) -> None:
        super().__init__(message)
        self.action = action
        self.subject: dict[str, str] = {}


class CommandNotFound(CommandError):  # noqa: N818 - QEMU's name for the class, on the wire
    """No such command, or not before negotiation."""

    qmp_class = "CommandNotFound"


class DeviceNotActive(CommandError):  # noqa: N818 - QEMU's name
    """No such block job."""

    qmp_class = "DeviceNotActive"


class DeviceNotFound(CommandError):  # noqa: N818 - QEMU's name
    """No such object path."""

    qmp_class = "DeviceNotFound"
