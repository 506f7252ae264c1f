"""Images that are written to: what is read back, and what qemu-img says of them afterwards."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blkrun.server.qcow2.create import NewImage
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM
from tests.server.qcow2.guest import BACKING, DATA, Guest, guest_with

SIZE = 7 * 2**16 + 512
"""Some clusters of the usual size, and a part of one."""

VARIETIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "small": {"cluster_bytes": 512},
    "small, 64 bits": {"cluster_bytes": 512, "refcount_bits": 64},
    "1 bit": {"refcount_bits": 1, "cluster_bytes": 4096},
    "2 MiB": {"cluster_bytes": 2**21},
    "version 2": {"version": 2, "cluster_bytes": 4096},
    "extended": {"extended_l2": True, "cluster_bytes": 2**14},
    "extended, 64 KiB": {"extended_l2": True},
    "lazy": {"lazy_refcounts": True, "cluster_bytes": 4096},
    "external": {"external_data": True, "data_file": DATA, "cluster_bytes": 4096},
    "external, extended": {"external_data": True, "data_file": DATA, "extended_l2": True},
    "raw external": {"external_data": True, "data_file": DATA, "data_file_raw": True},
}


def guest_of(variety: str, *, has_base: bool, can_zero: bool = True) -> Guest:
    """A guest on a new image; the base is shorter than the disk, and has holes."""
    wanted = VARIETIES[variety]
    base = None
    if has_base and not wanted.get("data_file_raw"):
        base = bytes(2**14) + bytes(range(1, 251)) * 700 + bytes(2**14) + b"\x77" * 50_000
        wanted = wanted | {"backing_file": BACKING, "backing_fmt": "raw"}
        base = base[: len(base) // 512 * 512]
    return guest_with(
        NewImage(size_bytes=SIZE, **wanted),
        base=base,
        can_zero=can_zero,
        lazy_refcounts=bool(wanted.get("lazy_refcounts")),
    )


_places = st.one_of(
    st.integers(0, SIZE),
    st.builds(
        lambda at, by: max(0, at * 4096 + by), st.integers(0, SIZE // 4096), st.integers(-1, 1)
    ),
)
_lengths = st.one_of(
    st.integers(1, 300),
    st.sampled_from([512, 4096, 2**14, 2**16, 2**17]),
    st.integers(1, 3 * 2**16),
)
_steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "zero", "trim", "flush", "reopen", "verify"]),
        _places,
        _lengths,
        st.integers(0, 7),
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=14,
)


def run(guest: Guest, step: tuple[str, int, int, int, int]) -> None:
    """One step, cut to the disk."""
    kind, offset, length, bits, seed = step
    length = min(length, len(guest.model) - offset)
    fua = FLAG_FUA if bits & 1 else 0
    if kind == "flush":
        guest.writer.flush()
    elif kind == "reopen":
        guest.reopen()
    elif kind == "verify":
        guest.verify()
    elif length <= 0:
        return
    elif kind == "write":
        data = bytes([seed]) * length if bits & 2 else (bytes(range(seed)) * length)[:length]
        guest.write(data, offset, fua)
    elif kind == "zero":
        may = FLAG_MAY_TRIM if bits & 2 else 0
        guest.zero(length, offset, fua | may | (FLAG_FAST_ZERO if bits & 4 else 0))
    else:
        guest.trim(length, offset, fua)


@pytest.mark.parametrize("has_base", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize("variety", VARIETIES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=_steps, bits=st.integers(0, 1))
def test_what_is_written_is_read(
    tmp_path: Path, variety: str, *, has_base: bool, steps: list[Any], bits: int
) -> None:
    """Any sequence leaves what a plain array of bytes has, and an image without a fault or leak."""
    guest = guest_of(variety, has_base=has_base, can_zero=bool(bits))
    for step in steps:
        run(guest, step)
    guest.verify()
    guest.reopen()
    guest.verify()
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)


def test_events_by_qemu_s_names() -> None:
    """What blkdebug can act on is told before it is done, on the long way."""
    base = b"b" * SIZE
    guest = guest_with(
        NewImage(size_bytes=SIZE, cluster_bytes=4096, backing_file=BACKING, backing_fmt="raw"),
        base=base,
    )
    heard: list[str] = []
    guest.disk.debug_event = heard.append  # type: ignore[assignment]

    def told() -> list[str]:
        found = [name for name in heard if not name.startswith("ref")]
        heard.clear()
        return found

    guest.writer.write(memoryview(b"1"), 0, 0)
    copied = ["cow_read", "read_backing_aio"]
    assert told() == [
        "cluster_alloc",
        "l1_update",
        "cluster_alloc",
        *copied,
        "cow_write",
        "write_aio",
    ]
    guest.writer.write(memoryview(b"2"), 0, 0)
    assert told() == ["write_aio"]
    guest.writer.flush()
    assert told() == ["flush_to_os", "l2_update"]
    guest.writer.trim(4096, 0, 0)
    assert told() == ["l2_update"]
    guest.writer.flush()
    assert told() == ["flush_to_os", "cluster_free"]


@pytest.mark.parametrize("cluster_bytes", [512, 2**16])
def test_what_is_given_up_does_not_show_the_base(cluster_bytes: int) -> None:
    """As in QEMU: also where no table was there yet, in images of version 3."""
    guest = guest_with(
        NewImage(
            size_bytes=2**18,
            cluster_bytes=cluster_bytes,
            backing_file=BACKING,
            backing_fmt="raw",
        ),
        base=b"b" * 2**18,
    )
    guest.trim(2**17, 2**16)
    assert guest.read(2**18) == b"b" * 2**16 + bytes(2**17) + b"b" * 2**16
