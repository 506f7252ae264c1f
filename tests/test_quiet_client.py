"""The QMP client, against a server that is only a script."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest
from qemu.qmp import Message

from blkrun.client import Client

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and return an empty object to whatever is asked."""
    writer.write(GREETING)
    while request := await reader.read(4096):  # whole: another is only sent when it is answered
        identity = {key: value for key, value in Message(request).items() if key == "id"}
        writer.write(bytes(Message({"return": {}, **identity})) + b"\r\n")
    writer.close()


def test_no_message_is_made_readable_for_a_log_that_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of large replies that takes longer than all the rest."""

    def refuse(_: Message) -> NoReturn:
        raise AssertionError("nobody reads this")

    monkeypatch.setattr(Message, "__str__", refuse)
    control = tmp_path / "qmp"

    async def act() -> object:
        async with (
            await asyncio.start_unix_server(answer, control),
            await Client.connect(control) as client,
        ):
            return await client.execute("query-version")

    assert asyncio.run(act()) == {}
