"""The file follows a mirror's pivot, and the memory of jobs that have ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from blkrun.config import load, parse
from blkrun.config.save import save
from blkrun.errors import FileError
from blkrun.job_options import MirrorOptions
from blkrun.model import EMPTY, GraphModel, JobState
from blkrun.options import ExportOptions, children_of, with_child
from blkrun.reconcile.ended import EndedJobs, asks_for_a_plan
from blkrun.reconcile.follow import changes_for, follow
from blkrun.reconcile.plan import plan

PIVOTED = JobState(status="concluded", pivoted=True)
CONCLUDED = JobState(status="concluded")

FILE = """\
[backends.old]            # the old disk
driver = "memory"

[backends.new]
driver = "memory"

[backends.scratch]
driver = "memory"

[nodes.off]
driver          = "write-threshold"
file            = "old"   # nobody is told of it just now
write-threshold = 0
enabled         = false

[nodes.keep]
driver = "copy-before-write"
file   = "off"
target = "scratch"

[nodes.window]
driver = "raw"
file   = "old"

[jobs.move]
type       = "mirror"
device     = "old"
target     = "new"
when-ready = "pivot"

[exports.vda]
node = "keep"

[exports.vdb]             # with limits
node       = "old"
iops-total = 500

[exports.vdc]
node = 'window'

[exports.vdd]
node = "old"
"""
FOLLOWED = (
    FILE.replace('file            = "old"', 'file            = "new"')
    .replace('file   = "old"', 'file   = "new"')
    .replace('node       = "old"', 'node       = "new"')
    .replace('node = "old"', 'node = "new"')
    .replace('"pivot"\n', '"pivot"\nenabled    = false\n')
)


def moved(graph: GraphModel) -> GraphModel:
    """What a server makes of the file's graph when ``move`` pivots."""
    nodes = {}
    for name, options in graph.nodes.items():
        new = options
        for role, child in children_of(options).items():
            new = with_child(new, role, "new") if child == "old" else new
        nodes[name] = new
    exports = {
        name: structs.replace(each, node="new") if each.node == "old" else each
        for name, each in graph.exports.items()
    }
    states = {"move": PIVOTED}
    return structs.replace(graph, nodes=nodes, exports=exports, states=states)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """As the mirror found it."""
    path = tmp_path / "vm.toml"
    path.write_text(FILE)
    return path


def followed(
    path: Path, text: str = FILE, change: Callable[[GraphModel], GraphModel] = moved
) -> dict[str, Any] | None:
    """The report, of a file that was last applied as ``text``."""
    last = parse(text, path)
    return follow(path, last, lambda _: change(last.graph))


def test_every_edge_that_has_moved_is_written_down(file: Path) -> None:
    """Of nodes, exports, exports with limits, and filters that are switched off; no more."""
    report = followed(file)
    assert file.read_text() == FOLLOWED
    assert report == {
        "file": "vm.toml",
        "jobs": [{"id": "move", "device": "old", "target": "new"}],
        "changes": [
            '[nodes.off] file = "new"',
            '[nodes.window] file = "new"',
            '[exports.vdb] node = "new"',
            '[exports.vdd] node = "new"',
            "[jobs.move] enabled = false",
        ],
    }


def test_a_child_in_a_list_is_written_down(file: Path) -> None:
    """Its place in the list changes, of two lists each, and the comment behind it stays."""
    other = '[backends.copy]\ndriver = "memory"\nsize = "1MiB"\n'
    for name in ("p", "q"):
        other += f'[nodes.{name}]\ndriver = "quorum"\nvote-threshold = 1\n'
        other += 'children = ["copy", "old"]  # copies\n'
    text = FILE.replace("[exports.vdd]", f"{other}\n[exports.vdd]")
    file.write_text(text)
    report = followed(file, text)
    expected = FOLLOWED.replace("[exports.vdd]", f"{other}\n[exports.vdd]")
    assert file.read_text() == expected.replace('["copy", "old"]', '["copy", "new"]')
    assert report is not None
    assert '[nodes.q] children = ["copy", "new"]' in report["changes"]


def test_the_plan_of_the_edited_file_is_empty(file: Path) -> None:
    """And before the edit it was empty too: nothing is moved twice."""
    live = moved(parse(FILE, file).graph)
    assert plan(parse(FILE, file).graph, live) == ()
    followed(file)
    assert plan(parse(file.read_bytes(), file).graph, live) == ()
    assert follow(file, parse(FILE, file), lambda _: live) is None


def test_an_edge_that_stayed_is_not_touched(file: Path) -> None:
    """Somebody has led an export back to the old disk by hand."""

    def by_hand(graph: GraphModel) -> GraphModel:
        live = moved(graph)
        return structs.replace(live, exports={**live.exports, "vdd": ExportOptions(node="old")})

    followed(file, change=by_hand)
    assert file.read_text() == FOLLOWED.replace('vdd]\nnode = "new"', 'vdd]\nnode = "old"')


def test_the_targets_own_tree_is_not_touched(tmp_path: Path) -> None:
    """An edge below the target that names the device would close a cycle."""
    path = tmp_path / "vm.toml"
    text = (
        '[backends.old]\ndriver = "memory"\n'
        '[nodes.new]\ndriver = "raw"\nfile = "old"\n'
        '[exports.vda]\nnode = "old"\n'
        '[jobs.move]\ntype = "mirror"\ndevice = "old"\ntarget = "new"\n'
    )
    config = parse(text.replace('"mirror"', '"mirror"\nenabled = false'), path)
    job = MirrorOptions(job_id="move", device="old", target="new")
    desired = structs.replace(config, graph=structs.replace(config.graph, jobs={"move": job}))
    live = structs.replace(
        desired.graph, exports={"vda": ExportOptions(node="new")}, states={"move": PIVOTED}
    )
    document = {
        "nodes": {"new": {"driver": "raw", "file": "old"}},
        "exports": {"vda": {"node": "old"}},
    }
    assert changes_for(document, desired, live) == {
        ("exports", "vda", "node"): "new",
        ("jobs", "move", "enabled"): False,
    }


@pytest.mark.parametrize("state", [JobState(), JobState(status="ready"), CONCLUDED])
def test_a_mirror_that_has_not_pivoted(file: Path, state: JobState) -> None:
    """Nothing is written."""
    report = followed(file, change=lambda graph: structs.replace(graph, states={"move": state}))
    assert report is None
    assert file.read_text() == FILE


def test_a_file_with_a_mistake_in_it_is_left_alone(file: Path) -> None:
    """It is said why, and done when the mistake is mended."""
    wrong = FILE.replace("iops-total", "iops-totl")
    file.write_text(wrong)
    report = followed(file)
    assert report is not None
    assert 'unknown key "iops-totl"' in report["message"]
    assert file.read_text() == wrong
    file.write_text(FILE)
    followed(file)
    assert file.read_text() == FOLLOWED


def test_a_file_that_is_saved_meanwhile(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other edit is kept: it is read again."""
    saves = iter([FILE + "# theirs\n"])
    real = save

    def race(path: Path, before: bytes, after: bytes) -> bool:
        if (theirs := next(saves, None)) is not None:
            path.write_text(theirs)
        return real(path, before, after)

    monkeypatch.setattr("blkrun.config.save.save", race)
    followed(file)
    assert file.read_text() == FOLLOWED + "# theirs\n"


def test_a_file_that_is_saved_again_and_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries it is said, and the file is not written."""
    monkeypatch.setattr("blkrun.config.save.save", lambda *_: False)
    report = followed(file)
    assert report is not None
    assert report["message"] == "vm.toml was changed again and again meanwhile"
    assert file.read_text() == FILE


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The job in the main file, the exports in another."""
    at = FILE.index("[exports.vda]")
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants/a.toml").write_text(FILE[at:])
    path = tmp_path / "vm.toml"
    path.write_text('include = ["tenants/*.toml"]\n' + FILE[:at])
    return path


def test_each_edge_is_written_where_it_stands(files: Path) -> None:
    """Both files are edited, and the report says which words are in the other one."""
    config = load(files)
    live = moved(config.graph)
    report = follow(files, config, lambda _: live)
    text = files.read_text() + (files.parent / "tenants/a.toml").read_text()
    assert text == 'include = ["tenants/*.toml"]\n' + FOLLOWED
    assert report is not None
    assert '[nodes.off] file = "new"' in report["changes"]
    assert '[exports.vdd] node = "new" in tenants/a.toml' in report["changes"]
    assert plan(load(files).graph, live) == ()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_one_of_several_that_is_saved_meanwhile(
    files: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whichever save of ours is late: in the end everything is written, theirs too."""
    config, real, count = load(files), save, iter(range(1, 100))
    live = moved(config.graph)

    def race(path: Path, before: bytes, after: bytes) -> bool:
        if next(count) == number:
            path.write_bytes(path.read_bytes() + b"# theirs\n")
        return real(path, before, after)

    monkeypatch.setattr("blkrun.config.save.save", race)
    report = follow(files, config, lambda _: live)
    assert report is not None
    assert "message" not in report
    text = files.read_text() + (files.parent / "tenants/a.toml").read_text()
    assert text.replace("# theirs\n", "") == 'include = ["tenants/*.toml"]\n' + FOLLOWED
    assert text.count("# theirs") == 1


def test_what_can_be_read_in_between_leads_nobody_back(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each save the files are refused, or ask for nothing."""
    config, real, seen = load(files), save, []
    live = moved(config.graph)

    def watched(path: Path, before: bytes, after: bytes) -> bool:
        done = real(path, before, after)
        try:
            seen.append(plan(load(files).graph, live))
        except FileError as error:
            assert "set enabled = false here if the mirror has ended" in str(error)  # noqa: PT017 - either
            seen.append(())
        return done

    monkeypatch.setattr("blkrun.config.save.save", watched)
    follow(files, config, lambda _: live)
    assert len(seen) == 3
    assert set(seen) == {()}


# What a runner remembers of jobs that have ended


def event(name: str, **data: str) -> dict[str, Any]:
    """As it comes from the server."""
    return {"event": name, "data": data}


def ended(path: Path) -> tuple[EndedJobs, GraphModel]:
    """A runner's memory, and the file's graph."""
    return EndedJobs(), parse(FILE, path).graph


def status(value: str) -> dict[str, Any]:
    """An event about ``move``."""
    return event("JOB_STATUS_CHANGE", id="move", status=value)


def started(desired: GraphModel, live: GraphModel) -> bool:
    """Whether a plan starts a job."""
    return any(each.type == "blockdev-mirror" for each in plan(desired, live))


@pytest.mark.parametrize("how", ["heard", "seen"])
def test_what_has_ended_is_not_started_again_by_a_new_server(file: Path, how: str) -> None:
    """As long as its table says the same; what was running is."""
    memory, desired = ended(file)
    assert started(desired, memory.added_to(EMPTY, desired))
    if how == "heard":
        memory.hear(status("concluded"), desired.jobs)
    else:
        memory.added_to(structs.replace(desired, states={"move": CONCLUDED}), desired)
    assert not started(desired, memory.added_to(EMPTY, desired))
    other = structs.replace(
        desired, jobs={"move": structs.replace(desired.jobs["move"], sync="top")}
    )
    assert started(other, memory.added_to(EMPTY, other))
    assert not started(desired, memory.added_to(EMPTY, desired))
    memory.applied(other)
    assert started(desired, memory.added_to(EMPTY, desired))


def test_a_job_that_runs_again_or_is_gone_is_forgotten(file: Path) -> None:
    """The server's list is believed, and so is its word that a job has gone."""
    memory, desired = ended(file)
    memory.hear(status("concluded"), desired.jobs)
    memory.hear(status("null"), desired.jobs)
    assert started(desired, memory.added_to(EMPTY, desired))
    memory.hear(status("concluded"), desired.jobs)
    memory.added_to(structs.replace(desired, states={"move": JobState()}), desired)
    assert started(desired, memory.added_to(EMPTY, desired))


def test_a_table_that_goes_and_comes_back_is_a_new_job(file: Path) -> None:
    """Switched off, it is still the old one."""
    memory, desired = ended(file)
    memory.hear(status("concluded"), desired.jobs)
    memory.applied(structs.replace(desired, jobs={}, resting=frozenset({"move"})))
    assert not started(desired, memory.added_to(EMPTY, desired))
    memory.applied(structs.replace(desired, jobs={}))
    assert started(desired, memory.added_to(EMPTY, desired))


def test_a_pivot_is_remembered_beyond_the_server(file: Path) -> None:
    """A server that dies before the file has followed does not lead clients back."""
    memory, desired = ended(file)
    memory.hear(event("X_BLKRUN_JOB_PIVOTED", id="move", device="old", target="new"), desired.jobs)
    memory.hear(status("concluded"), desired.jobs)
    memory.hear(status("null"), desired.jobs)
    live = memory.added_to(EMPTY, desired)
    exports = {
        each.data["id"]: each.data["node-name"]
        for each in plan(desired, live)
        if each.type == "block-export-add"
    }
    assert exports["vdd"] == "new"


def test_which_events_ask_for_a_plan() -> None:
    """A job's end, its going, and a pivot."""
    assert asks_for_a_plan(status("concluded"))
    assert asks_for_a_plan(status("null"))
    assert asks_for_a_plan(event("X_BLKRUN_JOB_PIVOTED", id="move"))
    assert not asks_for_a_plan(status("running"))
    assert not asks_for_a_plan(event("SHUTDOWN"))
