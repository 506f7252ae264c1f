"""The way out: whether the server ends with the dashboard."""

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.dialogs.stop_screen import Answer, StopScreen
from blkrun.dashboard.model.status import State
from blkrun.messages import at_stake


class Leaving(Acting):
    """Nobody loses a disk by a key."""

    async def action_quit(self) -> None:
        """Leave; ask first when that would take disks from clients, or cancel jobs."""
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
