"""What can be written in a file and sent over QMP: one frozen Struct a driver.

The same declaration serves the TOML reader, the QMP decoder, ``blkrun check`` and the
comparison of desired with live (``==``).  Field metadata says what types cannot:

* ``Meta(description=...)``: the meaning, one sentence;
* ``extra={"unit": "bytes" | "count" | "seconds" | "ns"}``: strings with a unit are accepted
  (see :mod:`blkrun.units`), the value held is the plain integer;
* ``extra={"edge": True}``: the value names a child node; the field's wire name is the role.  Of the
  type ``NodeName | UnsetType | None`` it may lead nowhere: null over QMP, ``""`` in TOML.

Names on the wire and in TOML are kebab-case; here they are snake_case.  ``rename="kebab"``
is the one place where that is converted.

A Struct's ``renamed`` has its keys' older names → the names of now.  A file may still have one: it
is read, with a warning.  QMP does not take them.
"""

from blkrun.options.bitmap import DEFAULT_GRANULARITY_BYTES, BitmapOptions
from blkrun.options.drivers import DRIVERS
from blkrun.options.drivers.commit_top import CommitTopOptions
from blkrun.options.drivers.copy_before_write import BitmapPlace, CopyBeforeWriteOptions
from blkrun.options.drivers.copy_on_read import CopyOnReadOptions
from blkrun.options.drivers.file import FileOptions
from blkrun.options.drivers.memory import DEFAULT_MEMORY_SIZE_BYTES, MemoryOptions
from blkrun.options.drivers.mirror_top import MirrorTopOptions
from blkrun.options.drivers.nbd import NbdOptions
from blkrun.options.drivers.null import NullOptions
from blkrun.options.drivers.qcow2 import Qcow2Options
from blkrun.options.drivers.raw import RawOptions
from blkrun.options.drivers.snapshot_access import SnapshotAccessOptions
from blkrun.options.drivers.throttle import ThrottleOptions
from blkrun.options.drivers.write_threshold import WriteThresholdOptions
from blkrun.options.edges import EDGES, OPTIONAL_EDGES, children_of, with_child
from blkrun.options.export import ExportOptions
from blkrun.options.fields import choices_of, extra_of, fields_of, table_of, to_wire
from blkrun.options.node import MAX_BURST_SECONDS, BlockdevOptions, Bytes, NodeName
from blkrun.options.settings import DashboardOptions, RunnerOptions, ServerOptions
from blkrun.options.throttle_limits import MAX_LIMIT, ThrottleLimits

__all__ = [
    "DEFAULT_GRANULARITY_BYTES",
    "DEFAULT_MEMORY_SIZE_BYTES",
    "DRIVERS",
    "EDGES",
    "MAX_BURST_SECONDS",
    "MAX_LIMIT",
    "OPTIONAL_EDGES",
    "BitmapOptions",
    "BitmapPlace",
    "BlockdevOptions",
    "Bytes",
    "CommitTopOptions",
    "CopyBeforeWriteOptions",
    "CopyOnReadOptions",
    "DashboardOptions",
    "ExportOptions",
    "FileOptions",
    "MemoryOptions",
    "MirrorTopOptions",
    "NbdOptions",
    "NodeName",
    "NullOptions",
    "Qcow2Options",
    "RawOptions",
    "RunnerOptions",
    "ServerOptions",
    "SnapshotAccessOptions",
    "ThrottleLimits",
    "ThrottleOptions",
    "WriteThresholdOptions",
    "children_of",
    "choices_of",
    "extra_of",
    "fields_of",
    "table_of",
    "to_wire",
    "with_child",
]
