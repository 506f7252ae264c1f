"""Nobody's own themes and settings are read by tests."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
