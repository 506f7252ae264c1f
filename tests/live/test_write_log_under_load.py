"""Clients write through a blklogwrites filter while others come and go around it."""

from collections.abc import Callable

from tests.live.hammering import Hammer
from tests.live.nbd_client import connect
from tests.live.service import Service
from tests.server.write_logs import entries_in, replayed

MIB = 2**20
TEXT = """\
[runner]
apply = "all"
[throttle-groups.g]
[backends.disk]
driver = "file"
path = "disk.img"
size = "8MiB"
create = true
[backends.log]
driver = "file"
path = "disk.log"
create = true
[nodes.above]
driver = "throttle"
throttle-group = "g"
file = "logged"
enabled = {above}
[nodes.logged]
driver = "blklogwrites"
file = "below"
log = "log"
log-super-update-interval = {interval}
[nodes.below]
driver = "throttle"
throttle-group = "g"
file = "disk"
enabled = {below}
[exports.vda]
node = "above"
"""


def text(*, above: bool = False, below: bool = False, interval: int = 64) -> str:
    """The file, with what is switched on."""
    return TEXT.format(above=str(above).lower(), below=str(below).lower(), interval=interval)


def test_the_log_makes_the_disk(serve: Callable[[str], Service]) -> None:
    """Filters above and below it come and go, and its own numbers change: no write is missing."""
    service = serve(text())
    hammer = Hammer(service.uri(), 20)
    try:
        for turn in range(12):
            edited = text(above=bool(turn & 1), below=bool(turn & 2), interval=turn + 1)
            assert service.edit_and_wait(edited)["event"] == "X_BLKRUN_CONFIG_APPLIED"
    finally:
        hammer.assert_unharmed()
    handle = connect(service.uri())
    handle.flush()
    disk = bytes(handle.pread(8 * MIB, 0))
    handle.shutdown()
    logged = entries_in((service.file.parent / "disk.log").read_bytes())
    assert (
        replayed(bytes(8 * MIB), logged) == disk == (service.file.parent / "disk.img").read_bytes()
    )
