"""All that is known now: reports of a feed, folded.  No clock and no I/O; times are arguments."""

from blkrun.dashboard.feed import Happened, Lost, Report, Seen
from blkrun.dashboard.model.rates import NOTHING, Interval, interval
from blkrun.dashboard.model.record import Log
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.status import Contact, State
from blkrun.dashboard.model.waiting import Waiting, waiting


class Board:
    """``snapshot`` is the last one seen, ``rates`` what happened since the one before."""

    def __init__(self) -> None:
        self.log = Log()
        self.snapshot: Snapshot | None = None
        self.rates: Interval = NOTHING
        self.waiting: Waiting | None = None
        self.why_lost = ""
        self._contact = Contact()

    def fold(self, report: Report, now_s: float) -> None:
        """One more report, heard at ``now_s`` of the feed's clock."""
        match report:
            case Seen(snapshot, at_s):
                self.rates = interval(self.snapshot, snapshot)
                self.snapshot = snapshot
                self.waiting = waiting(snapshot.reports.get("config"))
                self._contact = Contact(last_s=at_s)
            case Happened(events):
                self.log.add(events)
            case Lost(why):
                self.why_lost = why
                self._contact = Contact(last_s=self._contact.last_s, lost_s=now_s)

    @property
    def seen_s(self) -> float | None:
        """When the snapshot was taken, by the feed's clock."""
        return self._contact.last_s

    def state(self, now_s: float, refresh_s: float) -> State:
        """Whether the server is there."""
        return self._contact.state(now_s, refresh_s)

    def age_s(self, now_s: float) -> float:
        """How old what is known is, or how long the server has been away."""
        return self._contact.age_s(now_s)
