"""``--help``: it fits a terminal, every command has examples, and they are right."""

import re
import shlex
from importlib import import_module

import pytest

from blkrun import cli


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The help of a command, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def examples_of(command: str) -> list[list[str]]:
    """Their words, as a shell would pass them; what follows two spaces is why."""
    typed = [
        re.split("  | [|>] ", line.strip())[0]
        for line in import_module(f"blkrun.cli.{command}").EXAMPLES.splitlines()
    ]
    return [shlex.split(line)[1:] for line in typed if line.startswith("blkrun ")]


@pytest.mark.parametrize("command", [None, *cli.COMMANDS])
def test_help_fits_80_columns(
    command: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider, in the overview and in each command's own."""
    text = shown(capsys, monkeypatch, *([command] if command else []))
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_names_are_not_broken_at_their_hyphens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver's name can be copied from the help, wherever a line ends."""
    text = shown(capsys, monkeypatch, "insert")
    assert "copy-before-write" in text
    assert not re.search(r"[a-z]-$", text, re.MULTILINE)


def test_overview_lists_every_command_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the heading of its group, with its line; exit codes come last."""
    text = shown(capsys, monkeypatch)
    sections = dict(re.findall(r"^(\S.*):\n((?:  .*\n)+)", text, re.MULTILINE))
    for name, (group, line) in cli.COMMANDS.items():
        assert len(re.findall(rf"^  {name} ", text, re.MULTILINE)) == 1
        assert re.search(
            rf"^  {name} +{re.escape(line)}$", sections[cli.GROUPS[group]], re.MULTILINE
        )
    for code, meaning in cli.EXIT_CODES.items():
        assert re.search(
            rf"^  {code.value} +{re.escape(meaning)}$", sections["exit codes"], re.MULTILINE
        )
    assert set(cli.EXIT_CODES) == set(cli.Exit)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_examples_that_it_takes(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example is shown, is about this command, and is understood as it is written."""
    text = shown(capsys, monkeypatch, command)
    typed = examples_of(command)
    assert "examples:" in text
    assert command in [words[0] for words in typed]
    for words in typed:
        assert cli._parser(words).parse_args(words).command == words[0]


def test_files_are_shown_in_capitals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is to be replaced by something of yours."""
    assert re.search(
        r"^usage: blkrun plan .* FILE$", shown(capsys, monkeypatch, "plan"), re.MULTILINE
    )


def test_a_mistyped_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest one is named, and it is wrong usage."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["pln", "vm.toml"])
    assert ended.value.code == cli.Exit.USAGE
    assert 'unknown command "pln", did you mean "plan"?' in capsys.readouterr().err
