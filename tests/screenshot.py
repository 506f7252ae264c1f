"""``make pictures``: the README's, each from a dashboard over a server at work.

Nothing in them is made up: two loads run, the file is edited as an editor would, an incident is
recorded and looked at again.
"""

import asyncio
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from textual.pilot import Pilot

from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.editor import CommandEditor
from blkrun.dashboard.player import Player
from blkrun.dashboard.poller import Poller
from blkrun.dashboard.recorder import Recorder
from blkrun.dashboard.recording import Recording
from blkrun.dashboard.recording_writer import Writer
from blkrun.dashboard.replaying import Replay
from tests.live.service import Service

PICTURES = Path(__file__).resolve().parents[1] / "examples" / "dashboard"
FULL, SMALL = (120, 36), (80, 24)
BURST_S, AFTER_S = 18.0, 10.0
"""A burst lasts 9 s; then there is an edit."""

FILE = """
[throttle-groups.tenant-a]
iops-total = 1500
iops-total-max = 4500
iops-total-max-length = "6s"

[throttle-groups.tenant-b]
bps-total = "8MiB"

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


class Camera:
    """Saves what an app shows; ``title`` is the window's."""

    def __init__(self, app: Dashboard, pilot: Pilot[str], title: str) -> None:
        self._app, self._pilot, self._title = app, pilot, title

    async def take(self, name: str) -> None:
        """Once all that is on its way has been painted."""
        await self._pilot.pause()
        svg = self._app.export_screenshot(title=self._title)
        (PICTURES / f"{name}.svg").write_text(local(svg))


def local(svg: str) -> str:
    """Without fonts from elsewhere: a README's viewers load none, and a copy stays whole."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code,", "")


async def live(service: Service, path: Path) -> None:
    """A burst and an edit, as it looks in every way; all of it recorded, with a server's death."""
    desk = Desk(title="lab.toml", owner=True, file=service.file, editor=CommandEditor(service.file))
    writer = Writer.open(path, title="lab.toml", begin_ms=0)
    recorder = Recorder(Poller(service.control, refresh_s=0.5), writer, note=print)
    app = Dashboard(recorder, desk)
    async with app.run_test(size=FULL) as pilot:
        camera = Camera(app, pilot, "blkrun run lab.toml")
        with loads(service):
            await at_work(app, service, pilot, camera)
            os.kill(service.server_pid(), signal.SIGKILL)
        await asyncio.sleep(4)
        with loads(service):
            await asyncio.sleep(8)
    recorder.close()


async def at_work(app: Dashboard, service: Service, pilot: Pilot[str], camera: Camera) -> None:
    """From the burst on."""
    await asyncio.sleep(BURST_S)
    service.edit(service.file.read_text().replace("iops-total = 1500", "iops-total = 2000"))
    await pilot.press("down")
    await asyncio.sleep(AFTER_S)
    await camera.take("main")
    app.theme = "blkrun-light"
    await camera.take("light")
    app.theme = "blkrun"
    await pilot.press("2", "m")
    await camera.take("plots")
    await pilot.press("m", "1")
    await pilot.resize_terminal(*SMALL)
    await asyncio.sleep(1)
    await camera.take("small")
    await pilot.resize_terminal(*FULL)
    text = service.file.read_text()
    service.edit(text.replace('[exports.vdb]\nnode = "limit-b"\n', ""))
    await until(lambda: app.board.waiting is not None)
    await pilot.press("a")
    await camera.take("pending")
    await pilot.press("escape")
    service.edit(text)
    await until(lambda: app.board.waiting is None)


async def incident(path: Path) -> None:
    """The recording, some seconds after the server's death: the gap is in the plots."""
    with Recording.open(path) as recording:
        player = Player(recording)
        app = Replay(player, recording.meta.title)
        async with app.run_test(size=FULL) as pilot:
            await until(lambda: app.board.snapshot is not None)
            await pilot.press("space", "down")
            at_s = player.position.last_s - 2
            player.seek(at_s)
            await until(lambda: player.position.at_s > at_s - 1)
            await asyncio.sleep(1)
            await Camera(app, pilot, "blkrun replay today.rec").take("replay")
        player.close()


async def until(there: Callable[[], bool]) -> None:
    """Bounded: no picture is taken of what does not come."""
    async with asyncio.timeout(20):
        while not there():  # noqa: ASYNC110 - what a screen shows is no event
            await asyncio.sleep(0.05)


def main() -> None:
    """A server and the pictures; everything started is ended."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        os.environ["XDG_CONFIG_HOME"] = directory  # nobody's own settings
        service = Service(Path(), FILE, "lab")
        recording = Path("today.rec")
        try:
            service.start()
            asyncio.run(live(service, recording))
        finally:
            service.end()
        asyncio.run(incident(recording))


@contextmanager
def loads(service: Service) -> Iterator[None]:
    """Steady work for both exports."""
    started = [load(service, "vda", "randrw", "4k"), load(service, "vdb", "write", "64k")]
    try:
        yield
    finally:
        for each in started:
            each.terminate()
            each.wait()


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
            "--runtime=120",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
