"""The disks that have an image: it stays on them, and nobody else writes there."""

from typing import Any

from blkrun.errors import CommandError
from blkrun.server.drivers._named_by_image import is_same_file
from blkrun.server.keeper import unfiltered, writers, written_past
from blkrun.server.node import Node
from blkrun.server.staging import Staging


class ImageDisks:
    """By role, the nodes with the data of ``node``'s image, filters on the way left out."""

    def __init__(self, node: Node[Any]) -> None:
        self._node = node
        self._disks: dict[str, Node[Any]] = {}

    def take(self, staging: Staging) -> None:
        """Those that it is over now are those it stays over."""
        children = self._node.children.items()
        self._disks = {
            role: unfiltered(staging, child) for role, child in children if role != "backing"
        }

    def check(self, staging: Staging) -> None:
        """Raises CommandError where an edit would lead elsewhere, or let others write there."""
        self._check_same(staging)
        for who, root in writers(staging, self._node):
            below = written_past(staging, root, self._node)
            for disk in self._disks.values():
                if disk in below:
                    raise CommandError(
                        f"{who} writes to '{disk.name}' past node '{self._node.name}', which has "
                        "its image there; export it read-only, or lead it through "
                        f"'{self._node.name}'"
                    )

    def _check_same(self, staging: Staging) -> None:
        """What is known of the image is true of these disks only."""
        for role, disk in self._disks.items():
            child = staging.child(self._node, role)
            if child is not None and unfiltered(staging, child) is not disk:
                raise CommandError(
                    f"Node '{self._node.name}' has its image on '{disk.name}'; it cannot go on "
                    "over another disk: take it out, and add a new one"
                )

    def shares(self, other: "ImageDisks") -> bool:
        """Whether another image is in the same place, and so perhaps the same."""
        return any(
            is_same_file(mine, theirs)
            for mine in self._disks.values()
            for theirs in other._disks.values()  # noqa: SLF001 - the same class
        )
