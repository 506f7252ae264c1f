"""Theme files, and what the package may import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import blkrun.dashboard
from blkrun.dashboard.theme import default_theme_path, load_theme
from blkrun.errors import FileError

FOLDER = Path(blkrun.dashboard.__file__).parent
_KNOWN = "options client messages units errors dashboard"
_FOR_ITS_OWN_FILES = "decode diagnostic toml"  # themes and settings
ALLOWED = tuple(f"blkrun.{name}" for name in f"{_KNOWN} {_FOR_ITS_OWN_FILES}".split())


def test_shipped_theme_is_good() -> None:
    """It is found in the checkout and every colour is one."""
    path = default_theme_path()
    assert path is not None
    assert load_theme(path).name == "blkrun"


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Textual would take a wrong colour and crash when it paints it."""
    path = tmp_path / "bad.toml"
    path.write_text('primary = "blu"\ndark = 1\nprimry = "red"\n[variables]\ndim = 3\n')
    with pytest.raises(FileError) as caught:
        load_theme(path)
    message = str(caught.value)
    for word in ("name is missing", "'blu' is no colour", "dark must be", "'primry'", "dim = 3"):
        assert word in message


@pytest.mark.parametrize("text", [None, "primary = "])
def test_unreadable_theme_is_an_error(tmp_path: Path, text: str | None) -> None:
    """Missing, or no TOML."""
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FileError, match=r"bad\.toml"):
        load_theme(path)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_dashboard_knows_only_the_client(path: Path) -> None:
    """It is a client of the control socket like any other."""
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    ours = [name for name in imported if name and name.startswith("blkrun.")]
    assert [name for name in ours if not name.startswith(ALLOWED)] == []


def test_package_does_not_load_textual() -> None:
    """The command line imports the entrance before it knows whether it needs it."""
    code = "import sys, blkrun.dashboard; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pure_parts_do_not_know_textual() -> None:
    """What is shown is computed without a screen."""
    pure = [*(FOLDER / "model").glob("*.py"), *(FOLDER / f"{n}.py" for n in ("lines", "arrange"))]
    assert all("textual" not in path.read_text().lower() for path in pure)
