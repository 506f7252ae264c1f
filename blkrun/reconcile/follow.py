"""The file follows a mirror's pivot, and a stream: it names what edges lead to now.

Comments, order and layout stay.  The mirror's own table gets ``enabled = false``: it has done its
work, and says where the disk came from.  A plan made of the edited file is empty.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blkrun.config import Sources, parse, read
from blkrun.config.edit import Key, document_in, edit_sources
from blkrun.config.references import edges
from blkrun.config.save import save_sources
from blkrun.errors import FileError
from blkrun.job_options import JobOptions
from blkrun.model import Config, GraphModel
from blkrun.options import EDGES, children_of
from blkrun.reconcile.nodes import unfiltered
from blkrun.reconcile.pivots import move_of, pivoted, with_job_done

_TRIES = 5

Changes = Mapping[Key, str | bool]


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
) -> dict[Key, str | bool]:
    """What the file says otherwise from now on: every edge that does not lead to the device now."""
    written = dict(edges(document))
    changes: dict[Key, str | bool] = {}
    graph = config.graph
    for job in pivoted(config.graph, live):
        move, overlay = move_of(graph, job), unfiltered(graph, job.device)
        graph = with_job_done(graph, job)
        for key, child in written.items():
            now = child
            if move is not None and child == move[0] and _live_child(key, config, live) != child:
                now = move[1]
            elif move is None and key == ("nodes", overlay, "backing"):
                now = children_of(graph.nodes[overlay]).get("backing", "")
            if now != child:
                written[key] = changes[key] = now
        changes["jobs", job.job_id, "enabled"] = False
    return changes


def _live_child(key: Key, config: Config, live: GraphModel) -> str | None:
    """Where the edge leads now; None if its parent is not in the graph (switched off, or spent)."""
    section, name, role = key
    if section == "exports":
        top = config.graph.exports[name].node
        if config.made_by.get(f"nodes.{top}") != f"exports.{name}":
            export = live.exports.get(name)
            return export.node if export is not None else None
        name, role = top, "file"  # the throttle that the export's limits have made
    options = live.nodes.get(name)
    field = EDGES[type(options)].get(role) if options is not None else None
    return getattr(options, field) if field is not None else None


def _report(path: Path, jobs: list[JobOptions], graph: GraphModel) -> dict[str, Any]:
    moved = []
    for job in jobs:
        device, target = move_of(graph, job) or (job.device, "")
        moved.append({"id": job.job_id, "device": device, "target": target})
        graph = with_job_done(graph, job)
    return {"file": path.name, "jobs": moved}


def _words(key: Key, value: str | bool, config: Config) -> str:  # noqa: FBT001 - a value
    section, name, option = key
    shown = str(value).lower() if isinstance(value, bool) else f'"{value}"'
    file = config.shown(config.places[f"{section}.{name}"].file)
    other = "" if file == config.path.name else f" in {file}"
    return f"[{section}.{name}] {option} = {shown}{other}"
