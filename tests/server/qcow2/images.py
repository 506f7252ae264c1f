"""Images as qemu-img makes them: the varieties that the driver is tried on, and the tools."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.tools import require_tool

CLUSTER_SIZES = [512, 1024, 4096, 16384, 65536, 2**20, 2 * 2**20]
REFCOUNT_BITS = [1, 2, 4, 8, 16, 32, 64]


@dataclass(frozen=True)
class Variety:
    """Options of ``qemu-img create``."""

    options: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 3 * 2**20 + 7 * 512

    def option_list(self) -> str:
        """As ``-o`` takes them."""
        return ",".join(f"{key}={value}" for key, value in self.options.items())


VARIETIES = {
    "plain": Variety(),
    "v2": Variety({"compat": "0.10"}),
    "v2-512": Variety({"compat": "0.10", "cluster_size": "512"}),
    **{f"cluster-{size}": Variety({"cluster_size": str(size)}) for size in CLUSTER_SIZES},
    **{f"refcount-{bits}": Variety({"refcount_bits": str(bits)}) for bits in REFCOUNT_BITS},
    "lazy": Variety({"lazy_refcounts": "on"}),
    "extended": Variety({"extended_l2": "on"}),
    "extended-16k": Variety({"extended_l2": "on", "cluster_size": "16k"}),
    "extended-2M": Variety({"extended_l2": "on", "cluster_size": "2M"}),
    "zstd": Variety({"compression_type": "zstd"}),
    "metadata": Variety({"preallocation": "metadata"}),
    "large": Variety(size_bytes=2**50),
    "empty": Variety(size_bytes=0),
}


def qemu_img(*words: str | Path) -> str:
    """Run it; what it prints."""
    command = [require_tool("qemu-img"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def qemu_io(image: Path, *commands: str, options: Sequence[str] = ()) -> None:
    """Have qemu-io do something to an image; patterns read are verified."""
    words = [word for each in commands for word in ("-c", each)]
    command = [require_tool("qemu-io"), *(options or ("-f", "qcow2")), *words, str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert "failed" not in done.stdout, done.stdout


def create(path: Path, variety: Variety, *words: str) -> Path:
    """A new image."""
    options = ["-o", variety.option_list()] if variety.options else []
    qemu_img("create", "-q", "-f", "qcow2", *options, *words, path, str(variety.size_bytes))
    return path


def info(path: Path) -> dict[str, Any]:
    """``qemu-img info``."""
    found = json.loads(qemu_img("info", "--output=json", "-f", "qcow2", path))
    assert isinstance(found, dict)
    return found
