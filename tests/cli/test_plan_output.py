"""What ``plan`` and ``apply`` print: operations, whom they hurt, and what becomes of them."""

from pathlib import Path

import pytest

from blkrun.cli.output import print_proposal
from blkrun.config import parse
from blkrun.model import Config
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.proposal import Proposal

SET = Operation("qom-set", {}, "~", "throttle group g: iops-total 1 → 2", "throttle-groups.g")
GONE = Operation("block-export-del", {"id": "vdb"}, "-", "export vdb", "exports.vdb")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of a file in the working directory."""
    monkeypatch.chdir(tmp_path)
    return parse('[backends.b]\ndriver = "null"\n', tmp_path / "my vm.toml")


@pytest.fixture
def shown(config: Config, capsys: pytest.CaptureFixture[str]) -> "Shown":
    """What is printed, by lines."""
    return Shown(config, capsys)


class Shown:
    """Print a proposal, and read it again."""

    def __init__(self, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys

    def __call__(
        self, proposal: Proposal, *, running: bool = True, offer: bool = True
    ) -> list[str]:
        """Its lines."""
        print_proposal(proposal, self._config, running=running, offer=offer)
        return self._capsys.readouterr().out.splitlines()


def test_a_plan_that_hurts_nobody(shown: Shown) -> None:
    """Operations with old and new values, who is connected, and how to apply it."""
    assert shown(Proposal((SET,), {}, {"vda": 2, "vdb": 1}, None, {"vdc": 0})) == [
        "  ~ throttle group g: iops-total 1 → 2  qom-set",
        "1 operation in one transaction: ~1",
        "export vda, 2 connected clients: changes, and nobody waits",
        "export vdb, 1 connected client: changes, and nobody waits",
        "export vdc, nobody connected: its requests wait while it is done",
        "do it with: blkrun apply 'my vm.toml'",
    ]


def test_a_plan_that_waits_for_a_yes(shown: Shown) -> None:
    """Why, and that --yes is needed where nobody can be asked."""
    waits = Proposal((GONE, SET), {"vdb": 1}, {"vdb": 1}, "it takes a disk", {"vdb": 1})
    assert shown(waits)[1:] == [
        "  ~ throttle group g: iops-total 1 → 2  qom-set",
        "2 operations in one transaction: ~1 -1",
        "export vdb, 1 connected client: taken from them; its requests wait while it is done",
        "waits for a yes: it takes a disk",
        "do it with: blkrun apply 'my vm.toml' --yes",
    ]
    assert shown(waits, offer=False)[-1] == "waits for a yes: it takes a disk"


def test_what_is_refused_is_not_offered(shown: Shown) -> None:
    """The reason with its place, and no command."""
    lines = shown(Proposal((SET,), {}, {}, "it would wait", {}, "vm.toml:3: [nodes.n] no"))
    assert lines[-1] == "refused, nothing would be changed: vm.toml:3: [nodes.n] no"
    assert not any("apply" in line or "waits" in line for line in lines)


def test_without_a_server(shown: Shown) -> None:
    """The plan of a start, and what starts it; nobody was asked, nobody waits."""
    lines = shown(Proposal((SET,), {}, {}, "it would wait"), running=False)
    assert lines[0] == "no server runs: this is what starting it would do"
    assert lines[2:] == [
        "1 operation in one transaction: ~1",
        "do it with: blkrun run 'my vm.toml'",
    ]


def test_what_an_older_server_does_not_tell(shown: Shown) -> None:
    """It is said that it is not known."""
    lines = shown(Proposal((SET,), {}, {}, None))
    assert "whose requests wait is not known: an older blkrun has started the server" in lines


def test_nothing_to_do(shown: Shown) -> None:
    """One line."""
    assert shown(Proposal((), {}, {}, None)) == ["nothing to do: the server is as the file says"]


@pytest.mark.parametrize("no_color", [False, True])
def test_colours(
    config: Config,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    no_color: bool,
) -> None:
    """On a terminal, and not where NO_COLOR is set."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    print_proposal(Proposal((GONE,), {"vdb": 1}, {}, None), config)
    red = "\x1b[31m" in capsys.readouterr().out
    assert red != no_color
