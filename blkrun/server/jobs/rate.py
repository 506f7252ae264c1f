"""How fast a job goes just now: arithmetic only, time passed in.

Bytes since the oldest of a few looks in the last seconds.  A job that stands still comes to 0 when
its last chunk is that long ago.
"""

from collections import deque

from blkrun.server.jobs.pace import NS_PER_S

WINDOW_NS = 5 * NS_PER_S
_STEP_NS = WINDOW_NS // 10


class Rate:
    """``looks`` are (when, bytes done by then), oldest first, a step apart; at least one."""

    def __init__(self, now_ns: int, done_bytes: int = 0) -> None:
        self._looks = deque([(now_ns, done_bytes)])

    def look(self, done_bytes: int, now_ns: int) -> None:
        """So much is done by now."""
        if now_ns - self._looks[-1][0] >= _STEP_NS:
            self._looks.append((now_ns, done_bytes))
        while len(self._looks) > 1 and now_ns - self._looks[0][0] > WINDOW_NS:
            self._looks.popleft()

    def bytes_per_s(self, done_bytes: int, now_ns: int) -> int:
        """Over the window, or what there is of it."""
        self.look(done_bytes, now_ns)
        at_ns, then_bytes = self._looks[0]
        if now_ns <= at_ns:
            return 0
        return max(0, (done_bytes - then_bytes) * NS_PER_S // (now_ns - at_ns))
