"""preallocate, blklogwrites and blkdebug come and go between a qcow2 and its file, under load."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conformance.tools import require_tool
from tests.live.hammering import Hammer
from tests.live.nbd_client import connect
from tests.live.service import Service, tool
from tests.server.write_logs import Logged, entries_in, replayed

MIB = 2**20

LEAKS = 3
"""What qemu-img check ends with if that is all."""
TEXT = """\
[runner]
apply = "all"
[backends.image]
driver = "file"
path = "disk.qcow2"
create = true
[backends.log]
driver = "file"
path = "disk.log"
create = true
[nodes.disk]
driver = "qcow2"
file = "{top}"
create = true
size = "16MiB"
[nodes.ahead]
driver = "preallocate"
file = "{below_ahead}"
prealloc-size = "{ahead}MiB"
enabled = {use_ahead}
[nodes.debug]
driver = "blkdebug"
image = "logged"
align = 512
enabled = {use_debug}
[[nodes.debug.inject-error]]
event = "none"
sector = 99999999
[nodes.logged]
driver = "blklogwrites"
file = "image"
log = "log"
[exports.vda]
node = "disk"
"""


def text(turn: int) -> str:
    """Each of the two that can be switched, in turns, with other numbers."""
    return TEXT.format(
        top="ahead",
        below_ahead="debug",
        ahead=turn % 3 + 1,
        use_ahead=str(bool(turn & 1)).lower(),
        use_debug=str(bool(turn & 2)).lower(),
    )


def test_filters_below_an_image(serve: Callable[[str], Service]) -> None:
    """No error and no wrong byte; the image is whole, and so is the log: it makes the image."""
    service = serve(text(3))
    hammer = Hammer(service.uri(), 30)
    try:
        for turn in range(12):
            report = service.edit_and_wait(text(turn))
            assert report["event"] == "X_BLKRUN_CONFIG_APPLIED", report
    finally:
        hammer.assert_unharmed()
    handle = connect(service.uri())
    content = bytes(handle.pread(16 * MIB, 0))
    handle.shutdown()
    assert service.blkrun("stop").returncode == 0
    directory = service.file.parent
    image, again = directory / "disk.qcow2", directory / "again.qcow2"
    tool(require_tool("qemu-img"), "check", str(image))
    logged = entries_in((directory / "disk.log").read_bytes())
    again.write_bytes(replayed(b"", logged))
    raw = directory / "raw"
    for each in (image, again):
        tool(require_tool("qemu-img"), "convert", "-O", "raw", str(each), str(raw))
        assert raw.read_bytes() == content
    assert_only_leaks(logged, directory / "cut.qcow2")


def assert_only_leaks(logged: list[Logged], image: Path) -> None:
    """As it was after any write, from that of its header on: clusters may be lost."""
    made = next(number for number, (_, data) in enumerate(logged) if data.startswith(b"QFI"))
    for cut in range(made + 1, len(logged), max(1, len(logged) // 40)):
        image.write_bytes(replayed(b"", logged[:cut]))
        check = [require_tool("qemu-img"), "check", str(image)]
        done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, LEAKS), (cut, done.stdout, done.stderr)
