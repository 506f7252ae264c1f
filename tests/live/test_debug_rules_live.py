"""blkdebug under clients: rules saved in the file hold from then on, and hurt nothing else."""

from collections.abc import Callable

from tests.live.hammering import Hammer
from tests.live.nbd_client import connect, errno_of
from tests.live.service import Service

MIB = 2**20
BASE = """\
[runner]
apply = "all"
[backends.disk]
driver = "file"
path = "disk.img"
size = "16MiB"
create = true
[exports.vda]
node = "{top}"
"""
DEBUG = """\
[nodes.debug]
driver = "blkdebug"
image = "disk"
{limits}
"""


def rule(**values: object) -> str:
    """One [[nodes.debug.inject-error]]."""
    words = {
        key: f'"{value}"' if isinstance(value, str) else value for key, value in values.items()
    }
    lines = "\n".join(
        f"{key} = {str(value).lower() if value is True else value}" for key, value in words.items()
    )
    return f"[[nodes.debug.inject-error]]\n{lines}\n"


def file(limits: str = "", *rules: str) -> str:
    """The whole, with the filter in."""
    return BASE.format(top="debug") + DEBUG.format(limits=limits) + "".join(rules)


def applied(service: Service, text: str) -> list[str]:
    """Save it; what was done."""
    report = service.edit_and_wait(text)
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED", report
    return [str(operation) for operation in report["data"]["operations"]]


def test_rules_in_the_file(serve: Callable[[str], Service]) -> None:
    """Each as saved, with its errno; another rule is a reopen, and what was used up is new."""
    service = serve(file("", rule(event="none", iotype="write", errno="ENOSPC", once=True)))
    handle = connect(service.uri())
    data = b"x" * 512
    assert errno_of(handle.pwrite, data, 0) == "ENOSPC"
    handle.pwrite(data, 0)
    text = file(
        "",
        rule(event="none", iotype="read", sector=8),
        rule(event="none", iotype="write", errno=28, once=True),
    )
    assert applied(service, text) == [
        (
            "~ debug: inject-error [{event = none, iotype = write, errno = ENOSPC, once = true}]"
            " → [{event = none, iotype = read, sector = 8}, "
            "{event = none, iotype = write, errno = ENOSPC, once = true}]"
        )
    ]
    assert errno_of(handle.pread, 512, 4096) == "EIO"
    assert bytes(handle.pread(512, 0)) == data
    assert errno_of(handle.pwrite, data, 512) == "ENOSPC"
    plan = service.blkrun("plan", "--exit-code")
    assert plan.returncode == 0, plan.stdout
    dumped = service.blkrun("dump").stdout
    assert "inject-error" in dumped
    assert applied(service, dumped) == []
    handle.shutdown()


def test_clients_write_while_limits_and_rules_change(serve: Callable[[str], Service]) -> None:
    """No error but those asked for, of a sector that nobody uses, and no wrong byte."""
    service = serve(BASE.format(top="disk"))
    hammer = Hammer(service.uri(), 30)
    unused = rule(event="none", sector=15 * MIB // 512)
    try:
        for limits in (
            "",
            "align = 8192",
            'align = 512\nmax-transfer = "1KiB"',
            "",
            'opt-write-zero = "64KiB"',
        ):
            applied(service, file(limits, unused))
            applied(service, file(limits))
            applied(service, BASE.format(top="disk"))
    finally:
        hammer.assert_unharmed()
