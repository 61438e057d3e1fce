"""Meshes: what the factories build, what they refuse, refinement, location and interpolation."""


import numpy as np
import pytest
from fem_meshes import MESHES, scrambled
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib.errors import InputError
from hybrid_lib.fem import (
    from_simplices,
    interpolate,
    interpolation_matrix,
    interval,
    locate,
    lshape,
    refine,
    unit_square,
)

each_mesh = pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
AREA = {"interval": 3.0, "scrambled interval": 1.0, "square": 1.0, "scrambled square": 1.0}
TRIANGLE = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def on_boundary(points, name):
    """Which points lie on the boundary of the domain of that name, by its geometry."""
    x, y = points[:, 0], points[:, -1]
    if name == "square":
        return (x == 0) | (x == 1) | (y == 0) | (y == 1)
    outer = (abs(x) == 1) | (abs(y) == 1)
    return outer | ((x == 0) & (y <= 0)) | ((y == 0) & (x >= 0))


@pytest.mark.parametrize("name", MESHES)
def test_volumes_fill_the_domain(name):
    mesh = MESHES[name]
    assert mesh.volumes.min() > 0
    assert mesh.volumes.sum() == pytest.approx(AREA.get(name, 3.0), rel=1e-14)


def test_interval_nodes_end_exactly():
    mesh = interval(7, 0.1, 0.7)
    assert mesh.points[0, 0] == 0.1
    assert mesh.points[-1, 0] == 0.7
    assert mesh.boundary_nodes.tolist() == [0, 7]
    assert mesh.interior_nodes.tolist() == [1, 2, 3, 4, 5, 6]
    assert mesh.h == pytest.approx(0.6 / 7)


@pytest.mark.parametrize(
    ("mesh", "name", "cells"), [(unit_square(5), "square", 50), (lshape(4), "lshape", 96)]
)
def test_plane_boundary_is_the_geometric_one(mesh, name, cells):
    expected = np.flatnonzero(on_boundary(mesh.points, name))
    np.testing.assert_array_equal(mesh.boundary_nodes, expected)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([mesh.boundary_nodes, mesh.interior_nodes])), np.arange(len(mesh.points))
    )
    assert len(mesh.cells) == cells
    assert mesh.diameters == pytest.approx(mesh.h)


def test_dtypes_and_immutability():
    mesh = unit_square(2)
    assert (mesh.points.dtype, mesh.cells.dtype, mesh.boundary_nodes.dtype) == (
        np.float64,
        np.int32,
        np.int32,
    )
    for array in (mesh.points, mesh.cells, mesh.boundary_nodes, mesh.volumes, mesh.basis_gradients):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert repr(mesh) == "Mesh(dimension=2, nodes=9, cells=8, h=0.707)"


def test_from_simplices_leaves_the_arrays_of_the_caller_alone():
    points = np.array(TRIANGLE)
    mesh = from_simplices(points, np.array([[0, 1, 2]]))
    points[0] = 9.0
    assert mesh.points[0].tolist() == [0.0, 0.0]


@each_mesh
def test_hat_functions_are_one_at_their_node_and_sum_to_one(mesh):
    corners = mesh.points[mesh.cells]  # (m, d+1, d)
    rise = np.einsum("mia,mja->mij", mesh.basis_gradients, corners - corners[:, :1])  # φ_i(v_j) - φ_i(v_0)
    identity = np.eye(mesh.dimension + 1)
    np.testing.assert_allclose(rise, np.broadcast_to(identity - identity[:, :1], rise.shape), atol=1e-12)
    np.testing.assert_allclose(mesh.basis_gradients.sum(axis=1), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        ([*SQUARE, [2.0, 2.0]], [[0, 1, 2], [0, 2, 4], [0, 2, 3]],
         "mesh cell 1: expected a cell of positive volume; received nodes [0, 2, 4], degenerate; "
         "remove the cell or move a node so that its nodes do not coincide or lie on one line"),
        (TRIANGLE, [[0, 1, 1]],
         "mesh cell 0: expected a cell of positive volume; received nodes [0, 1, 1], degenerate; "
         "remove the cell or move a node so that its nodes do not coincide or lie on one line"),
        (TRIANGLE, [[0, 1, 2], [0, 1, 3]],
         "mesh cell 1: expected node numbers from 0 to 2; received [0, 1, 3]; "
         "correct the numbers (they count from 0) or add the missing points"),
        (TRIANGLE, [[0, 1, -1]],
         "mesh cell 0: expected node numbers from 0 to 2; received [0, 1, -1]; "
         "correct the numbers (they count from 0) or add the missing points"),
        (SQUARE, [[0, 1, 2], [0, 2, 3], [1, 2, 0]],
         "mesh cell 2: expected each cell once; received the nodes of cell 0 again; remove cell 2"),
        ([*TRIANGLE, [1.0, 1.0], [0.5, -1.0], [0.5, -2.0]], [[0, 1, 2], [4, 1, 0], [5, 1, 0], [1, 3, 2]],
         "mesh cell 2: expected each edge in at most two cells; received edge [0, 1] in cells [0, 1, 2]; "
         "remove the cells that overlap there"),
        ([[0.0], [1.0], [2.0], [3.0]], [[0, 1], [1, 2], [1, 3]],
         "mesh cell 2: expected each node in at most two cells; received node 1 in cells [0, 1, 2]; "
         "remove the cells that overlap there"),
        ([*TRIANGLE, [1.0, 1.0]], [[0, 1, 2], [0, 1, 3]],
         "mesh cell 1: expected at most one cell on each side of edge [0, 1]; "
         "received cells [0, 1] on the same side; remove one of the two, as they overlap"),
        ([*TRIANGLE, [1.0, 1.0]], [[0, 1, 2]],
         "point 3: expected every point in some cell; received 1 unused point(s); "
         "drop unused points and renumber the cells, or add the missing cells"),
        ([[0.0, 0.0], [1.0, np.nan], [0.0, 1.0]], [[0, 1, 2]],
         "point 1: expected finite coordinates; received [1.0, nan]; correct or remove it"),
        (TRIANGLE, [[0.0, 1.0, 2.0]],
         "cells: expected integer node numbers; received dtype float64; use cells.astype(int)"),
        (TRIANGLE, [[0, 1]],
         "cells: expected shape (m, 3) with m >= 1 for points in 2-D; received shape (1, 2); "
         "list the 3 node numbers of each cell in a row"),
        ([0.0, 1.0], [[0, 1]],
         "points: expected shape (n, 1) or (n, 2); received shape (2,); pass points[:, None]"),
        (np.zeros((4, 3)), [[0, 1, 2, 3]],
         "points: expected shape (n, 1) or (n, 2); received shape (4, 3); drop the z coordinate: points[:, :2]"),
    ],
)  # fmt: skip
def test_from_simplices_names_what_is_wrong_and_the_remedy(points, cells, message):
    with pytest.raises(InputError) as error:
        from_simplices(points, cells)
    assert str(error.value) == message


def test_ragged_rows_are_an_input_error():
    with pytest.raises(
        InputError, match=r"mesh: expected arrays of points and cells; .*make all rows equally long"
    ):
        from_simplices(TRIANGLE, [[0, 1, 2], [0, 1]])


@pytest.mark.parametrize("make", [interval, unit_square, lshape])
@pytest.mark.parametrize("n", [0, -3, 2.5, True])
def test_factories_refuse_bad_counts(make, n):
    with pytest.raises(InputError) as error:
        make(n)
    assert str(error.value) == (
        f"n: expected a whole number >= 1; received {n!r}; pass the number of pieces a side"
    )


@pytest.mark.parametrize("make", [interval, unit_square, lshape])
def test_a_grid_beyond_the_memory_is_refused_before_it_is_begun(make):
    with pytest.raises(InputError, match=r"n: expected a mesh that fits into .* GB; received .* take fewer pieces a side"):
        make(10**12)


def test_interval_refuses_exchanged_ends():
    with pytest.raises(
        InputError, match=r"interval: expected finite ends a < b; received a = 1.0, b = 0.0; "
    ):
        interval(3, 1.0, 0.0)


# ------------------------------------------------------------------------------------------------ refinement


@each_mesh
def test_refinement_is_nested_and_keeps_the_domain(mesh):
    fine = refine(mesh)
    n, d = mesh.points.shape
    assert len(fine.cells) == 2**d * len(mesh.cells)
    assert fine.h == pytest.approx(mesh.h / 2)
    np.testing.assert_array_equal(fine.points[:n], mesh.points)
    family = fine.volumes.reshape(-1, 2**d)
    np.testing.assert_allclose(
        family, np.broadcast_to(mesh.volumes[:, None] / 2**d, family.shape), rtol=1e-11
    )
    assert from_simplices(fine.points, fine.cells).boundary_nodes.tolist() == fine.boundary_nodes.tolist()
    coarse_values = np.sin(np.arange(n, dtype=float))
    once = interpolate(mesh, coarse_values, fine.points)
    inside = np.random.default_rng(0).dirichlet(np.ones(d + 1), 200)
    x = np.einsum("ki,kia->ka", inside, mesh.points[mesh.cells[np.arange(200) % len(mesh.cells)]])
    np.testing.assert_allclose(interpolate(fine, once, x), interpolate(mesh, coarse_values, x), atol=1e-12)


@pytest.mark.parametrize(("mesh", "name"), [(unit_square(2), "square"), (lshape(1), "lshape")])
def test_refined_boundary_is_the_geometric_one(mesh, name):
    for _ in range(3):
        mesh = refine(mesh)
        np.testing.assert_array_equal(mesh.boundary_nodes, np.flatnonzero(on_boundary(mesh.points, name)))
    edges = len(mesh.points) + len(mesh.cells) - 1  # Euler's formula for a disc
    assert 3 * len(mesh.cells) == 2 * edges - len(mesh.boundary_nodes)


# -------------------------------------------------------------------------------------------------- location

unit = st.floats(0.0, 1.0, allow_subnormal=False)
SCRAMBLED = scrambled(unit_square(9), 5)
BENT = scrambled(lshape(5), 6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=30))
def test_a_point_is_the_barycentric_mean_of_its_cell(points):
    for mesh, x in ((SCRAMBLED, np.array(points)), (MESHES["scrambled interval"], np.array(points)[:, :1])):
        cell, barycentric = locate(mesh, x)
        assert barycentric.min() >= 0
        np.testing.assert_allclose(barycentric.sum(axis=1), 1.0, rtol=1e-14)
        np.testing.assert_allclose(
            np.einsum("ki,kia->ka", barycentric, mesh.points[mesh.cells[cell]]), x, atol=1e-12
        )


@settings(max_examples=60, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_notch_of_the_l_is_outside_and_the_rest_inside(x, y):
    point = [[x, y]]
    if x > 1e-6 and y < -1e-6:
        with pytest.raises(InputError, match=r"point 0: expected a point in the mesh within .*; received "):
            locate(BENT, point)
    elif not (x > 0 and y < 0):
        assert interpolate(BENT, BENT.points @ [2.0, -3.0], point) == pytest.approx(
            [2 * x - 3 * y], abs=1e-12
        )


@each_mesh
def test_vertices_and_edge_points_are_found(mesh):
    nodal = np.cos(3 * np.arange(len(mesh.points)))
    np.testing.assert_allclose(interpolate(mesh, nodal, mesh.points), nodal, atol=1e-9)
    a, b = mesh.cells[:, 0], mesh.cells[:, 1]
    for t in (0.5, 1 / 3, 1e-13):
        x = (1 - t) * mesh.points[a] + t * mesh.points[b]
        np.testing.assert_allclose(interpolate(mesh, nodal, x), (1 - t) * nodal[a] + t * nodal[b], atol=1e-9)


@each_mesh
def test_interpolation_reproduces_linear_functions(mesh):
    weights = np.random.default_rng(1).dirichlet(np.ones(mesh.dimension + 1), 50)
    x = np.einsum("ki,kia->ka", weights, mesh.points[mesh.cells[np.arange(50) % len(mesh.cells)]])
    slope = np.array([1.5, -0.7])[: mesh.dimension]
    matrix = interpolation_matrix(mesh, x)
    np.testing.assert_allclose(matrix @ (mesh.points @ slope + 2.0), x @ slope + 2.0, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-13)
    assert matrix.shape == (50, len(mesh.points))
    assert matrix.has_sorted_indices
    several = np.column_stack([mesh.points @ slope, np.ones(len(mesh.points))])
    np.testing.assert_allclose(interpolate(mesh, several, x), matrix @ several, atol=1e-12)


def test_rounding_outside_is_inside_and_more_is_not():
    mesh = unit_square(4)
    assert locate(mesh, [[-1e-13, 0.3], [0.3, 1 + 1e-13]])[1].min() >= 0
    with pytest.raises(InputError) as error:
        locate(mesh, [[0.5, 0.5], [1.1, 0.5], [1e300, 0.0]])
    assert str(error.value) == (
        "point 1: expected a point in the mesh within (0, 1) × (0, 1); received [1.1, 0.5] outside it; "
        "leave out or move the 2 point(s) that lie outside"
    )


def test_no_points_are_fine():
    assert interpolate(unit_square(2), np.zeros(9), np.zeros((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("mesh", "x", "message"),
    [
        (interval(2), [0.5], "x: expected an array of points of shape (k, 1); received shape (1,); "
         "pass x[:, None]"),
        (unit_square(2), [0.5, 0.5], "x: expected an array of points of shape (k, 2); received shape (2,); "
         "pass points as rows"),
        (interval(2), [[np.inf]], "point 0: expected finite coordinates; received [inf]; remove it"),
    ],
)  # fmt: skip
def test_location_reads_the_shape_of_points(mesh, x, message):
    with pytest.raises(InputError) as error:
        locate(mesh, x)
    assert str(error.value) == message


def test_interpolation_wants_a_value_a_node():
    with pytest.raises(
        InputError, match=r"nodal: expected 9 values, one a node; received shape \(8,\); pass values"
    ):
        interpolate(unit_square(2), np.zeros(8), [[0.5, 0.5]])


def test_small_cells_far_from_the_origin_are_found():
    mesh = interval(1000, 1e4, 1e4 + 1e-3)
    x = mesh.points[:-1] + np.diff(mesh.points, axis=0) / 2
    assert locate(mesh, x)[0].tolist() == list(range(1000))


def test_many_points_on_many_cells():
    mesh = unit_square(71)  # 10,082 cells
    x = np.random.default_rng(0).random((100_000, 2))
    cells, barycentric = locate(mesh, x)
    np.testing.assert_allclose(np.einsum("ki,kid->kd", barycentric, mesh.points[mesh.cells[cells]]), x, atol=1e-12)
