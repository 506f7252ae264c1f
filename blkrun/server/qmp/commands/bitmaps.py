"""Commands on dirty bitmaps.  All may be actions of a transaction."""

from typing import Any

from msgspec import Struct

from blkrun.errors import CommandError
from blkrun.server import bitmap_actions
from blkrun.server.bitmap_actions import Place
from blkrun.server.qmp.dispatch import Command, arguments
from blkrun.server.staging import Staging


class BitmapName(Struct, frozen=True, kw_only=True):
    """A node's bitmap."""

    node: str
    name: str

    def place(self) -> Place:
        """Where it is."""
        return Place(self.node, self.name)


class AddArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """block-dirty-bitmap-add; ours: one that a file has a table for."""

    node: str
    name: str
    granularity: int | None = None
    persistent: bool = False
    disabled: bool = False
    x_blkrun_of_file: bool = False


class MergeArguments(Struct, frozen=True, kw_only=True):
    """block-dirty-bitmap-merge: sources are the same node's, or say whose."""

    node: str
    target: str
    bitmaps: tuple[str | BitmapName, ...]


def _add(staging: Staging, args: AddArguments) -> None:
    if args.persistent:
        raise CommandError(
            f"Bitmap '{args.name}' cannot be persistent: blkrun keeps bitmaps in memory only; "
            "leave out 'persistent'"
        )
    place = Place(args.node, args.name)
    bitmap_actions.add(
        staging,
        place,
        args.granularity,
        recording=not args.disabled,
        of_file=args.x_blkrun_of_file,
    )


def _merge(staging: Staging, args: MergeArguments) -> None:
    sources = [
        Place(args.node, each) if isinstance(each, str) else each.place() for each in args.bitmaps
    ]
    bitmap_actions.merge(staging, Place(args.node, args.target), sources)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="block-dirty-bitmap-add",
        doc="Record in a new bitmap which clusters of a node are written.",
        parse=arguments(AddArguments),
        stage=_add,
    ),
    Command(
        name="block-dirty-bitmap-remove",
        doc="Delete a bitmap that no job uses.",
        parse=arguments(BitmapName),
        stage=lambda staging, args: bitmap_actions.remove(staging, args.place()),
    ),
    Command(
        name="block-dirty-bitmap-clear",
        doc="Begin anew: nothing is dirty.",
        parse=arguments(BitmapName),
        stage=lambda staging, args: bitmap_actions.clear(staging, args.place()),
    ),
    Command(
        name="block-dirty-bitmap-enable",
        doc="Record from now on.",
        parse=arguments(BitmapName),
        stage=lambda staging, args: bitmap_actions.record(staging, args.place(), recording=True),
    ),
    Command(
        name="block-dirty-bitmap-disable",
        doc="Record no more, and keep what is dirty.",
        parse=arguments(BitmapName),
        stage=lambda staging, args: bitmap_actions.record(staging, args.place(), recording=False),
    ),
    Command(
        name="block-dirty-bitmap-merge",
        doc="Add what is dirty in other bitmaps, of this node or others.",
        parse=arguments(MergeArguments),
        stage=_merge,
    ),
)
