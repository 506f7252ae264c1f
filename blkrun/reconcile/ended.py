"""Jobs that have ended in the life of this runner: a server that had to be started anew knows none.

Without this memory a backup that was done yesterday would be made again, over the one that there
is, and clients whose disk a mirror has moved would be led back to the old one.  A server's own
list is believed where it says something.
"""

from typing import Any

import msgspec

from blkrun.job_options import JobOptions
from blkrun.model import GraphModel, JobState
from blkrun.reconcile.jobs import is_another

_CONCLUDED = JobState(status="concluded")
_PIVOTED = JobState(status="concluded", pivoted=True)


def asks_for_a_plan(event: dict[str, Any]) -> bool:
    """Whether something of a plan may be due after an event: a job has ended, or has gone."""
    if event["event"] == "JOB_STATUS_CHANGE":
        return event["data"]["status"] in ("concluded", "null")
    return bool(event["event"] == "X_BLKRUN_JOB_PIVOTED")


class EndedJobs:
    """What is known of them, by name."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobOptions] = {}
        self._states: dict[str, JobState] = {}

    def hear(self, event: dict[str, Any], jobs: dict[str, JobOptions]) -> None:
        """Remember at once what an event tells; ``jobs`` are those that run, as far as known."""
        name, data = event["event"], event.get("data", {})
        options = jobs.get(data.get("id", ""))
        if name == "X_BLKRUN_JOB_PIVOTED" and options is not None:
            self._keep(options, _PIVOTED)
        elif name != "JOB_STATUS_CHANGE":
            return
        elif data["status"] == "concluded" and options is not None:
            self._keep(options, self._states.get(data["id"], _CONCLUDED))
        elif data["status"] == "null" and not self._states.get(data["id"], _CONCLUDED).pivoted:
            self._forget(data["id"])

    def added_to(self, live: GraphModel, desired: GraphModel) -> GraphModel:
        """A live graph with what it does not list any more and the file still asks for."""
        self._look(live)
        missing = [
            name
            for name in self._jobs
            if name not in live.jobs and name in desired.jobs and not self._is_new(name, desired)
        ]
        if not missing:
            return live
        return msgspec.structs.replace(
            live,
            jobs={**{name: self._jobs[name] for name in missing}, **live.jobs},
            states={**{name: self._states[name] for name in missing}, **live.states},
        )

    def _look(self, live: GraphModel) -> None:
        for name, state in live.states.items():
            if state.ended:
                self._keep(live.jobs[name], state)
            else:
                self._forget(name)

    def applied(self, desired: GraphModel) -> None:
        """Forget those whose tables have gone or say something else: they are new jobs."""
        for name in list(self._jobs):
            if self._is_new(name, desired):
                self._forget(name)

    def _is_new(self, name: str, desired: GraphModel) -> bool:
        new = desired.jobs.get(name)
        if new is None:
            return name not in desired.resting
        return is_another(self._jobs[name], new, self._states[name])

    def _keep(self, options: JobOptions, state: JobState) -> None:
        self._jobs[options.job_id], self._states[options.job_id] = options, state

    def _forget(self, name: str) -> None:
        self._jobs.pop(name, None)
        self._states.pop(name, None)
