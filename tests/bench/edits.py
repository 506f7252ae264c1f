"""Filters inserted and removed under load: what it costs the client.

Spans with edits and without alternate on one connection, because two runs of fio differ by more
than edits cost; short spans, because the rate wanders by a sixth within tenths of a second.
Ten times a second a throttle without limits goes into the export's edge and, soon after, out of
it again.  It stays for a tenth of the time only, because what a filter costs while it is there
is another row.
"""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from tests.live.service import Qmp

from .load import Workload, fio
from .place import BenchError
from .process import Running

PERIOD_S = 0.1
STAYS_S = 0.01
SPAN_S = 0.2
PAIRS = 12
"""Spans with and without edits in one round."""

LEAD_S = 1.0
"""For fio to start and get going before the first span."""

WINDOW_MS = 20
NODE = "passing"
LOAD = Workload("randread", 4, 16, 1)


@dataclass(frozen=True)
class Span:
    """A time, in milliseconds since 1970, in which there were edits or were none."""

    begin_ms: float
    end_ms: float
    edited: bool


@dataclass(frozen=True)
class Sample:
    """A line of fio's log: what was found in the window that ended then."""

    end_ms: int
    value: float


@dataclass(frozen=True)
class SpanFigures:
    """What a client saw in a span."""

    iops: float
    longest_ms: float


@dataclass(frozen=True)
class EditPair:
    """A span without edits and one with them, next to each other."""

    plain: SpanFigures
    edited: SpanFigures

    @property
    def lost_percent(self) -> float:
        """Of the throughput."""
        return 100 * (1 - self.edited.iops / self.plain.iops)

    @property
    def longer_ms(self) -> float:
        """By how much the longest request took longer."""
        return self.edited.longest_ms - self.plain.longest_ms

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        ratios = {"lost-percent": self.lost_percent, "longer-ms": self.longer_ms}
        return {"plain": asdict(self.plain), "edited": asdict(self.edited), **ratios}


class Editor:
    """Edits in every second span, in a thread beside fio."""

    def __init__(self, control: Path) -> None:
        self.spans: list[Span] = []
        self._control = control
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="editor")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Edit while the block runs.  Raises BenchError if the server refused an edit."""
        self._thread.start()
        try:
            yield
        finally:
            self._thread.join()
        if self._failure is not None:
            raise BenchError(f"an edit under load failed: {self._failure}") from self._failure

    def _run(self) -> None:
        time.sleep(LEAD_S)
        try:
            with conversation(self._control) as qmp:
                self._spans(qmp)
        except (AssertionError, OSError) as error:
            self._failure = error

    def _spans(self, qmp: Qmp) -> None:
        child = qmp.do("query-block-exports")[0]["node-name"]
        edge = {"parent": "vda", "child": child, "node": NODE}
        qmp.do("blockdev-add", **_throttle(child))
        for number in range(PAIRS):
            for edited in (False, True) if number % 2 else (True, False):
                begin_ms = time.time() * 1000
                _toggle(qmp, edge) if edited else time.sleep(SPAN_S)
                self.spans.append(Span(begin_ms, time.time() * 1000, edited))
        qmp.do("blockdev-del", **{"node-name": NODE})


@contextmanager
def conversation(control: Path) -> Iterator[Qmp]:
    """A QMP conversation that is ready for commands."""
    qmp = Qmp(control)
    try:
        yield qmp.negotiated()
    finally:
        qmp.close()


def measure_edits(server: Running) -> list[EditPair]:
    """One round.  Raises BenchError when fio or an edit fails."""
    editor = Editor(server.room.control)
    seconds = LEAD_S + 2 * PAIRS * SPAN_S + LEAD_S
    with tempfile.TemporaryDirectory(dir=server.room.directory) as directory:
        log = Path(directory) / "fio"
        with editor.at_work():
            fio(server.room.uri, LOAD, seconds, *logging(log))
        rates = parse_log(log.with_name("fio_iops.1.log").read_text())
        longest = parse_log(log.with_name("fio_clat.1.log").read_text())
    return pairs(editor.spans, rates, longest)


def pairs(
    spans: Sequence[Span], rates: Sequence[Sample], longest_ns: Sequence[Sample]
) -> list[EditPair]:
    """Neighbours, whichever came first.  Raises BenchError if fio was not there all the time."""
    found = []
    for couple in zip(spans[::2], spans[1::2], strict=True):
        plain, edited = sorted(couple, key=lambda span: span.edited)
        found.append(
            EditPair(_figures(plain, rates, longest_ns), _figures(edited, rates, longest_ns))
        )
    return found


def parse_log(text: str) -> list[Sample]:
    """Of fio's lines ``time, value, direction, size, offset`` the first two."""
    fields = (line.split(",") for line in text.splitlines())
    return [Sample(int(when), float(value)) for when, value, *_ in fields]


def _figures(span: Span, rates: Sequence[Sample], longest_ns: Sequence[Sample]) -> SpanFigures:
    """From the windows that lie wholly within a span."""
    inside, longest = (_values(span, samples) for samples in (rates, longest_ns))
    if not (inside and longest):
        raise BenchError("fio was not under way while filters were inserted and removed")
    return SpanFigures(mean(inside), max(longest) / 1e6)


def _values(span: Span, samples: Sequence[Sample]) -> list[float]:
    return [
        sample.value
        for sample in samples
        if span.begin_ms <= sample.end_ms - WINDOW_MS and sample.end_ms <= span.end_ms
    ]


def _toggle(qmp: Qmp, edge: dict[str, str]) -> None:
    """Insert and remove for one span."""
    begin = time.monotonic()
    for number in range(round(SPAN_S / PERIOD_S)):
        time.sleep(max(0.0, begin + number * PERIOD_S - time.monotonic()))
        qmp.do("block-insert-node", **edge)
        time.sleep(STAYS_S)
        qmp.do("block-remove-node", **edge)
    time.sleep(max(0.0, begin + SPAN_S - time.monotonic()))


def logging(log: Path) -> list[str]:
    """Requests a second, and the longest request, in each window."""
    return [
        f"--write_iops_log={log}",
        f"--write_lat_log={log}",
        f"--log_avg_msec={WINDOW_MS}",
        "--log_max_value=1",
        "--log_unix_epoch=1",
    ]


def _throttle(child: str) -> dict[str, Any]:
    return {"driver": "throttle", "node-name": NODE, "throttle-group": "free", "file": child}
