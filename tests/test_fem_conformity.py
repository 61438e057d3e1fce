"""What users give: parts glued by position alone, meshes given twice, hanging nodes, cracks, clockwise cells, other units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib.errors import InputError
from hybrid_lib.fem import (
    from_simplices,
    interval,
    load,
    locate,
    lshape,
    solve_diffusion,
    solve_dirichlet,
    stiffness,
    unit_square,
)

LENGTHS = st.sampled_from([1e-9, 1e-6, 1e-3, 1.0, 1e6])
SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def parts(*meshes):
    """Points and cells one after the other, as files of several parts hold them: what they share is given twice."""
    offsets = np.cumsum([0, *(len(points) for points, _ in meshes[:-1])])
    points = np.concatenate([points for points, _ in meshes])
    return points, np.concatenate([cells + offset for (_, cells), offset in zip(meshes, offsets, strict=True)])


def rectangle(n, lower=(0.0, 0.0), sides=(1.0, 1.0)):
    mesh = unit_square(n)
    return np.array(lower) + mesh.points * np.array(sides), mesh.cells


def halves(n=8):
    return parts(rectangle(n, sides=(0.5, 1.0)), rectangle(n, (0.5, 0.0), (0.5, 1.0)))


def moved(points, scale, shift, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * (np.asarray(points) @ turn.T + shift)


placed = st.tuples(LENGTHS, st.floats(-3, 3), st.floats(0, 6.28))


# -------------------------------------------------------------------------------------------------- glue


@settings(max_examples=15, deadline=None)
@given(placed)
def test_halves_that_share_no_nodes_are_refused_and_glued_on_request(place):
    points, cells = halves()
    points = moved(points, *place)
    with pytest.raises(InputError, match=r"points \d+ and \d+: expected one point at a place.* merge=True"):
        from_simplices(points, cells)
    mesh = from_simplices(points, cells, merge=True)
    assert len(mesh.points) == len(points) - 9
    whole = unit_square(8)
    assert len(mesh.boundary_nodes) == 8 + 8 + 16 + 16
    u = solve_diffusion(mesh, 1.0, 1.0 / place[0] ** 2)
    assert u.max() == pytest.approx(0.073, abs=2e-3)  # 0.0737 on the square, 0.0285 on a half
    assert whole.volumes.sum() * place[0] ** 2 == pytest.approx(mesh.volumes.sum())


def test_a_crack_is_made_by_name_and_keeps_heat_apart():
    points, cells = halves()
    mesh = from_simplices(points, cells, crack=True)
    assert solve_diffusion(mesh, 1.0, 1.0).max() == pytest.approx(0.0285, abs=1e-3)
    outer = np.flatnonzero((mesh.points[:, 0] == 0) | (mesh.points[:, 0] == 1))
    ends = mesh.points[outer, 0]  # 0 left, 1 right: with a crack between, each half keeps its value
    u = solve_dirichlet(stiffness(mesh, 1.0), load(mesh, 0.0), outer, ends)
    left = np.arange(len(points)) < len(points) // 2
    np.testing.assert_allclose(u, np.where(left, 0.0, 1.0), atol=1e-12)


def test_a_slit_into_the_domain_is_a_crack_with_a_tip():
    points, cells = rectangle(4)
    points, cells = np.array(points), np.array(cells)
    slit = [i for i, (x, y) in enumerate(points) if y == 0.5 and 0.25 <= x < 0.75]  # the tips keep one node each
    copies = {node: len(points) + k for k, node in enumerate(n for n in slit if points[n, 0] > 0.25)}
    above = points[cells].mean(axis=1)[:, 1] > 0.5
    for old, new in copies.items():
        cells[above] = np.where(cells[above] == old, new, cells[above])
    points = np.concatenate([points, points[list(copies)]])
    with pytest.raises(InputError, match="one point at a place"):
        from_simplices(points, cells)
    mesh = from_simplices(points, cells, crack=True)
    assert mesh.volumes.sum() == pytest.approx(1.0)
    assert set(copies) | set(copies.values()) <= set(mesh.boundary_nodes.tolist())


def test_rounded_coordinates_are_one_place():
    points, cells = halves()
    points = np.round(points * 0.7 + 0.1, 4)
    points[-81:] += 3e-6 * np.random.default_rng(0).standard_normal((81, 2))  # as read from a file of five digits
    with pytest.raises(InputError, match="one point at a place"):
        from_simplices(points, cells)
    assert len(from_simplices(points, cells, merge=True).points) == 162 - 9


def test_cells_with_nodes_of_their_own_are_glued():
    mesh = lshape(4)
    points, cells = mesh.points[mesh.cells].reshape(-1, 2), np.arange(3 * len(mesh.cells)).reshape(-1, 3)
    with pytest.raises(InputError, match="one point at a place"):
        from_simplices(points, cells)
    glued = from_simplices(points, cells, merge=True)
    assert (len(glued.points), len(glued.boundary_nodes)) == (len(mesh.points), len(mesh.boundary_nodes))


def test_parts_with_a_gap_or_apart_are_islands():
    mesh = from_simplices(*parts(rectangle(3), rectangle(3, (1.01, 0.0)), rectangle(2, (5.0, 5.0))))
    assert mesh.volumes.sum() == pytest.approx(3.0)


def test_squares_that_share_a_corner_are_one_domain():
    points = [*SQUARE, [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]]
    assert from_simplices(points, [[0, 1, 2], [0, 2, 3], [2, 4, 5], [2, 5, 6]]).volumes.sum() == pytest.approx(2.0)


# ------------------------------------------------------------------------------------------------ overlap


@settings(max_examples=15, deadline=None)
@given(placed, st.integers(1, 6), st.floats(0.05, 0.6), st.floats(0.05, 0.3))
def test_a_part_on_another_is_refused(place, n, x, side):
    points, cells = parts(rectangle(5), rectangle(n, (x, x / 2), (side, side)))
    with pytest.raises(InputError, match=r"overlap|one point at a place|at this hanging node"):
        from_simplices(moved(points, *place), cells)


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        (*parts(rectangle(3), rectangle(3)), "one point at a place"),
        (*parts(rectangle(2), rectangle(3, (0.3, 0.3), (0.1, 0.1))), "expected cells that do not overlap; received 2 cells on"),
        (*parts(rectangle(1, (0.0, 0.4), (1.0, 0.2)), rectangle(1, (0.4, 0.0), (0.2, 1.0))), "its edge crosses one of cell"),
        (*parts(rectangle(2), rectangle(3, (1.0, 0.0))), r"hanging node|one point at a place"),
        ([*SQUARE, [2.0, 0.0], [2.0, 1.0], [1.0, 0.4]], [[0, 1, 2], [0, 2, 3], [1, 4, 6], [6, 4, 5], [6, 5, 2]],
         r"point 6: expected nodes at the corners of cells only; received \[1.0, 0.4\] on edge \[1, 2\] of cell 0; cut"),
        ([[0.0], [1.0], [1.0], [2.0]], [[0, 1], [2, 3]], r"points 1 and 2: expected one point at a place.*both at \[1.0\]"),
        ([[0.0], [1.0], [0.5], [2.0]], [[0, 1], [2, 3]], "mesh cell 1: expected cells that do not overlap"),
        ([[0.0], [3.0], [1.0], [2.0]], [[2, 3], [0, 1]], "mesh cell 0: expected cells that do not overlap"),
        ([*SQUARE], [[0, 1, 2], [0, 2, 3], [2, 1, 0]], "mesh cell 2: expected each cell once"),
    ],
)  # fmt: skip
def test_what_covers_a_place_twice_is_named(points, cells, message):
    with pytest.raises(InputError, match=message):
        from_simplices(points, cells)


def test_a_spiral_that_comes_round_onto_itself_overlaps():
    angle = np.linspace(0, 2 * np.pi * 1.2, 60)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points, k = np.concatenate([ring, 2 * ring]), np.arange(59)
    cells = np.concatenate([np.stack([k, k + 60, k + 61], axis=1), np.stack([k, k + 61, k + 1], axis=1)])
    with pytest.raises(InputError, match="overlap"):
        from_simplices(points, cells)
    kept = cells[(cells % 60 < 45).all(axis=1)]
    assert from_simplices(points[np.r_[0:45, 60:105]], kept - 15 * (kept >= 60)).volumes.sum() > 0


# ---------------------------------------------------------------------------------- orientation, shapes, lengths


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), LENGTHS)
def test_clockwise_cells_are_turned(seed, length):
    random = np.random.default_rng(seed)
    for mesh in (unit_square(3), interval(5)):
        cells, points = mesh.cells.copy(), length * mesh.points
        flipped = random.random(len(cells)) < 0.5
        cells[flipped] = cells[flipped, ::-1]
        made = from_simplices(points, cells)
        assert made.volumes.min() > 0
        assert made.volumes.sum() == pytest.approx(length**mesh.dimension)
        np.testing.assert_array_equal(np.sort(made.cells), np.sort(mesh.cells))
        np.testing.assert_array_equal(made.boundary_nodes, mesh.boundary_nodes)


@settings(max_examples=15, deadline=None)
@given(placed)
def test_solutions_and_places_do_not_depend_on_the_unit_of_length(place):
    plain = lshape(3)
    mesh = from_simplices(moved(plain.points, *place), plain.cells)
    np.testing.assert_array_equal(mesh.boundary_nodes, plain.boundary_nodes)
    u = solve_diffusion(mesh, 1e-6, 1e-6 / place[0] ** 2)
    np.testing.assert_allclose(u, solve_diffusion(plain, 1.0, 1.0), atol=1e-9)
    middle = mesh.points[mesh.cells].mean(axis=1)
    assert locate(mesh, middle)[0].tolist() == list(range(len(mesh.cells)))
    with pytest.raises(InputError, match="outside it"):
        locate(mesh, moved([[0.5, -0.01]], *place))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_thin_films_and_slivers_are_meshes(scale):
    film = unit_square(6).points * [scale, 1e-5 * scale], unit_square(6).cells
    assert from_simplices(*film).volumes.sum() == pytest.approx(1e-5 * scale**2)
    sliver = from_simplices(scale * np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1e-7]]), [[0, 1, 2]])
    assert sliver.volumes[0] == pytest.approx(0.5e-7 * scale**2)
    with pytest.raises(InputError, match="cell of positive volume"):
        from_simplices(scale * np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]), [[0, 1, 2]])


@pytest.mark.parametrize(
    ("points", "cells", "remedy"),
    [
        ([[0.0, 0.0, 7.0], [1.0, 0.0, 7.0], [0.0, 1.0, 7.0]], [[0, 1, 2]], r"drop the z coordinate: points\[:, :2\]"),
        ([[0.0, 7.0, 0.0], [1.0, 7.0, 0.0], [0.0, 7.0, 1.0]], [[0, 1, 2]], r"drop the y coordinate: points\[:, \[0, 2\]\]"),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [[0, 1]], r"drop the y and z coordinate: points\[:, :1\]"),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.1], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]], [[0, 1, 2, 3]], "none of the three coordinates"),
        ([[0.0, 0.0], [1.0, 0.0]], [[0, 1]], r"drop the y coordinate: points\[:, 0:1\]"),
        ([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]], [[0, 1, 2]], r"pass points.T"),
        (SQUARE, [[0, 0], [1, 2], [2, 3]], r"pass cells.T"),
        (SQUARE, [[0, 1, 2, 3]], "cut each quadrilateral in two"),
        (SQUARE, [[1, 2, 3], [1, 3, 4]], r"pass cells - 1 \(they count from 1\)"),
        (SQUARE, [[0, 1, 2], [0, 2, 5]], "correct the numbers"),
    ],
)  # fmt: skip
def test_what_mesh_files_hold_instead_gets_its_remedy(points, cells, remedy):
    with pytest.raises(InputError, match=remedy):
        from_simplices(points, cells)


@pytest.mark.parametrize("extra", [[[9.0, 9.0]], [[0.5, 0.5], [0.2, 0.1]], [[1.0, 0.0]]])
@pytest.mark.parametrize("first", [True, False])
def test_merge_drops_points_in_no_cell(extra, first):
    square = unit_square(3)
    points = np.concatenate([extra, square.points] if first else [square.points, extra])
    cells = square.cells + len(extra) * first
    with pytest.raises(InputError, match="unused"):
        from_simplices(points, cells)
    mesh = from_simplices(points, cells, merge=True)
    assert len(mesh.points) == len(square.points) and mesh.volumes.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(mesh.points[mesh.cells], square.points[square.cells])


@pytest.mark.parametrize("merge", [-1.0, 2, "yes", None])
def test_merge_is_a_part_of_an_edge(merge):
    with pytest.raises(InputError, match=r"merge: expected True, False or a number from 0 to 0\.5"):
        from_simplices(SQUARE, [[0, 1, 2], [0, 2, 3]], merge=merge)


def test_unsigned_numbers_of_gmsh_are_taken():
    assert from_simplices(SQUARE, np.array([[0, 2, 1], [0, 3, 2]], np.uint64)).volumes.tolist() == [0.5, 0.5]


def test_an_interval_far_from_zero_has_distinct_nodes():
    assert interval(10, 1e6, 1e6 + 1e-6).volumes.min() > 0
    with pytest.raises(InputError, match="cells longer than the rounding of the ends"):
        interval(1000, 1e6, 1e6 + 1e-8)
