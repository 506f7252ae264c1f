"""Refcount blocks: how often each of a run of host clusters is used.  Pure.

qcow2.rst, "Host cluster management": a block is one cluster of entries of ``1 << refcount_order``
bits, big endian; of entries smaller than a byte the first is in the least significant bits.

Blocks stay in memory as they are in the file but for the byte order of words, so that a block is
loaded, searched and stored at the speed of a copy, whatever its width.
"""

import re
import sys
from abc import ABC, abstractmethod
from array import array

MAX_ORDER = 6
"""64 bits; the specification allows no more."""

_IS_LITTLE = sys.byteorder == "little"

_TYPECODES = {3: "B", 4: "H", 5: "I", 6: "Q"}
"""Order → array type of so many bits (``array`` says at least; CPython's are just that)."""


class RefcountBlock(ABC):
    """One block.  ``entries`` are numbered from 0; runs are [first, past)."""

    def __init__(self, entries: int, order: int) -> None:
        self.entries = entries
        self.maximum = (1 << (1 << order)) - 1
        self._order = order

    @abstractmethod
    def get(self, index: int) -> int:
        """One refcount."""

    @abstractmethod
    def set(self, index: int, value: int) -> None:
        """One refcount.  Raises OverflowError if the width does not hold it."""

    @abstractmethod
    def fill(self, first: int, past: int, value: int) -> None:
        """The same refcount for a run.  Raises OverflowError if the width does not hold it."""

    @abstractmethod
    def find_free(self, start: int) -> int:
        """The first entry from ``start`` on that is 0; ``entries`` if none is."""

    def free_run(self, start: int, most: int) -> int:
        """How many entries from ``start`` on are 0 without a gap, at most ``most``."""
        end = min(start + most, self.entries)
        at = start
        while at < end and self.get(at) == 0:
            at += 1
        return at - start

    @abstractmethod
    def part(self, first: int, past: int) -> tuple[int, bytes]:
        """The bytes that hold a run of entries, and where in the block they begin."""

    def to_bytes(self) -> bytes:
        """The whole block, as it is in the file."""
        return self.part(0, self.entries)[1]

    def _check(self, value: int) -> None:
        if not 0 <= value <= self.maximum:
            raise OverflowError(f"{value} is no refcount of {1 << self._order} bits")


def blank(cluster_bytes: int, order: int) -> RefcountBlock:
    """A block of zeroes."""
    return decode(bytes(cluster_bytes), order)


def decode(data: bytes, order: int) -> RefcountBlock:
    """A block from the file; ``data`` is a whole cluster."""
    return _Words(data, order) if order in _TYPECODES else _Packed(data, order)


class _Words(RefcountBlock):
    """Entries of 8 bits or more."""

    def __init__(self, data: bytes, order: int) -> None:
        self._words = array(_TYPECODES[order])
        self._words.frombytes(data)
        if _IS_LITTLE:
            self._words.byteswap()
        super().__init__(len(self._words), order)

    def get(self, index: int) -> int:
        return self._words[index]

    def set(self, index: int, value: int) -> None:
        self._check(value)
        self._words[index] = value

    def fill(self, first: int, past: int, value: int) -> None:
        self._check(value)
        words = self._words
        words[first:past] = array(words.typecode, (value,)) * (past - first)

    def find_free(self, start: int) -> int:
        try:
            return self._words.index(0, start)
        except ValueError:
            return self.entries

    def free_run(self, start: int, most: int) -> int:
        run = self._words[start : start + most]
        if run.count(0) == len(run):
            return len(run)
        return super().free_run(start, most)

    def part(self, first: int, past: int) -> tuple[int, bytes]:
        words = self._words[first:past]
        if _IS_LITTLE:
            words.byteswap()
        return first * words.itemsize, words.tobytes()


class _Packed(RefcountBlock):
    """Entries of 1, 2 or 4 bits, several in a byte."""

    def __init__(self, data: bytes, order: int) -> None:
        self._data = bytearray(data)
        self._bits = 1 << order
        self._per_byte = 8 // self._bits
        super().__init__(len(data) * self._per_byte, order)
        self._has_free = _bytes_with_free(self._bits)

    def get(self, index: int) -> int:
        byte, place = divmod(index, self._per_byte)
        return self._data[byte] >> place * self._bits & self.maximum

    def set(self, index: int, value: int) -> None:
        self._check(value)
        byte, place = divmod(index, self._per_byte)
        shift = place * self._bits
        self._data[byte] = self._data[byte] & ~(self.maximum << shift) | value << shift

    def fill(self, first: int, past: int, value: int) -> None:
        self._check(value)
        low, high = -(-first // self._per_byte), past // self._per_byte
        if low < high:
            full = sum(value << place * self._bits for place in range(self._per_byte))
            self._data[low:high] = bytes((full,)) * (high - low)
            rest = (*range(first, low * self._per_byte), *range(high * self._per_byte, past))
        else:
            rest = (*range(first, past),)
        for index in rest:
            self.set(index, value)

    def find_free(self, start: int) -> int:
        byte, place = divmod(start, self._per_byte)
        if place:
            end = (byte + 1) * self._per_byte
            for index in range(start, end):
                if self.get(index) == 0:
                    return index
            byte += 1
        found = self._has_free.search(self._data, byte)
        if found is None:
            return self.entries
        index = found.start() * self._per_byte
        while self.get(index):
            index += 1
        return index

    def part(self, first: int, past: int) -> tuple[int, bytes]:
        low, high = first // self._per_byte, -(-past // self._per_byte)
        return low, bytes(self._data[low:high])


def _bytes_with_free(bits: int) -> "re.Pattern[bytes]":
    """Any byte that holds an entry of 0: the regular expression engine searches at full speed."""
    mask = (1 << bits) - 1
    free = [
        bytes((byte,))
        for byte in range(256)
        if any(byte >> shift & mask == 0 for shift in range(0, 8, bits))
    ]
    return re.compile(b"[" + b"".join(map(re.escape, free)) + b"]", re.DOTALL)
