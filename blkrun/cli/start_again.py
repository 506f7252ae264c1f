"""``blkrun enable FILE JOB --again``: a job that has ended is forgotten, and so it is due again.

Also one that is switched off in the file: what is left then is the ordinary edit.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

from msgspec import structs

from blkrun.cli import Exit
from blkrun.cli.asking import connect
from blkrun.cli.edit_file import Ask, Edited, edited_by, expect, see_through, show_proposal
from blkrun.config import locate, parse, read
from blkrun.config.asked import switchable_path
from blkrun.config.changes import switch
from blkrun.config.edit import document_in
from blkrun.errors import BlkrunError, FileError
from blkrun.model import Config, JobState
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.jobs import without_job
from blkrun.reconcile.lease import holder_of
from blkrun.reconcile.live import Live
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.proposal import Proposal, proposed


def start_again(args: argparse.Namespace) -> Exit | None:
    """None: the edit of the file is still to be made, if there is any.  Raises BlkrunError."""
    sources = read(args.file)
    config = parse(sources)
    section, name = switchable_path(document_in(sources), args.node)
    if section != "jobs":
        raise FileError(f'blkrun: --again is for a job, and "{args.node}" is none')
    edited = Edited(sources, sources, (), config)
    return asyncio.run(_start_again(args, str(name), edited))


async def _start_again(args: argparse.Namespace, name: str, edited: Edited) -> Exit | None:
    control = locate(args.file).control
    async with AsyncExitStack() as stack:
        client = await connect(control)
        if client is None:
            return None
        await stack.enter_async_context(client)
        live = await ask_live(client)
        if not _has_ended(live.graph.states.get(name), name):
            return None
        is_off = name in edited.config.graph.resting
        quiet = args.json or not args.dry_run  # what is done is shown by the ordinary edit
        edited = edited_by(args.file, switched_on(args), quiet=quiet) or edited
        if args.dry_run:
            proposal = _proposal(edited.config, live, name)
            return show_proposal(proposal, edited, running=True, as_json=args.json)
        expect(edited, args.expect)
        followed = holder_of(control) is not None
        await client.execute("job-dismiss", {"id": name})
        if is_off:
            return None
        return await see_through(client, edited, followed=followed, as_json=args.json, anew=True)


def switched_on(args: argparse.Namespace) -> Ask:
    """The ordinary edit."""
    return lambda document: switch(document, args.node, on=True)


def _has_ended(state: JobState | None, name: str) -> bool:
    if state is not None and state.pivoted:
        raise BlkrunError(
            f"job {name} has changed the graph for good: there is nothing left for it to do"
        )
    return state is not None and state.ended


def _proposal(config: Config, live: Live, name: str) -> Proposal:
    """What is done once it is forgotten.  Only then would the server say yes to it."""
    forgotten = Operation(
        "job-dismiss", {"id": name}, "-", f"job {name}: forgotten, as it has ended", f"jobs.{name}"
    )
    without = without_job(live.graph, name)
    states = {job: state for job, state in live.graph.states.items() if job != name}
    graph = structs.replace(without, states=states)
    proposal = proposed(config, structs.replace(live, graph=graph))
    return replace(proposal, operations=(forgotten, *proposal.operations), drains={})
