"""The drivers: for a new one, a file here and in ``blkrun.options.drivers``, and a line in each."""

from typing import Any

from blkrun.server.drivers.copy_before_write import CopyBeforeWrite
from blkrun.server.drivers.copy_on_read import CopyOnRead
from blkrun.server.drivers.file import File
from blkrun.server.drivers.memory import Memory
from blkrun.server.drivers.nbd import Nbd
from blkrun.server.drivers.null import Null
from blkrun.server.drivers.qcow2 import Qcow2
from blkrun.server.drivers.raw import Raw
from blkrun.server.drivers.snapshot_access import SnapshotAccess
from blkrun.server.drivers.throttle import Throttle
from blkrun.server.drivers.write_threshold import WriteThreshold
from blkrun.server.node import Node

DRIVERS: dict[str, type[Node[Any]]] = {
    driver.driver: driver
    for driver in (
        CopyBeforeWrite,
        CopyOnRead,
        File,
        Memory,
        Nbd,
        Null,
        Qcow2,
        Raw,
        SnapshotAccess,
        Throttle,
        WriteThreshold,
    )
}
