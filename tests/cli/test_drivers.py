"""``blkrun drivers``: every key of everything, from the declarations."""

import json
from pathlib import Path

import pytest
from msgspec import Struct

from blkrun import cli
from blkrun.cli.drivers import lines_of
from blkrun.cli.shipped import example_of
from blkrun.config.catalogue import Entry, catalogue
from blkrun.job_options import JOBS
from blkrun.options import (
    DRIVERS,
    BitmapOptions,
    DashboardOptions,
    ExportOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
)

STRUCTS: dict[str, type[Struct]] = {
    **DRIVERS,
    **JOBS,
    "throttle-groups": ThrottleLimits,
    "exports": ExportOptions,
    "bitmaps": BitmapOptions,
    "server": ServerOptions,
    "runner": RunnerOptions,
    "dashboard": DashboardOptions,
}
ENTRIES = [pytest.param(entry, id=name) for name, entry in catalogue().items()]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints."""
    assert cli.main(["drivers", *words]) == 0
    return capsys.readouterr().out


def test_everything_has_an_entry() -> None:
    """Drivers, jobs and tables do not share a name, and none is left out."""
    assert set(catalogue()) == set(STRUCTS)
    assert len(STRUCTS) == len(DRIVERS) + len(JOBS) + 6


@pytest.mark.parametrize("name", STRUCTS)
def test_every_key_is_shown_with_its_meaning(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each on a line of its own with its type, and below it a description that says something."""
    lines = shown(capsys, name).splitlines()
    for key in set(STRUCTS[name].__struct_encode_fields__) - {"node-name", "job-id"}:
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"  {key}  ")]
        meaning = next(line for line in lines[at + 1 :] if not line.startswith(" " * 8))
        assert meaning.startswith("    ")
        assert len(meaning.strip()) > 8


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_fits_80_columns(entry: Entry) -> None:
    """Whatever the terminal has."""
    assert [line for line in lines_of(entry, "examples/x.toml") if len(line) > 80] == []


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_has_a_sentence_and_an_example(entry: Entry) -> None:
    """The sentence is without markup; the example is one that uses it."""
    assert entry.text.endswith(".")
    assert not {"`", "[", "\n"} & set(entry.text)
    example = example_of(entry.name, entry.kind)
    assert example is not None
    assert entry.name in example.read_text()


def test_an_example_named_like_the_driver_is_preferred() -> None:
    """It is about nothing else."""
    assert [example_of(name, "backend") for name in ("null", "memory")] == [
        Path(cli.__file__).parents[2] / "examples" / f"{name}.toml" for name in ("null", "memory")
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("memory", '  size  bytes, default "1GiB"'),
        ("file", "  path  string, required"),
        ("file", '  discard  "ignore" | "unmap", default "unmap", live'),
        ("nbd", "  connections  integer from 1 to 64, default 4"),
        ("nbd", "  command  list of strings, optional"),
        ("throttle", "  file  string, required, live"),
        ("throttle", "  enabled  boolean, default true, live"),
        ("copy-before-write", "  target  string, required"),
        ("copy-before-write", "  bitmap  table, optional"),
        ("copy-before-write", "      name: the bitmap's name"),
        ("throttle-groups", "  iops-total-max-length  seconds, default 1, live"),
        ("mirror", '  when-ready  "wait" | "pivot", default "wait", live'),
        ("exports", "  node  string, required, live"),
        ("dashboard", '  refresh  time from 200ms to 5s, default "500ms"'),
        ("raw", "A change of anything else: a new node is put in the old one's place."),
        ("server", "A change: in force when the server is started anew."),
    ],
)
def test_how_a_key_is_shown(name: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Type, range, default, and whether an edit changes it in place."""
    assert line in shown(capsys, name).splitlines()


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A row each into a pipe, with table, kind and sentence."""
    rows = shown(capsys).splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(catalogue())
    (row,) = [row for row in rows if row.startswith("raw ")]
    assert row.split(maxsplit=3)[1:3] == ["nodes", "format"]
    assert row.rstrip().endswith(catalogue()["raw"].text)


def test_a_table_lists_what_can_be_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """``blkrun drivers jobs`` and the like."""
    rows = shown(capsys, "jobs").splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(JOBS)


def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """One object with a name, all of them without."""
    row = json.loads(shown(capsys, "throttle", "--json"))
    assert (row["kind"], row["table"]) == ("filter", "nodes.NAME")
    assert row["example"].endswith("quickstart.toml")
    (group,) = [option for option in row["options"] if option["name"] == "throttle-group"]
    assert group["required"]
    assert group["live"]
    assert [each["name"] for each in json.loads(shown(capsys, "--json"))] == list(catalogue())


@pytest.mark.parametrize(("name", "meant"), [("throtle", "throttle"), ("node", "nodes")])
def test_the_nearest_name(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name is wrong usage, and the nearest is offered."""
    assert cli.main(["drivers", name]) == cli.Exit.USAGE
    assert f'did you mean "{meant}"?' in capsys.readouterr().err


def test_no_name_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    """Then where to look is."""
    assert cli.main(["drivers", "zzz"]) == cli.Exit.USAGE
    assert "blkrun drivers lists what there is" in capsys.readouterr().err
