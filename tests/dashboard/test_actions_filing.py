"""Changes of the file from the dashboard: what is asked, what is told, and what goes wrong."""

from typing import Any

import pytest
from msgspec import structs

from blkrun.dashboard.dialogs.ask_screen import AskScreen
from blkrun.dashboard.dialogs.choose_screen import ChooseScreen
from blkrun.dashboard.dialogs.edit_screen import EditScreen, ErrorScreen
from blkrun.dashboard.keys import EDIT_KEYS
from blkrun.dashboard.model.preview import Preview
from blkrun.errors import BlkrunError, NoServerError, WaitError
from tests.dashboard.action_stage import Stage, perform
from tests.dashboard.dashboard_samples import job, lab

SIZE = (100, 30)
LOSES = Preview(changed=True, taken={"vda": 2}, drains={"vda": 2, "vdb": 1}, why="clients: vda (2)")


def test_what_was_done_is_told_with_its_lines_and_the_way_back() -> None:
    """Old and new line, what came of it, and which key undoes it."""

    async def play(stage: Stage) -> None:
        stage.editor.lines = ["one", "two"]
        await stage.press("u", "y")
        assert stage.told == ["undo the last change\n- two\napplied: ~1\nu undoes it"]

    perform(play, size=SIZE)


def test_the_way_back_is_told_with_the_key_that_the_settings_give_it() -> None:
    """Also in the notice of what waits."""

    async def play(stage: Stage) -> None:
        stage.app.settings = structs.replace(
            stage.app.settings, keys={"edit.undo": ("f9",), "edit.apply": ("ctrl+y",)}
        )
        assert stage.app.key_text("edit.undo") == "f9"
        pending = {"kind": "pending", "file": "lab.toml", "digest": "d", "summary": "~1"}
        await stage.see(lab(2, reports={"config": pending}))
        assert stage.app.notice.notice is not None
        assert stage.app.notice.notice.text.endswith("· ^y: see and apply it")

    perform(play, size=SIZE)


def test_presses_that_come_together_are_one_edit() -> None:
    """What is wanted shows at once, with its star."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        await stage.press("plus", "plus", "asterisk")
        assert "→ 6.8k*" in stage.lines("groups")[1]
        await stage.pass_time(1)
        await stage.settle()
        assert stage.editor.done == ["limit gold iops-total=6800"]
        assert stage.told[0].splitlines()[0] == "raise iops-total of gold to 6800"
        assert "+ limit gold iops-total=6800" in stage.told[0]

    perform(play, size=SIZE)


def test_what_was_pressed_before_a_question_is_done_before_it() -> None:
    """Else an undo would take back what was done earlier, and a yes be to another text."""

    async def play(stage: Stage) -> None:
        stage.editor.lines = ["before"]
        await stage.select("limit")
        await stage.press("plus", "u")
        await stage.until(lambda: isinstance(stage.screen, EditScreen))
        assert stage.editor.done == ["before", "limit gold iops-total=3200"]
        assert "-limit gold iops-total=3200" in stage.dialog
        await stage.press("y")
        assert stage.editor.done == ["before"]

    perform(play, size=SIZE)


def test_undo_goes_back_to_what_is_in_force() -> None:
    """When the last save is not it."""

    async def play(stage: Stage) -> None:
        reports = {
            "config": {"kind": "failed", "digest": "d2", "message": "no", "file": "lab.toml"},
            "in-force": {"kind": "applied", "digest": "d1", "number": 7},
        }
        await stage.see(lab(2, reports=reports))
        await stage.press("u")
        assert "back to what is in force, change 7" in stage.dialog
        assert stage.editor.asked[-1].words == ("7",)

    perform(play, size=SIZE)


def test_a_wrong_limit_is_told_while_it_is_typed() -> None:
    """And is not taken."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        await stage.press("equals_sign", "end", "x")
        assert "3000x" in stage.dialog
        await stage.press("enter")
        assert isinstance(stage.screen, AskScreen)
        await stage.press("escape")
        assert stage.editor.asked == []

    perform(play, size=SIZE)


@pytest.mark.parametrize("answers", range(4))
def test_an_insert_is_given_up_at_any_question(answers: int) -> None:
    """Driver, name, group, edit: escape at each is the end, and another one can begin."""

    async def play(stage: Stage) -> None:
        await stage.select("disk")
        await stage.press("i", *"throttle")
        await stage.press(*["enter"] * answers)
        kind = (ChooseScreen, AskScreen, ChooseScreen, EditScreen)[answers]
        assert isinstance(stage.screen, kind)
        await stage.press("escape")
        assert not stage.screen.is_modal
        assert stage.editor.done == []
        await stage.press("i")
        assert isinstance(stage.screen, ChooseScreen)

    perform(play, size=SIZE)


def test_dangerous_edits_name_the_clients_and_take_no_yes_by_the_way() -> None:
    """Who loses a disk, who waits; enter does not do it, y does."""

    async def play(stage: Stage) -> None:
        stage.editor.like = LOSES
        await stage.select("vda")
        await stage.press("x")
        for text in ("DANGEROUS", "vda: 2 clients lose it", "vdb: requests of 1 client wait"):
            assert text in stage.dialog
        assert "fio pid 7 uid 0" in stage.dialog
        await stage.press("enter")
        assert isinstance(stage.screen, EditScreen)
        await stage.press("y")
        assert stage.editor.done == ["remove exports.vda"]

    seen = lab(1, clients=2)
    seen["exports"][0]["clients"][0]["peer"] = {"pid": 7, "uid": 0, "process": "fio"}
    perform(play, seen, size=SIZE)


def test_a_yes_to_what_waits_applies_it() -> None:
    """The server is told at once: nobody is asked twice."""

    async def play(stage: Stage) -> None:
        stage.editor.kind = "pending"
        await stage.select("vda")
        await stage.press("x", "y")
        assert [kind for kind, _ in stage.feed.asked] == ["apply"]
        assert "applied: by your yes" in stage.told[0]

    perform(play, size=SIZE)


def test_of_many_presses_comes_one_question() -> None:
    """Also while the command that it takes has not ended; other keys then do nothing either."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        stage.editor.going.clear()
        await stage.press("x", "x", "d", "delete", "equals_sign", "u", "R")
        assert "TRYING" in stage.app.header.text
        stage.editor.going.set()
        await stage.settle()
        assert len(stage.app.screen_stack) == 2
        await stage.press("escape")
        assert not stage.screen.is_modal
        assert len(stage.editor.asked) == 1
        assert "TRYING" not in stage.app.header.text

    perform(play, size=SIZE)


def test_keys_of_the_panels_are_letters_while_something_is_typed() -> None:
    """None of them does what it does behind the question, nor does the palette come."""

    async def play(stage: Stage) -> None:
        await stage.select("disk")
        await stage.press("i", *"throttle", "enter", "end")
        await stage.press(*"xdumSq5y", "ctrl+p")
        assert isinstance(stage.screen, AskScreen)
        assert stage.screen.typed == "throttlexdumSq5y"
        assert len(stage.app.screen_stack) == 2
        assert stage.app.clipboard == ""
        assert stage.focused != "events"

    perform(play, size=SIZE)


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (BlkrunError("lab.toml:3: no such key"), "Not changed"),
        (NoServerError("no server"), "Not changed"),
        (WaitError("has not ended in 120 s"), "Nobody knows what became of it"),
        (TypeError("of a kind that nobody thought of"), "Not changed, as far as is known"),
    ],
)
@pytest.mark.parametrize("when", ["preview", "perform"])
def test_what_goes_wrong_is_told_and_the_dashboard_goes_on(
    error: Exception, title: str, when: str
) -> None:
    """At each of the two steps; then the next edit can be made."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        if when == "preview":
            stage.editor.refusal = error
            await stage.press("x")
        else:
            await stage.press("x")
            stage.editor.refusal = error
            await stage.press("y")
        assert isinstance(stage.screen, ErrorScreen)
        assert stage.screen.heading == title
        assert str(error) in stage.dialog.replace("\n", " ")
        await stage.press("escape", "x", "y")
        assert stage.editor.done == ["remove limit"]

    perform(play, size=SIZE)


def test_a_nudge_that_fails_is_told_beside_a_question() -> None:
    """Nobody's answer goes to a dialog that has just come."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        stage.editor.refusal = BlkrunError("no such group")
        await stage.press("plus", "equals_sign")
        await stage.until(lambda: stage.told)
        assert isinstance(stage.screen, AskScreen)
        assert stage.told == ["Not changed\nno such group"]
        assert stage.app.panels.groups.wanted == {}

    perform(play, size=SIZE)


def test_a_text_that_is_another_by_now_is_not_written() -> None:
    """The yes was to what was seen."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        await stage.press("x")
        stage.editor.lines = ["somebody was faster"]
        await stage.press("y")
        assert "is another text by now" in stage.dialog
        assert stage.editor.done == ["somebody was faster"]

    perform(play, size=SIZE)


@pytest.mark.parametrize("presses", [1, 2])
def test_leaving_waits_for_an_edit(presses: int) -> None:
    """Once; who asks again leaves at once."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        await stage.press("x")
        stage.editor.going.clear()
        await stage.press("y")
        assert "EDITING" in stage.app.header.text
        await stage.press("q")
        assert "leaves when the file has been edited" in stage.told[-1]
        assert not stage.app.return_value
        if presses == 2:
            await stage.press("q")
        else:
            stage.editor.going.set()
        await stage.until(lambda: stage.app.return_value == "detach")
        assert stage.editor.done == ["remove limit"] * (presses == 1)

    perform(play, size=SIZE)


def test_without_a_server_the_file_is_edited_and_that_is_said() -> None:
    """Before and after."""

    async def play(stage: Stage) -> None:
        stage.editor.kind, stage.editor.message = "saved", "nothing is served from it now"
        await stage.select("limit")
        stage.feed.lose()
        await stage.settle()
        await stage.press("x")
        assert "nothing is served just now: the file is saved, and that is all" in stage.dialog
        assert "~ something" not in stage.dialog
        await stage.press("y")
        assert "saved: nothing is served from it now" in stage.told[0]
        assert stage.editor.done == ["remove limit"]

    perform(play, size=SIZE)


def test_a_job_made_by_qmp_is_cancelled_by_qmp() -> None:
    """Asked first, with what is thrown away; the file is not touched."""

    async def play(stage: Stage) -> None:
        await stage.press("c")
        assert "made by QMP" in stage.dialog
        assert "job copy is cancelled" in stage.dialog
        await stage.press("enter")
        assert stage.feed.asked == []
        await stage.press("y")
        assert stage.feed.asked == [("job-cancel", {"id": "copy"})]
        assert stage.editor.asked == []

    perform(play, lab(1, jobs=[job("copy", of_file=False)]), size=SIZE)


def test_of_several_jobs_one_is_chosen_or_the_selected_one_is_taken() -> None:
    """By a list; in the jobs panel the row says which."""

    async def play(stage: Stage) -> None:
        await stage.press("c")
        assert [line.split()[0] for line in stage.dialog.splitlines()[1:]] == ["a", "b"]
        await stage.press("down", "enter")
        assert "cancel job b" in stage.dialog
        await stage.press("escape", "6", "home", "c")
        assert "cancel job a" in stage.dialog

    perform(play, lab(1, jobs=[job("a"), job("b")]), size=SIZE)


def test_going_back_where_nothing_was_applied() -> None:
    """Is told."""

    async def play(stage: Stage) -> None:
        await stage.press("R")
        assert "no change has been applied yet" in stage.dialog

    perform(play, size=SIZE)


@pytest.mark.parametrize("desk", [{"read_only": True}, {"editor": None}])
def test_who_only_looks_has_none_of_the_keys(desk: dict[str, Any]) -> None:
    """Neither as keys, nor in footer and palette; a gauge only selects."""

    async def play(stage: Stage) -> None:
        for name in ("limit", "vda"):
            await stage.select(name)
            for key in EDIT_KEYS:
                if key.id in ("edit.file", "edit.apply") and desk != {"read_only": True}:
                    continue
                await stage.press(*key.key.split(","))
                assert not stage.screen.is_modal, key.id
                assert key.description not in stage.commands()
                assert not await stage.click_footer(key)
        await stage.click(stage.app.panels.groups, 12, 2)
        assert not stage.screen.is_modal
        assert stage.editor.asked == []
        assert stage.told == []

    perform(play, lab(1, jobs=[job("nightly")]), file=None, **desk)


def test_an_editor_that_hangs_holds_up_nothing() -> None:
    """What is looked at goes on."""

    async def play(stage: Stage) -> None:
        await stage.select("limit")
        stage.editor.going.clear()
        await stage.press("x")
        await stage.see(lab(9, held=3))
        assert "HELD 3" in stage.lines("graph")[1]

    perform(play, size=SIZE)


def test_what_the_server_refused_is_shown_as_a_whole() -> None:
    """Of an edit that was asked about and of a nudge."""

    async def play(stage: Stage) -> None:
        stage.editor.kind, stage.editor.message = "failed", "lab.toml:3: too small\n  3 | x"
        await stage.select("limit")
        await stage.press("x", "y")
        assert stage.dialog == "Failed: remove limit\nlab.toml:3: too small\n  3 | x"
        await stage.press("escape", "plus")
        await stage.pass_time(1)
        await stage.until(lambda: stage.screen.is_modal)
        assert stage.dialog.startswith("Failed: raise iops-total of gold to 3200")

    perform(play, size=SIZE)
