"""What the dashboard asks for of a driver that is put in."""

import json

import pytest

from blkrun.cli import main
from blkrun.dashboard.model.drivers import insertable


def test_the_main_child_is_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """It is where the node is put, whatever the driver calls it; other children are."""
    assert main(["drivers", "--json"]) == 0
    found = {driver.name: driver for driver in insertable(json.loads(capsys.readouterr().out))}
    asked_for = {name: [key.name for key in driver.keys] for name, driver in found.items()}
    assert asked_for["blkdebug"] == []
    assert asked_for["blklogwrites"] == ["log"]
    assert asked_for["preallocate"] == []
    assert asked_for["throttle"] == ["throttle-group"]
