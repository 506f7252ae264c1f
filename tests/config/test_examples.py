"""The files in examples/: short, right, and one for every driver."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.options import DRIVERS

FILES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_example_loads(file: Path) -> None:
    """Each can be used as it is, is at most 40 lines, and serves something."""
    assert config.load(file).graph.exports
    assert len(file.read_text().splitlines()) <= 40


def test_every_driver_has_an_example() -> None:
    """A driver that is added brings an example with it."""
    used = {
        node.__struct_config__.tag
        for file in FILES
        for node in config.load(file).graph.nodes.values()
    }
    assert used == set(DRIVERS)
