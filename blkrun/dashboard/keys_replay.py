"""The keys that a recording has besides the dashboard's; each is a method of ``Playback``."""

from textual.binding import Binding

REPLAY_KEYS: tuple[Binding, ...] = (
    Binding("space", "replay('play')", "Play", id="replay.play", tooltip="go on"),
    Binding("space", "replay('pause')", "Pause", id="replay.pause", tooltip="stay here"),
    Binding(
        "comma",
        "replay('step_back')",
        "Step back",
        id="replay.step-back",
        tooltip="to the look before",
        key_display=",",
    ),
    Binding(
        "full_stop",
        "replay('step')",
        "Step",
        id="replay.step",
        tooltip="to the next look",
        key_display=".",
    ),
    Binding(
        "left_curly_bracket",
        "replay('back')",
        "10 s back",
        id="replay.back",
        tooltip="ten seconds back",
        show=False,
        key_display="{",
    ),
    Binding(
        "right_curly_bracket",
        "replay('on')",
        "10 s on",
        id="replay.on",
        tooltip="ten seconds on",
        show=False,
        key_display="}",
    ),
    Binding(
        "less_than_sign",
        "replay('slower')",
        "Slower",
        id="replay.slower",
        tooltip="the next lower speed",
        show=False,
        key_display="<",
    ),
    Binding(
        "greater_than_sign",
        "replay('faster')",
        "Faster",
        id="replay.faster",
        tooltip="the next higher speed, up to 60 times",
        key_display=">",
    ),
    Binding(
        "home", "replay('first')", "First", id="replay.first", tooltip="the first look", show=False
    ),
    Binding("end", "replay('last')", "Last", id="replay.last", tooltip="the last look", show=False),
    Binding("g", "go_to_time", "Go to", id="replay.go", tooltip="a time that is typed"),
)
