"""``blkrun events FILE``: what has happened, and with --follow what happens."""

import argparse
import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from blkrun.cli import Exit
from blkrun.cli.event_lines import event_lines
from blkrun.cli.output import console, output_is_closed
from blkrun.client import Client
from blkrun.config import locate
from blkrun.errors import NoServerError, WaitError

_RETRY_S = 0.2
_LOOK_INTERVAL_S = 1.0

Show = Callable[[dict[str, Any]], None]

EXAMPLES = """
blkrun events vm.toml                    the last 1,000
blkrun events vm.toml --follow           and what happens from now on
blkrun events vm.toml --follow --json    for a program, one object a line
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --follow, --json and --since."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument(
        "--follow", action="store_true", help="go on with what happens from now on, until Ctrl-C"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, all events")
    parser.add_argument(
        "--since", type=int, default=0, metavar="N", help="only what has a number above N"
    )


def run(args: argparse.Namespace) -> int:
    """The last 1,000 are kept by the server."""
    out = console()

    def show(event: dict[str, Any]) -> None:
        if args.json:
            print(json.dumps(event), flush=True)  # noqa: T201 - the command's output
            return
        for line in event_lines(event):
            out.print(line)

    return asyncio.run(_run(locate(args.file).control, args, show))


async def _run(control: Path, args: argparse.Namespace, show: Show) -> Exit:
    reader = Reader(args.since)
    async with await Client.connect(control) as client:
        if not args.follow:
            for event in await reader.fetch(client):
                show(event)
            return Exit.DONE
        await _until_closed(reader.follow(client, show))
    while not output_is_closed():
        await _until_closed(_meet_again(control, reader, show))
    return Exit.DONE


async def _meet_again(control: Path, reader: "Reader", show: Show) -> None:
    """With a server that was away, or another one in its place."""
    with contextlib.suppress(NoServerError, WaitError):
        async with await Client.connect(control) as client:
            await reader.follow(client, show)
    await asyncio.sleep(_RETRY_S)


async def _until_closed(work: Coroutine[Any, Any, None]) -> None:
    """Do it for as long as somebody reads what we write."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done() and not output_is_closed():
            await asyncio.wait((task,), timeout=_LOOK_INTERVAL_S)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Reader:
    """Reads a server's events, each once; another server begins to count anew.

    An event that is heard is only a bell: what is shown is fetched by number.
    """

    def __init__(self, since: int) -> None:
        self._since = since
        self._shown = (0, 0)
        self._pid: int | None = None

    async def fetch(self, client: Client) -> list[dict[str, Any]]:
        """What has happened since the last time.  Raises NoServerError, WaitError."""
        events = await client.execute("x-blkrun-query-events", {"since": self._since})
        if events:
            self._since, self._shown = events[-1]["number"], stamp_of(events[-1])
        return [dict(event) for event in events]

    async def follow(self, client: Client, show: Show) -> None:
        """Until the server goes away, its last words included.  Raises WaitError if it hangs."""
        with contextlib.suppress(NoServerError):
            await self._greet(client)
            for event in await self.fetch(client):
                show(event)
            async with contextlib.aclosing(client.events()) as bells:  # type: ignore[type-var]
                async for bell in bells:
                    for event in await self._since_bell(client, bell):
                        show(event)

    async def _greet(self, client: Client) -> None:
        pid = (await client.execute("x-blkrun-query-graph"))["pid"]
        if self._pid not in (None, pid):
            self._since, self._shown = 0, (0, 0)
        self._pid = pid

    async def _since_bell(self, client: Client, bell: dict[str, Any]) -> list[dict[str, Any]]:
        """A server that has gone can be asked no more: then the bell is what it said."""
        if stamp_of(bell) < self._shown:
            return []
        try:
            return await self.fetch(client)
        except NoServerError:
            if stamp_of(bell) == self._shown:
                return []
            self._since, self._shown = self._since + 1, stamp_of(bell)
            return [{"number": self._since, **bell}]


def stamp_of(event: dict[str, Any]) -> tuple[int, int]:
    """When it happened: seconds and microseconds."""
    stamp = event["timestamp"]
    return stamp["seconds"], stamp["microseconds"]
