"""A commit's base that is smaller than the top is made as large first (qemu-semantics §8.5).

QEMU does so when the job begins to run (commit_run, mirror_run).  It is for images without a size
of their own: a regular file, or ``raw`` over one without ``size``.  Nobody sees it: past its end a
backing image reads as zeroes, and so does what is added.
"""

from typing import TYPE_CHECKING, Any

from blkrun.errors import CommandError
from blkrun.server.drivers.file import File
from blkrun.server.drivers.raw import Raw
from blkrun.server.node import Node
from blkrun.server.staging import Staging

if TYPE_CHECKING:
    from blkrun.server.graph import Graph


def check_growth(staging: Staging, base: Node[Any], size_bytes: int) -> None:
    """Whether it can be made so large.  Raises CommandError."""
    node: Node[Any] = base
    while isinstance(node, Raw) and node.options.size is None:
        node = staging.children(node)["file"]
    if not isinstance(node, (File, Raw)):
        why = f"driver '{node.driver}' cannot make it larger; qemu-img resize can while none has it"
    elif node.options.size is not None:
        why = f"'size' of '{node.name}' says how large it stays"
    else:
        return
    raise CommandError(
        f"Node '{base.name}' has {staging.size(base)} bytes, fewer than the {size_bytes} to be "
        f"committed to it: {why}"
    )


def grow(graph: "Graph", base: Node[Any], size_bytes: int) -> None:
    """If it is smaller: in an edit, so that no other one is on its way with the old size.

    It stays as large whatever becomes of the job, as in QEMU.  Raises OSError, CommandError.
    """

    def longer(staging: Staging) -> None:
        base.truncate(size_bytes, exact=False)
        _resize_above(staging, base)

    if base.length() < size_bytes:
        graph.transaction([longer])


def _resize_above(staging: Staging, node: Node[Any]) -> None:
    for parent, role in staging.parents(node):
        if isinstance(parent, Node) and parent.is_filter and role == parent.main:
            parent.resized()
            _resize_above(staging, parent)
