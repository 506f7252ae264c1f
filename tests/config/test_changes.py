"""What people ask of a file by tool, as steps."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blkrun.config import parse
from blkrun.config.changes import insert, limit, remove, set_keys, switch
from blkrun.config.edit import document_in, perform_in
from blkrun.config.sources import Sources
from blkrun.config.steps import Step, as_written
from blkrun.errors import FileError

VM = Path("/lab/vm.toml")
TENANT = Path("/lab/tenants/a.toml")

TEXT = """\
[throttle-groups.slow]
iops-total            = 500      # so slow
iops-total-max        = 1000
iops-total-max-length = "5s"
bps-read              = "1MiB"

[backends.disk]
driver = "memory"

[backends.copy]
driver = "memory"

# Keeps what is overwritten.
[nodes.keep]
driver = "copy-before-write"
file   = "disk"
target = "copy"

[nodes.old]
driver = "snapshot-access"
file   = "keep"

[nodes.limit]
driver         = "throttle"
throttle-group = "slow"
file           = "keep"

[exports.vda]
node = "limit"

[exports.vdb]
node = "limit"

[exports.old]
node      = "old"
read-only = true

[bitmaps.changes]
node = "disk"

[jobs.nightly]
type    = "backup"
device  = "disk"
target  = "copy"
sync    = "bitmap"
bitmap  = "changes"
bitmap-mode = "on-success"
enabled = false
"""
DOCUMENT = tomllib.loads(TEXT)


def after(steps: list[Step], text: str = TEXT) -> dict[str, Any]:
    """What the file says then; it can be used."""
    sources = perform_in(Sources(main=VM, texts={VM: text.encode()}), steps)
    parse(sources)
    return document_in(sources)


def test_inserted_for_all() -> None:
    """Exports and nodes lead to the new node; a job and a bitmap stay where they are."""
    said = after(insert(DOCUMENT, "raw", driver="raw", above="disk"))
    assert said["nodes"]["raw"] == {"driver": "raw", "file": "disk"}
    assert said["nodes"]["keep"]["file"] == "raw"
    assert said["jobs"] == DOCUMENT["jobs"]
    assert said["bitmaps"] == DOCUMENT["bitmaps"]
    said = after(insert(DOCUMENT, "raw", driver="raw", above="limit"))
    assert [said["exports"][name]["node"] for name in ("vda", "vdb")] == ["raw", "raw"]


def test_inserted_over_what_a_snapshot_reads() -> None:
    """What reads the kept data goes on reading it; what reads through the node gets the new one."""
    values = (("throttle-group", as_written("slow")),)
    said = after(insert(DOCUMENT, "new", driver="throttle", above="keep", values=values))
    assert said["nodes"]["old"]["file"] == "keep"
    assert said["nodes"]["limit"]["file"] == "new"


def test_inserted_for_one() -> None:
    """Only that parent leads to it."""
    for below in ("vdb", "exports.vdb"):
        said = after(insert(DOCUMENT, "raw", driver="raw", above="limit", below=below))
        assert [said["exports"][name]["node"] for name in ("vda", "vdb")] == ["limit", "raw"]


def test_a_filter_removed() -> None:
    """What was above has its child."""
    said = after(remove(DOCUMENT, "limit"))
    assert [said["exports"][name]["node"] for name in ("vda", "vdb")] == ["keep", "keep"]
    assert "limit" not in said["nodes"]


def test_insert_and_remove_leave_nothing() -> None:
    """Not a character."""
    sources = Sources(main=VM, texts={VM: TEXT.encode()})
    values = (("write-threshold", as_written("8GiB")),)
    steps = insert(DOCUMENT, "alarm", driver="write-threshold", above="limit", values=values)
    edited = perform_in(sources, steps)
    assert edited != sources
    assert perform_in(edited, remove(document_in(edited), "alarm")) == sources


def test_switched() -> None:
    """Nothing is written if it is so already; a job is switched as a filter is."""
    assert switch(DOCUMENT, "limit", on=True) == []
    off = after(switch(DOCUMENT, "limit", on=False))
    assert off["nodes"]["limit"]["enabled"] is False
    assert switch(DOCUMENT, "nightly", on=True)[0].path == ("jobs", "nightly", "enabled")
    assert switch(DOCUMENT, "nightly", on=False) == []


def test_limits() -> None:
    """Of a group and of an export; without an average its burst and that one's length go too."""
    said = after(limit(DOCUMENT, "slow", ["iops-total=none", "bps-read=10MiB", "bps-write=4KiB"]))
    assert said["throttle-groups"]["slow"] == {"bps-read": "10MiB", "bps-write": "4KiB"}
    said = after(limit(DOCUMENT, "slow", ["iops-total-max=0", "iops-total=700"]))
    assert said["throttle-groups"]["slow"] == {"iops-total": 700, "bps-read": "1MiB"}
    assert after(limit(DOCUMENT, "vda", ["bps-total=1M"]))["exports"]["vda"]["bps-total"] == "1M"


def test_older_names_of_limits() -> None:
    """Both are taken on the command line; the file goes on with the one that it has."""
    text = TEXT.replace("iops-total-max ", "iops_max ").replace("iops-total ", "iops ")
    document = tomllib.loads(text)
    said = after(limit(document, "slow", ["iops-total=700", "bps_wr=5"]), text)
    assert said["throttle-groups"]["slow"] == document["throttle-groups"]["slow"] | {
        "iops": 700,
        "bps-write": 5,
    }
    said = after(limit(document, "slow", ["iops=none"]), text)
    assert said["throttle-groups"]["slow"] == {"bps-read": "1MiB"}


def test_keys_set_and_unset() -> None:
    """Of any table, also of one that is new; names with dots need no quotes."""
    said = after(set_keys(DOCUMENT, [("exports.vda.read-only", "true")], []))
    assert said["exports"]["vda"]["read-only"] is True
    assert after(set_keys(DOCUMENT, [("server.threads", "8")], []))["server"] == {"threads": 8}
    assert "read-only" not in set_keys_of("exports.old", ["exports.old.read-only"])
    text = '[backends."disk.a"]\ndriver = "memory"\n'
    document = tomllib.loads(text)
    said = after(set_keys(document, [("backends.disk.a.size", "1MiB")], []), text)
    assert said["backends"]["disk.a"]["size"] == "1MiB"


def set_keys_of(table: str, unset: list[str]) -> dict[str, Any]:
    """One table without some keys; the file may be wrong then."""
    section, name = table.split(".")
    sources = Sources(main=VM, texts={VM: TEXT.encode()})
    return dict(document_in(perform_in(sources, set_keys(DOCUMENT, [], unset)))[section][name])


REFUSED: dict[str, tuple[Callable[[], list[Step]], str]] = {
    "a backend in use": (
        lambda: remove(DOCUMENT, "disk"),
        r"backends\.disk is in use.*nodes\.keep\.file, bitmaps\.changes\.node, jobs\.nightly",
    ),
    "a filter that a snapshot reads": (
        lambda: remove(DOCUMENT, "keep"),
        r"nodes\.keep is in use.*: nodes\.old\.file$",
    ),
    "a group in use": (
        lambda: remove(DOCUMENT, "throttle-groups.slow"),
        r"in use.*nodes\.limit\.throttle-group",
    ),
    "a bitmap in use": (lambda: remove(DOCUMENT, "bitmaps.changes"), r"jobs\.nightly\.bitmap"),
    "an export without its section": (
        lambda: remove(DOCUMENT, "vda"),
        r'no node or backend "vda"; if you mean the table: exports\.vda',
    ),
    "a typing error": (lambda: remove(DOCUMENT, "limt"), 'did you mean "limit"'),
    "a taken name": (
        lambda: insert(DOCUMENT, "copy", driver="raw", above="disk"),
        r"there is a \[backends\.copy\] already",
    ),
    "a driver that is nothing in between": (
        lambda: insert(DOCUMENT, "new", driver="memory", above="disk"),
        r'no driver that can be put in between "memory"; there is: copy-before-write, copy-on-read',
    ),
    "a parent that leads elsewhere": (
        lambda: insert(DOCUMENT, "new", driver="raw", above="limit", below="old"),
        r'"old" does not lead to "limit"; what does: exports\.vda, exports\.vdb',
    ),
    "a limit that there is not": (
        lambda: limit(DOCUMENT, "slow", ["iops-totl=5"]),
        'no limit "iops-totl"; did you mean "iops-total"',
    ),
    "a group that there is not": (
        lambda: limit(DOCUMENT, "premium", ["iops-total=5"]),
        r"blkrun set FILE throttle-groups\.premium\.iops-total 500 would make one",
    ),
    "no assignment": (lambda: limit(DOCUMENT, "slow", ["5"]), "'5' is not KEY=VALUE"),
    "no key": (lambda: set_keys(DOCUMENT, [("exports.vda", "5")], []), r"no key of a table"),
    "no such table": (lambda: set_keys(DOCUMENT, [("export.a.b", "5")], []), '"exports"'),
    "no key to unset": (
        lambda: set_keys(DOCUMENT, [], ["exports.old.readonly"]),
        r'no key in exports\.old "readonly"; did you mean "read-only"',
    ),
}


@pytest.mark.parametrize(("ask", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_said(ask: Callable[[], list[Step]], words: str) -> None:
    """With the nearest name, or what is in the way."""
    with pytest.raises(FileError, match=words):
        ask()


def test_each_file_has_its_own_edits() -> None:
    """A new table goes to the file of what it is above; edges change where they are written."""
    main = TEXT.replace("[backends.disk]\ndriver", "[server]\nthreads = 2\n\n[backends.x]\ndriver")
    texts = {
        VM: f'include = ["tenants/*.toml"]\n{main}'.encode(),
        TENANT: b'[backends.disk] # of a\ndriver = "memory"\n',
    }
    sources = Sources(main=VM, texts=texts)
    values = (("write-threshold", as_written("8GiB")),)
    steps = insert(
        document_in(sources), "alarm", driver="write-threshold", above="disk", values=values
    )
    edited = perform_in(sources, steps)
    assert edited.texts[TENANT].decode().startswith(texts[TENANT].decode())
    assert "[nodes.alarm]" in edited.texts[TENANT].decode()
    assert tomllib.loads(edited.texts[VM].decode())["nodes"]["keep"]["file"] == "alarm"
    assert perform_in(edited, remove(document_in(edited), "alarm")) == sources
    edited = perform_in(sources, set_keys(document_in(sources), [("server.threads", "8")], []))
    assert edited.texts[TENANT] == texts[TENANT]
    assert b"threads = 8" in edited.texts[VM]
