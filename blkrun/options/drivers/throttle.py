"""``driver = "throttle"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName


class ThrottleOptions(BlockdevOptions, frozen=True, tag="throttle"):
    """A member of a throttle group: requests wait for their turn under the group's limits."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"throttle-group"}

    file: Annotated[NodeName, Meta(description="the child node")]
    throttle_group: Annotated[
        str, Meta(min_length=1, description="the group whose limits this node's requests share")
    ]
