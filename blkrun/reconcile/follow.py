"""The file follows a mirror's pivot, and a stream: it names what edges lead to now.

Comments, order and layout stay.  The mirror's own table gets ``enabled = false``: it has done its
work, and says where the disk came from.  A plan made of the edited file is empty.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blkrun.config import Sources, parse, read
from blkrun.config.edit import Written, document_in, edit_sources
from blkrun.config.references import edges, led_elsewhere
from blkrun.config.save import save_sources
from blkrun.config.steps import value_of
from blkrun.decode import Path as KeyPath
from blkrun.errors import FileError
from blkrun.job_options import JobOptions
from blkrun.model import Config, GraphModel
from blkrun.options import children_of, key_of
from blkrun.reconcile.disks import unfiltered
from blkrun.reconcile.pivots import move_of, pivoted, with_job_done

_TRIES = 5

Changes = Mapping[KeyPath, Written]


def follow(
    path: Path, last: Config, live_for: Callable[[GraphModel], GraphModel]
) -> dict[str, Any] | None:
    """Edit the file after what has pivoted; None if nothing has.  Gives the data of a report.

    ``live_for`` gives the live graph for what a file asks for (see ``blkrun.reconcile.ended``).

    ``last`` is the file as it was last applied: it says what there is to do while the file has a
    mistake in it.  Such a file is left alone, with a ``message`` in the report.
    """
    try:
        for _ in range(_TRIES):
            sources = read(path)
            config = parse(sources)
            live = live_for(config.graph)
            if not (jobs := list(pivoted(config.graph, live))):
                return None
            changes = changes_for(document_in(sources), config, live)
            if _write(sources, changes):
                words = [_words(key, value, config) for key, value in changes.items()]
                return _report(path, jobs, config.graph) | {"changes": words}
    except FileError as error:
        jobs = list(pivoted(last.graph, live_for(last.graph)))
        return _report(path, jobs, last.graph) | {"message": str(error)} if jobs else None
    return _report(path, jobs, last.graph) | {
        "message": f"{path.name} was changed again and again meanwhile"
    }


def _write(before: Sources, changes: Changes) -> bool:
    """Edit and save; False if somebody else saved meanwhile.

    In several files the edges come first, so that nothing that could be read in between leads
    anybody back to the device: it is refused, because the job is still on.
    """
    ends = {key: value for key, value in changes.items() if key[0] == "jobs"}
    after = edit_sources(before, changes)
    parse(after)
    if sum(before.texts[file] != text for file, text in after.texts.items()) == 1:
        return save_sources(before, after)
    moves = {key: value for key, value in changes.items() if key not in ends}
    moved = edit_sources(before, moves)
    return save_sources(before, moved) and _end(before.main, ends)


def _end(path: Path, ends: Changes) -> bool:
    for _ in range(_TRIES):
        sources = read(path)
        if save_sources(sources, edit_sources(sources, ends)):
            return True
    return False


def changes_for(
    document: Mapping[str, Any], config: Config, live: GraphModel
) -> dict[KeyPath, Written]:
    """What the file says otherwise from now on: every edge that does not lead to the device now."""
    written = dict(edges(document))
    moved: dict[KeyPath, str] = {}
    ends: dict[KeyPath, bool] = {}
    graph = config.graph
    for job in pivoted(config.graph, live):
        move, overlay = move_of(graph, job), unfiltered(graph, job.device)
        graph = with_job_done(graph, job)
        for edge, child in written.items():
            now = child
            if move is not None and child == move[0]:
                now = child if child in _live_children(edge, config, live) else move[1]
            elif move is None and edge == ("nodes", overlay, "backing"):
                now = children_of(graph.nodes[overlay]).get("backing", "")
            if now != child:
                written[edge] = moved[edge] = now
        ends["jobs", job.job_id, "enabled"] = False
    return {**led_elsewhere(document, moved), **ends}


def _live_children(edge: KeyPath, config: Config, live: GraphModel) -> set[str]:
    """Where an edge leads now, or all of a list: it may have another order.

    Nowhere if its parent is not in the graph (switched off, or spent).
    """
    section, name, key = (str(part) for part in edge[:3])
    if section == "exports":
        top = config.graph.exports[name].node
        if config.made_by.get(f"nodes.{top}") != f"exports.{name}":
            export = live.exports.get(name)
            return set() if export is None else {export.node}
        name, key = top, "file"  # the throttle that the export's limits have made
    options = live.nodes.get(name)
    children = {} if options is None else children_of(options)
    return {child for role, child in children.items() if key_of(role) == key}


def _report(path: Path, jobs: list[JobOptions], graph: GraphModel) -> dict[str, Any]:
    moved = []
    for job in jobs:
        device, target = move_of(graph, job) or (job.device, "")
        moved.append({"id": job.job_id, "device": device, "target": target})
        graph = with_job_done(graph, job)
    return {"file": path.name, "jobs": moved}


def _words(key: KeyPath, value: Written, config: Config) -> str:
    section, name, option = key
    shown = value_of(value).text
    file = config.shown(config.places[f"{section}.{name}"].file)
    other = "" if file == config.path.name else f" in {file}"
    return f"[{section}.{name}] {option} = {shown}{other}"
