"""FUA: what was written is durable on return, whatever else is being flushed or not."""

from collections.abc import Callable

import pytest

from blkrun.server.qcow2.create import NewImage
from blkrun.server.qcow2.writing import Writer
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM
from tests.server.qcow2.crash import Loss, left_of
from tests.server.qcow2.disks import LogDisk
from tests.server.qcow2.guest import Guest, guest_with

CLUSTER = 4096
_ALL_LOST = Loss(lost_percent=100)


def left_now(disk: LogDisk) -> LogDisk:
    """After a crash in this moment that takes all that may be lost."""
    return LogDisk(content=left_of(disk, len(disk.log), _ALL_LOST))


@pytest.mark.parametrize("count", [512, CLUSTER + 512])
def test_zeroes_within_a_cluster_are_durable(count: int) -> None:
    """A part of a cluster is written where it is: that changes no entry, and must last as well."""
    guest = guest_with(NewImage(size_bytes=2**20, cluster_bytes=CLUSTER))
    guest.write(b"a" * 2 * CLUSTER, 0)
    guest.writer.flush()
    guest.zero(count, 0, FLAG_FUA)
    assert Guest(left_now(guest.disk)).read(2 * CLUSTER) == guest.model[: 2 * CLUSTER]


@pytest.mark.parametrize("ask", [Writer.zero, Writer.trim])
def test_zeroes_in_a_raw_data_file_are_durable(
    ask: Callable[[Writer, int, int, int], None],
) -> None:
    """They change no entry either."""
    new = NewImage(
        size_bytes=2**20,
        cluster_bytes=CLUSTER,
        external_data=True,
        data_file="data.raw",
        data_file_raw=True,
    )
    guest = guest_with(new)
    assert guest.data is not None
    guest.data.truncate(2**20, exact=False)
    guest.write(b"a" * CLUSTER, 0)
    guest.writer.flush()
    ask(guest.writer, CLUSTER, 0, FLAG_FUA | FLAG_MAY_TRIM)
    assert left_now(guest.data).content[:CLUSTER] == bytes(CLUSTER)
