"""``python -m tests.screenshot``: the README's picture, from a dashboard under load."""

import asyncio
import subprocess
import tempfile
from pathlib import Path

from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.poller import Poller
from tests.live.service import Service

PICTURE = Path(__file__).resolve().parents[1] / "examples" / "dashboard.svg"
SIZE = (110, 32)
LOOK_S = 6.0

FILE = """
[throttle-groups.tenant-a]
iops-total = 6000
iops-total-max = 12000
iops-total-max-length = "10s"

[throttle-groups.tenant-b]
bps-total = "24MiB"

[backends.disk]
driver = "file"
path = "disk.img"
size = "10GiB"
create = true

[backends.scratch]
driver = "memory"
size = "1GiB"

[nodes.part]
driver = "raw"
file = "disk"
offset = "1GiB"
size = "4GiB"

[nodes.limit-a]
driver = "throttle"
throttle-group = "tenant-a"
file = "part"

[nodes.limit-b]
driver = "throttle"
throttle-group = "tenant-b"
file = "scratch"

[exports.vda]
node = "limit-a"

[exports.vdb]
node = "limit-b"
"""


async def picture(service: Service) -> None:
    """Look for a while, with an edit in between, then save the screen."""
    app = Dashboard(Poller(service.control, refresh_s=0.5), Desk(title="lab.toml", owner=True))
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(LOOK_S / 2)
        service.edit(service.file.read_text().replace("iops-total = 6000", "iops-total = 4000"))
        await asyncio.sleep(LOOK_S / 2)
        await pilot.pause()
        PICTURE.write_text(app.export_screenshot(title="blkrun run lab.toml"))


def main() -> None:
    """A server, two loads, a picture; everything started is ended."""
    with tempfile.TemporaryDirectory() as directory:
        service = Service(Path(directory), FILE)
        loads: list[subprocess.Popen[bytes]] = []
        try:
            service.start()
            loads = [load(service, "vda", "randrw", "4k"), load(service, "vdb", "write", "64k")]
            asyncio.run(picture(service))
        finally:
            for each in loads:
                each.terminate()
                each.wait()
            service.end()


def load(service: Service, export: str, pattern: str, block: str) -> "subprocess.Popen[bytes]":
    """Steady work for one export."""
    return subprocess.Popen(
        [
            "fio",
            f"--name={export}",
            "--ioengine=nbd",
            f"--uri={service.uri(export)}",
            f"--rw={pattern}",
            f"--bs={block}",
            "--iodepth=16",
            "--size=256M",
            "--time_based",
            "--runtime=60",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
