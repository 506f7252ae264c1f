"""The file: whether it is in force, what waits or is wrong in it, and what its last edit did.

All from the reports that the runner left with the server: ``config`` is about the file as it is,
``in-force`` about the text that was applied last, ``drift`` about a graph that differs from that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blkrun.dashboard.lines import Tone
from blkrun.dashboard.model.waiting import concerned
from blkrun.messages import drift_text

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """A line of the panel.  ``verbatim`` lines are never wrapped: a caret points up.

    Of a ``path`` the end is what matters.
    """

    text: str
    tone: Tone = "plain"
    verbatim: bool = False
    path: bool = False


@dataclass(frozen=True, slots=True)
class ConfigView:
    """All that the panel shows."""

    title: str = ""
    rows: tuple[ConfigRow, ...] = ()


_SIGNS: dict[str, Tone] = {"+": "add", "-": "remove", "~": "change"}
_DIFF_SIGNS: dict[str, Tone] = {"+": "add", "-": "remove", "@": "dim"}
_WORDS: dict[str, tuple[str, Tone]] = {
    "applied": ("applied", "good"),
    "rejected": ("INVALID", "bad"),
    "failed": ("FAILED", "bad"),
    "pending": ("WAITS FOR A YES", "warn"),
}


def config_view(
    reports: Mapping[str, Report | None], *, file: str = "", edited_at: str | None = None
) -> ConfigView:
    """``edited_at``: the time of the last report about the file, as events have it."""
    report, drift = reports.get("config") or {}, reports.get("drift") or {}
    in_force = reports.get("in-force") or {}
    rows = [ConfigRow(file, "dim", path=True)] if file else []
    rows += _drift_rows(drift) if drift else ()
    if report:
        rows += _rows(report)
    else:
        rows.append(ConfigRow("no edit yet: save the file and see it here", "dim"))
    if in_force.get("kind") == "applied" and report.get("kind") != "applied":
        rows += [ConfigRow("in force:", "dim"), *_rows(in_force)]
    return ConfigView(_title(report, drift, edited_at), tuple(rows))


def _title(report: Report, drift: Report, edited_at: str | None) -> str:
    """``pending +1 ~1 -1``, ``INVALID :41``, ``in force 12:03:54``, ``DRIFT 2``; some at once."""
    parts = [_state(report, edited_at)] if report else []
    if drift:
        parts.append(f"DRIFT {len(drift.get('operations') or ()) or ''}".rstrip())
    return " · ".join(parts)


def _state(report: Report, edited_at: str | None) -> str:
    kind = str(report.get("kind"))
    if kind == "pending":
        return f"pending {report.get('summary') or ''}".rstrip()
    if kind == "rejected":
        return f"INVALID :{report['line']}" if report.get("line") else "INVALID"
    if kind == "applied":
        return f"in force {edited_at.partition('.')[0]}" if edited_at else "in force"
    return _WORDS.get(kind, (kind, "plain"))[0]


def _drift_rows(drift: Report) -> Iterator[ConfigRow]:
    yield ConfigRow(drift_text(drift), "warn")
    yield from _operations(drift)


def _operations(report: Report) -> Iterator[ConfigRow]:
    for operation in report.get("operations") or ():
        yield ConfigRow(str(operation), _SIGNS.get(str(operation)[:1], "plain"))


def _rows(report: Report) -> Iterator[ConfigRow]:
    kind = str(report.get("kind"))
    _, tone = _WORDS.get(kind, (kind, "plain"))
    if kind in ("applied", "pending"):
        yield ConfigRow(_headline(kind, report), tone)
    for text in str(report.get("message", "")).splitlines():
        excerpt = _is_excerpt(text)
        yield ConfigRow(text, "plain" if excerpt else tone, verbatim=excerpt)
    if kind in ("rejected", "failed"):
        yield ConfigRow("nothing was changed; what ran goes on", "dim")
    if kind == "pending":
        key = "a, or " if report.get("digest") else ""
        yield ConfigRow(f"say yes with: {key}blkrun apply {report.get('file', '')}", "dim")
    if kind in ("applied", "pending"):
        done = kind == "applied"
        yield from (ConfigRow(text, "warn") for text in concerned(report, done=done))
    yield from _operations(report)
    yield from _diff(report)
    for note in report.get("notes") or ():
        yield ConfigRow(f"! {note}", "change")


def _headline(kind: str, report: Report) -> str:
    word, summary = _WORDS[kind][0], report.get("summary") or "nothing to change"
    if kind == "applied":
        took = f" in {report['milliseconds']} ms" if "milliseconds" in report else ""
        return f"{word} {report.get('file', '')}: {summary}{took}"
    return f"{word}: {summary}; {report.get('why', '')}"


def _diff(report: Report) -> Iterator[ConfigRow]:
    """The file against what is in force, as ``diff -u`` has it."""
    for text in map(str, report.get("diff") or ()):
        is_name = text.startswith(("--- ", "+++ "))
        tone = "title" if is_name else _DIFF_SIGNS.get(text[:1], "plain")
        yield ConfigRow(text, tone, verbatim=True)


def _is_excerpt(text: str) -> bool:
    """``  41 | iops-totl = 12000`` and the carets below."""
    return text.startswith(" ") or "|" in text.partition(" ")[0]
