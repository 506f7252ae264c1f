"""Sizes, counts and times as people write them."""

import re
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun import units


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512", 512),
        ("0", 0),
        ("1B", 1),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        (" 10GB ", 10**10),
        ("1.5KiB", 1536),
        ("0.1kB", 100),
        ("1k", 1024),
        ("1K", 1024),
        ("1M", 2**20),
        ("1G", 2**30),
        ("1T", 2**40),
        ("1P", 2**50),
        ("2PiB", 2**51),
        ("3KB", 3000),
    ],
)
def test_sizes(text: str, count: int) -> None:
    """KiB is 1024, kB and KB are 1000, and one letter is qemu-img's power of 1024."""
    assert units.parse_bytes(text) == count


@pytest.mark.parametrize(("text", "count"), [("2000", 2000), ("2k", 2000), ("1.5M", 1_500_000)])
def test_counts(text: str, count: int) -> None:
    """Operations are counted in decimal steps."""
    assert units.parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("1ns", 1),
        ("3us", 3000),
        ("3µs", 3000),
        ("250ms", 250_000_000),
        ("0.5s", 500_000_000),
        ("2min", 120 * 10**9),
        ("1h", 3600 * 10**9),
    ],
)
def test_times(text: str, duration_ns: int) -> None:
    """From nanoseconds to hours."""
    assert units.parse_ns(text) == duration_ns


def test_whole_seconds() -> None:
    """Burst lengths are whole seconds, however they are written; a fraction is refused."""
    assert units.parse_seconds("10s") == 10
    assert units.parse_seconds("1000ms") == 1
    assert units.parse_seconds("1min") == 60
    with pytest.raises(ValueError, match="'1500ms' is not a whole number of seconds"):
        units.parse_seconds("1500ms")


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (units.parse_bytes, "10 parsecs", '\'10 parsecs\' is not a size; write "64KiB", "10GB"'),
        (units.parse_bytes, "", "'' is not a size"),
        (units.parse_bytes, "-1", "'-1' is not a size"),
        (units.parse_bytes, "1kib", "'1kib' is not a size"),
        (units.parse_bytes, "1e3", "'1e3' is not a size"),
        (units.parse_bytes, "1.", "'1.' is not a size"),
        (units.parse_bytes, "0.3B", "'0.3B' is not a whole number of the base unit"),
        (units.parse_count, "2Ki", "'2Ki' is not a count; write 2000 or \"2k\""),
        (units.parse_ns, "5", '\'5\' is not a time; write "250ms" or "10s"'),
        (units.parse_ns, "0.5ns", "'0.5ns' is not a whole number of the base unit"),
    ],
)
def test_refused(parse: Callable[[str], int], text: str, message: str) -> None:
    """What is refused is echoed, with what would have been right."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        parse(text)
    assert str(raised.value).startswith(message)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_format_bytes_is_exact(count: int) -> None:
    """What format_bytes writes parse_bytes reads back."""
    assert units.parse_bytes(units.format_bytes(count)) == count


@given(
    st.decimals(min_value=0, max_value=10**6, places=3),
    st.sampled_from(["KiB", "MiB", "GB", "k", "P"]),
)
def test_fractions_are_exact(number: object, unit: str) -> None:
    """A fraction is either converted without rounding or refused."""
    whole = units.parse_bytes(f"1{unit}")
    thousandths = int(str(number).replace(".", "")) * whole
    if thousandths % 1000:
        with pytest.raises(ValueError, match="not a whole number"):
            units.parse_bytes(f"{number}{unit}")
    else:
        assert units.parse_bytes(f"{number}{unit}") == thousandths // 1000


@given(st.text(max_size=8))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    """No text does anything else."""
    for parse in (units.parse_bytes, units.parse_count, units.parse_ns, units.parse_seconds):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert repr(text) in str(error)  # noqa: PT017 - either outcome is right


@given(st.floats(min_value=0, max_value=999e18))
def test_format_short_is_short(value: float) -> None:
    """A column of four characters is enough for any rate."""
    assert len(units.format_short(value)) <= 4


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999.4, "999"),
        (999.6, "1.0k"),
        (9800, "9.8k"),
        (9960, "10k"),
        (412_345_678, "412M"),
    ],
)
def test_format_short(value: float, shown: str) -> None:
    """Rounded to two or three digits, never to a fourth."""
    assert units.format_short(value) == shown


@pytest.mark.parametrize(
    ("duration_ns", "shown"),
    [
        (0, "0ns"),
        (950, "950ns"),
        (1500, "1.5µs"),
        (1_500_000, "1.5ms"),
        (2 * 10**9, "2s"),
        (999_600, "1ms"),
        (999_960_000, "1s"),
        (4321 * 10**9, "4321s"),
    ],
)
def test_format_ns(duration_ns: float, shown: str) -> None:
    """The unit that reads best."""
    assert units.format_ns(duration_ns) == shown


@given(duration_ns=st.integers(0, 10**19))
def test_no_duration_has_an_exponent(duration_ns: int) -> None:
    """Nobody reads ``1e+03µs``, and none is off by more than its three digits."""
    shown = units.format_ns(duration_ns)
    assert re.fullmatch(r"[0-9.]+(ns|µs|ms|s)", shown)
    assert units.parse_ns(shown) == pytest.approx(duration_ns, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.6, "1s"),
        (59.4, "59s"),
        (60, "1min"),
        (75, "1min 15s"),
        (3600, "1h"),
        (4000, "1h 6min"),
        (90000, "1d 1h"),
    ],
)
def test_waits_are_said_in_their_two_largest_units(seconds: float, text: str) -> None:
    """A third one would be more than anybody knows."""
    assert units.format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1023.9, "1KiB"),
        (65536, "64KiB"),
        (4_500_000, "4.29MiB"),
        (1000 * 2**20, "1000MiB"),
        (2**30 - 1, "1GiB"),
        (2**50, "1024TiB"),
        (10**18, "909495TiB"),
    ],
)
def test_about_how_many_bytes(count: float, text: str) -> None:
    """Three digits, and never an exponent where a person counts."""
    assert units.format_about(count) == text


@given(st.from_regex(r"\A ?[0-9]{1,3}(\.[0-9]{1,2})? ?(Ki?B?|MB|GiB|k|M|s|ms|min|B|x)?\Z"))
def test_patterns_take_what_the_parsers_take(text: str) -> None:
    """And what a parser refuses they refuse too, but for fractions of the base unit."""
    parsers = {
        "bytes": units.parse_bytes,
        "count": units.parse_count,
        "ns": units.parse_ns,
        "seconds": units.parse_seconds,
    }
    for unit, parse in parsers.items():
        matched = re.search(units.pattern(unit), text) is not None
        try:
            parse(text)
        except ValueError as error:
            assert matched is ("not a whole number" in str(error))  # noqa: PT017 - either is right
        else:
            assert matched


def test_errnos() -> None:
    """By Linux' name, or as a number; back to the name where there is one."""
    assert [units.parse_errno(text) for text in ("EIO", "ENOSPC", "28")] == [5, 28, 28]
    assert [units.format_errno(number) for number in (5, 4000)] == ["EIO", "4000"]
    for wrong in ("eio", "EFOO", "", "-5", "5.0"):
        with pytest.raises(ValueError, match="is not an errno"):
            units.parse_errno(wrong)
