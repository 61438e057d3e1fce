"""The style is opaque and white, and roles can be told apart without colour."""

import itertools

import matplotlib as mpl
import pytest

from hybrid_lib.errors import InputError
from hybrid_lib.plots import COLOURS, STYLE, line, style


def luminance(colour):
    """Relative luminance of the W3C's contrast formula."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_style_is_opaque_white_and_leaves_no_trace():
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["figure.facecolor"] == mpl.rcParams["savefig.facecolor"] == "white"
        assert not mpl.rcParams["savefig.transparent"] and not mpl.rcParams["text.usetex"]
    assert dict(mpl.rcParams) == before
    assert set(STYLE) <= set(before)


def test_roles_of_solutions_differ_in_line_style_too():
    roles = [role for role in COLOURS if role != "medium"]
    for one, other in itertools.combinations(roles, 2):
        assert line(one)["color"] != line(other)["color"]
        assert line(one)["linestyle"] != line(other)["linestyle"]


@pytest.mark.parametrize("role", ["exact", "pinn", "hybrid", "homogenised", "medium"])
def test_lines_stand_out_from_white(role):
    assert 1.05 / (luminance(COLOURS[role]) + 0.05) >= 3.0


def test_unknown_role_lists_the_known_ones():
    with pytest.raises(InputError, match="expected one of exact, coarse, pinn, hybrid"):
        line("fem")
