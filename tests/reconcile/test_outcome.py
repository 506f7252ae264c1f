"""A command that has saved the file hears what became of it, and of nothing else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from blkrun.reconcile.outcome import wait_for_outcome

OURS, THEIRS = "a" * 64, "b" * 64


class Reporting:
    """A conversation with a server: its last report, and the events that come."""

    def __init__(self, last: dict[str, Any] | None, events: list[dict[str, Any]]) -> None:
        self.last = last
        self.to_come = events

    async def execute(self, command: str) -> dict[str, Any]:
        """x-blkrun-query-graph."""
        assert command == "x-blkrun-query-graph"
        return {"reports": {"config": self.last} if self.last else {}}

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Those that come, and then none for ever."""
        for event in self.to_come:
            yield event
        await asyncio.Event().wait()


def report(kind: str, digest: str | None, **data: Any) -> dict[str, Any]:
    """An event about an edit; without a digest as an older runner would send it."""
    about = {} if digest is None else {"digest": digest}
    return {"event": f"X_BLKRUN_CONFIG_{kind.upper()}", "data": about | data}


def outcome(
    last: dict[str, Any] | None, *events: dict[str, Any], anew: bool = False
) -> dict[str, Any] | None:
    """What comes of waiting a moment."""
    client: Any = Reporting(last, list(events))
    return asyncio.run(wait_for_outcome(client, OURS, 0.05, anew=anew))


@pytest.mark.parametrize("kind", ["applied", "rejected", "pending", "failed"])
def test_an_event_about_our_text(kind: str) -> None:
    """Its data and kind, also when others come before."""
    events = [report("applied", THEIRS), {"event": "SHUTDOWN"}, report(kind, OURS, number=7)]
    assert outcome(None, *events) == {"kind": kind, "digest": OURS, "number": 7}


def test_what_was_told_before_we_asked() -> None:
    """The runner may have been quicker."""
    last = {"kind": "applied", "digest": OURS}
    assert outcome(last) == last
    assert outcome(last, anew=True) is None
    assert outcome(last, report("failed", OURS), anew=True) == {"kind": "failed", "digest": OURS}


@pytest.mark.parametrize(
    "event",
    [report("applied", THEIRS), report("applied", None), report("followed", OURS)],
    ids=["another text", "an older runner", "only the file was edited"],
)
def test_in_vain(event: dict[str, Any]) -> None:
    """What is about another text, or does not say what became of it, is no outcome."""
    assert outcome({"kind": "applied", "digest": THEIRS}, event) is None
    assert outcome({"kind": "applied"}, event) is None
