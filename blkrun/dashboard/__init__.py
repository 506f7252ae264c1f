"""The dashboard: what a server does, in the terminal, as a client of its control socket.

::

    poller ──reports──▶ app ──▶ model (pure: snapshots → rows) ──▶ widgets (rows → lines)

It owns nothing: closing it, or its terminal, leaves the disks served.  ``show`` is the only
entrance; Textual is imported inside it, since nothing else of blkrun needs it.
"""

import asyncio
from pathlib import Path


async def show(  # noqa: PLR0913 - all by name
    *,
    control: Path,
    title: str,
    refresh_s: float,
    owner: bool,
    read_only: bool = False,
    closing: asyncio.Event | None = None,
) -> str:
    """Show the server behind ``control`` until the user leaves or ``closing`` is set.

    A signal to end, or the end of the terminal, sets it too.

    Gives "stop" when the user wants the server ended, else "detach".  Only an ``owner`` is asked.
    ``read_only``: no action that changes anything is on offer.
    """
    from blkrun.dashboard.actions.base import Desk  # noqa: PLC0415
    from blkrun.dashboard.app import Dashboard  # noqa: PLC0415 - Textual is for those who look
    from blkrun.dashboard.poller import Poller  # noqa: PLC0415
    from blkrun.dashboard.running import run  # noqa: PLC0415

    app = Dashboard(
        Poller(control, refresh_s=refresh_s), Desk(title=title, owner=owner, read_only=read_only)
    )
    return await run(app, closing, mouse=app.settings.mouse)
