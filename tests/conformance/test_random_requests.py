"""Every driver against a bytearray: any sequence of requests leaves what the model says."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blkrun.server.way import EXTENT_HOLE, EXTENT_ZERO, FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM

from .subjects import SIZE, Subject
from .tools import all_extents, errno_of, pattern, read, write

PAGE = 2**16
HALF = 2 * PAGE + PAGE // 2
LONGEST = 2 * PAGE + 100


@dataclass(frozen=True)
class Request:
    """One request.  ``place`` below HALF counts from the start, above it from the end."""

    kind: str
    place: int
    length: int
    flags: int
    seed: int


_near_edges = st.builds(
    lambda page, by: max(0, page * PAGE // 2 + by), st.integers(0, 10), st.integers(-2, 2)
)
_lengths = st.one_of(
    st.integers(0, LONGEST),
    st.integers(0, 3),
    st.builds(lambda pages, by: pages * PAGE + by, st.integers(1, 2), st.integers(-2, 2)),
)
_flags = {
    "read": st.just(0),
    "write": st.sampled_from([0, FLAG_FUA]),
    "zero": st.integers(0, 7).map(
        lambda bits: (
            (FLAG_MAY_TRIM if bits & 1 else 0)
            | (FLAG_FUA if bits & 2 else 0)
            | (FLAG_FAST_ZERO if bits & 4 else 0)
        )
    ),
    "trim": st.sampled_from([0, FLAG_FUA]),
    "flush": st.just(0),
    "extents": st.just(0),
    "cache": st.just(0),
}
_requests = st.sampled_from(sorted(_flags)).flatmap(
    lambda kind: st.builds(
        Request,
        kind=st.just(kind),
        place=st.one_of(st.integers(0, 2 * HALF), _near_edges),
        length=_lengths,
        flags=_flags[kind],
        seed=st.integers(0, 250),
    )
)


class Model:
    """The disk and what it should hold."""

    def __init__(self, disk: Subject) -> None:
        self.disk = disk
        self.node = disk.node
        self.data = bytearray(disk.size)
        for offset in {0, disk.size - SIZE}:
            self.node.zero(SIZE, offset, FLAG_MAY_TRIM)

    def run(self, request: Request) -> None:
        """Do a request on both."""
        end = self.disk.size
        place = request.place
        offset = min(place if place < HALF else end - 2 * HALF + place, end)
        length = min(request.length, end - offset)
        getattr(self, request.kind)(offset, length, request)
        first, last = max(0, offset - 64), min(end, offset + length + 64)
        self.check(first, last - first)

    def check(self, offset: int, length: int) -> None:
        """The disk holds what the model holds."""
        assert read(self.node, length, offset) == self.data[offset : offset + length]

    def check_all(self) -> None:
        """Both ends of the disk, where requests go, and the extents there."""
        for offset in {0, self.disk.size - SIZE}:
            self.check(offset, SIZE)
            self.check_extents(offset, SIZE)

    def check_extents(self, offset: int, length: int) -> None:
        """A hole or a zero extent is zero; what they cover is all_extents' to check."""
        for start, count, kind in all_extents(self.node, length, offset):
            assert not kind & ~(EXTENT_HOLE | EXTENT_ZERO)
            if kind:
                assert not any(self.data[start : start + count]), "data reported as a hole"

    def read(self, offset: int, length: int, request: Request) -> None:
        """Compare."""
        del request
        self.check(offset, length)

    def write(self, offset: int, length: int, request: Request) -> None:
        """Write a pattern."""
        data = pattern(length, request.seed)
        write(self.node, data, offset, request.flags)
        self.data[offset : offset + length] = data

    def zero(self, offset: int, length: int, request: Request) -> None:
        """Works; or, if it has to be fast, refuses and changes nothing."""
        refused = errno_of(self.node.zero, length, offset, request.flags)
        if request.flags & FLAG_FAST_ZERO and refused == "EOPNOTSUPP":
            return
        assert refused is None
        self.data[offset : offset + length] = bytes(length)

    def trim(self, offset: int, length: int, request: Request) -> None:
        """Each byte is zero or as it was, and stays what it is; these drivers all zero."""
        old = self.data[offset : offset + length]
        self.node.trim(length, offset, request.flags)
        new = read(self.node, length, offset)
        assert all(now in (0, was) for now, was in zip(new, old, strict=True))
        if self.disk.row.trim_zeroes:
            assert not any(new)
        self.data[offset : offset + length] = new

    def flush(self, offset: int, length: int, request: Request) -> None:
        """Changes nothing."""
        del offset, length, request
        self.node.flush()

    def extents(self, offset: int, length: int, request: Request) -> None:
        """Ask about any range that is one."""
        del request
        if length:
            self.check_extents(offset, length)

    def cache(self, offset: int, length: int, request: Request) -> None:
        """Changes nothing."""
        del request
        if length:
            self.node.cache(length, offset)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(requests=st.lists(_requests, min_size=1, max_size=20))
def test_any_sequence_of_requests(disk: Subject, requests: list[Request]) -> None:
    """The disk equals a bytearray after every request, around it, and at the end as a whole."""
    model = Model(disk)
    for request in requests:
        model.run(request)
    model.check_all()
    assert disk.node.stats.in_flight == 0
