"""Tables of big-endian words of 64 bits, as ``array("Q")`` in the machine's order.  Pure."""

import sys
from array import array

_IS_LITTLE = sys.byteorder == "little"


def big_endian(words: "array[int]") -> bytes:
    """As they are in the file."""
    if not _IS_LITTLE:
        return words.tobytes()
    swapped = words[:]
    swapped.byteswap()
    return swapped.tobytes()


def native(data: bytes) -> "array[int]":
    """From the file; a part of a word at the end is left out."""
    words = array("Q")
    words.frombytes(data[: len(data) // 8 * 8])
    if _IS_LITTLE:
        words.byteswap()
    return words
