"""Jobs of the file, started and cancelled."""

from collections.abc import Mapping

from blkrun.dashboard.actions.filing import Filing
from blkrun.dashboard.dialogs.edit_screen import EditScreen
from blkrun.dashboard.model.choices import Choice
from blkrun.dashboard.model.edits import cancel_edit, start_edit
from blkrun.dashboard.model.preview import Preview
from blkrun.dashboard.model.switching import cancellable, cancellable_by_qmp, startable


class Jobs(Filing):
    """Both are edits of the file: a job that is off there stays off."""

    def offered(self) -> Mapping[str, bool]:
        """While there is one to start, or to cancel."""
        return {
            **super().offered(),
            "start_job": self.can_edit and bool(self._startable()),
            "cancel_job": self.can_edit and bool(self._cancellable() or self._cancellable_by_qmp()),
        }

    def action_start_job(self) -> None:
        """One that is off, or has ended."""
        self.attempt(self._start())

    async def _start(self) -> None:
        chosen = await self._which("Start a job", self._startable())
        if chosen is not None:
            await self.propose_and_wait(start_edit(chosen))

    def action_cancel_job(self) -> None:
        """One that has not ended; the one selected, if it is."""
        self.attempt(self._cancel())

    async def _cancel(self) -> None:
        of_file, by_qmp = self._cancellable(), self._cancellable_by_qmp()
        chosen = await self._which("Cancel a job", (*of_file, *by_qmp))
        if chosen is None:
            return
        if chosen in [each.value for each in of_file]:
            await self.propose_and_wait(cancel_edit(chosen))
        else:
            await self._cancel_by_qmp(chosen)

    async def _cancel_by_qmp(self, job: str) -> None:
        """The file does not know it; the server is told."""
        what = Preview(changed=True, operations=(f"- job {job}",), cancelled=(job,))
        question = EditScreen(what, f"Cancel {job}, which somebody has made by QMP")
        if await self.push_screen_wait(question) == "yes":
            await self.feed.ask_server("job-cancel", {"id": job})
            self.tell(f"the server has been told to cancel {job}")

    async def _which(self, title: str, jobs: tuple[Choice, ...]) -> str | None:
        """The one selected, the only one, or the one that is chosen."""
        names = [choice.value for choice in jobs]
        if (selected := self._selected_job()) in names:
            return selected
        return names[0] if len(names) == 1 else await self.asking.choose(title, jobs)

    def _selected_job(self) -> str:
        panel = self.panels.jobs
        return panel.selected if self.screen.focused is panel else ""

    def _startable(self) -> tuple[Choice, ...]:
        return startable(self.board.snapshot) if self.board.snapshot is not None else ()

    def _cancellable(self) -> tuple[Choice, ...]:
        return cancellable(self.board.snapshot) if self.board.snapshot is not None else ()

    def _cancellable_by_qmp(self) -> tuple[Choice, ...]:
        return cancellable_by_qmp(self.board.snapshot) if self.board.snapshot is not None else ()
