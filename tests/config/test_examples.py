"""The files in examples/: short, right, and one for every driver and every job."""

import tomllib
from pathlib import Path

import pytest

from blkrun import config
from blkrun.job_options import JOBS, CopyOptions, JobOptions
from blkrun.options import DRIVERS, BitmapOptions, FileOptions

FILES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
PARTS = sorted(file for main in FILES for file in config.read(main).texts if file != main)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_example_loads(file: Path) -> None:
    """Each can be used as it is, is at most 40 lines below the schema's, and serves something."""
    assert config.load(file).graph.exports
    assert len(file.read_text().splitlines()[1:]) <= 40


@pytest.mark.parametrize("file", PARTS, ids=lambda path: path.name)
def test_included_file(file: Path) -> None:
    """Short too, and it adds an export."""
    text = file.read_text()
    assert len(text.splitlines()[1:]) <= 40
    assert tomllib.loads(text)["exports"]


def test_every_file_below_is_included() -> None:
    """None is left over, but what is no configuration: the dashboard's own files."""
    below = {*FILES[0].parent.glob("*/*.toml")} - {FILES[0].parent / "dashboard" / "settings.toml"}
    assert sorted(below) == PARTS


def test_tenants_are_in_files_of_their_own() -> None:
    """Each table's place is the file that it is in, and paths start from there."""
    main = FILES[0].parent / "tenants.toml"
    loaded = config.load(main)
    assert {loaded.shown(at.file) for at in loaded.places.values()} == {
        "tenants.toml",
        "tenants/anna.toml",
        "tenants/ben.toml",
    }
    image = loaded.graph.nodes["ben"]
    assert isinstance(image, FileOptions)
    assert Path(image.path) == main.with_name("tenants") / "ben.img"


def test_every_driver_has_an_example() -> None:
    """A driver that is added brings an example with it."""
    used = {
        node.__struct_config__.tag
        for file in FILES
        for node in config.load(file).graph.nodes.values()
    }
    assert used == set(DRIVERS)


@pytest.mark.parametrize("job", JOBS)
def test_every_key_of_a_job_has_an_example(job: str) -> None:
    """So that nobody has to guess what a value looks like; and one of each type is switched on."""
    tables = [
        table
        for file in FILES
        for table in tomllib.loads(file.read_text()).get("jobs", {}).values()
        if table["type"] == job
    ]
    shown = {key for file in FILES for key in _job_keys(file)}
    shared = {*JobOptions.__struct_encode_fields__, *CopyOptions.__struct_encode_fields__}
    own = {*JOBS[job].__struct_encode_fields__} - shared
    assert own <= {key for table in tables for key in table}
    assert {*shared, "type", "enabled"} - {"job-id"} <= shown
    assert any(table.get("enabled", True) for table in tables)


def test_every_key_of_a_bitmap_has_an_example() -> None:
    """And a job uses it."""
    tables = {
        name: (table, document)
        for file in FILES
        for document in [tomllib.loads(file.read_text())]
        for name, table in document.get("bitmaps", {}).items()
    }
    for name, (table, document) in tables.items():
        assert {*BitmapOptions.__struct_encode_fields__} == table.keys()
        assert name in [job.get("bitmap") for job in document["jobs"].values()]
    assert tables


def _job_keys(file: Path) -> set[str]:
    jobs = tomllib.loads(file.read_text()).get("jobs", {})
    return {key for table in jobs.values() for key in table}
