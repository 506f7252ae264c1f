"""The way out: whether the server ends with the dashboard."""

from blkrun.dashboard.actions.base import EDITING, Acting
from blkrun.dashboard.dialogs.stop_screen import Answer, StopScreen
from blkrun.dashboard.model.status import State
from blkrun.messages import at_stake


class Leaving(Acting):
    """Nobody loses a disk by a key."""

    _waits_for_edit = False

    async def action_quit(self) -> None:
        """Leave; ask first when that would take disks from clients, or cancel jobs.

        Not in the middle of an edit, unless it is asked for again.
        """
        if EDITING in self.doing and not self._waits_for_edit:
            self._waits_for_edit = True
            again = self.key_text("session.quit")
            self.tell(f"leaves when the file has been edited; {again} again: at once")
            return
        self._leave()

    def edited(self) -> None:
        """Somebody may have waited for it."""
        super().edited()
        if self._waits_for_edit and EDITING not in self.doing:
            self._leave()

    def _leave(self) -> None:
        self._waits_for_edit = False
        seen = self.board.snapshot
        stake = at_stake(seen.clients, seen.unfinished) if seen is not None else ""
        state = self.board.state(self.feed.now_s(), self.feed.refresh_s)
        if not self.desk.owner:
            self.exit("detach")
        elif not stake or state is State.OFFLINE:
            self.exit("stop")
        elif not isinstance(self.screen, StopScreen):
            self.push_screen(StopScreen(stake), self._answered)

    def _answered(self, answer: Answer | None) -> None:
        if answer in ("stop", "detach"):
            self.exit(answer)
