"""An NBD client that never stops checking: ``python hammer.py URI SECONDS``, as a process.

Keeps sixteen requests in flight over one connection.  Each of the sixteen places owns a stretch
of the disk and knows what must be in it; it writes, zeroes, trims, flushes and reads back at
random.  Prints one JSON line every 100 ms (requests done so far) and a last one with errors and
mismatches, after reading everything once more.  SIGTERM ends it early, in the same orderly way.
"""

import json
import random
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

sys.path.append("/usr/lib/python3/dist-packages")
import nbd

DEPTH = 16
BLOCK_BYTES = 4096
BLOCKS_EACH = 64


class Place:
    """One of the sixteen: at most one request at a time, over its own blocks."""

    def __init__(self, handle: "nbd.NBD", number: int) -> None:
        self.handle = handle
        self.first = number * BLOCKS_EACH
        self.random = random.Random(number)
        self.known: dict[int, bytes] = {}
        self.cookie: int | None = None
        self.done = 0
        self.errors: list[str] = []
        self.wrong: list[int] = []
        self._finish: Callable[[], object] = lambda: None

    def begin(self) -> None:
        """Issue one request."""
        block = self.first + self.random.randrange(BLOCKS_EACH)
        what = self.random.random()
        if block not in self.known or what < 0.4:
            self._write(block)
        elif what < 0.45:
            self._zero(block)
        elif what < 0.5:
            self.cookie = self.handle.aio_flush()
            self._finish = lambda: None
        else:
            self._read(block)

    def _write(self, block: int) -> None:
        data = self.random.randbytes(16) * (BLOCK_BYTES // 16)
        buffer = nbd.Buffer.from_bytearray(bytearray(data))
        flags = nbd.CMD_FLAG_FUA if self.random.random() < 0.05 else 0
        self.cookie = self.handle.aio_pwrite(buffer, block * BLOCK_BYTES, flags=flags)
        self._finish = lambda: self.known.__setitem__(block, data)

    def _zero(self, block: int) -> None:
        self.cookie = self.handle.aio_zero(BLOCK_BYTES, block * BLOCK_BYTES)
        self._finish = lambda: self.known.__setitem__(block, bytes(BLOCK_BYTES))

    def _read(self, block: int) -> None:
        buffer = nbd.Buffer(BLOCK_BYTES)
        self.cookie = self.handle.aio_pread(buffer, block * BLOCK_BYTES)

        def check() -> None:
            if bytes(buffer.to_bytearray()) != self.known[block]:
                self.wrong.append(block)

        self._finish = check

    def poll(self) -> None:
        """Take note of a request that has ended."""
        if self.cookie is None:
            return
        try:
            if not self.handle.aio_command_completed(self.cookie):
                return
        except nbd.Error as error:
            self.errors.append(str(error))
        else:
            self._finish()
        self.cookie = None
        self.done += 1


def say(**what: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Stop:
    """Set by SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True


def turn(handle: "nbd.NBD", places: list[Place]) -> None:
    """Wait for news and take note of it."""
    handle.poll(100)
    for place in places:
        place.poll()


def work(handle: "nbd.NBD", places: list[Place], seconds: float) -> None:
    """Keep all places busy until the time is over, then let the last requests end."""
    stop = Stop()
    end = time.monotonic() + seconds
    report_at = 0.0
    while not stop.asked and time.monotonic() < end:
        for place in places:
            if place.cookie is None:
                place.begin()
        turn(handle, places)
        if time.monotonic() >= report_at:
            report_at = time.monotonic() + 0.1
            say(at=time.time(), done=sum(place.done for place in places))
    while any(place.cookie is not None for place in places):
        turn(handle, places)


def check(handle: "nbd.NBD", place: Place) -> None:
    """Read everything a place knows once more."""
    for block, data in place.known.items():
        if bytes(handle.pread(BLOCK_BYTES, block * BLOCK_BYTES)) != data:
            place.wrong.append(block)


def main(uri: str, seconds: float) -> None:
    """Hammer, check, give the verdict."""
    handle = nbd.NBD()
    handle.connect_uri(uri)
    places = [Place(handle, number) for number in range(DEPTH)]
    work(handle, places, seconds)
    for place in places:
        check(handle, place)
    handle.shutdown()
    errors = [error for place in places for error in place.errors]
    wrong = [block for place in places for block in place.wrong]
    say(done=sum(place.done for place in places), errors=errors, wrong=wrong)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
