"""The dashboard: what a server does, in the terminal, as a client of its control socket.

::

    feed ──reports──▶ app ──▶ model (pure: snapshots → rows) ──▶ widgets (rows → lines)
                       ├──▶ dialogs: questions and texts over the panels
                       └──▶ editor: the file's edits, by blkrun's own commands

Imports go downwards here, too, and a test holds that:

- ``app``, and ``replaying`` over a recording; ``running``: either in a ``terminal``
- ``showing``, ``arrange``, ``panels``: what has a place, and what it shows; ``theming``
- ``actions``: what keys do, one file a subject; ``defects``: what nobody has thought of
- ``dialogs``, ``widgets``: one a file; ``keys``, ``keys_replay``, ``keyboard``, ``keymap``: keys
- feeds: ``feed`` is what one is; ``poller`` of a server, ``recorder`` of another feed, ``player``
  of a ``recording`` (``past``, ``survey``, ``playback``, ``recording_writer``)
- ``settings``, ``theme``, ``theme_file``, ``theme_watch``, ``symbols``, ``own_files``: the user's
- ``model``, ``lines``: what is shown, before it is a screen's; ``editor``
- ``web``, ``web_guard``, ``web_visit``: in browsers, each visit a process with an app

It owns nothing: closing it, or its terminal, leaves the disks served.  ``show`` and ``replay`` are
the only entrances; Textual is imported inside them, since nothing else of blkrun needs it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from blkrun.dashboard.feed import Feed
from blkrun.dashboard.recording import Recording
from blkrun.dashboard.recording_writer import Writer


async def show(  # noqa: PLR0913 - all by name
    *,
    control: Path,
    file: Path,
    uri_of: Callable[[str], str],
    refresh_s: float,
    owner: bool,
    read_only: bool = False,
    record: Writer | None = None,
    runner_of: Callable[[Path], int | None] | None = None,
    closing: asyncio.Event | None = None,
) -> str:
    """Show the server behind ``control`` until the user leaves or ``closing`` is set.

    A signal to end, or the end of the terminal, sets it too.

    Gives "stop" when the user wants the server ended, else "detach".  Only an ``owner`` is asked.
    ``read_only``: no action that changes anything is on offer.  ``record`` gets what is seen, and
    is closed at the end.  ``uri_of``: where clients find an export.  ``runner_of``: who follows
    the file of a server, found by its control socket; asked at every look.
    """
    from blkrun.dashboard.actions.base import Desk  # noqa: PLC0415
    from blkrun.dashboard.app import Dashboard  # noqa: PLC0415 - Textual is for those who look
    from blkrun.dashboard.editor import CommandEditor  # noqa: PLC0415
    from blkrun.dashboard.poller import Poller  # noqa: PLC0415
    from blkrun.dashboard.recorder import Recorder  # noqa: PLC0415
    from blkrun.dashboard.running import run  # noqa: PLC0415

    feed: Feed = Poller(control, refresh_s=refresh_s, runner_of=runner_of)
    recorder: Recorder | None = None
    if record is not None:
        feed = recorder = Recorder(feed, record, note=lambda text: app.tell(text, severity="error"))
    desk = Desk(
        title=file.name,
        owner=owner,
        read_only=read_only,
        file=None if read_only else file,
        editor=None if read_only else CommandEditor(file),
        uri_of=uri_of,
    )
    app = Dashboard(feed, desk)
    try:
        return await run(app, closing, mouse=app.settings.mouse)
    finally:
        if recorder is not None:
            recorder.close()


async def replay(recording: Recording) -> None:
    """Show a recording until the user leaves.  Nothing can be changed in it."""
    from blkrun.dashboard.player import Player  # noqa: PLC0415
    from blkrun.dashboard.replaying import Replay  # noqa: PLC0415 - Textual is for those who look
    from blkrun.dashboard.running import run  # noqa: PLC0415

    app = Replay(Player(recording), recording.meta.title)
    await run(app, None, mouse=app.settings.mouse)
