"""What waits to change in the graph, and what has drifted: from the runner's reports, by name."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Mark = Literal["", "+", "-", "~", "!"]


class Coming(NamedTuple):
    """A node that is not there: because it is yet to come, or because somebody took it out."""

    name: str
    driver: str
    over: tuple[str, ...]
    mark: Mark


class Marks(NamedTuple):
    """Name → mark.  Drift comes first: it is there now."""

    nodes: Mapping[str, Mark] = {}
    exports: Mapping[str, Mark] = {}
    groups: Mapping[str, Mark] = {}
    coming: tuple[Coming, ...] = ()


NO_MARKS = Marks()

_SIGNS: tuple[Mark, ...] = ("+", "-", "~")


def marks_of(reports: Mapping[str, Mapping[str, Any] | None]) -> Marks:
    """Of an edit that waits for a yes, and of drift."""
    report, drift = reports.get("config") or {}, reports.get("drift") or {}
    pending = report if report.get("kind") == "pending" else {}
    if not pending and not drift:
        return NO_MARKS
    nodes, exports, groups = (
        {**_signs(pending, place), **dict.fromkeys(_signs(drift, place), _DRIFT)}
        for place in ("nodes", "exports", "groups")
    )
    coming = (*_coming(pending, "+"), *_coming(drift, _DRIFT))
    return Marks(nodes, exports, groups, tuple({each.name: each for each in coming}.values()))


_DRIFT: Mark = "!"


def _signs(report: Mapping[str, Any], place: str) -> dict[str, Mark]:
    """Of an older runner there are none."""
    found = report.get(place)
    if not isinstance(found, Mapping):
        return {}
    by_sign: dict[object, Mark] = {sign: sign for sign in _SIGNS}
    return {str(name): by_sign[sign] for name, sign in found.items() if sign in by_sign}


def _coming(report: Mapping[str, Any], mark: Mark) -> tuple[Coming, ...]:
    added = report.get("added")
    if not isinstance(added, Mapping):
        return ()
    return tuple(
        Coming(str(name), str(node.get("driver", "?")), tuple(map(str, node.get("over", ()))), mark)
        for name, node in added.items()
    )
