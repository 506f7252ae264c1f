"""The questions of an insert: which driver, what it is called, and what it needs."""

from collections.abc import Sequence

from blkrun.dashboard.dialogs.asking import Asking
from blkrun.dashboard.model.choices import Choice, name_check, value_check
from blkrun.dashboard.model.drivers import Driver, Key, free_name
from blkrun.dashboard.model.edits import Edit, insert_edit
from blkrun.errors import BlkrunError

_NODE_KEYS = ("target",)
"""Options that name another node."""

_NO_STRINGS = ("true", "false", "inf", "nan")
"""Names that the command line would take for values of TOML."""


async def ask_insert(
    asking: Asking,
    drivers: Sequence[Driver],
    *,
    above: str,
    nodes: Sequence[str],
    groups: Sequence[str],
) -> Edit | None:
    """None if an answer is missing.  Raises BlkrunError if there is nothing to choose from."""
    offered = [Choice(each.name, each.name, each.text) for each in drivers]
    chosen = await asking.choose(f"Insert above {above}", offered)
    driver = next((each for each in drivers if each.name == chosen), None)
    if driver is None:
        return None
    proposed, check = free_name(driver.name, nodes), name_check(nodes)
    name = await asking.ask(f"Name of the new {driver.name}", proposed, check)
    if name is None:
        return None
    values: list[tuple[str, str]] = []
    for key in driver.keys:
        others = [node for node in nodes if node != above]
        value = await _ask_for(asking, key, others, groups)
        if value is None:
            return None
        values.append((key.name, value))
    return insert_edit(name, driver.name, above, None, values)


async def _ask_for(
    asking: Asking, key: Key, nodes: Sequence[str], groups: Sequence[str]
) -> str | None:
    title = f"{key.name}: {key.text}"
    names = _names(key, nodes, groups)
    if names is None:
        return await asking.ask(title, "", value_check(key.unit))
    if not names:
        raise BlkrunError(f"there is nothing for {key.name} yet; {_remedy(key)}")
    name = await asking.choose(title, [Choice(name, name) for name in names])
    return f'"{name}"' if name in _NO_STRINGS else name


def _names(key: Key, nodes: Sequence[str], groups: Sequence[str]) -> Sequence[str] | None:
    """What can be chosen; None: it is to be written."""
    if key.name == "throttle-group":
        return groups
    if key.name in _NODE_KEYS:
        return nodes
    return key.choices or None


def _remedy(key: Key) -> str:
    if key.name == "throttle-group":
        return "a group is made by: blkrun set FILE throttle-groups.NAME.iops-total 1000"
    return "add one to the file first"
