"""What the keys of a recording do, each by its name: ``getattr(playback, name)()``."""

from collections.abc import Mapping

from blkrun.dashboard.model.playback import Position, neighbour, typed_time
from blkrun.dashboard.player import Player

_LEAP_S = 10.0


class Playback:
    """Controls a player; knows nothing of the app."""

    def __init__(self, player: Player) -> None:
        self._player = player

    @property
    def position(self) -> Position:
        """For the slider."""
        return self._player.position

    def offered(self) -> Mapping[str, bool]:
        """Of the two keys that undo each other only one."""
        playing = self.position.playing
        return {"replay('play')": not playing, "replay('pause')": playing}

    def play(self) -> None:
        """Go on."""
        self._player.play()

    def pause(self) -> None:
        """Stay."""
        self._player.pause()

    def step(self) -> None:
        """To the next look."""
        self._player.step(1)

    def step_back(self) -> None:
        """To the look before."""
        self._player.step(-1)

    def back(self) -> None:
        """Ten seconds."""
        self._player.leap(-_LEAP_S)

    def on(self) -> None:
        """Ten seconds."""
        self._player.leap(_LEAP_S)

    def slower(self) -> None:
        """The next lower speed."""
        self._player.set_speed(neighbour(self.position.speed, -1))

    def faster(self) -> None:
        """The next higher one."""
        self._player.set_speed(neighbour(self.position.speed, 1))

    def first(self) -> None:
        """To where it begins."""
        self._player.seek(self.position.first_s)

    def last(self) -> None:
        """To where it ends."""
        self._player.seek(self.position.last_s)

    def seek(self, at_s: float) -> None:
        """To a time, of the slider's."""
        self._player.seek(at_s)

    def go_to(self, text: str) -> bool:
        """To a time as somebody types it; False if it is none."""
        at_s = typed_time(text, self.position)
        if at_s is None:
            return False
        self._player.seek(at_s)
        return True
