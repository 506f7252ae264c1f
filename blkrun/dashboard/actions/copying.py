"""Copies to the terminal's clipboard, and saves of everything that is shown."""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from textual import work
from textual.app import SystemCommand
from textual.screen import Screen

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.model.clipboard import through_multiplexer
from blkrun.dashboard.model.copying import qmp_of, toml_of
from blkrun.dashboard.model.figures import as_csv, as_json
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.subject import Subject

_MOST_COPIED_BYTES = 74_994
"""What terminals take in one OSC 52 sequence: xterm's bound, which others have as well."""

_FORMS = (
    ("Save JSON", "json", "all numbers of now, in a file of their own"),
    ("Save CSV", "csv", "the same as a table"),
    ("Save picture", "svg", "the screen, as it is, as an SVG"),
)


class Copying(Acting):
    """Nothing is changed by it."""

    def offered(self) -> Mapping[str, bool]:
        """Once there is something."""
        seen = self.board.snapshot is not None
        return {
            **super().offered(),
            "copy_toml": seen and self.subject is not None,
            "copy_qmp": seen and self.subject is not None,
            "copy_uri": bool(self._uri),
            "save('json')": seen,
            "save('csv')": seen,
            "save('svg')": seen,
            "save_all": seen,
        }

    # Copying

    def action_copy_toml(self) -> None:
        """The selected thing as a table of the file."""
        self._copy_subject(toml_of, "TOML")

    def action_copy_qmp(self) -> None:
        """The command that would make it."""
        self._copy_subject(qmp_of, "QMP JSON")

    def action_copy_uri(self) -> None:
        """Where clients find the selected export."""
        if self.subject is not None and self._uri:
            self.copy(self._uri, f"the address of {self.subject.name}")

    @property
    def _uri(self) -> str:
        if self.subject is None or self.subject.kind != "export":
            return ""
        return self.desk.uri_of(self.subject.name)

    def _copy_subject(self, text_of: Callable[[Snapshot, Subject], str], form: str) -> None:
        if self.board.snapshot is not None and self.subject is not None:
            self.copy(text_of(self.board.snapshot, self.subject), f"{self.subject.name} as {form}")

    def copy(self, text: str, what: str) -> None:
        """Over OSC 52, which works through ssh; terminals that do not know it ignore it."""
        text = text.encode(errors="replace").decode()  # a file's name need not be text
        size = len(text.encode())
        if size > _MOST_COPIED_BYTES:
            self.tell(
                f"{what} is {size} bytes; terminals take {_MOST_COPIED_BYTES}: save it instead",
                severity="warning",
            )
            return
        self.copy_to_clipboard(text)
        if self._driver is not None and (wrapped := through_multiplexer(text, os.environ)):
            self._driver.write(wrapped)
        self.tell(f"copied {what}: {size} bytes")

    # Saving

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Each form by itself has no key."""
        yield from super().get_system_commands(screen)
        for title, form, tip in _FORMS:
            if self.offers(f"save({form!r})"):
                yield SystemCommand(title, tip, partial(self.action_save, form))

    def action_save(self, form: str) -> None:
        """One file: json, csv or svg."""
        self._save((form,))

    def action_save_all(self) -> None:
        """JSON, CSV and a picture, of one moment."""
        self._save(("json", "csv", "svg"))

    def _save(self, forms: tuple[str, ...]) -> None:
        texts = {form: text for form in forms if (text := self._text(form))}
        if texts:
            self._write(texts, f"{_file_name(self.title)}-{time.strftime('%Y%m%d-%H%M%S')}")

    def _text(self, form: str) -> str:
        if form == "svg":
            return self.export_screenshot(title=self.title)
        if self.board.snapshot is None:
            return ""
        if form == "csv":
            return as_csv(self.board.snapshot, self.board.rates)
        taken = time.strftime(
            "%Y-%m-%dT%H:%M:%S%z", time.localtime(self.feed.wall_s(self.board.seen_s or 0.0))
        )
        return as_json(self.board.snapshot, self.board.rates, title=self.title, taken=taken)

    @work(thread=True, name="save")
    def _write(self, texts: Mapping[str, str], stem: str) -> None:
        """Never over a file that is there."""
        try:
            written = [
                _write_new(self.settings.snapshot_folder, stem, form, text)
                for form, text in texts.items()
            ]
        except (OSError, RuntimeError) as error:  # RuntimeError: ~name of nobody
            self.call_from_thread(self.tell, f"not saved: {error}", severity="error")
            return
        names = ", ".join(path.name for path in written)
        self.call_from_thread(self.tell, f"saved {names} in {written[0].parent.resolve()}")


def _file_name(title: str) -> str:
    """``blkrun-lab`` of ``lab.toml``."""
    stem = re.sub(r"[^\w.-]+", "-", title.removesuffix(".toml")).strip("-.")
    return f"blkrun-{stem or 'snapshot'}"


def _write_new(folder: Path, stem: str, form: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        path = folder / f"{stem}{f'-{number}' if number > 1 else ''}.{form}"
        try:
            with open(path, "x", encoding="utf-8", errors="replace", opener=_private) as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder / stem}.{form} and 999 more are there")


def _private(path: str, flags: int) -> int:
    """Paths and addresses are nobody else's business."""
    return os.open(path, flags, 0o600)
