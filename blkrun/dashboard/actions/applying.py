"""An edit of the file that waits for a yes."""

from collections.abc import Mapping
from functools import partial

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.dialogs.apply_screen import ApplyScreen
from blkrun.dashboard.model.clients import who_of
from blkrun.dashboard.model.waiting import Waiting
from blkrun.errors import BlkrunError

_YES_PATIENCE_S = 5.0
"""After a yes, until it is said what to do if there is no runner."""


class Applying(Acting):
    """The yes is for the text that was asked about."""

    _asked_about: Waiting | None = None
    _said_yes: tuple[Waiting, float] | None = None

    def offered(self) -> Mapping[str, bool]:
        """While something waits."""
        return {
            **super().offered(),
            "apply": self.board.waiting is not None and not self.desk.read_only,
        }

    def note_waiting(self) -> None:
        """An edit waits for a yes, or does not any more: then nobody is asked about it."""
        before, self._asked_about = self._asked_about, self.board.waiting
        if self.board.waiting == before:
            return
        self._said_yes = None
        self.refresh_bindings()
        if isinstance(self.screen, ApplyScreen):
            self.screen.dismiss("no")

    def tick(self, now_s: float) -> None:
        """Nobody may have heard the yes."""
        super().tick(now_s)
        if self._said_yes is None or now_s < self._said_yes[1] + _YES_PATIENCE_S:
            return
        (said, _), self._said_yes = self._said_yes, None
        self._advise(said, "it still waits; if no blkrun run keeps the file")

    def _advise(self, said: Waiting, why: str) -> None:
        self.tell(f"{why}: {said.by_hand}", title="Not applied", severity="warning")

    def action_apply(self) -> None:
        """Ask, and if the answer is yes have the runner apply what waits."""
        question = self.board.waiting
        if question is not None and not isinstance(self.screen, ApplyScreen):
            who = who_of(self.board.snapshot, question.exports)
            self.push_screen(ApplyScreen(question, who), partial(self._answered_yes, question))

    def _answered_yes(self, question: Waiting, answer: str | None) -> None:
        if answer == "yes":
            self.run_worker(self._say_yes(question), name="yes", exit_on_error=True)

    async def _say_yes(self, question: Waiting) -> None:
        """To the text that was asked about: the runner does nothing if it is another by now."""
        try:
            await self.feed.ask_runner("apply", {"digest": question.digest})
        except BlkrunError as error:
            self._advise(question, f"{error}; say yes with")
        else:
            self._said_yes = (question, self.feed.now_s())
