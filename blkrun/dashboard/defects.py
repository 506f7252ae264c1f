"""What nobody has thought of: one sentence for the user, and the traceback in a file."""

import os
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from textual.worker import WorkerFailed


def told(error: BaseException, environ: Mapping[str, str] = os.environ) -> str:
    """The sentence; the traceback is written, and the sentence says where."""
    if isinstance(error, WorkerFailed):
        error = error.error
    what = " ".join(f"{type(error).__name__}: {error}".split())
    where = _written("".join(traceback.format_exception(error)), environ)
    return f"a defect of blkrun ({what}); {where}"


def _written(text: str, environ: Mapping[str, str]) -> str:
    name = f"defect-{time.strftime('%Y%m%d-%H%M%S')}-"
    for folder in (_state_folder(environ), None):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(".txt", name, folder)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError:
            continue
        return f"where it happened is in {path}"
    return "where it happened could not be written"


def _state_folder(environ: Mapping[str, str]) -> Path | None:
    """By the XDG's rules, which want an absolute path; None: there is no home."""
    given = environ.get("XDG_STATE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "blkrun"
    home = environ.get("HOME", "")
    return Path(home) / ".local/state/blkrun" if home.startswith("/") else None
