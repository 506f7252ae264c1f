"""Nodes that come with an image: its backing file and its data file, found by the names in it.

They are inline children: nobody else's, and gone with the node that they came with.
"""

import os
from pathlib import Path
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import FileOptions, NbdOptions
from blkrun.server.drivers.file import File
from blkrun.server.drivers.nbd import Nbd
from blkrun.server.naming import generated_name
from blkrun.server.node import Node
from blkrun.server.qcow2 import header as headers
from blkrun.server.qcow2.references import Reference
from blkrun.server.staging import Staging

_OTHER_FORMATS = {b"QED\0": "qed", b"KDMV": "vmdk", b"vhdxfile": "vhdx", b"conectix": "vpc"}
_HEAD_BYTES = 8


def path_of(node: Node[Any]) -> str | None:
    """Where the file below all filters is; None if it is none."""
    while "file" in node.children:
        node = node.children["file"]
    return node.options.path if isinstance(node, File) else None


def is_same_file(one: Node[Any], other: Node[Any]) -> bool:
    """Whether two nodes have the same data below them, as far as can be told."""
    if one is other:
        return True
    if not (isinstance(one, File) and isinstance(other, File)):
        return False
    try:
        return Path(one.options.path).samefile(other.options.path)
    except FileNotFoundError:
        return False


def name_for(node: Node[Any], image: Node[Any]) -> str | None:
    """How an image can name the file of another node; None: it has no name for it.

    One in the same directory goes on to be found when both are moved.
    """
    path, own = path_of(node), path_of(image)
    if path is None:
        return None
    directory, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - what links say stays
    is_near = own is not None and os.path.dirname(os.path.abspath(own)) == directory  # noqa: PTH100, PTH120 - as above
    return f"./{name}" if is_near and ":" in name else name if is_near else f"{directory}/{name}"


def open_place(staging: Staging, reference: Reference, *, read_only: bool) -> Node[Any]:
    """A node for the bytes that a name leads to.  Raises CommandError where that cannot be opened.

    A regular file is locked as any other backend's; two overlays may share one that both only read.
    """
    name = generated_name()
    node: Node[Any]
    if reference.uri is not None:
        node = Nbd(NbdOptions(node_name=name, uri=reference.uri, read_only=read_only))
    else:
        node = File(FileOptions(node_name=name, path=str(reference.path), read_only=read_only))
    add_inline(staging, node, {})
    return node


def add_inline(staging: Staging, node: Node[Any], children: dict[str, Node[Any]]) -> None:
    """A node that is nobody's but its parent's."""
    node.monitor_owned = False
    staging.add_node(node, children)


def format_of(place: Node[Any], length: int) -> str:
    """What an image of no stated format is, by its first bytes.  Raises CommandError for others."""
    head = bytearray(min(_HEAD_BYTES, length))
    if head:
        place.pread(memoryview(head), 0)
    if head.startswith(headers.MAGIC):
        return "qcow2"
    for magic, name in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise CommandError(f"'{path_of(place)}' is a {name} image; there is no driver for that")
    return "raw"
