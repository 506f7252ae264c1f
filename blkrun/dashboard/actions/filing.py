"""Changes of the file: what one would do, the question, the command, and what came of it."""

from collections.abc import Awaitable, Mapping

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.dialogs.asking import ByScreens
from blkrun.dashboard.dialogs.edit_screen import EditScreen, ErrorScreen
from blkrun.dashboard.editor import Editor
from blkrun.dashboard.model.edits import Edit, rollback_edit
from blkrun.dashboard.model.preview import Outcome, Preview
from blkrun.errors import BlkrunError

_NOT_CHANGED = "Not changed"


class Filing(Acting):
    """Nothing is changed by a key alone: the diff is shown first, and whom it concerns."""

    def offered(self) -> Mapping[str, bool]:
        """Where there is a file that may be changed."""
        return {**super().offered(), "undo": self.can_edit}

    @property
    def can_edit(self) -> bool:
        """Not a recording, nor where one only looks."""
        return self.desk.editor is not None

    @property
    def asking(self) -> ByScreens:
        """Questions on this screen; only from a worker."""
        return ByScreens(self)

    def action_undo(self) -> None:
        """The file as it was before the last change, whoever made it."""
        self.propose(rollback_edit())

    def propose(self, edit: Edit) -> None:
        """Show what it would do, and do it after a yes."""
        self.attempt(self.propose_and_wait(edit))

    def attempt(self, work: Awaitable[None]) -> None:
        """Something that may be refused, one after the other, while the screen goes on."""

        async def guarded() -> None:
            try:
                await work
            except BlkrunError as error:
                self.push_screen(ErrorScreen(_NOT_CHANGED, str(error)))

        self.run_worker(guarded(), name="edit", group="edits", exit_on_error=True)

    async def propose_and_wait(self, edit: Edit) -> None:
        """The same; only from a worker."""
        editor = self.editor()
        preview = await editor.preview(edit)
        answer = await self.push_screen_wait(EditScreen(preview, edit.text))
        if answer == "yes":
            await self.carry_out(edit, preview)

    async def carry_out(self, edit: Edit, seen: Preview | None = None) -> None:
        """Do it and tell what came of it.

        ``seen`` is what somebody has said yes to: it is done only if it is that still, and need
        not wait for another yes.
        """
        outcome = await self.editor().perform(edit, seen)
        if outcome.kind == "pending" and seen is not None and outcome.digest == seen.digest:
            await self.feed.ask_runner("apply", {"digest": outcome.digest})
            self.tell("applied by your yes", title=edit.text)
        else:
            self._tell_outcome(edit, outcome)

    def _tell_outcome(self, edit: Edit, outcome: Outcome) -> None:
        if outcome.kind == "failed":
            self.push_screen(ErrorScreen(f"Failed: {edit.text}", outcome.message))
        elif outcome.kind == "pending":
            self.tell(outcome.message, title=f"Saved, and waits: {edit.text}", severity="warning")
        else:
            self.tell(f"{outcome.kind}: {outcome.message}", title=edit.text)

    def editor(self) -> Editor:
        """Whoever makes the edits.  Raises BlkrunError where one only looks."""
        if self.desk.editor is None:
            raise BlkrunError("this dashboard only looks: nothing can be changed from it")
        return self.desk.editor
