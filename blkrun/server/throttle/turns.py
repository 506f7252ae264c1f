"""How many turns each member of a group has had, so that one that missed some gets them later.

Round robin is fair to those who have a request waiting whenever their turn comes.  With reads and
writes queued apart, a member that keeps two requests under way often has none in the queue whose
turn it is, and falls behind those that keep sixty-four.  Counting turns makes up for it, within
bounds: who stays away is owed nothing.  While everybody waits, all counts are equal, and it is
round robin.
"""

from dataclasses import dataclass

OWED_MOST = 4
"""Turns that a member may get in a row for those it missed."""
_ROUNDS = 2
"""Who had no turn for so many rounds has not been here: that is idleness, not bad luck."""


@dataclass(slots=True)
class Account:
    """A member's: its turns, and how many had been dealt to all when it had its last."""

    turns: int = 0
    at: int | None = None


class Turns:
    """One queue of turns.  ``dealt``: to all members; ``present``: the count of who had the last.

    A member with fewer turns than ``present`` is behind, one with more is ahead.
    """

    __slots__ = ("dealt", "present")

    def __init__(self) -> None:
        self.dealt = 0
        self.present = 0

    def come(self, account: Account, members: int) -> None:
        """A request begins to wait, in a group of so many members."""
        here = account.at is not None and self.dealt - account.at <= _ROUNDS * members
        least = self.present - OWED_MOST if here else self.present
        account.turns = max(account.turns, least)

    def take(self, account: Account) -> None:
        """Its turn."""
        self.present = account.turns = account.turns + 1
        self.dealt += 1
        account.at = self.dealt
