"""Rate limits: the first at once, the last when the second is over (qemu-semantics §9.7)."""

import hypothesis.strategies as st
from hypothesis import given

from blkrun.server.events import INTERVAL_NS, Event, Events
from blkrun.server.rate_limit import RateLimit
from tests.server.inprocess import eventually

GAPS = st.lists(st.tuples(st.integers(0, 25), st.sampled_from("ab")), max_size=40)
INTERVAL = 10


def sent_by(offers: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """(time, key, item) as it is sent by whoever asks for what is due at every instant."""
    limit: RateLimit[tuple[str, int]] = RateLimit(INTERVAL)
    sent: list[tuple[int, str, int]] = []
    rest = list(offers)
    for now in range((offers[-1][0] if offers else 0) + 2 * INTERVAL + 2):
        assert (limit.next_ns() or now) >= now
        sent += [(now, key, item) for key, item in limit.due(now)]
        while rest and rest[0][0] == now:
            _, key, item = rest.pop(0)
            if limit.offer(key, (key, item), now):
                sent.append((now, key, item))
    assert limit.next_ns() is None
    return sent


def model(offers: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Windows of one key: the first opens one, whose last but first is sent at its end."""
    found: list[tuple[int, str, int]] = []
    for key in "ab":
        own = [(at, item) for at, name, item in offers if name == key]
        while own:
            start, item = own.pop(0)
            found.append((start, key, item))
            while inside := [each for each in own if each[0] < start + INTERVAL]:
                own = own[len(inside) :]
                start += INTERVAL
                found.append((start, key, inside[-1][1]))
    return sorted(found)


@given(GAPS)
def test_against_a_model(gaps: list[tuple[int, str]]) -> None:
    """For any offers, each key for itself; the last of a flood is always sent in the end."""
    at, offers = 0, []
    for number, (gap, key) in enumerate(gaps):
        at += gap
        offers.append((at, key, number))
    assert sorted(sent_by(offers)) == model(offers)


def test_events_are_limited_by_what_they_are_about() -> None:
    """Two nodes do not take each other's place; the last that was held back comes by itself."""
    events, heard = Events(), list[Event]()
    events.subscribe(heard.append)
    for number in range(5):
        for node in ("one", "two"):
            data = {"node-name": node, "number": number}
            events.emit_limited("QUORUM_REPORT_BAD", data, node)
    first = [event["data"] for event in heard]
    assert first == [{"node-name": node, "number": 0} for node in ("one", "two")]
    eventually(lambda: len(heard) == 4)
    assert [event["data"]["number"] for event in heard[2:]] == [4, 4]
    assert INTERVAL_NS == 10**9
