"""Looks at a file and at all that it includes, and reads them when they are whole.

Files are looked at by ``stat``, twenty times a second.  inotify (watchfiles) was measured and
given up: it has to watch the directory, because editors rename over the file, and images live in
that directory.  With one writer on an image there, the watcher used 37 % of a core and the
writer's rate fell from 350,000 to 130,000 writes a second.  Its polling mode compares whole
seconds and missed three of six edits made 0.3 s apart.  Looking by name sees editors that write
in place, that rename over, a swapped directory and a moved link alike.

Which files a pattern matches is asked again when its directory has changed.

On NFS the same looks see what the client's attribute cache says: another machine's save is seen
when that has expired (``acregmin``, 3 s; for a directory ``acdirmin``, 30 s), this machine's at
once.  Opening asks the server, so what is read may be newer than what was seen: then it does not
agree with the look and is read again later.  A file replaced on the server is found under its name
by the next look; a read that fails in between (ESTALE) counts as one that is not there yet.

That two looks agree does not make a file whole: a writer may pause.  So a file that a process of
this machine has open for writing is left alone while it may be in the middle of something, which a
read lease tells where the file system and our rights have leases (local ones, our own files).
"""

import errno
import fcntl
import os
import signal
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path
from time import monotonic_ns

from blkrun.config.sources import Sources, patterns, read
from blkrun.errors import FileError
from blkrun.reconcile.settle import PATIENCE_NS, Look, Scene, Settler

LOOK_INTERVAL_S = 0.05
HURRIED_INTERVAL_S = 0.01

_LISTED_AGAIN = 4
"""Looks after a change of a directory that list it too: its clock has ticks of up to 10 ms."""

_LISTED_EVERY = 10
"""Of so many looks one lists directories whose names are a pattern."""


def look(path: Path | str) -> Look | None:
    """One stat."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat
    except OSError:
        return None
    return Look(
        (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


class Watcher:
    """Says when there is something to read, and reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._main = os.path.abspath(path)  # noqa: PTH100 - resolve() follows links
        self._listings: tuple[_Listing, ...] = ()
        self._settler = Settler()
        self._seen: Scene = {}
        self._accepted: Scene = {}

    @property
    def pace_s(self) -> float:
        """How long to wait until the next look."""
        is_hurried = self._settler.is_hurried(monotonic_ns())
        return HURRIED_INTERVAL_S if is_hurried else LOOK_INTERVAL_S

    def is_settled(self) -> bool:
        """Whether nobody is saving just now, as far as one more look can tell."""
        if not self._settler.settled or self._look() != self._seen:
            return False
        return not self._is_being_written(self._seen)

    def forget(self) -> None:
        """What there is is to be read again."""
        self._settler.forget()

    def has_changed(self) -> bool:
        """Look, and say whether it is time to read."""
        self._seen = self._look()
        return self._settler.observe(self._seen, monotonic_ns())

    def read(self) -> Sources | None:
        """Everything, if it is as it was seen; None if somebody is writing after all.

        Nobody writes before, so the looks are of something whole; and nobody has begun to since.
        Raises FileError if the main file is not there to be read.
        """
        if self._is_being_written(self._changed()):
            self._settler.retract()
            return None
        try:
            sources = read(self._path)
        except FileError:
            if self._look() != self._seen:
                self._settler.retract()
                return None
            raise
        self.follow(sources)
        after = self._look()
        if _disagree(sources, self._seen, after) or self._is_being_written(self._changed()):
            self._settler.retract()
            return None
        self._seen = self._accepted = after
        self._settler.accept(after)
        return sources

    def follow(self, sources: Sources) -> None:
        """From now on look at what these include; at the same as before if that cannot be told."""
        found = patterns(sources.texts[sources.main], sources.main)
        if found is not None and found != tuple(each.pattern for each in self._listings):
            self._listings = tuple(map(_Listing, found))

    def _look(self) -> Scene:
        scene = {self._main: look(self._main)}
        for listing in self._listings:
            for name in listing.names():
                if name not in scene:
                    scene[name] = look(name)
        return scene

    def _is_being_written(self, names: Iterable[str]) -> bool:
        """Not for ever: a process may keep a file open that it has written long ago."""
        if self._settler.rest_ns(monotonic_ns()) >= PATIENCE_NS:
            return False
        return any(map(is_open_for_writing, names))

    def _changed(self) -> list[str]:
        return [name for name, seen in self._seen.items() if seen != self._accepted.get(name)]


class _Listing:
    """What a pattern matches."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._directory, name = os.path.split(pattern)
        self._is_plain = not has_magic(pattern)
        self._is_deep = has_magic(self._directory) or "**" in name
        self._state: Look | None = None
        self._again = 0
        self._names: list[str] = [pattern] if self._is_plain else []

    def names(self) -> list[str]:
        """In their order; a plain name also when it is not there."""
        if not self._is_plain and self._is_time():
            self._names = sorted(glob(self.pattern, recursive=True))  # noqa: PTH207 - as config does
        return self._names

    def _is_time(self) -> bool:
        self._again -= 1
        if self._is_deep:
            if self._again > 0:
                return False
            self._again = _LISTED_EVERY
            return True
        state = look(self._directory)
        if state != self._state:
            self._state, self._again = state, _LISTED_AGAIN
        return self._again > 0


def is_open_for_writing(path: str) -> bool:
    """Whether a process has it so just now, as far as can be told.

    A read lease is granted only when nobody has (fcntl(2), F_SETLEASE).  It is given back at once;
    should somebody open the file in that moment, the kernel lets them wait, and tells us by a
    signal that is ignored unless asked for.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(number, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    else:
        return False
    finally:
        os.close(number)  # and the lease with it


def _disagree(sources: Sources, before: Scene, after: Scene) -> bool:
    """Whether something was saved around the read."""
    if any(before[name] != after[name] for name in before.keys() & after.keys()):
        return True
    texts = {os.path.abspath(file): text for file, text in sources.texts.items()}  # noqa: PTH100
    return any(
        seen is not None and name in texts and len(texts[name]) != seen.size_bytes
        for name, seen in after.items()
    )
