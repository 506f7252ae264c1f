"""Power goes off at any instant: the image has leaks at worst, and what was flushed is there."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blkrun.server.qcow2.create import NewImage
from tests.server.qcow2.crash import Diary, Loss
from tests.server.qcow2.guest import BACKING, guest_with

CLUSTERS = 40

VARIETIES: dict[str, dict[str, Any]] = {
    "small": {"cluster_bytes": 512},
    "64 bits": {"cluster_bytes": 512, "refcount_bits": 64},
    "4 KiB": {"cluster_bytes": 4096},
    "version 2": {"cluster_bytes": 512, "version": 2},
    "extended": {"cluster_bytes": 2**14, "extended_l2": True},
}


def diary_of(variety: str, *, has_base: bool, can_zero: bool) -> Diary:
    """Of a guest whose image is empty, or over a base without a zero in it."""
    wanted = VARIETIES[variety]
    size = CLUSTERS * wanted["cluster_bytes"]
    base = None
    if has_base:
        base = (bytes(range(1, 252)) * (size // 251 + 1))[: size - 512]
        wanted = wanted | {"backing_file": BACKING, "backing_fmt": "raw"}
    guest = guest_with(NewImage(size_bytes=size, **wanted), base=base, can_zero=can_zero)
    return Diary(guest)


def act_at_random(diary: Diary, chance: random.Random, count: int) -> None:
    """What guests do, more or less aligned."""
    size = len(diary.initial)
    cluster = size // CLUSTERS
    for _ in range(count):
        kind = chance.choice(["write"] * 5 + ["zero", "trim", "trim", "flush", "flush", "reopen"])
        unit = chance.choice([1, 512, cluster, cluster])
        offset = chance.randrange(size) // unit * unit
        length = min(chance.choice([unit, 3 * unit, 2 * cluster]), size - offset)
        value = chance.randrange(1, 256)
        data = bytes([value, value ^ 1 or 7]) * (length // 2 + 1)
        diary.act(kind, offset, data[:length] if kind in ("write", "zero", "trim") else b"")


@pytest.fixture(autouse=True)
def _base_beside(tmp_path: Path) -> None:
    (tmp_path / BACKING).write_bytes(b"")


@pytest.mark.parametrize("has_base", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize("variety", VARIETIES)
def test_cut_at_every_boundary(tmp_path: Path, variety: str, *, has_base: bool) -> None:
    """All of the log up to there, and only what was flushed of it."""
    diary = diary_of(variety, has_base=has_base, can_zero=not has_base)
    act_at_random(diary, random.Random(f"{variety} {has_base}"), 14)
    for cut in range(len(diary.guest.disk.log) + 1):
        diary.judge(cut, Loss(), tmp_path)
        diary.judge(cut, Loss(lost_percent=100), tmp_path)


@pytest.mark.parametrize("has_base", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize("variety", VARIETIES)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), seed=st.integers(0, 2**32), bits=st.integers(0, 3))
def test_writes_are_lost_and_torn(
    tmp_path: Path, variety: str, data: st.DataObject, seed: int, bits: int, *, has_base: bool
) -> None:
    """Any of what was written since the last flush, by writes or by sectors."""
    diary = diary_of(variety, has_base=has_base, can_zero=bool(bits & 1))
    act_at_random(diary, random.Random(seed), 20)
    for _ in range(6):
        cut = data.draw(st.integers(0, len(diary.guest.disk.log)))
        loss = Loss(
            data.draw(st.integers(0, 99)), data.draw(st.sampled_from([20, 50, 90])), bool(bits & 2)
        )
        diary.judge(cut, loss, tmp_path)
