"""The editor: command lines, what it reads of what a command says, and what it does with processes.

``FAKE`` stands for blkrun: it does what the edit's first word tells it to.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from blkrun.cli import main
from blkrun.config.names import PATTERN
from blkrun.dashboard.dialogs.insert import ask_insert
from blkrun.dashboard.editor import CommandEditor
from blkrun.dashboard.model import choices as choices_module
from blkrun.dashboard.model.choices import Check, Choice, limit_check, name_check, narrowed
from blkrun.dashboard.model.drivers import Driver, Key, free_name
from blkrun.dashboard.model.edits import (
    Edit,
    apply_edit,
    cancel_edit,
    insert_edit,
    limit_edit,
    nudge_edit,
    remove_edit,
    rollback_edit,
    start_edit,
    switch_edit,
    undo_edit,
)
from blkrun.dashboard.model.preview import Preview, preview_rows
from blkrun.errors import BlkrunError, WaitError
from tests.dashboard.dashboard_samples import NASTY_NAMES
from tests.live.service import wait_for

FILE = Path("vm.toml")

TEXT = """\
[throttle-groups.gold]
iops-total = 500

[backends.disk]
driver = "memory"

[nodes.limit]
driver = "throttle"
throttle-group = "gold"
file = "disk"

[exports.vda]
node = "limit"
"""

FAKE = """\
import os, pathlib, sys, time
what, *rest = sys.argv[sys.argv.index("--") + 2:]
folder = pathlib.Path(sys.argv[sys.argv.index("--") + 1]).parent
if what == "say":
    print(rest[0])
elif what == "fail":
    print("blkrun: [red]it[/] failed\\nas a whole", file=sys.stderr)
    sys.exit(3)
elif what == "silence":
    sys.exit(7)
elif what == "hang":
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
elif what == "alone":
    (folder / "running").touch(exist_ok=False)
    time.sleep(0.05)
    (folder / "running").unlink()
    print('{"changed": false}')
"""


def fake(folder: Path) -> CommandEditor:
    """An editor whose blkrun is the fake."""
    return CommandEditor(folder / "vm.toml", program=(sys.executable, "-c", FAKE))


def do(*words: str) -> Edit:
    """Any edit."""
    return Edit("set", words, "do it")


@pytest.mark.parametrize(
    ("edit", "typed", "text"),
    [
        (
            limit_edit("gold", "iops-total", 11000),
            "limit vm.toml gold iops-total=11000",
            "gold: iops-total 11000",
        ),
        (
            limit_edit("gold", "bps-read", "none"),
            "limit vm.toml gold bps-read=none",
            "take bps-read of gold out",
        ),
        (
            nudge_edit("gold", {"iops-total": (10000, 11000)}),
            "limit vm.toml gold iops-total=11000",
            "raise iops-total of gold to 11000",
        ),
        (
            nudge_edit("g", {"bps-read": (2**30, 2**29)}),
            "limit vm.toml g bps-read=512MiB",
            "lower bps-read of g to 512MiB",
        ),
        (switch_edit("limit", on=False), "disable vm.toml nodes.limit", "disable limit"),
        (switch_edit("jobs.x", on=True), "enable vm.toml nodes.jobs.x", "enable jobs.x"),
        (
            insert_edit("q", "throttle", "disk", None, [("throttle-group", "gold")]),
            "insert --driver=throttle --above=disk --set=throttle-group=gold vm.toml q",
            "insert throttle q above disk",
        ),
        (
            insert_edit("q", "raw", "disk", "exports.vda"),
            "insert --driver=raw --above=disk --below=exports.vda vm.toml q",
            "insert raw q above disk, below exports.vda",
        ),
        (remove_edit("exports.vda"), "remove vm.toml exports.vda", "remove exports.vda"),
        (remove_edit("-x y"), "remove -- vm.toml '-x y'", "remove -x y"),
        (rollback_edit(), "rollback vm.toml", "undo the last change"),
        (rollback_edit(17), "rollback vm.toml 17", "go back to change 17"),
        (apply_edit(), "apply vm.toml", "apply the file as it is"),
        (start_edit("a.b"), "enable --again vm.toml jobs.a.b", "start job a.b"),
        (cancel_edit("nightly"), "disable vm.toml jobs.nightly", "cancel job nightly"),
        (
            limit_edit("exports.vda", "iops-total", 5),
            "limit vm.toml throttle-groups.exports.vda iops-total=5",
            "exports.vda: iops-total 5",
        ),
    ],
)
def test_what_one_would_type(edit: Edit, typed: str, text: str) -> None:
    """The command, and a sentence for people."""
    assert edit.typed(FILE) == f"blkrun {typed}"
    assert edit.text == text


def test_undo() -> None:
    """Of what is in force the change before; of what is not, that it was ever saved."""
    applied = {"kind": "applied", "digest": "a", "number": 7}
    waits = {"kind": "pending", "digest": "b", "number": 8}
    assert undo_edit({"config": applied, "in-force": applied}) == rollback_edit()
    assert undo_edit({"config": waits, "in-force": applied}).words == ("7",)
    restarted = {"kind": "restarted", "digest": "a"}
    assert undo_edit({"config": waits, "in-force": restarted}) == rollback_edit()
    assert undo_edit({"config": None}) == rollback_edit()


def test_nobody_is_asked_twice() -> None:
    """Commands that ask are told that the dashboard has; a dry run never is."""
    for edit in (rollback_edit(), apply_edit()):
        assert "--yes" in edit.arguments(FILE, dry_run=False)
        assert "--yes" not in edit.arguments(FILE, dry_run=True)
    assert limit_edit("g", "iops-total", 1).arguments(FILE, dry_run=True) == (
        "limit",
        "--json",
        "--dry-run",
        "--",
        "vm.toml",
        "g",
        "iops-total=1",
    )


@pytest.mark.parametrize("name", [*NASTY_NAMES, "-x", "--help", "a=b", "a'b", "", "--", "a\0b"])
def test_nasty_names(name: str, tmp_path: Path) -> None:
    """Whatever they are, an error says so; the dashboard goes on, and nothing is written."""
    file = tmp_path / "vm.toml"
    file.write_text(TEXT)
    editor = CommandEditor(file)

    async def act() -> None:
        for edit in (remove_edit(name), limit_edit(name, "iops-total", 5)):
            with pytest.raises(BlkrunError) as error:
                await editor.perform(edit)
            assert str(error.value)
            assert "usage:" not in str(error.value)

    asyncio.run(act())
    assert file.read_text() == TEXT


def test_a_command_that_fails(tmp_path: Path) -> None:
    """All that it said; its code where it said nothing."""

    async def act() -> None:
        with pytest.raises(BlkrunError, match=r"^\[red\]it\[/\] failed\nas a whole$"):
            await fake(tmp_path).perform(do("fail"))
        with pytest.raises(BlkrunError, match="blkrun set ended with 7"):
            await fake(tmp_path).preview(do("silence"))
        with pytest.raises(BlkrunError, match="cannot run blkrun set"):
            await CommandEditor(FILE, program=("/nowhere/blkrun",)).preview(do())
        with pytest.raises(BlkrunError, match="said what is no answer"):
            await fake(tmp_path).preview(do("say", "[1]"))

    asyncio.run(act())


def is_running(folder: Path) -> bool:
    """Whether the fake that hangs still does."""
    try:
        os.kill(int((folder / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


async def started(folder: Path) -> None:
    """The fake hangs."""
    await asyncio.to_thread(
        wait_for,
        lambda: (folder / "pid").exists() and (folder / "pid").read_text(),
        "the fake to start",
    )


def test_a_command_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and the next one has its turn."""
    monkeypatch.setattr("blkrun.dashboard.editor.PERFORM_TIMEOUT_S", 1.5)

    async def act() -> None:
        editor = fake(tmp_path)
        with pytest.raises(WaitError, match="has not ended in"):
            await editor.perform(do("hang"))
        assert not is_running(tmp_path)
        assert (await editor.preview(do("say", '{"changed": false}'))).changed is False

    asyncio.run(act())


def test_leaving_ends_the_command(tmp_path: Path) -> None:
    """By its id."""

    async def act() -> None:
        task = asyncio.create_task(fake(tmp_path).perform(do("hang")))
        await started(tmp_path)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_running(tmp_path)

    asyncio.run(act())


def test_never_two_at_a_time(tmp_path: Path) -> None:
    """The fake fails if another one runs."""

    async def act() -> None:
        editor = fake(tmp_path)
        tasks = [editor.perform(do("alone")), editor.preview(do("alone"))]
        assert [type(each).__name__ for each in await asyncio.gather(*tasks)] == [
            "Outcome",
            "Preview",
        ]

    asyncio.run(act())


def test_a_file_that_nobody_serves(tmp_path: Path) -> None:
    """What would be done, then done; once more there is nothing to do."""
    file = tmp_path / "vm.toml"
    file.write_text(TEXT)
    editor = CommandEditor(file)

    async def act() -> None:
        edit = limit_edit("gold", "iops-total", 700)
        preview = await editor.preview(edit)
        assert preview.offered
        assert not preview.dangerous
        assert "+iops-total = 700" in preview.diff.splitlines()
        assert file.read_text() == TEXT
        file.write_text("# somebody else\n" + TEXT)
        with pytest.raises(BlkrunError, match="somebody has changed it meanwhile"):
            await editor.perform(edit, preview)
        file.write_text(TEXT)
        outcome = await editor.perform(edit, preview)
        assert (outcome.kind, outcome.digest) == ("saved", preview.digest)
        assert "iops-total = 700" in file.read_text()
        assert (await editor.perform(edit)).kind == "unchanged"
        assert not (await editor.preview(edit)).changed
        with pytest.raises(BlkrunError, match='did you mean "gold"'):
            await editor.preview(limit_edit("gld", "iops-total", 700))
        with pytest.raises(BlkrunError, match="nothing to go back to"):
            await editor.preview(rollback_edit())
        with pytest.raises(BlkrunError, match="no server"):
            await editor.preview(apply_edit())

    asyncio.run(act())


def test_what_lies_around_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is called as a module of Python in the folder where the dashboard was started."""
    for name in ("json.py", "blkrun.py", "typing.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    (tmp_path / "vm.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert asyncio.run(CommandEditor(FILE).preview(remove_edit("limit"))).offered


def test_drivers(tmp_path: Path) -> None:
    """Those that go in between, with what they need; asked for once."""

    async def act() -> tuple[Driver, ...]:
        editor = CommandEditor(tmp_path / "nowhere.toml")
        found = await editor.drivers()
        assert await editor.drivers() is found
        return found

    found = {driver.name: driver for driver in asyncio.run(act())}
    assert {"copy-before-write", "raw", "throttle", "write-threshold"} <= {*found}
    assert not {"file", "qcow2", "quorum", "snapshot-access"} & {*found}
    assert [*found] == sorted(found)
    assert [key.name for key in found["throttle"].keys] == ["throttle-group"]
    assert [(key.name, key.unit) for key in found["write-threshold"].keys] == [
        ("write-threshold", "bytes")
    ]
    assert found["raw"].keys == ()


class Answers:
    """Gives them one after the other, and keeps what it was asked."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, list[str]]] = []

    async def choose(self, title: str, choices: Sequence[Choice]) -> str | None:
        """The next one."""
        self.asked.append((title, [choice.value for choice in choices]))
        return self.answers.pop(0)

    async def ask(self, title: str, value: str, check: Check) -> str | None:
        """The next one, or what was proposed for ``""``; it has to be right."""
        self.asked.append((title, [value]))
        answer = self.answers.pop(0)
        answer = value if answer == "" else answer
        assert answer is None or check(answer) == ""
        return answer


DRIVERS = (
    Driver("throttle", "limits", (Key("throttle-group", "whose limits"),)),
    Driver("copy-before-write", "keeps", (Key("target", "where to"),)),
    Driver("write-threshold", "tells", (Key("write-threshold", "offset", "bytes"),)),
    Driver("raw", "a window"),
    Driver("odd", "chooses", (Key("mode", "how", None, ("a", "b")),)),
)


def insert(*answers: str | None, groups: tuple[str, ...] = ("gold", "true")) -> tuple[str, Answers]:
    """What one would have to type after these answers."""
    asking = Answers(*answers)
    nodes = ("disk", "raw", "copy")
    edit = asyncio.run(ask_insert(asking, DRIVERS, above="disk", nodes=nodes, groups=groups))
    return ("" if edit is None else edit.typed(FILE).removeprefix("blkrun insert ")), asking


def test_the_questions_of_an_insert() -> None:
    """Driver, name, and each option that has to be given: a choice where there is one."""
    typed, asking = insert("throttle", "", "gold")
    assert typed == "--driver=throttle --above=disk --set=throttle-group=gold vm.toml throttle"
    assert asking.asked[0] == ("Insert above disk", [driver.name for driver in DRIVERS])
    assert asking.asked[1:] == [
        ("Name of the new throttle", ["throttle"]),
        ("throttle-group: whose limits", ["gold", "true"]),
    ]
    assert insert("throttle", "t", "true")[0].split()[2] == "'--set=throttle-group=\"true\"'"
    typed, asking = insert("copy-before-write", "", "copy")
    assert typed.split()[2] == "--set=target=copy"
    assert asking.asked[2] == ("target: where to", ["raw", "copy"])
    assert insert("write-threshold", "", "1GiB")[0].split()[2] == "--set=write-threshold=1GiB"
    assert insert("raw", "")[0] == "--driver=raw --above=disk vm.toml raw2"
    assert insert("odd", "", "b")[0].split()[2] == "--set=mode=b"


@pytest.mark.parametrize("answers", [(None,), ("raw", None), ("throttle", "", None)])
def test_an_insert_that_is_given_up(answers: tuple[str | None, ...]) -> None:
    """At any question; no other one is asked."""
    typed, asking = insert(*answers)
    assert typed == ""
    assert asking.answers == []


def test_an_insert_that_lacks_something() -> None:
    """It is said what to do first."""
    with pytest.raises(BlkrunError, match=r"blkrun set FILE throttle-groups\.NAME"):
        insert("throttle", "", groups=())


def test_names_of_new_nodes() -> None:
    """Free, not too long, and as the file wants them."""
    assert free_name("raw", ()) == "raw"
    assert free_name("raw", ("raw", "raw2")) == "raw3"
    assert free_name("r" * 31, ("r" * 31,)) == "r" * 30 + "2"
    assert choices_module.NAME.pattern == PATTERN
    check = name_check(("disk",))
    assert check("disk") == "there is a disk already"
    assert check("other") == ""
    assert all(check(name) for name in [*NASTY_NAMES[:-1], "", "-x", "a" * 32])


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("iops-total", ("500", "12k", "0", "none"), ("", "-5", "100MiB", "12x", "1.5")),
        ("bps-read-max", ("100MiB", "10GB", "4096", "none"), ("fast", "10iops")),
        ("bps-read-max-length", ("10s", "2min", "none"), ("1.5s",)),
        ("iops-size", ("4KiB",), ("4X",)),
    ],
)
def test_what_may_be_typed_of_a_limit(
    key: str, right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    """As the file takes it; what is wrong is said with an example of what is not."""
    assert [limit_check(key)(text) for text in right] == [""] * len(right)
    assert all(limit_check(key)(text) for text in wrong)


def test_narrowing() -> None:
    """Every word counts, labels that begin with the first come first."""
    found = (Choice("1", "write-threshold", "b"), Choice("2", "threads"), Choice("3", "b", "THRee"))
    assert [each.value for each in narrowed(found, "thr")] == ["2", "1", "3"]
    assert [each.value for each in narrowed(found, "thr b")] == ["1", "3"]
    assert narrowed(found, "") == found
    assert narrowed(found, "z") == ()


def test_rows_of_a_preview() -> None:
    """Nothing is left out without a word."""
    many = Preview(changed=True, operations=tuple(f"+ {number}" for number in range(25)))
    texts = [row.text for row in preview_rows(many)]
    assert texts[-1] == "and 5 more"
    assert [row.text for row in preview_rows(Preview(changed=True))] == [
        "nothing to do for the server"
    ]
    assert [row.text for row in preview_rows(Preview(changed=False))] == [
        "nothing to change: the file says so already"
    ]


def test_the_command_line_knows_every_edit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each as the editor calls it, in this process."""
    file = tmp_path / "vm.toml"
    edits = (
        limit_edit("gold", "iops-total", 5),
        switch_edit("limit", on=False),
        insert_edit("q", "throttle", "disk", "limit", [("throttle-group", "gold")]),
        remove_edit("limit"),
    )
    for edit in edits:
        file.write_text(TEXT)
        assert main(list(edit.arguments(file, dry_run=True))) == 0
        assert main(list(edit.arguments(file, dry_run=False))) == 0
        assert file.read_text() != TEXT
        assert capsys.readouterr().err == ""
