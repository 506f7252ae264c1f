"""blkdebug's rules: which are in force after which events, and which request they fail."""

import errno
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.options import InjectError, SetState
from blkrun.server.debug_config import parse_rules
from blkrun.server.debug_rules import Rules


def fails(rules: Rules, iotype: str = "read", offset: int = 0, count: int = 512) -> int:
    """With what; 0: it does not."""
    rule = rules.failure(iotype, offset, count)
    return 0 if rule is None else rule.errno


def test_none_is_from_the_beginning() -> None:
    """Until another event brings its own rules into force: those replace all before."""
    rules = Rules([InjectError(event="none"), InjectError(event="l2_load", errno=28)], [])
    assert fails(rules) == errno.EIO
    rules.event("read_aio")  # has no rules: nothing changes
    assert fails(rules) == errno.EIO
    rules.event("l2_load")
    assert fails(rules) == errno.ENOSPC
    assert rules.injected == 3


def test_iotest_071() -> None:
    """An error for reads in state 42, which a write brings about: read, write, read EIO."""
    rules = Rules(
        [InjectError(event="read_aio", state=42)],
        [SetState(event="write_aio", new_state=42)],
    )
    outcomes = []
    for event, iotype in (("read_aio", "read"), ("write_aio", "write"), ("read_aio", "read")):
        rules.event(event)
        outcomes.append(fails(rules, iotype))
    assert outcomes == [0, 0, errno.EIO]
    assert rules.state == 42


def test_the_state_is_that_of_the_events_beginning() -> None:
    """A rule for the new state is not in force yet; the first change that is listed counts."""
    rules = Rules(
        [InjectError(event="pwritev", state=2)],
        [SetState(event="pwritev", new_state=2), SetState(event="pwritev", new_state=3)],
    )
    rules.event("pwritev")
    assert (rules.state, fails(rules)) == (2, 0)
    rules.event("pwritev")
    assert (rules.state, fails(rules)) == (2, errno.EIO)


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        ({}, {"read", "write", "write-zeroes", "discard", "flush"}),
        ({"iotype": "read"}, {"read"}),
        ({"iotype": "block-status"}, {"block-status"}),
        ({"iotype": "flush"}, {"flush"}),
        ({"sector": 2}, {"read", "write", "write-zeroes", "discard"}),
        ({"sector": 2, "iotype": "flush"}, set()),
    ],
)
def test_which_requests(rule: dict[str, Any], failing: set[str]) -> None:
    """By their type; a flush has no sector."""
    rules = Rules([InjectError(event="none", **rule)], [])
    places = {"flush": (0, 0)}
    found = {
        iotype
        for iotype in ("read", "write", "write-zeroes", "discard", "flush", "block-status")
        if fails(rules, iotype, *places.get(iotype, (1024, 10)))
    }
    assert found == failing


@pytest.mark.parametrize(
    ("offset", "count", "failing"),
    [(1024, 1, True), (1023, 1, False), (1023, 2, True), (1025, 600, False), (0, 4096, True)],
)
def test_a_sector_is_where_it_begins(offset: int, count: int, *, failing: bool) -> None:
    """QEMU asks whether the request has the sector's first byte."""
    rules = Rules([InjectError(event="none", sector=2)], [])
    assert bool(fails(rules, "read", offset, count)) is failing


def test_once() -> None:
    """Used up for good, also when its event comes again; the others stay."""
    rules = Rules(
        [
            InjectError(event="read_aio", once=True, errno=28),
            InjectError(event="read_aio", iotype="read"),
        ],
        [],
    )
    rules.event("read_aio")
    assert [fails(rules), fails(rules)] == [errno.ENOSPC, errno.EIO]
    rules.event("read_aio")
    assert fails(rules) == errno.EIO
    assert rules.active == 1


def test_two_equal_rules_that_are_for_once() -> None:
    """Each of them counts for itself."""
    rules = Rules([InjectError(event="none", once=True)] * 2, [])
    assert [fails(rules), fails(rules), fails(rules)] == [5, 5, 0]


def test_the_first_that_is_listed_decides() -> None:
    """One with errno 0 says that a request does not fail."""
    rules = Rules([InjectError(event="none", sector=0, errno=0), InjectError(event="none")], [])
    assert [fails(rules, offset=0), fails(rules, offset=512)] == [0, errno.EIO]


CONFIG = """\
# QEMU's format
[inject-error]
event = "read_aio"
errno = "28"
once = "on"

[set-state "named"]
 event="write_aio"
state = "1"
new_state = "2"

[inject-error]
event = "none"
sector = "7"
iotype = "write-zeroes"
immediately = "off"
"""


def test_a_file_of_rules() -> None:
    """In order; names of groups mean nothing."""
    inject, changes = parse_rules(CONFIG, "c")
    assert inject == [
        InjectError(event="read_aio", errno=28, once=True),
        InjectError(event="none", sector=7, iotype="write-zeroes"),
    ]
    assert changes == [SetState(event="write_aio", state=1, new_state=2)]
    assert parse_rules("", "c") == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[inject-error]\nerrno = "5"', "Missing event name for rule"),
        ('[inject-error]\nevent = "nope"', 'Invalid event name "nope"'),
        ('[inject-error]\nevent = "none"\nfoo = "1"', "Invalid parameter 'foo'"),
        ('[foo]\nevent = "none"', "c:1: There is no option group 'foo'"),
        ('event = "none"', "c:1: no group defined"),
        ('[inject-error]\nevent = none"', "c:2: parse error"),
        ('[inject-error]\nevent = "none"\nerrno = "x"', "Parameter 'errno' expects a number"),
        ('[inject-error]\nevent = "none"\nerrno = "99999"', "errno: 99999 is out of range"),
        ('[inject-error]\nevent = "none"\niotype = "x"', "iotype: 'x' is not one of"),
        ('[set-state]\nevent = "none"\nonce = "x"', "Parameter 'once' expects 'on' or 'off'"),
        ('[set-state "a"]\nevent = "none"\n[set-state "a"]', "c:3: Duplicate ID 'a' for set-state"),
    ],
)
def test_a_file_that_is_wrong(text: str, message: str) -> None:
    """QEMU's words where it has some, and the line where it is one."""
    with pytest.raises(CommandError) as raised:
        parse_rules(text, "c")
    assert str(raised.value).startswith(message)
