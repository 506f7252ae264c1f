"""Bitmaps: which clusters of a disk, in one bit each.  Pure; who shares one brings the lock.

The bits are kept in pages of 4096, each an ``int``; a page of zeroes is not kept, and all pages of
ones are one object.  So a 10 TiB disk at 64 KiB takes some 20 MiB at worst, a copy shares its pages
with the original, and a search passes 4096 clusters at a step.

Readers need no lock: a page is replaced, not changed, by one store in a dict.  Writers do, since
what they store depends on what they have read.
"""

from collections.abc import Iterator

_PAGE_SHIFT = 12
_PAGE_CLUSTERS = 1 << _PAGE_SHIFT
_IN_PAGE = _PAGE_CLUSTERS - 1
_FULL = (1 << _PAGE_CLUSTERS) - 1

Run = tuple[int, int]
"""(first, past): clusters, the second one not included."""


class Bitmap:
    """One bit for each ``granularity_bytes`` (a power of two) of ``size_bytes``; all 0 at first.

    Ranges in bytes may end past the disk's end: they are cut there.  The last cluster may be a
    part of one; it counts as a whole one, as in QEMU's hbitmap.
    """

    __slots__ = ("_pages", "_shift", "clusters", "granularity_bytes", "size_bytes")

    def __init__(self, size_bytes: int, granularity_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.granularity_bytes = granularity_bytes
        self._shift = granularity_bytes.bit_length() - 1
        self.clusters = self._clusters_in(size_bytes)
        self._pages: dict[int, int] = {}

    # Looking

    def get(self, cluster: int) -> bool:
        """One bit."""
        return bool(self._pages.get(cluster >> _PAGE_SHIFT, 0) >> (cluster & _IN_PAGE) & 1)

    def any(self, offset: int, count: int) -> bool:
        """Whether a cluster that a range in bytes touches is set."""
        first, past = self.touched(offset, count)
        return self._find(first, past, wanted=True) < past

    def all(self, offset: int, count: int) -> bool:
        """Whether all clusters that a range in bytes touches are set."""
        shift = self._shift
        first, last = offset >> shift, (offset + count - 1) >> shift
        page = first >> _PAGE_SHIFT
        if count > 0 and last < self.clusters and last >> _PAGE_SHIFT == page:  # nearly always
            mask = (2 << (last - first)) - 1
            return self._pages.get(page, 0) >> (first & _IN_PAGE) & mask == mask
        first, past = self.touched(offset, count)
        return self._find(first, past, wanted=False) >= past

    def count_bytes(self) -> int:
        """The set clusters, each whole: QEMU's ``count``."""
        return sum(map(int.bit_count, self._pages.values())) << self._shift

    def next_run(
        self,
        start_cluster: int,
        value: bool,  # noqa: FBT001 - a bit
        end: int,
        most: int | None = None,
    ) -> Run | None:
        """The first run of bits that are ``value`` in [``start_cluster``, ``end``), or None.

        It is cut at ``end``, and to ``most`` clusters: who takes a long run in pieces says so, and
        need not have all of it looked through for each.
        """
        end = min(end, self.clusters)
        first = self._find(start_cluster, end, wanted=value)
        if first >= end:
            return None
        limit = end if most is None else min(end, first + most)
        return first, self._find(first + 1, limit, wanted=not value)

    def runs(self) -> Iterator[Run]:
        """All that is set, in order."""
        at = 0
        while (run := self.next_run(at, value=True, end=self.clusters)) is not None:
            yield run
            at = run[1]

    def touched(self, offset: int, count: int) -> Run:
        """The clusters that a range in bytes touches: rounded outward."""
        if count <= 0:
            return 0, 0
        return offset >> self._shift, min(self._clusters_in(offset + count), self.clusters)

    def covered(self, offset: int, count: int) -> Run:
        """The clusters that a range in bytes covers: rounded inward, but for the disk's end."""
        past = offset + count
        last = self.clusters if past >= self.size_bytes else past >> self._shift
        return self._clusters_in(offset), last

    def copy(self) -> "Bitmap":
        """Another with the same bits, which goes its own way."""
        copy = Bitmap(self.size_bytes, self.granularity_bytes)
        copy._pages = self._pages.copy()
        return copy

    # Changing

    def set(self, offset: int, count: int) -> None:
        """Set all clusters that a range in bytes touches."""
        self.set_clusters(*self.touched(offset, count))

    def reset(self, offset: int, count: int) -> None:
        """Reset all clusters that a range in bytes covers: what is only in part stays dirty."""
        self.reset_clusters(*self.covered(offset, count))

    def set_clusters(self, first: int, past: int) -> None:
        """Set [first, past)."""
        pages = self._pages
        for page, mask in _masks(first, min(past, self.clusters)):
            bits = mask if mask is _FULL else pages.get(page, 0) | mask
            pages[page] = _FULL if bits == _FULL else bits

    def reset_clusters(self, first: int, past: int) -> None:
        """Reset [first, past)."""
        pages = self._pages
        for page, mask in _masks(first, min(past, self.clusters)):
            if page in pages:
                bits = pages[page] & ~mask
                if bits:
                    pages[page] = bits
                else:
                    del pages[page]

    def merge(self, other: "Bitmap") -> None:
        """Set what is set there; of another granularity, every cluster that is touched.

        From a larger disk that is what lies within.  With the same granularity and size 10 TiB
        take a few hundredths of a second, else it is two microseconds for each run.
        """
        if (other.size_bytes, other._shift) == (self.size_bytes, self._shift):  # noqa: SLF001
            self._merge_pages(other._pages)  # noqa: SLF001 - the same class
            return
        there = other.granularity_bytes
        for first, past in other.runs():
            self.set(first * there, (past - first) * there)

    def resize(self, size_bytes: int) -> None:
        """The disk has another size now; what is new is 0."""
        clusters = self._clusters_in(size_bytes)
        self.reset_clusters(clusters, self.clusters)
        self.size_bytes, self.clusters = size_bytes, clusters

    def _clusters_in(self, count: int) -> int:
        return (count + self.granularity_bytes - 1) >> self._shift

    def _merge_pages(self, others: dict[int, int]) -> None:
        pages = self._pages
        for page, other in others.items():
            bits = pages.get(page, 0) | other
            pages[page] = _FULL if bits == _FULL else bits

    def _find(self, at: int, end: int, *, wanted: bool) -> int:
        """The first such bit from ``at`` on; not below ``end`` if there is none before it."""
        pages = self._pages
        flip = 0 if wanted else _FULL
        while at < end:
            rest = (pages.get(at >> _PAGE_SHIFT, 0) ^ flip) >> (at & _IN_PAGE)
            if rest:
                return min(at + (rest & -rest).bit_length() - 1, end)
            at = (at | _IN_PAGE) + 1
        return end


def _masks(first: int, past: int) -> Iterator[tuple[int, int]]:
    """[first, past) as pages and the bits in each."""
    while first < past:
        page, at = first >> _PAGE_SHIFT, first & _IN_PAGE
        length = min(past - first, _PAGE_CLUSTERS - at)
        yield page, _FULL if length == _PAGE_CLUSTERS else (1 << length) - 1 << at
        first += length
