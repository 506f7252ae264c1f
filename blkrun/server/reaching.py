"""Requests that a node makes while it is opened or closed.

Routes are worked out when an edit becomes true.  A node that is being opened has children that may
be as new as itself; one that is being closed is in no table any more, and its children may have
lost the route that only it entered by.  So the thread that opens or closes it has routes of its
own for the while, wherever there is none.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blkrun.server.node import Node
    from blkrun.server.route import Route

Finder = Callable[[Any], "Route"]
"""A node → the route that begins there."""


class _Own(threading.local):
    find: Finder | None = None


_own = _Own()


@contextmanager
def reaching(find: Finder) -> Iterator[None]:
    """This thread may make requests at any node."""
    before, _own.find = _own.find, find
    try:
        yield
    finally:
        _own.find = before


def route_to(node: "Node[Any]") -> "Route | None":
    """The route of this thread that begins at a node, if it is one that opens or closes."""
    return None if _own.find is None else _own.find(node)
