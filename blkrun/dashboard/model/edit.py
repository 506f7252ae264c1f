"""What the last edit of the file did, from the report that the runner left with the server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blkrun.dashboard.lines import Tone
from blkrun.messages import drift_text


@dataclass(frozen=True, slots=True)
class EditRow:
    """A line of the panel.  ``verbatim`` lines are never wrapped: a caret points up."""

    text: str
    tone: Tone = "plain"
    verbatim: bool = False


_SIGNS: dict[str, Tone] = {"+": "add", "-": "remove", "~": "change"}
_WORDS: dict[str, tuple[str, Tone]] = {
    "applied": ("applied", "good"),
    "rejected": ("REJECTED", "bad"),
    "failed": ("FAILED", "bad"),
    "pending": ("WAITS FOR A YES", "warn"),
}


def edit_title(report: dict[str, Any] | None, edited_at: str | None) -> str:
    """``applied 12:03:54``."""
    if not report:
        return ""
    word, _ = _WORDS.get(str(report.get("kind")), (str(report.get("kind")), "plain"))
    return f"{word} {edited_at.partition('.')[0]}" if edited_at else word


def edit_rows(
    report: dict[str, Any] | None, drift: dict[str, Any] | None = None
) -> tuple[EditRow, ...]:
    """Drift first, if there is any: what would bring the graph back.  Then the report."""
    first = tuple(_drift_rows(drift)) if drift else ()
    if not report:
        return (*first, EditRow("no edit yet: save the file and see it here", "dim"))
    return (*first, *_rows(report))


def _drift_rows(drift: dict[str, Any]) -> Iterator[EditRow]:
    yield EditRow(drift_text(drift), "warn")
    yield from _operations(drift)


def _operations(report: dict[str, Any]) -> Iterator[EditRow]:
    for operation in report.get("operations") or ():
        yield EditRow(str(operation), _SIGNS.get(str(operation)[:1], "plain"))


def _rows(report: dict[str, Any]) -> Iterator[EditRow]:
    kind = str(report.get("kind"))
    word, tone = _WORDS.get(kind, (kind, "plain"))
    if kind in ("applied", "pending"):
        yield EditRow(_headline(kind, word, report), tone)
    for text in str(report.get("message", "")).splitlines():
        excerpt = _is_excerpt(text)
        yield EditRow(text, "plain" if excerpt else tone, verbatim=excerpt)
    if kind in ("rejected", "failed"):
        yield EditRow("nothing was changed; what ran goes on", "dim")
    yield from _operations(report)
    if kind == "pending":
        key = "a, or " if report.get("digest") else ""
        yield EditRow(f"say yes with: {key}blkrun apply {report.get('file', '')}", "dim")
    for note in report.get("notes") or ():
        yield EditRow(f"! {note}", "change")


def _headline(kind: str, word: str, report: dict[str, Any]) -> str:
    summary = report.get("summary") or "nothing to change"
    if kind == "applied":
        took = f" in {report['milliseconds']} ms" if "milliseconds" in report else ""
        return f"{word} {report.get('file', '')}: {summary}{took}"
    return f"{word}: {summary}; {report.get('why', '')}"


def _is_excerpt(text: str) -> bool:
    """``  41 | iops-totl = 12000`` and the carets below."""
    return text.startswith(" ") or "|" in text.partition(" ")[0]
