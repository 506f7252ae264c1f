"""The same rules and requests through QEMU's blkdebug and ours: the same requests fail, alike.

But for one thing: where a part of a block is written and what is around it cannot be read, QEMU 7.2
writes whatever is in its buffer, and says that all is well (bdrv_co_pwritev_part does not look at
what bdrv_padding_rmw_read returns).  Here such a write fails.
"""

import json
import os
import random
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blkrun.decode import decode
from blkrun.options import (
    BlkDebugOptions,
    FileOptions,
    InjectError,
    RawOptions,
    SetState,
)
from blkrun.server.actions import blockdev_add
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from tests.conformance.tools import require_tool

SIZE = 2**16

EVENTS = (
    "none",
    "read_aio",
    "write_aio",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
)
ERRNOS = {"EIO": 5, "ENOSPC": 28, "EINVAL": 22, "EROFS": 30}

Request = tuple[str, int, int]
Rule = dict[str, Any]


def some_rules(rnd: random.Random, align: int) -> tuple[list[Rule], list[Rule]]:
    """Rules that often meet one of a few requests; where there are blocks, none for reads."""
    iotypes = ["write", "write-zeroes", "discard", *([] if align else ["read"])]
    inject: list[Rule] = []
    for _ in range(rnd.randrange(1, 5)):
        rule: Rule = {"event": rnd.choice(EVENTS), "errno": rnd.choice(list(ERRNOS.values()))}
        if align or rnd.random() < 0.4:
            rule["iotype"] = rnd.choice(iotypes)
        if rnd.random() < 0.4:
            rule["sector"] = rnd.randrange(0, 24)
        if rnd.random() < 0.5:
            rule["once"] = True
        if rnd.random() < 0.5:
            rule["state"] = rnd.randrange(0, 3)
        inject.append(rule)
    changes = [
        {
            "event": rnd.choice(EVENTS),
            "state": rnd.randrange(0, 3),
            "new_state": rnd.randrange(1, 3),
        }
        for _ in range(rnd.randrange(0, 4))
    ]
    return inject, changes


def some_requests(rnd: random.Random) -> list[Request]:
    """Of any alignment; discards of whole blocks, as QEMU asks for no others."""
    found = []
    for _ in range(25):
        kind = rnd.choice(["read", "write", "zero", "discard"])
        step = 4096 if kind == "discard" else rnd.choice([1, 512, 4096])
        offset = rnd.randrange(0, 12288) // step * step
        found.append((kind, offset, max(1, rnd.randrange(1, 9000) // step) * step))
    return found


def by_qemu(directory: Path, options: Rule, requests: list[Request]) -> list[int]:
    """The errno of each, 0 where there is none."""
    image = directory / "image"
    image.write_bytes(bytes(SIZE))
    below = {"driver": "file", "filename": str(image), "discard": "unmap"}
    given = {key: value for key, value in options.items() if value}
    debug = {"driver": "blkdebug", "image": below, "discard": "unmap", **given}
    top = {"driver": "raw", "file": debug, "discard": "unmap"}
    words = {"zero": "write -z"}
    commands = []
    for kind, offset, count in requests:
        commands += ["-c", f"{words.get(kind, kind)} {offset} {count}"]
    done = subprocess.run(
        [require_tool("qemu-io"), "-t", "writeback", *commands, "json:" + json.dumps(top)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    numbers = {os.strerror(number): number for number in ERRNOS.values()}
    outcomes = []
    for line in (done.stdout + done.stderr).splitlines():
        if "failed: " in line:
            outcomes.append(numbers[line.partition("failed: ")[2]])
        elif line.startswith(("read ", "wrote ", "discard ")):
            outcomes.append(0)
    return outcomes


def by_us(options: Rule, requests: list[Request], directory: Path) -> list[int]:
    """The same, of ours."""
    graph = Graph(Events())
    inject = [rule_of(InjectError, each) for each in options["inject-error"]]
    changes = [rule_of(SetState, each) for each in options["set-state"]]
    image = str(directory / "ours")
    disk = FileOptions(node_name="disk", path=image, size=SIZE, create=True)
    debug = BlkDebugOptions(
        node_name="debug",
        image="disk",
        align=options["align"],
        inject_error=tuple(inject),
        set_state=tuple(changes),
    )
    top = RawOptions(node_name="top", file="debug")
    graph.transaction([partial(blockdev_add, options=each) for each in (disk, debug, top)])
    node, outcomes = graph.nodes["top"], []
    for kind, offset, count in requests:
        try:
            if kind == "read":
                node.pread(memoryview(bytearray(count)), offset)
            elif kind == "write":
                node.pwrite(memoryview(b"\xcd" * count), offset, 0)
            elif kind == "zero":
                node.zero(count, offset, 0)
            else:
                node.trim(count, offset, 0)
            outcomes.append(0)
        except OSError as error:
            outcomes.append(error.errno or -1)
    graph.close()
    return outcomes


def rule_of(struct: Any, rule: Rule) -> Any:
    """As the reader makes it."""
    return decode(struct, rule, [])


@pytest.mark.parametrize("align", [0, 512, 4096])
@pytest.mark.parametrize("seed", range(12))
def test_the_same_requests_fail(tmp_path: Path, seed: int, align: int) -> None:
    """With the same errno, and in the same order; what both have on the disk then is the same."""
    rnd = random.Random(seed)
    inject, changes = some_rules(rnd, align)
    options: Rule = {"align": align, "inject-error": inject, "set-state": changes}
    requests = some_requests(rnd)
    theirs = by_qemu(tmp_path, options, requests)
    assert len(theirs) == len(requests)
    assert by_us(options, requests, tmp_path) == theirs
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "image").read_bytes()
