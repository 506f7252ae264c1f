"""What can be done to a graph: each action checks, then changes a :class:`Staging`.

Checks, their order and their messages are QEMU's where QEMU has the command
(qemu-semantics §2.10, 4.1, 4.2, 4.6), without the defects of §4.3.  Every refusal is a
CommandError; nothing here touches the live graph.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from blkrun.errors import CommandError, DeviceNotFound
from blkrun.limits import check_limits
from blkrun.options import (
    EDGES,
    OPTIONAL_EDGES,
    BlockdevOptions,
    ExportOptions,
    ThrottleLimits,
    children_of,
    lists_of,
)
from blkrun.server import naming
from blkrun.server.child_actions import is_next_role, lead_list
from blkrun.server.drivers import DRIVERS
from blkrun.server.export import Export
from blkrun.server.node import Node, Parent
from blkrun.server.staging import Staging, cycle_words
from blkrun.server.throttle.group import ThrottleGroup

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


# Nodes


def blockdev_add(
    staging: Staging,
    options: BlockdevOptions,
    *,
    owned: bool = True,
) -> None:
    """A new node, over children that exist.  ``owned``: by the monitor, so blockdev-del may."""
    name = options.node_name
    check_new_name(staging, name, owned=owned)
    node = DRIVERS[_driver_name(options)](options)
    node.monitor_owned = owned
    staging.add_node(node, _children(staging, options))


def check_new_name(staging: Staging, name: str, *, owned: bool = True) -> None:
    """Raises CommandError.  Names that users did not choose have no rules but that they are new."""
    if owned:
        _check_node_name(name)
    if name in staging.nodes:
        raise CommandError(f"Duplicate nodes with node-name='{name}'")


def generated_name() -> str:
    """A name for an inline child; users cannot write ``#``."""
    return naming.generated_name()


def blockdev_del(staging: Staging, name: str) -> None:
    """Delete a node nobody uses, and the inline children that only it uses."""
    node = staging.node(name)
    if node is None:
        raise CommandError(f"Failed to find node with node-name='{name}'")
    check_no_job(staging, node)
    if any(isinstance(parent, Export) for parent, _ in staging.parents(node)):
        raise CommandError(f"Node {name} is in use")
    _check_not_backing(staging, node)
    if not node.monitor_owned:
        raise CommandError(f"Node {name} is not owned by the monitor")
    if staging.parents(node):
        raise CommandError(f"Block device {name} is in use")
    staging.drop_node(node)


def blockdev_reopen(staging: Staging, options: BlockdevOptions) -> None:
    """New options for a node, all of them given; edges may lead elsewhere."""
    node = staging.node(options.node_name)
    if node is None:
        raise CommandError(f"Failed to find node with node-name='{options.node_name}'")
    _check_no_jobs(node)
    old = node.options
    if type(old) is not type(options):
        raise CommandError("Cannot change the option 'driver'")
    changed = changed_options(old, options)
    for option in sorted(changed - type(old).reopenable - set(EDGES[type(old)])):
        raise CommandError(f"Cannot change the option '{option}'")
    for key, field in EDGES[type(old)].items():
        if key in lists_of(type(old)):
            _reopen_list(staging, node, key, getattr(options, field))
        else:
            _reopen_edge(staging, node, key, getattr(options, field))
    if changed - set(EDGES[type(old)]):
        staging.disturbed.add(node)
    staging.commits.append(node.prepare_reopen(options, staging))


def _reopen_edge(staging: Staging, node: Node[Any], role: str, name: Any) -> None:
    """One child of a node that is reopened: a name, None, or UNSET where nothing is said."""
    old = staging.child(node, role)
    if name is UNSET:
        own = old is not None and not old.monitor_owned  # the driver's choice: it stays that
        if not own and (old is not None or node.has_default(role)):
            raise CommandError(f"{role} is missing for '{node.name}'")
        return
    if name is not None and staging.node(name) is None:
        raise CommandError(f"Cannot find device='' nor node-name='{name}'")
    new = None if name is None else _find(staging, name)
    if new is old:
        return
    if role in type(node.options).fixed_edges:
        raise CommandError(f"Cannot change the option '{role}'")
    if new is not None and node in staging.tree(new):
        raise CommandError(cycle_words(new, role, node))
    staging.set_edge(node, role, new)


def _reopen_list(staging: Staging, node: Node[Any], key: str, names: Sequence[str]) -> None:
    children = [_find(staging, name) for name in names]
    for role, child in lead_list(staging, node, key, children).items():
        if staging.child(node, role) is not child:
            staging.set_edge(node, role, child)


def replace_node(staging: Staging, options: BlockdevOptions) -> None:
    """A new node takes the name, the parents and the place of an old one (ours, not QEMU's)."""
    old = staging.node(options.node_name)
    if old is None:
        raise CommandError(f"Failed to find node with node-name='{options.node_name}'")
    if not old.monitor_owned:
        raise CommandError(f"Node {old.name} is not owned by the monitor")
    check_no_job(staging, old)
    parents = set(staging.parents(old))
    staging.drop_node(old)
    new = DRIVERS[_driver_name(options)](options)
    staging.add_node(new, _children(staging, options))
    for parent, role in parents:
        if parent is not new:
            staging.set_edge(parent, role, new)
    if not all(isinstance(parent, Node) and parent.fans_out for parent, _ in parents):
        staging.disturbed.add(old)  # of several copies one may be another, and the old one hang


def insert_node(staging: Staging, parent: str, child: str, name: str) -> None:
    """Make parent → child into parent → node → child."""
    node = _filter(staging, name, "insertion")
    below = _edge_child(staging, node, child)
    source, role = _parent_edge(staging, parent, below, child)
    if source is node:
        raise CommandError(f"Making '{name}' a {role} child of '{name}' would create a cycle")
    staging.set_edge(source, role, staging.stand_in(node))


def remove_node(staging: Staging, parent: str, child: str, name: str) -> None:
    """Make parent → node → child into parent → child; the node stays, over its child."""
    node = _filter(staging, name, "removal")
    check_no_job(staging, node)
    below = _edge_child(staging, node, child)
    source, role = _parent_edge(staging, parent, node, name)
    staging.set_edge(source, role, below)


def set_edge(staging: Staging, parent: str, role: str, child: str | None) -> None:
    """One edge, to any node or to none (ours; QEMU has it for nodes as blockdev-reopen)."""
    source: Parent | None = staging.exports.get(parent) if role == "root" else None
    source = source or staging.node(parent)
    if source is None:
        raise CommandError(f"Cannot find parent '{parent}'")
    optional = isinstance(source, Node) and is_optional(source, role)
    known = staging.child(source, role) is not None or optional
    if not known and not is_next_role(staging, source, role):
        raise CommandError(f"'{parent}' does not have a child '{role}'")
    if child is None and not optional:
        raise CommandError(f"'{parent}' cannot be without a child '{role}'")
    if isinstance(source, Node):
        _check_no_jobs(source)
    staging.set_edge(source, role, None if child is None else _find(staging, child))


def blockdev_snapshot(staging: Staging, name: str, overlay_name: str) -> None:
    """An overlay gets a node for its backing, and everybody who uses the node gets the overlay."""
    node = find_node(staging, name)
    check_no_job(staging, node)
    _check_no_jobs(node)
    _check_not_backing(staging, node)
    overlay = find_node(staging, overlay_name)
    if staging.parents(overlay):
        raise CommandError("The overlay is already in use")
    if overlay.is_filter:
        raise CommandError("Filters cannot be used as overlays")
    if staging.child(overlay, "backing") is not None:
        raise CommandError("The overlay already has a backing image")
    if not is_optional(overlay, "backing"):
        raise CommandError("The overlay does not support backing images")
    own = staging.tree(overlay)
    if overlay in staging.tree(node):
        raise CommandError(cycle_words(node, "backing", overlay))
    for parent, role in set(staging.parents(node)):
        if parent not in own:
            staging.set_edge(parent, role, overlay)
    staging.set_edge(overlay, "backing", node)


def changed_options(old: BlockdevOptions, new: BlockdevOptions) -> set[str]:
    """Wire names of the options that differ."""
    return {
        field.encode_name
        for field in msgspec.structs.fields(old)
        if getattr(old, field.name) != getattr(new, field.name)
    }


# Throttle groups


def group_add(staging: Staging, name: str, limits: ThrottleLimits) -> None:
    """object-add of a throttle-group."""
    if not _ID.fullmatch(name):
        raise CommandError("Parameter 'id' expects an identifier")
    if name in staging.groups:
        raise CommandError(
            f"attempt to add duplicate property '{name}' to object (type 'container')"
        )
    _check_limits(limits)
    staging.groups[name] = ThrottleGroup(name, limits)


def group_set(staging: Staging, path: str, limits: Mapping[str, int]) -> None:
    """qom-set of ``limits``: what is not mentioned keeps its value."""
    group = find_group(staging.groups, path)
    names = {name.replace("-", "_"): value for name, value in limits.items()}
    merged = msgspec.structs.replace(staging.group_limits(group), **names)
    _check_limits(merged)
    staging.limits[group] = merged


def group_del(staging: Staging, name: str) -> None:
    """object-del: refused while a node is a member."""
    group = staging.groups.get(name)
    if group is None:
        raise CommandError(f"object '{name}' not found")
    if staging.is_used(group):
        raise CommandError(f"object '{name}' is in use, can not be deleted")
    del staging.groups[name]


def find_group(groups: Mapping[str, ThrottleGroup], path: str) -> ThrottleGroup:
    """By id or ``/objects/<id>``."""
    group = groups.get(path.removeprefix("/objects/"))
    if group is None:
        raise DeviceNotFound(f"Device '{path}' not found")
    return group


# Exports


def export_add(staging: Staging, name: str, options: ExportOptions) -> None:
    """block-export-add."""
    if name in staging.exports:
        raise CommandError(f"Block export id '{name}' is already in use")
    export = Export(name, options)
    staging.exports[name] = export
    staging.set_edge(export, "root", _find(staging, options.node))


def export_del(staging: Staging, name: str, *, hard: bool) -> None:
    """block-export-del: with ``hard``, connected clients get ESHUTDOWN from then on."""
    export = staging.exports.get(name)
    if export is None:
        raise CommandError(f"Export '{name}' is not found")
    if not hard and staging.graph.clients_of(export):
        raise CommandError(f"export '{name}' still in use")
    root = staging.child(export, "root")
    if root is not None:
        staging.parents(root).discard((export, "root"))
        staging.edges.pop((export, "root"), None)
    del staging.exports[name]


# Shared checks


def is_optional(node: Node[Any], role: str) -> bool:
    """Whether an edge of a node may lead nowhere."""
    return role in OPTIONAL_EDGES.get(type(node.options), ())


def check_no_job(staging: Staging, node: Node[Any]) -> None:
    """Raises CommandError if a job needs a node where it is, in QEMU's words and with a remedy."""
    job = staging.job_at(node)
    if job is not None:
        raise CommandError(
            f"Node '{node.name}' is busy: block device is in use by block job: {job.type}; "
            f"cancel job '{job.id}' first"
        )


def find_node(staging: Staging, name: str) -> Node[Any]:
    """By node-name."""
    node = staging.node(name)
    if node is None:
        raise CommandError(f"Cannot find device='{name}' nor node-name='{name}'")
    return node


def _driver_name(options: BlockdevOptions) -> str:
    return str(options.__struct_config__.tag)


def _check_node_name(name: str) -> None:
    if not name:
        raise CommandError("'node-name' must be specified for the root node")
    if not _ID.fullmatch(name):
        raise CommandError(f"Invalid node-name: '{name}'")
    if len(name) > 31:
        raise CommandError("Node name too long")


def _children(staging: Staging, options: BlockdevOptions) -> dict[str, Node[Any]]:
    return {role: _find(staging, name) for role, name in children_of(options).items()}


def _find(staging: Staging, name: str) -> Node[Any]:
    """What an edge to a node of this name leads to."""
    return staging.stand_in(find_node(staging, name))


def _filter(staging: Staging, name: str, what: str) -> Node[Any]:
    node = staging.node(name)
    if node is None:
        raise CommandError(f"Node '{name}' not found")
    if not node.monitor_owned:
        raise CommandError(f"Node '{name}' is not owned by the monitor")
    if not node.is_filter:
        raise CommandError(
            f"Block format '{node.driver}' used by node '{name}' does not support {what}"
        )
    return node


def _edge_child(staging: Staging, node: Node[Any], child: str) -> Node[Any]:
    below = staging.node(child)
    if below is None:
        raise CommandError(f"'{child}' not a node name")
    below = staging.stand_in(below)
    if staging.child(node, node.main) is not below:
        raise CommandError(f"'{child}' not a child of '{node.name}'")
    return below


def _parent_edge(
    staging: Staging, parent: str, child: Node[Any], child_name: str
) -> tuple[Parent, str]:
    """The edge parent → child.  An export's name goes before a node's, as a device's in QEMU."""
    export = staging.exports.get(parent)
    if export is not None:
        if staging.child(export, "root") is not child:
            raise CommandError(f"'{child_name}' not a child of device '{parent}'")
        return export, "root"
    node = staging.node(parent)
    if node is None:
        raise CommandError(f"'{parent}' not a node name")
    _check_no_jobs(node)
    for role, below in staging.children(node).items():
        if below is child:
            return node, role
    raise CommandError(f"'{child_name}' not a child of '{parent}'")


def _check_no_jobs(parent: Node[Any]) -> None:
    if parent.job_id is not None:
        raise CommandError(
            f"Node '{parent.name}' belongs to job '{parent.job_id}', which needs it as it is"
        )


def _check_not_backing(staging: Staging, node: Node[Any]) -> None:
    for parent, role in staging.parents(node):
        if role == "backing":
            raise CommandError(
                f"Node '{node.name}' is busy: node is used as backing hd of '{parent.name}'"
            )


def _check_limits(limits: ThrottleLimits) -> None:
    problem = check_limits(limits)
    if problem is not None:
        raise CommandError(problem.message)
