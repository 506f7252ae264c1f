"""What can be done to dirty bitmaps, as actions on a :class:`Staging`.

Checks, their order and their messages are QEMU's (qemu-semantics §6.3).  Each change is made in the
drained section of its node's exports: it is one instant for all bitmaps of a transaction, every
write is marked before it or comes after, and none is in between.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from blkrun.errors import CommandError
from blkrun.options import DEFAULT_GRANULARITY_BYTES
from blkrun.server.dirty import DirtyBitmap
from blkrun.server.node import Node
from blkrun.server.staging import Staging

_LEAST_GRANULARITY_BYTES = 512
_GREATEST_GRANULARITY_BYTES = 2**31
_LONGEST_NAME_BYTES = 1023


class Place(NamedTuple):
    """A bitmap, by the names of its node and its own."""

    node: str
    name: str


def add(
    staging: Staging,
    place: Place,
    granularity_bytes: int | None = None,
    *,
    recording: bool = True,
    of_file: bool = False,
) -> None:
    """A new bitmap; nothing is dirty in it.

    Or everything, if it is ``of_file``: a file has it again in a server that was started anew, and
    what was written before is not known any more.
    """
    if not place.name:
        raise CommandError("Bitmap name cannot be empty")
    node = staging.node(place.node)
    if node is None:
        raise CommandError(f"Cannot find device='{place.node}' nor node-name='{place.node}'")
    if granularity_bytes is None:
        granularity_bytes = DEFAULT_GRANULARITY_BYTES
    _check_granularity(granularity_bytes)
    bitmaps = staging.bitmaps(node)
    if place.name in bitmaps:
        raise CommandError(f"Bitmap already exists: {place.name}")
    if len(place.name.encode()) > _LONGEST_NAME_BYTES:
        raise CommandError(f"Bitmap name too long: {place.name}")
    bitmap = DirtyBitmap(place.name, node.size_bytes, granularity_bytes, recording=recording)
    bitmap.of_file = of_file
    bitmaps[place.name] = bitmap

    def commit() -> None:
        bitmap.clear(node.size_bytes)  # other edits of the transaction may have changed it
        if of_file:
            bitmap.mark_all()
        node.bitmaps[place.name] = bitmap

    _at_commit(staging, node, commit)


def remove(staging: Staging, place: Place) -> None:
    """Forget it."""
    node, _ = find_usable(staging, place)
    del staging.bitmaps(node)[place.name]

    def commit() -> None:
        del node.bitmaps[place.name]

    _at_commit(staging, node, commit)


def clear(staging: Staging, place: Place) -> None:
    """Nothing is dirty any more."""
    node, bitmap = find_usable(staging, place)
    _at_commit(staging, node, bitmap.clear)


def record(staging: Staging, place: Place, *, recording: bool) -> None:
    """Enable or disable: mark writes from now on, or no more.  What is dirty stays so."""
    node, bitmap = find_usable(staging, place)

    def commit() -> None:
        bitmap.recording = recording

    _at_commit(staging, node, commit)


def merge(staging: Staging, target: Place, sources: Sequence[Place]) -> None:
    """What is dirty in one of the sources is dirty in the target, from now on."""
    node, bitmap = find_usable(staging, target)
    others = [_source(staging, node, source) for source in sources]

    def commit() -> None:
        bitmap.merge([other.copy() for other in others])

    _at_commit(staging, node, commit)


def freeze(staging: Staging, place: Place) -> DirtyBitmap:
    """For a job that starts in this transaction: from then on its ``frozen`` bits are the job's.

    Commands are refused until the job calls ``thaw``.
    """
    node, bitmap = find_usable(staging, place)
    staging.frozen.add(bitmap)

    def commit() -> None:
        bitmap.freeze()

    _at_commit(staging, node, commit)
    return bitmap


def find_usable(staging: Staging, place: Place) -> tuple[Node[Any], DirtyBitmap]:
    """A bitmap that no job has.  Raises CommandError."""
    node = staging.node(place.node)
    if node is None:
        raise CommandError(f"Node '{place.node}' not found")
    bitmap = staging.bitmaps(node).get(place.name)
    if bitmap is None:
        raise CommandError(f"Dirty bitmap '{place.name}' not found")
    if bitmap.busy or bitmap in staging.frozen:
        raise CommandError(
            f"Bitmap '{place.name}' is currently in use by another operation and cannot be used"
        )
    return node, bitmap


def _source(staging: Staging, target: Node[Any], place: Place) -> DirtyBitmap:
    node, bitmap = find_usable(staging, place)
    here, there = staging.size(target), staging.size(node)
    if here != there:
        raise CommandError(
            f"Bitmaps are of different sizes (destination size is {here}, source size is {there}) "
            "and can't be merged"
        )
    staging.disturbed.add(node)
    return bitmap


def _check_granularity(granularity_bytes: int) -> None:
    power = granularity_bytes & (granularity_bytes - 1) == 0
    if granularity_bytes < _LEAST_GRANULARITY_BYTES or not power:
        raise CommandError("Granularity must be power of 2 and at least 512")
    if granularity_bytes > _GREATEST_GRANULARITY_BYTES:
        raise CommandError(
            f"Granularity {granularity_bytes} is too large: the limit is "
            f"{_GREATEST_GRANULARITY_BYTES} (2 GiB)"
        )


def _at_commit(staging: Staging, node: Node[Any], commit: Callable[[], None]) -> None:
    staging.disturbed.add(node)
    staging.commits.append(commit)
