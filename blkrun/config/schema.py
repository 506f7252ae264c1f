"""The file as a JSON Schema (draft-07), for editors: completion, checks and meanings as one types.

It accepts every file that the reader accepts.  What it cannot say, such as that a name is one of a
node that there is, only the reader checks; each table's description says which rules those are.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from blkrun.config.catalogue import Entry, Value, as_object, catalogue
from blkrun.config.names import JOB_PATTERN, JOB_RULE, PATTERN, RULE

_DESCRIPTION = (
    "Block devices as a text file: a file for blkrun. Rules between tables, such as that a name "
    "is one of a table that there is, are checked by blkrun check only."
)

_INCLUDE: Value = {
    "description": "more files, with any tables but [server], [runner] and [dashboard]: patterns "
    'such as "tenants/*.toml", relative to this file',
    "type": "array",
    "items": {"type": "string"},
}

_NODES_BY_HAND = (
    "blkrun check tells besides: that the nodes and groups named are there, that no node is below "
    "itself, and that backends and nodes have different names"
)

_NOTES = {
    "throttle-groups": "blkrun check tells besides which limits exclude each other, as QEMU has "
    "it: a total and its read or write, a burst without its average",
    "backends": f"{_NODES_BY_HAND}; that nbd has one of uri and command, and that no two write "
    "one file",
    "nodes": _NODES_BY_HAND,
    "exports": "blkrun check tells besides: that the node is there, that what is writable has "
    "nothing read-only below it, and which limits exclude each other",
    "bitmaps": "blkrun check tells besides: that the node is there, and that the granularity is "
    "a power of two from 512 bytes to 2 GiB",
    "jobs": "blkrun check tells besides: that device and target are there and are two disks that "
    "no other job has, which bitmap options go together, and what granularity there can be",
}

_NODE_NAME: Value = {"pattern": f"^{PATTERN}$", "description": RULE}

_NAMES: dict[str, Value] = {
    "throttle-groups": _NODE_NAME,
    "backends": _NODE_NAME,
    "nodes": _NODE_NAME,
    "jobs": {"pattern": f"^{JOB_PATTERN}$", "description": JOB_RULE},
    "exports": {"minLength": 1},
    "bitmaps": {"minLength": 1},
}


def schema_text() -> str:
    """What ``blkrun schema`` prints, and what ``blkrun/schema.json`` holds."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> Value:
    """The schema of a file; one that another includes may have less than it says."""
    entries = catalogue()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "blkrun",
        "description": _DESCRIPTION,
        "type": "object",
        "properties": {"include": _INCLUDE, **_properties(entries)},
        "additionalProperties": False,
        "definitions": {entry.name: _definition(entry) for entry in entries.values()},
    }


def _properties(entries: Mapping[str, Entry]) -> Value:
    """The file's tables in the order in which a file is written."""
    backends = [entry for entry in entries.values() if entry.kind == "backend"]
    nodes = [entry for entry in entries.values() if entry.kind in ("filter", "format")]
    jobs = [entry for entry in entries.values() if entry.kind == "job"]
    return {
        "server": _ref("server"),
        "runner": _ref("runner"),
        "dashboard": _ref("dashboard"),
        "throttle-groups": _collection("throttle-groups", _ref("throttle-groups")),
        "backends": _collection("backends", _one_of(backends, "driver", "where the bytes are")),
        "nodes": _collection("nodes", _one_of(nodes, "driver", "what stands over another node")),
        "exports": _collection("exports", _ref("exports")),
        "bitmaps": _collection("bitmaps", _ref("bitmaps")),
        "jobs": _collection("jobs", _one_of(jobs, "type", "background work on disks")),
    }


def _definition(entry: Entry) -> Value:
    return {"title": entry.name, "description": entry.text, **as_object(entry.options)}


def _ref(name: str) -> Value:
    return {"$ref": f"#/definitions/{name}"}


def _collection(name: str, member: Value) -> Value:
    return {
        "description": f"[{name}.NAME]; {_NOTES[name]}.",
        "type": "object",
        "propertyNames": _NAMES[name],
        "additionalProperties": member,
    }


def _one_of(entries: Collection[Entry], tag: str, text: str) -> Value:
    """A table whose keys depend on its driver or type."""
    return {
        "description": text,
        "type": "object",
        "properties": {tag: {"enum": [entry.name for entry in entries]}},
        "required": [tag],
        # By if and then, what is wrong is told by its key, and not as "none of four drivers".
        "allOf": [{"if": _has(tag, entry.name), "then": _ref(entry.name)} for entry in entries],
        # Taplo completes from these, and does not look behind if; {} makes them refuse nothing.
        "anyOf": [*(_ref(entry.name) for entry in entries), {}],
    }


def _has(tag: str, name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {tag: {"const": name}}, "required": [tag]}
