"""The shape of a command, the check of its arguments, and QEMU's words for what is wrong.

A command is a row: name, argument Struct, handler, one line of documentation.  Rows with
``stage`` are graph edits: alone they are a transaction of one, in ``transaction`` they are part
of a bigger one.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from blkrun.decode import Kind, Path, Problem, decode
from blkrun.errors import CommandError
from blkrun.options import DRIVERS, EDGES, BlockdevOptions, lists_of
from blkrun.server.actions import generated_name
from blkrun.server.context import Context
from blkrun.server.staging import Staging

A = TypeVar("A", bound=Struct)


class NoArguments(Struct, frozen=True):
    """For commands that take none."""


class Command(Struct, Generic[A], frozen=True, kw_only=True):
    """One row of the table.

    ``parse`` makes the arguments from the JSON object; ``run`` answers a query; ``stage`` stages
    an edit.  ``departing`` names the nodes that the edit will remove, see Staging.departing.
    """

    name: str
    doc: str
    parse: Callable[[dict[str, Any]], A]
    run: Callable[[Context, A], Any] | None = None
    stage: Callable[[Staging, A], None] | None = None
    departing: Callable[[A], str] | None = None


def arguments(struct: type[A]) -> Callable[[dict[str, Any]], A]:
    """A parser for plain arguments.  Raises CommandError in QEMU's words."""

    def parse(raw: dict[str, Any]) -> A:
        problems: list[Problem] = []
        decoded = decode(struct, raw, problems)
        if decoded is None:
            raise CommandError(qemu_words(problems[0]))
        return decoded

    return parse


class AddedNodes(Struct, frozen=True):
    """A blockdev-add: the node, and the children given inline, deepest first."""

    inline: tuple[BlockdevOptions, ...]
    node: BlockdevOptions


def parse_blockdev(raw: dict[str, Any], path: Path = ()) -> AddedNodes:
    """BlockdevOptions, with children by reference (a string) or inline (an object)."""
    inline: list[BlockdevOptions] = []
    if "node-name" not in raw:
        raise CommandError("'node-name' must be specified for the root node")
    node = _blockdev(raw, path, inline)
    return AddedNodes(tuple(inline), node)


def _blockdev(raw: dict[str, Any], path: Path, inline: list[BlockdevOptions]) -> BlockdevOptions:
    driver = raw.get("driver")
    if driver is None:
        raise CommandError(f"Parameter '{dotted((*path, 'driver'))}' is missing")
    if not isinstance(driver, str):
        name = dotted((*path, "driver"))
        raise CommandError(f"Invalid parameter type for '{name}', expected: string")
    if driver not in DRIVERS:
        raise CommandError(
            f"Parameter '{dotted((*path, 'driver'))}' does not accept value '{driver}'"
        )
    options = DRIVERS[driver]
    values = {key: value for key, value in raw.items() if key != "driver"}
    for key in EDGES[options].keys() & values.keys():
        value = values[key]
        if key in lists_of(options) and isinstance(value, list):
            values[key] = [
                _child(item, (*path, key, index), inline) for index, item in enumerate(value)
            ]
        else:
            values[key] = _child(value, (*path, key), inline)
    problems: list[Problem] = []
    decoded = decode(options, values, problems, path)
    if decoded is None:
        raise CommandError(qemu_words(problems[0]))
    return decoded


def _child(value: Any, path: Path, inline: list[BlockdevOptions]) -> Any:
    """The name of a child given inline, which gets one if it has none; all else as it is."""
    if not isinstance(value, dict):
        return value
    child = {"node-name": generated_name(), **value}
    inline.append(_blockdev(child, path, inline))
    return child["node-name"]


def qemu_words(problem: Problem) -> str:
    """How QEMU says it (qemu-semantics §9.2)."""
    if problem.kind is Kind.MISSING:
        return f"Parameter '{dotted((*problem.path, problem.expected or ''))}' is missing"
    name = dotted(problem.path)
    if problem.kind is Kind.UNEXPECTED:
        return f"Parameter '{name}' is unexpected"
    if problem.kind is Kind.TYPE:
        return f"Invalid parameter type for '{name}', expected: {problem.expected}"
    return f"Parameter '{name}' does not accept value '{problem.value}'"


def dotted(path: Path) -> str:
    """QEMU's way to a nested argument: ``options[0].backing``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
