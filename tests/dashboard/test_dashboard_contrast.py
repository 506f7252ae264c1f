"""Whether the shipped themes can be read: contrast of every tone, and hues as others see them."""

import math
import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest
from textual.color import Color
from textual.theme import Theme

import blkrun.dashboard
from blkrun.dashboard.lines import TONES
from blkrun.dashboard.theme import default_theme_path, load_theme, variable_defaults

DEFAULT = default_theme_path()
assert DEFAULT is not None
THEMES = {path.stem: load_theme(path) for path in DEFAULT.parent.glob("*.toml")}
STYLE_SHEET = (Path(blkrun.dashboard.__file__).parent / "blkrun.tcss").read_text()
TONE_VARIABLES = dict(re.findall(r"\.tone--(\w+) \{ color: \$([\w-]+);", STYLE_SHEET))
FAINT = ("dim",)  # what may be passed over
BACKGROUNDS = ("background", "surface", "panel", "cursor-row", "cursor-row-quiet")

# The Linux console's palette (drivers/tty/vt/vt.c), the one 16 colours nobody has chosen.
CONSOLE = {
    "ansi_default": "#aaaaaa",
    "ansi_green": "#00aa00",
    "ansi_cyan": "#00aaaa",
    "ansi_bright_red": "#ff5555",
    "ansi_bright_yellow": "#ffff55",
    "ansi_bright_cyan": "#55ffff",
}

# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision
# Deficiency, IEEE TVCG 15(6), 2009, table at severity 1.0; for linear RGB.
SEEN_BY = {
    "protanopes": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopes": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}
LEAST_DIFFERENCE = 23.0
"""CIE 1976: ten times the 2.3 that can just be noticed (Mahy and others, 1994) between large fields
side by side; letters are thin, and stand apart."""
LEAST_LIGHTNESS = 10.0
"""Of L*, 0 to 100: as much as between two neighbours of the ten greys of Munsell's scale."""

Vector = tuple[float, float, float]


def colours_of(theme: Theme) -> Mapping[str, str]:
    """Everything the style sheet may ask for, as hex."""
    named = theme.to_color_system().generate() | variable_defaults(theme) | theme.variables
    named |= {key: value for key in (*BACKGROUNDS, "foreground") if (value := vars(theme).get(key))}
    return named


def linear(colour: str) -> Vector:
    """Red, green, blue without their gamma (IEC 61966-2-1)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in Color.parse(colour).normalized
    )
    return red, green, blue


def luminance(rgb: Vector) -> float:
    """WCAG's relative luminance."""
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def contrast(one: str, other: str) -> float:
    """WCAG's ratio, 1 to 21."""
    dark, light = sorted((luminance(linear(one)), luminance(linear(other))))
    return (light + 0.05) / (dark + 0.05)


def seen(rgb: Vector, matrix: tuple[Vector, ...]) -> Vector:
    """As another eye has it, back inside what a screen shows."""
    red, green, blue = (
        min(max(sum(a * b for a, b in zip(row, rgb, strict=True)), 0.0), 1.0) for row in matrix
    )
    return red, green, blue


def lab(rgb: Vector) -> Vector:
    """CIE L*a*b* under D65, from linear sRGB."""

    def bent(share: float) -> float:
        return math.cbrt(share) if share > (6 / 29) ** 3 else share / (3 * (6 / 29) ** 2) + 4 / 29

    red, green, blue = rgb
    x = bent((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505)
    y = bent(luminance(rgb))
    z = bent((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: Vector, other: Vector) -> float:
    """Distance in L*a*b*."""
    return math.dist(lab(one), lab(other))


def test_ratio_is_that_of_wcag() -> None:
    """Black on white is 21, and #767676 the darkest grey that WCAG's own examples pass at 4.5."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_lab_is_that_of_cie() -> None:
    """White has no hue; pure red is where every table of it says."""
    assert lab((1, 1, 1)) == pytest.approx((100, 0, 0), abs=0.05)
    assert lab((1, 0, 0)) == pytest.approx((53.2, 80.1, 67.2), abs=0.1)


def test_every_tone_is_in_the_style_sheet() -> None:
    """Else the tests below would pass over one."""
    assert set(TONE_VARIABLES) == set(TONES)


@pytest.mark.parametrize("name", sorted(name for name in THEMES if not THEMES[name].ansi))
@pytest.mark.parametrize("tone", TONES)
def test_tone_can_be_read(name: str, tone: str) -> None:
    """On the panel, in a dialog, in header and footer, and in the selected row."""
    colours = colours_of(THEMES[name])
    least = 7.0 if name == "high-contrast" else 3.0 if tone in FAINT else 4.5
    ratios = {back: contrast(colours[TONE_VARIABLES[tone]], colours[back]) for back in BACKGROUNDS}
    assert min(ratios.values()) >= least, ratios


@pytest.mark.parametrize("tone", TONES)
def test_tone_can_be_read_on_a_bare_console(tone: str) -> None:
    """The terminal's own colours, where nobody has chosen them."""
    colour = colours_of(THEMES["terminal"])[TONE_VARIABLES[tone]]
    assert contrast(CONSOLE[colour], "#000000") >= 4.5


def test_nothing_dim_is_bright_black() -> None:
    """Solarized and its like have the background there."""
    assert THEMES["terminal"].variables["dim"] == "ansi_default"
    for widget in ("Panel", "Header"):
        assert f"{widget}:ansi > .tone--dim {{ text-style: dim; }}" in STYLE_SHEET


@pytest.mark.parametrize("eye", SEEN_BY)
@pytest.mark.parametrize("pair", [*combinations(("success", "warning", "error"), 2)], ids="-".join)
def test_good_warn_and_bad_stay_apart(eye: str, pair: tuple[str, str]) -> None:
    """By colour and, without any, by lightness."""
    colours = colours_of(THEMES["colour-blind"])
    one, other = (seen(linear(colours[name]), SEEN_BY[eye]) for name in pair)
    assert difference(one, other) >= LEAST_DIFFERENCE
    assert abs(lab(one)[0] - lab(other)[0]) >= LEAST_LIGHTNESS


@pytest.mark.parametrize("eye", SEEN_BY)
def test_measure_finds_red_and_green_alike(eye: str) -> None:
    """Two that everybody else tells apart at once: the distance must see what is lost."""
    red, green = linear("#c84040"), linear("#406020")
    assert difference(red, green) > 2 * LEAST_DIFFERENCE
    apart = difference(seen(red, SEEN_BY[eye]), seen(green, SEEN_BY[eye]))
    assert apart < LEAST_DIFFERENCE
