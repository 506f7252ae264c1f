"""How ``--help`` is set: commands in groups, examples, at most 80 columns wide."""

import argparse
from collections.abc import Iterable, Mapping
from textwrap import indent, wrap

Rows = Iterable[tuple[str, str]]


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Epilogs as they are written, FILE in capitals, and columns that leave room for words."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Names keep their hyphens on one line."""
        return wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _get_default_metavar_for_positional(self, action: argparse.Action) -> str:
        return action.dest.upper()


def overview(
    commands: Mapping[str, tuple[str, str]], groups: Mapping[str, str], exit_codes: Rows
) -> str:
    """What follows the first lines of ``blkrun --help``; groups without a command are left out."""
    parts = []
    for group, heading in groups.items():
        rows = [(name, text) for name, (of, text) in commands.items() if of == group]
        if rows:
            parts.append(_section(heading, rows, width=max(map(len, commands))))
    parts.append(_section("exit codes", exit_codes, width=3))
    parts.append("blkrun COMMAND --help tells more about a command, with examples.")
    return "\n\n".join(parts)


def examples(text: str) -> str:
    """A command module's EXAMPLES as its help shows them."""
    return "examples:\n" + indent(text.strip(), "  ")


def _section(heading: str, rows: Rows, *, width: int) -> str:
    return "\n".join([f"{heading}:", *(f"  {name:<{width}}  {text}" for name, text in rows)])
