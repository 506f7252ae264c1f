"""What the options of one node must be besides what their types say, in QEMU's words."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from blkrun.options import BlkDebugOptions, BlkLogWritesOptions, BlockdevOptions, PreallocateOptions

SECTOR_BYTES = 512
"""QEMU's BDRV_SECTOR_SIZE."""

LIMITS_END = 2**31 - 1
"""QEMU's INT_MAX: blkdebug's limits are less."""

LEAST_LOG_SECTOR_BYTES = 32
"""An entry has to fit into a sector."""

LOG_SECTOR_BYTES_END = 2**24


class BrokenRule(NamedTuple):
    """The option that it is about (wire name), and what is wrong."""

    option: str
    message: str


def check_node(options: BlockdevOptions) -> BrokenRule | None:
    """The first rule that is broken, or None."""
    rules = _RULES.get(type(options))
    return None if rules is None else next(rules(options), None)


def is_log_sector_size(sector_bytes: int) -> bool:
    """Whether a write log can count in sectors of this size."""
    in_range = LEAST_LOG_SECTOR_BYTES <= sector_bytes < LOG_SECTOR_BYTES_END
    return in_range and sector_bytes.bit_count() == 1


def _blkdebug(options: BlkDebugOptions) -> Iterator[BrokenRule]:
    """Children take requests of any alignment, so only the node's own counts."""
    align = max(options.align, 1)
    zero, discard = options.opt_write_zero, options.opt_discard
    limits = (
        ("align", options.align, 1),
        ("max-transfer", options.max_transfer, align),
        ("opt-write-zero", zero, align),
        ("max-write-zero", options.max_write_zero, max(align, zero)),
        ("opt-discard", discard, align),
        ("max-discard", options.max_discard, max(align, discard)),
    )
    for option, value, factor in limits:
        fits = value < LIMITS_END and not value % factor
        if not fits or (option == "align" and value.bit_count() > 1):
            yield BrokenRule(option, f"Cannot meet constraints with {option} {value}")


def _blklogwrites(options: BlkLogWritesOptions) -> Iterator[BrokenRule]:
    size = options.log_sector_size
    if size is None:
        return
    if options.log_append:
        words = "log-append and log-sector-size are mutually exclusive"
        yield BrokenRule("log-sector-size", words)
    if not is_log_sector_size(size):
        yield BrokenRule("log-sector-size", f"Invalid log sector size {size}")


def _preallocate(options: PreallocateOptions) -> Iterator[BrokenRule]:
    if options.prealloc_align % SECTOR_BYTES:
        words = f"prealloc-align parameter of preallocate filter is not aligned to {SECTOR_BYTES}"
        yield BrokenRule("prealloc-align", words)


_RULES: dict[type[BlockdevOptions], Callable[[Any], Iterator[BrokenRule]]] = {
    BlkDebugOptions: _blkdebug,
    BlkLogWritesOptions: _blklogwrites,
    PreallocateOptions: _preallocate,
}
