"""The colours of the figures, by computation: contrast with white, and distance for every kind of colour vision."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from hybrid_lib.plots import COLOURS, STYLE, line

BOOK = Path(__file__).resolve().parents[1] / "book"

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# IEEE Trans. Vis. Comput. Graph. 15 (2009) 1291-1298, doi 10.1109/TVCG.2009.113: linear RGB, severity 1.
VISIONS = {
    "all three cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# linear sRGB to CIE XYZ (IEC 61966-2-1); the white is its image of (1, 1, 1)
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])

CLOSE = 25.0  # CIE 1976 distance below which two lines need another difference than their colour
AMONG = {"white"}  # on filled fields
BACKDROP = {"#bbbbbb"}  # points behind the subject of a figure: they need not stand out


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(colour):
    """WCAG 2.2 contrast ratio with white."""
    return 1.05 / (XYZ[1] @ linear(colour) + 0.05)


def lab(rgb):
    """CIE 1976 L*a*b* of a linear colour."""
    t = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one, other, vision):
    return np.linalg.norm(lab(VISIONS[vision] @ linear(one)) - lab(VISIONS[vision] @ linear(other)))


def test_formulas_know_the_textbook_values():
    assert contrast("black") == pytest.approx(21.0) and contrast("white") == pytest.approx(1.0)
    assert contrast("#767676") == pytest.approx(4.54, abs=0.01)  # the lightest grey that passes 4.5
    assert lab(np.ones(3)) == pytest.approx([100, 0, 0], abs=1e-9)
    assert lab(linear("red")) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    for matrix in VISIONS.values():
        assert matrix.sum(axis=1) == pytest.approx(np.ones(3), abs=2e-6)  # greys stay
    # red and green of equal lightness: far apart for most, close for the two common deficiencies
    assert distance("#d00000", "#6f6f00", "all three cones") > 70
    assert distance("#d00000", "#6f6f00", "deuteranopia") < 25


@pytest.mark.parametrize("role", COLOURS)
def test_a_line_stands_out_from_white(role):
    assert contrast(COLOURS[role]) >= 3.0, "WCAG 1.4.11: graphical objects"


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("pair", list(itertools.combinations(COLOURS, 2)), ids="-".join)
def test_two_roles_differ_by_colour_or_by_line_style(pair, vision):
    one, other = map(line, pair)
    far = distance(one["color"], other["color"], vision) >= CLOSE
    assert far or one["linestyle"] != other["linestyle"]


@pytest.mark.parametrize("vision", [name for name in VISIONS if name != "tritanopia"])
def test_colours_of_the_cycle_differ_without_line_styles(vision):
    colours = [entry["color"] for entry in STYLE["axes.prop_cycle"]]
    assert min(distance(*pair, vision) for pair in itertools.combinations(colours, 2)) >= CLOSE


def test_tritanopia_confuses_one_pair_of_the_cycle_only():
    # about one person in ten thousand; the two roles have different line styles, as all have
    colours = [entry["color"] for entry in STYLE["axes.prop_cycle"]]
    close = [set(pair) for pair in itertools.combinations(colours, 2) if distance(*pair, "tritanopia") < CLOSE]
    assert close == [{COLOURS["pinn"], COLOURS["homogenised"]}]


@pytest.mark.parametrize("chapter", sorted(BOOK.glob("*.md")), ids=lambda path: path.stem)
def test_colours_named_in_a_chapter_stand_out_from_white(chapter):
    cells = re.findall(r"^```\{code-cell\}.*?^```", chapter.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"""["'](#[0-9A-Fa-f]{6})["']|colou?r=["']([a-z]+)["']""", "\n".join(cells))
    for colour in {a or b for a, b in named} - AMONG:
        assert to_hex(colour) in BACKDROP or contrast(colour) >= 3.0, colour
