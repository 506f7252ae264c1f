"""How much memory an image's tables may take: QEMU's rules.  Pure."""

from blkrun.options import Qcow2Options
from blkrun.server.qcow2.geometry import Geometry

MOST_L2_BYTES = 32 * 2**20
"""What L2 tables may take where nobody has said anything."""

_LEAST_REFCOUNT_CLUSTERS = 4


def cache_sizes(options: Qcow2Options, geometry: Geometry) -> tuple[int, int]:
    """Bytes for L2 tables and for refcount blocks, of options that do not contradict."""
    total, l2_bytes, refcount_bytes = (
        options.cache_size,
        options.l2_cache_size,
        options.refcount_cache_size,
    )
    least = _LEAST_REFCOUNT_CLUSTERS * geometry.cluster_bytes
    covering = geometry.l1_entries * geometry.cluster_bytes
    if total is None:
        if l2_bytes is None:
            l2_bytes = min(MOST_L2_BYTES, covering)
        return l2_bytes, least if refcount_bytes is None else refcount_bytes
    if l2_bytes is not None:
        return l2_bytes, total - l2_bytes
    if refcount_bytes is not None:
        return total - refcount_bytes, refcount_bytes
    l2_bytes = max(min(total - least, covering), 0)
    return l2_bytes, total - l2_bytes
