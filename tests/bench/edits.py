"""Filters inserted and removed under load: what it costs the client that is not concerned.

Ten times a second a throttle without limits goes into the export's edge and, soon after, out
of it again.  It stays for a tenth of the time only, because what a filter costs while it is
there is another row.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.live.service import Qmp

from .load import Figures, Workload, measure
from .place import BenchError
from .process import Running

PERIOD_S = 0.1
STAYS_S = 0.01
NODE = "passing"
LOAD = Workload("randread", 4, 16, 1)


@dataclass(frozen=True)
class EditRound:
    """The same load without edits and with them, one right after the other."""

    plain: Figures
    edited: Figures
    edits: int
    """How often the filter went in and out."""

    @property
    def lost_percent(self) -> float:
        """Of the throughput."""
        return 100 * (1 - self.edited.iops / self.plain.iops)

    @property
    def longer_ms(self) -> float:
        """By how much the longest request took longer."""
        return (self.edited.longest_us - self.plain.longest_us) / 1000

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        return {
            "plain": asdict(self.plain),
            "edited": asdict(self.edited),
            "edits": self.edits,
            "lost-percent": self.lost_percent,
            "longer-ms": self.longer_ms,
        }


class Editor:
    """Puts a node between the export and the node below, and takes it out, until told to stop."""

    def __init__(self, control: Path) -> None:
        self.edits = 0
        self._control = control
        self._enough = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="editor")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Edit while the block runs.  Raises BenchError if the server refused an edit."""
        self._thread.start()
        try:
            yield
        finally:
            self._enough.set()
            self._thread.join()
        if self._failure is not None:
            raise BenchError(f"an edit under load failed: {self._failure}") from self._failure

    def _run(self) -> None:
        try:
            with conversation(self._control) as qmp:
                self._edit_on(qmp)
        except (AssertionError, OSError) as error:
            self._failure = error

    def _edit_on(self, qmp: Qmp) -> None:
        child = qmp.do("query-block-exports")[0]["node-name"]
        edge = {"parent": "vda", "child": child, "node": NODE}
        qmp.do("blockdev-add", **_throttle(child))
        due = time.monotonic()
        while not self._enough.wait(max(0.0, due - time.monotonic())):
            qmp.do("block-insert-node", **edge)
            time.sleep(STAYS_S)
            qmp.do("block-remove-node", **edge)
            self.edits += 1
            due += PERIOD_S
        qmp.do("blockdev-del", **{"node-name": NODE})


@contextmanager
def conversation(control: Path) -> Iterator[Qmp]:
    """A QMP conversation that is ready for commands."""
    qmp = Qmp(control)
    try:
        yield qmp.negotiated()
    finally:
        qmp.close()


def measure_edits(server: Running, number: int, seconds: float) -> EditRound:
    """One round; every second one begins with the edits."""
    figures: dict[bool, Figures] = {}
    editor = Editor(server.room.control)
    for edited in _order(number):
        if edited:
            with editor.at_work():
                figures[True] = measure(server, LOAD, seconds)
        else:
            figures[False] = measure(server, LOAD, seconds)
    return EditRound(figures[False], figures[True], editor.edits)


def _order(number: int) -> Sequence[bool]:
    return (True, False) if number % 2 else (False, True)


def _throttle(child: str) -> dict[str, Any]:
    return {"driver": "throttle", "node-name": NODE, "throttle-group": "free", "file": child}
