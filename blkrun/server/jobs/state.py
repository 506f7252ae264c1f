"""A job's states, which follows which, and which verbs each accepts (qemu-semantics §8.1).

Tables and words only.  The table of verbs is the measured one of QEMU 7.2, with the states in
between filled in from QEMU's own.
"""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """As on the wire."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    STANDBY = "standby"
    WAITING = "waiting"
    PENDING = "pending"
    ABORTING = "aborting"
    CONCLUDED = "concluded"
    NULL = "null"


class Verb(StrEnum):
    """What a user may ask of a job, as QEMU's messages call it."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    SET_SPEED = "set-speed"
    COMPLETE = "complete"
    FINALIZE = "finalize"
    DISMISS = "dismiss"


_S = Status

FOLLOWING: Final[dict[Status, frozenset[Status]]] = {
    _S.CREATED: frozenset({_S.RUNNING, _S.ABORTING, _S.NULL}),
    _S.RUNNING: frozenset({_S.PAUSED, _S.READY, _S.WAITING, _S.ABORTING}),
    _S.PAUSED: frozenset({_S.RUNNING}),
    _S.READY: frozenset({_S.STANDBY, _S.WAITING, _S.ABORTING}),
    _S.STANDBY: frozenset({_S.READY}),
    _S.WAITING: frozenset({_S.PENDING, _S.ABORTING}),
    _S.PENDING: frozenset({_S.CONCLUDED, _S.ABORTING}),
    _S.ABORTING: frozenset({_S.CONCLUDED}),
    _S.CONCLUDED: frozenset({_S.NULL}),
    _S.NULL: frozenset(),
}

_WORKING: Final = frozenset({_S.CREATED, _S.RUNNING, _S.PAUSED, _S.READY, _S.STANDBY})

ACCEPTED: Final[dict[Verb, frozenset[Status]]] = {
    Verb.CANCEL: _WORKING | {_S.WAITING, _S.PENDING},
    Verb.PAUSE: _WORKING,
    Verb.RESUME: _WORKING,
    Verb.SET_SPEED: _WORKING,
    Verb.COMPLETE: frozenset({_S.READY, _S.STANDBY}),
    Verb.FINALIZE: frozenset({_S.PENDING}),
    Verb.DISMISS: frozenset({_S.CONCLUDED}),
}

PARKED: Final = {_S.RUNNING: _S.PAUSED, _S.READY: _S.STANDBY}
"""What a job is called that stands still, by what it was called before."""

UNPARKED: Final = {parked: moving for moving, parked in PARKED.items()}


def refusal(verb: Verb, status: Status, *, user_paused: bool, job_id: str) -> str | None:
    """Why a job refuses a verb, in QEMU's words and its order of checks; None if it does not."""
    if verb is Verb.RESUME and not user_paused:
        return "Can't resume a job that was not paused"
    if status not in ACCEPTED[verb]:
        return not_now(verb, status, job_id)
    if verb is Verb.PAUSE and user_paused:
        return "Job is already paused"
    return None


def not_now(verb: Verb, status: Status, job_id: str) -> str:
    """QEMU's words for a verb that a state does not accept."""
    return f"Job '{job_id}' in state '{status}' cannot accept command verb '{verb}'"
