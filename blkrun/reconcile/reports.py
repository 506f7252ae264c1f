"""What is said of an edit, by the runner and by ``apply``: pure but for the clock."""

from collections.abc import Mapping
from time import monotonic_ns
from typing import Any

from blkrun.model import Config, GraphModel
from blkrun.options import CopyBeforeWriteOptions
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import summarise


def about(config: Config, operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Which file, what its plan is, and what is switched off, if anything is: jobs, nodes."""
    return {
        "file": config.path.name,
        "summary": summarise(operations),
        "operations": [f"{op.sign} {op.text}" for op in operations],
        **switched_off(config),
    }


def switched_off(config: Config) -> dict[str, Any]:
    """What no server knows: jobs by name, nodes with their drivers; nothing if none is off."""
    off = {
        "resting": sorted(config.graph.resting),
        "disabled": dict(sorted(config.disabled.items())),
    }
    return {key: names for key, names in off.items() if names}


def stakes(drains: Mapping[str, int] | None, taken: Mapping[str, int]) -> dict[str, Any]:
    """Whose requests waited, or will; who lost their disk, or will.  Export → clients."""
    return {"drains": None if drains is None else dict(drains), "taken": dict(taken)}


def milliseconds_since(begin_ns: int) -> float:
    """How long it took, by ``monotonic_ns``."""
    return round((monotonic_ns() - begin_ns) / 1e6, 1)


def why_not_now(
    config: Config, operations: tuple[Operation, ...], taken: Mapping[str, int]
) -> str | None:
    """Why a plan waits for somebody's yes, or None if it does not."""
    mode = config.runner.apply
    if mode == "ask" and operations:
        return f'[runner] apply = "ask", {summarise(operations)}'
    if mode == "safe" and taken:
        who = ", ".join(f"{name} ({count})" for name, count in taken.items())
        return f"it takes a disk from connected clients: {who}"
    return None


def points_in_time(graph: GraphModel) -> list[str]:
    """The nodes that keep one: in a server that was started anew it is another."""
    return [
        name for name, options in graph.nodes.items() if isinstance(options, CopyBeforeWriteOptions)
    ]


def restart_notes(new: Config, old: Config) -> list[str]:
    """What of [server] waits for a restart.  The address of a running server stays."""
    if new.address == old.address and new.server == old.server:
        return []
    return ["a change of [server] takes effect when the server is started again"]


def warning_notes(config: Config) -> list[str]:
    """The first of what should be written otherwise, and how many more there are."""
    if not config.warnings:
        return []
    first, *more = config.warnings
    rest = f" (and {len(more)} more: blkrun check {config.path.name})" if more else ""
    return [f"{config.shown(first.file)}:{first.line}: {first.message}{rest}"]
