"""``driver = "file"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, Bytes


class FileOptions(BlockdevOptions, frozen=True, tag="file"):
    """A regular file or block device."""

    is_backend = True
    reopenable = BlockdevOptions.reopenable | {"create"}

    path: Annotated[
        str, Meta(min_length=1, description="where it is; a relative path starts at the TOML file")
    ]
    size: Annotated[
        Bytes | None,
        Meta(
            description="how large to make it, where no format above makes it longer; one that is "
            "there must have this size"
        ),
    ] = None
    create: Annotated[bool, Meta(description="make the file, sparse, when it is missing")] = False
