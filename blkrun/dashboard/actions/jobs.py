"""Jobs of the file, started and cancelled."""

from collections.abc import Callable, Mapping

from blkrun.dashboard.actions.filing import Filing
from blkrun.dashboard.model.choices import Choice
from blkrun.dashboard.model.edits import Edit, cancel_edit, start_edit
from blkrun.dashboard.model.switching import cancellable, startable


class Jobs(Filing):
    """Both are edits of the file: a job that is off there stays off."""

    def offered(self) -> Mapping[str, bool]:
        """While there is one to start, or to cancel."""
        return {
            **super().offered(),
            "start_job": self.can_edit and bool(self._startable()),
            "cancel_job": self.can_edit and bool(self._cancellable()),
        }

    def action_start_job(self) -> None:
        """One that is off, or has ended."""
        self.attempt(self._ask_which("Start a job", self._startable(), start_edit))

    def action_cancel_job(self) -> None:
        """One that has not ended; the one selected, if it is."""
        self.attempt(self._ask_which("Cancel a job", self._cancellable(), cancel_edit))

    async def _ask_which(
        self, title: str, jobs: tuple[Choice, ...], edit: Callable[[str], Edit]
    ) -> None:
        names = [choice.value for choice in jobs]
        chosen: str | None = self._selected_job()
        if chosen not in names:
            chosen = names[0] if len(names) == 1 else await self.asking.choose(title, jobs)
        if chosen is not None:
            await self.propose_and_wait(edit(chosen))

    def _selected_job(self) -> str:
        panel = self.panels.jobs
        return panel.selected if self.screen.focused is panel else ""

    def _startable(self) -> tuple[Choice, ...]:
        return startable(self.board.snapshot) if self.board.snapshot is not None else ()

    def _cancellable(self) -> tuple[Choice, ...]:
        return cancellable(self.board.snapshot) if self.board.snapshot is not None else ()
