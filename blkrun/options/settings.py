"""The three tables of settings."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ServerOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[server]``: how nbdkit is started.  A change here needs a restart and says so."""

    listen: Annotated[
        str | None, Meta(description='"unix:PATH" or "tcp:HOST:PORT"; default unix:FILE.sock')
    ] = None
    control: Annotated[
        str | None, Meta(description='the QMP socket, "unix:PATH"; default unix:FILE.qmp')
    ] = None
    threads: Annotated[
        int, Meta(ge=1, le=256, description="nbdkit worker threads per connection")
    ] = 4
    cpus: Annotated[
        Literal["one", "all"],
        Meta(description="where requests run; several CPUs pay only where most are of 1 MiB"),
    ] = "one"


class RunnerOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[runner]``: what happens when the file is saved."""

    apply: Annotated[
        Literal["safe", "all", "ask"],
        Meta(
            description="safe: apply, but ask before taking a disk from a client; "
            "all: never ask; ask: always wait for blkrun apply"
        ),
    ] = "safe"
    on_drift: Annotated[
        Literal["warn", "revert", "ignore"],
        Meta(
            description="when somebody changes the graph beside the file: warn: show what would "
            "bring it back; revert: bring it back, but ask as apply says; ignore: say nothing"
        ),
    ] = "warn"


class DashboardOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[dashboard]``: how the terminal shows it."""

    refresh: Annotated[
        int,
        Meta(
            ge=200_000_000,
            le=5_000_000_000,
            extra={"unit": "ns"},
            description="time between two looks at the server",
        ),
    ] = 500_000_000
