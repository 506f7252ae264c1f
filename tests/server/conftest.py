"""Fixtures of the in-process tests."""

import pytest

from tests.server.inprocess import leave_thread_states_alone


@pytest.fixture
def plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are plain Python threads, and not nbdkit's."""
    leave_thread_states_alone(monkeypatch)
