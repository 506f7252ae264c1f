"""Random files that are valid, of which any two have much in common.

Long chains of filters over one or two disks, in any order; copy-before-write with its target and
snapshot-access; windows and filters beside a chain; filters that are switched off; exports over
anything, some with limits of their own; bitmaps.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st

from blkrun import config
from blkrun.model import Config

FILE = Path("/lab/lab.toml")
SIZE = 2**20
FAST = 10**6
"""A limit that a few requests do not come near."""

Table = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """A file's tables, by their headings."""

    tables: dict[str, Table]

    def text(self, order: Sequence[str] | None = None) -> str:
        """As TOML, with the tables in this order."""
        return "\n".join(self._lines(heading) for heading in order or self.tables)

    def parsed(self, order: Sequence[str] | None = None) -> Config:
        """As the runner reads it."""
        return config.parse(self.text(order), FILE)

    def _lines(self, heading: str) -> str:
        pairs = (f"{key} = {json.dumps(value)}\n" for key, value in self.tables[heading].items())
        return f"[{heading}]\n{''.join(pairs)}"


@dataclass
class _Draft:
    """``over``: each node of a disk's chain and beside it → the disk, how far up it is."""

    draw: st.DrawFn
    tables: dict[str, Table] = field(default_factory=dict)
    over: dict[str, tuple[str, int]] = field(default_factory=dict)
    guarded: dict[str, int] = field(default_factory=dict)
    """Disk → how far up its highest copy-before-write is: nobody may write from below it."""
    tops: dict[str, str] = field(default_factory=dict)

    def some(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(1, one_in)) == 1

    def disk(self, name: str) -> None:
        table = {"driver": self.some("memory", "null"), "size": self.some(SIZE, 2 * SIZE)}
        self.tables[f"backends.{name}"] = table
        if table["driver"] == "null" and self.chance(4):
            table["read-only"] = True
        self.over[name] = name, 0
        self.tops[name] = name

    def push(self, name: str) -> None:
        """On top of a disk's chain."""
        disk = self.some(*self.tops)
        below = self.tops[disk]
        self.over[name] = disk, self.over[below][1] + 1
        self.tops[disk] = name
        table = self.keeper(name, disk) if name.startswith("k") else self.filter(name)
        self.tables[f"nodes.{name}"] = table | {"file": below}
        if self.chance(6):
            table = self.tables[f"nodes.{name}"]
            table["enabled"] = False

    def filter(self, name: str) -> Table:
        throttles = name.startswith("f")
        if throttles != self.chance(8):
            return {"driver": "throttle", "throttle-group": self.some("g", "h")}
        return {"driver": "write-threshold", "write-threshold": self.some(0, SIZE)}

    def keeper(self, name: str, disk: str) -> Table:
        target = name.replace("k", "t")
        size = self.tables[f"backends.{disk}"]["size"]
        self.tables[f"backends.{target}"] = {"driver": "memory", "size": size}
        if self.chance(3):
            above = {"driver": "write-threshold", "file": target, "write-threshold": SIZE}
            self.tables[f"nodes.{target}-alarm"] = above
            target = f"{target}-alarm"
        self.guarded[disk] = self.over[name][1]
        on_error = self.some("break-guest-write", "break-snapshot")
        return {"driver": "copy-before-write", "target": target, "on-cbw-error": on_error}

    def beside(self) -> None:
        """Windows and filters that are no chain's."""
        for name in ("r0", "r1", "b0", "b1"):
            if self.chance(2):
                below = self.some(*self.over)
                self.over[name] = self.over[below]
                table: Table = {"driver": "raw", "offset": self.some(0, 4096)}
                table |= {"size": 4096} if self.chance(3) and "r" not in below else {}
                if name.startswith("b") or below.startswith(("r", "b")):
                    table = self.filter("f")
                self.tables[f"nodes.{name}"] = table | {"file": below}
        for name in ("k0", "k1"):
            if f"nodes.{name}" in self.tables and self.chance(2):
                self.tables[f"nodes.{name}"].pop("enabled", None)
                table = {"driver": "snapshot-access", "file": name}
                self.tables[f"nodes.{name}-past"] = table

    def export(self, name: str) -> None:
        pasts = [f"{keeper}-past" for keeper in ("k0", "k1")]
        pasts = [past for past in pasts if f"nodes.{past}" in self.tables]
        node = self.some(*self.over, *pasts)
        table: Table = {"node": node}
        if self.chance(4) or not self.may_write(node):
            table["read-only"] = True
        if self.chance(4):
            table["description"] = "a disk"
        if self.chance(3):
            table[self.some("iops-total", "iops-read")] = self.some(FAST, 2 * FAST)
        self.tables[f"exports.{name}"] = table

    def may_write(self, node: str) -> bool:
        if node not in self.over:
            return False
        disk, height = self.over[node]
        allowed = height >= self.guarded.get(disk, 0)
        return allowed and "read-only" not in self.tables[f"backends.{disk}"]


_NAMES = ("f0", "f1", "f2", "f3", "f4", "f5", "w0", "w1", "k0", "k1")


@st.composite
def files(draw: st.DrawFn) -> Written:
    """A whole file."""
    draft = _Draft(draw)
    for name in "gh":
        limits = draw(st.sampled_from([{}, {"iops-total": FAST}, {"bps-read": 2**40}]))
        draft.tables[f"throttle-groups.{name}"] = limits
    for name in draw(st.sampled_from([["d0"], ["d0", "d1"]])):
        draft.disk(name)
    for name in draw(st.lists(st.sampled_from(_NAMES), unique=True)):
        draft.push(name)
    draft.beside()
    for name in draw(st.lists(st.sampled_from(["e0", "e1", "e2", "f0"]), unique=True)):
        draft.export(name)
    for name in draw(st.lists(st.sampled_from(["m0", "m1"]), unique=True)):
        node, granularity = draft.some(*draft.over), draft.some(512, 65536)
        draft.tables[f"bitmaps.{name}"] = {"node": node, "granularity": granularity}
    return Written(draft.tables)
