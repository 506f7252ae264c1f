"""Charts and strips without a terminal: widths, scales, gaps, limits."""

import random
from array import array
from dataclasses import replace
from itertools import product
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.lines import Line
from blkrun.dashboard.model.chart import (
    AXIS,
    MARK,
    Bound,
    Chart,
    Curve,
    chart_lines,
    columns_of,
    wanted_peak,
    x_axis,
)
from blkrun.dashboard.model.history import LIMITS, MEASURES, Limit, Measure, Series
from blkrun.dashboard.model.plots import PLOTS, bars, chart_of, in_order, readings, strip
from blkrun.dashboard.model.raster import DOTS, FRAMES, Symbols, area, curve
from blkrun.dashboard.model.rings import SLOTS
from blkrun.dashboard.model.sampling import means, peaks, window
from blkrun.dashboard.model.scale import Scale, format_ms, next_scale, round_top
from blkrun.dashboard.model.subject import Subject
from blkrun.units import format_short
from tests.dashboard.test_dashboard_lines import assert_fits

LIMIT = Subject("node", "limit")
SYMBOLS: tuple[Symbols, ...] = ("braille", "block", "ascii")
END_S = 160.0
IOPS, BYTES, LATENCY, DEPTH = PLOTS


def series_of(
    limits: dict[Limit, float] | None = None, end_s: float = END_S, **values: float
) -> Series:
    """A minute in which nothing changed; what is not named is zero."""
    return Series(
        span_s=60.0,
        slot_s=0.2,
        end_s=end_s,
        values={name: array("d", [values.get(name, 0.0)]) * SLOTS for name in MEASURES},
        limits={name: array("f", [value]) * SLOTS for name, value in (limits or {}).items()},
    )


def changed(series: Series, measure: Measure, places: slice, value: float) -> Series:
    """With another value in some slots."""
    column = array("d", series.values[measure])
    column[places] = array("d", [value]) * len(range(SLOTS)[places])
    return replace(series, values={**series.values, measure: column})


def drawn(
    series: Series, width: int = 45, height: int = 8, symbols: Symbols = "braille"
) -> list[Line]:
    """The IOPS of a node."""
    return chart_lines(_chart(series, width, symbols), width, height)


def _chart(series: Series, width: int, symbols: Symbols) -> Chart:
    return chart_of(
        IOPS,
        LIMIT,
        series,
        now_s=END_S,
        width=width,
        symbols=symbols,
        scale=None,
        cursor_s=None,
    )[0]


def bodies(lines: list[Line]) -> list[str]:
    """What is right of the axis, without marks."""
    return [line.text[AXIS:-MARK] for line in lines[1:-1]]


def wild(seed: int) -> Series:
    """Anything, in every slot."""
    chance = random.Random(seed)

    def value() -> float:
        return chance.choice([nan, 0.0, 1e-3, chance.random() * 1e6, 1e18])

    return Series(
        span_s=60.0,
        slot_s=0.2,
        end_s=END_S,
        values={name: array("d", [value() for _ in range(SLOTS)]) for name in MEASURES},
        limits={name: array("d", [value() for _ in range(SLOTS)]) for name in LIMITS},
    )


@pytest.mark.parametrize("symbols", SYMBOLS)
def test_charts_and_strips_fill_their_cells_exactly(symbols: Symbols) -> None:
    """Whatever the numbers, at every size, also smaller than anybody would look at."""
    for seed, plot, width in product(range(2), PLOTS, (0, 3, 7, 8, 9, 20, 37, 45, 100)):
        series, kind = wild(seed), Subject(("node", "group")[seed], "x")
        assert_fits([strip(plot, series, now_s=END_S, width=width, symbols=symbols)], width)
        chart, _ = chart_of(
            plot,
            kind,
            series,
            now_s=END_S,
            width=width,
            symbols=symbols,
            scale=None,
            cursor_s=END_S - 7,
        )
        for height in (1, 2, 3, 5, 6, 12):
            lines = chart_lines(chart, width, height)
            assert len(lines) == height
            assert_fits(lines, width)


@pytest.mark.parametrize("symbols", SYMBOLS)
def test_gap_stays_empty(symbols: Symbols) -> None:
    """Ten seconds of which nothing is known are a hole as wide as they are long."""
    series = series_of(reads=1000, writes=400)
    for name in ("reads", "writes"):
        series = changed(series, name, slice(100, 150), nan)
    width = 68  # a second a cell
    for row in bodies(drawn(series, width, symbols=symbols)):
        assert row[21:29].strip() == ""
    curves = "".join(row[:20] + row[30:] for row in bodies(drawn(series, width, symbols=symbols)))
    assert len(curves.replace(" ", "")) == 2 * 50


def test_nothing_is_drawn_after_the_server_has_gone() -> None:
    """The curves go on to the left, and the present is not known."""
    lines = drawn(series_of(reads=1000, writes=1000, end_s=END_S - 30))
    assert all(row[20:].strip() == "" for row in bodies(lines))
    assert any(row[:18].strip() for row in bodies(lines))
    assert "read    —" in lines[0].text


def test_zero_and_top_are_at_the_edges() -> None:
    """Zero is the lowest dot, the top of the scale the highest."""
    rows = bodies(drawn(series_of(reads=0, writes=1000)))
    assert set(rows[0]) == {"⠉"}
    assert set(rows[-1]) == {"⣀"}
    assert not "".join(rows[1:-1]).strip()


@pytest.mark.parametrize(("limit", "row"), [(900, 0), (600, 2), (300, 4)])
def test_limit_is_drawn_at_its_row(limit: int, row: int) -> None:
    """A dashed line in the tone of warnings, where no curve is, with its number in the title."""
    series = changed(series_of({"iops-total": limit}), "reads", slice(-60, None), 1000)
    lines = drawn(series, height=8)
    dashed = [number for number, line in enumerate(lines[1:-1]) if "╌" in line.text]
    assert dashed == [row]
    assert f"limit {format_short(limit)}" in lines[0].text
    assert lines[row + 1].spans[0] == (f" {limit}╪", "warn")
    assert {span.tone for span in lines[row + 1].spans if "╌" in span.text} == {"warn"}


def test_limit_that_is_reached_is_still_seen() -> None:
    """The curve lies on its line; the axis says it."""
    lines = drawn(series_of({"iops-total": 600}, reads=600))
    assert lines[1].spans[0] == (" 600╪", "warn")
    assert "⠉" in lines[1].text


def test_limit_above_the_values_widens_the_scale() -> None:
    """It is always on it."""
    lines = drawn(series_of({"iops-total": 4500}, reads=1000))
    assert lines[1].text.startswith("4.5k╪")
    assert lines[4].text.startswith("2.5k┤")
    assert "╌" * 30 in lines[1].text


def test_limit_far_above_all_values_is_only_a_word() -> None:
    """It would press the curves flat."""
    lines = drawn(series_of({"iops-total": 10_000}, reads=1000))
    assert "limit 10k ↑" in lines[0].text
    assert "limit 10k ^" in drawn(series_of({"iops-total": 10_000}), symbols="ascii")[0].text
    assert lines[1].text.startswith("1.0k┤")
    assert not any("╌" in line.text for line in lines)


def test_changed_limit_is_a_step() -> None:
    """Before and after in their own rows; where there was none there is no line."""
    series = series_of(reads=1000)
    steps = array("d", [nan] * 100 + [2000] * 100 + [4000] * 100)
    rows = bodies(drawn(replace(series, limits={"iops-total": steps}), width=68))
    assert rows[0][42:] == "╌" * 18
    assert rows[2][22:39] == "╌" * 17
    assert not any("╌" in row[:19] for row in rows)


@pytest.mark.parametrize(
    ("limits", "legend", "drawn_at"),
    [
        ({"iops-total": 4000}, "read 1.5k  write  500  limit 4.0k", ["4.0k"]),
        ({"iops-read": 3000}, "read 1.5k  write  500  limit rd 3.0k", ["3.0k"]),
        ({"iops-write": 2000}, "write  500  read 1.5k  limit wr 2.0k", ["2.0k"]),
        (
            {"iops-read": 3000, "iops-write": 2000},
            "read 1.5k  write  500  limit rd 3.0k  limit wr 2.0k",
            ["3.0k"],
        ),
        (
            {"iops-total": 4000, "iops-write": 2000},
            "write  500  read 1.5k  limit 4.0k  limit wr 2.0k",
            ["4.0k", "2.0k"],
        ),
    ],
)
def test_limit_is_a_line_where_what_it_holds_is_a_curve(
    limits: dict[Limit, float], legend: str, drawn_at: list[str]
) -> None:
    """Writes are one where only they are limited; another limit is a word in the legend."""
    lines = drawn(series_of(limits, reads=1500, writes=500), width=90, height=10)
    assert lines[0].text.rstrip() == f"IOPS  all 2.0k  {legend}"
    assert [line.text[:4] for line in lines if "╪" in line.text] == drawn_at
    direction = legend[:2].replace("re", "rd")
    assert {line.text[-MARK:].strip() for line in lines[1:-1]} == {"", "all", direction}


def test_total_limit_is_reached_by_reads_and_writes_together() -> None:
    """Neither of the two is at it."""
    lines = drawn(series_of({"iops-total": 2000}, reads=1000, writes=1000), height=10)
    assert lines[1].text.startswith("2.0k╪⠉")
    assert lines[1].text.endswith("all")
    assert lines[5].text.endswith("rd ") or lines[4].text.endswith("rd ")


def test_title_shortens_names_before_it_drops_numbers() -> None:
    """The words are the legend, so they stay while they fit."""
    series = series_of({"iops-total": 3000}, reads=1500, writes=625)
    titles = [drawn(series, width)[0].text.rstrip() for width in (60, 46, 37, 20)]
    assert titles == [
        "IOPS  all 2.1k  read 1.5k  write  625  limit 3.0k",
        "IOPS  all 2.1k  rd 1.5k  wr 625  limit 3.0k",
        "IOPS  all 2.1k  rd 1.5k  limit 3.0k",
        "IOPS  all 2.1k",
    ]


def test_marks_tell_the_curves_apart_without_colour() -> None:
    """Each at the end of its line, also when both end at the same height."""
    apart = drawn(series_of(reads=0, writes=1000))
    assert apart[1].text.endswith("all")
    assert apart[-2].text.endswith("rd ")


@given(
    all_s=st.floats(min_value=0, max_value=1000),
    reads_s=st.floats(min_value=0, max_value=1000),
    height=st.integers(6, 12),
)
def test_marks_never_cover_each_other(all_s: float, reads_s: float, height: int) -> None:
    """Two in one row go apart, the mark of the lower curve below the other one's."""
    series = changed(series_of(), "reads", slice(0, 1), 1000)
    series = changed(series, "writes", slice(-60, None), max(all_s - reads_s, 0))
    series = changed(series, "reads", slice(-60, None), reads_s)
    marks = [line.text[-MARK:] for line in drawn(series, height=height)[1:-1]]
    assert list(filter(str.strip, marks)) == ["all", "rd "]


def test_ascii_is_ascii_and_tells_the_curves_apart() -> None:
    """Where the terminal has nothing else."""
    lines = drawn(series_of({"iops-total": 900}, reads=1000, writes=900), symbols="ascii")
    assert "".join(line.text for line in lines).isascii()
    assert {"*" * 37, "o" * 37} <= set(bodies(lines))


def test_group_has_no_latency_and_says_so() -> None:
    """An empty chart would look like a fault."""
    chart, _ = chart_of(
        LATENCY,
        Subject("group", "gold"),
        series_of(),
        now_s=END_S,
        width=45,
        symbols="braille",
        scale=None,
        cursor_s=None,
    )
    assert any("of nodes and exports only" in line.text for line in chart_lines(chart, 45, 8))


# The scale


@given(st.floats(min_value=1e-3, max_value=1e18))
def test_top_is_round_and_not_far_above(peak: float) -> None:
    """One digit, and at most twice the peak."""
    top = round_top(peak)
    assert peak <= top <= 2 * peak * (1 + 1e-9)
    assert float(f"{top:.0e}") == pytest.approx(top)


def test_scale_grows_at_once_and_shrinks_late() -> None:
    """Ten seconds after the last value that needed it, to what was needed since."""
    scale = next_scale(None, 900, 10, 0.0)
    assert scale.top == 1000
    scale = next_scale(scale, 1100, 10, 1.0)
    assert scale.top == 2000
    for second, peak in ((2, 100), (5, 350), (11, 20)):
        scale = next_scale(scale, peak, 10, second)
        assert scale.top == 2000
    assert next_scale(scale, 20, 10, 12.0) == Scale(400)
    assert next_scale(scale, 1500, 10, 12.0) == Scale(2000)


def test_clock_that_goes_back_does_not_shrink_the_scale() -> None:
    """A recording was rewound; the wait begins anew."""
    scale = next_scale(next_scale(None, 1000, 10, 100.0), 10, 10, 100.0)
    assert next_scale(scale, 10, 10, 3.0) == Scale(1000, 10, 3.0)


def test_scale_of_nothing_is_the_least() -> None:
    """No values, no limits near zero."""
    assert wanted_peak([Curve("a", "a", [nan, nan], nan)], [Bound("limit", [nan, 3000], 3000)]) == 0
    assert next_scale(None, 0, 4, 0.0) == Scale(4)


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [(0, "0"), (8_000, ".008"), (250_000, "0.25"), (3_140_000, "3.1"), (25e6, "25"), (2e9, "2.0k")],
)
def test_milliseconds_take_four_characters(value_ns: float, text: str) -> None:
    """From microseconds to seconds."""
    assert format_ms(value_ns) == text


@given(st.floats(min_value=0, max_value=1e14))
def test_no_latency_takes_more_than_four_characters(value_ns: float) -> None:
    """The axis has no more."""
    assert len(format_ms(value_ns)) <= 4


# Columns


@given(
    count=st.integers(1, 400),
    now_s=st.floats(min_value=END_S, max_value=END_S + 70),
    value=st.integers(1, 1000),
)
def test_columns_show_each_slot_and_nothing_else(count: int, now_s: float, value: int) -> None:
    """At every width: a constant is constant, and after its end there is nothing."""
    series = series_of(reads=value)
    seen = window(series, count, now_s)
    for sample in (means, peaks):
        columns = sample(series.values["reads"], seen)
        assert len(columns) == count
        assert set(filter(lambda each: not isnan(each), columns)) <= {value}
        for column, amount in enumerate(columns):
            begin_s = seen.begin_s + column * seen.column_s
            assert isnan(amount) or begin_s < END_S + 1e-6
            if begin_s >= END_S - 60 and begin_s + seen.column_s <= END_S:
                assert amount == value


@given(count=st.integers(1, 400), place=st.integers(0, SLOTS - 1))
def test_a_peak_of_one_slot_is_never_lost(count: int, place: int) -> None:
    """However few columns there are."""
    series = changed(series_of(), "p99_ns", slice(place, place + 1), 7.0)
    seen = window(series, count, END_S)
    begin_s = END_S - 0.2 * (SLOTS - place)
    if begin_s > seen.begin_s - 1e-6:
        assert 7.0 in peaks(series.values["p99_ns"], seen)
    elif begin_s + 0.2 < seen.begin_s:
        assert 7.0 not in peaks(series.values["p99_ns"], seen)


def test_a_peak_wanders_and_does_not_flicker() -> None:
    """As time goes on it keeps its height and goes left by whole columns."""
    heights = set()
    for step in range(20):
        end_s = END_S + 0.2 * step
        series = changed(series_of(end_s=end_s), "reads", slice(150 - step, 151 - step), 90.0)
        columns = means(series.values["reads"], window(series, 37, end_s))
        heights.add(round(max(columns), 6))
    assert len(heights) == 1


@given(
    st.lists(st.one_of(st.just(nan), st.floats(min_value=0, max_value=120)), max_size=40),
    st.integers(2, 40),
)
def test_curve_is_joined_and_has_every_value(values: list[float], dots: int) -> None:
    """Each column has its value's dot; neighbours touch; a gap has none, nor is it bridged."""
    columns = curve(values, 100.0, dots)
    filled = area(values, 100.0, dots)
    for place, value in enumerate(values):
        if isnan(value):
            assert columns[place] == filled[place] == 0
            continue
        here = min(int(value * (dots - 1) / 100 + 0.5), dots - 1)
        assert columns[place] >> here & 1
        assert columns[place] < 1 << dots
        assert filled[place].bit_length() in {here + 1, here, here + 2}
        before = columns[place - 1] if place else 0
        if before:
            touching = before | before << 1 | before >> 1
            assert touching & columns[place]


# Around


@given(span_s=st.sampled_from([60.0, 300.0, 1800.0]), width=st.integers(0, 90))
def test_x_axis_fits(span_s: float, width: int) -> None:
    """From all of it down to nothing."""
    for symbols in SYMBOLS:
        assert len(x_axis(span_s, width, FRAMES[symbols])) == width


def test_x_axis_says_how_far_back_it_goes() -> None:
    """Minutes where it is more than one."""
    assert x_axis(60.0, 30, FRAMES["braille"]).startswith(f"└{FRAMES['braille'].minus}60 s───")
    assert x_axis(1800.0, 40, FRAMES["ascii"]).startswith("+-30 min---")
    assert x_axis(1800.0, 40, FRAMES["ascii"]).endswith("now")


def test_strip_says_present_most_and_limit() -> None:
    """Reads and writes together, gaps empty."""
    series = series_of({"iops-total": 3000}, reads=1000, writes=500)
    for name in ("reads", "writes"):
        series = changed(series, name, slice(0, 150), nan)
    text = strip(IOPS, series, now_s=END_S, width=80, symbols="braille").text
    assert text.startswith("IOPS   1.5k ")
    assert text.rstrip().endswith("max 1.5k/3.0k")
    assert text[12:36].strip() == ""
    assert set(text[40:60]) == {"█"}


def test_bars_tell_nothing_known_from_nothing_done() -> None:
    """A gap is empty, zero is the lowest bar."""
    assert bars([nan, 0.0, 50.0, 100.0, inf], 100.0, "braille") == " ▁▅██"


def test_readings_are_of_the_instant() -> None:
    """Every curve, with its unit; — where nothing is known."""
    series = changed(series_of(p99_ns=3e6, in_flight=4), "reads", slice(200, 201), 1234.0)
    at = readings(series, END_S - 20 + 0.1)
    assert at[0] == "IOPS 1.2k (rd 1.2k, wr 0)"
    assert at[-2:] == ["p99 3.0 ms", "in flight 4"]
    assert set(readings(series, END_S - 99)) >= {"IOPS —", "B/s —", "p50 —"}


@pytest.mark.parametrize(
    ("limits", "end"),
    [
        ({"iops-total": 3000, "iops-write": 600}, "max 1.5k/3.0k"),
        ({"iops-read": 2000}, "rd 1.0k/2.0k"),
        ({"iops-write": 2000}, "wr  500/2.0k"),
        ({"bps-total": 2000}, "max 1.5k"),
    ],
)
def test_strip_compares_like_with_like(limits: dict[Limit, float], end: str) -> None:
    """All with a total limit, a direction with its own."""
    series = series_of(limits, reads=1000, writes=500)
    text = strip(IOPS, series, now_s=END_S, width=80, symbols="braille").text
    assert text.startswith("IOPS   1.5k ")
    assert text.rstrip().endswith(end)


def test_order_turns() -> None:
    """Each may come first."""
    assert [plot.key for plot in in_order(2)] == ["latency", "depth", "iops", "bytes"]


def test_columns_are_all_of_the_body() -> None:
    """Marks and axis take their cells first."""
    assert columns_of(45, 2, "braille") == 2 * (45 - AXIS - MARK)
    assert columns_of(45, 1, "ascii") == 45 - AXIS
    assert DOTS["braille"].across == 2
