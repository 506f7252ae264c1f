"""Mirror: the target becomes equal to a disk in use, and then its successor (qemu-semantics §8.6).

A filter over the device notes what is written, or writes it to both.  The job copies what differs,
until nothing does; then it is ready, and goes on.  Told to complete, it has all writes go to both
while it copies the rest, so that this comes to an end whatever clients write; the very last of it,
in an instant without requests, and with the same edit everybody who used the device has the target.
"""

import contextlib
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

import msgspec

from blkrun.errors import CommandError
from blkrun.job_options import CommitOptions, MirrorOptions
from blkrun.options import MirrorTopOptions
from blkrun.server.bitmap import Run
from blkrun.server.divergence import Divergence
from blkrun.server.drivers.mirror_top import MirrorTop
from blkrun.server.jobs.control import JobCancelled
from blkrun.server.jobs.copying import CopyJob, filter_name, find_places, put_in
from blkrun.server.jobs.job import CANCELED
from blkrun.server.jobs.pace import NS_PER_S
from blkrun.server.jobs.policy import Conduct
from blkrun.server.keeper import Keeper
from blkrun.server.staging import Staging
from blkrun.server.transfer import TargetError, transfer
from blkrun.server.way import EXTENT_HOLE

_IDLE_S = 0.1
"""Between two looks whether something is to be copied again; QEMU's slice time."""

_SHORT_S = 0.001

_CONVERGING = 0.7
"""If less than this is left of what differed a round ago, another round is worth it."""

_GRANULARITY_BYTES = (512, 64 * 2**20)


class Mirror(CopyJob):
    """``copy_options`` are as they are now: ``when-ready`` may change while it runs."""

    type = "mirror"
    completable = True
    filter: MirrorTop
    copy_options: MirrorOptions | CommitOptions

    def __init__(
        self,
        staging: Staging,
        options: MirrorOptions | CommitOptions,
        conduct: Conduct,
        filter_node: MirrorTop,
    ) -> None:
        super().__init__(staging, options, conduct, filter_node)
        self._length_noted_ns = 0

    @property
    def _divergence(self) -> Divergence:
        return self.filter.divergence

    def change(self, changes: Mapping[str, Any]) -> Callable[[], None]:
        """``when-ready``, too."""
        rest = {key: value for key, value in changes.items() if key != "when-ready"}
        commit = super().change(rest)
        wanted = changes.get("when-ready", self.copy_options.when_ready)
        if wanted not in ("wait", "pivot"):
            raise CommandError(f"Parameter 'when-ready' does not accept value '{wanted}'")

        def commit_all() -> None:
            commit()
            self.copy_options = msgspec.structs.replace(self.copy_options, when_ready=wanted)
            self._pivot_if_wanted()

        return commit_all

    # The work

    def run(self) -> None:
        """Until it is told to complete, and then until nothing is left."""
        self.mark()
        self._copy_what_differs()
        self.ready()
        self._pivot_if_wanted()
        at: int | None = 0
        while not self.wait_completion(_IDLE_S if at is None else 0):
            at = self._copy_next(at or 0)
            self._note_length(now=at is None)
        self._divergence.block()
        self._copy_what_differs()

    def prepare(self) -> None:
        """The end, in an instant without requests.  Raises what copying the last of it does."""
        self._graph.transaction([self._finish])

    def _finish(self, staging: Staging) -> None:
        if staging.node(self.filter.name) is not self.filter:
            raise CommandError(CANCELED)  # by an edit that has taken it out
        staging.disturbed.add(self.filter)
        staging.settles.append(self._settle)
        if self.pivots:
            self._give_target(staging)
        else:
            staging.take_out(self.filter)

    def _give_target(self, staging: Staging) -> None:
        device, target = self.filter.children["file"], self.filter.children["target"]
        staging.take_out(self.filter, instead=target)
        for node in staging.nodes.values():
            if isinstance(node, Keeper):
                node.succeed(staging, device, target)
        staging.aborts.append(self.forget_record)
        data = {"id": self.id, "device": device.name, "target": target.name}
        staging.starts.append(lambda: self._events.emit("X_BLKRUN_JOB_PIVOTED", data))

    def _settle(self) -> None:
        """Nobody writes.  What writes that began before all went to both have left is copied."""
        divergence = self._divergence
        while (run := divergence.claim(0)) is not None:
            self._copy_run(run)
            if self.cancelled:
                raise JobCancelled
        self._note_length(now=True)  # with what was copied here, without what went to both
        self.filter.target.flush()
        if self.pivots:
            self.write_record()
        self._decide(pivots=self.pivots)

    def _pivot_if_wanted(self) -> None:
        if self.copy_options.when_ready == "pivot" and self.is_ready and not self.completing:
            with contextlib.suppress(CommandError):  # it has just been cancelled
                self.complete()

    # Copying

    def _copy_what_differs(self) -> None:
        """All of it; or, if clients write as fast as that, until it does not get less any more."""
        divergence, left = self._divergence, self._divergence.remaining_bytes()
        while not divergence.is_clean():
            self._copy_round(self.offset_bytes + left)
            before, left = left, divergence.remaining_bytes()
            if left > _CONVERGING * before:
                break
        self.flush_target()
        self._note_length(now=True)

    def _copy_round(self, until_bytes: int) -> None:
        """As much as differed when it began, or all that does now."""
        at: int | None = 0
        while self.offset_bytes < until_bytes and not self._divergence.is_clean():
            at = self._copy_next(at or 0)
            self._note_length()
            if at is None:
                self.idle(_SHORT_S)  # clients write where there is something to copy

    def _copy_next(self, at: int) -> int | None:
        """One chunk from ``at`` on, or from the beginning: its end; None: there is none."""
        self.await_pace()
        run = self._divergence.claim(at)
        if run is None:
            return None
        self.charge((run[1] - run[0]) * self._divergence.dirty.granularity_bytes)
        try:
            self._copy_run(run)
        except OSError as error:
            self.on_error("write" if isinstance(error, TargetError) else "read", error)
            return run[0]
        return run[1]

    def _copy_run(self, run: Run) -> None:
        node, divergence = self.filter, self._divergence
        cluster_bytes = divergence.dirty.granularity_bytes
        offset, end = run[0] * cluster_bytes, min(run[1] * cluster_bytes, node.size_bytes)
        past = run[0]
        try:
            for done in transfer(node.file, node.target, offset, end):
                past = run[1] if done == end else done // cluster_bytes
        finally:
            self.progress(min(past * cluster_bytes, end) - offset)
            divergence.copied(run, past)

    def mark(self) -> None:
        """``sync top``: what is no hole.  What is written meanwhile marks itself."""
        if not isinstance(self.copy_options, MirrorOptions) or self.copy_options.sync != "top":
            return
        for start, length, kind in self.device_extents():
            if not kind & EXTENT_HOLE:
                self._divergence.mark(start, length)

    def _note_length(self, *, now: bool = False) -> None:
        """What is left grows with what clients write.  Counting it is not free."""
        time_ns = monotonic_ns()
        if now or time_ns - self._length_noted_ns > _IDLE_S * NS_PER_S:
            self._length_noted_ns = time_ns
            self.set_length(self.offset_bytes + self._divergence.remaining_bytes())


def start(staging: Staging, options: MirrorOptions, conduct: Conduct) -> None:
    """As an action.  Raises CommandError in QEMU's words."""
    device, target = find_places(staging, options, of_file=conduct.of_file)
    if device is target:
        raise CommandError("Can't mirror node into itself")
    _check_granularity(options.granularity)
    top = MirrorTop(
        MirrorTopOptions(node_name=filter_name(options), file=device.name, target=target.name)
    )
    top.divergence = Divergence(
        staging.size(device),
        options.granularity,
        blocking=options.copy_mode == "write-blocking",
    )
    put_in(staging, top, device, target, options.job_id)
    job = Mirror(staging, options, conduct, top)
    staging.add_job(job)
    if options.sync == "full":
        everything = top.divergence.dirty
        everything.set_clusters(0, everything.clusters)
        job.set_length(staging.size(device))


def _check_granularity(granularity_bytes: int) -> None:
    least, greatest = _GRANULARITY_BYTES
    if not least <= granularity_bytes <= greatest:
        raise CommandError("Parameter 'granularity' expects a value in range [512B, 64MB]")
    if granularity_bytes & (granularity_bytes - 1):
        raise CommandError("Parameter 'granularity' expects a power of 2")
