"""``create = true``: an image in an empty file."""

from typing import Any

from blkrun.options import Qcow2Options
from blkrun.server.chain import unfiltered
from blkrun.server.drivers._named_by_image import name_for
from blkrun.server.node import Node
from blkrun.server.qcow2.create import write_image
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.store import Store
from blkrun.server.qcow2.wanted import wanted_image
from blkrun.server.reaching import reaching
from blkrun.server.routing import apart
from blkrun.server.staging import Staging
from blkrun.server.way import EXTENT_ZERO, FLAG_MAY_TRIM


def is_blank(file: Node[Any]) -> bool:
    """Whether there is nothing in a file: it has no length, or is known to have no data."""
    at, length = 0, file.length()
    while at < length:
        for start, size, kind in file.extents(length - at, at):
            if not kind & EXTENT_ZERO:
                return False
            at = start + size
    return True


def create_image(node: Node[Qcow2Options], staging: Staging) -> None:
    """As the node's options say; if the edit comes to nothing, its files are as they were.

    Raises ImageError for what cannot be, and OSError where writing fails.
    """
    file = node.children["file"]
    if staging.is_written(file):  # what is taken back at an abort could be somebody else's
        raise ImageError(f"'{file.name}' is being written to; no image can be made there")
    backing, data_file = node.children.get("backing"), node.children.get("data-file")
    layout = wanted_image(
        node.options,
        backing=None if backing is None else _naming(backing, file),
        backing_bytes=None if backing is None else staging.size(backing),
        data_file=None if data_file is None else name_for(data_file, file),
        has_data_file=data_file is not None,
    )
    _restore_on_abort(staging, file, layout.length_bytes)
    write_image(Store(node, "file", file.length()), layout)
    if data_file is not None and data_file.length() < layout.header.size_bytes:
        _restore_on_abort(staging, data_file, 0)
        data_file.truncate(layout.header.size_bytes, exact=False)


def _naming(backing: Node[Any], file: Node[Any]) -> tuple[str, str] | None:
    """Name and format; None: the image cannot say, and the node's options always have to."""
    image = unfiltered(backing)
    name = name_for(image, file)
    return None if name is None else (name, "qcow2" if image.driver == "qcow2" else "raw")


def _restore_on_abort(staging: Staging, file: Node[Any], written_bytes: int) -> None:
    length = file.length()

    def restore() -> None:
        with reaching(apart()):
            if written := min(length, written_bytes):
                file.zero(written, 0, FLAG_MAY_TRIM)
            if file.length() != length:
                file.truncate(length, exact=True)

    staging.aborts.append(restore)
