"""Edits of the file as blkrun's own commands have them: pure values, made from names and numbers.

The user can type what is done here: ``Edit.typed``.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blkrun.dashboard.model.nudge import written

_UNASKED = ("rollback", "apply")
"""Commands that would ask: the dashboard has done so."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``command`` with its words behind FILE and its options; ``text`` says it to people."""

    command: str
    words: tuple[str, ...]
    text: str
    options: tuple[str, ...] = ()

    def arguments(self, file: Path, *, dry_run: bool, digest: str = "") -> tuple[str, ...]:
        """Behind ``blkrun``.  Words come last: no name is taken for an option.

        ``digest``: only if the file is this text then.
        """
        options = [*self.options, "--json"]
        if dry_run:
            options.append("--dry-run")
        elif self.command in _UNASKED:
            options.append("--yes")
        if digest:
            options.append(f"--expect={digest}")
        return (self.command, *options, "--", str(file), *self.words)

    def typed(self, file: Path | str) -> str:
        """As one would type it."""
        words = [str(file), *self.words]
        mark = ["--"] if any(word.startswith("-") for word in words) else []
        return shlex.join(["blkrun", self.command, *self.options, *mark, *words])


def limit_edit(group: str, key: str, value: str | int) -> Edit:
    """One limit of a group; 0 or ``none`` takes it out."""
    return limits_edit(group, {key: value})


def limits_edit(group: str, values: Mapping[str, str | int]) -> Edit:
    """Several limits at once: some mean nothing without the others."""
    said = ", ".join(
        f"take {key} of {group} out" if str(value) in ("0", "none") else f"{key} {value}"
        for key, value in values.items()
    )
    text = said if said.startswith("take") else f"{group}: {said}"
    words = (f"{key}={value}" for key, value in values.items())
    return Edit("limit", (_in("throttle-groups", group), *words), text)


def nudge_edit(group: str, values: Mapping[str, tuple[int, int]]) -> Edit:
    """The same, of key → (old, new): ``raise iops-total of gold to 11000``."""
    edit = limits_edit(group, {key: written(key, new) for key, (_, new) in values.items()})
    texts = [
        f"{'raise' if new > old else 'lower'} {key} of {group} to {written(key, new)}"
        for key, (old, new) in values.items()
    ]
    return Edit(edit.command, edit.words, "; ".join(texts))


def switch_edit(name: str, on: bool) -> Edit:  # noqa: FBT001 - on and off are what it is about
    """A filter."""
    command = "enable" if on else "disable"
    return Edit(command, (f"nodes.{name}",), f"{command} {name}")


def insert_edit(
    node: str,
    driver: str,
    above: str,
    below: str | None = None,
    values: Iterable[tuple[str, str]] = (),
) -> Edit:
    """A new node; without ``below`` all that led to ``above`` leads to it."""
    options = [f"--driver={driver}", f"--above={above}"]
    if below is not None:
        options.append(f"--below={below}")
    options += [f"--set={key}={value}" for key, value in values]
    over = above if below is None else f"{above}, below {below}"
    return Edit("insert", (node,), f"insert {driver} {node} above {over}", tuple(options))


def remove_edit(name: str) -> Edit:
    """A node, or another table by its whole name: ``exports.vdb``."""
    return Edit("remove", (name,), f"remove {name}")


def rollback_edit(number: int | None = None) -> Edit:
    """To a change, or to the one before the last."""
    if number is None:
        return Edit("rollback", (), "undo the last change")
    return Edit("rollback", (str(number),), f"go back to change {number}")


def undo_edit(reports: Mapping[str, Mapping[str, Any] | None]) -> Edit:
    """Take the last save back, by the server's reports: what is in force, if that is not it."""
    last, in_force = reports.get("config") or {}, reports.get("in-force") or {}
    is_other = last.get("digest") != in_force.get("digest")
    if is_other and in_force.get("kind") == "applied" and "number" in in_force:
        number = str(in_force["number"])
        return Edit("rollback", (number,), f"back to what is in force, change {number}")
    return rollback_edit()


def apply_edit() -> Edit:
    """What the file says, also what waits for a yes."""
    return Edit("apply", (), "apply the file as it is")


def start_edit(job: str) -> Edit:
    """A job of the file: switched on, and once more if it has ended."""
    return Edit("enable", (f"jobs.{job}",), f"start job {job}", ("--again",))


def cancel_edit(job: str) -> Edit:
    """A job of the file: switched off; its table stays."""
    return Edit("disable", (f"jobs.{job}",), f"cancel job {job}")


def _in(section: str, name: str) -> str:
    """A name that looks like a table's whole name is one of its section."""
    first, dot, _ = name.partition(".")
    return f"{section}.{name}" if dot and first in (section, "exports") else name
