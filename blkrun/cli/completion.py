"""``blkrun completion SHELL``: what a shell reads so that TAB completes blkrun's words."""

import argparse
import sys

from argcomplete.shell_integration import shellcode

from blkrun.cli import Exit

_SHELLS = ("bash", "zsh", "fish")

EXAMPLES = """
blkrun completion bash > ~/.local/share/bash-completion/completions/blkrun
blkrun completion zsh > ~/.zfunc/_blkrun      with ~/.zfunc in your fpath
blkrun completion fish > ~/.config/fish/completions/blkrun.fish

for this shell only, once compinit has run in zsh:
  eval "$(blkrun completion bash)"
  eval "$(blkrun completion zsh)"
  blkrun completion fish | source
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SHELL."""
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))


def run(args: argparse.Namespace) -> int:
    """The script; at TAB it asks blkrun itself, so that it need not be made anew."""
    sys.stdout.write(shellcode(["blkrun"], shell=args.shell))
    return Exit.DONE
