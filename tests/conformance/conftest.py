"""One fixture: the driver under test, in a graph of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .subjects import SUBJECTS, Subject, Workshop, subject_of


@pytest.fixture(params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each driver in turn."""
    with subject_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=sorted(name for name, row in SUBJECTS.items() if not row.translates))
def passing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each driver whose requests go on as they come."""
    with subject_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=sorted(name for name, row in SUBJECTS.items() if row.stores))
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each driver that keeps what is written."""
    with subject_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    """An empty graph, for tests that build their own."""
    found = Workshop(tmp_path)
    with found.stack:
        yield found
        found.graph.close()
