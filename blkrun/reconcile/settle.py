"""Tells when files have changed and are whole again: pure, looks and time are passed in.

Files caught in the middle of a save are not an edit.  A look counts when it equals the one
before, so a burst of saves is one edit, when it is over.  Where saves never rest, looks are taken
more often after ``RESTLESS_NS`` (see ``Settler.is_hurried``), so that two of them fall between two
saves.  What is gone or empty is told after ``PATIENCE_NS`` only: most likely somebody's editor is
between two steps of a save.
"""

from collections.abc import Mapping
from typing import NamedTuple

PATIENCE_NS = 2_000_000_000
RESTLESS_NS = 1_000_000_000


class Look(NamedTuple):
    """What one stat saw."""

    inode: tuple[int, int]
    size_bytes: int
    modified_ns: int
    changed_ns: int


Scene = Mapping[str, Look | None]
"""Files by name; None is one that is not there."""


class Settler:
    """Folds looks into "read it now".  Nothing has been told yet: the first scene is news."""

    def __init__(self) -> None:
        self._known: Scene = {}
        self._last: Scene | None = None
        self._since_ns = 0
        self._restless_ns: int | None = None
        self._restless_before: int | None = None
        self._is_due = True

    @property
    def settled(self) -> bool:
        """Whether what was seen last is what has been told: nobody is saving just now."""
        return self._last == self._known and not self._is_due

    def forget(self) -> None:
        """Tell what there is once more."""
        self._is_due = True

    def retract(self) -> None:
        """What was told last was not whole, as its reader has seen: it has not been told."""
        self._is_due = True
        self._restless_ns = self._restless_before

    def accept(self, seen: Scene) -> None:
        """It was whole, and is this now that the reader knows which files there are."""
        self._known = self._last = seen

    def is_hurried(self, now_ns: int) -> bool:
        """Whether saves have left no rest for so long that a shorter one has to do."""
        return self._restless_ns is not None and now_ns - self._restless_ns >= RESTLESS_NS

    def rest_ns(self, now_ns: int) -> int:
        """For how long nothing has changed."""
        return now_ns - self._since_ns

    def observe(self, seen: Scene, now_ns: int) -> bool:
        """Whether this look shows a change that has settled; each is told once."""
        if seen != self._last:
            self._last, self._since_ns = seen, now_ns
            if self._restless_ns is None:
                self._restless_ns = now_ns
            return False
        if seen == self._known and not self._is_due:
            self._restless_ns = None
            return False
        if self.rest_ns(now_ns) < PATIENCE_NS and self.is_unfinished(seen):
            return False
        self._known, self._is_due = seen, False
        self._restless_before, self._restless_ns = self._restless_ns, None
        return True

    def is_unfinished(self, seen: Scene) -> bool:
        """Whether something that was there is gone, or is empty now."""
        return any(
            _is_nothing(seen.get(name)) and seen.get(name) != self._known.get(name)
            for name in {**self._known, **seen}
        )


def _is_nothing(look: Look | None) -> bool:
    return look is None or look.size_bytes == 0
