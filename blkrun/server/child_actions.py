"""Children that come and go: QEMU's x-blockdev-change, and lists of children as a whole.

Checks, their order and their messages are QEMU's (qemu-semantics §7).  A child's role is
``children.N``; one that goes leaves a gap, and one that comes is put after the last.
"""

from collections.abc import Sequence
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import key_of
from blkrun.server.drivers.quorum import Quorum, as_quorum
from blkrun.server.node import Node, Parent
from blkrun.server.staging import Staging


def change_children(staging: Staging, node: Node[Any], role: str | None, new: str | None) -> None:
    """Take the child ``role`` out of a node, or put ``new`` in."""
    if role is not None and new is not None:
        raise CommandError("The parameters child and node are in conflict")
    if role is not None:
        _remove(staging, node, role)
    elif new is not None:
        _add(staging, node, new)
    else:
        raise CommandError("Either child or node must be specified")


def _remove(staging: Staging, node: Node[Any], role: str) -> None:
    if staging.child(node, role) is None:
        raise CommandError(f"Node '{node.name}' does not have child '{role}'")
    as_quorum(node, "removing").check_removal(staging)
    staging.set_edge(node, role, None)


def _add(staging: Staging, node: Node[Any], new: str) -> None:
    child = staging.node(new)
    if child is None:
        raise CommandError(f"Node '{new}' not found")
    as_quorum(node, "adding").check_addition()
    if staging.parents(child):
        raise CommandError(f"The node {new} already has a parent")
    staging.set_edge(node, next_role(staging, node, "children"), child)


def next_role(staging: Staging, node: Node[Any], key: str) -> str:
    """The role of a child that is put after the last."""
    roles = [role for role in staging.children(node) if key_of(role) == key]
    last = max((int(role.rpartition(".")[2]) for role in roles), default=-1)
    return f"{key}.{last + 1}"


def is_next_role(staging: Staging, parent: Parent, role: str) -> bool:
    """Whether an edge of this role may be made where there is none."""
    if not isinstance(parent, Quorum) or role != next_role(staging, parent, "children"):
        return False
    parent.check_addition()
    return True


def lead_list(
    staging: Staging, node: Node[Any], key: str, children: Sequence[Node[Any]]
) -> dict[str, Node[Any] | None]:
    """Where each edge of a list is to lead for a node to have these children, in this order.

    Places keep their roles; the last ones go where there are fewer children now (None), and new
    ones come where there are more.
    """
    roles = [role for role in staging.children(node) if key_of(role) == key]
    index = int(next_role(staging, node, key).rpartition(".")[2])
    roles += [f"{key}.{number}" for number in range(index, index + len(children) - len(roles))]
    return dict.fromkeys(roles) | dict(zip(roles, children, strict=False))
