"""The file's tables as data, between decoding and checking.

A table with a mistake in it is kept, without options, so that the later passes still know its
name and its edges: one mistake must not look like ten.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Generic, TypeVar

from msgspec import Struct

from blkrun.decode import Path
from blkrun.job_options import JobOptions
from blkrun.limits import any_average
from blkrun.options import (
    EDGES,
    BitmapOptions,
    BlockdevOptions,
    CopyOnReadOptions,
    DashboardOptions,
    ExportOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
)

S = TypeVar("S", bound=Struct)

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[S]):
    """One table of the file; ``options`` is None if something in it is wrong."""

    path: Path
    raw: Raw
    options: S | None

    @property
    def name(self) -> str:
        """The last word of the header."""
        return str(self.path[-1])

    def text(self, key: str) -> str | None:
        """A string of the table, whatever may be wrong with the rest of it."""
        value = self.raw.get(key)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTable(Table[BlockdevOptions]):
    """A backend or a node; ``driver`` is None if it names no driver that there is."""

    driver: type[BlockdevOptions] | None
    enabled: bool

    def edges(self) -> Iterator[tuple[str, str]]:
        """Role and child's name, for each edge that is written and leads to something."""
        for role in EDGES[self.driver] if self.driver is not None else ():
            if child := self.text(role):
                yield role, child

    @property
    def bottom(self) -> str | None:
        """The node that a copy-on-read names besides its edges."""
        return self.text("bottom") if self.driver is CopyOnReadOptions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable(Table[ExportOptions]):
    """An export and the limits in its table; ``limits`` is None if something is wrong in them."""

    limits: ThrottleLimits | None

    @property
    def throttled(self) -> bool:
        """Whether it has a throttle of its own: limits that are all 0 are none (QEMU's §3.2)."""
        return self.limits is None or any_average(self.limits)

    @property
    def throttle_group(self) -> str:
        """The group that has its limits: QEMU's default name, the device's."""
        return self.name

    @property
    def throttle_node(self) -> str:
        """The node over the one that the table names, and what clients get instead of it."""
        return f"{self.name}-throttle"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTable(Table[JobOptions]):
    """A job; ``type`` is None if it names no type of job that there is."""

    type: type[JobOptions] | None
    enabled: bool

    @property
    def filter_node(self) -> str:
        """The name of its filter node: ``NAME-filter`` where none is written."""
        return self.text("filter-node-name") or f"{self.name}-filter"

    def nodes(self) -> Iterator[tuple[str, str]]:
        """Key and node's name, for ``device`` and others of its type where they are written."""
        for key in ("device", "target") if self.type is None else self.type.names:
            if (node := self.text(key)) is not None:
                yield key, node


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All files, decoded and not yet checked against each other."""

    directories: Mapping[Path, FilePath]
    """Table → what its relative paths start from: the directory of its file."""
    server: Table[ServerOptions]
    runner: Table[RunnerOptions]
    dashboard: Table[DashboardOptions]
    groups: tuple[Table[ThrottleLimits], ...]
    nodes: tuple[NodeTable, ...]
    exports: tuple[ExportTable, ...]
    bitmaps: tuple[Table[BitmapOptions], ...]
    jobs: tuple[JobTable, ...]
