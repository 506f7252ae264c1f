"""A conversation: greeting, negotiation, replies, events (qemu-semantics §9.2, §9.3, §9.5)."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from blkrun import __version__
from blkrun.server.qmp.commands import COMMANDS
from blkrun.server.qmp.framing import MAX_DEPTH
from blkrun.server.qmp.session import Session
from tests.server.inprocess import InProcess, decode

QOM_SET_BOGUS = (
    '{"execute": "qom-set", "arguments": '
    '{"path": "g", "property": "limits", "value": {"bogus": 1}}}'
)
REOPEN_BACKING = (
    '{"execute": "blockdev-reopen", "arguments": '
    '{"options": [{"driver": "null", "node-name": "n", "backing": null}]}}'
)


class Fresh:
    """A client that has not negotiated."""

    def __init__(self) -> None:
        self.server = InProcess()
        self.sent: list[dict[str, Any]] = []
        self.session = Session(self.server.context, lambda data: self.sent.append(decode(data)))
        self.server.events.subscribe(self.session.on_event)

    def say(self, text: str) -> list[dict[str, Any]]:
        """Send text, and give what comes back."""
        before = len(self.sent)
        assert self.session.feed(text.encode())
        return self.sent[before:]


def error(kind: str, text: str) -> dict[str, Any]:
    """An error reply without id."""
    return {"error": {"class": kind, "desc": text}}


def test_greeting() -> None:
    """§9.2: version in QEMU's shape, and no capabilities: there is no out-of-band here."""
    fresh = Fresh()
    fresh.session.greet()
    (greeting,) = fresh.sent
    version = greeting["QMP"]["version"]
    assert greeting["QMP"]["capabilities"] == []
    assert version["package"] == f"blkrun {__version__}"
    assert set(version["qemu"]) == {"major", "minor", "micro"}


@pytest.mark.parametrize("command", ["query-version", "quit", "nope"])
def test_nothing_goes_before_negotiation(command: str) -> None:
    """§9.2: every command but one is refused, known or not, and does nothing."""
    fresh = Fresh()
    answer = fresh.say(f'{{"execute": "{command}"}}')
    expected = "Expecting capabilities negotiation with 'qmp_capabilities'"
    assert answer == [error("CommandNotFound", expected)]
    assert not fresh.server.shut_down.is_set()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"execute": "qmp_capabilities"}', {"return": {}}),
        ('{"execute": "qmp_capabilities", "arguments": {"enable": []}}', {"return": {}}),
        (
            '{"execute": "qmp_capabilities", "arguments": {"enable": ["bogus"]}}',
            error("GenericError", "Parameter 'null' does not accept value 'bogus'"),
        ),
        (
            '{"execute": "qmp_capabilities", "arguments": {"enable": 5}}',
            error("GenericError", "Invalid parameter type for 'enable', expected: array"),
        ),
        (
            '{"execute": "qmp_capabilities", "arguments": {"x": 5}}',
            error("GenericError", "Parameter 'x' is unexpected"),
        ),
    ],
)
def test_negotiation(text: str, answer: dict[str, Any]) -> None:
    """§9.2: and after a refusal it can be tried again."""
    fresh = Fresh()
    assert fresh.say(text) == [answer]
    again = fresh.say('{"execute": "qmp_capabilities"}')
    assert ("error" in again[0]) == ("return" in answer)


@pytest.mark.parametrize(
    ("text", "kind", "desc"),
    [
        (
            '{"execute": "qmp_capabilities"}',
            "CommandNotFound",
            "Capabilities negotiation is already complete, command ignored",
        ),
        ('{"execute": "nope"}', "CommandNotFound", "The command nope has not been found"),
        (
            '{"execute": "query-version", "bogus": 1}',
            "GenericError",
            "QMP input member 'bogus' is unexpected",
        ),
        ('{"exec": "query-version"}', "GenericError", "QMP input member 'exec' is unexpected"),
        (
            '{"exec-oob": "query-version"}',
            "GenericError",
            "QMP input member 'exec-oob' is unexpected",
        ),
        ("{}", "GenericError", "QMP input lacks member 'execute'"),
        ('{"execute": 5}', "GenericError", "QMP input member 'execute' must be a string"),
        (
            '{"execute": "query-version", "arguments": []}',
            "GenericError",
            "QMP input member 'arguments' must be an object",
        ),
        ("[]", "GenericError", "QMP input must be a JSON object"),
        (
            '{"execute": "query-version", "arguments": {"x": 1}}',
            "GenericError",
            "Parameter 'x' is unexpected",
        ),
        ('{"execute": "object-del"}', "GenericError", "Parameter 'id' is missing"),
        (
            '{"execute": "object-del", "arguments": {"id": 5}}',
            "GenericError",
            "Invalid parameter type for 'id', expected: string",
        ),
        (
            '{"execute": "query-blockstats", "arguments": {"query-nodes": 1}}',
            "GenericError",
            "Invalid parameter type for 'query-nodes', expected: boolean",
        ),
        (
            QOM_SET_BOGUS,
            "GenericError",
            "Parameter 'limits.bogus' is unexpected",
        ),
        (
            REOPEN_BACKING,
            "GenericError",
            "Parameter 'options[0].backing' is unexpected",
        ),
    ],
)
def test_requests_with_something_wrong(text: str, kind: str, desc: str) -> None:
    """§9.2: QEMU's class and text; the conversation goes on."""
    server = InProcess()
    assert server.say(msgspec.json.decode(text)) == error(kind, desc)
    assert "return" in server.say({"execute": "query-version"})


@pytest.mark.parametrize("identity", [1, "text", None, {"a": [1]}, [], 2.5, False, 2**70])
def test_ids_come_back(identity: object) -> None:
    """§9.3: verbatim, with results and with errors, and only if one was given."""
    server = InProcess()
    assert server.say({"execute": "query-version", "id": identity})["id"] == identity
    assert server.say({"execute": "nope", "id": identity})["id"] == identity
    assert server.say({"bogus": 1, "id": identity})["id"] == identity
    assert "id" not in server.say({"execute": "query-version"})


def test_several_in_one_piece_are_answered_in_order() -> None:
    """§9.3."""
    fresh = Fresh()
    requests = [{"execute": "qmp_capabilities", "id": 0}]
    requests += [{"execute": "query-version", "id": number} for number in range(1, 9)]
    answers = fresh.say("".join(msgspec.json.encode(each).decode() for each in requests))
    assert [answer["id"] for answer in answers] == list(range(9))


def test_early_events_come_after_negotiation() -> None:
    """§9.2: none before; kept ones after the reply, in order, then the live ones."""
    fresh = Fresh()
    for number in range(3):
        fresh.server.events.emit("E", {"number": number})
    assert fresh.sent == []
    reply, *events = fresh.say('{"execute": "qmp_capabilities"}')
    assert reply == {"return": {}}
    fresh.server.events.emit("LIVE")
    names = [event["event"] for event in [*events, fresh.sent[-1]]]
    assert names == ["E", "E", "E", "LIVE"]
    assert [event["data"]["number"] for event in events] == [0, 1, 2]


def test_shape_of_an_event() -> None:
    """§9.5: wall clock in seconds and microseconds; data only if there is any."""
    server = InProcess()
    server.events.subscribe(server.session.on_event)
    server.events.emit("PLAIN")
    server.events.emit("WITH", {"x": 1})
    stamp = {"seconds": 1_700_000_000, "microseconds": 250_000}
    assert server.sent[-2:] == [
        {"timestamp": stamp, "event": "PLAIN"},
        {"timestamp": stamp, "event": "WITH", "data": {"x": 1}},
    ]


@pytest.mark.parametrize("garbage", [b"?", b"{nope}", b"5", b'{"a": "\xff"}', b"[" * 2000])
def test_malformed_input_ends_the_conversation(garbage: bytes) -> None:
    """§9.1: one error, after what came before was answered (QEMU resynchronises; we hang up)."""
    server = InProcess()
    before = len(server.sent)
    assert not server.session.feed(b'{"execute": "query-version"}' + garbage)
    answer, refusal = server.sent[before:]
    assert "return" in answer
    assert refusal["error"]["class"] == "GenericError"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("n"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["driver", "file", "x", "node-name"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    "actions", "child", "data", "driver", "enable", "file", "id", "kind", "limits", "mode", "name",
    "node", "node-name", "options", "parent", "path", "property", "qom-type", "role", "since",
    "size", "throttle-group", "type", "value", "writable", "x-iops-total",
]  # fmt: skip
GOOD = {
    "driver": st.sampled_from(["null", "raw", "throttle", "file"]),
    "type": st.sampled_from(["nbd", "blockdev-add", "abort"]),
    "qom-type": st.just("throttle-group"),
    "property": st.sampled_from(["limits", "x-iops-total"]),
    "mode": st.sampled_from(["safe", "hard"]),
}
ARGUMENTS = st.lists(st.sampled_from(KEYS), unique=True, max_size=5).flatmap(
    lambda keys: st.fixed_dictionaries({key: GOOD.get(key, VALUES) | VALUES for key in keys})
)


@settings(deadline=None)
@given(st.sampled_from(sorted(set(COMMANDS) - {"quit"})), ARGUMENTS)
def test_any_arguments_are_answered(command: str, arguments: dict[str, Any]) -> None:
    """§9.2: whatever a client sends, it gets a result or an error, and the graph stays sound."""
    server = InProcess()
    answer = server.say({"execute": command, "arguments": arguments})
    assert ("return" in answer) != ("error" in answer)
    server.execute("x-blkrun-query-graph")


def nested(depth: int) -> str:
    """blockdev-add of a node over inline children, ``depth`` below each other."""
    children = '{"driver": "raw", "file": ' * (depth - 1) + '{"driver": "null"}' + "}" * (depth - 1)
    node = f'{{"driver": "raw", "node-name": "top", "file": {children}}}'
    return f'{{"execute": "blockdev-add", "arguments": {node}}}'


@pytest.mark.parametrize("depth", [1, 5, 199, 200, 300, 500, 990])
def test_deeply_nested_children(depth: int) -> None:
    """Inline children (§4.6) as deep as the limit of 200 are made, deeper refused: no crash."""
    server = InProcess()
    server.session.feed(nested(depth).encode())
    assert ("return" in server.sent[-1]) == (depth < 200)
    assert len(server.graph.nodes) == (depth + 1 if depth < 200 else 0)


def test_deep_ids_come_back() -> None:
    """As deep as a message may be."""
    server = InProcess()
    identity = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert server.session.feed(b'{"execute": "x", "id": ' + identity + b"}")
    assert msgspec.json.encode(server.sent[-1]["id"]) == identity
