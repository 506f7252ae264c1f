"""Events as a log has them, for ``run --headless`` and ``events``."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from blkrun.messages import (
    Level,
    event_level,
    event_matters,
    event_text,
    event_time,
    operations_text,
)

STYLES = {Level.GOOD: "green", Level.WARNING: "yellow", Level.ERROR: "bold red", Level.INFO: ""}


def event_lines(event: dict[str, Any]) -> Iterator[Text]:
    """Time, level, words in one line; what is wrong with a file also shows the place.

    Nothing of an event that another tells better.
    """
    if not event_matters(event):
        return
    level = event_level(event)
    data = event.get("data", {})
    line = Text(f"{event_time(event)} {level.value:5} {event_text(event)}", style=STYLES[level])
    if operations := operations_text(data):
        line.append(f": {operations}", style="dim")
    yield line
    for place in str(data.get("message", "")).splitlines()[1:]:
        yield Text(f"  {place}", style="dim")
