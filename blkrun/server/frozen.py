"""Chains that a job needs as they are: QEMU freezes their links.  Filters may come and go there."""

from typing import Any

from blkrun.errors import CommandError
from blkrun.server.chain import chain
from blkrun.server.node import Node
from blkrun.server.staging import Staging

Frozen = tuple[Node[Any], ...]
"""Images from the top down."""


def check_frozen(staging: Staging, file: Node[Any], frozen: Frozen) -> None:
    """Raises CommandError, in QEMU's words, where the chain from ``file`` down becomes another."""
    if not frozen:
        return
    nodes = [*chain(file, staging.child), *frozen]  # what is too short differs from itself
    for above, old, new in zip(frozen, frozen[1:], nodes[1:], strict=False):
        if old is not new:
            raise CommandError(f"Cannot change 'backing' link from '{above.name}' to '{old.name}'")
