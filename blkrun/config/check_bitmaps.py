"""Checks on dirty bitmaps: QEMU's rules for one (qemu-semantics §6.3), and who uses it."""

from collections.abc import Iterator

from blkrun.config.graph import by_name, skip_disabled
from blkrun.config.tables import Draft
from blkrun.decode import Kind, Problem
from blkrun.job_options import BackupOptions
from blkrun.toml.diagnostics import dotted

MIN_GRANULARITY_BYTES = 512
MAX_GRANULARITY_BYTES = 2**31

MAX_NAME_BYTES = 1023


def bitmap_names(draft: Draft) -> Iterator[Problem]:
    """Any text, but not none and not too much."""
    for bitmap in draft.bitmaps:
        length = len(bitmap.name.encode())
        if not length:
            words = "Bitmap name cannot be empty: write [bitmaps.NAME]"
        elif length > MAX_NAME_BYTES:
            words = f"Bitmap name too long: {length} bytes, the limit is {MAX_NAME_BYTES}"
        elif "\0" in bitmap.name:
            words = "Bitmap name has a NUL character in it"
        else:
            continue
        yield Problem(path=bitmap.path, kind=Kind.OTHER, message=words)


def bitmap_granularities(draft: Draft) -> Iterator[Problem]:
    """A power of two, within limits."""
    for bitmap in draft.bitmaps:
        if bitmap.options is None:
            continue
        size = bitmap.options.granularity
        if not MIN_GRANULARITY_BYTES <= size <= MAX_GRANULARITY_BYTES:
            rule = f"from {MIN_GRANULARITY_BYTES} bytes to 2GiB"
        elif size & (size - 1):
            below = 1 << (size.bit_length() - 1)
            rule = f"a power of 2: {below} or {2 * below} is near"
        else:
            continue
        path = (*bitmap.path, "granularity")
        message = f"{dotted(path)}: it is {size}, and has to be {rule}"
        yield Problem(path=path, kind=Kind.VALUE, message=message)


def bitmaps_of_devices(draft: Draft) -> Iterator[Problem]:
    """A job's bitmap is its device's.  One without a table may be made by QMP."""
    nodes = by_name(draft)
    tables = {bitmap.name: bitmap for bitmap in draft.bitmaps}
    for job in draft.jobs:
        bitmap = tables.get(job.text("bitmap") or "") if job.type is BackupOptions else None
        device, node = job.text("device"), None if bitmap is None else bitmap.text("node")
        if bitmap is None or device is None or node is None:
            continue
        device, node = skip_disabled(device, nodes), skip_disabled(node, nodes)
        if device != node and {device, node} <= nodes.keys():
            path = (*job.path, "bitmap")
            message = (
                f'{dotted(path)}: it records the writes of "{node}", and the device is '
                f'"{device}": both have to be one node'
            )
            yield Problem(
                path=path,
                kind=Kind.REFERENCE,
                message=message,
                related=(*bitmap.path, "node"),
            )
