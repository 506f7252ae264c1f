"""Every command, by name: dispatch, ``query-commands`` and the README's table come from here."""

from typing import Any

from blkrun.server.qmp.commands import (
    bitmaps,
    block_jobs,
    edits,
    jobs,
    objects,
    protocol,
    queries,
    runner,
    stats,
    threshold,
    transactions,
)
from blkrun.server.qmp.dispatch import Command

COMMANDS: dict[str, Command[Any]] = {
    command.name: command
    for subject in (
        protocol,
        transactions,
        queries,
        stats,
        edits,
        bitmaps,
        threshold,
        objects,
        jobs,
        block_jobs,
        runner,
    )
    for command in subject.COMMANDS
}
