"""What leaves the dashboard's screen, in a real terminal: the user's editor, and the clipboard."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.service import THROTTLED, Service, wait_for
from tests.live.tmux import Tmux

Serve = Callable[[str], Service]

EDITOR = """\
#!/bin/sh
# As vi is called: options first, the file last.
echo "$@" > "{noted}"
printf 'THE EDITOR HAS THE TERMINAL'
read -r answer
for file; do :; done
sed -i 's/^iops-total = .*/iops-total = 4321/' "$file"
exit $answer
"""


@pytest.mark.parametrize("variable", ["EDITOR", "VISUAL"])
def test_the_file_in_the_users_editor(serve: Serve, tmp_path: Path, variable: str) -> None:
    """With its arguments, at the selected table; what it saves is applied, and the panels are back.

    ``VISUAL`` comes first.
    """
    service = serve(THROTTLED)
    noted, editor = tmp_path / "noted", tmp_path / "vi"
    editor.write_text(EDITOR.format(noted=noted))
    editor.chmod(0o755)
    environ = {"EDITOR": "false", variable: f"{editor} --option 'two words'"}
    with Tmux(tmp_path, "attach", str(service.file), environ=environ) as terminal:
        terminal.wait_for("RUN", "limit")
        terminal.press("j", "e")
        screen = terminal.wait_for("THE EDITOR HAS THE TERMINAL")
        assert "Events" not in screen
        line = 1 + service.file.read_text().splitlines().index("[nodes.limit]")
        wait_for(noted.exists, "the editor to be called")
        assert noted.read_text() == f"--option two words +{line} {service.file}\n"
        terminal.type("0\r")
        terminal.wait_for("RUN", "Events", "4321")
        wait_for(lambda: service.live().groups["g"].iops_total == 4321, "the edit to be applied")
        noted.unlink()
        terminal.press("e")
        wait_for(noted.exists, "the editor to be called again")  # its first words are there still
        terminal.type("3\r")
        terminal.wait_for("Events", "vi ended with 3")


def test_an_editor_that_is_not_there(serve: Serve, tmp_path: Path) -> None:
    """Is told, with what to set, and the panels are there."""
    service = serve(THROTTLED)
    environ = {"EDITOR": "/nowhere/ed"}
    with Tmux(tmp_path, "attach", str(service.file), environ=environ) as terminal:
        terminal.wait_for("RUN", "limit")
        terminal.press("e")
        terminal.wait_for("/nowhere/ed cannot be run", "set EDITOR", "Events")


def copy_a_table(terminal: Tmux) -> None:
    """Of the limit; the terminal has it."""
    terminal.set_option("set-clipboard", "on")
    terminal.wait_for("RUN", "limit")
    terminal.press("j", "y")
    terminal.wait_for("copied limit as TOML")
    wait_for(lambda: "[nodes.limit]" in terminal.copied, "the clipboard to have it")


def test_what_is_copied_is_in_the_clipboard(serve: Serve, tmp_path: Path) -> None:
    """Of a terminal that takes OSC 52: tmux is one."""
    service = serve(THROTTLED)
    with Tmux(tmp_path, "attach", str(service.file)) as terminal:
        copy_a_table(terminal)


def test_what_is_copied_gets_through_a_tmux(serve: Serve, tmp_path: Path) -> None:
    """That keeps clipboards to itself, and lets wrapped sequences through."""
    service = serve(THROTTLED)
    config, inner = tmp_path / "tmux.conf", tmp_path / "inner.sock"
    config.write_text("set -s set-clipboard off\nset -g allow-passthrough on\n")
    around = ("env", "-u", "TMUX", "tmux", "-S", str(inner), "-f", str(config), "new-session")
    with Tmux(tmp_path, "attach", str(service.file), around=around) as terminal:
        try:
            copy_a_table(terminal)
        finally:
            subprocess.run(["tmux", "-S", str(inner), "kill-server"], check=True, timeout=20)
