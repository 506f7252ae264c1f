"""Commands that change nodes, edges and exports.  All may be actions of a transaction."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from blkrun.errors import CommandError
from blkrun.options import ExportOptions
from blkrun.server import actions, backing_file
from blkrun.server.qmp.dispatch import AddedNodes, Command, arguments, parse_blockdev
from blkrun.server.staging import Staging


class NodeName(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A node."""

    node_name: str


class EdgeArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """block-insert-node and block-remove-node: parent → child, and the filter between."""

    parent: str
    child: str
    node: str


class SnapshotArguments(Struct, frozen=True):
    """blockdev-snapshot."""

    node: str
    overlay: str


class BackingFileArguments(Struct, frozen=True, rename="kebab"):
    """change-backing-file."""

    device: str
    image_node_name: str
    backing_file: str


class SetEdgeArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """x-blkrun-set-edge."""

    parent: str
    role: str
    child: str | None


class ExportAddArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """block-export-add, for the one type there is."""

    type: Literal["nbd"]
    id: Annotated[str, Meta(min_length=1, max_length=4096)]
    node_name: str
    name: str | None = None
    writable: bool = False
    description: Annotated[str, Meta(max_length=4096)] = ""


class ExportDelArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """block-export-del."""

    id: str
    mode: Literal["safe", "hard"] = "safe"


class ReopenArguments(Struct, frozen=True):
    """blockdev-reopen: complete options for each node."""

    options: tuple[AddedNodes, ...]


def _parse_reopen(raw: dict[str, Any]) -> ReopenArguments:
    for key in raw:
        if key != "options":
            raise CommandError(f"Parameter '{key}' is unexpected")
    options = raw.get("options")
    if options is None:
        raise CommandError("Parameter 'options' is missing")
    if not isinstance(options, list) or not all(isinstance(item, dict) for item in options):
        raise CommandError("Invalid parameter type for 'options', expected: array")
    for item in options:
        if "node-name" not in item:
            raise CommandError("node-name not specified")
    parsed = tuple(parse_blockdev(item, ("options", index)) for index, item in enumerate(options))
    for item in parsed:
        if item.inline:
            raise CommandError("blockdev-reopen takes children by name")
    return ReopenArguments(parsed)


def _add(staging: Staging, args: AddedNodes) -> None:
    for child in args.inline:
        actions.blockdev_add(staging, child, owned=False)
    actions.blockdev_add(staging, args.node)


def _reopen(staging: Staging, args: ReopenArguments) -> None:
    for item in args.options:
        actions.blockdev_reopen(staging, item.node)


def _replace(staging: Staging, args: AddedNodes) -> None:
    for child in args.inline:
        actions.blockdev_add(staging, child, owned=False)
    actions.replace_node(staging, args.node)


def _export_add(staging: Staging, args: ExportAddArguments) -> None:
    if args.name not in (None, args.id):
        raise CommandError("Parameter 'name' must be the same as 'id'")
    options = ExportOptions(
        node=args.node_name, read_only=not args.writable, description=args.description
    )
    actions.export_add(staging, args.id, options)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="blockdev-add",
        doc="Open a new node over children that exist or are given inline.",
        parse=parse_blockdev,
        stage=_add,
    ),
    Command(
        name="blockdev-del",
        doc="Close and delete a node that nothing uses.",
        parse=arguments(NodeName),
        stage=lambda staging, args: actions.blockdev_del(staging, args.node_name),
        departing=lambda args: args.node_name,
    ),
    Command(
        name="blockdev-reopen",
        doc="Give nodes new options and children, all of them in one step.",
        parse=_parse_reopen,
        stage=_reopen,
    ),
    Command(
        name="blockdev-snapshot",
        doc="Put an overlay over a node: everybody who uses the node gets the overlay.",
        parse=arguments(SnapshotArguments),
        stage=lambda staging, args: actions.blockdev_snapshot(staging, args.node, args.overlay),
    ),
    Command(
        name="change-backing-file",
        doc="Write down in an overlay's image which file its backing image is.",
        parse=arguments(BackingFileArguments),
        stage=lambda staging, args: backing_file.change_backing_file(
            staging, args.device, args.image_node_name, args.backing_file
        ),
    ),
    Command(
        name="block-insert-node",
        doc="Put a filter into an edge: parent → child becomes parent → node → child.",
        parse=arguments(EdgeArguments),
        stage=lambda staging, args: actions.insert_node(
            staging, args.parent, args.child, args.node
        ),
    ),
    Command(
        name="block-remove-node",
        doc="Take a filter out of an edge: parent → node → child becomes parent → child.",
        parse=arguments(EdgeArguments),
        stage=lambda staging, args: actions.remove_node(
            staging, args.parent, args.child, args.node
        ),
    ),
    Command(
        name="block-export-add",
        doc="Offer a node to NBD clients under a name.",
        parse=arguments(ExportAddArguments),
        stage=_export_add,
    ),
    Command(
        name="block-export-del",
        doc="Withdraw an export; with mode hard also from clients that have it open.",
        parse=arguments(ExportDelArguments),
        stage=lambda staging, args: actions.export_del(staging, args.id, hard=args.mode == "hard"),
    ),
    Command(
        name="x-blkrun-set-edge",
        doc="Point one edge of a node, or the root of an export, at any node, or at none.",
        parse=arguments(SetEdgeArguments),
        stage=lambda staging, args: actions.set_edge(staging, args.parent, args.role, args.child),
    ),
    Command(
        name="x-blkrun-replace-node",
        doc="Open a new node in the place and under the name of an old one.",
        parse=parse_blockdev,
        stage=_replace,
        departing=lambda args: args.node.node_name,
    ),
)
