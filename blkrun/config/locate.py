"""Where a file's server is met, also while the file is being edited and wrong.

``status`` and ``stop`` have to work just then.  What cannot be read counts as left out: a server
that was started from the file as it was is met at the address that the file gave, unless the
mistake is in that very line.
"""

from pathlib import Path

from blkrun.config.address import decode_address
from blkrun.config.sections import decode_document
from blkrun.config.tables import Raw
from blkrun.errors import FileError
from blkrun.model import ServerAddress
from blkrun.toml.part import Part
from blkrun.toml.source import absolute, read_bytes
from blkrun.toml.syntax import parse_toml


def locate(path: Path) -> ServerAddress:
    """The address.  Raises FileError only if not even the default one can be used."""
    file = absolute(Path.cwd(), str(path))
    return _address(_document(path), file) or _default(file)


def _document(path: Path) -> Raw:
    try:
        parsed = parse_toml(read_bytes(path), path)
    except FileError:
        return {}
    return parsed.document if isinstance(parsed, Part) else {}


def _address(document: Raw, file: Path) -> ServerAddress | None:
    return decode_address(decode_document(document, file.parent, []).server, file, [])


def _default(file: Path) -> ServerAddress:
    address = _address({}, file)
    if address is None:
        raise FileError(f"{file}: its default sockets would have too long a path")
    return address
