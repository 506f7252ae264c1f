"""The rules of blkdebug: which requests fail, after what has happened above (qemu-semantics §7).

An event has all its rules of the present state come into force: of those that inject errors they
replace the ones in force before, if there are any; then the state may be another.  Of the rules in
force the first one that a request meets decides.  Where QEMU leaves open which of two rules counts,
the one that is listed first does, as there.  Pure.
"""

import threading
from collections.abc import Iterable, Sequence

from blkrun.options import InjectError, SetState

FIRST_STATE = 1

SECTOR_BYTES = 512

_USUAL = frozenset({"read", "write", "write-zeroes", "discard", "flush"})
"""The requests that fail where a rule does not say which."""


class Rules:
    """``state`` is the state; ``injected`` counts the requests that have failed."""

    def __init__(self, inject: Iterable[InjectError], set_state: Iterable[SetState]) -> None:
        self.state = FIRST_STATE
        self.injected = 0
        self._inject: dict[str, list[InjectError]] = {}
        self._set_state: dict[str, list[SetState]] = {}
        for rule in inject:
            self._inject.setdefault(rule.event, []).append(rule)
        for change in set_state:
            self._set_state.setdefault(change.event, []).append(change)
        self._active: Sequence[InjectError] = ()
        self._lock = threading.Lock()  # held while anything of this is changed
        self.event("none")

    @property
    def active(self) -> int:
        """How many rules are in force."""
        return len(self._active)

    def event(self, name: str) -> None:
        """Something is about to be done above."""
        if name not in self._inject and name not in self._set_state:
            return
        with self._lock:
            inject = [rule for rule in self._inject.get(name, ()) if self._holds(rule)]
            changes = [each for each in self._set_state.get(name, ()) if self._holds(each)]
            if inject:
                self._active = inject
            if changes:
                self.state = changes[0].new_state

    def failure(self, iotype: str, offset: int, count: int) -> InjectError | None:
        """The rule by which a request fails; one that is for once is used up."""
        for rule in self._active:
            if _meets(rule, iotype, offset, count):
                return self._use(iotype, offset, count)
        return None

    def _use(self, iotype: str, offset: int, count: int) -> InjectError | None:
        """The same, alone: another request may have used the rule up."""
        with self._lock:
            rule = next((r for r in self._active if _meets(r, iotype, offset, count)), None)
            if rule is None or not rule.errno:
                return None
            if rule.once:
                self._active = _without(self._active, rule)
                self._inject[rule.event] = _without(self._inject[rule.event], rule)
            self.injected += 1
            return rule

    def _holds(self, rule: InjectError | SetState) -> bool:
        return rule.state in (0, self.state)


def _without(rules: Sequence[InjectError], used: InjectError) -> list[InjectError]:
    """One rule less: there may be another that says the same."""
    index = next(at for at, rule in enumerate(rules) if rule is used)
    return [*rules[:index], *rules[index + 1 :]]


def _meets(rule: InjectError, iotype: str, offset: int, count: int) -> bool:
    if iotype != rule.iotype if rule.iotype is not None else iotype not in _USUAL:
        return False
    return rule.sector is None or offset <= rule.sector * SECTOR_BYTES < offset + count
