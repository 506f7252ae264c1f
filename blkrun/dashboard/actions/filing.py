"""Changes of the file: what one would do, the question, the command, and what came of it."""

from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from blkrun.dashboard import defects
from blkrun.dashboard.actions.base import EDITING, Acting
from blkrun.dashboard.dialogs.asking import ByScreens
from blkrun.dashboard.dialogs.edit_screen import EditScreen, ErrorScreen
from blkrun.dashboard.editor import Editor
from blkrun.dashboard.model.changes import change_choices
from blkrun.dashboard.model.clients import who_of
from blkrun.dashboard.model.edits import Edit, rollback_edit, undo_edit
from blkrun.dashboard.model.preview import Outcome, Preview, changed_lines
from blkrun.dashboard.model.status import State
from blkrun.errors import BlkrunError, WaitError

_TRYING = "TRYING…"
_MOST_TOLD_LINES = 8

Work = Coroutine[Any, Any, None]


class Filing(Acting):
    """Nothing is changed by a key alone: the diff is shown first, and whom it concerns."""

    _asking: object = None
    """From a key until what it led to has been answered: there is one at a time."""

    def offered(self) -> Mapping[str, bool]:
        """Where there is a file that may be changed."""
        return {**super().offered(), "undo": self.can_edit, "go_back": self.can_edit}

    @property
    def can_edit(self) -> bool:
        """Not a recording, nor where one only looks."""
        return self.desk.editor is not None and not self.desk.read_only

    @property
    def asking(self) -> ByScreens:
        """Questions on this screen; only from a worker."""
        return ByScreens(self)

    def action_undo(self) -> None:
        """The file as it was before the last change, whoever made it."""
        self.attempt(self._undo())

    async def _undo(self) -> None:
        seen = self.board.snapshot
        await self.propose_and_wait(undo_edit(seen.reports if seen is not None else {}))

    def action_go_back(self) -> None:
        """The file as it was at any change that is known still."""
        self.attempt(self._go_back())

    async def _go_back(self) -> None:
        with self._showing(_TRYING):
            changes = change_choices(await self.editor().changes())
        if not changes:
            raise BlkrunError("there is nothing to go back to: no change has been applied yet")
        number = await self.asking.choose("Go back to the file as it was at", changes)
        if number is not None:
            await self.propose_and_wait(rollback_edit(int(number)))

    def propose(self, edit: Edit) -> None:
        """Show what it would do, and do it after a yes."""
        self.attempt(self.propose_and_wait(edit))

    def attempt(self, work: Work) -> None:
        """Questions, and what comes of the answers.

        Another press meanwhile is not heard; one while an answer is being carried out is, and
        waits for its end.
        """
        if self._asking is not None or self.screen.is_modal:
            work.close()
            return
        self._asking = mine = object()
        self.before_asking()

        async def asked() -> None:
            try:
                await work
            finally:
                if self._asking is mine:
                    self._asking = None

        self.run_edit(asked(), own=True)

    def before_asking(self) -> None:
        """A question is about the file as it is.  Parts write what they have not written yet."""

    def run_edit(self, work: Work, *, own: bool = False) -> None:
        """Something that may be refused, while the screen goes on.

        ``own``: it is what the questions on the screen are about.
        """
        guarded = self._guarded(work, own=own)
        self.run_worker(guarded, name="edit", group="edits", exit_on_error=True)

    async def _guarded(self, work: Work, *, own: bool) -> None:
        try:
            await work
        except WaitError as error:
            self._tell_error("Nobody knows what became of it", str(error), own=own)
        except BlkrunError as error:
            self._tell_error("Not changed", str(error), own=own)
        except Exception as error:  # noqa: BLE001 - whatever it is, looking goes on
            self._tell_error("Not changed, as far as is known", defects.told(error), own=own)

    async def propose_and_wait(self, edit: Edit) -> None:
        """The same; only from a worker."""
        with self._showing(_TRYING):
            preview = await self.editor().preview(edit)
        if self.board.state(self.feed.now_s(), self.feed.refresh_s) is State.OFFLINE:
            preview = replace(preview, served=False)
        exports = {*(preview.drains or ()), *preview.taken}
        preview = replace(preview, who=who_of(self.board.snapshot, exports))
        answer = await self.push_screen_wait(EditScreen(preview, edit.text))
        self._asking = None
        if answer == "yes":
            await self.carry_out(edit, preview)

    async def carry_out(self, edit: Edit, seen: Preview | None = None) -> None:
        """Do it and tell what came of it.

        ``seen`` is what somebody has said yes to: it is done only if it is that still, and need
        not wait for another yes.
        """
        try:
            with self._showing(EDITING):
                outcome = await self.editor().perform(edit, seen)
        finally:
            self.edited()
        if outcome.kind == "pending" and seen is not None and outcome.digest == seen.digest:
            await self.feed.ask_runner("apply", {"digest": outcome.digest})
            outcome = replace(outcome, kind="applied", message="by your yes")
        if outcome.kind == "failed":
            self._tell_error(f"Failed: {edit.text}", outcome.message, own=seen is not None)
        else:
            self._tell_outcome(edit, outcome)

    @contextmanager
    def _showing(self, word: str) -> Iterator[None]:
        """In the header: a command takes a while."""
        self.doing.append(word)
        self.show_status()
        try:
            yield
        finally:
            self.doing.remove(word)
            self.show_status()

    def _tell_outcome(self, edit: Edit, outcome: Outcome) -> None:
        pending = outcome.kind == "pending"
        title = f"Saved, and waits: {edit.text}" if pending else edit.text
        said = outcome.message if pending else f"{outcome.kind}: {outcome.message}"
        lines = [*changed_lines(outcome.diff, _MOST_TOLD_LINES), said]
        if outcome.diff:
            lines.append(f"{self.key_text('edit.undo')} undoes it")
        self.tell("\n".join(lines), title=title, severity="warning" if pending else "information")

    def _tell_error(self, title: str, text: str, *, own: bool) -> None:
        """Over the panels; never over or under a question that somebody is about to answer."""
        if self.screen.is_modal or (self._asking is not None and not own):
            self.tell(text, title=title, severity="error")
        else:
            self.push_screen(ErrorScreen(title, text))

    def editor(self) -> Editor:
        """Whoever makes the edits.  Raises BlkrunError where one only looks."""
        if self.desk.editor is None or self.desk.read_only:
            raise BlkrunError("this dashboard only looks: nothing can be changed from it")
        return self.desk.editor
