"""An edit of which one action fails, on a real server: it is told where, and nothing is done."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from blkrun.cli import Exit
from tests.live.hammering import Hammer
from tests.live.service import THROTTLED, Service

EDITED = """\
[throttle-groups.g]
iops-total = 50000

[throttle-groups.h]

[backends.disk]
driver = "memory"
size   = "64MiB"

[backends.log]
driver = "file"
path   = "log.img"
size   = "1MiB"
create = true

[backends.bad]
driver = "file"
path   = "none.img"

[nodes.limit]
driver         = "throttle"
throttle-group = "h"
file           = "alarm"

[nodes.alarm]
driver          = "write-threshold"
write-threshold = "32MiB"
file            = "disk"

[exports.vda]
node = "limit"

[exports.bad]
node = "bad"
"""
LINE = EDITED.splitlines().index("[backends.bad]") + 1


@pytest.mark.parametrize("with_runner", [True, False])
def test_an_image_that_cannot_be_opened(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer], *, with_runner: bool
) -> None:
    """The report, or the command, has file, line and table; the graph and the files stay.

    Clients who write meanwhile read what they wrote; what is mended is then done.
    """
    service = serve(THROTTLED)
    client = hammer(service.uri())
    client.rate(0.2)
    before = state(service)
    if with_runner:
        event = service.edit_and_wait(EDITED)
        assert event["event"] == "X_BLKRUN_CONFIG_FAILED"
        told = str(event["data"])
    else:
        service.kill_runner()
        service.file.write_text(EDITED)
    done = service.blkrun("apply", "--yes")
    assert done.returncode == Exit.FAILED
    for text in (done.stdout + done.stderr, *([told] if with_runner else [])):
        assert f"vm.toml:{LINE}: [backends.bad] Could not open '" in text
        assert "none.img': No such file or directory" in text
    client.rate(0.2)
    assert state(service) == before
    assert not (service.file.parent / "log.img").exists()
    (service.file.parent / "none.img").write_bytes(bytes(4096))
    done = service.blkrun("apply", "--yes")
    assert done.returncode == Exit.DONE, done.stdout + done.stderr
    assert service.live() == service.desired()
    client.rate(0.2)
    client.assert_unharmed()


def state(service: Service) -> Any:
    """The graph, its revision and its throttle groups, without what requests count."""
    report = service.graph()
    return report["revision"], msgspec.to_builtins(service.live())
