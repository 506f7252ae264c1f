"""The last line of defence: a sentence, a file with the traceback, and a dashboard that ends."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.worker import WorkerFailed

from blkrun.dashboard import defects
from blkrun.dashboard.feed import Lost, Report
from blkrun.dashboard.running import run
from tests.dashboard.dashboard_samples import dashboard

WHERE = re.compile(r"where it happened is in (\S+\.txt)")


def _break() -> None:
    raise KeyError("[red]vda\nvdb")


def broken() -> Exception:
    """An error with a traceback."""
    try:
        _break()
    except KeyError as error:
        return error
    raise AssertionError


def test_the_sentence_is_one_line_and_the_file_has_the_rest(tmp_path: Path) -> None:
    """Also of what a worker of Textual's wrapped up; the file is nobody else's."""
    text = defects.told(WorkerFailed(broken()), {"XDG_STATE_HOME": str(tmp_path)})
    assert "\n" not in text
    assert text.startswith("a defect of blkrun (KeyError: '[red]vda\\nvdb')")
    found = WHERE.search(text)
    assert found is not None
    file = Path(found[1])
    assert file.parent == tmp_path / "blkrun"
    assert 'raise KeyError("[red]vda' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("state", ["", "relative", "/dev/null/no"])
def test_without_a_folder_it_goes_where_temporary_files_go(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without that, the sentence says so."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert str(tmp_path) in defects.told(broken(), {"XDG_STATE_HOME": state})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    text = defects.told(broken(), {"XDG_STATE_HOME": state})
    assert text.endswith("where it happened could not be written")


@pytest.mark.parametrize("where", ["report", "worker", "paint"])
def test_nobody_is_shown_a_traceback(
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever breaks: one line, and the answer is that the server goes on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def broke(*_: object, **__: object) -> object:
        raise broken()

    async def broke_later(*_: object) -> None:
        await asyncio.sleep(0)
        broke()

    async def lost(tell: Callable[[Report], object]) -> None:
        tell(Lost("no server"))
        await asyncio.Event().wait()

    async def act() -> str:
        app, feed, _ = dashboard()
        if where == "worker":
            monkeypatch.setattr(feed, "run", broke_later)
        elif where == "report":
            monkeypatch.setattr(app.board, "fold", broke)
            monkeypatch.setattr(feed, "run", lost)
        else:
            monkeypatch.setattr(app.header, "render_line", broke)
        async with asyncio.timeout(20):
            return await run(app, None, headless=True)

    assert asyncio.run(act()) == "detach"
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("blkrun: the dashboard has ended by a defect of blkrun (KeyError")
    assert said.endswith("the disks stay served\n")
    found = WHERE.search(said)
    assert found is not None
    assert "Traceback" in Path(found[1]).read_text()
