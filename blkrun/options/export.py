"""``[exports.NAME]``."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from blkrun.options.node import NodeName


class ExportOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """What an NBD client opens, under the table's name (QMP: ``id`` and ``name``)."""

    changeable: ClassVar[frozenset[str]] = frozenset({"node"})
    """Fields (wire names) that change under clients; for any other the export is made anew."""

    node: Annotated[NodeName, Meta(description="the node that clients see as a disk")]
    read_only: Annotated[bool, Meta(description="refuse writes from clients")] = False
    description: Annotated[
        str, Meta(max_length=4096, description="a text for people, which nbdinfo --list shows")
    ] = ""
