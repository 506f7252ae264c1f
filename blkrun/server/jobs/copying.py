"""What backup and mirror have in common: they copy from one node to another, behind a filter.

The filter is in the way of everybody who uses the device, as a node with a name, from the edit
that starts the job to the job's end.  It stands for the device meanwhile (``Staging.stand_in``),
so the graph can be edited around a running job as if it were not there.
"""

import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from blkrun.errors import CommandError
from blkrun.job_options import CopyOptions, JobOptions, job_to_wire
from blkrun.pivot_record import record_of, remove_record, write_record
from blkrun.server.actions import check_new_name, check_no_job, find_node, generated_name
from blkrun.server.jobs.job import Job
from blkrun.server.jobs.policy import Conduct
from blkrun.server.keeper import unfiltered
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from blkrun.server.way import Extent

_RETRY_S = 1.0

_LOOK_BYTES = 2**30
"""How much is looked through for holes at once."""


class CopyJob(Job):
    """``filter`` has the edges ``file``, to the device, and ``target``.  The first is no clone."""

    def __init__(
        self, staging: Staging, options: JobOptions, conduct: Conduct, filter_node: Node[Any]
    ) -> None:
        super().__init__(conduct, staging.graph.events, staging.job_transaction)
        self.filter = filter_node
        self.copy_options = options
        self._graph = staging.graph

    def nodes(self) -> Collection[Node[Any]]:
        """The filter, while it is in the graph."""
        live = self._graph.nodes.get(self.filter.name)
        return (self.filter,) if live is self.filter else ()

    def describe(self) -> dict[str, Any]:
        """As ``x-blkrun-query-graph`` has it; options as they are now."""
        return {
            "options": job_to_wire(msgspec.structs.replace(self.copy_options, speed=self.speed)),
            "filter": next((node.name for node in self.nodes()), None),
        }

    def clean(self) -> None:
        """The filter leaves.  It must: an edit that cannot be made just now is tried again."""
        while self.nodes():
            try:
                self._graph.transaction([self.take_out])
            except CommandError as error:
                print(f"job {self.id}: its filter stays: {error}", file=sys.stderr)  # noqa: T201
                time.sleep(_RETRY_S)

    def device_extents(self) -> Iterator[Extent]:
        """What is known of the whole device, piece by piece, with the policy for errors."""
        size_bytes, offset = self.filter.size_bytes, 0
        while offset < size_bytes:
            self.pause_point()
            end = min(offset + _LOOK_BYTES, size_bytes)
            try:
                extents = self.filter.children["file"].extents(end - offset, offset)
            except OSError as error:
                self.on_error("read", error)
                continue
            for start, length, kind in extents:
                offset = min(start + length, end)
                yield start, offset - start, kind

    def flush_target(self) -> None:
        """What has been copied is durable.  By the end of ``run``, with its policy for errors."""
        while True:
            self.pause_point()
            try:
                self.filter.children["target"].flush()
            except OSError as error:
                self.on_error("write", error)
            else:
                return

    def write_record(self) -> None:
        """Right before edges lead elsewhere, since a file does not say it yet.  Raises OSError."""
        if (control := self._control) is not None:
            write_record(control, record_of(self.copy_options))

    def forget_record(self) -> None:
        """They do not after all."""
        if (control := self._control) is not None:
            remove_record(control, self.id)

    @property
    def _control(self) -> Path | None:
        """Where records are; None: no file has to follow."""
        return self._graph.control if self.options.of_file else None

    def take_out(self, staging: Staging) -> None:
        """As an action: its filter leaves the graph, if it is still there."""
        if staging.node(self.filter.name) is self.filter:
            staging.take_out(self.filter)


def find_places(
    staging: Staging, options: CopyOptions, *, of_file: bool
) -> tuple[Node[Any], Node[Any]]:
    """The device and the target.  Raises CommandError, in QEMU's words (qemu-semantics §6.3).

    A device is an export first, as in QEMU; but a file means the node, whatever exports are called.
    """
    return find_device(staging, options, of_file=of_file), find_node(staging, options.target)


def find_device(staging: Staging, options: JobOptions, *, of_file: bool) -> Node[Any]:
    """The same, of the device alone."""
    name = options.device if of_file else _device_name(staging, options.device)
    return find_node(staging, name)


def put_in(
    staging: Staging, node: Node[Any], device: Node[Any], target: Node[Any], job_id: str
) -> None:
    """A job's filter comes between a device and everybody who uses it.

    Raises CommandError: another job has either of them, or one cannot be copied to the other.
    """
    _check_places(staging, device, target)
    put_over(staging, node, {"file": device, "target": target}, job_id)


def put_over(
    staging: Staging, node: Node[Any], children: Mapping[str, Node[Any]], job_id: str
) -> None:
    """The same, for whatever a job has checked.  Raises CommandError for the filter's name."""
    check_new_name(staging, node.name, owned=not node.name.startswith("#"))
    users = set(staging.parents(children["file"]))
    node.monitor_owned = False
    node.job_id = job_id
    staging.add_node(node, children)
    for parent, role in users:
        staging.set_edge(parent, role, node)


def filter_name(options: JobOptions) -> str:
    """The one asked for, or one that nobody can have written."""
    return options.filter_node_name or generated_name()


def remove(staging: Staging, job_id: str) -> None:
    """As an action: cancel a job, take its filter out in this very edit, and forget it.

    The job comes to rest for that, in the middle of its work.  One that cannot be cancelled any
    more ends as it would have, and is forgotten then.
    """
    job = staging.find_job(job_id)
    if isinstance(job, CopyJob):
        job.take_out(staging)
    staging.stopped.add(job)
    staging.commits.append(job.forget)


def change(staging: Staging, job_id: str, changes: dict[str, Any]) -> None:
    """As an action: other values for options that may change while a job runs."""
    staging.commits.append(staging.find_job(job_id).change(changes))


def _device_name(staging: Staging, name: str) -> str:
    """A node's, or an export's, as QEMU takes a device's."""
    export = staging.exports.get(name)
    root = None if export is None else staging.child(export, "root")
    if root is None:
        return name
    return root.children["file"].name if root.job_id is not None else root.name


def _check_places(staging: Staging, device: Node[Any], target: Node[Any]) -> None:
    if unfiltered(staging, device) is unfiltered(staging, target):
        raise CommandError("Source and target cannot be the same")
    if device in staging.tree(target) or target in staging.tree(device):
        raise CommandError(
            f"Node '{device.name}' cannot be copied to '{target.name}': one is a part of the other"
        )
    for node in (device, target):
        check_no_job(staging, node)
    if staging.size(device) != staging.size(target):
        raise CommandError(
            f"Source and target image have different sizes: '{device.name}' has "
            f"{staging.size(device)} bytes and '{target.name}' {staging.size(target)}"
        )
