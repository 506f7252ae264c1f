"""What an edit would do and what came of it, and the rows that say so: whom it concerns first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from blkrun.dashboard.lines import Tone

Kind = Literal["applied", "pending", "failed", "unchanged", "saved"]
"""``saved``: nothing is served from the file just now."""

_SIGNS: dict[str, Tone] = {"+": "add", "-": "remove", "~": "change"}
_OPERATIONS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an edit would do.  Mappings lead from exports to numbers of clients.

    ``digest`` is of the file as it would be: a yes can be given to that text and no other.
    """

    changed: bool
    diff: str = ""
    digest: str = ""
    operations: tuple[str, ...] = ()
    taken: Mapping[str, int] = field(default_factory=dict)
    drains: Mapping[str, int] | None = None
    """None: nobody could say."""
    cancelled: tuple[str, ...] = ()
    refused: str = ""
    why: str = ""
    """Why it would wait for a yes once it is saved."""
    who: Mapping[str, str] = field(default_factory=dict)
    """Exports → who their clients are, where that is known."""
    served: bool = True
    """Else the file is edited, and nothing else happens."""

    @property
    def dangerous(self) -> bool:
        """Whether a client loses something, work is thrown away, or the server says no."""
        return bool(self.taken or self.cancelled or self.refused)

    @property
    def offered(self) -> bool:
        """Whether there is anything that could be done."""
        return self.changed and not self.refused


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an edit.  One that waits is applied by a yes to its ``digest``."""

    kind: Kind
    message: str
    diff: str = ""
    digest: str = ""


class Row(NamedTuple):
    """A line of text.  ``verbatim`` ones are never wrapped: a caret points up."""

    text: str
    tone: Tone = "plain"
    verbatim: bool = False


def preview_rows(preview: Preview) -> tuple[Row, ...]:
    """Everything that somebody should know before a yes."""
    return tuple(_rows(preview))


def changed_lines(diff: str, most: int) -> tuple[str, ...]:
    """What goes and what comes, ``- old`` and ``+ new``, and how many lines more if they are."""
    lines = [
        f"{line[0]} {line[1:].strip()}"
        for line in diff.splitlines()
        if line[:1] in ("-", "+") and not line.startswith(("---", "+++"))
    ]
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[: most - 1], f"… and {len(lines) - most + 1} lines more")


def error_rows(text: str) -> tuple[Row, ...]:
    """The whole of what a command said, excerpts and carets as they came."""
    return tuple(
        Row(line, "plain" if (excerpt := _is_excerpt(line)) else "bad", verbatim=excerpt)
        for line in text.splitlines()
    )


def _rows(preview: Preview) -> Iterator[Row]:
    if preview.refused:
        yield Row("REFUSED, nothing would be changed:", "bad")
        yield from error_rows(preview.refused)
    elif not preview.changed:
        yield Row("nothing to change: the file says so already", "dim")
        return
    yield from _concerned(preview)
    if preview.served or preview.refused:
        yield from _operations(preview)
    else:
        yield Row("nothing is served just now: the file is saved, and that is all", "warn")
    if preview.diff:
        yield Row("")
        yield from map(_diff_row, preview.diff.splitlines())


def _concerned(preview: Preview) -> Iterator[Row]:
    """Clients and jobs, by name."""
    if preview.refused:
        return
    if preview.taken or preview.cancelled:
        yield Row("DANGEROUS", "bad")
    for export, number in preview.taken.items():
        verb = "loses" if number == 1 else "lose"
        yield Row(f"{export}: {_clients(number)} {verb} it{_who(preview, export)}", "bad")
    for job in preview.cancelled:
        yield Row(f"job {job} is cancelled", "bad")
    for export, number in (preview.drains or {}).items():
        if number and export not in preview.taken:
            who = _who(preview, export)
            yield Row(f"{export}: requests of {_clients(number)} wait{who}", "warn")
    if preview.why:
        yield Row(f"it waits for a yes: {preview.why}", "warn")


def _who(preview: Preview, export: str) -> str:
    return f": {preview.who[export]}" if preview.who.get(export) else ""


def _operations(preview: Preview) -> Iterator[Row]:
    if not (preview.operations or preview.refused):
        yield Row("nothing to do for the server", "dim")
    for operation in preview.operations[:_OPERATIONS_SHOWN]:
        yield Row(operation, _SIGNS.get(operation[:1], "plain"))
    if (more := len(preview.operations) - _OPERATIONS_SHOWN) > 0:
        yield Row(f"and {more} more", "dim")


def _clients(count: int) -> str:
    return f"{count} client{'s' * (count != 1)}"


def _diff_row(line: str) -> Row:
    if line.startswith(("---", "+++", "@@")):
        return Row(line, "dim")
    return Row(line, _SIGNS.get(line[:1], "plain"))


def _is_excerpt(text: str) -> bool:
    """``  41 | iops-totl = 12000`` and the carets below."""
    return text.startswith(" ") or "|" in text.partition(" ")[0]
