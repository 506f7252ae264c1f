"""The images of a run."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.qcow2.cache_sizes import MOST_L2_BYTES
from tests.bench import place
from tests.bench.place import (
    CLUSTER_BYTES,
    EMPTY_BYTES,
    EMPTY_QCOW2,
    QCOW2,
    BenchError,
    Place,
    Room,
)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose full images are of 4 MiB."""
    monkeypatch.setattr(place, "SIZE_BYTES", 4 * 2**20)
    return Place(tmp_path)


def asked(room: Room, question: str) -> Any:
    """What qemu-img says of a room's image."""
    command = ["qemu-img", question, "--output=json", "-f", "qcow2", str(room.image)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_a_full_image_is_data_from_beginning_to_end(small: Place) -> None:
    """Or a read of it would be answered without the file."""
    room = small.room("full", QCOW2)
    assert asked(room, "info")["cluster-size"] == CLUSTER_BYTES
    extents = asked(room, "map")
    assert all(one["data"] and not one["zero"] for one in extents)
    assert sum(one["length"] for one in extents) == 4 * 2**20


def test_an_empty_image_has_nothing(small: Place) -> None:
    """And is of a size that small files do not reach."""
    room = small.room("empty", EMPTY_QCOW2)
    about = asked(room, "info")
    assert (about["virtual-size"], about["cluster-size"]) == (EMPTY_BYTES, CLUSTER_BYTES)
    assert not any(one["data"] for one in asked(room, "map"))
    assert room.image.stat().st_size < 2**20


def test_rooms_have_images_of_their_own(small: Place) -> None:
    """The same to the byte, and none is another's file."""
    first, second = (small.room(name, QCOW2).image for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert not first.samefile(second)


def test_the_default_caches_cover_the_empty_image() -> None:
    """Its L2 tables are exactly what both sides hold where nobody says more: 32 MiB."""
    tables = EMPTY_BYTES // CLUSTER_BYTES * 8
    assert tables == MOST_L2_BYTES


def test_what_qemu_img_says_is_told(small: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a server that finds no image."""
    monkeypatch.setattr(place, "_OPTIONS", ("-o", "cluster_size=3"))
    with pytest.raises(BenchError, match=r"qemu-img create failed: .*[Cc]luster size"):
        small.room("empty", EMPTY_QCOW2)
