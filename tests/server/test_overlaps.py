"""Who may touch which range: together or alone, in order of arrival."""

import threading

from blkrun.server.overlaps import Overlaps
from tests.server.inprocess import PATIENCE_S, Worker, eventually


class Comers:
    """Threads that claim a range each, note that they are in, and leave when told."""

    def __init__(self) -> None:
        self.overlaps = Overlaps()
        self.inside: list[str] = []
        self._leave: dict[str, threading.Event] = {}
        self._workers: dict[str, Worker] = {}

    def come(self, name: str, start: int, end: int, *, alone: bool) -> None:
        """It has been noted when this returns, and may be waiting."""
        leave = self._leave[name] = threading.Event()

        def work() -> None:
            claim = self.overlaps.alone if alone else self.overlaps.together
            with claim(start, end):
                self.inside.append(name)
                assert leave.wait(PATIENCE_S)
                self.inside.remove(name)

        before = len(self.overlaps._claims)
        self._workers[name] = Worker(work)
        eventually(lambda: len(self.overlaps._claims) > before)

    def leave(self, name: str) -> None:
        """It has gone when this returns."""
        self._leave[name].set()
        self._workers[name].finish()

    def settled(self, *names: str) -> None:
        """Just these come in, and the others wait."""
        eventually(lambda: sorted(self.inside) == sorted(names))


def test_those_together_do_not_wait_for_each_other() -> None:
    """Writes overlap as NBD lets them."""
    comers = Comers()
    comers.come("a", 0, 10, alone=False)
    comers.come("b", 5, 15, alone=False)
    comers.settled("a", "b")
    comers.leave("a")
    comers.leave("b")


def test_alone_waits_for_what_overlaps_and_for_nothing_else() -> None:
    """And who comes after waits for it, though those inside would let them in."""
    comers = Comers()
    comers.come("write", 0, 10, alone=False)
    comers.come("aside", 20, 30, alone=True)
    comers.come("copy", 5, 15, alone=True)
    comers.come("later", 8, 9, alone=False)
    comers.come("touching", 15, 20, alone=False)
    comers.settled("write", "aside", "touching")
    comers.leave("write")
    comers.settled("copy", "aside", "touching")
    comers.leave("copy")
    comers.settled("later", "aside", "touching")
    for name in ("later", "aside", "touching"):
        comers.leave(name)
    assert comers.inside == []
