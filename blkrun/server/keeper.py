"""What copy-before-write and a mirror's filter have in common: no write may get past them.

Both have a ``target`` beside ``file``, and come into the way of requests while none is under way,
so that no write is half before them.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from blkrun.errors import CommandError
from blkrun.server import chain
from blkrun.server.node import Node, O
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import Extent


class Keeper(Node[O]):
    """Reads, and what else changes nothing, go to ``file``; ``keeps`` says what for."""

    is_filter = True
    starts_at_rest = True
    keeps: ClassVar[str]
    file: Node[Any]
    target: Node[Any]

    def __init__(self, options: O) -> None:
        super().__init__(options)
        self._disks: dict[str, Node[Any]] = {}  # by role: those that it stays over

    # Control

    def open(self, staging: Staging) -> None:
        """The disks that it is over now are those it stays over.  Raises CommandError."""
        if staging.read_only(self.target):
            raise CommandError(f"Node '{self.name}': the target '{self.target.name}' is read-only")
        children = staging.children(self).items()
        self._disks = {role: unfiltered(staging, child) for role, child in children}

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Both have to be of one size."""
        if sizes["file"] != sizes["target"]:
            file, target = self.children["file"].name, self.children["target"].name
            raise CommandError(
                f"Node '{self.name}': '{file}' has {sizes['file']} bytes and the "
                f"target '{target}' {sizes['target']}; they must be of one size"
            )
        return sizes["file"]

    def check(self, staging: Staging) -> None:
        """Below must be the same disks for ever, and while it is in use, nobody writes past.

        QEMU has permissions for the latter: such a filter unshares write on ``file``.  One that a
        job has put in is in use, whoever is above.
        """
        self._check_disks(staging)
        if staging.is_grown(self):
            raise CommandError(
                f"Node '{self.name}' {self.keeps} a disk of one size, and a format above it makes "
                "it longer as it writes; put it above that format"
            )
        if not staging.parents(self) and self.job_id is None:
            return
        words = f"past node '{self.name}', which {self.keeps} it"
        refuse_writers_past(staging, self, self._disks["file"], words)

    def _check_disks(self, staging: Staging) -> None:
        for role, child in staging.children(self).items():
            disk = self._disks[role]
            if unfiltered(staging, child) is not disk:
                what = self.keeps if role == "file" else "has its copies on"
                raise CommandError(
                    f"Node '{self.name}' {what} '{disk.name}'; it cannot go on over another disk: "
                    "take it out, and add a new one"
                )

    def succeed(self, staging: Staging, old: Node[Any], new: Node[Any]) -> None:
        """Where it is over a disk that has got an equal one in its place, it stays over that."""
        before, after = self._disks, dict(self._disks)
        for role, child in staging.children(self).items():
            disk = unfiltered(staging, child)
            if before[role] is unfiltered(staging, old) and disk is unfiltered(staging, new):
                after[role] = disk
        self._disks = after
        staging.aborts.append(lambda: setattr(self, "_disks", before))

    def form(self) -> Key:
        """Options are looked at per request."""
        return (self,)

    # Requests

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """The disk as it is now."""
        self.file.pread(buf, offset)

    @abstractmethod
    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Seen to, and to ``file``."""

    @abstractmethod
    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Likewise."""

    @abstractmethod
    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Likewise."""

    def do_flush(self) -> None:
        """The disk's: what is on the target is worth something only at the end."""
        self.file.flush()

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The disk's."""
        return self.file.extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """The disk's."""
        self.file.cache(count, offset)


def unfiltered(staging: Staging, node: Node[Any]) -> Node[Any]:
    """The node below all filters: it is what has the data."""
    return chain.unfiltered(node, staging.child)


def refuse_writers_past(staging: Staging, node: Node[Any], disk: Node[Any], words: str) -> None:
    """Raises CommandError if somebody writes to what is below a node and does not come by there.

    QEMU has permissions for this: such a filter unshares write on ``file``.
    """
    for who, root in writers(staging, node):
        if disk in written_past(staging, root, node):
            raise CommandError(
                f"{who} writes to '{node.children['file'].name}' {words}; "
                f"export it read-only, or lead it through '{node.name}'"
            )


def writers(staging: Staging, keeper: Node[Any]) -> Iterator[tuple[str, Node[Any]]]:
    """Who makes writes, and at which node: clients, and other jobs."""
    for export in staging.exports.values():
        root = staging.child(export, "root")
        if root is not None and not export.options.read_only:
            yield f"Export '{export.name}'", root
    for node in staging.nodes.values():
        target = staging.children(node).get("target") if node.job_id is not None else None
        if target is not None and node is not keeper:
            yield f"Job '{node.job_id}'", target


def written_past(staging: Staging, root: Node[Any], keeper: Node[Any]) -> set[Node[Any]]:
    """The nodes that writes to ``root`` may come to without passing ``keeper``."""
    found: set[Node[Any]] = set()
    rest = [root]
    while rest:
        node = rest.pop()
        if node is not keeper and node not in found:
            found.add(node)
            if not node.options.only_reads:
                children = staging.children(node).items()
                rest.extend(child for role, child in children if role != "backing")
    return found
