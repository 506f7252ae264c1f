"""Imports go one way, and the server stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "blkrun"
SHARED = {
    "decode",
    "diagnostic",
    "errors",
    "image_options",
    "job_options",
    "limits",
    "messages",
    "model",
    "options",
    "pivot_record",
    "toml",
    "units",
}
ROOMS = {
    # room: what it may import of blkrun, besides itself
    "server": SHARED - {"diagnostic", "messages", "model", "toml"},
    "config": SHARED - {"messages"},
    "reconcile": SHARED | {"client", "config", "history"},
    "cli": SHARED | {"client", "config", "history", "reconcile", "dashboard"},
    # With toml: its own files, themes and settings, are told wrong with the same line and caret.
    "dashboard": SHARED - {"model", "limits"} | {"client"},
    "client": {"errors"},
    "history": {"errors"},
}
ROOMS |= dict.fromkeys(SHARED, SHARED)
HEAVY = ("textual", "rich", "qemu", "asyncio")


def room_of(file: Path) -> str:
    """The first part of a module's place in the package."""
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Dotted names of everything a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


FILES = [file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.stem in ROOMS]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_rooms_are_entered_by_their_doors_only(file: Path) -> None:
    """A module imports what its room may, and nothing else of blkrun."""
    room = room_of(file)
    allowed = ROOMS[room] | {room}
    places = {name.split(".")[1] for name in imported(file) if name.startswith("blkrun.")}
    others = {
        name for name in places if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    }
    assert others <= allowed, f"{room} may not import {sorted(others - allowed)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_dashboard_imports_textual(file: Path) -> None:
    """Quick commands stay quick, and the server small."""
    heavy = {name.split(".")[0] for name in imported(file)}
    assert room_of(file) == "dashboard" or not heavy & {"textual", "textual_serve", "aiohttp"}


def loaded_by(code: str, python: str) -> set[str]:
    """Top-level names in sys.modules after running code in a fresh interpreter."""
    paths = [str(ROOT), str(Path(msgspec.__file__).parents[1])]
    script = f"import sys; sys.path[:0] = {paths!r}\n{code}\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [python, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_server_loads_nothing_heavy() -> None:
    """In the interpreter that nbdkit embeds, the plugin loads no asyncio, TOML or argparse."""
    code = (
        "import types; stub = types.ModuleType('nbdkit'); stub.shutdown = None\n"
        "sys.modules['nbdkit'] = stub\n"
        "import blkrun.server.plugin"
    )
    version = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    assert not loaded_by(code, version) & {"argparse", "tomllib", "multiprocessing", *HEAVY}


def test_who_serves_browsers_has_no_textual() -> None:
    """It only passes on what their processes draw."""
    loaded = loaded_by("import blkrun.dashboard.web", sys.executable)
    assert "textual_serve" in loaded
    assert "textual" not in loaded


def test_check_is_quick() -> None:
    """``blkrun check`` loads neither asyncio nor Textual."""
    code = "from blkrun.cli import main\nmain(['check', 'nowhere.toml'])"
    assert not loaded_by(code, sys.executable) & {"textual", "asyncio", "qemu"}
