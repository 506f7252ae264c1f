"""``driver = "nbd"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions


class NbdOptions(BlockdevOptions, frozen=True, tag="nbd"):
    """Another NBD server: one that runs (``uri``) or one started for this node (``command``)."""

    is_backend = True

    uri: Annotated[
        str | None, Meta(description="NBD URI, such as nbd+unix:///disk?socket=/run/nbd.sock")
    ] = None
    command: Annotated[
        tuple[str, ...] | None,
        Meta(description="a server that takes its socket by LISTEN_FDS: nbdkit or qemu-nbd"),
    ] = None
    connections: Annotated[
        int, Meta(ge=1, le=64, description="how many to open, if that server allows several")
    ] = 4
