"""Every key there is: what settings may give another key to, and what the help lists."""

from textual.binding import Binding

from blkrun.dashboard.keys import APP_KEYS, PANEL_KEYS
from blkrun.dashboard.keys_replay import REPLAY_KEYS
from blkrun.dashboard.widgets.events import EVENT_KEYS
from blkrun.dashboard.widgets.graph import GRAPH_KEYS
from blkrun.dashboard.widgets.plots import PLOT_KEYS

ALWAYS: tuple[Binding, ...] = (*APP_KEYS, *PANEL_KEYS)
"""On offer wherever one is, if they have something to do."""

ELSEWHERE: dict[str, tuple[Binding, ...]] = {
    "In the graph": GRAPH_KEYS,
    "In the plots": PLOT_KEYS,
    "In the events": EVENT_KEYS,
    "In a recording": REPLAY_KEYS,
}
"""On offer while that panel has the focus, or only there."""

ALL = (*ALWAYS, *(key for keys in ELSEWHERE.values() for key in keys))
