"""The drivers' options, one file a driver, and the table of those that can be asked for."""

from blkrun.options.drivers.copy_before_write import CopyBeforeWriteOptions
from blkrun.options.drivers.copy_on_read import CopyOnReadOptions
from blkrun.options.drivers.file import FileOptions
from blkrun.options.drivers.memory import MemoryOptions
from blkrun.options.drivers.nbd import NbdOptions
from blkrun.options.drivers.null import NullOptions
from blkrun.options.drivers.qcow2 import Qcow2Options
from blkrun.options.drivers.raw import RawOptions
from blkrun.options.drivers.snapshot_access import SnapshotAccessOptions
from blkrun.options.drivers.throttle import ThrottleOptions
from blkrun.options.drivers.write_threshold import WriteThresholdOptions
from blkrun.options.node import BlockdevOptions

DRIVERS: dict[str, type[BlockdevOptions]] = {
    "copy-before-write": CopyBeforeWriteOptions,
    "copy-on-read": CopyOnReadOptions,
    "file": FileOptions,
    "memory": MemoryOptions,
    "nbd": NbdOptions,
    "null": NullOptions,
    "qcow2": Qcow2Options,
    "raw": RawOptions,
    "snapshot-access": SnapshotAccessOptions,
    "throttle": ThrottleOptions,
    "write-threshold": WriteThresholdOptions,
}
"""Driver name → its options.  ``blkrun.server.drivers.DRIVERS`` has the code for each."""
