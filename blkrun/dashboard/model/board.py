"""All that is known now: reports of a feed, folded.  No clock and no I/O; times are arguments."""

from dataclasses import dataclass

from blkrun.dashboard.feed import Happened, Lost, Report, Rewound, Seen
from blkrun.dashboard.model.history import History
from blkrun.dashboard.model.rates import NOTHING, Interval, interval
from blkrun.dashboard.model.record import Log
from blkrun.dashboard.model.snapshot import Snapshot, is_same_but_later
from blkrun.dashboard.model.status import Contact, State
from blkrun.dashboard.model.waiting import Waiting, waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A look at ``at_s``, the one ``before`` if nothing is between, and what happened since.

    Until ``at_s`` goes ``history``, which is the board's, so it goes on.
    """

    snapshot: Snapshot
    before: Snapshot | None
    rates: Interval
    history: History
    at_s: float
    news: int
    news_s: float


class Board:
    """``snapshot`` is the last one seen, ``rates`` what happened since the one before.

    ``news`` is another number whenever anything but the time is another; ``news_s``: since when.
    """

    def __init__(self) -> None:
        self.log = Log()
        self.history = History()
        self.snapshot: Snapshot | None = None
        self.before: Snapshot | None = None
        self.rates: Interval = NOTHING
        self.news = 0
        self.news_s = 0.0
        self.waiting: Waiting | None = None
        self.why_lost = ""
        self._contact = Contact()
        self._gap = False
        self._was_still = self._is_still = False

    def fold(self, report: Report, now_s: float) -> None:
        """One more report, heard at ``now_s`` of the feed's clock."""
        match report:
            case Seen(snapshot, at_s):
                self._see(snapshot, at_s)
            case Happened(events):
                self.log.add(events)
            case Lost(why):
                self.why_lost, self._gap = why, True
                self._contact = Contact(last_s=self._contact.last_s, lost_s=now_s)
            case Rewound(past):
                self._forget()
                for at_s, told in past:
                    self.fold(told, at_s)

    def _see(self, snapshot: Snapshot, at_s: float) -> None:
        """What nobody has looked at is a gap, also when the same server is there again."""
        last, before_s = self.snapshot, self._contact.last_s
        before = None if self._gap else last
        rates = interval(before, snapshot)
        is_still = rates == self.rates and last is not None and is_same_but_later(last, snapshot)
        self.snapshot, self.before, self.rates, self._gap = snapshot, before, rates, False
        self._see_whether_still(at_s, is_still=is_still)
        if before_s is not None and rates is not NOTHING:
            self.history.add(snapshot, rates, before_s, at_s, is_still=self._is_still)
        self.waiting = waiting(snapshot.reports.get("config"))
        self._contact = Contact(last_s=at_s)

    def _see_whether_still(self, at_s: float, *, is_still: bool) -> None:
        """Twice the same: what is shown of two looks is the same as well."""
        self._was_still, self._is_still = is_still, is_still and self._was_still
        if not self._is_still:
            self.news, self.news_s = self.news + 1, at_s

    def _forget(self) -> None:
        self.log.clear()
        self.history.clear()
        self.snapshot, self.before, self.rates, self.waiting = None, None, NOTHING, None
        self._contact = Contact()

    @property
    def seen_s(self) -> float | None:
        """When the snapshot was taken, by the feed's clock."""
        return self._contact.last_s

    @property
    def moment(self) -> Moment | None:
        """The last look; None before the first."""
        if self.snapshot is None or self._contact.last_s is None:
            return None
        return Moment(
            snapshot=self.snapshot,
            before=self.before,
            rates=self.rates,
            history=self.history,
            at_s=self._contact.last_s,
            news=self.news,
            news_s=self.news_s,
        )

    def state(self, now_s: float, refresh_s: float) -> State:
        """Whether the server is there."""
        return self._contact.state(now_s, refresh_s)

    def age_s(self, now_s: float) -> float:
        """How old what is known is, or how long the server has been away."""
        return self._contact.age_s(now_s)
