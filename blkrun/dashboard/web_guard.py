"""Who may see and use a dashboard that is served to browsers: a pure decision.

A disk hangs on it, and a browser lets every page of the web connect to this machine.  So there is a
secret, which the printed URL has and then a cookie; requests that name another host are refused,
as a page may have had its own name point here, and websockets of pages that are not ours.

Browsers send a cookie to all ports of a machine, where anybody may serve anything, but only below
the path that it is for: so everything is below one that nobody can guess.
"""

from dataclasses import dataclass
from hmac import compare_digest
from typing import Literal

Verdict = Literal["welcome", "enter", "refused"]
"""``enter``: the secret came in the URL; it is to go on in a cookie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request says of itself; ``route`` is the name of what it would reach."""

    route: str
    host: str
    origin: str | None = None
    cookie: str = ""
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """Of one address and one secret; ``folder`` is the name that all but the entrance is below."""

    host: str
    port: int
    secret: str
    folder: str

    @property
    def authority(self) -> str:
        """Host and port as browsers write them: without the port that HTTP has anyway."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 80 else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Of our own pages."""
        return f"http://{self.authority}"

    @property
    def entrance(self) -> str:
        """The URL for whoever may look."""
        return f"{self.origin}/?token={self.secret}"

    @property
    def home(self) -> str:
        """The path of the page; the cookie is sent to what is below it."""
        return f"/{self.folder}/"

    @property
    def cookie_name(self) -> str:
        """Ports share their cookies: two dashboards must not take away each other's."""
        return f"blkrun-{self.port}"

    def judge(self, asked: Asked) -> Verdict:
        """What becomes of a request."""
        if asked.host != self.authority or not self._is_origin_right(asked):
            return "refused"
        if asked.route == "entrance":
            return "enter" if self._is_secret(asked.token or "") else "refused"
        return "welcome" if self._is_secret(asked.cookie) else "refused"

    def _is_origin_right(self, asked: Asked) -> bool:
        """Browsers always say it of a websocket, and of nothing that a link leads to."""
        if asked.origin is None:
            return asked.route != "websocket"
        return asked.origin == self.origin

    def _is_secret(self, said: str) -> bool:
        """How long it takes tells nothing about it."""
        return compare_digest(said.encode(errors="replace"), self.secret.encode())
