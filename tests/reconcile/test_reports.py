"""What is said of an edit: the file, the plan, and what is switched off."""

from pathlib import Path

from blkrun.config import load
from blkrun.reconcile.reports import about

FILE = """
[throttle-groups.g]
iops-total = 5

[backends.disk]
driver = "memory"
size = "1MiB"

[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "disk"
enabled = false

[exports.vda]
node = "limit"
"""


def test_nodes_that_are_off_are_told_with_their_drivers(tmp_path: Path) -> None:
    """They are in no graph, and a dashboard offers to switch them on."""
    file = tmp_path / "vm.toml"
    file.write_text(FILE)
    assert about(load(file), ())["disabled"] == {"limit": "throttle"}
    file.write_text(FILE.replace("enabled = false\n", ""))
    assert "disabled" not in about(load(file), ())
