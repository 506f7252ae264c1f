"""Backup: the target becomes the disk as it was when the job started (qemu-semantics §6.3, 6.4).

A copy-before-write filter over the device keeps that point in time; the job copies what writes
have not had copied yet.  Each cluster is copied once, by whoever comes first.
"""

from typing import Any

from blkrun.errors import CommandError
from blkrun.job_options import BackupOptions
from blkrun.options import CopyBeforeWriteOptions
from blkrun.server import bitmap_actions
from blkrun.server.bitmap import Bitmap, Run
from blkrun.server.bitmap_actions import Place
from blkrun.server.dirty import DirtyBitmap
from blkrun.server.drivers.copy_before_write import CLUSTER_BYTES, CopyBeforeWrite
from blkrun.server.jobs.copying import CopyJob, filter_name, find_places, put_in
from blkrun.server.jobs.policy import Conduct
from blkrun.server.node import Node
from blkrun.server.point_in_time import PointInTime
from blkrun.server.staging import Staging
from blkrun.server.transfer import TargetError
from blkrun.server.way import EXTENT_HOLE

REACH_CLUSTERS = 4
"""How many a write has copied at once, where all of them are to be copied some time.

A backup of 256 MiB then takes 170 ms of a client's time that writes at QD 16, not 290; its p99
meanwhile is 4.3 ms, not 3.7.
"""


class Backup(CopyJob):
    """``sync none`` copies nothing by itself, and goes on until it is cancelled."""

    type = "backup"
    filter: CopyBeforeWrite

    def __init__(
        self,
        staging: Staging,
        options: BackupOptions,
        conduct: Conduct,
        filter_node: CopyBeforeWrite,
        bitmap: DirtyBitmap | None,
    ) -> None:
        super().__init__(staging, options, conduct, filter_node)
        self._sync = options.sync
        self._bitmap = bitmap
        self._bitmap_mode = options.bitmap_mode or "on-success"  # incremental's
        filter_node.on_copied = self.progress
        filter_node.reach = 1 if self._sync == "none" else REACH_CLUSTERS

    def run(self) -> None:
        """Copy what is to be kept, from the start of the disk to its end."""
        if self._sync == "none":
            while True:
                self.wait_completion()
        if self._sync == "top":
            self._leave_out_holes()
        self._copy_all()
        self.set_length(self.offset_bytes)
        self.flush_target()

    def commit(self) -> None:
        """What the bitmap said has been copied."""
        if self._bitmap is not None:
            self._bitmap.thaw(self._bitmap.frozen if self._bitmap_mode == "never" else None)

    def abort(self) -> None:
        """The bitmap has what is not on the target, or, if it is not to change, all that it had."""
        if self._bitmap is not None:
            left = self.filter.moment.to_copy
            self._bitmap.thaw(left if self._bitmap_mode == "always" else self._bitmap.frozen)

    def _copy_all(self) -> None:
        moment, at = self.filter.moment, 0
        while (ahead := moment.ahead(at) or moment.ahead(0)) is not None:
            self.await_pace()  # without a claim: nobody is to wait for a job that stands still
            run = moment.claim(*ahead)
            if run is None:
                if moment.broken:
                    raise OSError(moment.broken, "the point in time could not be kept")
                at = ahead[1]
                continue
            at = run[1] if self._copy_run(run) else run[0]

    def _copy_run(self, run: Run) -> bool:
        """Whether that was a success, or is to be tried again."""
        self.charge((run[1] - run[0]) * CLUSTER_BYTES)
        try:
            self.filter.copy_run(run)
        except OSError as error:
            self.on_error("write" if isinstance(error, TargetError) else "read", error)
            return False
        return True

    def _leave_out_holes(self) -> None:
        moment = self.filter.moment
        for start, length, kind in self.device_extents():
            if kind & EXTENT_HOLE:
                moment.leave_out(start, length)
        self.set_length(self.offset_bytes + moment.remaining_bytes())


def start(staging: Staging, options: BackupOptions, conduct: Conduct) -> None:
    """As an action.  The point in time is the instant at which the edit becomes true.

    Raises CommandError in QEMU's words and order.
    """
    device, target = find_places(staging, options, of_file=conduct.of_file)
    _check_bitmap(staging, options, device)
    keeper = CopyBeforeWrite(
        CopyBeforeWriteOptions(node_name=filter_name(options), file=device.name, target=target.name)
    )
    put_in(staging, keeper, device, target, options.job_id)
    bitmap = None
    if options.bitmap is not None:
        bitmap = bitmap_actions.freeze(staging, Place(device.name, options.bitmap))
    job = Backup(staging, options, conduct, keeper, bitmap)
    staging.add_job(job)
    staging.commits.append(lambda: _fix(job, options, bitmap))


def _fix(job: Backup, options: BackupOptions, bitmap: DirtyBitmap | None) -> None:
    """At the instant: what it is that will be kept."""
    keeper = job.filter
    length_bytes = keeper.size_bytes
    if bitmap is not None and bitmap.frozen is not None and options.sync in _BY_BITMAP:
        wanted = Bitmap(keeper.size_bytes, CLUSTER_BYTES)
        wanted.merge(bitmap.frozen)
        keeper.moment = PointInTime(wanted)
        length_bytes = keeper.moment.remaining_bytes()
    job.set_length(length_bytes)


_BY_BITMAP = ("bitmap", "incremental")


def _check_bitmap(staging: Staging, options: BackupOptions, device: Node[Any]) -> None:
    """QEMU's do_backup_common."""
    sync, name, mode = options.sync, options.bitmap, options.bitmap_mode
    if sync in _BY_BITMAP and name is None:
        raise CommandError(f"must provide a valid bitmap name for '{sync}' sync mode")
    if sync == "incremental" and mode not in (None, "on-success"):
        raise CommandError(
            "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'"
        )
    if name is None:
        if mode is not None:
            raise CommandError("Cannot specify bitmap sync mode without a bitmap")
        return
    if name not in staging.bitmaps(device):
        raise CommandError(f"Bitmap '{name}' could not be found")
    if mode is None and sync != "incremental":
        raise CommandError("Bitmap sync mode must be given when providing a bitmap")
    bitmap_actions.find_usable(staging, Place(device.name, name))
    if sync == "none":
        raise CommandError("sync mode 'none' does not produce meaningful bitmap outputs")
