"""The one sentence above the panels, when the file or the server needs somebody."""

from typing import Any, NamedTuple

from blkrun.dashboard.lines import Tone
from blkrun.dashboard.model.waiting import Waiting
from blkrun.messages import drift_text


class Notice(NamedTuple):
    """``text`` in one line."""

    text: str
    tone: Tone


def notice(
    reports: dict[str, dict[str, Any] | None], waiting: Waiting | None, key: str = ""
) -> Notice | None:
    """What is most urgent: an edit that waits, one that was refused, drift.  None: all is well.

    ``key`` says yes, where that is possible.
    """
    report, drift = reports.get("config") or {}, reports.get("drift")
    if waiting is not None:
        summary = report.get("summary", "")
        remedy = f" · {key}: see and apply it" if key else ""
        return Notice(f"{waiting.file} waits for a yes: {summary}{remedy}", "warn")
    if report.get("kind") in ("rejected", "failed"):
        return Notice(_refused(report), "bad")
    if drift:
        return Notice(drift_text(drift), "warn")
    return None


def _refused(report: dict[str, Any]) -> str:
    """The first line of the errors says where; the panel has all of them."""
    lines = str(report.get("message", "")).strip().splitlines() or ["no reason was given"]
    what = "has a mistake" if report["kind"] == "rejected" else "was refused by the server"
    more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
    return f"{report.get('file', 'the file')} {what}, what ran goes on: {lines[0]}{more}"
