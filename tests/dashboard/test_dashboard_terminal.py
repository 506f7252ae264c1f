"""Output to a terminal that does not keep up, here a pipe."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from blkrun.dashboard import terminal
from blkrun.dashboard.terminal import Output

PATIENCE_S = 10.0
SCREEN = "x" * 2**14


class Pipe:
    """What is written to ``output`` comes out of ``read``."""

    def __init__(self) -> None:
        self._end, self._begin = os.pipe()
        self.caught_up = threading.Event()
        self.output = Output(self._begin, self.caught_up.set)

    def read(self, size: int) -> str:
        """Exactly so much."""
        data = b""
        while len(data) < size:
            data += os.read(self._end, size - len(data))
        return data.decode()

    def close(self) -> None:
        """Both ends."""
        os.close(self._end)
        self.output.close()
        os.close(self._begin)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One that is closed at the end."""
    made = Pipe()
    yield made
    made.close()


def test_all_is_written_in_order(pipe: Pipe) -> None:
    """As long as somebody reads."""
    words = [f"{number};" for number in range(1000)]
    for word in words:
        pipe.output.write(word)
    assert pipe.read(len("".join(words))) == "".join(words)
    assert not pipe.caught_up.is_set()


def test_what_a_slow_terminal_missed_is_painted_anew(pipe: Pipe) -> None:
    """Nothing waits; whole pieces are missing; and then it is told that it has caught up."""
    for _ in range(100):
        pipe.output.write(SCREEN)
    kept = 0
    while not pipe.caught_up.wait(0.01):
        kept += len(pipe.read(len(SCREEN)))
    assert kept < 100 * len(SCREEN)
    pipe.output.write("anew")
    rest = pipe.read(4)
    while not rest.endswith("anew"):
        rest += pipe.read(1)
    assert (kept + len(rest) - 4) % len(SCREEN) == 0


def test_last_words_do_not_queue(pipe: Pipe) -> None:
    """What was to be painted before is skipped, but for the piece that is being written."""
    for _ in range(100):
        pipe.output.write(SCREEN)
    pipe.output.skip()
    pipe.output.write("bye")
    text = pipe.read(3)
    while not text.endswith("bye"):
        text += pipe.read(1)
    assert len(text) < 100 * len(SCREEN)


def test_closing_waits_for_what_is_written_but_not_for_ever(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that takes nothing goes without."""
    monkeypatch.setattr(terminal, "_PATIENCE_S", 0.05)
    for _ in range(100):
        pipe.output.write(SCREEN)
    begin_s = time.monotonic()
    pipe.output.close()
    assert time.monotonic() - begin_s < PATIENCE_S


def test_what_has_no_encoding_is_written_somehow(pipe: Pipe) -> None:
    """Half a character in a name ends no thread."""
    pipe.output.write("\ud800")
    pipe.output.write("after")
    assert pipe.read(6).endswith("after")


def test_the_end_does_not_mind_what_is_closed() -> None:
    """A dashboard that was started with ``2>&-`` has ended as well as any other."""
    code = "from blkrun.dashboard.terminal import let_go; let_go(); print('well')"
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code],
        stdout=subprocess.PIPE,
        check=False,
    )
    assert (closed.returncode, closed.stdout) == (0, b"well\n")


def test_nobody_is_there_any_more() -> None:
    """The thread goes on to the end, and says nothing."""
    pipe = Pipe()
    pipe.close()
