"""Commit: an image gets what those above it have, and they are needed no more (§8.5).

::

    overlay ─▶ top ─▶ mid ─▶ base        overlay ─▶ base
               └──────┴───────▲   becomes

Whose top is not the device copies, and then leads whatever was over the top to the base.  Where it
is the device itself, which clients write to, it is a mirror to the base that begins with what the
images have: ready, it goes on, and at its end everybody has the base (``ActiveCommit``).

Until then everybody reads as before: what is written to the base is hidden by the images above it.
So nobody may look at the base, or at an image but the top, past the top.
"""

from collections.abc import Iterator
from typing import Any

from blkrun.errors import CommandError, DeviceNotFound
from blkrun.job_options import CommitOptions
from blkrun.options import CommitTopOptions, MirrorTopOptions
from blkrun.server.actions import check_no_job
from blkrun.server.backing_file import format_of, path_of, write_down
from blkrun.server.chain import Range, chain, unheld, without
from blkrun.server.divergence import Divergence
from blkrun.server.drivers.commit_top import CommitTop
from blkrun.server.drivers.mirror_top import MirrorTop
from blkrun.server.frozen import Frozen
from blkrun.server.jobs.copying import CopyJob, filter_name, find_device, put_over
from blkrun.server.jobs.growing import check_growth, grow
from blkrun.server.jobs.job import CANCELED
from blkrun.server.jobs.mirror import Mirror
from blkrun.server.jobs.policy import Conduct
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from blkrun.server.transfer import TargetError, transfer

CHUNK_BYTES = 512 * 2**10
"""What is looked at, and copied, at once; QEMU's COMMIT_BUFFER_SIZE."""

_GRANULARITY_BYTES = 2**16


class Commit(CopyJob):
    """``images`` are what is committed, from the top down, and ``overlay`` is over the top."""

    type = "commit"
    filter: CommitTop
    copy_options: CommitOptions

    def __init__(
        self,
        staging: Staging,
        options: CommitOptions,
        conduct: Conduct,
        filter_node: CommitTop,
        chain_: "Chain",
    ) -> None:
        super().__init__(staging, options, conduct, filter_node)
        self._chain = chain_

    def run(self) -> None:
        """From the start of the top image to its end."""
        grow(self._graph, self._chain.base, self.len_bytes)
        at, end = 0, self.len_bytes
        while at < end:
            self.await_pace()
            past = min(at + CHUNK_BYTES, end)
            try:
                for part in held_by(self._chain.images, at, past):
                    self.charge(part[1] - part[0])
                    for _ in transfer(self.filter.file, self.filter.target, *part):
                        pass
            except OSError as error:
                self.on_error("write" if isinstance(error, TargetError) else "read", error)
                continue
            self.progress(past - at)
            at = past
        self.flush_target()

    def prepare(self) -> None:
        """What was over the top leads to the base, in one edit with the filter's leaving."""
        self._graph.transaction([self._finish])

    def _finish(self, staging: Staging) -> None:
        if staging.node(self.filter.name) is not self.filter:
            raise CommandError(CANCELED)  # by an edit that has taken it out
        base = staging.child(self._chain.images[-1], "backing")
        if base is None:
            raise AssertionError("the chain of a commit is frozen")
        staging.take_out(self.filter, instead=base)
        overlay = self._chain.overlay
        if overlay is not None and staging.node(overlay.name) is overlay:
            name = self.copy_options.backing_file or path_of(staging, self._chain.base)
            if name is not None:
                write_down(staging, overlay, name, format_of(self._chain.base))
        staging.settles.append(self._settle)
        staging.aborts.append(self.forget_record)

    def _settle(self) -> None:
        """The overlay's image says it already: what is committed stays so, whoever dies now."""
        self.write_record()
        self._decide(pivots=True)


class ActiveCommit(Mirror):
    """Of the device itself."""

    type = "commit"
    images: Frozen = ()

    def mark(self) -> None:
        """What the images have; what is written meanwhile marks itself."""
        at, size_bytes = 0, self.filter.size_bytes
        grow(self._graph, self.filter.target, size_bytes)
        while at < size_bytes:
            self.pause_point()
            end = min(at + CHUNK_BYTES, size_bytes)
            try:
                for start, past in held_by(self.images, at, end):
                    self.filter.divergence.mark(start, past - start)
            except OSError as error:
                self.on_error("read", error)
                continue
            at = end


class Chain:
    """What is committed to what, as a command says it.  Raises CommandError in QEMU's words."""

    def __init__(self, staging: Staging, device: Node[Any], options: CommitOptions) -> None:
        if any(role == "backing" for _, role in staging.parents(device)):
            raise CommandError("Need a root block node")
        nodes = list(chain(device, staging.child))
        self.device = nodes[0]
        top = self.device if options.top_node is None else _find(staging, options.top_node)
        if top not in nodes:
            raise CommandError(f"'{top.name}' is not in this backing file chain")
        base = nodes[-1] if options.base_node is None else _find(staging, options.base_node)
        if base is top:
            raise CommandError("cannot commit an image into itself")
        first = nodes.index(top)
        if base not in nodes[first:]:
            raise CommandError(f"'{base.name}' is not in this backing file chain")
        self.images: Frozen = tuple(nodes[first : nodes.index(base, first)])
        self.base = base
        self.overlay = nodes[first - 1] if first else None

    @property
    def top(self) -> Node[Any]:
        """The first that is committed."""
        return self.images[0]

    @property
    def children(self) -> dict[str, Node[Any]]:
        """Of the job's filter."""
        return {"file": self.top, "target": self.base}

    def check(self, staging: Staging) -> None:
        """Whether the base can be written, and is seen by nobody else."""
        for node in (*self.images, self.base):
            check_no_job(staging, node)
        if staging.read_only(self.base):
            raise CommandError(f"Block node is read-only: '{self.base.name}' is to be committed to")
        self._check_size(staging)
        hidden = {*self.images[1:], self.base}
        for export in staging.exports.values():
            root = staging.child(export, "root")
            seen = set() if root is None else _seen_past(staging, root, self.top)
            for node in hidden & seen:
                raise CommandError(
                    f"Node '{node.name}' is busy: export '{export.name}' shows it past "
                    f"'{self.top.name}', and would see what is committed"
                )

    def _check_size(self, staging: Staging) -> None:
        """A larger base would show past the top's end, where there were zeroes, or nothing.

        QEMU lets it; a disk in use would get longer by it, or have other data.
        """
        base_bytes, top_bytes = staging.size(self.base), staging.size(self.top)
        if base_bytes < top_bytes:
            check_growth(staging, self.base, top_bytes)
        room = None if self.overlay is None else staging.size(self.overlay)
        if base_bytes > top_bytes and (room is None or room > top_bytes):
            raise CommandError(
                f"Node '{self.base.name}' has {base_bytes} bytes and '{self.top.name}' "
                f"{top_bytes}: what is past the end of '{self.top.name}' would be seen"
            )


def held_by(images: Frozen, start: int, end: int) -> list[Range]:
    """What of a range any of the images has itself."""
    return without([(start, end)], unheld(images, start, end))


def start(staging: Staging, options: CommitOptions, conduct: Conduct) -> None:
    """As an action.  Raises CommandError in QEMU's words."""
    if not conduct.of_file and options.device not in {*staging.exports, *staging.nodes}:
        raise DeviceNotFound(f"Device '{options.device}' not found")
    device = find_device(staging, options, of_file=conduct.of_file)
    found = Chain(staging, device, options)
    found.check(staging)
    if conduct.of_file and not found.base.monitor_owned:
        raise CommandError(
            f"Node '{found.base.name}' comes with an image, and no file can lead to it: "
            "say what the backing is, with a name of its own"
        )
    if found.overlay is None:
        if options.backing_file is not None:
            raise CommandError("'backing-file' specified, but 'top' is the active layer")
        _start_active(staging, options, conduct, found)
        return
    if options.when_ready != "wait":
        raise CommandError("'when-ready' specified, but 'top' is not the active layer")
    if found.overlay.options.read_only:
        raise CommandError(f"Node '{found.overlay.name}' is read-only: it could not say its base")
    top = CommitTop(
        CommitTopOptions(
            node_name=filter_name(options), file=found.top.name, target=found.base.name
        )
    )
    top.frozen = (*found.images, found.base)
    put_over(staging, top, found.children, options.job_id)
    job = Commit(staging, options, conduct, top, found)
    job.set_length(staging.size(found.top))
    staging.add_job(job)


def _start_active(staging: Staging, options: CommitOptions, conduct: Conduct, found: Chain) -> None:
    top = MirrorTop(
        MirrorTopOptions(
            node_name=filter_name(options), file=found.top.name, target=found.base.name
        )
    )
    top.frozen = (*found.images, found.base)
    top.divergence = Divergence(staging.size(found.top), _GRANULARITY_BYTES, blocking=False)
    put_over(staging, top, found.children, options.job_id)
    job = ActiveCommit(staging, options, conduct, top)
    job.images = found.images
    staging.add_job(job)


def _find(staging: Staging, name: str) -> Node[Any]:
    node = staging.node(name)
    if node is None:
        raise CommandError(f"Cannot find device='' nor node-name='{name}'")
    return node


def _seen_past(staging: Staging, root: Node[Any], top: Node[Any]) -> set[Node[Any]]:
    """The nodes below a root that can be come to without passing the top."""
    return set(_walk(staging, root, top))


def _walk(staging: Staging, root: Node[Any], top: Node[Any]) -> Iterator[Node[Any]]:
    rest, seen = [root], set()
    while rest:
        node = rest.pop()
        if node is not top and node not in seen:
            seen.add(node)
            yield node
            rest.extend(staging.children(node).values())
