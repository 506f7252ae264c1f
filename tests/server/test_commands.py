"""Commands: QEMU's messages, all or nothing, and the shapes of what queries give.

References are to qemu-semantics.
"""

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blkrun import __version__
from blkrun.options import DRIVERS, ThrottleLimits
from blkrun.server.qmp.commands import COMMANDS
from blkrun.server.stats import Tally, qemu_counters, row_of
from tests.server.inprocess import InProcess, ignore

TESTS = Path(__file__).resolve().parent.parent
GENERIC = "GenericError"


@pytest.fixture
def server() -> InProcess:
    """Export vda over throttle ``limit`` over memory ``disk``; group ``g``; ``spare`` is free."""
    server = InProcess()
    group = {"qom-type": "throttle-group", "id": "g", "limits": {"iops-total": 1000}}
    server.execute("object-add", group)
    server.add("memory", "disk", size=2**20)
    server.add("throttle", "limit", file="disk", throttle_group="g")
    server.execute(
        "block-export-add", {"type": "nbd", "id": "vda", "node-name": "limit", "writable": True}
    )
    server.add("throttle", "spare", file="disk", throttle_group="g")
    return server


# blockdev-add, -del, -reopen: §4.6, §3.1, §4.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"driver": "null"}, "'node-name' must be specified for the root node"),
        ({"driver": "null", "node-name": ""}, "'node-name' must be specified for the root node"),
        ({"driver": "null", "node-name": "0bad"}, "Invalid node-name: '0bad'"),
        ({"driver": "null", "node-name": "#block1"}, "Invalid node-name: '#block1'"),
        ({"driver": "null", "node-name": "a b"}, "Invalid node-name: 'a b'"),
        ({"driver": "null", "node-name": "a\n"}, "Invalid node-name: 'a\n'"),
        ({"driver": "null", "node-name": "n" * 32}, "Node name too long"),
        ({"driver": "null", "node-name": "disk"}, "Duplicate nodes with node-name='disk'"),
        ({"driver": "nope", "node-name": "n"}, "Parameter 'driver' does not accept value 'nope'"),
        ({"driver": 5, "node-name": "n"}, "Invalid parameter type for 'driver', expected: string"),
        ({"driver": [], "node-name": "n"}, "Invalid parameter type for 'driver', expected: string"),
        ({"node-name": "n"}, "Parameter 'driver' is missing"),
        ({"driver": "null", "node-name": "n", "x": 1}, "Parameter 'x' is unexpected"),
        (
            {"driver": "null", "node-name": 5},
            "Invalid parameter type for 'node-name', expected: string",
        ),
        (
            {"driver": "null", "node-name": "n", "size": 1.5},
            "Invalid parameter type for 'size', expected: integer",
        ),
        ({"driver": "raw", "node-name": "n"}, "Parameter 'file' is missing"),
        (
            {"driver": "raw", "node-name": "n", "file": "n9"},
            "Cannot find device='n9' nor node-name='n9'",
        ),
        (
            {"driver": "raw", "node-name": "n", "file": {"node-name": "below"}},
            "Parameter 'file.driver' is missing",
        ),
        (
            {"driver": "raw", "node-name": "n", "file": {"driver": "null", "x": 1}},
            "Parameter 'file.x' is unexpected",
        ),
        (
            {"driver": "throttle", "node-name": "n", "file": "disk"},
            "Parameter 'throttle-group' is missing",
        ),
        (
            {"driver": "throttle", "node-name": "n", "file": "disk", "throttle-group": "zz"},
            "Throttle group 'zz' does not exist",
        ),
        (
            {"driver": "throttle", "node-name": "n", "file": "disk", "limits": {}},
            "Parameter 'limits' is unexpected",
        ),
        (
            {"driver": "raw", "node-name": "n", "file": "disk", "offset": 2**20 + 1},
            "Node 'n': offset 1048577 is past the end of 'disk' (1048576 bytes)",
        ),
        (
            {"driver": "raw", "node-name": "n", "file": "disk", "offset": 512, "size": 2**20},
            "Node 'n': offset 512 and size 1048576 end past the end of 'disk' (1048576 bytes)",
        ),
    ],
)
def test_blockdev_add_refused(server: InProcess, arguments: dict[str, Any], message: str) -> None:
    """§4.6, §3.1: QEMU's words, and no trace is left."""
    before = server.picture()
    assert server.refused("blockdev-add", arguments) == (GENERIC, message)
    assert server.picture() == before


def test_names_may_be_31_characters(server: InProcess) -> None:
    """§4.6: letter first, then letters, digits, dots, - and _."""
    server.add("null", "n" * 31)
    server.add("null", "a-b.c_9")


def test_missing_file_tells_why(server: InProcess, tmp_path: Path) -> None:
    """§4.6: with the system's words for it."""
    kind, text = server.refused(
        "blockdev-add", {"driver": "file", "node-name": "f", "path": str(tmp_path / "none")}
    )
    assert kind == GENERIC
    assert "No such file or directory" in text


def test_inline_children(server: InProcess) -> None:
    """§4.6: made with their parent, not owned by the monitor, and go with it."""
    inline = {"driver": "raw", "file": {"driver": "null", "size": 4096, "node-name": "named"}}
    server.execute("blockdev-add", {"driver": "raw", "node-name": "top", "file": inline})
    middle = server.node("top")["children"]["file"]
    assert middle.startswith("#block")
    assert server.node(middle)["children"] == {"file": "named"}
    assert not server.node(middle)["monitor-owned"]
    assert server.node("top")["size"] == 4096
    assert server.refused("blockdev-del", {"node-name": "named"}) == (
        GENERIC,
        "Node named is not owned by the monitor",
    )
    before = set(server.graph.nodes)
    server.execute("blockdev-del", {"node-name": "top"})
    assert before - set(server.graph.nodes) == {"top", middle, "named"}


def test_inline_children_that_others_use_stay(server: InProcess) -> None:
    """§10.2 (139): what is referenced by another node survives its first parent."""
    inline = {"driver": "null", "node-name": "shared"}
    server.execute("blockdev-add", {"driver": "raw", "node-name": "one", "file": inline})
    server.add("raw", "two", file="shared")
    server.execute("blockdev-del", {"node-name": "one"})
    assert "shared" in server.graph.nodes
    server.execute("blockdev-del", {"node-name": "two"})
    assert "shared" not in server.graph.nodes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zz", "Failed to find node with node-name='zz'"),
        ("limit", "Node limit is in use"),
        ("disk", "Block device disk is in use"),
    ],
)
def test_blockdev_del_refused(server: InProcess, name: str, message: str) -> None:
    """§4.6: unknown, exported, and below another node."""
    before = server.picture()
    assert server.refused("blockdev-del", {"node-name": name}) == (GENERIC, message)
    assert server.picture() == before


def test_blockdev_del(server: InProcess) -> None:
    """§2.1: the node goes, and leaves its group."""
    server.execute("blockdev-del", {"node-name": "spare"})
    assert "spare" not in server.graph.nodes
    (group,) = server.execute("x-blkrun-query-graph")["throttle-groups"]
    assert [member["node-name"] for member in group["members"]] == ["limit"]


LIMIT = {"driver": "throttle", "node-name": "limit", "file": "disk", "throttle-group": "g"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**LIMIT, "node-name": "nope"}, "Failed to find node with node-name='nope'"),
        ({"driver": "throttle"}, "node-name not specified"),
        (
            {"driver": "throttle", "node-name": "limit", "file": "disk"},
            "Parameter 'options[0].throttle-group' is missing",
        ),
        ({**LIMIT, "throttle-group": "zz"}, "Throttle group 'zz' does not exist"),
        ({**LIMIT, "file": "nope"}, "Cannot find device='' nor node-name='nope'"),
        ({**LIMIT, "file": None}, "Invalid parameter type for 'options[0].file', expected: string"),
        ({**LIMIT, "file": "limit"}, "Making 'limit' a file child of 'limit' would create a cycle"),
        ({**LIMIT, "backing": "disk"}, "Parameter 'options[0].backing' is unexpected"),
        ({"driver": "null", "node-name": "limit"}, "Cannot change the option 'driver'"),
        (
            {"driver": "memory", "node-name": "disk", "size": 2**21},
            "Cannot change the option 'size'",
        ),
        ({"driver": "memory", "node-name": "disk"}, "Cannot change the option 'size'"),
    ],
)
def test_blockdev_reopen_refused(server: InProcess, options: dict[str, Any], message: str) -> None:
    """§4.5, §3.1: all options must be given, and only some may differ."""
    before = server.picture()
    assert server.refused("blockdev-reopen", {"options": [options]}) == (GENERIC, message)
    assert server.picture() == before


@pytest.mark.parametrize("options", [5, [5], {}])
def test_blockdev_reopen_of_no_list(server: InProcess, options: Any) -> None:
    """§9.2: ``options`` is a list of objects."""
    expected = (GENERIC, "Invalid parameter type for 'options', expected: array")
    assert server.refused("blockdev-reopen", {"options": options}) == expected


def test_blockdev_reopen_of_nothing(server: InProcess) -> None:
    """§4.5: an empty list is an edit of nothing (7.2 crashes)."""
    before = server.picture()
    server.execute("blockdev-reopen", {"options": []})
    assert server.picture() == before


def test_245_throttle(server: InProcess) -> None:
    """§10.1: iotest 245 misc_drivers/throttle: moving between groups, and their deletion."""

    def reopen(group: str) -> None:
        server.execute("blockdev-reopen", {"options": [{**LIMIT, "throttle-group": group}]})

    def in_use(name: str) -> tuple[str, str]:
        return GENERIC, f"object '{name}' is in use, can not be deleted"

    limits = {"iops-total": 2000}
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g1", "limits": limits})
    server.execute("blockdev-del", {"node-name": "spare"})
    node = server.graph.nodes["limit"]
    reopen("g")
    reopen("g1")
    assert server.refused("object-del", {"id": "g1"}) == in_use("g1")
    reopen("g")
    assert server.refused("object-del", {"id": "g"}) == in_use("g")
    server.execute("object-del", {"id": "g1"})
    assert server.graph.nodes["limit"] is node
    server.execute("block-export-del", {"id": "vda"})
    server.execute("blockdev-del", {"node-name": "limit"})
    server.execute("object-del", {"id": "g"})


def test_reopen_moves_edges(server: InProcess) -> None:
    """§4.5 (a): a child option with another node's name replaces the child."""
    server.add("memory", "other", size=2**20)
    server.execute("blockdev-reopen", {"options": [{**LIMIT, "file": "other"}]})
    assert server.node("limit")["children"] == {"file": "other"}
    assert server.node("limit")["options"]["file"] == "other"
    assert server.refused("blockdev-del", {"node-name": "other"})[1] == (
        "Block device other is in use"
    )


def test_reopen_is_one_step(server: InProcess) -> None:
    """§4.5: all nodes of the list, or none."""
    spare = {**LIMIT, "node-name": "spare"}
    before = server.picture()
    refused = server.refused(
        "blockdev-reopen", {"options": [{**spare, "file": "limit"}, {**LIMIT, "file": "nope"}]}
    )
    assert refused == (GENERIC, "Cannot find device='' nor node-name='nope'")
    assert server.picture() == before
    cycle = [{**spare, "file": "limit"}, {**LIMIT, "file": "spare"}]
    assert "would create a cycle" in server.refused("blockdev-reopen", {"options": cycle})[1]
    assert server.picture() == before


# block-insert-node, block-remove-node: §4.1, §4.2


def edge(parent: str, child: str, node: str) -> dict[str, str]:
    """The three arguments."""
    return {"parent": parent, "child": child, "node": node}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (edge("limit", "disk", "X"), "Node 'X' not found"),
        (edge("limit", "disk", "#inline"), "Node '#inline' is not owned by the monitor"),
        (
            edge("limit", "disk", "raw"),
            "Block format 'raw' used by node 'raw' does not support insertion",
        ),
        (edge("limit", "nope", "spare"), "'nope' not a node name"),
        (edge("limit", "raw", "spare"), "'raw' not a child of 'spare'"),
        (edge("nope", "disk", "spare"), "'nope' not a node name"),
        (edge("vda", "disk", "spare"), "'disk' not a child of device 'vda'"),
        (edge("disk", "disk", "spare"), "'disk' not a child of 'disk'"),
        (
            edge("spare", "disk", "spare"),
            "Making 'spare' a file child of 'spare' would create a cycle",
        ),
    ],
)
def test_insert_refused(server: InProcess, arguments: dict[str, str], message: str) -> None:
    """§4.1, §4.3: the checks in their order."""
    add_raw_and_inline(server)
    before = server.picture()
    assert server.refused("block-insert-node", arguments) == (GENERIC, message)
    assert server.picture() == before


def add_raw_and_inline(server: InProcess) -> None:
    """A node that is no filter, ``raw``, and a filter that is not owned, ``#inline``."""
    server.add("raw", "raw", file="disk")
    inline = {
        "driver": "throttle",
        "node-name": "#inline",
        "file": "disk",
        "throttle-group": "g",
    }
    server.execute("blockdev-add", {"driver": "raw", "node-name": "over", "file": inline})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (edge("vda", "disk", "X"), "Node 'X' not found"),
        (edge("over", "disk", "#inline"), "Node '#inline' is not owned by the monitor"),
        (
            edge("vda", "disk", "raw"),
            "Block format 'raw' used by node 'raw' does not support removal",
        ),
        (edge("vda", "nope", "limit"), "'nope' not a node name"),
        (edge("vda", "raw", "limit"), "'raw' not a child of 'limit'"),
        (edge("vda", "disk", "spare"), "'spare' not a child of device 'vda'"),
        (edge("raw", "disk", "limit"), "'limit' not a child of 'raw'"),
    ],
)
def test_remove_refused(server: InProcess, arguments: dict[str, str], message: str) -> None:
    """§4.2: the same checks, with the edge that leads to the filter."""
    add_raw_and_inline(server)
    before = server.picture()
    assert server.refused("block-remove-node", arguments) == (GENERIC, message)
    assert server.picture() == before


def test_193_between_two_filters(server: InProcess) -> None:
    """§4.4 scenario 2: insert below a filter, remove, delete: the graph is what it was."""
    server.execute("blockdev-del", {"node-name": "spare"})
    before = server.picture()
    filename = filename_of(server, "limit")
    server.add("throttle", "throttle1", file="disk", throttle_group="g")
    server.execute("block-insert-node", edge("limit", "disk", "throttle1"))
    assert server.node("limit")["children"] == {"file": "throttle1"}
    assert server.node("throttle1")["children"] == {"file": "disk"}
    assert "throttle" in filename_of(server, "limit").removeprefix(filename[:30])
    server.execute("block-remove-node", edge("limit", "disk", "throttle1"))
    assert filename_of(server, "limit") == filename
    assert server.node("throttle1")["children"] == {"file": "disk"}
    server.execute("blockdev-del", {"node-name": "throttle1"})
    assert server.picture() == before


def filename_of(server: InProcess, name: str) -> str:
    """As query-named-block-nodes gives it."""
    nodes = server.execute("query-named-block-nodes", {"flat": True})
    (found,) = [node["file"] for node in nodes if node["node-name"] == name]
    assert isinstance(found, str)
    return found


def test_193_below_an_export(server: InProcess) -> None:
    """§4.4 scenario 3: at the root edge the export's id is the parent."""
    server.add("throttle", "top", file="limit", throttle_group="g")
    server.execute("block-insert-node", edge("vda", "limit", "top"))
    assert server.execute("query-block-exports")[0]["node-name"] == "top"
    server.execute("block-remove-node", edge("vda", "limit", "top"))
    assert server.execute("query-block-exports")[0]["node-name"] == "limit"
    server.execute("blockdev-del", {"node-name": "top"})


def test_an_export_goes_before_a_node_of_its_name(server: InProcess) -> None:
    """§4.1 check 5: a device's name takes precedence; with a role, either can be meant."""
    server.execute("block-export-add", {"type": "nbd", "id": "limit", "node-name": "disk"})
    server.execute("block-insert-node", edge("limit", "disk", "spare"))
    assert server.execute("query-block-exports")[1]["node-name"] == "spare"
    assert server.node("limit")["children"] == {"file": "disk"}
    server.add("memory", "other", size=2**20)
    for role in ("file", "root"):
        set_edge = {"parent": "limit", "role": role, "child": "other"}
        server.execute("x-blkrun-set-edge", set_edge)
    assert server.node("limit")["children"] == {"file": "other"}
    assert server.execute("query-block-exports")[1]["node-name"] == "other"


# Throttle groups: §2.10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "n"}, "Parameter 'qom-type' is missing"),
        ({"qom-type": "throttle-group"}, "Parameter 'id' is missing"),
        (
            {"qom-type": "nope", "id": "n"},
            "Parameter 'qom-type' does not accept value 'nope'",
        ),
        ({"qom-type": "throttle-group", "id": "0"}, "Parameter 'id' expects an identifier"),
        (
            {"qom-type": "throttle-group", "id": 5},
            "Invalid parameter type for 'id', expected: string",
        ),
        (
            {"qom-type": "throttle-group", "id": "g"},
            "attempt to add duplicate property 'g' to object (type 'container')",
        ),
        (
            {"qom-type": "throttle-group", "id": "n", "props": {}},
            "Parameter 'props' is unexpected",
        ),
        (
            {"qom-type": "throttle-group", "id": "n", "limits": 5},
            "Invalid parameter type for 'limits', expected: object",
        ),
        (
            {"qom-type": "throttle-group", "id": "n", "limits": {"iops-total": 1.5}},
            "Invalid parameter type for 'limits.iops-total', expected: integer",
        ),
        (
            {"qom-type": "throttle-group", "id": "n", "limits": {"bogus": 1}},
            "Parameter 'limits.bogus' is unexpected",
        ),
        (
            {"qom-type": "throttle-group", "id": "n", "x-iops-total": -1},
            "Property values cannot be negative",
        ),
        (
            {"qom-type": "throttle-group", "id": "n", "limits": {"iops-size": 4096}},
            "iops size requires an iops value to be set",
        ),
        (
            {
                "qom-type": "throttle-group",
                "id": "n",
                "limits": {"iops-total": 10, "iops-read": 10},
            },
            "bps/iops/max total values and read/write values cannot be used at the same time",
        ),
    ],
)
def test_object_add_refused(server: InProcess, arguments: dict[str, Any], message: str) -> None:
    """§2.10, §1.6: an invalid group leaves nothing behind."""
    before = server.picture()
    assert server.refused("object-add", arguments) == (GENERIC, message)
    assert server.picture() == before


def test_limits_read_back(server: InProcess) -> None:
    """§2.10: all 19, unset ones as 0, unset lengths as 1; by id or by path."""
    limits = server.execute("qom-get", {"path": "g", "property": "limits"})
    assert len(limits) == 19
    assert limits == msgspec.to_builtins(ThrottleLimits(iops_total=1000))
    assert limits["bps-read-max-length"] == 1
    path = {"path": "/objects/g", "property": "x-iops-total"}
    assert server.execute("qom-get", path) == 1000


def test_single_limits_are_properties(server: InProcess) -> None:
    """§2.10: ``x-`` before each name; where both are given ``limits`` wins."""
    group = {"qom-type": "throttle-group", "id": "x", "x-iops-total": 7, "x-bps-read": 9}
    server.execute("object-add", {**group, "limits": {"iops-total": 5}})
    limits = server.execute("qom-get", {"path": "x", "property": "limits"})
    assert (limits["iops-total"], limits["bps-read"]) == (5, 9)


def test_qom_set_merges(server: InProcess) -> None:
    """§1.7: what is not mentioned stays, so total and read must be changed together."""

    def set_limits(value: dict[str, int]) -> dict[str, Any]:
        return {"path": "g", "property": "limits", "value": value}

    before = server.picture()
    kind, text = server.refused("qom-set", set_limits({"iops-read": 10}))
    assert kind == GENERIC
    assert text.endswith("cannot be used at the same time")
    assert server.picture() == before
    server.execute("qom-set", set_limits({"iops-read": 10, "iops-total": 0}))
    server.execute("qom-set", set_limits({"iops-read-max": 20}))
    expected = msgspec.to_builtins(ThrottleLimits(iops_read=10, iops_read_max=20))
    assert server.execute("qom-get", {"path": "g", "property": "limits"}) == expected


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"path": "nope"}, "DeviceNotFound", "Device 'nope' not found"),
        ({"property": "nope"}, GENERIC, "Property 'throttle-group.nope' not found"),
        ({"property": "x-iops-total"}, GENERIC, "Property cannot be set after initialization"),
        ({"value": 5}, GENERIC, "Invalid parameter type for 'limits', expected: object"),
        ({"value": {"bogus": 5}}, GENERIC, "Parameter 'limits.bogus' is unexpected"),
        (
            {"value": {"iops-total-max-length": 2**32}},
            GENERIC,
            "iops-total-max-length value must be in the range [0, 4294967295]",
        ),
        (
            {"value": {"iops-total-max": 10}},
            GENERIC,
            "bps_max/iops_max cannot be lower than bps/iops",
        ),
    ],
)
def test_qom_set_refused(
    server: InProcess, arguments: dict[str, Any], kind: str, message: str
) -> None:
    """§2.10, §1.6: the old limits stay."""
    before = server.picture()
    good = {"path": "g", "property": "limits", "value": {"iops-total": 5}}
    assert server.refused("qom-set", good | arguments) == (kind, message)
    assert server.picture() == before


@pytest.mark.parametrize("missing", ["path", "property", "value"])
def test_qom_set_needs_all(server: InProcess, missing: str) -> None:
    """§9.2."""
    arguments = {"path": "g", "property": "limits", "value": {}}
    del arguments[missing]
    assert server.refused("qom-set", arguments) == (GENERIC, f"Parameter '{missing}' is missing")


def test_qom_get_refused(server: InProcess) -> None:
    """§2.10: an unknown path has a class of its own."""
    refused = server.refused("qom-get", {"path": "/objects/no", "property": "limits"})
    assert refused == ("DeviceNotFound", "Device '/objects/no' not found")
    refused = server.refused("qom-get", {"path": "g", "property": "no"})
    assert refused == (GENERIC, "Property 'throttle-group.no' not found")


def test_qom_list(server: InProcess) -> None:
    """§2.10: groups are children of /objects; a group has limits and 19 single ones."""
    children = server.execute("qom-list", {"path": "/objects"})
    assert {"name": "g", "type": "child<throttle-group>"} in children
    assert {"name": "objects", "type": "child<container>"} in server.execute(
        "qom-list", {"path": "/"}
    )
    names = [each["name"] for each in server.execute("qom-list", {"path": "/objects/g"})]
    assert len(names) == 20
    assert {"limits", "x-iops-size"} < set(names)
    assert server.refused("qom-list", {"path": "no"}) == ("DeviceNotFound", "Device 'no' not found")


def test_object_del_refused(server: InProcess) -> None:
    """§2.10: unknown, and with members; once they have gone it is deleted."""
    assert server.refused("object-del", {"id": "zz"}) == (GENERIC, "object 'zz' not found")
    in_use = (GENERIC, "object 'g' is in use, can not be deleted")
    assert server.refused("object-del", {"id": "g"}) == in_use
    server.execute("blockdev-del", {"node-name": "spare"})
    assert server.refused("object-del", {"id": "g"}) == in_use
    server.transaction(
        ("block-remove-node", edge("vda", "disk", "limit")),
        ("blockdev-del", {"node-name": "limit"}),
        ("object-del", {"id": "g"}),
    )
    assert server.graph.groups == {}


# Exports: §4.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "vda"}, "Block export id 'vda' is already in use"),
        ({"node-name": "nope"}, "Cannot find device='nope' nor node-name='nope'"),
        ({"type": "fuse"}, "Parameter 'type' does not accept value 'fuse'"),
        ({"node-name": "ro", "writable": True}, "Cannot export read-only node as writable: 'ro'"),
        (
            {"node-name": "over-ro", "writable": True},
            "Cannot export read-only node as writable: 'over-ro'",
        ),
        ({"name": "other"}, "Parameter 'name' must be the same as 'id'"),
        ({"writable": "yes"}, "Invalid parameter type for 'writable', expected: boolean"),
    ],
)
def test_export_add_refused(server: InProcess, arguments: dict[str, Any], message: str) -> None:
    """§4.6: and nothing is exported."""
    server.add("null", "ro", read_only=True)
    server.add("raw", "over-ro", file="ro")
    before = server.picture()
    good = {"type": "nbd", "id": "new", "node-name": "disk"}
    kind, text = server.refused("block-export-add", good | arguments)
    assert (kind, text[: len(message)]) == (GENERIC, message)
    assert server.picture() == before


def test_exports_add_and_del(server: InProcess) -> None:
    """§4.6: shape of query-block-exports, and the event when one has gone."""
    server.execute("block-export-add", {"type": "nbd", "id": "vdb", "node-name": "disk"})
    shape = {"type": "nbd", "shutting-down": False}
    assert server.execute("query-block-exports") == [
        {**shape, "id": "vda", "node-name": "limit"},
        {**shape, "id": "vdb", "node-name": "disk"},
    ]
    server.execute("block-export-del", {"id": "vdb"})
    assert len(server.execute("query-block-exports")) == 1
    deleted = server.execute("x-blkrun-query-events")[-1]
    assert (deleted["event"], deleted["data"]) == ("BLOCK_EXPORT_DELETED", {"id": "vdb"})
    refused = server.refused("block-export-del", {"id": "vdb"})
    assert refused == (GENERIC, "Export 'vdb' is not found")


def test_an_export_in_use_is_deleted_only_by_force(server: InProcess) -> None:
    """§4.6: safe refuses while a client is there, hard does it."""
    client = server.graph.connect("vda", ignore)
    refused = server.refused("block-export-del", {"id": "vda"})
    assert refused == (GENERIC, "export 'vda' still in use")
    server.execute("block-export-del", {"id": "vda", "mode": "hard"})
    server.graph.disconnect(client)


def test_an_export_can_change_in_one_transaction(server: InProcess) -> None:
    """Deleted and added under its name: the new one is there, and nobody sees neither."""
    add = {"type": "nbd", "id": "vda", "node-name": "disk", "description": "new"}
    server.transaction(("block-export-del", {"id": "vda"}), ("block-export-add", add))
    (export,) = server.execute("x-blkrun-query-graph")["exports"]
    assert (export["description"], export["writable"]) == ("new", False)


# x-blkrun-set-edge, x-blkrun-replace-node: ours


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parent": "nope"}, "Cannot find parent 'nope'"),
        ({"parent": "vda"}, "Cannot find parent 'vda'"),
        ({"role": "backing"}, "'limit' does not have a child 'backing'"),
        ({"role": "root"}, "'limit' does not have a child 'root'"),
        ({"child": "nope"}, "Cannot find device='nope' nor node-name='nope'"),
        ({"child": "limit"}, "Making 'limit' a file child of 'limit' would create a cycle"),
    ],
)
def test_set_edge_refused(server: InProcess, arguments: dict[str, str], message: str) -> None:
    """An edge is a parent that is there, a role that it has, and a node without a cycle."""
    before = server.picture()
    good = {"parent": "limit", "role": "file", "child": "spare"}
    assert server.refused("x-blkrun-set-edge", good | arguments) == (GENERIC, message)
    assert server.picture() == before


def test_replace_node(server: InProcess) -> None:
    """Another node under the name, with all parents; the old one's inline children go with it."""
    inline = {"driver": "null", "node-name": "within", "size": 2**20}
    server.execute("blockdev-add", {"driver": "raw", "node-name": "r", "file": inline})
    server.execute("x-blkrun-set-edge", {"parent": "limit", "role": "file", "child": "r"})
    old = server.graph.nodes["r"]
    new = {"driver": "memory", "node-name": "r", "size": 2**20}
    server.execute("x-blkrun-replace-node", new)
    assert server.graph.nodes["r"] is not old
    assert server.graph.nodes["limit"].children["file"] is server.graph.nodes["r"]
    assert "within" not in server.graph.nodes


def test_replace_node_refused(server: InProcess) -> None:
    """Unknown, not owned, over itself."""
    add_raw_and_inline(server)
    before = server.picture()
    unknown = server.refused("x-blkrun-replace-node", {"driver": "null", "node-name": "zz"})
    assert unknown == (GENERIC, "Failed to find node with node-name='zz'")
    inline = server.refused("x-blkrun-replace-node", {"driver": "null", "node-name": "#inline"})
    assert inline == (GENERIC, "Node #inline is not owned by the monitor")
    for child in ("disk", "limit"):
        above = {"driver": "raw", "node-name": "disk", "file": child}
        assert server.refused("x-blkrun-replace-node", above)[0] == GENERIC
    assert server.picture() == before


# transaction: all or nothing (design §6)

GOOD: list[dict[str, Any]] = [
    {
        "type": "object-add",
        "data": {"qom-type": "throttle-group", "id": "h", "limits": {"bps-total": 4096}},
    },
    {"type": "blockdev-add", "data": {"driver": "memory", "node-name": "m", "size": 2**20}},
    {"type": "blockdev-add", "data": {**LIMIT, "node-name": "top", "throttle-group": "h"}},
    {"type": "block-insert-node", "data": edge("limit", "disk", "top")},
    {
        "type": "qom-set",
        "data": {"path": "g", "property": "limits", "value": {"iops-total": 7}},
    },
    {
        "type": "blockdev-reopen",
        "data": {"options": [{**LIMIT, "file": "top", "throttle-group": "h"}]},
    },
    {"type": "block-export-add", "data": {"type": "nbd", "id": "vdb", "node-name": "m"}},
    {"type": "x-blkrun-set-edge", "data": {"parent": "vda", "role": "root", "child": "spare"}},
    {"type": "block-remove-node", "data": edge("vda", "disk", "spare")},
    {"type": "blockdev-del", "data": {"node-name": "spare"}},
    {
        "type": "x-blkrun-replace-node",
        "data": {"driver": "null", "node-name": "disk", "size": 2**20},
    },
    {"type": "block-export-del", "data": {"id": "vda"}},
    {"type": "object-del", "data": {"id": "g"}},
]
"""One of each edit; in this order all of them go."""


def test_all_edits_in_one_transaction(server: InProcess) -> None:
    """Every action sees what those before it did."""
    server.execute("transaction", {"actions": GOOD, "properties": {}})
    assert set(server.graph.nodes) == {"disk", "limit", "m", "top"}
    assert set(server.graph.groups) == {"h"}
    assert set(server.graph.exports) == {"vdb"}
    assert server.node("limit")["options"]["throttle-group"] == "h"


BAD: list[dict[str, Any]] = [
    {"type": "abort", "data": {}},
    {"type": "blockdev-del", "data": {"node-name": "zz"}},
    {"type": "blockdev-add", "data": {**LIMIT, "node-name": "n", "throttle-group": "zz"}},
    {
        "type": "blockdev-add",
        "data": {"driver": "file", "node-name": "n", "path": "/nonexistent/f"},
    },
    {
        "type": "qom-set",
        "data": {"path": "zz", "property": "limits", "value": {"iops-total": 7}},
    },
]


@pytest.mark.parametrize("index", range(len(GOOD) + 1))
@pytest.mark.parametrize("bad", BAD, ids=[action["type"] for action in BAD])
def test_a_failing_action_leaves_no_trace(
    server: InProcess, index: int, bad: dict[str, Any]
) -> None:
    """At every index: the picture stays the same byte for byte, and the error tells the index."""
    before = server.picture()
    events = server.execute("x-blkrun-query-events")
    nodes = dict(server.graph.nodes)
    actions = [*GOOD[:index], bad, *GOOD[index:]]
    answer = server.say({"execute": "transaction", "arguments": {"actions": actions}})
    assert answer["error"]["data"] == {"action": index}
    assert server.picture() == before
    assert server.execute("x-blkrun-query-events") == events
    assert server.graph.nodes == nodes
    server.execute("transaction", {"actions": GOOD})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Parameter 'actions' is missing"),
        ({"actions": {}}, "Invalid parameter type for 'actions', expected: array"),
        ({"actions": [5]}, "Invalid parameter type for 'actions[0]', expected: object"),
        ({"actions": [{"type": "abort"}]}, "Parameter 'actions[0].data' is missing"),
        ({"actions": [{"data": {}}]}, "Parameter 'actions[0].type' is missing"),
        (
            {"actions": [{"type": "query-version", "data": {}}]},
            "Parameter 'type' does not accept value 'query-version'",
        ),
        (
            {"actions": [{"type": "abort", "data": {}}]},
            "Transaction aborted using Abort action",
        ),
        (
            {"actions": [{"type": "blockdev-del", "data": []}]},
            "Invalid parameter type for 'actions[0].data', expected: object",
        ),
        ({"actions": [], "bogus": 1}, "Parameter 'bogus' is unexpected"),
    ],
)
def test_transaction_refused(server: InProcess, arguments: dict[str, Any], message: str) -> None:
    """§9.2: the shape is checked before anything is done."""
    assert server.refused("transaction", arguments) == (GENERIC, message)


def test_the_whole_is_checked_at_the_end(server: InProcess) -> None:
    """A cycle that no single action makes is refused, and has no index but a place."""
    before = server.picture()
    actions = [
        {"type": "x-blkrun-set-edge", "data": {"parent": one, "role": "file", "child": other}}
        for one, other in (("limit", "spare"), ("spare", "limit"))
    ]
    answer = server.say({"execute": "transaction", "arguments": {"actions": actions}})
    assert "would create a cycle" in answer["error"]["desc"]
    assert answer["error"]["data"] == {"node-name": "spare"}
    assert server.picture() == before


def test_an_empty_transaction(server: InProcess) -> None:
    """Nothing to do is done."""
    before = server.picture()
    server.execute("transaction", {"actions": []})
    assert server.picture() == before


# Queries: §9.8


def test_query_named_block_nodes(server: InProcess) -> None:
    """Keys of BlockDeviceInfo, newest first; a filter's child is its backing-image unless flat."""
    deep = server.execute("query-named-block-nodes")
    flat = server.execute("query-named-block-nodes", {"flat": True})
    assert [node["node-name"] for node in deep] == ["spare", "limit", "disk"]
    by_name = {node["node-name"]: node for node in deep}
    assert by_name["limit"] == {
        "node-name": "limit",
        "drv": "throttle",
        "file": by_name["limit"]["file"],
        "ro": False,
        "encrypted": False,
        "backing_file_depth": 1,
        "detect_zeroes": "off",
        "write_threshold": 0,
        "cache": {"writeback": True, "direct": False, "no-flush": False},
        **dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0),
        "image": {
            "filename": by_name["limit"]["file"],
            "format": "throttle",
            "virtual-size": 2**20,
            "backing-image": by_name["disk"]["image"],
        },
    }
    filename = by_name["limit"]["file"]
    assert msgspec.json.decode(filename.removeprefix("json:")) == {
        "driver": "throttle",
        "throttle-group": "g",
        "file": {"driver": "memory", "size": 2**20},
    }
    assert [node["backing_file_depth"] for node in flat] == [0, 0, 0]
    assert not any("backing-image" in node["image"] for node in flat)


def test_filename_is_the_path_of_a_file(server: InProcess, tmp_path: Path) -> None:
    """§9.8: plain where it says it all."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    server.add("file", "f", path=str(path))
    assert filename_of(server, "f") == str(path)


STATS = {
    *qemu_counters(row_of(Tally())),
    *(f"{kind}_latency_histogram" for kind in ("rd", "wr", "flush")),
    "wr_highest_offset",
    *(f"{kind}_merged" for kind in ("rd", "wr", "unmap")),
    *(f"invalid_{kind}_operations" for kind in ("rd", "wr", "flush", "unmap")),
    "account_invalid",
    "account_failed",
    "timed_stats",
}


def test_query_blockstats(server: InProcess) -> None:
    """Devices: none.  Nodes: QEMU's keys, and the child's as ``parent`` (its historic name)."""
    assert server.execute("query-blockstats") == []
    assert server.execute("query-blockstats", {"query-nodes": False}) == []
    server.graph.nodes["limit"].pread(memoryview(bytearray(512)), 0)
    nodes = server.execute("query-blockstats", {"query-nodes": True})
    by_name = {node["node-name"]: node for node in nodes}
    assert set(by_name["limit"]["stats"]) == STATS
    assert by_name["limit"]["stats"]["rd_bytes"] == 512
    parent = by_name["limit"]["parent"]
    assert parent == by_name["disk"]
    assert sum(parent["stats"]["rd_latency_histogram"]["bins"]) == 1
    assert by_name["disk"]["stats"]["rd_operations"] == 1


def test_debug_graph(server: InProcess) -> None:
    """Numbered nodes; exports are block-backends without a name, with an edge ``root``."""
    graph = server.execute("x-debug-query-block-graph")
    names = {node["id"]: (node["type"], node["name"]) for node in graph["nodes"]}
    assert sorted(names.values()) == [
        ("block-backend", ""),
        ("block-driver", "disk"),
        ("block-driver", "limit"),
        ("block-driver", "spare"),
    ]
    edges = {
        (names[each["parent"]][1], names[each["child"]][1], each["name"]) for each in graph["edges"]
    }
    assert edges == {("", "limit", "root"), ("limit", "disk", "file"), ("spare", "disk", "file")}
    assert set(graph["edges"][0]) == {"parent", "child", "name", "perm", "shared-perm"}


def test_query_graph(server: InProcess) -> None:
    """Ours: configuration in force, numbers and clients at one instant."""
    client = server.graph.connect("vda", ignore)
    reply = server.execute("x-blkrun-query-graph")
    assert set(reply) == {
        "pid", "now-ns", "uptime-ns", "threads", "nodes", "throttle-groups", "exports", "jobs",
        "spent", "reports", "revision",
    }  # fmt: skip
    assert set(reply["nodes"][0]) == {
        "node-name", "options", "children", "is-filter", "monitor-owned", "job", "attached", "size",
        "in-flight", "stats", "bitmaps", "driver-specific",
    }  # fmt: skip
    assert set(reply["throttle-groups"][0]) == {"id", "limits", "levels", "members"}
    (export,) = reply["exports"]
    assert set(export) == {
        "id", "node-name", "writable", "description", "size", "in-flight", "stats",
        "read-latency", "write-latency", "clients",
    }  # fmt: skip
    assert [seen["id"] for seen in export["clients"]] == [client.number]
    attached = {node["node-name"]: node["attached"] for node in reply["nodes"]}
    assert attached == {"disk": True, "limit": True, "spare": False}
    server.graph.disconnect(client)
    assert server.execute("x-blkrun-query-graph")["exports"][0]["clients"] == []


def test_query_version_and_commands(server: InProcess) -> None:
    """§9.8: as usual."""
    assert server.execute("query-version")["package"] == f"blkrun {__version__}"
    names = [each["name"] for each in server.execute("query-commands")]
    assert names == sorted({*COMMANDS, "qmp_capabilities"})


def test_query_events(server: InProcess) -> None:
    """Ours: kept events by number, for those who come later."""
    for number in range(3):
        server.events.emit("E", {"number": number})
    events = server.execute("x-blkrun-query-events")
    last = events[-1]["number"]
    assert [event["data"]["number"] for event in events[-3:]] == [0, 1, 2]
    assert server.execute("x-blkrun-query-events", {"since": last - 1}) == events[-1:]
    assert server.execute("x-blkrun-query-events", {"since": last}) == []


def test_report(server: InProcess) -> None:
    """Ours: what the runner says is an event for all, and is kept for those who ask."""
    data = {"file": "x.toml", "summary": "+1"}
    server.execute("x-blkrun-report", {"kind": "applied", "data": data})
    event = server.execute("x-blkrun-query-events")[-1]
    assert (event["event"], event["data"]) == ("X_BLKRUN_CONFIG_APPLIED", data)
    reports = server.execute("x-blkrun-query-graph")["reports"]
    assert reports == {"config": {"kind": "applied", **data}}
    kind, text = server.refused("x-blkrun-report", {"kind": "bogus", "data": {}})
    assert kind == GENERIC
    assert text.startswith("Parameter 'kind' does not accept")


def test_quit(server: InProcess) -> None:
    """SHUTDOWN goes out first, then nbdkit is told to end."""
    assert server.execute("quit") == {}
    assert server.shut_down.is_set()
    event = server.execute("x-blkrun-query-events")[-1]
    assert (event["event"], event["data"]["reason"]) == ("SHUTDOWN", "host-qmp-quit")


# Completeness


def test_every_command_is_tested() -> None:
    """A command that no test names has no test."""
    strings: set[str] = set()
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.add(node.value)
    assert set(COMMANDS) - strings == set()


def test_every_command_has_a_sentence() -> None:
    """The documentation of commands is made from the table."""
    for command in COMMANDS.values():
        assert command.doc[0].isupper()
        assert command.doc.endswith(".")
        assert (command.run is None) != (command.stage is None)


def test_every_driver_can_be_added_over_qmp() -> None:
    """The server has code for each driver that the options know."""
    server = InProcess()
    for driver in DRIVERS:
        kind, text = server.refused("blockdev-add", {"driver": driver, "node-name": "n", "x": 1})
        assert (kind, text) == (GENERIC, "Parameter 'x' is unexpected")
