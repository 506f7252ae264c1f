"""Processes of browsers' dashboards: they end with the visit, whatever either side does."""

import asyncio
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from textual_serve.download_manager import DownloadManager

from blkrun.dashboard import web, web_visit
from blkrun.dashboard.web_visit import Visit
from tests.live.service import PATIENCE_S, wait_for

PRELUDE = "import os, sys, time\nos.write(1, b'__GANGLION__\\n')\n"
SAYS_ITS_WORDS = (
    PRELUDE + "said = ' '.join(sys.argv[1:]).encode()\n"
    "os.write(1, b'D' + len(said).to_bytes(4, 'big') + said)\n"
)
QUITS = "while b'quit' not in os.read(0, 65536): pass\n"
WRITES_A_LOT = (
    "packet = b'D' + (1 << 20).to_bytes(4, 'big') + bytes(1 << 20)\nos.write(1, packet)\n"
)
DEAF = "while True: os.write(1, b'D\\0\\0\\0\\1x'); time.sleep(0.001)\n"


class Browser:
    """The other end, as textual-serve hands it to a visit."""

    def __init__(self, take: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.seen = bytearray()
        self.taking, self.closed = asyncio.Event(), asyncio.Event()
        self._take = take

    async def write(self, data: bytes) -> None:
        """A packet comes."""
        self.seen += data
        self.taking.set()
        if self._take is not None:
            await self._take(data)

    async def write_text(self, text: str) -> None:
        """A word to the page comes."""

    async def close(self) -> None:
        """The visit is over."""
        self.closed.set()


def visit(browser: Browser, script: str, *words: str) -> Visit:
    """A process that runs a script."""
    return Visit(
        shlex.join([sys.executable, "-c", script, *words]),
        write_bytes=browser.write,
        write_str=browser.write_text,
        close=browser.close,
        download_manager=DownloadManager(),
    )


async def started(visit: Visit) -> asyncio.subprocess.Process:
    """Its process."""
    await visit.start(80, 24)
    assert visit._process is not None
    return visit._process


def test_no_shell_reads_the_command() -> None:
    """Whatever a file is called, and a browser whose process ends is told that it is over."""
    words = ("it's", 'a "b" $(touch x) `y` ; & | > z \\', "", "ünï\ncode")

    async def story() -> None:
        browser = Browser()
        process = await started(one := visit(browser, SAYS_ITS_WORDS, *words))
        async with asyncio.timeout(PATIENCE_S):
            await browser.closed.wait()
            assert browser.seen.decode() == " ".join(words)
            await one.stop()
        assert process.returncode == 0

    asyncio.run(story())


def test_a_process_without_a_browser_can_still_quit() -> None:
    """What it writes is taken from it, though nobody is there for it: it need not be killed."""

    async def gone(data: bytes) -> None:
        raise ConnectionResetError

    async def story() -> None:
        browser = Browser(gone)
        process = await started(one := visit(browser, SAYS_ITS_WORDS + WRITES_A_LOT + QUITS))
        async with asyncio.timeout(PATIENCE_S):
            await browser.closed.wait()
            await one.stop()
        assert process.returncode == 0

    asyncio.run(story())


def test_a_process_that_speaks_otherwise_is_the_end_of_the_visit() -> None:
    """However much it says: the browser is told, and all of it is taken."""

    async def story() -> None:
        browser = Browser()
        process = await started(one := visit(browser, "print('no dashboard ' * 20_000)"))
        async with asyncio.timeout(PATIENCE_S):
            await browser.closed.wait()
            await one.stop()
        assert process.returncode == 0
        assert not browser.seen

    asyncio.run(story())


def test_a_process_that_does_not_quit_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the browser takes nothing more; a second stop does nothing."""
    monkeypatch.setattr(web_visit, "_QUIT_TIMEOUT_S", 0.1)

    async def stuck(data: bytes) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        browser = Browser(stuck)
        process = await started(one := visit(browser, PRELUDE + DEAF))
        async with asyncio.timeout(PATIENCE_S):
            await browser.taking.wait()
            await one.stop()
            await one.stop()
        assert process.returncode == -9

    asyncio.run(story())


Surf = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


def surf(script: str, doing: Surf) -> None:
    """A browser, and the URL of whoever serves a script."""

    async def story() -> None:
        closing, urls = asyncio.Event(), asyncio.Queue[str]()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(
                web.serve(
                    [sys.executable, "-c", script, "here"],
                    listening,
                    title="t",
                    ready=urls.put_nowait,
                    closing=closing,
                )
            )
            jar = aiohttp.CookieJar(unsafe=True)  # for addresses that are numbers too
            async with aiohttp.ClientSession(cookie_jar=jar) as session:
                await doing(session, await urls.get())
            closing.set()
            await serving

    asyncio.run(story())


def test_a_browser_that_vanished_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It answers no ping, and closes nothing: its process goes all the same."""
    monkeypatch.setattr(web, "_HEARTBEAT_S", 0.2)
    pid = tmp_path / "pid"
    script = f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\n" + SAYS_ITS_WORDS

    def has_ended() -> bool:
        return not Path("/proc", pid.read_text()).exists()

    async def doing(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as page:
            origin = str(page.url.origin())
        async with session.ws_connect(
            f"{page.url}ws", origin=origin, autoping=False, autoclose=False
        ) as websocket:
            assert await websocket.receive_bytes(timeout=PATIENCE_S) == b"here"
            await asyncio.to_thread(wait_for, has_ended, "the process to end")

    surf(script + QUITS, doing)


def test_servers_on_other_ports_are_not_sent_the_secret() -> None:
    """They may be anybody's, and a browser does not tell ports apart, but paths."""

    async def doing(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as page:
            assert page.status == 200
        for below in ("", "static/js/textual.js"):
            async with session.get(f"{page.url}{below}") as answer:
                assert answer.status == 200
        for path in ("/", "/ws", "/other/"):
            other = page.url.with_port(9).with_path(path)
            assert not session.cookie_jar.filter_cookies(other)

    surf(SAYS_ITS_WORDS + QUITS, doing)


def test_each_who_serves_has_another_path() -> None:
    """Which nobody could guess."""
    paths = []

    async def doing(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as page:
            paths.append(page.url.path.strip("/"))

    surf(SAYS_ITS_WORDS + QUITS, doing)
    surf(SAYS_ITS_WORDS + QUITS, doing)
    assert len(set(paths)) == 2
    assert all(len(path) >= 20 for path in paths)


def test_the_page_leads_to_where_the_rest_is() -> None:
    """Its websocket and its files are below it, where the cookie is sent to."""

    async def doing(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as page:
            text = await page.text()
        below = str(page.url).removeprefix("http")
        assert f'data-session-websocket-url="ws{below}ws"' in text
        assert f'src="http{below}static/js/textual.js"' in text

    surf(SAYS_ITS_WORDS + QUITS, doing)
