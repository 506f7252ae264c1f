"""Ranges of whole blocks, where only such can be asked for."""


def blocks_within(count: int, offset: int, block_bytes: int) -> tuple[int, int]:
    """Start and end of the whole blocks in a range; both are its end if there are none."""
    last = offset + count
    start, end = -(-offset // block_bytes) * block_bytes, last // block_bytes * block_bytes
    return (start, end) if start < end else (last, last)
