"""Tells when a file has changed and is whole again.

The file is looked at by ``stat``, twenty times a second: 10 µs a look.  inotify (watchfiles) was
measured and given up: it has to watch the directory, because editors rename over the file, and
images live in that directory.  With one writer on an image there, the watcher used 37 % of a
core and the writer's rate fell from 350,000 to 130,000 writes a second.  Its polling mode
compares whole seconds and missed three of six edits made 0.3 s apart.  Looking by name sees
editors that write in place, that rename over, a swapped directory and a moved link alike.

A file caught in the middle of a save is not an edit: a look counts when it equals the one
before, and an empty file only after ``EMPTY_PATIENCE_NS``.
"""

from dataclasses import dataclass
from pathlib import Path

LOOK_INTERVAL_S = 0.05
EMPTY_PATIENCE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Look:
    """What one stat saw; ``None`` for the whole is a file that is not there."""

    inode: tuple[int, int]
    size_bytes: int
    modified_ns: int
    changed_ns: int


def look(path: Path) -> Look | None:
    """One stat."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Look(
        (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


_NEVER = Look((-1, -1), -1, -1, -1)
"""No file looks like that."""


class Settler:
    """Folds looks into "read it now".  Time is passed in."""

    def __init__(self, known: Look | None) -> None:
        self._known = known
        self._last = known
        self._since_ns = 0

    @property
    def settled(self) -> bool:
        """Whether what was seen last is what has been told: nobody is saving just now."""
        return self._last == self._known

    def forget(self) -> None:
        """Tell the file as it is now once more."""
        self._known = _NEVER

    def observe(self, seen: Look | None, now_ns: int) -> bool:
        """Whether this look shows a change that has settled; each is told once."""
        if seen != self._last:
            self._last, self._since_ns = seen, now_ns
            return False
        if seen == self._known:
            return False
        if _unfinished(seen) and now_ns - self._since_ns < EMPTY_PATIENCE_NS:
            return False
        self._known = seen
        return True


def _unfinished(seen: Look | None) -> bool:
    """Gone or empty: most likely an editor between two steps of a save."""
    return seen is None or seen.size_bytes == 0
