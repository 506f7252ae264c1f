"""Edits of the file, made by blkrun's own commands in processes of their own.

The dashboard stays a client: what goes wrong there cannot hurt it, and it can name the command.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, get_args

import blkrun
from blkrun.dashboard.model.changes import Change, read_changes
from blkrun.dashboard.model.drivers import Driver, insertable
from blkrun.dashboard.model.edits import Edit
from blkrun.dashboard.model.preview import Kind, Outcome, Preview
from blkrun.errors import BlkrunError, WaitError

PREVIEW_TIMEOUT_S = 30.0
PERFORM_TIMEOUT_S = 120.0
"""More than the command itself waits for a runner."""
_END_TIMEOUT_S = 2.0
_LAST_PATIENCE_S = 5.0
"""For an edit that is under way when the dashboard ends."""

_MOST_CHANGES = 200

_HOME = str(Path(blkrun.__file__).parents[1])
_START = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from blkrun.cli import main
sys.exit(main())
"""
"""The same blkrun as this one.  ``-m`` would import what lies in the folder where we are."""

T = TypeVar("T")


class Editor(Protocol):
    """What the app needs; tests have another one."""

    async def preview(self, edit: Edit) -> Preview:
        """What it would do; nothing is written.  Raises BlkrunError."""

    async def perform(self, edit: Edit, seen: Preview | None = None) -> Outcome:
        """Write it and see it through.

        ``seen``: only if it still comes to that text, which somebody said yes to.  Raises
        BlkrunError: nothing was written; WaitError: it may have been.
        """

    async def drivers(self) -> tuple[Driver, ...]:
        """What can be inserted.  Raises BlkrunError."""

    async def changes(self) -> tuple[Change, ...]:
        """What was made of the file, as far as is known still.  Raises BlkrunError."""


class CommandEditor:
    """Edits of ``file``, one at a time."""

    def __init__(self, file: Path, *, program: Sequence[str] = ()) -> None:
        self._file = file
        self._program = tuple(program) or (sys.executable, "-P", "-c", _START, _HOME)
        self._lock = asyncio.Lock()
        self._drivers: tuple[Driver, ...] = ()

    async def preview(self, edit: Edit) -> Preview:
        """By ``--dry-run``."""
        arguments = edit.arguments(self._file, dry_run=True)
        return await self._ask(arguments, PREVIEW_TIMEOUT_S, _preview)

    async def perform(self, edit: Edit, seen: Preview | None = None) -> Outcome:
        """By the command itself."""
        digest = seen.digest if seen is not None else ""
        arguments = edit.arguments(self._file, dry_run=False, digest=digest)
        return await self._ask(arguments, PERFORM_TIMEOUT_S, _outcome, _LAST_PATIENCE_S)

    async def drivers(self) -> tuple[Driver, ...]:
        """Asked for once."""
        if not self._drivers:
            words = ("drivers", "--json")
            self._drivers = await self._ask(words, PREVIEW_TIMEOUT_S, insertable)
        return self._drivers

    async def changes(self) -> tuple[Change, ...]:
        """Asked for each time."""
        words = ("history", "--json", "-n", str(_MOST_CHANGES), "--", str(self._file))
        return await self._ask(words, PREVIEW_TIMEOUT_S, read_changes)

    async def _ask(
        self,
        arguments: Sequence[str],
        timeout_s: float,
        read: Callable[[Any], T],
        patience_s: float = 0.0,
    ) -> T:
        """What a command prints as JSON, read; where it prints nothing, it says why."""
        async with self._lock:
            code, out, err = await self._run(arguments, timeout_s, patience_s)
        if not out.strip():
            said = err.strip().removeprefix("blkrun: ")
            raise BlkrunError(said or f"blkrun {arguments[0]} ended with {code} and said nothing")
        try:
            return read(json.loads(out))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            text = f"blkrun {arguments[0]} said what is no answer: {out.strip()[:200]}"
            raise BlkrunError(text) from error

    async def _run(
        self, arguments: Sequence[str], timeout_s: float, patience_s: float
    ) -> tuple[int, str, str]:
        """``patience_s``: for it to end by itself when nobody waits for it any more."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,  # a terminal that closes ends no edit halfway
            )
        except (OSError, ValueError) as error:  # ValueError: a name that no process can be told
            raise BlkrunError(f"cannot run blkrun {arguments[0]}: {error}") from error
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate()
        except TimeoutError as error:
            text = f"blkrun {arguments[0]} has not ended in {timeout_s:g} s and was stopped"
            raise WaitError(text) from error
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await process.communicate()
            raise
        finally:
            await _end(process)
        return process.returncode or 0, _text(out), _text(err)


async def _end(process: asyncio.subprocess.Process) -> None:
    """By its id, if it has not ended; it may tidy up first."""
    for stop in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT_S):
                await process.wait()


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _preview(data: Any) -> Preview:
    outcome = data.get("outcome", {})
    return Preview(
        changed=data["changed"],
        diff=data.get("diff", ""),
        digest=data.get("digest", ""),
        operations=tuple(outcome.get("operations", ())),
        taken=outcome.get("taken") or {},
        drains=outcome.get("drains"),
        cancelled=tuple(outcome.get("cancelled", ())),
        refused=outcome.get("refused") or "",
        why=outcome.get("why") or "",
    )


def _outcome(data: Any) -> Outcome:
    if not data["changed"]:
        return Outcome("unchanged", "nothing to change: the file says so already")
    report = data["outcome"]
    kind = report["kind"] if report["kind"] in get_args(Kind) else "failed"
    said = {
        "pending": f"{report.get('summary', '')}; it waits: {report.get('why', '')}",
        "applied": report.get("summary") or "nothing to do for the server",
    }
    message = report.get("message") or said.get(kind, "")
    return Outcome(cast(Kind, kind), message, data["diff"], data["digest"])
