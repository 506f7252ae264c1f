"""What an image says of other files: how their names are meant.  Pure.

QEMU's rules: a name is a path, relative to the image that has it, or begins with a protocol.
"""

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from blkrun.server.qcow2.errors import ImageError

FORMATS = ("raw", "qcow2")

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NBD = ("nbd://", "nbd+unix://", "nbds://", "nbds+unix://")


@dataclass(frozen=True, slots=True)
class Reference:
    """A file or an NBD server, one of the two; ``format`` is None where nothing is said of it."""

    path: str | None = None
    uri: str | None = None
    format: str | None = None


def resolve(name: str, image_format: str | None, image_path: str | None) -> Reference:
    """What a name in an image at a path means.

    Raises ImageError if it needs a driver that there is none of, or is relative to nothing.
    """
    if name.startswith("json:"):
        return _resolve_json(name, image_format, image_path)
    if image_format is not None and image_format not in FORMATS:
        raise ImageError(f"Unknown driver '{image_format}' for '{name}'")
    if name.startswith(_NBD):
        return Reference(uri=name, format=image_format)
    protocol = _PROTOCOL.match(name)
    if protocol is not None and protocol[0] != "file:":
        raise ImageError(f"Unknown protocol '{protocol[0][:-1]}' of '{name}'")
    path = name.removeprefix("file:")
    if not path:
        raise ImageError("The name of a file is empty")
    if not path.startswith("/"):
        if image_path is None:
            raise ImageError(
                f"'{name}' is relative to the image, and that is no file of its own; "
                "name the node that it shall be in 'backing' or 'data-file'"
            )
        path = os.path.join(os.path.dirname(image_path), path)  # noqa: PTH118, PTH120 - "..", "//" stay as QEMU has them
    return Reference(path=path, format=image_format)


def _resolve_json(name: str, image_format: str | None, image_path: str | None) -> Reference:
    """``json:`` with a format over a file, or a file alone, as QEMU writes for its own nodes."""
    try:
        options = json.loads(name.removeprefix("json:"))
    except ValueError as error:
        raise ImageError(f"Could not parse the JSON options in '{name}'") from error
    driver = image_format
    if isinstance(options, dict) and options.get("driver") in FORMATS:
        driver, options = options["driver"], _only(options, {"driver", "file"}, name).get("file")
    if not isinstance(options, dict) or options.get("driver") != "file":
        raise ImageError(f"Only files can be named by JSON options: '{name}'")
    path = _only(options, {"driver", "filename"}, name).get("filename")
    if not isinstance(path, str):
        raise ImageError(f"No 'filename' in '{name}'")
    return resolve(f"file:{path}", driver, image_path)


def _only(options: dict[str, Any], known: set[str], name: str) -> dict[str, Any]:
    if unknown := sorted(options.keys() - known):
        raise ImageError(f"Option '{unknown[0]}' is not supported in '{name}'")
    return options
