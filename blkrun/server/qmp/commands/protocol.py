"""The conversation itself: version, commands, quit."""

from typing import Any

from blkrun import __version__
from blkrun.server.context import Context
from blkrun.server.qmp.dispatch import Command, NoArguments, arguments


def version() -> dict[str, Any]:
    """QEMU's shape; the numbers are blkrun's."""
    major, minor, micro = (int(part) for part in __version__.split(".")[:3])
    return {
        "qemu": {"major": major, "minor": minor, "micro": micro},
        "package": f"blkrun {__version__}",
    }


def _query_commands(context: Context, args: NoArguments) -> list[dict[str, str]]:
    del context, args
    from blkrun.server.qmp.commands import COMMANDS  # noqa: PLC0415 - this row is in that table

    return [{"name": name} for name in sorted((*COMMANDS, "qmp_capabilities"))]


def _quit(context: Context, args: NoArguments) -> None:
    del args
    context.events.emit("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
    context.shutdown()


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="query-version",
        doc="The version of the server.",
        parse=arguments(NoArguments),
        run=lambda context, args: version(),  # noqa: ARG005
    ),
    Command(
        name="query-commands",
        doc="The names of all commands.",
        parse=arguments(NoArguments),
        run=_query_commands,
    ),
    Command(
        name="quit",
        doc="End the server; requests that wait in a throttle go first.",
        parse=arguments(NoArguments),
        run=_quit,
    ),
)
