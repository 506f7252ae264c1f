"""How diagnostics look."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.errors import FileError

FILE = Path("lab.toml")


def rendered(text: str | bytes) -> str:
    """Every diagnostic of a text, without colours."""
    source = text.encode() if isinstance(text, str) else text
    return config.render(config.check(source, FILE), {FILE: source})


def test_the_line_and_the_caret() -> None:
    """The format that editors and people read: place, message, suggestion, line, caret."""
    text = "\n" * 39 + "[throttle-groups.gold]\niops-totl = 12000\n"
    assert rendered(text) == (
        'lab.toml:41:1: error: unknown key "iops-totl" in throttle-groups.gold'
        ' — did you mean "iops-total"?\n'
        "   41 | iops-totl = 12000\n"
        "      | ^^^^^^^^^"
    )


def test_a_note_shows_the_other_place() -> None:
    """A related place comes with its own line."""
    text = '[backends.a]\ndriver = "null"\n[nodes.a]\ndriver = "raw"\nfile = "b"\n'
    text += '[backends.b]\ndriver = "null"\n'
    assert rendered(text) == (
        'lab.toml:3:8: error: the name "a" is taken: nodes and backends share their names\n'
        "    3 | [nodes.a]\n"
        "      |        ^\n"
        "lab.toml:1:11: note: backends.a is here\n"
        "    1 | [backends.a]\n"
        "      |           ^"
    )


def test_the_whole_file() -> None:
    """What has no line is shown without one."""
    assert rendered("") == "lab.toml: error: the file describes nothing"


def test_tabs_and_wide_letters_keep_the_caret_in_place() -> None:
    """The caret stands under the word in a terminal, where CJK letters take two columns."""
    text = '[exports]\n\t"日本" = { node = "é́", "ディ" = 1 }\n'
    lines = rendered(text).split("\n")
    assert lines[2] == "      | \t" + " " * 18 + "^^^"
    assert lines[5] == "      | \t" + " " * 23 + "^^^^^^"


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    """Control characters from the file are shown as a sign of their absence."""
    shown = rendered('[server]\n"\\u001b[31mred" = 1\n') + rendered('a = "\x1b[2J"\n')
    assert "\x1b" not in shown
    assert "\ufffd[31mred" in shown


def test_nor_does_a_suggestion() -> None:
    """A name that is wrong itself may still be the nearest one."""
    text = '[backends."disk\\u001b]0;x"]\ndriver = "null"\n[exports.e]\nnode = "disk]0;x"\n'
    assert "did you mean" in rendered(text)
    assert "\x1b" not in rendered(text)


def test_colour() -> None:
    """The same text, when the colours are taken out again."""
    text = "[sever]\n"
    diagnostics = config.check(text, FILE)
    coloured = config.render(diagnostics, {FILE: text.encode()}, colour=True)
    assert "\x1b[1;31merror:\x1b[0m" in coloured
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[1;31m"):
        coloured = coloured.replace(code, "")
    assert coloured == config.render(diagnostics, {FILE: text.encode()})


def test_the_error_is_the_whole_rendering() -> None:
    """str(FileError) is what a person is shown: every problem, in plain text."""
    text = "[sever]\n[server]\nthread = 1\n"
    with pytest.raises(FileError) as raised:
        config.parse(text, FILE)
    assert str(raised.value) == rendered(text)
    assert str(raised.value).count("error:") == 2
