"""Quadrature, assembly and norms: identities, scikit-fem as an independent oracle, and errors."""

import time
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skfem
from fem_meshes import MESHES, scrambled
from skfem.helpers import dot, grad

from hybrid_lib.errors import InputError
from hybrid_lib.fem import (
    assemble,
    cell_coefficient,
    cell_gradients,
    composite_rule,
    element_stiffness,
    evaluate,
    flux_error,
    flux_load,
    flux_norm,
    h1_error,
    h1_seminorm,
    interval,
    l2_error,
    l2_norm,
    load,
    mass,
    pattern,
    quadrature_points,
    refine,
    rule,
    stiffness,
    unit_square,
)
from hybrid_lib.fem.quadrature import enable_x64

each_mesh = pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())


def tensors(mesh, seed=0):
    """A random symmetric positive definite tensor for each cell."""
    d = mesh.dimension
    root = np.random.default_rng(seed).normal(size=(len(mesh.cells), d, d))
    return root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(d)


def quadratic_tensor(x):
    """A tensor whose entries are quadratic polynomials of one point."""
    if len(x) == 1:
        return jnp.reshape(2.0 + x[0] ** 2, (1, 1))
    mixed = 0.3 * x[0] * x[1]
    return jnp.array([[3.0 + x[0] ** 2, mixed], [mixed, 2.0 + x[1]]])


# ------------------------------------------------------------------------------------------------ quadrature


@pytest.mark.parametrize("order", range(13))
def test_rules_integrate_polynomials_of_their_order(order):
    for d in (1, 2):
        barycentric, weights = rule(d, order)
        assert weights.min() > 0
        assert barycentric.min() > 0
        np.testing.assert_allclose(barycentric.sum(axis=1), 1.0, rtol=1e-14)
        for a in range(order + 1):
            for b in range(order + 1 - a if d == 2 else 1):
                mean = weights @ (barycentric[:, 1] ** a * barycentric[:, -1] ** b)
                exact = factorial(a) * factorial(b) * factorial(d) / factorial(a + b + d)
                if d == 1:
                    exact = 1 / (a + 1)
                assert mean == pytest.approx(exact, rel=2e-14)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_composite_rules_integrate_polynomials_and_cut_cells_in_equal_parts(d, pieces):
    barycentric, weights = composite_rule(d, pieces, 3)
    count = len(rule(d, 3)[1])
    assert len(weights) == pieces**d * count and barycentric.min() > 0
    np.testing.assert_allclose(barycentric.sum(axis=1), 1.0, rtol=1e-14)
    for a in range(4):
        for b in range(4 - a if d == 2 else 1):
            exact = factorial(a) * factorial(b) * factorial(d) / factorial(a + b + d) if d == 2 else 1 / (a + 1)
            assert weights @ (barycentric[:, 1] ** a * barycentric[:, -1] ** b) == pytest.approx(exact, rel=1e-13)
    np.testing.assert_allclose(composite_rule(d, 1, 3)[0], rule(d, 3)[0], rtol=1e-14)


def test_two_pieces_are_the_children_of_refinement():
    for mesh in (interval(3), unit_square(2)):
        fine = refine(mesh)
        barycentric, _ = composite_rule(mesh.dimension, 2, 0)  # one point, the centre, for each part
        centres = np.einsum("qi,mia->mqa", barycentric, mesh.points[mesh.cells])
        children = fine.points[fine.cells].mean(axis=1).reshape(centres.shape)
        for ours, theirs in zip(centres, children, strict=True):
            np.testing.assert_allclose(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)], atol=1e-15)
    with pytest.raises(InputError, match=r"pieces: expected a whole number >= 1; received 1\.5"):
        composite_rule(2, 1.5, 2)


def test_quadrature_points_lie_in_their_cells():
    mesh = MESHES["scrambled lshape"]
    points, weights = quadrature_points(mesh, 5)
    assert points.shape == (len(mesh.cells), 7, 2)
    np.testing.assert_allclose(weights.sum(axis=1), mesh.volumes, rtol=1e-14)
    np.testing.assert_allclose(
        np.einsum("mq,mqa->ma", weights, points),
        mesh.volumes[:, None] * mesh.points[mesh.cells].mean(axis=1),
        atol=1e-14,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 1), "dimension: expected 1 or 2; received 3; use an interval or a triangle"),
        ((2, -1), "order: expected a whole number >= 0; received -1; pass the degree to integrate exactly"),
        ((2, 1.5), "order: expected a whole number >= 0; received 1.5; pass the degree to integrate exactly"),
    ],
)
def test_rule_errors(arguments, message):
    with pytest.raises(InputError) as error:
        rule(*arguments)
    assert str(error.value) == message


def test_evaluation_accepts_jax_numpy_and_plain_python():
    points = np.random.default_rng(0).random((4, 3, 2))
    expected = np.where(points[..., 0] > 0.5, np.sin(points[..., 1]), 1.0)
    traced = evaluate(lambda x: jnp.where(x[0] > 0.5, jnp.sin(x[1]), 1.0), points)
    with_branch = evaluate(lambda x: np.sin(x[1]) if x[0] > 0.5 else 1.0, points)
    np.testing.assert_allclose(traced, expected, rtol=1e-15)
    np.testing.assert_allclose(with_branch, expected, rtol=1e-15)
    np.testing.assert_array_equal(evaluate(lambda x: 2, points), np.full((4, 3), 2.0))
    lists = evaluate(lambda x: [[x[0], 0], [0, x[1]]], points)
    np.testing.assert_array_equal(lists[..., 0, 0], points[..., 0])
    assert lists.shape == (4, 3, 2, 2)


def test_evaluation_is_float64_whatever_the_session_uses():
    points = np.array([[0.1], [0.7]])
    with enable_x64(False):
        amplitude = jnp.float32(2.0)
        values = evaluate(lambda x: amplitude * jnp.sin(x[0]), points)
        assert jnp.ones(1).dtype == jnp.float32  # the setting is back
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, 2 * np.sin(points[:, 0]), rtol=1e-15)


def test_evaluation_names_the_point_of_a_bad_value():
    with pytest.raises(InputError) as error:
        evaluate(lambda x: 1.0 / x[0], np.array([[1.0], [0.0]]))
    assert str(error.value) == (
        "field value at [0.0]: expected a finite number; received inf; "
        "correct the function"
    )


# ------------------------------------------------------------------------------------------------ identities


@each_mesh
def test_pattern_places_every_entry(mesh):
    found = pattern(mesh)
    n = len(mesh.points)
    rows = np.repeat(np.arange(n), np.diff(found.indptr))
    width = mesh.dimension + 1
    np.testing.assert_array_equal(rows[found.slots], np.repeat(mesh.cells[:, :, None], width, axis=2))
    np.testing.assert_array_equal(
        found.indices[found.slots], np.repeat(mesh.cells[:, None, :], width, axis=1)
    )
    key = rows.astype(np.int64) * n + found.indices
    assert (np.diff(key) > 0).all()  # sorted, no entry twice


@each_mesh
def test_stiffness_is_symmetric_with_zero_row_sums(mesh):
    matrix = stiffness(mesh, tensors(mesh))
    scale = abs(matrix).max()
    assert abs(matrix - matrix.T).max() <= 1e-14 * scale
    assert abs(matrix.sum(axis=1)).max() <= 1e-13 * scale
    eigenvalues = np.linalg.eigvalsh(matrix.toarray())
    assert abs(eigenvalues[0]) < 1e-12 * scale  # constants, and nothing else
    assert eigenvalues[1] > 1e-4


@each_mesh
def test_energy_of_linear_functions_is_exact(mesh):
    slope = np.array([1.0, -2.0])[: mesh.dimension]
    K = tensors(mesh)
    u = mesh.points @ slope
    expected = mesh.volumes @ np.einsum("a,mab,b->m", slope, K, slope)
    assert u @ stiffness(mesh, K) @ u == pytest.approx(expected, rel=1e-12)


@each_mesh
def test_a_coefficient_may_come_in_any_form(mesh):
    d, m = mesh.dimension, len(mesh.cells)
    same = [2.5, np.full(m, 2.5), 2.5 * np.eye(d), np.tile(2.5 * np.eye(d), (m, 1, 1)), lambda x: 2.5]
    same += [lambda x: 2.5 * jnp.eye(d), lambda x: jnp.asarray(2.5), jnp.asarray(2.5)]
    first = stiffness(mesh, same[0], pattern=pattern(mesh)).toarray()
    for K in same[1:]:
        np.testing.assert_allclose(stiffness(mesh, K).toarray(), first, rtol=1e-13, atol=1e-13)


def test_cell_means_are_means():
    mesh = MESHES["scrambled square"]
    means = cell_coefficient(mesh, lambda x: 1.0 + x[0] + 2.0 * x[1])
    centres = mesh.points[mesh.cells].mean(axis=1)
    np.testing.assert_allclose(means[:, 0, 0], 1.0 + centres @ [1.0, 2.0], rtol=1e-13)
    np.testing.assert_array_equal(means[:, 0, 1], 0.0)


@each_mesh
def test_masses_and_loads_count_the_volume(mesh):
    total = mesh.volumes.sum()
    ones = np.ones(len(mesh.points))
    consistent, lumped = mass(mesh), mass(mesh, lumped=True)
    assert ones @ consistent @ ones == pytest.approx(total, rel=1e-13)
    np.testing.assert_allclose(consistent @ ones, lumped.diagonal(), rtol=1e-12)
    np.testing.assert_allclose(load(mesh, 1.0), lumped.diagonal(), rtol=1e-12)
    assert lumped.nnz == len(mesh.points)
    linear = mesh.points @ np.array([1.0, 3.0])[: mesh.dimension]
    slope = np.array([1.0, 3.0])[: mesh.dimension]
    np.testing.assert_allclose(consistent @ linear, load(mesh, lambda x: x @ slope), atol=1e-13)


@each_mesh
def test_load_takes_values_a_cell(mesh):
    f = np.arange(len(mesh.cells), dtype=float)
    expected = np.zeros(len(mesh.points))
    np.add.at(expected, mesh.cells, (f * mesh.volumes / (mesh.dimension + 1))[:, None])
    np.testing.assert_allclose(load(mesh, f), expected, rtol=1e-13)


@each_mesh
def test_flux_load_is_the_stiffness_of_the_lift(mesh):
    direction = np.array([0.6, -0.8])[: mesh.dimension]
    expected = stiffness(mesh, quadratic_tensor) @ (mesh.points @ direction)
    np.testing.assert_allclose(flux_load(mesh, quadratic_tensor, direction), expected, atol=1e-12)
    constant = flux_load(mesh, 2.0, direction)
    np.testing.assert_allclose(constant[mesh.interior_nodes], 0.0, atol=1e-13)


@each_mesh
def test_element_entries_agree_inside_jit(mesh):
    K = tensors(mesh)
    host = element_stiffness(mesh.basis_gradients, mesh.volumes, K)
    assert isinstance(host, np.ndarray)
    entries = jax.jit(lambda K: element_stiffness(mesh.basis_gradients, mesh.volumes, K))
    np.testing.assert_allclose(entries(jnp.asarray(K)), host, rtol=1e-13, atol=1e-13)
    direction = jnp.asarray(tensors(mesh, 1))
    slope = jax.jvp(entries, (jnp.asarray(K),), (direction,))[1]  # linear in K
    np.testing.assert_allclose(slope, entries(direction), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(assemble(pattern(mesh), host).toarray(), stiffness(mesh, K).toarray())


def test_element_entries_follow_the_dtype():
    mesh = unit_square(2)
    single = [jnp.asarray(a, dtype=jnp.float32) for a in (mesh.basis_gradients, mesh.volumes, tensors(mesh))]
    assert element_stiffness(*single).dtype == jnp.float32


def test_assembly_is_fast():
    mesh = unit_square(300)  # 180,000 cells
    start = time.perf_counter()
    stiffness(mesh, np.ones(len(mesh.cells)))
    assert time.perf_counter() - start < 3.0


# ---------------------------------------------------------------------------------------- against scikit-fem


def skfem_basis(mesh, order):
    if mesh.dimension == 1:
        twin, element = (
            skfem.MeshLine1(mesh.points.T.copy(), mesh.cells.T.astype(np.int64)),
            skfem.ElementLineP1(),
        )
    else:
        twin, element = (
            skfem.MeshTri1(mesh.points.T.copy(), mesh.cells.T.astype(np.int64)),
            skfem.ElementTriP1(),
        )
    return skfem.Basis(twin, element, intorder=order)


def field(x):
    """scikit-fem's points (d, m, q) as the points of a function of one point."""
    return np.moveaxis(np.asarray(x), 0, -1)


@each_mesh
def test_stiffness_of_a_tensor_a_cell_equals_scikit_fem(mesh):
    K = tensors(mesh)

    @skfem.BilinearForm
    def form(u, v, w):
        return np.einsum("mab,bmq,amq->mq", K, grad(u), grad(v))

    expected = form.assemble(skfem_basis(mesh, 1)).toarray()
    np.testing.assert_allclose(
        stiffness(mesh, K).toarray(), expected, rtol=0, atol=1e-12 * abs(expected).max()
    )


@each_mesh
def test_stiffness_of_a_quadratic_tensor_equals_scikit_fem(mesh):
    @skfem.BilinearForm
    def form(u, v, w):
        K = evaluate(quadratic_tensor, field(w.x))
        return np.einsum("mqab,bmq,amq->mq", K, grad(u), grad(v))

    expected = form.assemble(skfem_basis(mesh, 4)).toarray()
    ours = stiffness(mesh, quadratic_tensor, order=2).toarray()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * abs(expected).max())


@each_mesh
def test_stiffness_and_mass_equal_scikit_fem(mesh):
    basis = skfem_basis(mesh, 2)
    laplace = skfem.BilinearForm(lambda u, v, w: dot(grad(u), grad(v))).assemble(basis).toarray()
    product = skfem.BilinearForm(lambda u, v, w: u * v).assemble(basis).toarray()
    np.testing.assert_allclose(
        stiffness(mesh, 1.0).toarray(), laplace, rtol=0, atol=1e-12 * abs(laplace).max()
    )
    np.testing.assert_allclose(mass(mesh).toarray(), product, rtol=0, atol=1e-13)


@each_mesh
def test_load_of_a_cubic_equals_scikit_fem(mesh):
    def cubic(x):
        return 1.0 + x[0] ** 3 - 2.0 * x[0] * x[-1]

    form = skfem.LinearForm(lambda v, w: (1.0 + w.x[0] ** 3 - 2.0 * w.x[0] * w.x[-1]) * v)
    np.testing.assert_allclose(
        load(mesh, cubic, order=4), form.assemble(skfem_basis(mesh, 4)), rtol=0, atol=1e-12
    )


# ----------------------------------------------------------------------------------------------------- norms


@each_mesh
def test_norms_are_the_matrix_forms(mesh):
    u = np.random.default_rng(4).normal(size=len(mesh.points))
    assert l2_norm(mesh, u) ** 2 == pytest.approx(u @ mass(mesh) @ u, rel=1e-12)
    assert h1_seminorm(mesh, u) ** 2 == pytest.approx(u @ stiffness(mesh, 1.0) @ u, rel=1e-12)
    K = tensors(mesh)
    squared = K @ K  # |K∇u|² = ∇u·K²∇u
    assert flux_norm(mesh, K, u) ** 2 == pytest.approx(u @ stiffness(mesh, squared) @ u, rel=1e-12)
    assert flux_norm(mesh, lambda x: 2.0, u) == pytest.approx(2 * h1_seminorm(mesh, u), rel=1e-13)


@each_mesh
def test_errors_of_linear_functions_vanish_to_rounding(mesh):
    slope = np.array([0.3, -1.1])[: mesh.dimension]
    u = mesh.points @ slope + 5.0
    assert l2_error(mesh, u, lambda x: x @ slope + 5.0) < 1e-14
    assert h1_error(mesh, u, lambda x: slope) < 1e-13
    assert h1_error(mesh, u, slope) < 1e-13
    assert flux_error(mesh, quadratic_tensor, u, lambda x: quadratic_tensor(x) @ slope) < 1e-12
    np.testing.assert_allclose(cell_gradients(mesh, u), np.tile(slope, (len(mesh.cells), 1)), atol=1e-12)


def test_errors_do_not_cancel():
    mesh = unit_square(8)
    u = 1.0 + mesh.points[:, 0]
    small = 1e-12  # far below the square root of rounding, where an expanded square is lost
    assert l2_error(mesh, u + small, lambda x: 1.0 + x[0]) == pytest.approx(small, rel=1e-3)
    gradient = h1_error(mesh, u + small * mesh.points[:, 1], lambda x: jnp.array([1.0, 0.0]))
    assert gradient == pytest.approx(small, rel=1e-2)


def test_errors_accept_values_at_quadrature_points():
    mesh = MESHES["scrambled square"]
    u = np.random.default_rng(2).normal(size=len(mesh.points))
    points, weights = quadrature_points(mesh, 4)
    exact = np.sin(3 * points[..., 0])
    function = l2_error(mesh, u, lambda x: jnp.sin(3 * x[0]))
    assert l2_error(mesh, u, exact) == pytest.approx(function, rel=1e-13)
    zero = np.zeros(len(mesh.points))
    assert l2_error(mesh, zero, exact) ** 2 == pytest.approx((weights * exact**2).sum(), rel=1e-13)


# ---------------------------------------------------------------------------------------------------- errors


def raises(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_coefficient_errors_name_the_cell():
    mesh = unit_square(2)
    values = np.ones(8)
    values[3] = -1.0
    assert raises(lambda: stiffness(mesh, values)) == (
        "K in cell 3: expected a finite positive definite value; received -1.0; correct the coefficient"
    )
    K = np.tile(np.eye(2), (8, 1, 1))
    K[5] = [[1.0, 2.0], [2.0, 1.0]]
    assert raises(lambda: stiffness(mesh, K)) == (
        "K in cell 5: expected a finite positive definite tensor; received [[1.0, 2.0], [2.0, 1.0]]; "
        "correct the coefficient"
    )
    K[5] = [[1.0, 0.5], [0.0, 1.0]]
    assert raises(lambda: stiffness(mesh, K)) == (
        "K in cell 5: expected a finite symmetric tensor; received [[1.0, 0.5], [0.0, 1.0]]; "
        "correct it, or pass the symmetric part (K + K.T) / 2"
    )
    K[5] = np.nan
    assert raises(lambda: stiffness(mesh, K)).startswith("K in cell 5: expected a finite symmetric tensor; ")
    assert raises(lambda: stiffness(mesh, np.nan)).startswith(
        "K in cell 0: expected a finite positive definite value"
    )
    # positive in the mean of cell 0, but not everywhere
    assert raises(lambda: stiffness(interval(1), lambda x: x[0] - 0.3, order=5)).startswith("K in cell 0: ")
    assert raises(lambda: stiffness(mesh, lambda x: x[0] - 0.6)).endswith("; correct the function")


def test_shape_errors_say_what_fits():
    mesh = unit_square(2)
    assert raises(lambda: stiffness(mesh, np.ones(7))) == (
        "K: expected a number or a (2, 2) tensor, one for all or for each of 8 cells, or a function of x; "
        "received shape (7,); pass one of these"
    )
    assert "received values of shape (2,)" in raises(lambda: stiffness(mesh, lambda x: x))
    assert raises(lambda: load(mesh, np.ones(9))) == (
        "f: expected shape (), (8,) or (8, 3), or a function of one point; received shape (9,); "
        "pass one value, one a cell, one a quadrature point, or a function"
    )
    assert raises(lambda: load(mesh, lambda x: x)) == (
        "f: expected a function of one point with values of shape (); received values of shape (2,); "
        "return that shape from the function"
    )
    assert (
        raises(lambda: load(mesh, np.inf))
        == "f: expected finite values; received nan or inf; correct the array"
    )
    assert raises(lambda: flux_load(mesh, 1.0, [1.0])) == (
        "direction: expected a vector of shape (2,); received shape (1,); pass one component an axis"
    )
    assert raises(lambda: assemble(pattern(mesh), np.ones((8, 2, 2)))) == (
        "element_matrices: expected shape (8, 3, 3); received shape (8, 2, 2); "
        "pass one matrix a cell of the mesh that the pattern was built for"
    )
    assert raises(lambda: l2_norm(mesh, np.ones((9, 2)))) == (
        "nodal: expected one value a node; received shape (9, 2); pass one function at a time"
    )
    assert raises(lambda: h1_error(mesh, np.ones(9), lambda x: x[0])).startswith(
        "exact_gradient: expected a function of one point with values of shape (2,); "
    )


def test_scrambling_does_not_change_the_operator():
    """Renumbering alone permutes the matrix: the eigenvalues stay."""
    mesh = unit_square(4)
    twin = scrambled(mesh, 8, shift=0.0)
    one, two = (np.linalg.eigvalsh(stiffness(each, 1.0).toarray()) for each in (mesh, twin))
    np.testing.assert_allclose(one, two, atol=1e-12)
