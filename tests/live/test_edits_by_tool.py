"""Each command that edits the file, against a real server with a client at work.

The client checks every byte; the file keeps every comment; the live graph is what the file says.
"""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

from blkrun.cli import Exit
from blkrun.config import parse
from blkrun.reconcile.plan import plan
from tests.live.hammering import Hammer
from tests.live.service import Service

Serve = Callable[[str], Service]

TEXT = """\
# A disk in use.

# What the tenant may have.
[throttle-groups.tenant]    # bought in May
iops-total = 20_000         # enough

[backends.disk]             # the bytes
driver = "memory"
size   = "64MiB"

# What clients see.
[exports.vda]
node = "disk"               # for now

[exports.spare]
node      = "disk"
read-only = true
"""

EDITS = (
    ("insert", "cap", "--driver", "throttle", "--above", "disk", "--set", "throttle-group=tenant"),
    ("limit", "tenant", "iops-total=15k", "bps-read=1GiB"),
    (
        "insert",
        "low",
        "--driver",
        "write-threshold",
        "--above",
        "disk",
        "--set",
        "write-threshold=1G",
    ),
    ("insert", "top", "--driver", "raw", "--above", "cap", "--below", "spare"),
    ("disable", "cap"),
    ("limit", "tenant", "bps-read=none"),
    ("enable", "cap"),
    ("set", "nodes.low.write-threshold", "2GiB", "nodes.low.when-spent", "remove"),
    ("set", "--unset", "nodes.low.when-spent"),
    ("remove", "exports.spare"),
    ("remove", "top"),
    ("remove", "low"),
    ("limit", "tenant", "iops-total=20_000"),
    ("remove", "cap"),
)


def comments(text: str) -> list[str]:
    """Every comment, wherever it stands."""
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


def is_equal(service: Service) -> bool:
    """Whether there is nothing left to do."""
    return plan(service.desired(), service.live()) == ()


def test_every_edit_under_load(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """Each is applied when its command ends; no error, no wrong byte, no comment lost."""
    service = serve(TEXT)
    client = hammer(service.uri())
    client.rate(0.2)
    for command, *words in EDITS:
        done = service.blkrun(command, *words)
        assert done.returncode == Exit.DONE, done.stderr
        assert "applied vm.toml: " in done.stdout
        assert is_equal(service)
        assert set(comments(TEXT)) <= set(comments(service.file.read_text()))
    client.rate(0.2)
    client.assert_unharmed()
    assert service.file.read_text() == TEXT.replace(TEXT[TEXT.index("\n[exports.spare]") :], "")


def test_what_takes_a_disk_waits(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """The file is saved, the client goes on, and it is said how to say yes."""
    service = serve(TEXT)
    client = hammer(service.uri())
    client.rate(0.2)
    done = service.blkrun("remove", "exports.vda")
    assert done.returncode == Exit.PENDING
    assert "vda (1)" in done.stdout
    assert f"what waits is done by: blkrun apply {service.file}" in done.stdout
    assert "vda" not in tomllib.loads(service.file.read_text())["exports"]
    client.rate(0.2)
    client.assert_unharmed()


def test_what_the_server_refuses(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """The message names table and line, the client goes on, and the code says that it failed."""
    service = serve('[runner]\napply = "all"\n' + TEXT)
    client = hammer(service.uri())
    client.rate(0.2)
    done = service.blkrun("set", "backends.disk.size", "32MiB")
    assert done.returncode == Exit.FAILED
    assert "told a size of 67108864 bytes" in done.stderr
    assert "what runs goes on as it was" in done.stderr
    client.rate(0.2)
    client.assert_unharmed()


def test_a_dry_run_changes_nothing(serve: Serve) -> None:
    """Neither file nor graph; the plan is what would be done to what runs."""
    service = serve(TEXT)
    before = service.live()
    done = service.blkrun(*EDITS[0], "--dry-run")
    assert done.returncode == Exit.DONE
    assert "insert cap between export vda and disk" in done.stdout
    assert "no server runs" not in done.stdout
    assert service.file.read_text() == TEXT
    assert service.live() == before


def test_without_a_runner(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """The command applies it itself, and asks as the runner would."""
    service = serve(TEXT)
    client = hammer(service.uri())
    service.kill_runner()
    done = service.blkrun(*EDITS[0])
    assert done.returncode == Exit.DONE, done.stderr
    assert "+ insert cap between export vda and disk" in done.stdout
    assert is_equal(service)
    assert service.graph()["reports"]["config"]["kind"] == "applied"
    assert service.blkrun("remove", "exports.vda").returncode == Exit.PENDING
    assert "vda" in service.live().exports
    service.edit(TEXT)
    refused = service.blkrun("set", "runner.apply", "all", "backends.disk.size", "32MiB")
    assert refused.returncode == Exit.FAILED
    assert "the file is saved so; what runs goes on as it was" in refused.stderr
    assert service.graph()["reports"]["config"]["kind"] == "failed"
    client.rate(0.2)
    client.assert_unharmed()


def test_without_a_server(serve: Serve) -> None:
    """It is written, and that is said."""
    service = serve(TEXT)
    service.blkrun("stop")
    done = service.blkrun("limit", "tenant", "iops-total=5")
    assert done.returncode == Exit.DONE
    assert "saved; nothing is served from it now" in done.stdout
    assert service.blkrun("dump").returncode == Exit.NO_SERVER


def test_for_scripts(serve: Serve) -> None:
    """What came of it, as the runner reported it."""
    service = serve(TEXT)
    done = json.loads(service.blkrun(*EDITS[0], "--json").stdout)
    assert done["outcome"]["kind"] == "applied"
    assert done["outcome"]["digest"] == done["digest"]
    assert [line[0] for line in done["outcome"]["operations"]] == ["+", "+", "+"]


LIVE = TEXT + (
    'iops-total = 500\n\n[backends.copy]\ndriver = "memory"\nsize = "64MiB"\n\n'
    '[nodes.gone]\ndriver = "write-threshold"\nfile = "disk"\nwrite-threshold = "4KiB"\n'
    'when-spent = "remove"\n\n[bitmaps.changes]\nnode = "disk"\n\n'
    '[jobs.nightly]\ntype = "backup"\ndevice = "disk"\ntarget = "copy"\nspeed = "1MiB"\n'
)


def test_dump(serve: Serve, hammer: Callable[..., Hammer], tmp_path: Path) -> None:
    """It asks for nothing, as a file it runs, and what was done by QMP is in it."""
    service = serve(LIVE.replace('node = "disk"               #', 'node = "gone"               #'))
    client = hammer(service.uri())
    with service.qmp() as qmp:
        qmp.wait_event("BLOCK_WRITE_THRESHOLD")
        qmp.do("blockdev-add", driver="null", **{"node-name": "by-hand", "size": 4096})
    done = service.blkrun("dump")
    assert done.returncode == Exit.DONE, done.stderr
    said = tomllib.loads(done.stdout)
    assert said["exports"]["spare"]["iops-total"] == 500
    assert "by-hand" in said["backends"]
    assert "gone" in service.graph()["spent"][0]["node-name"]
    assert plan(parse(done.stdout, service.file).graph, service.live()) == ()
    assert service.blkrun("dump", "--json").stdout.startswith("{")
    service.edit(done.stdout)
    client.rate(0.5)
    assert is_equal(service)
    client.assert_unharmed()


def test_init_and_serve(serve: Serve, tmp_path: Path) -> None:
    """What init writes is served as it is, and takes the edits that its comments name."""
    service = serve(TEXT)
    service.blkrun("stop")
    assert service.runner is not None
    service.runner.wait(timeout=10)
    service.file.unlink()
    assert service.blkrun("init").returncode == Exit.DONE
    assert service.blkrun("init").returncode == Exit.USAGE
    service.start()
    assert list(service.live().exports) == ["disk"]
    assert service.blkrun("limit", "limits", "iops-total=500").returncode == Exit.DONE
    assert service.live().groups["limits"].iops_total == 500


def test_included_files(serve: Serve, hammer: Callable[..., Hammer]) -> None:
    """The table is changed where it is, and the runner of the main file applies it."""
    at = TEXT.index("[backends.disk]")
    service = serve(TEXT)
    tenant = service.file.parent / "tenants" / "a.toml"
    tenant.parent.mkdir()
    tenant.write_text(TEXT[at:])
    main_text = f'include = ["tenants/*.toml"]\n{TEXT[:at]}'
    service.edit_and_wait(main_text)
    client = hammer(service.uri())
    for command, *words in (EDITS[0], EDITS[4], EDITS[6], ("remove", "cap")):
        done = service.blkrun(command, *words)
        assert done.returncode == Exit.DONE, done.stderr
        assert is_equal(service)
        assert service.file.read_text() == main_text
    client.rate(0.2)
    client.assert_unharmed()
    assert tenant.read_text() == TEXT[at:]
