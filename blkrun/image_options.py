"""What options of a qcow2 node cannot be together; with QEMU's messages where it has some.  Pure.

Of new images also what a file can be told before anybody makes one.
"""

from collections.abc import Iterator

from msgspec import UNSET

from blkrun.node_rules import BrokenRule
from blkrun.options import Qcow2Options

LEAST_CLUSTER_BYTES = 512
MOST_CLUSTER_BYTES = 2 * 2**20
MOST_REFCOUNT_BITS = 64
EXTENDED_L2_LEAST_CLUSTER_BYTES = 16384

_DEFAULT_REFCOUNT_BITS = 16
_SECTOR_BYTES = 512


def check_image_options(options: Qcow2Options) -> BrokenRule | None:
    """None if they can be used."""
    return next(_problems(options), None)


def _problems(options: Qcow2Options) -> Iterator[BrokenRule]:
    yield from _caches(options)
    if options.create:
        yield from _new(options)
        if options.version == "v2":
            yield from _of_version_3(options)


def _caches(options: Qcow2Options) -> Iterator[BrokenRule]:
    total, l2, refcounts = (
        options.cache_size,
        options.l2_cache_size,
        options.refcount_cache_size,
    )
    if total is None:
        return
    if l2 is not None and refcounts is not None:
        yield BrokenRule(
            "cache-size",
            "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time",
        )
    for name, part in (("l2-cache-size", l2), ("refcount-cache-size", refcounts)):
        if part is not None and part > total:
            yield BrokenRule(name, f"{name} may not exceed cache-size")


def _new(options: Qcow2Options) -> Iterator[BrokenRule]:
    has_backing = options.backing not in (UNSET, None)
    if options.size is None and not has_backing:
        yield BrokenRule("size", "'create' needs 'size': there is no backing to take it from")
    if options.size is not None and options.size % _SECTOR_BYTES:
        yield BrokenRule("size", "Image size must be a multiple of 512 bytes")
    if not _is_power(options.cluster_size, LEAST_CLUSTER_BYTES, MOST_CLUSTER_BYTES):
        message = "Cluster size must be a power of two between 512 and 2048k"
        yield BrokenRule("cluster-size", message)
    if not _is_power(options.refcount_bits, 1, MOST_REFCOUNT_BITS):
        message = "Refcount width must be a power of two and may not exceed 64 bits"
        yield BrokenRule("refcount-bits", message)
    if options.extended_l2 and options.cluster_size < EXTENDED_L2_LEAST_CLUSTER_BYTES:
        yield BrokenRule(
            "extended-l2",
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
        )
    if options.data_file_raw and options.data_file is UNSET:
        yield BrokenRule("data-file-raw", "data-file-raw requires data-file")
    if options.data_file_raw and has_backing:
        message = "Backing file and data-file-raw cannot be used at the same time"
        yield BrokenRule("data-file-raw", message)


def _of_version_3(options: Qcow2Options) -> Iterator[BrokenRule]:
    newer = "compatibility level 1.1 and above (use version=v3 or greater)"
    if options.refcount_bits != _DEFAULT_REFCOUNT_BITS:
        message = f"Different refcount widths than 16 bits require {newer}"
        yield BrokenRule("refcount-bits", message)
    if options.lazy_refcounts:
        yield BrokenRule("lazy-refcounts", f"Lazy refcounts only supported with {newer}")
    if options.extended_l2:
        message = f"Extended L2 entries are only supported with {newer}"
        yield BrokenRule("extended-l2", message)
    if options.compression_type != "zlib":
        message = f"Non-zlib compression type is only supported with {newer}"
        yield BrokenRule("compression-type", message)
    if options.data_file is not UNSET:
        yield BrokenRule("data-file", f"External data files are only supported with {newer}")


def _is_power(value: int, least: int, most: int) -> bool:
    return least <= value <= most and not value & (value - 1)
