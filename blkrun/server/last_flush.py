"""The last flush: what clients wrote and did not flush is made durable when the server ends.

NBD does not ask for it; who has no time to flush, such as a guest that was switched off, is glad.
"""

import sys
import threading
from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

from blkrun.server.node import Node

_THREADS: Final = 16


def flush_all(nodes: Iterable[Node[Any]], timeout_s: float) -> None:
    """Flush every backend that may have been written to; one that hangs is left after this time.

    What cannot be flushed is said in the log: nobody is there any more to be told.
    """
    work = deque(node for node in nodes if not node.children and not _only_read(node))
    under_way: set[str] = set()
    threads = [
        threading.Thread(target=_flush, args=(work, under_way), name="blkrun-flush", daemon=True)
        for _ in range(min(_THREADS, len(work)))
    ]
    deadline = monotonic() + timeout_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    for name in sorted({*under_way, *(node.name for node in work)}):
        _say(name, f"not done within {timeout_s:g} s")


def _only_read(node: Node[Any]) -> bool:
    return bool(node.options.read_only or node.options.only_reads)


def _flush(work: deque[Node[Any]], under_way: set[str]) -> None:
    while work:
        try:
            node = work.popleft()
        except IndexError:  # another thread took the last
            return
        under_way.add(node.name)
        try:
            node.do_flush()
        except OSError as error:
            _say(node.name, str(error))
        under_way.discard(node.name)


def _say(name: str, why: str) -> None:
    print(f"last flush of {name}: {why}", file=sys.stderr)  # noqa: T201 - the server's log
