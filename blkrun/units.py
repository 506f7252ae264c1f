"""Sizes and times as people write them: ``"64KiB"``, ``"10GB"``, ``"250ms"``.

Parsing gives plain integers in the base unit (bytes, nanoseconds, whole seconds);
formatting gives the shortest exact or three-digit form.  Pure, used by both processes.
"""

import errno
import re
from decimal import Decimal

_DIGITS = r"\d+(?:\.\d+)?"
_NUMBER = re.compile(rf"\s*({_DIGITS})\s*([A-Za-zµ]*)\s*")

_BYTES: dict[str, int] = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "PiB": 2**50,
    # The one-letter forms are qemu-img's and nbdkit's: powers of 1024.
    "k": 2**10,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
    "P": 2**50,
}

_NANOSECONDS: dict[str, int] = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}

_ERRNOS = {name: number for number, name in errno.errorcode.items()}

_COUNTS: dict[str, int] = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}


def parse_bytes(text: str) -> int:
    """``"64KiB"`` → 65536.  Raises ValueError, saying what would have been right."""
    return _parse(text, _BYTES, what="a size", example='"64KiB", "10GB" or 512')


def parse_count(text: str) -> int:
    """``"2k"`` → 2000 operations (decimal)."""
    return _parse(text, _COUNTS, what="a count", example='2000 or "2k"')


def parse_ns(text: str) -> int:
    """``"250ms"`` → 250_000_000 nanoseconds.  The unit may not be left out."""
    return _parse(text, _NANOSECONDS, what="a time", example='"250ms" or "10s"')


def parse_seconds(text: str) -> int:
    """``"10s"`` → 10.  QEMU counts burst lengths in whole seconds, so a fraction is refused."""
    nanoseconds = parse_ns(text)
    seconds, rest = divmod(nanoseconds, 10**9)
    if rest:
        raise ValueError(f"{text!r} is not a whole number of seconds")
    return seconds


def parse_errno(text: str) -> int:
    """``"ENOSPC"`` or ``"28"`` → 28, by Linux' names."""
    number = _ERRNOS.get(text)
    if number is None and text.isdecimal():
        number = int(text)
    if number is None:
        raise ValueError(f'{text!r} is not an errno; write "EIO", "ENOSPC" or a number')
    return number


def format_errno(number: int) -> str:
    """Its name, if it has one: 28 → ``ENOSPC``."""
    return errno.errorcode.get(number, str(number))


def _parse(text: str, scale: dict[str, int], *, what: str, example: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] not in scale:
        raise ValueError(f"{text!r} is not {what}; write {example}")
    value = Decimal(match[1]) * scale[match[2]]
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number of the base unit")
    return int(value)


def pattern(unit: str) -> str:
    """What a unit's strings look like ("bytes", "count", "seconds", "ns", "errno").

    It is for JSON Schema, and says less than the parser, which also refuses a fraction of the base
    unit, and what is no errno.
    """
    if unit == "errno":
        return r"^(E[A-Z0-9]+|\d+)$"
    scale = {"bytes": _BYTES, "count": _COUNTS}.get(unit, _NANOSECONDS)
    names = "|".join(name for name in scale if name)
    return rf"^\s*{_DIGITS}\s*({names}){'?' if '' in scale else ''}\s*$"


def format_bytes(count: int) -> str:
    """Exact binary form where there is one: 65536 → ``64KiB``, 1000 → ``1000B``."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor and count % factor == 0:
            return f"{count // factor}{unit}"
    return f"{count}B"


def format_about(count: float) -> str:
    """Binary, three digits: 64 MiB → ``64MiB``, 4_500_000 → ``4.29MiB``."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= 0.9995 * factor:
            value = count / factor
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.3g}{unit}"
    return f"{count:.0f}B"


def format_short(value: float) -> str:
    """Four characters or fewer, in decimal steps: 412_345_678 → ``412M``, 9800 → ``9.8k``."""
    for suffix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            if suffix and value < 9.95:
                return f"{value:.1f}{suffix}"
            return f"{value:.0f}{suffix}"
        value /= 1000
    return f"{value:.0f}E"


def format_ns(duration_ns: float) -> str:
    """A duration in the unit that reads best: 1_500_000 → ``1.5ms``."""
    for unit, factor in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if duration_ns >= 0.9995 * factor:
            value = duration_ns / factor
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.3g}{unit}"
    return f"{duration_ns:.0f}ns"


def format_seconds(duration_s: float) -> str:
    """A wait, in its two largest units: 75 → ``1min 15s``, 4000 → ``1h 6min``."""
    seconds = round(duration_s)
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    first, *rest = parts[:2]
    return " ".join(
        f"{count}{unit}" for count, unit in (first, *(each for each in rest if each[0]))
    )
