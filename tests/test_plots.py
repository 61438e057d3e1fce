"""The style is opaque and white, and roles can be told apart without colour."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.plots import COLOURS, STYLE, arrows, convergence, curve, fields, line, on_mesh, style


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


def test_a_curve_is_the_median_of_the_seeds_in_a_band_of_all():
    axis = Figure().subplots()
    values = np.array([[1.0, 2.0, 4.0], [0.1, 0.2, 0.8]])
    curve(axis, np.array([0, 100]), values, "hybrid", "hybrid")
    curve(axis, np.array([0, 100]), values[:, 0], "pinn", "alone", marker="o")
    median, single = axis.lines
    assert median.get_ydata().tolist() == [2.0, 0.2] and single.get_marker() == "o"
    assert axis.get_yscale() == "log" and len(axis.collections) == 1


def test_a_curve_wants_a_value_for_each_step():
    with pytest.raises(InputError, match=r"expected shape \(2,\) or \(2, S\); received \(3, 1\)"):
        curve(Figure().subplots(), np.array([0, 100]), np.ones((3, 1)), "pinn", "")


def test_fields_are_drawn_with_the_first_index_to_the_right():
    axes = Figure().subplots(1, 2)
    values = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])  # (x1, x2)
    fields(axes, {"one": values, "two": values}, {"two": (-1.0, 9.0)})
    one, two = (axis.images[0] for axis in axes)
    assert one.get_array().shape == (3, 2) and one.get_array()[0, 1] == 3.0
    assert one.get_clim() == (0.0, 5.0) and two.get_clim() == (-1.0, 9.0)
    assert [axis.get_title(loc="left") or axis.get_title() for axis in axes] == ["one", "two"]


def test_fields_want_an_axis_each():
    with pytest.raises(InputError, match="expected at least 1; received 0"):
        fields([], {"one": np.ones((2, 2))})


@pytest.mark.parametrize("mesh", [fem.interval(6), fem.lshape(3)], ids=["line", "plane"])
@pytest.mark.parametrize("where", ["points", "cells"])
def test_a_field_on_a_mesh_is_drawn_at_nodes_and_in_cells(mesh, where):
    axis, count = Figure().add_subplot(), len(getattr(mesh, where))
    on_mesh(axis, mesh, np.arange(1.0, count + 1), "one", log=True)
    assert axis.get_title() == "one"
    if mesh.dimension == 2:
        picture = axis.collections[0]
        assert picture.norm.vmin == 1 and picture.norm.vmax == count and isinstance(picture.norm, mpl.colors.LogNorm)
    else:
        assert axis.get_yscale() == "log"
        drawn = axis.lines[0].get_ydata() if where == "points" else axis.patches[0].get_data().values
        np.testing.assert_array_equal(drawn, np.arange(1.0, count + 1))


def test_arrows_stay_in_the_domain_and_point_as_the_field_does():
    axis, mesh = Figure().add_subplot(), fem.lshape(4)
    vectors = np.where(mesh.points[mesh.cells].mean(axis=1)[:, :1] < 0, [[2.0, 1.0]], [[0.0, 0.0]])
    arrows(axis, mesh, vectors)
    (drawn,) = axis.collections
    assert np.all(drawn.XY[:, 0] < 0) and len(drawn.XY) > 50, "none where there is no flux"
    np.testing.assert_allclose(drawn.U, 2 * drawn.V)
    arrows(axis, mesh, 0 * vectors)
    assert len(axis.collections) == 1


def test_convergence_shows_the_bounds_and_the_tolerance():
    axis = Figure().add_subplot()
    convergence(axis, [100, 400], [0.2, 0.1], 0.15)
    np.testing.assert_array_equal(axis.lines[0].get_xydata(), [[100, 0.2], [400, 0.1]])
    assert axis.lines[1].get_ydata()[0] == 0.15 and axis.get_xscale() == axis.get_yscale() == "log"


def test_values_of_another_mesh_are_refused():
    axis, mesh = Figure().add_subplot(), fem.unit_square(2)
    with pytest.raises(InputError, match=r"values on a mesh: expected shape \(9,\) or \(8,\); received shape \(3,\)"):
        on_mesh(axis, mesh, np.zeros(3))
    with pytest.raises(InputError, match=r"arrows: expected shape \(8, 2\); received shape \(9, 2\)"):
        arrows(axis, mesh, np.zeros((9, 2)))
