"""Cutting a range into the requests that a device with limits gets, as in QEMU's block layer.

Pure.
"""

from collections.abc import Iterator

Range = tuple[int, int]
"""Start and end."""


def pieces(start: int, end: int, most_bytes: int) -> Iterator[Range]:
    """Of at most so many bytes; 0: all at once."""
    at = start
    while at < end:
        past = min(end, at + most_bytes) if most_bytes else end
        yield at, past
        at = past


def bulk_pieces(start: int, end: int, align_bytes: int, most_bytes: int) -> Iterator[Range]:
    """What is not aligned at the ends for itself, and between whole multiples of ``align_bytes``.

    ``most_bytes`` is a multiple of it, or 0.
    """
    first, past = -(-start // align_bytes) * align_bytes, end // align_bytes * align_bytes
    if first > past:  # within one
        yield from pieces(start, end, most_bytes)
        return
    yield from pieces(start, first, most_bytes)
    yield from pieces(first, past, most_bytes)
    yield from pieces(past, end, most_bytes)
