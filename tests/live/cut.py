"""Writers whose disk tells afterwards whether a copy of it is one instant's: a consistent cut.

Each of several threads writes numbered blocks, one after the other, round and round its own part of
the disk.  Each block also says what the other writers had been answered when it was written.  A
copy is of one instant if each part is as after some number of that writer's blocks, and no block in
it knows of one that is not.
"""

import struct
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

sys.path.append("/usr/lib/python3/dist-packages")
import nbd

BLOCK_BYTES = 4096
BLOCKS_EACH = 4096
"""16 MiB a writer."""

_BEFORE_RETRY_S = 0.001


class Writers:
    """A thread for each URI; several may be one disk's, at different parts of it.

    A write that fails with an error of ``retried`` has not happened: it is tried again.  After any
    other the writer is at its end, with a block that may or may not be on the disk.
    """

    def __init__(self, uris: Sequence[str], retried: Collection[str] = ()) -> None:
        self.answered = [0] * len(uris)
        self.errors: list[str] = []
        self.failed = [0] * len(uris)
        """How many writes have been tried again."""
        self._retried = retried
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number, uri))
            for number, uri in enumerate(uris)
        ]

    @property
    def size_bytes(self) -> int:
        """What a disk has to have for all of them."""
        return len(self.answered) * BLOCKS_EACH * BLOCK_BYTES

    def _write(self, number: int, uri: str) -> None:
        handle = nbd.NBD()
        handle.connect_uri(uri)
        while not self._stop.is_set():
            turn = self.answered[number] + 1
            words = struct.pack(f"<{len(self.answered) + 1}Q", turn, *self.answered)
            offset = (number * BLOCKS_EACH + turn % BLOCKS_EACH) * BLOCK_BYTES
            try:
                handle.pwrite(words.ljust(BLOCK_BYTES, bytes([turn % 251])), offset)
            except nbd.Error as error:
                if error.errno not in self._retried:
                    self.errors.append(str(error))
                    return
                self.failed[number] += 1
                time.sleep(_BEFORE_RETRY_S)
                continue
            self.answered[number] = turn
        handle.shutdown()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """From the first blocks of each until the end of the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def check(self, copies: Sequence[bytes]) -> list[int]:
        """How many blocks of each writer a copy has, that is one of its part of its disk.

        Fails if they are not from one instant.
        """
        found = [self._last(number, copies[number]) for number in range(len(copies))]
        for number, (turn, known) in enumerate(found):
            for other, answered in enumerate(known):
                assert answered <= found[other][0], (
                    f"block {turn} of writer {number} knows of block {answered} of {other}, "
                    f"which has {found[other][0]}"
                )
        return [turn for turn, _ in found]

    def _last(self, number: int, part: bytes) -> tuple[int, Sequence[int]]:
        """The last block of a part, after which all others have to be those right before it."""
        width = len(self.answered) + 1
        blocks = [
            struct.unpack_from(f"<{width}Q", part, at) for at in range(0, len(part), BLOCK_BYTES)
        ]
        last = max(block[0] for block in blocks)
        for turn in range(max(1, last - BLOCKS_EACH + 1), last + 1):
            at = turn % BLOCKS_EACH
            assert blocks[at][0] == turn, (number, last, turn, blocks[at][0])
            end = part[(at + 1) * BLOCK_BYTES - 1]
            assert end == turn % 251, "a block that is half of one and half of another"
        return last, blocks[last % BLOCKS_EACH][1:]


def read_all(uri: str, size_bytes: int) -> bytes:
    """A whole export."""
    handle: Any = nbd.NBD()
    handle.connect_uri(uri)
    step = 2**20
    data = b"".join(bytes(handle.pread(step, at)) for at in range(0, size_bytes, step))
    handle.shutdown()
    return data


def parts(disk: bytes, writers: int) -> list[bytes]:
    """Each writer's part of a disk that they share."""
    size = BLOCKS_EACH * BLOCK_BYTES
    return [disk[number * size : (number + 1) * size] for number in range(writers)]
