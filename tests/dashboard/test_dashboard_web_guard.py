"""Who is let in to a dashboard in a browser."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.web_guard import Asked, Guard

SECRET = "s3cret-of-the-test"
GUARD = Guard("127.0.0.1", 8000, SECRET, "folder")
ORIGIN = "http://127.0.0.1:8000"
PAGE = Asked(route="index", host="127.0.0.1:8000", cookie=SECRET)
WEBSOCKET = replace(PAGE, route="websocket", origin=ORIGIN)


def test_the_cookie_opens_everything_else() -> None:
    """Page, files, downloads, and the websocket of our own page."""
    assert GUARD.judge(PAGE) == "welcome"
    assert GUARD.judge(replace(PAGE, route="static")) == "welcome"
    assert GUARD.judge(WEBSOCKET) == "welcome"


def test_the_url_gives_the_cookie() -> None:
    """Only its page does, and only with the right secret, whatever cookie there is."""
    entering = replace(PAGE, route="entrance", cookie="", token=SECRET)
    assert GUARD.judge(entering) == "enter"
    assert GUARD.judge(replace(entering, token="", cookie=SECRET)) == "refused"
    assert GUARD.judge(replace(entering, token=None, cookie=SECRET)) == "refused"
    assert GUARD.judge(replace(entering, token="of another server")) == "refused"
    assert GUARD.judge(replace(entering, route="index")) == "refused"
    assert GUARD.judge(replace(entering, route="static")) == "refused"
    assert GUARD.judge(replace(WEBSOCKET, cookie="", token=SECRET)) == "refused"


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1", "localhost:8000", "127.0.0.1:8001", "evil.example:8000"]
)
def test_another_name_for_this_machine_is_refused(host: str) -> None:
    """A page whose name was made to point here is not let in, with any secret."""
    assert GUARD.judge(replace(PAGE, host=host)) == "refused"
    assert GUARD.judge(replace(PAGE, host=host, route="entrance", token=SECRET)) == "refused"


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "http://127.0.0.1", "https://127.0.0.1:8000", "http://127.0.0.1:8001"],
)
def test_websockets_of_other_pages_are_refused(origin: str | None) -> None:
    """Also those of other ports, which get our cookie."""
    assert GUARD.judge(replace(WEBSOCKET, origin=origin)) == "refused"


def test_other_pages_cannot_fetch_ours() -> None:
    """A link says no origin; a script does."""
    assert GUARD.judge(replace(PAGE, origin="http://127.0.0.1:9000")) == "refused"


@given(said=st.text())
def test_no_other_word_is_the_secret(said: str) -> None:
    """Whatever characters it has, in cookie or URL, and none makes an error."""
    welcome = said == SECRET
    assert (GUARD.judge(replace(PAGE, cookie=said)) == "welcome") is welcome
    assert (GUARD.judge(replace(PAGE, route="entrance", token=said)) == "enter") is welcome


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("127.0.0.1", 8000, "127.0.0.1:8000"),
        ("127.0.0.1", 80, "127.0.0.1"),
        ("::1", 8000, "[::1]:8000"),
    ],
)
def test_addresses_are_written_as_browsers_do(host: str, port: int, authority: str) -> None:
    """In the URL, in the Host header and in the origin."""
    guard = Guard(host, port, "x", "folder")
    assert guard.entrance == f"http://{authority}/?token=x"
    asked = Asked(route="websocket", host=authority, origin=f"http://{authority}", cookie="x")
    assert guard.judge(asked) == "welcome"
