"""``blkrun completion``: real shells, at a terminal of their own, complete what is typed."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blkrun.cli import COMMANDS
from blkrun.cli.completing import files

pytestmark = pytest.mark.live

BIN = Path(sys.executable).parent

FILE = """
[throttle-groups.tenant]
iops-total = 100
[backends.disk]
driver = "null"
[exports.vda]
node = "disk"
"""

SHELLS = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], 'eval "$(blkrun completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(blkrun completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "blkrun completion fish | source"),
}


def needs(shell: str) -> None:
    """Not everybody has every shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to complete: a file of ours, and others that are not."""
    (tmp_path / "vm.toml").write_text(FILE)
    (tmp_path / "vm.txt").touch()
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "a.toml").write_text(FILE)
    return tmp_path


class Terminal:
    """A shell at a pseudo-terminal, typed to and read from."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._main, other = pty.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=other,
            stdout=other,
            stderr=other,
            cwd=folder,
            env={
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "HOME": str(folder),
                "TERM": "xterm",
                "LC_ALL": "C.UTF-8",
                "COLUMNS": "200",
            },
        )
        os.close(other)
        self.seen = ""

    def type(self, keys: str) -> None:
        """As fast as a terminal takes it."""
        os.write(self._main, keys.encode())

    def wait_for(self, pattern: str) -> None:
        """Until the shell, or what it ran, has written this."""
        deadline = time.monotonic() + 30
        while not re.search(pattern, self.seen):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._main], [], [], max(left, 0))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self._main, 65536).decode())

    def close(self) -> None:
        """The shell and its terminal."""
        self._process.kill()
        self._process.wait()
        os.close(self._main)


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, folder: Path) -> Iterator[Terminal]:
    """Each shell there is, with the script read."""
    needs(request.param)
    command, script = SHELLS[request.param]
    opened = Terminal(command, folder)
    try:
        opened.type(f"{script}; echo rea''dy\r")
        opened.wait_for("ready\r?\n")
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        pytest.param("blkrun pla\t--help\r", "usage: blkrun plan", id="command"),
        pytest.param("blkrun drivers --js\tnull\r", '"kind": "backend"', id="option"),
        pytest.param("blkrun drivers copy-b\t\r", "copy-before-write: a filter", id="driver"),
        pytest.param("blkrun check vm\t\r", "vm.toml: ok", id="file"),
        pytest.param("blkrun check ten\ta\t\r", "tenants/a.toml: ok", id="file in a folder"),
        pytest.param("blkrun completion fi\t\r", "complete --command blkrun", id="choice"),
    ],
)
def test_tab_completes(terminal: Terminal, keys: str, answer: str) -> None:
    """What was begun is finished at TAB, and what is then run answers to the whole word."""
    terminal.type(keys)
    terminal.wait_for(re.escape(answer))


def asked(folder: Path, line: str) -> list[str]:
    """What blkrun answers a shell, as argcomplete's scripts ask."""
    done = subprocess.run(
        ["bash", "-c", "blkrun 8>&1 1>/dev/null 2>&1"],
        cwd=folder,
        env={
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_every_command_is_offered(folder: Path) -> None:
    """From nothing at all; options come once a dash is there."""
    assert sorted(asked(folder, "blkrun ")) == sorted(COMMANDS)
    assert set(asked(folder, "blkrun --")) == {"--help", "--version"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("blkrun plan --", ["--exit-code", "--help", "--json"]),
        ("blkrun plan vm.toml --ex", ["--exit-code"]),
        ("blkrun plan ", ["tenants/", "vm.toml"]),
        ("blkrun plan tenants/", ["tenants/a.toml"]),
        ("blkrun plan nowhere/", []),
        ("blkrun drivers thr", ["throttle", "throttle-groups"]),
        ("blkrun ps ", []),
        ("blkrun insert vm.toml x --driver thr", ["throttle"]),
        ("blkrun insert vm.toml x --above ", ["disk"]),
        ("blkrun insert vm.toml x --driver throttle --set th", ["throttle-group="]),
        ("blkrun limit vm.toml ", ["tenant", "vda"]),
        ("blkrun limit vm.toml tenant iops-s", ["iops-size="]),
        ("blkrun remove vm.toml d", ["disk"]),
        ("blkrun set vm.toml exp", ["exports.vda.node"]),
        ("blkrun init --example fle", ["fleecing"]),
        ("blkrun init --image vm.tx", ["vm.txt"]),
    ],
)
def test_what_is_offered(folder: Path, line: str, words: list[str]) -> None:
    """Nothing that would be wrong there: no other files, no options unasked."""
    assert sorted(asked(folder, line)) == words


def test_files_are_found_where_they_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, absolute or from home, and as they were begun; hidden ones when asked for."""
    (folder / ".old.toml").touch()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder / "tenants")
    assert files("../v", ".toml") == ["../vm.toml"]
    assert files("~/v", ".toml") == ["~/vm.toml"]
    assert files(f"{folder}/t", ".toml") == [f"{folder}/tenants/"]
    assert files("../.o", ".toml") == ["../.old.toml"]
    assert files("../vm.", "") == ["../vm.toml", "../vm.txt"]
    assert files("../", ".toml") == ["../tenants/", "../vm.toml"]
