"""For every test, whatever runs it."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_size_of_a_terminal() -> Iterator[None]:
    """What tests start has a pipe, or a terminal of its own: each has its own size, or none.

    A shell and pytest-xdist set one, which programs believe more than what they are in.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("COLUMNS", "LINES"):
            monkeypatch.delenv(name, raising=False)
        yield
