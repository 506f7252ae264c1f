"""``attach --serve``: a real server's dashboard, as a browser gets it, and nobody else."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from blkrun.cli import Exit
from tests.live.service import DISK, PATIENCE_S, Service, wait_for

NASTY_NAME = """it's "a" $(touch x) & <b>"""


class Serving:
    """The command that serves browsers, and its visitors' processes."""

    def __init__(self, file: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "blkrun", "attach", str(file), "--serve", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        (self.url,) = re.findall(r"http://\S+", self.line)
        self.origin = self.url.split("/?")[0]

    def visitors(self) -> list[int]:
        """Process ids."""
        pid = self.process.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def end(self) -> None:
        """By its id."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A server whose file has a name that no shell may see."""
    service = Service(tmp_path, DISK, NASTY_NAME)
    service.start()
    yield service
    service.end()


@pytest.fixture
def serving(service: Service) -> Iterator[Serving]:
    """Browsers are served."""
    serving = Serving(service.file)
    yield serving
    serving.end()


Surf = Callable[[aiohttp.ClientSession], Awaitable[None]]


def surf(doing: Surf) -> None:
    """A browser that keeps cookies, also of addresses that are numbers."""

    async def story() -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=timeout) as session:
            await doing(session)

    asyncio.run(story())


@asynccontextmanager
async def visit(
    serving: Serving, session: aiohttp.ClientSession
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """In through the front door, until the header is drawn."""
    async with session.get(serving.url) as page:
        assert page.status == 200
        assert "token" not in str(page.url)
        assert "&#34;a&#34; $(touch x) &amp; &lt;b&gt;.toml" in await page.text()
    async with session.ws_connect(
        f"{page.url}ws?width=120&height=30", origin=serving.origin
    ) as websocket:
        await shown(websocket, b"RUN", NASTY_NAME.encode())
        yield websocket


async def shown(websocket: aiohttp.ClientWebSocketResponse, *words: bytes) -> bytes:
    """What is drawn until all of these are."""
    seen = b""
    async with asyncio.timeout(PATIENCE_S):
        while not all(each in seen for each in words):
            seen += await websocket.receive_bytes()
    return seen


def has_ended(pid: int) -> bool:
    """Whether a process does nothing any more."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


async def ended(pid: int) -> None:
    """Or fail."""
    await asyncio.to_thread(wait_for, lambda: has_ended(pid), "the visitor's process to end")


def test_it_says_one_line(serving: Serving) -> None:
    """The URL and the way out."""
    assert serving.line == f"{NASTY_NAME}.toml: {serving.url} (Ctrl-C ends it)\n"
    assert serving.url.startswith("http://127.0.0.1:")


def test_nobody_gets_in_without_the_url(serving: Serving) -> None:
    """Neither page, files nor websocket, and no process is started for them."""

    async def doing(session: aiohttp.ClientSession) -> None:
        for path in ("/", "/?token=x", "/ws", "/static/js/textual.js", "/download/x", "/nowhere"):
            async with session.get(serving.origin + path, allow_redirects=False) as answer:
                assert (path, answer.status) == (path, 403)
                assert "token=" not in await answer.text()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(f"{serving.origin}/ws", origin=serving.origin)

    surf(doing)
    assert serving.visitors() == []


def test_other_pages_in_the_same_browser_do_not_get_in(serving: Serving) -> None:
    """Though it sends the cookie: by a websocket, or by another name for this machine."""

    async def doing(session: aiohttp.ClientSession) -> None:
        async with session.get(serving.url) as page:
            assert page.status == 200
            assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
            websocket = f"{page.url}ws"
        (cookie,) = session.cookie_jar
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
        for origin in (None, "null", "http://evil.example", "http://127.0.0.1:9"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(websocket, origin=origin)
        port = serving.origin.rpartition(":")[2]
        async with session.get(serving.url, headers={"Host": f"evil.example:{port}"}) as answer:
            assert answer.status == 403

    surf(doing)
    assert serving.visitors() == []


def test_a_visit_ends_with_its_websocket(serving: Serving, service: Service) -> None:
    """Closed or cut off, for each browser by itself; the disks stay served."""

    async def doing(session: aiohttp.ClientSession) -> None:
        async with visit(serving, session):
            (first,) = serving.visitors()
            async with visit(serving, session):
                (second,) = {*serving.visitors()} - {first}
            await ended(second)
            assert not has_ended(first)
        await ended(first)
        async with visit(serving, session) as websocket:
            (third,) = serving.visitors()
            assert websocket._response.connection is not None
            assert websocket._response.connection.transport is not None
            websocket._response.connection.transport.abort()
            await ended(third)

    surf(doing)
    assert service.blkrun("status").returncode == Exit.DONE


def test_q_closes_the_page(serving: Serving) -> None:
    """What is typed reaches the dashboard; when that ends the page is told."""

    async def doing(session: aiohttp.ClientSession) -> None:
        async with visit(serving, session) as websocket:
            await websocket.send_json(["stdin", "q"])
            async with asyncio.timeout(PATIENCE_S):
                async for _ in websocket:
                    pass
            assert websocket.close_code == aiohttp.WSCloseCode.OK

    surf(doing)


@pytest.mark.parametrize("options", [(), ("--read-only",)], ids=["all", "read-only"])
def test_read_only_holds_in_the_browser(service: Service, options: tuple[str, ...]) -> None:
    """An edit waits for a yes: without the option the key for it is there, with it nowhere."""
    event = service.edit_and_wait(DISK + '[runner]\napply = "ask"\n[backends.n]\ndriver = "null"\n')
    assert event["event"] == "X_BLKRUN_CONFIG_PENDING"
    serving = Serving(service.file, *options)

    async def doing(session: aiohttp.ClientSession) -> None:
        async with visit(serving, session) as websocket:
            await websocket.send_json(["stdin", "a?" if options else "?"])
            seen = await shown(websocket, b"freeze what is shown")
            assert (b"say yes to" in seen) is (not options)

    try:
        surf(doing)
    finally:
        serving.end()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name
)
def test_no_visit_outlives_who_serves_it(
    serving: Serving, service: Service, number: signal.Signals
) -> None:
    """Whatever ends that, with nothing more to say; the disks stay served."""

    async def doing(session: aiohttp.ClientSession) -> None:
        async with visit(serving, session):
            (visitor,) = serving.visitors()
            serving.process.send_signal(number)
            code = await asyncio.to_thread(serving.process.wait, PATIENCE_S)
            assert code == (-number if number is signal.SIGKILL else Exit.DONE)
            await ended(visitor)

    surf(doing)
    assert serving.process.communicate() == ("", "")
    assert service.blkrun("status").returncode == Exit.DONE


def test_there_has_to_be_something_to_show(service: Service) -> None:
    """A port that is taken and a server that does not run are said in a line."""
    serving = Serving(service.file)
    try:
        port = serving.origin.rpartition(":")[2]
        refused = service.blkrun("attach", "--serve", port)
        assert refused.returncode == Exit.FAILED
        assert refused.stderr == (
            f"blkrun: cannot serve 127.0.0.1 port {port}: Address already in use\n"
        )
    finally:
        serving.end()
    assert service.blkrun("stop").returncode == Exit.DONE
    nobody = service.blkrun("attach", "--serve")
    assert nobody.returncode == Exit.NO_SERVER
    assert nobody.stderr.startswith("blkrun: no server at ")
