"""change-backing-file: which file an overlay says its backing image is (qemu-semantics §4).

The edges stay as they are; the next time the image is opened, it leads there.  What commit and
stream write down at their end is this as well.
"""

from typing import Any

from blkrun.errors import CommandError
from blkrun.server import actions
from blkrun.server.chain import chain, unfiltered
from blkrun.server.node import Node
from blkrun.server.staging import Staging

_FORMATS = frozenset({"qcow2"})
"""Drivers that are image formats; what others have is raw, for who opens the file by its name."""


def change_backing_file(staging: Staging, device: str, image: str, name: str) -> None:
    """As an action; checks are QEMU's, and in its words.  An empty name is none."""
    top = actions.find_node(staging, device)
    node = staging.node(image)
    if node is None:
        raise CommandError(f"Cannot find device='' nor node-name='{image}'")
    if any(role == "backing" for _, role in staging.parents(top)):
        raise CommandError("Need a root block node")
    backing = staging.child(node, "backing")
    if backing is None:
        raise CommandError("not allowing backing file change on an image without a backing file")
    actions.check_no_job(staging, node)
    if node not in chain(top, staging.child):
        raise CommandError(f"'{device}' and image file are not in the same chain")
    write_down(staging, node, name or None, format_of(unfiltered(backing, staging.child)))


def write_down(
    staging: Staging, node: Node[Any], name: str | None, image_format: str | None
) -> None:
    """At the edit's instant, with nobody inside the overlay; if it fails, so does the edit."""
    if node.options.read_only:
        raise CommandError(f"Node '{node.name}' is read-only: its backing file stays what it is")

    def settle() -> None:
        try:
            node.change_backing_file(name, image_format)
        except OSError as error:
            raise CommandError(
                f"Could not change backing file to '{name or ''}': {error.strerror}"
            ) from error

    staging.disturbed.add(node)
    staging.settles.append(settle)


def path_of(staging: Staging, node: Node[Any]) -> str | None:
    """Of the file that an image is in; None if it is in none."""
    below: Node[Any] | None = node
    while below is not None and below.children:
        below = staging.child(below, "file")
    path = getattr(below.options, "path", None) if below is not None else None
    return path if isinstance(path, str) else None


def format_of(node: Node[Any]) -> str:
    """As a header says it."""
    return node.driver if node.driver in _FORMATS else "raw"
