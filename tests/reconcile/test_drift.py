"""What a look at a graph that somebody has changed comes to: pure."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun.reconcile.drift import FLAP_NS, FLAPS, DriftWatch, Step
from blkrun.reconcile.operation import Operation

A = (Operation("blockdev-del", {}, "-", "node a", "nodes.a"),)
B = (*A, Operation("object-del", {}, "-", "throttle group b", "throttle-groups.b"))
NONE: tuple[Operation, ...] = ()

Looks = list[tuple[Operation, ...]]


def steps(looks: Looks, policy: str = "warn", why: str | None = None) -> list[str]:
    """What each comes to; a revert is done."""
    watch = DriftWatch()
    found = []
    for operations in looks:
        step = watch.observe(operations, policy, why)
        if step is Step.REVERT:
            watch.reverted(0)
        found.append(step.value)
    return found


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([NONE, NONE], ["nothing", "nothing"]),
        ([A, A, A, A], ["look again", "tell", "nothing", "nothing"]),
        ([A, NONE], ["look again", "nothing"]),
        ([A, A, NONE, NONE], ["look again", "tell", "ended", "nothing"]),
        ([A, A, B, B, B], ["look again", "tell", "look again", "tell", "nothing"]),
        ([A, B, A, A], ["look again", "look again", "look again", "tell"]),
        ([A, A, NONE, A, A], ["look again", "tell", "ended", "look again", "tell"]),
    ],
)
def test_warn(looks: Looks, expected: list[str]) -> None:
    """Told once, when two looks agree; told again when it is another; told when it has ended."""
    assert steps(looks) == expected


def test_revert() -> None:
    """Each is brought back, also when the same comes again."""
    assert steps([A, A, NONE, A, A], "revert") == [
        "look again",
        "revert",
        "nothing",
        "look again",
        "revert",
    ]


def test_a_revert_that_has_to_wait() -> None:
    """It is told instead, once."""
    assert steps([A, A, A], "revert", "somebody uses it") == ["look again", "tell", "nothing"]


def test_a_revert_that_is_refused() -> None:
    """It is not tried again, until the drift is another one."""
    watch = DriftWatch()
    seen = [watch.observe(each, "revert", None) for each in (A, A, A, A, B, B)]
    assert seen.count(Step.REVERT) == 2
    assert seen[1] is seen[5] is Step.REVERT


def test_ignore() -> None:
    """Nothing is said."""
    assert set(steps([A, A, B, B, NONE], "ignore")) == {"nothing"}


def test_drift_that_a_runner_before_has_told_of() -> None:
    """Its end is told; if it is still there it is told with what it is."""
    watch = DriftWatch()
    watch.recall()
    assert watch.is_told
    assert watch.observe(NONE, "warn", None) is Step.ENDED
    watch.recall()
    assert [watch.observe(A, "warn", None) for _ in range(3)][1:] == [Step.TELL, Step.NOTHING]


def test_somebody_does_it_again_and_again() -> None:
    """Two programs that take turns: ours gives in, for a while."""
    watch = DriftWatch()
    for number in range(FLAPS):
        assert watch.why_not_again(number) is None
        watch.reverted(number)
    assert "5 times within 10 s" in str(watch.why_not_again(FLAPS))
    assert watch.why_not_again(FLAP_NS) is None


@given(
    st.lists(st.sampled_from([NONE, A, B]), max_size=40),
    st.sampled_from(["warn", "revert"]),
    st.sampled_from([None, "somebody uses it"]),
)
def test_watchers_know(looks: Looks, policy: str, why: str | None) -> None:
    """After two looks that agree they believe what is, and nobody tells them so twice."""
    watch, known, before = DriftWatch(), NONE, NONE
    for operations in looks:
        step = watch.observe(operations, policy, why)
        if step is Step.TELL:
            assert operations != known
            known = operations
        elif step is Step.ENDED:
            assert known != NONE
            known = NONE
        elif step is Step.REVERT:
            watch.reverted(0)
            known = NONE
        elif operations == before:
            assert known == operations
        before = NONE if step is Step.REVERT else operations
        assert watch.is_told == (known != NONE)
