"""The graph as data: what a file asks for, and what a server reports, in the same frozen types.

``desired == live`` is the whole question of reconciliation; see ``blkrun.reconcile.plan``.
"""

import os
from pathlib import Path

from msgspec import Struct

from blkrun.diagnostic import Diagnostic, Place
from blkrun.job_options import JobOptions
from blkrun.options import (
    BitmapOptions,
    BlockdevOptions,
    DashboardOptions,
    ExportOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
)


class JobState(Struct, frozen=True, kw_only=True):
    """How a job of a live graph is; ``status`` is QEMU's word."""

    status: str = "running"
    cancelled: bool = False
    """It is being, or was."""
    pivoted: bool = False
    """A mirror that has given its target to everybody who used the device."""
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether its work is over: after a pivot it is, though it says so a moment later."""
        return self.status == "concluded" or self.pivoted

    @property
    def leaving(self) -> bool:
        """Whether it is being cancelled."""
        return self.cancelled and not self.ended


class GraphModel(Struct, frozen=True, kw_only=True):
    """Nodes (backends among them), throttle groups, exports, bitmaps and jobs, each by name.

    Every edge names a node in ``nodes``; there is no cycle.  Filters that are switched off
    are not here: their parents name their child instead.
    """

    nodes: dict[str, BlockdevOptions]
    groups: dict[str, ThrottleLimits]
    exports: dict[str, ExportOptions]
    spent: dict[str, BlockdevOptions] = {}
    """Live graphs only: filters that left by themselves, as they were (``when-spent``)."""
    bitmaps: dict[str, BitmapOptions] = {}
    """In a live graph those of a file: what somebody made by QMP is nobody else's business."""
    jobs: dict[str, JobOptions] = {}
    """In a live graph those of a file, as they were started, also what has ended."""
    resting: frozenset[str] = frozenset()
    """Desired graphs only: names of jobs that are switched off (``enabled = false``)."""
    states: dict[str, JobState] = {}
    """Live graphs only: how each of ``jobs`` is."""
    gaps: dict[str, tuple[str, ...]] = {}
    """Live graphs only: the roles of a list's children, of nodes where some have been taken out."""


EMPTY = GraphModel(nodes={}, groups={}, exports={})


class ServerAddress(Struct, frozen=True, kw_only=True):
    """Where the server is met: all paths absolute.

    ``unix`` is the NBD socket's path, or None when ``tcp`` (host, port) is set.
    """

    control: Path
    unix: Path | None
    tcp: tuple[str, int] | None

    @property
    def listen(self) -> str:
        """As written in the file: ``unix:/run/vm.sock`` or ``tcp:127.0.0.1:10809``."""
        if self.tcp is not None:
            return f"tcp:{self.tcp[0]}:{self.tcp[1]}"
        return f"unix:{self.unix}"

    def uri(self, export: str) -> str:
        """The NBD URI of one export, for nbdinfo, nbdcopy and qemu."""
        if self.tcp is not None:
            return f"nbd://{self.tcp[0]}:{self.tcp[1]}/{export}"
        return f"nbd+unix:///{export}?socket={self.unix}"


class Config(Struct, frozen=True, kw_only=True):
    """A whole file and what it includes, checked and with its paths made absolute."""

    path: Path
    address: ServerAddress
    server: ServerOptions
    runner: RunnerOptions
    dashboard: DashboardOptions
    graph: GraphModel
    places: dict[str, Place]
    """``"nodes.limit"`` → where its table starts: lets a refused action name its place."""
    made_by: dict[str, str]
    """``"nodes.vda-throttle"`` → ``"exports.vda"``: whose limits make what has no table itself.

    Also where there are no limits just now: what they made may still have to go.
    """
    disabled: dict[str, str]
    """Nodes that are switched off, and their drivers: they are in no graph."""
    digest: str
    """Of everything that was read (``Sources.digest``): tells one edit from another."""
    warnings: tuple[Diagnostic, ...] = ()
    """What should be written otherwise, and can be used as it is."""

    def shown(self, file: Path) -> str:
        """One of its files as messages have it: ``vm.toml``, ``tenants/a.toml``."""
        return os.path.relpath(file, self.path.parent)
