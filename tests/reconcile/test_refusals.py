"""What is refused is told with the table and the line that it came from, whatever it is."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from msgspec import structs

import blkrun.reconcile
from blkrun import config
from blkrun.diagnostic import Place
from blkrun.errors import CommandError
from blkrun.job_options import JOBS
from blkrun.model import Config, GraphModel, JobState
from blkrun.reconcile.apply import place_of, refusal
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import plan
from blkrun.server.staging import MAX_DEPTH
from tests.reconcile.configurations import Written, files
from tests.reconcile.test_file_plans import PATIENT
from tests.server.inprocess import InProcess

FILE = Path("/lab/vm.toml")
WHY = "it cannot be"

DISK = '[backends.disk]\ndriver = "memory"\nsize = "1MiB"\n'
COPY = '[backends.copy]\ndriver = "memory"\nsize = "1MiB"\n'
GROUP = "[throttle-groups.g]\niops-total = 1000\n"
LIMIT = '[nodes.limit]\ndriver = "throttle"\nfile = "disk"\nthrottle-group = "g"\n'
ALARM = '[nodes.alarm]\ndriver = "write-threshold"\nfile = "disk"\nwrite-threshold = 0\n'
WINDOWS = '[nodes.window]\ndriver = "raw"\nfile = "disk"\n'
EXPORT = '[exports.vda]\nnode = "disk"\n'
THROTTLED = EXPORT + "iops-total = 5\n"
BITMAP = '[bitmaps.map]\nnode = "disk"\n'
BACKUP = '[jobs.job]\ntype = "backup"\ndevice = "disk"\ntarget = "copy"\n'
MIRROR = BACKUP.replace("backup", "mirror")
STREAM = '[jobs.job]\ntype = "stream"\ndevice = "disk"\n'
BASE = DISK + COPY + GROUP
CHAIN = DISK + '[nodes.top]\ndriver = "qcow2"\nfile = "copy"\nbacking = "disk"\n' + COPY
COMMIT = '[jobs.job]\ntype = "commit"\ndevice = "top"\n'


class Case(NamedTuple):
    """An edit, an operation that its plan has, and the table to be named; "gone": and no line."""

    type: str
    before: str
    after: str
    table: str
    gone: bool = False


CASES = [
    Case("blockdev-add", BASE, BASE + ALARM, "nodes.alarm"),
    Case("blockdev-add", GROUP, BASE, "backends.copy"),
    Case("blockdev-add", BASE, BASE + THROTTLED, "exports.vda"),
    Case("blockdev-del", BASE + ALARM, BASE, "nodes.alarm", gone=True),
    Case("blockdev-del", BASE + ALARM, BASE + ALARM + "enabled = false\n", "nodes.alarm"),
    Case("blockdev-del", BASE, GROUP, "backends.disk", gone=True),
    Case("blockdev-del", BASE + THROTTLED, BASE + EXPORT, "exports.vda"),
    Case("blockdev-del", BASE + THROTTLED, BASE, "nodes.vda-throttle", gone=True),
    Case("blockdev-reopen", BASE + ALARM, BASE + ALARM.replace("= 0", "= 512"), "nodes.alarm"),
    Case(
        "x-blkrun-replace-node",
        BASE + ALARM,
        BASE.replace('"memory"', '"null"') + ALARM,
        "backends.disk",
    ),
    Case(
        "block-insert-node",
        BASE + EXPORT,
        BASE + LIMIT + EXPORT.replace("disk", "limit"),
        "nodes.limit",
    ),
    Case("block-insert-node", BASE + EXPORT, BASE + THROTTLED, "exports.vda"),
    Case(
        "block-remove-node",
        BASE + LIMIT + EXPORT.replace("disk", "limit"),
        BASE + EXPORT,
        "nodes.limit",
        gone=True,
    ),
    Case("block-remove-node", BASE + THROTTLED, BASE + EXPORT, "exports.vda"),
    Case("x-blkrun-set-edge", BASE + EXPORT, BASE + EXPORT.replace("disk", "copy"), "exports.vda"),
    Case(
        "x-blkrun-set-edge",
        BASE + WINDOWS,
        BASE + WINDOWS.replace('"disk"', '"copy"'),
        "nodes.window",
    ),
    Case(
        "x-blkrun-set-edge",
        BASE + THROTTLED,
        BASE + THROTTLED.replace("disk", "copy"),
        "exports.vda",
    ),
    Case("block-export-add", BASE, BASE + EXPORT, "exports.vda"),
    Case("block-export-del", BASE + EXPORT, BASE, "exports.vda", gone=True),
    Case("block-export-del", BASE + EXPORT, BASE + EXPORT + "read-only = true\n", "exports.vda"),
    Case("object-add", DISK, DISK + GROUP, "throttle-groups.g"),
    Case("object-add", DISK, DISK + THROTTLED, "exports.vda"),
    Case("object-del", DISK + GROUP, DISK, "throttle-groups.g", gone=True),
    Case("object-del", DISK + THROTTLED, DISK + EXPORT, "exports.vda"),
    Case("qom-set", BASE, BASE.replace("1000", "2000"), "throttle-groups.g"),
    Case("qom-set", DISK + THROTTLED, DISK + THROTTLED.replace("5", "6"), "exports.vda"),
    Case("block-dirty-bitmap-add", BASE, BASE + BITMAP, "bitmaps.map"),
    Case("block-dirty-bitmap-remove", BASE + BITMAP, BASE, "bitmaps.map", gone=True),
    Case(
        "block-dirty-bitmap-remove",
        BASE + BITMAP,
        BASE + BITMAP + "granularity = 512\n",
        "bitmaps.map",
    ),
    Case("blockdev-backup", BASE, BASE + BACKUP, "jobs.job"),
    Case("blockdev-mirror", BASE, BASE + MIRROR, "jobs.job"),
    Case("block-commit", CHAIN, CHAIN + COMMIT, "jobs.job"),
    Case("block-stream", BASE, BASE + STREAM, "jobs.job"),
    Case("x-blkrun-job-change", BASE + BACKUP, BASE + BACKUP + "speed = 512\n", "jobs.job"),
    Case("x-blkrun-job-remove", BASE + BACKUP, BASE, "jobs.job", gone=True),
    Case("x-blkrun-job-remove", BASE + BACKUP, BASE + BACKUP + "enabled = false\n", "jobs.job"),
    Case("x-blkrun-forget-spent", BASE + ALARM, BASE, "nodes.alarm", gone=True),
]

EXPANDED = {
    "block-*-node": {"block-insert-node", "block-remove-node"},
}
"""Types of operations that the code puts together → those that there are."""


def live_of(written: Config, kind: str) -> GraphModel:
    """The graph of a file, in force: jobs run, and a filter may have left by itself."""
    graph = written.graph
    graph = structs.replace(graph, states={name: JobState() for name in graph.jobs})
    if kind == "x-blkrun-forget-spent":
        left = graph.nodes["alarm"]
        nodes = {name: each for name, each in graph.nodes.items() if each is not left}
        graph = structs.replace(graph, nodes=nodes, spent={"alarm": left})
    return graph


def refused(index: int, operations: tuple[Operation, ...], desired: Config) -> str:
    """What is told if an operation is refused."""
    return str(refusal(CommandError(WHY, action=index), operations, desired))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}-{case.table}-{case.gone}")
def test_each_operation_names_its_table(case: Case) -> None:
    """With the line; one that the file has no more is said not to be there."""
    before, after = config.parse(case.before, FILE), config.parse(case.after, FILE)
    operations = plan(after.graph, live_of(before, case.type))
    told = [
        refused(index, operations, after)
        for index, operation in enumerate(operations)
        if operation.type == case.type
    ]
    if case.gone:
        expected = f"vm.toml: [{case.table}], which is not in the file: {WHY}"
    else:
        lines = case.after.splitlines()
        expected = f"vm.toml:{lines.index(f'[{case.table}]') + 1}: [{case.table}] {WHY}"
    assert expected in told


def test_there_is_a_case_for_each_operation() -> None:
    """A new type of operation needs one."""
    assert {case.type for case in CASES} == set(all_types())


def all_types() -> set[str]:
    """What ``Operation(…)`` is called with anywhere in the planner."""
    (folder,) = blkrun.reconcile.__path__
    found: set[str] = set()
    for path in Path(folder).glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name)
                and call.func.id == "Operation"
            ):
                found |= types_of(call.args[0])
    return found


def types_of(written: ast.expr) -> set[str]:
    """One, or what the pieces of a string make."""
    if isinstance(written, ast.Constant):
        return {str(written.value)}
    if isinstance(written, ast.Attribute) and written.attr == "command":
        return {kind.command for kind in JOBS.values()}
    assert isinstance(written, ast.JoinedStr)
    pieces = (str(each.value) if isinstance(each, ast.Constant) else "*" for each in written.values)
    return EXPANDED["".join(pieces)]


@PATIENT
@given(files(), files())
def test_only_what_goes_has_no_line(before: Written, after: Written) -> None:
    """Of any plan: what adds or changes something names a table that is there."""
    desired = after.parsed()
    for operation in plan(desired.graph, before.parsed().graph):
        place = place_of(operation.table, desired)
        if operation.sign != "-":
            assert place.startswith("lab.toml:")
        else:
            assert place.startswith("lab.toml:") or place.endswith("], which is not in the file:")


def test_a_table_of_an_included_file() -> None:
    """That file is named."""
    desired = config.parse(BASE + ALARM, FILE)
    places = {**desired.places, "nodes.alarm": Place(Path("/lab/more/a.toml"), 7)}
    desired = structs.replace(desired, places=places)
    assert place_of("nodes.alarm", desired) == "more/a.toml:7: [nodes.alarm]"


@pytest.mark.parametrize(
    ("subject", "place"),
    [
        ({"node-name": "alarm"}, "vm.toml:8: [nodes.alarm]"),
        ({"node-name": "disk"}, "vm.toml:1: [backends.disk]"),
        ({"node-name": "vda-throttle"}, "vm.toml:12: [exports.vda]"),
        ({"node-name": "job-filter"}, "vm.toml:15: [jobs.job]"),
        ({"export": "vda"}, "vm.toml:12: [exports.vda]"),
        ({"node-name": "nobody"}, "vm.toml:"),
        ({}, "vm.toml:"),
    ],
)
def test_a_graph_that_is_refused_as_a_whole(subject: dict[str, str], place: str) -> None:
    """No operation is to blame: it is the table of the place, a job's if it is its filter."""
    desired = config.parse(DISK + COPY + "\n" + ALARM + THROTTLED + BACKUP, FILE)
    error = CommandError(WHY)
    error.subject = subject
    told = refusal(error, (), desired)
    assert str(told) == f"{place} {WHY}"
    assert told.operation is None


def test_what_is_too_deep_has_a_place() -> None:
    """A tower of filters, which the file may have, names the one that is too high."""
    server = InProcess()
    actions = [("blockdev-add", {"driver": "memory", "node-name": "n0", "size": 512})]
    actions += [
        ("blockdev-add", {"driver": "raw", "node-name": f"n{i}", "file": f"n{i - 1}"})
        for i in range(1, MAX_DEPTH + 1)
    ]
    steps = [{"type": kind, "data": data} for kind, data in actions]
    answer = server.say({"execute": "transaction", "arguments": {"actions": steps}})
    assert answer["error"]["data"] == {"node-name": f"n{MAX_DEPTH}"}
