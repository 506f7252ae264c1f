"""What copy-before-write and a mirror's filter have in common: no write may get past them.

Both have a ``target`` beside ``file``, and come into the way of requests while none is under way,
so that no write is half before them.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from blkrun.errors import CommandError
from blkrun.server.export import Export
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
        self._disk: Node[Any] | None = None

    # Control

    def open(self, staging: Staging) -> None:
        """The disk that it is over now is the one it stays over.  Raises CommandError."""
        if staging.read_only(self.target):
            raise CommandError(f"Node '{self.name}': the target '{self.target.name}' is read-only")
        self._disk = unfiltered(staging, self.file)

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
        """Below must be the same disk for ever, and while anybody is above, nobody writes past.

        QEMU has permissions for the latter: such a filter unshares write on ``file``.
        """
        file = staging.child(self, "file")
        if file is not None and unfiltered(staging, file) is not self._disk:
            name = "nothing" if self._disk is None else self._disk.name
            raise CommandError(
                f"Node '{self.name}' {self.keeps} '{name}'; it cannot go on over another disk: "
                "take it out, and add a new one"
            )
        if not staging.parents(self):
            return
        for export in staging.exports.values():
            if not export.options.read_only and self._disk in _written_past(staging, export, self):
                raise CommandError(
                    f"Export '{export.name}' writes to '{self.children['file'].name}' past node "
                    f"'{self.name}', which {self.keeps} it; export it read-only, or lead it "
                    f"through '{self.name}'"
                )

    def succeed(self, staging: Staging, old: Node[Any], new: Node[Any]) -> None:
        """If it is over a disk that gets an equal one in its place, that is what it is over."""
        if self._disk is unfiltered(staging, old):
            before, self._disk = self._disk, unfiltered(staging, new)
            staging.aborts.append(lambda: setattr(self, "_disk", before))

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
    while node.is_filter and (child := staging.child(node, "file")) is not None:
        node = child
    return node


def _written_past(staging: Staging, export: Export, keeper: Node[Any]) -> set[Node[Any]]:
    """The nodes that an export's writes may come to without passing ``keeper``."""
    root = staging.child(export, "root")
    found: set[Node[Any]] = set()
    rest = [] if root is None else [root]
    while rest:
        node = rest.pop()
        if node is not keeper and node not in found:
            found.add(node)
            if not node.options.only_reads:
                rest.extend(staging.children(node).values())
    return found
