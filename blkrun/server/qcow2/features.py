"""The feature bits of a header, by name."""

from collections.abc import Iterator

DIRTY = 1 << 0
CORRUPT = 1 << 1
EXTERNAL_DATA = 1 << 2
COMPRESSION_TYPE = 1 << 3
EXTENDED_L2 = 1 << 4
"""Incompatible ones."""

LAZY_REFCOUNTS = 1 << 0
"""A compatible one."""

BITMAPS = 1 << 0
RAW_EXTERNAL_DATA = 1 << 1
"""Autoclear ones."""

KNOWN_INCOMPATIBLE = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2
KNOWN_AUTOCLEAR = BITMAPS | RAW_EXTERNAL_DATA

INCOMPATIBLE, COMPATIBLE, AUTOCLEAR = range(3)
"""Types in the feature name table."""

NAMES = {
    (INCOMPATIBLE, 0): "dirty bit",
    (INCOMPATIBLE, 1): "corrupt bit",
    (INCOMPATIBLE, 2): "external data file",
    (INCOMPATIBLE, 3): "compression type",
    (INCOMPATIBLE, 4): "extended L2 entries",
    (COMPATIBLE, 0): "lazy refcounts",
    (AUTOCLEAR, 0): "bitmaps",
    (AUTOCLEAR, 1): "raw external data",
}
"""(type, bit number) → the name that QEMU writes in the feature name table."""

_ENTRY_BYTES = 48
_NAME_BYTES = 46


def encode_names() -> bytes:
    """The feature name table of a new image."""
    return b"".join(
        bytes(key) + name.encode().ljust(_NAME_BYTES, b"\0") for key, name in NAMES.items()
    )


def decode_names(table: bytes) -> dict[tuple[int, int], str]:
    """The feature name table of an image, which may know of bits that this driver does not."""
    names = {}
    for at in range(0, len(table) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        name = table[at + 2 : at + _ENTRY_BYTES].rstrip(b"\0").decode(errors="replace")
        names[table[at], table[at + 1]] = name
    return names


def unknown_incompatible(incompatible: int, names: dict[tuple[int, int], str]) -> Iterator[str]:
    """The bits that keep this driver from opening an image, by name where the image gives one."""
    rest = incompatible & ~KNOWN_INCOMPATIBLE
    while rest:
        bit = (rest & -rest).bit_length() - 1
        rest &= rest - 1
        yield names.get((INCOMPATIBLE, bit)) or f"incompatible feature bit {bit}"
