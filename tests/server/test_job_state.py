"""Jobs' tables and arithmetic: which verb in which state, the speed limit, the error policies.

References are to qemu-semantics.
"""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.errors import CommandError
from blkrun.server.jobs.pace import NS_PER_S, Pace
from blkrun.server.jobs.policy import Conduct, action_on, check_speed, io_status_after
from blkrun.server.jobs.state import ACCEPTED, FOLLOWING, PARKED, Status, Verb, refusal

MIB = 2**20
NOT_PAUSED = "Can't resume a job that was not paused"
ALREADY = "Job is already paused"

# §8.1, as measured: pause resume set-speed complete finalize dismiss cancel
VERBS = (
    Verb.PAUSE,
    Verb.RESUME,
    Verb.SET_SPEED,
    Verb.COMPLETE,
    Verb.FINALIZE,
    Verb.DISMISS,
    Verb.CANCEL,
)
MEASURED = [
    (Status.RUNNING, False, "✓ a ✓ - - - ✓"),
    (Status.PAUSED, True, "b ✓ ✓ - - - ✓"),
    (Status.READY, False, "✓ a ✓ ✓ - - ✓"),
    (Status.STANDBY, True, "b ✓ ✓ ✓ - - ✓"),
    (Status.WAITING, False, "- a - - - - ✓"),
    (Status.PENDING, False, "- a - - ✓ - ✓"),
    (Status.CONCLUDED, False, "- a - - - ✓ -"),
]


def expected(mark: str, verb: Verb, status: Status) -> str | None:
    """The refusal that the table's mark stands for."""
    no = f"Job 'j' in state '{status}' cannot accept command verb '{verb}'"
    return {"✓": None, "a": NOT_PAUSED, "b": ALREADY, "-": no}[mark]


@pytest.mark.parametrize(
    ("status", "user_paused", "verb", "mark"),
    [
        (status, paused, verb, mark)
        for status, paused, marks in MEASURED
        for verb, mark in zip(VERBS, marks.split(), strict=True)
    ],
)
def test_the_measured_table(status: Status, user_paused: bool, verb: Verb, mark: str) -> None:  # noqa: FBT001 - a parameter of the table
    """§8.1: every verb in every state, with QEMU's words."""
    text = refusal(verb, status, user_paused=user_paused, job_id="j")
    assert text == expected(mark, verb, status)


@pytest.mark.parametrize("verb", Verb)
def test_nothing_is_accepted_at_the_end(verb: Verb) -> None:
    """§8.1: aborting and null take no verb."""
    for status in (Status.ABORTING, Status.NULL):
        assert refusal(verb, status, user_paused=False, job_id="j") is not None


def test_every_state_has_a_way_to_the_end() -> None:
    """§8.1: from each state null can be reached, and from no state the first one."""
    reaches = {Status.NULL}
    for _ in Status:
        reaches |= {status for status in Status if not reaches.isdisjoint(FOLLOWING[status])}
    assert reaches == set(Status)
    assert all(Status.CREATED not in after for after in FOLLOWING.values())


def test_parked_states_go_back_where_they_came_from() -> None:
    """§8.1: running ⇄ paused, ready ⇄ standby, and nothing else leaves paused or standby."""
    for moving, parked in PARKED.items():
        assert parked in FOLLOWING[moving]
        assert FOLLOWING[parked] == {moving}


@given(st.sampled_from(Verb), st.sampled_from(Status), st.booleans())
def test_refusals_are_consistent(verb: Verb, status: Status, user_paused: bool) -> None:  # noqa: FBT001 - drawn
    """What is not refused is in the table; a job is never paused twice nor resumed in vain."""
    text = refusal(verb, status, user_paused=user_paused, job_id="j")
    if text is None:
        assert status in ACCEPTED[verb]
        assert (verb is not Verb.PAUSE) or not user_paused
        assert (verb is not Verb.RESUME) or user_paused


# The speed limit, §6.3


def test_a_chunk_a_second() -> None:
    """§6.3: at 1 MiB/s chunks of 1 MiB go at 0, 1, 2 … s."""
    pace, now_ns, went = Pace(MIB), 5 * NS_PER_S, []
    for _ in range(4):
        now_ns += pace.wait_ns(now_ns)
        assert pace.wait_ns(now_ns) == 0
        pace.charge(MIB, now_ns)
        went.append(now_ns // NS_PER_S)
    assert went == [5, 6, 7, 8]


def test_the_first_chunk_goes_at_once_at_any_speed() -> None:
    """§6.3: a 1 MiB image with speed 1 is done at once."""
    assert Pace(1).wait_ns(12345) == 0


def test_idleness_is_not_saved_up() -> None:
    """An hour of nothing lets no second chunk through."""
    pace = Pace(MIB)
    pace.charge(MIB, 0)
    assert pace.wait_ns(3600 * NS_PER_S) == 0
    pace.charge(MIB, 3600 * NS_PER_S)
    assert pace.wait_ns(3600 * NS_PER_S) == NS_PER_S


def test_a_new_speed_counts_at_once() -> None:
    """§8.2: what is unpaid is paid at the new speed; none is none."""
    pace = Pace(1)
    pace.charge(MIB, 0)
    assert pace.wait_ns(0) == MIB * NS_PER_S
    pace.set_speed(MIB, 0)
    assert pace.wait_ns(0) == NS_PER_S
    pace.set_speed(4 * MIB, NS_PER_S // 2)
    assert pace.wait_ns(NS_PER_S // 2) == NS_PER_S // 8
    pace.set_speed(0, NS_PER_S // 2)
    assert pace.wait_ns(NS_PER_S // 2) == 0
    pace.charge(MIB, NS_PER_S // 2)
    pace.set_speed(1, NS_PER_S // 2)
    assert pace.wait_ns(NS_PER_S // 2) == 0  # what went without a limit is free


@given(
    st.integers(1, 2**40),
    st.lists(
        st.tuples(st.integers(1, 64 * MIB), st.integers(0, NS_PER_S)), min_size=1, max_size=50
    ),
)
def test_never_faster_than_the_limit(speed: int, steps: list[tuple[int, int]]) -> None:
    """Whoever waits as told moves, all but the last chunk, no more than speed times time."""
    pace, now_ns, moved = Pace(speed), 10**12, 0
    for length, idle_ns in steps:
        now_ns += idle_ns
        now_ns += pace.wait_ns(now_ns)
        assert pace.wait_ns(now_ns) <= 1 + now_ns // 2**52  # the float's grain
        allowed = speed * (now_ns - 10**12) / NS_PER_S
        assert moved <= allowed * (1 + 1e-9) + len(steps) * (speed / NS_PER_S + 1)
        pace.charge(length, now_ns)
        moved += length


# Error policies, §6.3


@pytest.mark.parametrize(
    ("policy", "on_eio", "on_enospc"),
    [
        ("report", "report", "report"),
        ("ignore", "ignore", "ignore"),
        ("stop", "stop", "stop"),
        ("enospc", "report", "stop"),
        ("auto", "report", "stop"),
    ],
)
def test_policies(policy: str, on_eio: str, on_enospc: str) -> None:
    """§6.3: what each policy does about EIO and about ENOSPC."""
    options = Conduct(id="j", on_source_error=policy, on_target_error="report")  # type: ignore[arg-type]  # parametrized
    assert action_on(options.on_error("read"), errno.EIO) == on_eio
    assert action_on(options.on_error("read"), errno.ENOSPC) == on_enospc
    assert options.on_error("write") == "report"


def test_io_status() -> None:
    """§6.3: ``nospace`` for ENOSPC, ``failed`` for all else."""
    assert io_status_after(errno.ENOSPC) == "nospace"
    assert io_status_after(errno.EIO) == "failed"
    assert io_status_after(None) == "failed"


def test_negative_speed() -> None:
    """§6.3: refused in QEMU's words."""
    check_speed(0)
    with pytest.raises(CommandError, match="Parameter 'speed' expects a non-negative value"):
        check_speed(-1)
