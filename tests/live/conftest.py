"""Real servers on private sockets: started, driven and ended by these fixtures."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.hammering import Hammer
from tests.live.service import Service

Make = Callable[[str], Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Make]:
    """``serve(text)``: run a file headless until the test ends."""
    services: list[Service] = []

    def make(text: str) -> Service:
        directory = tmp_path / f"run{len(services)}"
        directory.mkdir()
        service = Service(directory, text)
        services.append(service)
        service.start()
        return service

    yield make
    for service in services:
        service.end()


@pytest.fixture
def hammer() -> Iterator[Callable[..., Hammer]]:
    """Clients that are gone when the test is."""
    started: list[Hammer] = []

    def make(uri: str, seconds: float = 100.0) -> Hammer:
        started.append(Hammer(uri, seconds))
        return started[-1]

    yield make
    for each in started:
        each.process.kill()
        each.process.communicate()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder starts real processes."""
    for item in items:
        if "tests/live" in str(item.path):
            item.add_marker(pytest.mark.live)


sys.path.append("/usr/lib/python3/dist-packages")  # libnbd is the distribution's
