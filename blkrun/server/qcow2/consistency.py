"""The header's bits that say in what state an image is, from the first write to the end.

* Incompatible "corrupt": nothing is written.  Set when metadata turn out to be damaged.
* Incompatible "dirty": refcounts are to be counted anew first.  Set while refcounts are lazy.
* Autoclear: whoever writes and does not keep what such a bit stands for clears it first.  Bitmaps
  are kept: those that would have to follow every write are marked as inconsistent.
"""

import errno
import threading
from dataclasses import replace

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.bitmaps import Directory, in_use_writes
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import Header
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.recount import correct_copied_bits, count_references, write_refcounts


class Consistency:
    """Of one image."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._changing = threading.Lock()  # the header: each changes it as the last one left it
        self.is_lazy = image.settings.lazy_refcounts and image.header.version > 2

    def begin(self) -> None:
        """Before the first write.  Raises EACCES for a corrupt image, and what repairing raises."""
        image, header = self._image, self._image.header
        if header.incompatible & features.CORRUPT:
            raise OSError(errno.EACCES, f"'{image.owner.name}': image is corrupt")
        if header.incompatible & features.DIRTY:
            self._repair()
            header = image.header
        if image.bitmaps is not None:
            self._stop_bitmaps(image.bitmaps)
        kept = header.autoclear & (
            (features.RAW_EXTERNAL_DATA if header.external_data else 0)
            | (features.BITMAPS if image.bitmaps is not None else 0)
        )
        incompatible = header.incompatible & ~features.DIRTY
        if self.is_lazy:
            incompatible |= features.DIRTY
        if (kept, incompatible) != (header.autoclear, header.incompatible):
            self._write(replace(header, autoclear=kept, incompatible=incompatible))
            image.store.flush()
        image.on_fatal = self.mark_corrupt

    def _repair(self) -> None:
        """The dirty bit stays until the end: who is interrupted begins again."""
        image = self._image
        image.settings.log("counting refcounts anew: it was not closed cleanly")
        try:
            counts = count_references(image)
            offset, clusters = write_refcounts(image, counts)
            self.move_refcount_table(offset, clusters)
            image.store.flush()
            correct_copied_bits(image, counts)
        except ImageError as error:
            image.corrupted(f"Refcounts cannot be counted: {error}", fatal=True)

    def _stop_bitmaps(self, directory: Directory) -> None:
        """Those that have to follow every write say that they do not."""
        names = [bitmap.name for bitmap in directory.bitmaps if bitmap.has_to_follow]
        if not names:
            return
        self._image.settings.log(f"persistent bitmaps are not kept up to date: {', '.join(names)}")
        for offset, data in in_use_writes(directory):
            self._image.store.pwrite(memoryview(data), offset)
        self._image.store.flush()

    def end(self) -> None:
        """Everything is durable: refcounts are as they should be."""
        header = self._image.header
        if header.incompatible & features.DIRTY:
            self._write(replace(header, incompatible=header.incompatible & ~features.DIRTY))
            self._image.store.flush()

    def mark_corrupt(self) -> None:
        """Metadata are damaged: nobody is to write to this image before it is repaired."""
        with self._changing:
            header = self._image.header
            if header.version > 2 and not header.incompatible & features.CORRUPT:
                self._write(replace(header, incompatible=header.incompatible | features.CORRUPT))

    def move_refcount_table(self, offset: int, clusters: int) -> None:
        """The header refers to another refcount table.  Not durable yet."""
        with self._changing:
            header = self._image.header
            moved = replace(header, refcount_table_offset=offset, refcount_table_clusters=clusters)
            self._write(moved)

    def _write(self, header: Header) -> None:
        """The fixed part: 112 bytes at most, which no disk writes in parts."""
        self._image.store.pwrite(memoryview(header.fields_bytes()), 0)
        self._image.header = header
