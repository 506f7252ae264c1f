"""How the time of one call is taken."""

from collections import Counter
from typing import Any

from tests.bench.stats_call import CALLS, COMMAND, timed_calls


class Server:
    """Answers with what it was given, and counts."""

    def __init__(self, stats: Any = None) -> None:
        self.asked: Counter[str] = Counter()
        self._replies: dict[str, Any] = {"query-version": {}}
        if stats is not None:
            self._replies[COMMAND] = stats
        self._replies["query-commands"] = [{"name": name} for name in self._replies]

    def do(self, command: str) -> Any:
        """One command."""
        self.asked[command] += 1
        return self._replies[command]


def test_a_server_without_the_command() -> None:
    """It is not asked, and the row says why there is nothing."""
    server = Server()
    found = timed_calls(server.do)
    assert (list(found.ms), found.how) == ([], "not there yet")
    assert server.asked == {"query-commands": 1}


def test_what_the_server_says() -> None:
    """Its own figure, in milliseconds, without the socket's share."""
    found = timed_calls(Server({"server-ns": 150_000}).do)
    assert list(found.ms) == [0.15] * CALLS


def test_the_round_trip_otherwise() -> None:
    """As many of the one as of the other, because the socket's share is taken off."""
    server = Server({"nodes": []})
    found = timed_calls(server.do)
    assert len(found.ms) == CALLS
    assert server.asked["query-version"] == CALLS
    assert found.how == "round trip less that of query-version"
