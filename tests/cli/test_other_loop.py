"""A loop beside the main one: results, errors and cancelling go across."""

import asyncio
import threading

import pytest

from blkrun.cli.other_loop import OtherLoop
from blkrun.errors import BlkrunError


async def whereabouts() -> str:
    """The thread that this runs in."""
    return threading.current_thread().name


def test_results_and_errors_come_back() -> None:
    """From another thread."""

    async def fail() -> None:
        raise BlkrunError("no")

    async def act() -> None:
        with OtherLoop("beside") as other:
            assert await other.run(whereabouts()) == "beside"
            with pytest.raises(BlkrunError, match="no"):
                await other.run(fail())

    asyncio.run(act())


def test_it_goes_on_while_this_one_is_held_up() -> None:
    """That is what it is for."""
    done = threading.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    async def act() -> None:
        with OtherLoop("beside") as other:
            working = asyncio.ensure_future(other.run(work()))
            await asyncio.sleep(0)
            assert done.wait(10), "the other loop waits for this one"
            await working

    asyncio.run(act())


def test_who_stops_waiting_cancels() -> None:
    """And what is left at the end is cancelled too, having cleaned up."""
    ended: list[str] = []

    async def wait(name: str, begun: threading.Event) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async def act() -> None:
        with OtherLoop("beside") as other:
            begun = [threading.Event(), threading.Event()]
            first, second = (
                asyncio.ensure_future(other.run(wait(name, event)))
                for name, event in zip(("first", "second"), begun, strict=True)
            )
            await asyncio.sleep(0)
            assert all(event.wait(10) for event in begun)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        assert ended == ["first", "second"]
        second.cancel()

    asyncio.run(act())


def test_calls_are_made_there() -> None:
    """Plain functions, soon."""
    names: list[str] = []

    async def act() -> None:
        with OtherLoop("beside") as other:
            other.call(lambda: names.append(threading.current_thread().name))
            await other.run(whereabouts())

    asyncio.run(act())
    assert names == ["beside"]
