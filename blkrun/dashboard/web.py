"""The dashboard in browsers: textual-serve, behind a guard and with visits that end.

Each browser gets a process, a ``blkrun attach`` like any other; this one only passes on what that
writes, and has no Textual in it.
"""

import asyncio
import logging
import secrets
import shlex
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from textual_serve.server import Server, to_int

from blkrun.dashboard.web_guard import Asked, Guard
from blkrun.dashboard.web_visit import Visit

_HEARTBEAT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_SHUTDOWN_TIMEOUT_S = 5.0
_REFUSAL = "This is for whoever has the URL that blkrun attach --serve printed: open that.\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebDashboard(Server):
    """``command``: what shows the dashboard, and nothing of it is read by a shell."""

    def __init__(self, command: Sequence[str], guard: Guard, *, title: str) -> None:
        super().__init__(
            shlex.join(command), guard.host, guard.port, title=title, public_url=guard.origin
        )
        self.guard = guard
        self._visits: set[Visit] = set()

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._let_in])
        app.router.add_get("/", self._enter, name="entrance")
        app.add_subapp(self.guard.home, await super()._make_app())
        app.on_response_prepare.append(self._add_headers)
        return app

    async def on_startup(self, _: web.Application) -> None:
        """Who serves it says so."""

    async def on_shutdown(self, _: web.Application) -> None:
        """No process stays."""
        await asyncio.gather(*(visit.stop() for visit in self._visits))

    @web.middleware
    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        guard = self.guard
        asked = Asked(
            route=request.match_info.route.name or "",
            host=", ".join(request.headers.getall("Host", [])),
            origin=request.headers.get("Origin"),
            cookie=request.cookies.get(guard.cookie_name, ""),
            token=request.query.get("token"),
        )
        if guard.judge(asked) == "refused":
            return web.Response(status=403, text=_REFUSAL)
        return await handler(request)

    async def _enter(self, _: web.Request) -> web.StreamResponse:
        """The secret goes on in a cookie."""
        guard = self.guard
        way = web.Response(status=303, headers={"Location": guard.home})
        way.set_cookie(
            guard.cookie_name, guard.secret, path=guard.home, httponly=True, samesite="Strict"
        )
        return way

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        """Pages of others may not frame ours, and ours fetches nothing from others.

        textual-serve's page asks Google for a font; the browser's own does.
        """
        response.headers.update(
            {
                "Content-Security-Policy": (
                    "default-src 'self'; script-src 'self' 'unsafe-inline'; "
                    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
                    f"connect-src 'self' ws://{self.guard.authority}; "
                    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                ),
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            }
        )

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A visit: its process ends with the websocket, and the websocket with its process.

        A browser that vanished without a word is missed by its heartbeat.
        """
        websocket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, timeout=_CLOSE_TIMEOUT_S)
        await websocket.prepare(request)
        visit = Visit(
            self.command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=websocket.close,  # type: ignore[arg-type]  # what it gives is not looked at
            download_manager=self.download_manager,
        )
        self._visits.add(visit)
        try:
            await visit.start(
                to_int(request.query.get("width", ""), 80),
                to_int(request.query.get("height", ""), 24),
            )
            await self._process_messages(websocket, visit)
        finally:
            await visit.stop()
            self._visits.discard(visit)
            await websocket.close()
        return websocket


class _OneLine(logging.Formatter):
    """For the terminal of who serves: what went wrong, without where."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return f"blkrun: {record.getMessage()}" + (f": {error!r}" if error is not None else "")


async def serve(
    command: Sequence[str],
    listening: socket.socket,
    *,
    title: str,
    ready: Callable[[str], None],
    closing: asyncio.Event,
) -> None:
    """Let browsers in until ``closing`` is set; ``ready`` is told the URL."""
    host, port = listening.getsockname()[:2]
    guard = Guard(host, port, secrets.token_urlsafe(), secrets.token_urlsafe())
    _log_in_lines()
    app = await WebDashboard(command, guard, title=title)._make_app()  # noqa: SLF001 - Server.serve takes the signals, and cannot be told to end
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        ready(guard.entrance)
        await closing.wait()
    finally:
        await runner.cleanup()


def _log_in_lines() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    for name in ("aiohttp", "textual-serve"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
