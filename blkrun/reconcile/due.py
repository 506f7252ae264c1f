"""What events ask a reconciler to do, kept until it comes to it."""

from dataclasses import dataclass
from typing import Any

from blkrun.reconcile.ended import asks_for_a_plan

BY = "run"
"""Who the runner is in reports: its own are no news to it."""


@dataclass(slots=True)
class Due:
    """What is to be looked at, as events tell."""

    plan: bool = False
    """A job has ended or gone: something may have waited for it."""
    file: bool = True
    """A job may have pivoted, perhaps before this runner, and the file does not say so."""
    drift: bool = True
    yes: dict[str, Any] | None = None
    """Somebody's, to what waits."""
    revert: bool = False
    applied: dict[str, Any] | None = None
    """By somebody else."""

    def hear(self, event: dict[str, Any]) -> None:
        """All but ``reload``, which is about the file."""
        name, data = event["event"], event.get("data", {})
        if name == "X_BLKRUN_CONFIG_APPLIED" and data.get("by") != BY:
            self.applied = data
        elif name == "X_BLKRUN_GRAPH_CHANGED" and not data.get("of-file"):
            self.drift = True
        elif name == "X_BLKRUN_RUNNER_ASKED" and data.get("kind") == "apply":
            self.yes = data
        elif name == "X_BLKRUN_RUNNER_ASKED" and data.get("kind") == "revert":
            self.revert = True
        elif asks_for_a_plan(event):
            self.plan = self.file = True
