"""A client that queues requests, in a process of its own so that a test can kill it.

    queueing.py URI WRITES BYTES [goodbye]

Sends WRITES writes of BYTES to consecutive places and says ``sent``.  With ``goodbye`` it sends
NBD_CMD_DISC right behind them.  Prints how many were answered without error when nbdkit has closed
the connection.
"""

import sys

sys.path.append("/usr/lib/python3/dist-packages")
import nbd


def say(word: object) -> None:
    """A line, at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(uri: str, writes: int, length: int, *, goodbye: bool) -> None:
    """Queue, perhaps leave, and count the answers."""
    errors: list[int] = []

    def completed(error: "nbd.Int") -> int:
        errors.append(error.value)
        return 1

    handle = nbd.NBD()
    handle.connect_uri(uri)
    data = nbd.Buffer.from_bytearray(bytearray(b"q" * length))
    for number in range(writes):
        handle.aio_pwrite(data, number * length, completion=completed)
    while handle.aio_get_direction() & nbd.AIO_DIRECTION_WRITE:
        handle.poll(10)
    if goodbye:
        handle.aio_disconnect()
    say("sent")
    while not handle.aio_is_closed() and not handle.aio_is_dead():
        handle.poll(-1)
    say(errors.count(0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), goodbye="goodbye" in sys.argv)
