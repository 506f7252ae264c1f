"""The project's own files: what Makefile, lock and CI promise each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGETS = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def pins() -> dict[str, str]:
    """Each name in requirements.lock with its entry, hashes included."""
    lock = re.sub(r"^#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries if entry}


def named_in_pyproject() -> set[str]:
    """Every distribution that pyproject.toml asks for, spelt as an index spells it."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    wanted = [
        *pyproject["build-system"]["requires"],
        *project["dependencies"],
        *(need for extra in project["optional-dependencies"].values() for need in extra),
    ]
    names = (re.split(r"[^\w.-]", need)[0] for need in wanted)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.mark.parametrize("target", TARGETS)
def test_make_help_says_a_sentence_about_every_target(target: str) -> None:
    """What `make help` prints of a target begins with a capital and ends with a full stop."""
    shown = subprocess.run(
        ["make", "--silent", "-C", str(ROOT), "help"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "MAKEFLAGS": ""},
    ).stdout
    assert re.search(rf"^  make {target} +[A-Z].*\.$", shown, re.MULTILINE)


def test_makefile_has_the_targets_that_ci_and_readme_name() -> None:
    """A renamed target would break what people and CI type."""
    assert {"help", "setup", "run", "test", "check", "fix", "bench", "soak"} <= set(TARGETS)


@pytest.mark.parametrize("name", sorted(named_in_pyproject()))
def test_lock_pins_every_dependency(name: str) -> None:
    """A dependency added to pyproject.toml without `make lock` would not be installed."""
    assert name in pins()


def test_lock_has_a_hash_for_every_pin_and_no_address() -> None:
    """Any index may serve the files, as their hashes tell whether they are the right ones."""
    assert all("==" in entry and "--hash=sha256:" in entry for entry in pins().values())
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_ci_closes_with_make_test() -> None:
    """CI runs the README's test command, and last, as its summary is read from the end."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert re.fullmatch(r"make (--\S+ )*test", lines[-1])


def test_the_wheel_holds_what_is_read_at_run_time(tmp_path: Path) -> None:
    """Files that are no Python, which an installation would miss without a word."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"blkrun/schema.json", "blkrun/themes/blkrun.toml"} <= set(names)
    assert {"blkrun/examples/quickstart.toml", "blkrun/examples/tenants/anna.toml"} <= set(names)


@pytest.mark.parametrize("script", ["run", "setup"])
def test_ci_scripts_can_be_run(script: str) -> None:
    """Git keeps the executable bit, and the Makefile counts on it."""
    assert os.access(ROOT / ".ci" / script, os.X_OK)
