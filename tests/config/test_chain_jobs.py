"""[jobs.NAME] of type stream and commit: what they become, and what can be wrong with them."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.job_options import CommitOptions, StreamOptions
from tests.server import overlay

FILE = Path("/lab/lab.toml")

GOOD = """\
[backends.base]
driver = "memory"
[nodes.mid]
driver = "overlay"
size = "1GiB"
backing = "base"
[nodes.limit]
driver = "write-threshold"
file = "mid"
write-threshold = 0
[nodes.top]
driver = "overlay"
size = "1GiB"
backing = "limit"
[jobs.flatten]
type = "stream"
device = "top"
"""


@pytest.fixture(autouse=True)
def _overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.register(monkeypatch)


def messages(text: str) -> list[tuple[int, str]]:
    """Line and message of each diagnostic."""
    return [(each.line, each.message) for each in config.check(text, FILE)]


def test_a_stream() -> None:
    """The whole chain, and down to a base; filters on the way say nothing."""
    (job,) = config.parse(GOOD, FILE).graph.jobs.values()
    wanted = StreamOptions(job_id="flatten", device="top", filter_node_name="flatten-filter")
    assert job == wanted
    (job,) = config.parse(GOOD + 'base-node = "base"\n', FILE).graph.jobs.values()
    assert isinstance(job, StreamOptions)
    assert job.base_node == "base"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('base-node = "nope"', 'jobs.flatten.base-node: there is no node or backend "nope"'),
        (
            'base-node = "top"',
            "jobs.flatten.base-node: Node 'top' is not a backing image of 'top'",
        ),
        (
            'bottom = "limit"',
            "jobs.flatten.bottom: Node 'limit' is not a backing image of 'top'",
        ),
        (
            'bottom = "mid"\nbase-node = "base"',
            "jobs.flatten.bottom: 'bottom' and 'base-node' cannot be specified at the same time: ",
        ),
        ('target = "base"', 'unknown key "target" in jobs.flatten'),
        (
            '[jobs.second]\ntype = "stream"\ndevice = "top"',
            "jobs.flatten.device: node 'top' is busy: jobs.second uses it; ",
        ),
    ],
)
def test_a_mistake_is_told(more: str, message: str) -> None:
    """In QEMU's words, with the place."""
    found = [text for _, text in messages(GOOD + more)]
    assert any(text.startswith(message) for text in found), found


def test_a_chain_that_the_file_does_not_tell() -> None:
    """Where only opening an image tells what is below, the server checks."""
    text = GOOD.replace('size = "1GiB"\nbacking = "base"', 'size = "1GiB"')
    assert messages(text + 'base-node = "base"') == []


COMMIT = GOOD.replace("stream", "commit")


def test_a_commit() -> None:
    """Of the device to the last image, if nothing else is said."""
    (job,) = config.parse(COMMIT, FILE).graph.jobs.values()
    wanted = CommitOptions(job_id="flatten", device="top", filter_node_name="flatten-filter")
    assert job == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            COMMIT + 'base-node = "top"',
            "jobs.flatten.base-node: 'top' is not in this backing file chain",
        ),
        (
            COMMIT + 'top-node = "limit"',
            "jobs.flatten.top-node: 'limit' is not in this backing file chain",
        ),
        (
            COMMIT + 'top-node = "base"',
            "jobs.flatten.device: cannot commit an image into itself",
        ),
        (
            COMMIT + 'top-node = "mid"\nbase-node = "mid"',
            "jobs.flatten.device: cannot commit an image into itself",
        ),
        (
            COMMIT + 'top-node = "mid"\nwhen-ready = "pivot"',
            "jobs.flatten.when-ready: only a commit of the device itself gets ready: remove this",
        ),
        (
            COMMIT.replace('"memory"', '"memory"\nread-only = true'),
            "jobs.flatten.device: the job writes to 'base', but backends.base is read-only",
        ),
    ],
)
def test_a_commit_that_cannot_be(text: str, message: str) -> None:
    """In QEMU's words, with the place; a job that is switched off is left alone."""
    assert [found for _, found in messages(text)] == [message]
    assert messages(text + "\nenabled = false") == []
