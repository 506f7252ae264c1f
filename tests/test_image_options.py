"""What options of a qcow2 node cannot be together, as far as a file can tell."""

from typing import Any

import msgspec
import pytest

from blkrun.image_options import check_image_options
from blkrun.node_rules import BrokenRule
from blkrun.options import Qcow2Options

PLAIN = {"driver": "qcow2", "node-name": "image", "file": "disk"}
NEW = {"create": True, "size": 2**30}


def check(**options: Any) -> BrokenRule | None:
    """With options in Python's spelling."""
    wire = {key.replace("_", "-"): value for key, value in options.items()}
    return check_image_options(msgspec.convert(PLAIN | wire, Qcow2Options))


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"cache_size": 1, "l2_cache_size": 1, "refcount_cache_size": 1}, "cache-size", "same"),
        ({"cache_size": 1, "l2_cache_size": 2}, "l2-cache-size", "may not exceed cache-size"),
        ({"cache_size": 1, "refcount_cache_size": 2}, "refcount-cache-size", "may not exceed"),
        ({"create": True}, "size", "'create' needs 'size'"),
        ({"create": True, "backing": None}, "size", "'create' needs 'size'"),
        (NEW | {"size": 1000}, "size", "multiple of 512"),
        (NEW | {"cluster_size": 256}, "cluster-size", "power of two"),
        (NEW | {"cluster_size": 3 * 2**10}, "cluster-size", "power of two"),
        (NEW | {"cluster_size": 2**22}, "cluster-size", "power of two"),
        (NEW | {"refcount_bits": 3}, "refcount-bits", "power of two"),
        (NEW | {"extended_l2": True, "cluster_size": 8192}, "extended-l2", "16384"),
        (NEW | {"data_file_raw": True}, "data-file-raw", "requires data-file"),
        (
            NEW | {"data_file_raw": True, "data_file": "d", "backing": "b"},
            "data-file-raw",
            "Backing file and data-file-raw",
        ),
        (NEW | {"version": "v2", "refcount_bits": 8}, "refcount-bits", "version=v3"),
        (NEW | {"version": "v2", "lazy_refcounts": True}, "lazy-refcounts", "version=v3"),
        (NEW | {"version": "v2", "extended_l2": True}, "extended-l2", "version=v3"),
        (NEW | {"version": "v2", "compression_type": "zstd"}, "compression-type", "version=v3"),
        (NEW | {"version": "v2", "data_file": "d"}, "data-file", "version=v3"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], option: str, message: str) -> None:
    """Told with the option that it is about."""
    found = check(**options)
    assert found is not None
    assert found.option == option
    assert message in found.message


@pytest.mark.parametrize(
    "options",
    [
        {},
        NEW,
        {"create": True, "backing": "base"},
        NEW | {"version": "v2", "cluster_size": 512},
        NEW | {"extended_l2": True, "cluster_size": 16384, "refcount_bits": 1},
        {"cluster_size": 3, "refcount_bits": 3},
        {"cache_size": 2**20, "l2_cache_size": 2**20},
    ],
)
def test_what_can_be(options: dict[str, Any]) -> None:
    """Of an image that is there, what is for new ones does not matter."""
    assert check(**options) is None
