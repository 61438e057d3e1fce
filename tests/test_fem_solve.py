"""Solvers: patch test, lifting, direct against multigrid, and the derivatives of the dense solve."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_meshes import MESHES
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib.errors import InputError
from hybrid_lib.fem import (
    SymmetricFactor,
    factor,
    factor_solve,
    from_simplices,
    interval,
    linear_solve,
    load,
    mass,
    solve_diffusion,
    solve_dirichlet,
    stiffness,
    unit_square,
)

each_mesh = pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())


# ------------------------------------------------------------------------------------------------- host side


@each_mesh
def test_patch_linear_solutions_are_exact(mesh):
    d = mesh.dimension
    slope = np.array([1.3, -0.4])[:d]
    K = np.array([[2.0, 0.7], [0.7, 1.0]])[:d, :d]
    exact = mesh.points @ slope + 0.2
    by_function = solve_diffusion(mesh, K, 0.0, boundary=lambda x: x @ slope + 0.2)
    by_values = solve_diffusion(mesh, K, 0.0, boundary=exact[mesh.boundary_nodes])
    np.testing.assert_allclose(by_function, exact, atol=1e-12)
    np.testing.assert_allclose(by_values, exact, atol=1e-12)


def test_nodal_values_are_exact_in_one_dimension():
    mesh = MESHES["scrambled interval"]
    x = mesh.points[:, 0]
    np.testing.assert_allclose(solve_diffusion(mesh, 1.0, 2.0), x * (1 - x), atol=1e-14)


def test_lifting_equals_elimination_in_dense_arithmetic():
    mesh = MESHES["scrambled square"]
    n = len(mesh.points)
    matrix, random = stiffness(mesh, lambda x: 1.0 + x[0]), np.random.default_rng(0)
    rhs, nodes = random.normal(size=(n, 2)), random.permutation(n)[:10]
    values = random.normal(size=(10, 2))
    full = matrix.toarray()
    full[nodes] = np.eye(n)[nodes]
    right = rhs.copy()
    right[nodes] = values
    expected = np.linalg.solve(full, right)
    np.testing.assert_allclose(solve_dirichlet(matrix, rhs, nodes, values), expected, atol=1e-11)
    np.testing.assert_allclose(
        solve_dirichlet(matrix, rhs[:, 1], nodes, values[:, 1]), expected[:, 1], atol=1e-11
    )
    right[nodes] = values[:, :1]
    same = solve_dirichlet(matrix, rhs, nodes, values[:, 0])  # the same values for both right-hand sides
    np.testing.assert_allclose(same, np.linalg.solve(full, right), atol=1e-11)


def test_multigrid_equals_the_direct_solution():
    mesh = unit_square(32)
    matrix = stiffness(mesh, lambda x: 3.0 + jnp.sin(20 * x[0]) + jnp.sin(20 * x[1]))
    rhs = np.column_stack([load(mesh, 1.0), load(mesh, lambda x: x[0])])
    direct, amg = (
        solve_dirichlet(matrix, rhs, mesh.boundary_nodes, 1.0, method=method) for method in ("direct", "amg")
    )
    np.testing.assert_allclose(amg, direct, rtol=1e-10)
    assert direct[mesh.boundary_nodes].tolist() == np.ones((len(mesh.boundary_nodes), 2)).tolist()


def test_a_matrix_that_needs_no_fixed_node():
    mesh = unit_square(4)
    matrix = stiffness(mesh, 1.0) + mass(mesh)
    solution = solve_dirichlet(matrix, load(mesh, 2.0), [])
    np.testing.assert_allclose(solution, 2.0, atol=1e-12)


def test_all_nodes_fixed_gives_the_values():
    mesh = interval(3)
    assert solve_dirichlet(stiffness(mesh, 1.0), np.ones(4), [3, 1, 0, 2], [3.0, 1.0, 0.0, 2.0]).tolist() == [
        0,
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("weak", [1e-8, 1e-11])
def test_a_weak_layer_at_the_boundary_holds_the_rest(weak):
    """K is tiny in the first and the last cell: the nodes between hang on them, by little."""
    mesh = interval(100)
    K = np.ones(100)
    K[[0, -1]] = weak
    x = mesh.points[:, 0]
    exact = (x * (1 - x)) / 2 + (1 / weak - 1) * 0.005 * (1 - 0.01)  # the flux 1/2 - x through the layers, at the nodes
    solution = solve_diffusion(mesh, K, 1.0)
    np.testing.assert_allclose(solution[1:-1], exact[1:-1], rtol=1e-3)


def test_a_part_of_a_mesh_without_a_fixed_node_is_refused():
    one, other = unit_square(2), unit_square(2)
    points = np.concatenate([one.points, other.points + np.array([2.0, 0.0])])
    cells = np.concatenate([one.cells, other.cells + len(one.points)])
    mesh = from_simplices(points, cells)
    matrix, nodes = stiffness(mesh, 1.0), one.boundary_nodes
    with pytest.raises(InputError, match=r"in each connected part.*none in the part of node 9; fix a node, for example"):
        solve_dirichlet(matrix, np.zeros(18), nodes)
    solve_dirichlet(matrix + mass(mesh), np.ones(18), nodes)
    assert np.isfinite(solve_diffusion(mesh, 1.0, 1.0)).all()


ON_SQUARE = unit_square(2)
MATRIX, ZERO = stiffness(ON_SQUARE, 1.0), np.zeros(9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve_dirichlet(MATRIX, ZERO, []),
         "nodes: expected at least one fixed node in each connected part, as the matrix is zero on constants; received none; "
         "fix a node, for example nodes=[0], or add a mass matrix"),
        (lambda: solve_dirichlet(MATRIX, ZERO, [9]),
         "nodes: expected numbers from 0 to 8; received 9; correct the numbers"),
        (lambda: solve_dirichlet(MATRIX, ZERO, [1, 1]),
         "nodes: expected each node once; received a repeated node; pass np.unique(nodes)"),
        (lambda: solve_dirichlet(MATRIX, ZERO, [0.5]),
         "nodes: expected a vector of node numbers; received dtype float64, shape (1,); pass integers"),
        (lambda: solve_dirichlet(MATRIX, ZERO, [0], [1.0, 2.0]),
         "values: expected a number or 1 values, one a fixed node; received shape (2,); "
         "pass them in the order of nodes"),
        (lambda: solve_dirichlet(MATRIX, ZERO, [0], np.nan),
         "values: expected finite values; received nan or inf; correct the data they come from"),
        (lambda: solve_dirichlet(MATRIX, ZERO + np.inf, [0]),
         "rhs: expected finite values; received nan or inf; correct the data they come from"),
        (lambda: solve_dirichlet(MATRIX, np.zeros(8), [0]),
         "rhs: expected shape (9,) or (9, k); received shape (8,); pass one value a node"),
        (lambda: solve_dirichlet(MATRIX[:5], ZERO, [0]),
         "matrix: expected a square matrix; received shape (5, 9); pass a stiffness matrix"),
        (lambda: solve_dirichlet(MATRIX, ZERO, [0], method="lu"),
         "method: expected \"auto\", \"direct\", \"amg\" or \"sine\"; received 'lu'; choose one of them"),
        (lambda: solve_dirichlet(MATRIX * 0.0, ZERO, [0]),
         "matrix: expected a positive definite matrix; received Factor is exactly singular; "
         "fix more nodes or check the mesh"),
    ],
)  # fmt: skip
def test_solver_errors(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message


def test_multigrid_says_when_it_does_not_converge(monkeypatch):
    monkeypatch.setattr("hybrid_lib.fem.solve.AMG_ITERATIONS", 2)
    mesh = unit_square(32)
    with pytest.raises(InputError) as error:
        solve_dirichlet(stiffness(mesh, 1.0), load(mesh, 1.0), mesh.boundary_nodes, method="amg")
    assert str(error.value).startswith(
        "solve: expected a relative residual <= 1e-12 in 2 iterations; received "
    )
    assert str(error.value).endswith('; use method="direct" or a larger tol')


# ----------------------------------------------------------------------------------------------- device side


def definite(seed, n):
    random = np.random.default_rng(seed)
    root = random.normal(size=(n, n))
    return jnp.asarray(root @ root.T + n * np.eye(n)), jnp.asarray(random.normal(size=n))


def symmetric_direction(seed, n):
    root = np.random.default_rng(seed).normal(size=(n, n))
    return jnp.asarray(root + root.T)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 4, 9]))
def test_solve_inverts(seed, n):
    A, b = definite(seed, n)
    np.testing.assert_allclose(A @ linear_solve(A, b), b, atol=1e-11)
    np.testing.assert_allclose(factor_solve(factor(A), b), linear_solve(A, b), atol=1e-13)


def test_dense_solve_equals_the_sparse_one():
    mesh = MESHES["scrambled square"]
    inner = mesh.interior_nodes
    matrix, rhs = stiffness(mesh, 2.0), load(mesh, lambda x: x[0])
    dense = jnp.asarray(matrix[inner][:, inner].toarray())
    expected = solve_dirichlet(matrix, rhs, mesh.boundary_nodes)[inner]
    np.testing.assert_allclose(jax.jit(linear_solve)(dense, jnp.asarray(rhs[inner])), expected, rtol=1e-11)


def test_jvp_against_finite_differences():
    A, b = definite(0, 7)
    A_dot, b_dot = symmetric_direction(1, 7), jnp.cos(jnp.arange(7.0))
    x, x_dot = jax.jvp(linear_solve, (A, b), (A_dot, b_dot))
    np.testing.assert_allclose(x_dot, jnp.linalg.solve(A, b_dot - A_dot @ x), atol=1e-13)
    steps = 2.0 ** -np.arange(4, 10)
    remainder = [np.linalg.norm(linear_solve(A + t * A_dot, b + t * b_dot) - x - t * x_dot) for t in steps]
    slope = np.polyfit(np.log(steps), np.log(remainder), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.1)  # Taylor


def test_vjp_against_finite_differences():
    A, b = definite(2, 6)
    target = jnp.arange(6.0)

    def objective(A, b):
        return jnp.sum((linear_solve(A, b) - target) ** 2)

    A_bar, b_bar = jax.grad(objective, argnums=(0, 1))(A, b)
    A_dot, b_dot, t = symmetric_direction(3, 6), jnp.sin(jnp.arange(6.0)), 1e-5
    difference = (objective(A + t * A_dot, b + t * b_dot) - objective(A - t * A_dot, b - t * b_dot)) / (2 * t)
    assert float(jnp.sum(A_bar * A_dot) + b_bar @ b_dot) == pytest.approx(float(difference), rel=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_adjoint_identity(seed):
    """⟨Jv, w⟩ = ⟨v, Jᵀw⟩ for the derivative J of the solution by the matrix and the right-hand side."""
    A, b = definite(seed, 5)
    A_dot, b_dot, w = symmetric_direction(seed + 1, 5), definite(seed + 2, 5)[1], definite(seed + 3, 5)[1]
    forward = jax.jvp(linear_solve, (A, b), (A_dot, b_dot))[1] @ w
    A_bar, b_bar = jax.vjp(linear_solve, A, b)[1](w)
    assert float(forward) == pytest.approx(
        float(jnp.sum(A_bar * A_dot) + b_bar @ b_dot), rel=1e-10, abs=1e-12
    )


def test_forward_and_reverse_jacobians_agree_under_jit():
    A, b = definite(4, 5)

    def of_parameters(s):
        return linear_solve(A + s[0] * jnp.eye(5) + s[1] ** 2 * A, b * s[2])

    s = jnp.array([0.3, 0.7, 1.1])
    forward, reverse = jax.jit(jax.jacfwd(of_parameters))(s), jax.jit(jax.jacrev(of_parameters))(s)
    np.testing.assert_allclose(forward, reverse, atol=1e-14)


def test_second_derivatives():
    """x(s) = A⁻¹b/s has x'' = 2 A⁻¹b/s³, in every mixture of modes; solves may be chained too."""
    A, b = definite(5, 4)
    w = jnp.arange(4.0)

    def value(s):
        return w @ linear_solve(s * A, b)

    def twice(s):
        return w @ linear_solve(s * A, linear_solve(s * A, b))

    @jax.jit
    def derivatives(s):
        mixtures = (jax.jacfwd(jax.grad(value)), jax.jacrev(jax.jacfwd(value)), jax.grad(jax.grad(value)))
        return [second(s) for second in mixtures], jax.grad(twice)(s)

    seconds, of_twice = derivatives(1.5)
    once = np.linalg.solve(A, b)
    np.testing.assert_allclose(seconds, 2 * w @ once / 1.5**3, rtol=1e-12)
    np.testing.assert_allclose(of_twice, -2 * w @ np.linalg.solve(A, once) / 1.5**3, rtol=1e-11)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_vmap_equals_a_loop_with_derivatives(axes):
    pairs = [definite(seed, 4) for seed in range(3)]
    A, b = (
        jnp.stack(part) if axis == 0 else part[0]
        for part, axis in zip(zip(*pairs, strict=True), axes, strict=True)
    )

    def all_of(A, b):
        """Solution, gradients of a function of it, and a tangent."""
        gradients = jax.grad(lambda A, b: jnp.sum(linear_solve(A, b) ** 3), argnums=(0, 1))(A, b)
        return linear_solve(A, b), gradients, jax.jvp(linear_solve, (A, b), (A, 3.0 * b))[1]

    batched, single = jax.jit(jax.vmap(all_of, axes))(A, b), jax.jit(all_of)
    for k in range(3):
        x, (A_bar, b_bar), x_dot = jax.tree.map(lambda leaf, k=k: leaf[k], batched)
        one = (A[k] if axes[0] == 0 else A), (b[k] if axes[1] == 0 else b)
        expected = single(*one)
        np.testing.assert_allclose(x, expected[0], atol=1e-13)
        np.testing.assert_allclose(A_bar, expected[1][0], atol=1e-13)
        np.testing.assert_allclose(b_bar, expected[1][1], atol=1e-13)
        np.testing.assert_allclose(x_dot, 2.0 * x, atol=1e-13)


def primitives(jaxpr):
    """Names of all operations, those inside others included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


def count_factorisations(function, *arguments):
    return list(primitives(jax.make_jaxpr(function)(*arguments).jaxpr)).count("cholesky")


def test_the_matrix_is_factored_once():
    A, b = definite(6, 4)

    def value(A, b):
        return jnp.sum(linear_solve(A, b) ** 2)

    assert count_factorisations(value, A, b) == 1
    assert count_factorisations(jax.value_and_grad(value, argnums=(0, 1)), A, b) == 1
    assert count_factorisations(lambda A, b: jax.jvp(linear_solve, (A, b), (A, b)), A, b) == 1
    assert count_factorisations(jax.hessian(value, argnums=1), A, b) == 1
    known = factor(A)
    assert count_factorisations(jax.grad(lambda A: jnp.sum(linear_solve(A, b, known))), A) == 0
    expected = jax.grad(lambda A: jnp.sum(linear_solve(A, b)))(A)
    np.testing.assert_array_equal(jax.grad(lambda A: jnp.sum(linear_solve(A, b, known)))(A), expected)


def test_several_right_hand_sides_and_single_precision():
    A, b = definite(7, 4)
    B = jnp.stack([b, 2.0 * b], axis=1)
    np.testing.assert_allclose(linear_solve(A, B), jnp.linalg.solve(A, B), atol=1e-13)
    A_bar = jax.grad(lambda A: jnp.sum(linear_solve(A, B)))(A)
    np.testing.assert_allclose(A_bar, 3.0 * jax.grad(lambda A: jnp.sum(linear_solve(A, b)))(A), atol=1e-13)
    single = linear_solve(A.astype(jnp.float32), b.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, linear_solve(A, b), rtol=1e-4)


def test_a_batch_is_factored_one_by_one():
    """Two batched factorisations at once can wait for each other for ever on two cores."""
    matrices = jnp.stack([jnp.eye(3) * k for k in (1.0, 4.0, 9.0)])  # (3, 3, 3)
    assert np.allclose(jax.vmap(factor)(matrices).lower, np.sqrt(matrices))
    text = jax.jit(jax.vmap(lambda A: linear_solve(A, jnp.ones(3)))).lower(matrices).as_text()
    shapes = re.findall(r"lapack_dpotrf.*?: \(tensor<([0-9x]+)xf64>", text)
    assert shapes and all(shape.count("x") == 1 for shape in shapes)


def test_a_factor_is_a_pytree_and_an_indefinite_matrix_gives_nan():
    known = jax.tree.map(lambda leaf: 2.0 * leaf, factor(jnp.eye(2)))
    assert isinstance(known, SymmetricFactor)
    np.testing.assert_allclose(factor_solve(known, jnp.ones(2)), [0.25, 0.25])
    assert jnp.isnan(linear_solve(-jnp.eye(2), jnp.ones(2))).all()
