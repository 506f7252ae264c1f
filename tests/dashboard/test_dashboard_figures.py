"""Numbers that are saved: JSON with everything, CSV with one row a thing."""

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.model.figures import COLUMNS, as_csv, as_json
from blkrun.dashboard.model.rates import NOTHING, interval
from blkrun.dashboard.model.snapshot import read_snapshot
from tests.dashboard.dashboard_samples import NASTY_NAMES, lab, node, reply, snapshot


def rows(text: str) -> list[dict[str, str]]:
    """A CSV, read by somebody else's reader."""
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_for_everything() -> None:
    """Export, nodes and group, with the rates between the two looks."""
    before, after = snapshot(lab(1)), snapshot(lab(2, held=14))
    found = {row["name"]: row for row in rows(as_csv(after, interval(before, after)))}
    assert {name: row["kind"] for name, row in found.items()} == {
        "vda": "export",
        "disk": "node",
        "limit": "node",
        "gold": "group",
    }
    assert found["vda"]["reads_per_s"] == "1000.0"
    assert found["gold"]["write_bytes_per_s"] == str(500 * 4096.0)
    assert (found["limit"]["waiting"], found["disk"]["waiting"]) == ("14", "")


def test_what_is_not_known_is_empty() -> None:
    """After a server's start there are no rates yet: that is not 0."""
    found = rows(as_csv(snapshot(lab(1)), NOTHING))
    assert all(row["reads_per_s"] == "" and row["p99_ns"] == "" for row in found)


def test_json_has_the_whole_snapshot() -> None:
    """It can be read back, and says when it was taken."""
    seen = snapshot(lab(2))
    saved = json.loads(as_json(seen, NOTHING, title="lab.toml", taken="2026-11-28T12:00:00+0000"))
    assert read_snapshot(saved["snapshot"]) == seen
    assert (saved["title"], saved["taken"]) == ("lab.toml", "2026-11-28T12:00:00+0000")
    assert {each["name"] for each in saved["figures"]} == {"vda", "disk", "limit", "gold"}


@given(st.lists(st.sampled_from([name for name in NASTY_NAMES if name.isprintable()]), unique=True))
def test_any_name_comes_back(names: list[str]) -> None:
    """Commas, quotes and brackets included."""
    names = [*names, 'a,"b"']
    seen = snapshot(reply(nodes=[node(name, "file") for name in names]))
    found = rows(as_csv(seen, NOTHING))
    assert [row["name"] for row in found] == names
    assert tuple(found[0]) == COLUMNS
