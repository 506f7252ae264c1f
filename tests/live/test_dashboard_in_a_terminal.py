"""The dashboard in a real terminal, at work on a real server, while clients write and verify.

Each wait is for something on the screen, in the file or on the server: nothing is waited out.
"""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import nbd
import pytest

from tests.live.hammering import Hammer
from tests.live.service import Service, wait_for
from tests.live.tmux import Tmux

FILE = """\
[throttle-groups.gold]
iops-total = 3000

[throttle-groups.silver]
iops-total = 1500

[backends.disk]
driver = "memory"
size   = "64MiB"

[backends.spare]
driver = "memory"
size   = "64MiB"

[backends.copy]
driver = "memory"
size   = "64MiB"

[nodes.limit]
driver         = "throttle"
throttle-group = "gold"
file           = "disk"

[nodes.other]
driver         = "throttle"
throttle-group = "silver"
file           = "spare"

[exports.vda]
node = "limit"

[exports.vdb]
node = "other"

[exports.vdc]
node = "spare"

[jobs.nightly]
type    = "backup"
device  = "disk"
target  = "copy"
speed   = "2MiB"
enabled = false
"""

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


@pytest.fixture(autouse=True)
def _tmux_is_here() -> None:
    """CI must have it."""
    if shutil.which("tmux") is None and "CI" not in os.environ:
        pytest.skip("tmux is not installed")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A file, and whatever serves it in the end; its runner is started in a terminal."""
    made = Service(tmp_path, FILE, "lab")
    try:
        yield made
    finally:
        made.end()


def start(service: Service, size: tuple[int, int], environ: dict[str, str] | None = None) -> Tmux:
    """``blkrun run`` with its dashboard, in a terminal."""
    return Tmux(service.file.parent, "run", str(service.file), size=size, environ=environ)


def change(service: Service, old: str, new: str) -> None:
    """Somebody else saves the file."""
    text = service.file.read_text()
    assert old in text
    service.edit(text.replace(old, new, 1))


def said_in_logs(service: Service) -> str:
    """By server and runner, as far as they keep it."""
    return "".join(log.read_text(errors="replace") for log in service.file.parent.glob("*.log*"))


def assert_left(terminal: Tmux, service: Service) -> None:
    """The command ended well, the terminal is as it was, and nothing fell over unseen."""
    terminal.wait_for("ended with 0")
    assert terminal.is_restored
    assert "Traceback" not in said_in_logs(service)


def yes(terminal: Tmux, title: str, *parts: str) -> None:
    """To a question that says this; until it is told what came of it."""
    terminal.wait_for("y Yes", title, *parts)
    terminal.press("y")
    terminal.wait_until_gone("y Yes")
    terminal.wait_for(title)


def test_edits_by_others(service: Service, hammer: Callable[..., Hammer]) -> None:
    """A save, a mistake, and one that takes a disk, which waits for a yes in the dashboard."""
    with start(service, (120, 36)) as terminal:
        terminal.wait_for("RUN", "limit", "applied lab.toml")
        loads = [hammer(service.uri(name)) for name in ("vda", "vdb")]
        idle = nbd.NBD()
        idle.connect_uri(service.uri("vdc"))
        terminal.wait_for("3 clients", "HELD")

        change(service, "iops-total = 3000", "iops-total = 2500")
        terminal.wait_for("iops-total 3000", "→ 2500", "/2.5k")

        change(service, "iops-total = 2500", "iops-totl = 9")
        terminal.wait_for("lab.toml has a mistake", "INVALID :2", "rejected, nothing changed")
        terminal.press("4", "m")
        terminal.wait_for("2 | iops-totl = 9", "^^^^^^^^^", 'did you mean "iops-total"')
        terminal.press("m")
        terminal.wait_for("¹Graph")
        change(service, "iops-totl = 9", "iops-total = 2500")
        terminal.wait_until_gone("has a mistake")

        change(service, '[exports.vdc]\nnode = "spare"\n', "")
        terminal.wait_for("waits for a yes: -1", "a: see and apply it", "to go")
        terminal.press("a")
        terminal.wait_for("- export vdc", "takes vdc from 1 client", "let it wait")
        terminal.press("Escape")
        terminal.wait_until_gone("let it wait")
        assert "vdc" in service.live().exports
        terminal.press("a")
        terminal.wait_for("let it wait")
        terminal.press("y")
        terminal.wait_for("applied lab.toml: -1", "2 clients")
        assert "vdc" not in service.live().exports

        terminal.press("u")
        yes(terminal, "undo the last change", "+ export vdc of spare")
        wait_for(lambda: "vdc" in service.live().exports, "the export to be back")

        terminal.press("q")
        terminal.wait_for("2 clients connected to vda, vdb", "stop the server")
        terminal.press("Escape")
        terminal.wait_until_gone("stop the server")
        for load in loads:
            load.assert_unharmed()
        terminal.wait_for("0 clients")
        terminal.press("q")
        assert_left(terminal, service)
        assert not service.control.exists()


def test_edits_by_keys(service: Service, hammer: Callable[..., Hammer]) -> None:
    """A limit nudged; a filter put in, switched off and on, taken out; a job; and an undo."""
    with start(service, (120, 36)) as terminal:
        terminal.wait_for("RUN", "limit", "applied lab.toml")
        loads = [hammer(service.uri(name)) for name in ("vda", "vdb")]
        terminal.wait_for("2 clients", "HELD")

        nudge(terminal, service)
        insert(terminal, service)
        switch_and_remove(terminal, service)
        start_and_cancel(terminal, service)
        terminal.press("q")
        terminal.wait_for("2 clients connected to vda, vdb")
        terminal.press("d")
        assert_left(terminal, service)
    for load in loads:
        load.rate(0.2)
        load.assert_unharmed()
    assert service.blkrun("stop", "--yes").returncode == 0


def nudge(terminal: Tmux, service: Service) -> None:
    """Two presses are one edit."""
    terminal.press("Down")
    terminal.wait_for("Plots · limit (node)")
    terminal.press("+", "+")
    terminal.wait_for("/3.4k", "raise iops-total of gold to 3400")
    assert "iops-total = 3400" in service.file.read_text()


def insert(terminal: Tmux, service: Service) -> None:
    """A second throttle, of the other group, above the first."""
    terminal.press("i")
    terminal.wait_for("Insert above limit", "▸ blkdebug")
    terminal.type("thro")
    terminal.wait_for("▸ throttle")
    terminal.press("Enter")
    terminal.wait_for("Name of the new throttle")
    terminal.type("throttle-two")  # in the place of what was proposed
    terminal.wait_for("throttle-two")
    terminal.press("Enter")
    terminal.wait_for("throttle-group", "▸ gold")
    terminal.press("Down", "Enter")
    yes(terminal, "insert throttle throttle-two", "insert throttle-two between export vda")
    terminal.wait_for("└ T throttle-two")
    _, _, rest = service.file.read_text().partition("[nodes.throttle-two]")
    assert '"silver"' in rest.partition("[")[0]


def switch_and_remove(terminal: Tmux, service: Service) -> None:
    """Off, on, out, and back by an undo."""
    terminal.press("Up")
    terminal.wait_for("Plots · throttle-two (node)")
    terminal.press("d")
    yes(terminal, "disable throttle-two", "+enabled")
    terminal.wait_for("applied lab.toml: -2", "- remove throttle-two from")  # so it is known as off
    assert "throttle-two" not in service.live().nodes
    terminal.press("E")
    yes(terminal, "enable throttle-two")
    terminal.wait_for("└ T throttle-two")
    terminal.press("Home")
    terminal.wait_for("Plots · vda (export)")
    terminal.press("Down")
    terminal.wait_for("Plots · throttle-two (node) · 1 min")
    terminal.press("x")
    yes(terminal, "remove throttle-two", "-[nodes.throttle-two]")
    wait_for(lambda: "throttle-two" not in service.live().nodes, "it to be gone")
    assert "throttle-two" not in service.file.read_text()
    terminal.press("u")
    yes(terminal, "undo the last change", "+[nodes.throttle-two]")
    wait_for(lambda: "throttle-two" in service.live().nodes, "it to be there again")


def start_and_cancel(terminal: Tmux, service: Service) -> None:
    """The job of the file."""
    terminal.press("s")
    yes(terminal, "start job nightly", "+ backup nightly of disk to copy")
    terminal.wait_for("⁶Jobs 1", "nightly  backup", "running")
    terminal.press("c")
    yes(terminal, "cancel job nightly", "DANGEROUS", "job nightly is cancelled")
    terminal.wait_for("nightly was cancelled")
    assert service.file.read_text().endswith("enabled = false\n")


def test_looking(service: Service, hammer: Callable[..., Hammer], tmp_path: Path) -> None:
    """Sizes, events, a pause, zoom, spans, a server that dies; watched, recorded and replayed."""
    other = tmp_path / "other"
    other.mkdir()
    recording = tmp_path / "incident.rec"
    with start(service, (80, 24)) as terminal:
        terminal.wait_for("RUN", "limit")
        with Tmux(other, "attach", str(service.file), "--record", str(recording)) as watcher:
            watcher.wait_for("RUN", "limit")
            load = hammer(service.uri())
            terminal.wait_for("1 client", "HELD")
            look_around(terminal)
            load.assert_unharmed()
            load = kill_the_server(service, hammer, terminal, watcher)
            watcher.press("q")
            watcher.wait_for("blkrun replay")
            assert_left(watcher, service)
        terminal.press("q")
        terminal.wait_for("1 client connected to vda")
        terminal.press("d")
        assert_left(terminal, service)
    load.assert_unharmed()
    assert service.blkrun("stop", "--yes").returncode == 0
    look_back(other, recording)


def kill_the_server(service: Service, hammer: Callable[..., Hammer], *terminals: Tmux) -> Hammer:
    """All who look see it go and come back, and the load of the next client."""
    os.kill(service.server_pid(), signal.SIGKILL)
    for each in terminals:
        each.wait_for("RUN", "was restarted", "no client")
    load = hammer(service.uri())
    for each in terminals:
        each.wait_for("1 client", "HELD")
    return load


def look_around(terminal: Tmux) -> None:
    """Nothing of this changes anything but the screen."""
    for width, height, shown in (
        (160, 50, ("⁸Node", "⁷Clients", "²Plots")),
        (60, 16, ("¹Graph", "³", "⁵Events")),
        (100, 30, ("²Plots", "⁴Configuration", "⁵Events")),
    ):
        terminal.resize(width, height)
        lines = terminal.wait_for("RUN", "space Pause", *shown).rstrip("\n").splitlines()
        assert len(lines) == height
        assert max(map(len, lines)) <= width

    terminal.press("5", "/")
    terminal.wait_for("words  !not")
    terminal.type("connected")
    terminal.wait_for("1 of ", "/connected")
    terminal.press("Enter")
    terminal.wait_for("i Level")
    terminal.press("/")
    terminal.wait_for("/ connected")
    terminal.press("Escape")
    terminal.wait_until_gone("/connected")
    terminal.press("\\")
    terminal.wait_for("words  !not")
    terminal.type("applied")
    terminal.press("Enter")
    terminal.wait_for("\\applied 1/1")

    terminal.press("Space")
    frozen = terminal.wait_for("PAUSED", "space Resume")
    terminal.wait_for("PAUSED 2 s")
    assert graph_of(terminal.text) == graph_of(frozen)
    terminal.press("Space")
    terminal.wait_for("space Pause")
    wait_for(lambda: graph_of(terminal.text) != graph_of(frozen), "other numbers")

    terminal.press("2", "m")
    terminal.wait_until_gone("¹Graph")
    terminal.press("]")
    terminal.wait_for("· 5 min")
    terminal.press("]", "[", "[")
    terminal.wait_for("· 1 min")
    terminal.press("S-Left")
    terminal.wait_for("esc Present")
    terminal.press("Escape")
    terminal.wait_until_gone("esc Present")
    terminal.press("m")
    terminal.wait_for("¹Graph", "⁵Events")


def graph_of(screen: str) -> list[str]:
    """The graph's rows."""
    return [line[:60] for line in screen.splitlines() if "vd" in line or "limit" in line][:4]


def look_back(directory: Path, recording: Path) -> None:
    """The first look, the last one, a step, and a time that is typed."""
    with Tmux(directory, "replay", str(recording)) as replay:
        replay.wait_for("lab.toml", "space Pause")
        replay.press("C-End")
        replay.wait_for("HELD", "was restarted")
        replay.press("C-Home")
        replay.wait_until_gone("was restarted")
        replay.press("t")
        replay.wait_for("Go to (")
        replay.type("+2")  # in the place of what was proposed
        replay.wait_for("  +2")
        replay.press("Enter")
        replay.wait_until_gone("Go to (")
        replay.press(".", ",")
        replay.press("q")
        replay.wait_for("ended with 0")
        assert replay.is_restored


def test_without_colours_and_by_mouse(service: Service, hammer: Callable[..., Hammer]) -> None:
    """At 80 by 24 with NO_COLOR: no colour is sent, and clicks select, focus and choose."""
    with start(service, (80, 24), {"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("RUN", "limit", "applied lab.toml")
        load = hammer(service.uri())
        terminal.wait_for("1 client", "HELD")
        assert not COLOUR.search(terminal.coloured)
        terminal.click(*terminal.find("space Pause"))
        terminal.wait_for("PAUSED", "space Resume")
        terminal.press("Space")
        terminal.wait_until_gone("PAUSED")
        terminal.click(*terminal.find("T limit"))
        terminal.wait_for("Plots · limit (node)")
        terminal.click(*terminal.find("client 1 connected"))
        terminal.wait_for("┏━ ⁵Events")
        terminal.press("4")
        terminal.wait_for("┏━ ⁴Configuration")
        assert not COLOUR.search(terminal.coloured)
        load.assert_unharmed()
        terminal.wait_for("0 clients")
        terminal.press("q")
        assert_left(terminal, service)
