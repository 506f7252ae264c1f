"""Events in words, for the headless log and for the dashboard: pure, one line an event."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from blkrun.units import format_about, format_bytes, format_seconds


class Level(Enum):
    """How much a line matters to somebody who glances."""

    INFO = "info"
    GOOD = "ok"
    WARNING = "WARN"
    ERROR = "ERROR"


_OPERATIONS_SHOWN = 4

_LEVELS = {
    "X_BLKRUN_CONFIG_APPLIED": Level.GOOD,
    "X_BLKRUN_CONFIG_FOLLOWED": Level.GOOD,
    "X_BLKRUN_CONFIG_REJECTED": Level.ERROR,
    "X_BLKRUN_CONFIG_FAILED": Level.ERROR,
    "X_BLKRUN_CONFIG_PENDING": Level.WARNING,
    "X_BLKRUN_SERVER_RESTARTED": Level.WARNING,
    "X_BLKRUN_DRIFTED": Level.WARNING,
    "X_BLKRUN_REVERTED": Level.GOOD,
    "X_BLKRUN_DRIFT_ENDED": Level.GOOD,
    "BLOCK_EXPORT_DELETED": Level.WARNING,
    "BLOCK_IMAGE_CORRUPTED": Level.ERROR,
    "BLOCK_WRITE_THRESHOLD": Level.WARNING,
    "QUORUM_REPORT_BAD": Level.WARNING,
    "QUORUM_FAILURE": Level.ERROR,
    "X_BLKRUN_BLKVERIFY_MISMATCH": Level.ERROR,
    "BLOCK_JOB_COMPLETED": Level.GOOD,
    "BLOCK_JOB_CANCELLED": Level.WARNING,
    "BLOCK_JOB_ERROR": Level.WARNING,
    "BLOCK_JOB_PENDING": Level.WARNING,
    "X_BLKRUN_JOB_PIVOTED": Level.GOOD,
}


def event_level(event: dict[str, Any]) -> Level:
    """The level of an event; a job that ends with an error has not ended well."""
    if event["event"] == "BLOCK_JOB_COMPLETED" and "error" in event.get("data", {}):
        return Level.ERROR
    if event["event"] == "X_BLKRUN_CONFIG_FOLLOWED" and "message" in event.get("data", {}):
        return Level.WARNING
    return _LEVELS.get(event["event"], Level.INFO)


_STATUS_WORDS = {"running": "runs", "paused": "is paused", "standby": "is paused"}


def event_matters(event: dict[str, Any]) -> bool:
    """Whether a log should have a line about it: most steps of a job are told by a better event."""
    if event["event"] == "X_BLKRUN_GRAPH_CHANGED":
        return False  # it is told by whoever changed it, and why
    if event["event"] != "JOB_STATUS_CHANGE":
        return True
    return event.get("data", {}).get("status") in _STATUS_WORDS


def event_time(event: dict[str, Any]) -> str:
    """``12:04:31.220``, local time."""
    stamp = event["timestamp"]
    clock = time.strftime("%H:%M:%S", time.localtime(stamp["seconds"]))
    return f"{clock}.{stamp['microseconds'] // 1000:03d}"


def event_text(event: dict[str, Any]) -> str:
    """What happened, in one sentence; unknown events show their data.

    So do those whose data is not as we know it: a runner may be of another version, and whatever
    is reported by hand reaches all who listen.
    """
    name, data = event["event"], event.get("data", {})
    words = _WORDS.get(name)
    if words is not None:
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            return words(data)
    details = " ".join(f"{key}={value}" for key, value in data.items())
    return f"{name} {details}".rstrip()


def report_text(report: dict[str, Any]) -> str:
    """What became of the last edit, as the log said it: ``x-blkrun-report``'s kind and data."""
    return event_text({"event": f"X_BLKRUN_CONFIG_{report['kind'].upper()}", "data": report})


def _applied(data: dict[str, Any]) -> str:
    changes = data.get("summary") or "nothing to change"
    took = f" in {data['milliseconds']} ms" if "milliseconds" in data else ""
    notes = "".join(f"; {note}" for note in data.get("notes", ()))
    return f"applied {data.get('file', '')}: {changes}{took}{notes}"


def drift_text(data: Mapping[str, Any]) -> str:
    """That the graph is not as the file says, and how it comes back to that."""
    file = data.get("file", "")
    text = f"drift: the graph is not as {file} says any more"
    if "message" in data:
        first = (str(data["message"]).splitlines() or [""])[0]
        return f"{text}, and cannot be brought back: {first}"
    if "why" in data:
        return f"{text}, and is not brought back unasked ({data['why']}): blkrun apply {file}"
    return f"{text}; bring it back with: blkrun apply {file}"


def _reverted(data: dict[str, Any]) -> str:
    took = f" in {data['milliseconds']} ms" if "milliseconds" in data else ""
    return f"brought back to what {data.get('file', '')} says: {data.get('summary', '')}{took}"


def operations_text(data: dict[str, Any]) -> str:
    """The first few operations in one line, for a log that has one line an event."""
    operations = data.get("operations", ())
    more = len(operations) - _OPERATIONS_SHOWN
    shown = [*operations[:_OPERATIONS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return "; ".join(shown)


def _rejected(data: dict[str, Any]) -> str:
    first, *rest = str(data.get("message", "")).splitlines() or [""]
    problems = data.get("problems", 1)
    more = f" (and {problems - 1} more)" if problems > 1 and rest else ""
    return f"rejected, nothing changed: {first}{more}"


def _beyond_threshold(data: dict[str, Any]) -> str:
    beyond, threshold = data.get("amount-exceeded", 0), data.get("write-threshold", 0)
    return (
        f"{data.get('node-name')}: a write goes {format_bytes(beyond)} "
        f"beyond the threshold of {format_bytes(threshold)}"
    )


_SECTOR_BYTES = 512
"""QEMU's, in events."""


def _report_bad(data: dict[str, Any]) -> str:
    who = f"{data.get('node-name')}, of a quorum"
    if "error" not in data:
        return f"{who}: outvoted, it has other data than most in {_sectors(data)}"
    what = "a flush" if data.get("type") == "flush" else f"a {data.get('type')} of {_sectors(data)}"
    return f"{who}: {what} fails: {data['error']}"


def _quorum_failure(data: dict[str, Any]) -> str:
    return (
        f"{data.get('reference')}: a request of {_sectors(data)} fails: "
        "too few children could do it, or agree"
    )


def _sectors(data: dict[str, Any]) -> str:
    size_bytes = data.get("sectors-count", 0) * _SECTOR_BYTES
    return f"{format_bytes(size_bytes)} at {data.get('sector-num', 0) * _SECTOR_BYTES}"


def _mismatch(data: dict[str, Any]) -> str:
    who, operation = data.get("node-name"), data.get("operation")
    where = f"{format_bytes(data.get('length', 0))} at {data.get('offset')}"
    errors = data.get("errors")
    if not errors:
        return f"{who}: its two disks differ in {where}"
    what = f"a {operation}" if operation == "flush" else f"a {operation} of {where}"
    said = ", ".join(f"{name}: {errors.get(name, 'no error')}" for name in ("test", "raw"))
    return f"{who}: {what} does not end alike at both disks ({said})"


def _corrupted(data: dict[str, Any]) -> str:
    remedy = "; end the server, and let qemu-img check look at it" if data.get("fatal") else ""
    return f"{data.get('node-name')}: the image is damaged: {data.get('msg')}{remedy}"


def _job_status(data: dict[str, Any]) -> str:
    status = data.get("status")
    return f"job {data.get('id')} {_STATUS_WORDS.get(str(status), f'is {status}')}"


def _job_completed(data: dict[str, Any]) -> str:
    if "error" in data:
        return f"job {data.get('device')} failed{_job_percent(data)}: {data['error']}"
    return f"job {data.get('device')} is done ({format_bytes(data.get('offset', 0))})"


def _job_percent(data: dict[str, Any]) -> str:
    """`` at 61%``, rounded down; nothing when it is not known how much there was to do."""
    total = data.get("len", 0)
    return f" at {min(data.get('offset', 0) * 100 // total, 100)}%" if total > 0 else ""


_ERROR_ACTIONS = {
    "report": "and it ends",
    "ignore": "and it tries again",
    "stop": "and it stands still until job-resume",
}


def _job_error(data: dict[str, Any]) -> str:
    failed = {"read": "a read of its source", "write": "a write to its target"}
    what = failed.get(data.get("operation", ""), "an operation")
    action = _ERROR_ACTIONS.get(data.get("action", ""), str(data.get("action")))
    return f"job {data.get('device')}: {what} fails, {action}"


_ASKED = {
    "reload": "read the file again",
    "apply": "apply what waits for a yes",
    "revert": "bring the graph back to what the file says",
}


def _restarted(data: dict[str, Any]) -> str:
    text = f"the server died and was restarted with the last good configuration: {data.get('why')}"
    if anew := data.get("anew"):
        text += f"; points in time that begin anew, the old ones are lost: {', '.join(anew)}"
    if jobs := data.get("jobs"):
        text += f"; jobs that begin anew: {', '.join(jobs)}"
    return text


def _followed(data: dict[str, Any]) -> str:
    pivots = ", ".join(
        f"whoever used {job['device']} uses {job['target']} since {job['id']} pivoted"
        if job["target"]
        else f"{job['device']} does without what {job['id']} has streamed into it"
        for job in data.get("jobs", ())
    )
    file = data.get("file", "")
    if "message" in data:
        first = (str(data["message"]).splitlines() or [""])[0]
        return f"{pivots}; {file} does not say so and is left as it is: {first}"
    return f"{pivots}; {file} says so now: {'; '.join(data.get('changes', ()))}"


def at_stake(clients: Mapping[str, int], jobs: Sequence[str]) -> str:
    """What a stop would end: ``2 clients connected to vda, vdb; job nightly not done``, or ``""``.

    ``clients``: export → how many; ``jobs``: the names of those that have not ended.
    """
    parts = []
    if count := sum(clients.values()):
        names = ", ".join(name for name, number in clients.items() if number)
        parts.append(f"{count} client{'s' * (count != 1)} connected to {names}")
    if jobs:
        parts.append(f"job{'s' * (len(jobs) != 1)} {', '.join(jobs)} not done")
    return "; ".join(parts)


def job_progress(job: Mapping[str, Any]) -> str:
    """``42%, 401MiB of 954MiB, 50MiB/s, 11s left``: one of the server's jobs."""
    done, total = job["current-progress"], job["total-progress"]
    words = [f"{percent(job)}%", f"{format_about(done)} of {format_about(total)}"]
    if job["rate"]:
        words.append(f"{format_about(job['rate'])}/s")
    if (left_s := seconds_left(job)) is not None:
        words.append(f"{format_seconds(left_s)} left")
    return ", ".join(words)


def percent(job: Mapping[str, Any]) -> int:
    """Done of total; 100 only when all is.  A job that has not looked yet has nothing to do."""
    done, total = int(job["current-progress"]), int(job["total-progress"])
    if done < total:
        return done * 100 // total
    return 100 if total or job["status"] in ("ready", "concluded") else 0


def seconds_left(job: Mapping[str, Any]) -> float | None:
    """None while nobody knows."""
    if job["status"] != "running" or not job["rate"]:
        return None
    return max(0.0, float(job["total-progress"] - job["current-progress"]) / float(job["rate"]))


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "X_BLKRUN_CONFIG_APPLIED": _applied,
    "X_BLKRUN_CONFIG_REJECTED": _rejected,
    "X_BLKRUN_CONFIG_FAILED": lambda data: f"not applied, nothing changed: {data.get('message')}",
    "X_BLKRUN_CONFIG_PENDING": lambda data: (
        f"waits for a yes ({data.get('why')}): blkrun apply {data.get('file', '')}"
    ),
    "X_BLKRUN_CONFIG_FOLLOWED": _followed,
    "X_BLKRUN_DRIFTED": drift_text,
    "X_BLKRUN_REVERTED": _reverted,
    "X_BLKRUN_DRIFT_ENDED": lambda data: f"the graph is as {data.get('file', '')} says again",
    "X_BLKRUN_SERVER_RESTARTED": _restarted,
    "X_BLKRUN_SERVER_ADOPTED": lambda data: (
        f"found the running server (pid {data.get('pid')}) and took it over"
    ),
    "X_BLKRUN_CLIENT_CONNECTED": lambda data: (
        f"client {data.get('id')} connected to {data.get('export')}"
    ),
    "X_BLKRUN_CLIENT_DISCONNECTED": lambda data: (
        f"client {data.get('id')} left {data.get('export')}"
    ),
    "SHUTDOWN": lambda data: f"the server ends ({data.get('reason')})",
    "BLOCK_EXPORT_DELETED": lambda data: f"export {data.get('id')} deleted",
    "BLOCK_IMAGE_CORRUPTED": _corrupted,
    "BLOCK_WRITE_THRESHOLD": _beyond_threshold,
    "QUORUM_REPORT_BAD": _report_bad,
    "QUORUM_FAILURE": _quorum_failure,
    "X_BLKRUN_BLKVERIFY_MISMATCH": _mismatch,
    "JOB_STATUS_CHANGE": _job_status,
    "BLOCK_JOB_READY": lambda data: f"job {data.get('device')} is ready: its target has caught up",
    "BLOCK_JOB_COMPLETED": _job_completed,
    "BLOCK_JOB_CANCELLED": lambda data: (
        f"job {data.get('device')} was cancelled{_job_percent(data)}"
    ),
    "BLOCK_JOB_ERROR": _job_error,
    "BLOCK_JOB_PENDING": lambda data: f"job {data.get('id')} waits for job-finalize",
    "X_BLKRUN_JOB_PIVOTED": lambda data: (
        f"job {data.get('id')}: whoever used {data.get('device')} uses {data.get('target')} now"
    ),
    "X_BLKRUN_RUNNER_ASKED": lambda data: (
        f"somebody asks to {_ASKED.get(data['kind'], data['kind'])}"
    ),
    "X_BLKRUN_NODE_REMOVED": lambda data: (
        f"{data.get('node-name')} left the graph by itself ({data.get('reason')})"
    ),
}
