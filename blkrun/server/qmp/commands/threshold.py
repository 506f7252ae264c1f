"""Write thresholds (qemu-semantics §5.1), and filters that have left when theirs was exceeded."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from blkrun.errors import CommandError
from blkrun.server.drivers.write_threshold import WriteThreshold
from blkrun.server.qmp.dispatch import Command, arguments
from blkrun.server.staging import Staging

_MAX = 2**64 - 1


class ThresholdArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A byte offset; 0 is none, and negative numbers wrap as in QEMU."""

    node_name: str
    write_threshold: int


class SpentArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A filter that has left."""

    node_name: Annotated[str, Meta(min_length=1)]


def _set(staging: Staging, args: ThresholdArguments) -> None:
    node = staging.node(args.node_name)
    if node is None:
        raise CommandError(f"Device '{args.node_name}' not found")
    if not isinstance(node, WriteThreshold):
        raise CommandError(
            f"Node '{node.name}' ({node.driver}) has no write threshold: "
            "set that of a write-threshold filter over it"
        )
    if not -(2**63) <= args.write_threshold <= _MAX:
        raise CommandError(
            f"Parameter 'write-threshold' does not accept value '{args.write_threshold}'"
        )
    node.stage_threshold(args.write_threshold & _MAX, staging)


def _forget(staging: Staging, args: SpentArguments) -> None:
    if staging.spent.pop(args.node_name, None) is None:
        raise CommandError(f"No node '{args.node_name}' has left the graph by itself")


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="block-set-write-threshold",
        doc="Have a write-threshold filter tell of the next write beyond an offset; 0: of none.",
        parse=arguments(ThresholdArguments),
        stage=_set,
    ),
    Command(
        name="x-blkrun-forget-spent",
        doc="Forget a filter that has left the graph by itself, so that a file may bring it again.",
        parse=arguments(SpentArguments),
        stage=_forget,
    ),
)
