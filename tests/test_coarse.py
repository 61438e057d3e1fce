"""The coarse problem: against the FE package, the scalar form, symmetry, derivatives, the frozen state, couplings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale import coarse, coupling
from hybrid_lib.multiscale.compression import compression
from hybrid_lib.multiscale.upscaling import parts_of


def source(x):
    return 1 + jnp.sum(x**2)


def mesh_of(dimension):
    return fem.interval(12) if dimension == 1 else fem.unit_square(6)


def problem_of(dimension, kind, dtype=jnp.float64):
    """The problem and a K_hat for it; kind is scalar, tensor or parts."""
    mesh = mesh_of(dimension)
    if kind == "scalar":
        return coarse.coarse_problem(mesh, source, dtype=dtype, isotropic_constant=True), jnp.asarray(
            1.7, dtype
        )
    parts = parts_of(mesh.points[mesh.cells].mean(axis=1), 2) if kind == "parts" else None
    problem = coarse.coarse_problem(mesh, source, direction=dimension - 1, parts=parts, dtype=dtype)
    shifts = np.arange(problem.n_parts)[:, None, None]
    K_hat = np.array([[2.0, 0.6], [0.2, 1.5]])[:dimension, :dimension] + 0.3 * shifts * np.eye(dimension)
    return problem, jnp.asarray(K_hat, dtype)


CASES = [(d, kind) for d in (1, 2) for kind in ("scalar", "tensor", "parts")]
TENSORS = [case for case in CASES if case[1] != "scalar"]


@pytest.mark.parametrize(("dimension", "kind"), TENSORS)
def test_state_equals_the_fe_solution(dimension, kind):
    """With the lift term, for the symmetric part of the tensor."""
    mesh = mesh_of(dimension)
    problem, K_hat = problem_of(dimension, kind)
    K_cells = np.asarray((K_hat + K_hat.swapaxes(1, 2)) / 2)[np.asarray(problem.parts)]
    load = fem.load(mesh, source) - fem.flux_load(mesh, K_cells, np.eye(dimension)[dimension - 1])
    expected = fem.solve_dirichlet(fem.stiffness(mesh, K_cells), load, mesh.boundary_nodes)
    np.testing.assert_allclose(coarse.state(problem, K_hat), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dimension", [1, 2])
def test_scalar_form_equals_the_tensor_form(dimension):
    mesh = mesh_of(dimension)
    scalar = coarse.coarse_problem(mesh, source, isotropic_constant=True)
    tensor = coarse.coarse_problem(mesh, source)
    K = jnp.asarray(1.3)
    full = K * jnp.eye(dimension)[None]
    np.testing.assert_allclose(coarse.state(scalar, K), coarse.state(tensor, full), atol=1e-14)
    np.testing.assert_allclose(coarse.matrix(scalar, K), coarse.matrix(tensor, full), atol=1e-14)
    np.testing.assert_allclose(coarse.load(scalar, K), coarse.load(tensor, full), atol=1e-13)


def test_constant_antisymmetric_part_has_no_effect():
    problem, _ = problem_of(2, "tensor")
    skew = jnp.array([[[0.0, 1.0], [-1.0, 0.0]]])
    np.testing.assert_array_equal(
        coarse.state(problem, jnp.eye(2)[None] + skew), coarse.state(problem, jnp.eye(2)[None])
    )


@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_matrix_and_solve_are_symmetric(dimension, kind, key):
    problem, K_hat = problem_of(dimension, kind)
    B = coarse.matrix(problem, K_hat)
    np.testing.assert_allclose(B, B.T, atol=1e-14)
    f, g = jax.random.normal(key, (2, *problem.source.shape))
    left = g[problem.interior_nodes] @ coarse.adjoint(problem, K_hat, f)[problem.interior_nodes]
    right = f[problem.interior_nodes] @ coarse.adjoint(problem, K_hat, g)[problem.interior_nodes]
    np.testing.assert_allclose(left, right, rtol=1e-11)


@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_sensitivity_equals_ad(dimension, kind, key):
    problem, K_hat = problem_of(dimension, kind)
    weights = jax.random.normal(key, problem.source.shape)

    def objective(K_hat):
        return jnp.sum(weights * coarse.state(problem, K_hat) ** 2)

    y = coarse.state(problem, K_hat)
    p = coarse.adjoint(problem, K_hat, -2 * weights * y)
    np.testing.assert_allclose(
        coarse.adjoint_sensitivity(problem, y, p), jax.grad(objective)(K_hat), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_taylor_remainder_of_the_state(dimension, kind, key):
    problem, K_hat = problem_of(dimension, kind)
    dK = 0.3 * jax.random.normal(key, K_hat.shape)
    y, dy = jax.jvp(lambda K: coarse.state(problem, K), (K_hat,), (dK,))
    steps = 2.0 ** -jnp.arange(4, 9)
    remainder = [jnp.linalg.norm(coarse.state(problem, K_hat + t * dK) - y - t * dy) for t in steps]
    if dimension == 1 and kind == "tensor":  # y = y_1 / K: the remainder is of second order all the same
        assert remainder[0] > 0
    assert abs(np.polyfit(np.log(steps), np.log(remainder), 1)[0] - 2) < 0.1


@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_frozen_state(dimension, kind, key):
    problem, K_hat = problem_of(dimension, kind)
    frozen = coarse.refresh(problem, K_hat)
    np.testing.assert_allclose(frozen.state, coarse.state(problem, K_hat), rtol=1e-12, atol=1e-15)
    assert (frozen.factor == ()) == (kind == "scalar")

    def held(K):
        return coarse.frozen_state(problem, frozen, K)

    def exact(K):
        return coarse.state(problem, K)

    dK, r = jax.random.normal(key, K_hat.shape), jax.random.normal(key, problem.source.shape)
    value, slope = jax.jvp(held, (K_hat,), (dK,))
    np.testing.assert_array_equal(value, frozen.state)
    np.testing.assert_allclose(slope, jax.jvp(exact, (K_hat,), (dK,))[1], rtol=1e-10, atol=1e-14)
    (back,), (expected,) = jax.vjp(held, K_hat)[1](r), jax.vjp(exact, K_hat)[1](r)
    np.testing.assert_allclose(back, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(r @ slope, jnp.sum(back * dK), rtol=1e-10)
    # elsewhere: the value stays, the derivative is the one of the stored operator
    moved, lagged = jax.jvp(held, (1.1 * K_hat,), (dK,))
    np.testing.assert_array_equal(moved, frozen.state)
    np.testing.assert_allclose(lagged, slope, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_jit_vmap_and_control_flow(dimension, kind, dtype):
    """Refresh inside lax.cond over a seed axis, as the training loop does; the shapes and dtypes do not change."""
    problem, K_hat = problem_of(dimension, kind, dtype)
    many = jnp.stack([K_hat, 2 * K_hat])

    def step(K):
        frozen = coarse.refresh(problem, K)
        refreshed = jax.lax.cond(
            jnp.max(K) > 1.0, lambda: coarse.refresh(problem, K), lambda: jax.tree.map(jnp.zeros_like, frozen)
        )
        return jnp.sum(coarse.frozen_state(problem, refreshed, K) ** 2)

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(step)))(many)
    assert values.dtype == dtype and slopes.dtype == dtype
    tolerance = 1e-4 if dtype == jnp.float32 else 1e-11
    for k in range(2):
        y = coarse.state(problem, many[k])
        np.testing.assert_allclose(values[k], jnp.sum(y**2), rtol=tolerance)

    def body(carry):
        k, frozen = carry
        return k + 1, coarse.refresh(problem, frozen.K_hat * 2)

    start = (jnp.asarray(0), coarse.refresh(problem, K_hat))
    _, last = jax.lax.while_loop(lambda carry: carry[0] < 2, body, start)
    np.testing.assert_allclose(last.K_hat, 4 * K_hat)


def test_problem_is_a_pytree_with_static_integers():
    problem, _ = problem_of(2, "parts")
    leaves, tree = jax.tree.flatten(problem)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    copy = jax.tree.unflatten(tree, leaves)
    assert copy.n_parts == 4 and copy.isotropic_constant is False
    np.testing.assert_allclose(problem.weights.sum(), 1.0)


def test_is_elliptic():
    assert coarse.is_elliptic(jnp.asarray(2.0), 1.0)
    assert not coarse.is_elliptic(jnp.asarray(jnp.nan))
    assert not coarse.is_elliptic(jnp.array([[[1.0, 2.0], [2.0, 1.0]]]))
    K = jnp.array([[[2.0, 1.0], [0.0, 1.0]], [[3.0, 0.0], [0.0, 4.0]]])
    lowest = float(np.linalg.eigvalsh([[2.0, 0.5], [0.5, 1.0]])[0])
    assert coarse.is_elliptic(K, lowest - 1e-9) and not coarse.is_elliptic(K, lowest + 1e-9)
    assert not coarse.is_elliptic(jnp.array([[[1.0]], [[-1.0]]]))


def test_couplings():
    """Both residuals vanish where they should, and square to the discrete R_delta."""
    mesh = fem.unit_square(6)
    points = np.random.default_rng(0).random((2000, 2))
    Q = compression(mesh.points, points, 0.2, lambda x: jnp.min(jnp.minimum(x, 1 - x)))
    problem = coarse.coarse_problem(mesh, source, isotropic_constant=True)
    y = coarse.state(problem, jnp.asarray(2.0))
    fine = coupling.FineValues(jnp.asarray(fem.interpolate(mesh, y, points)), y[Q.pointwise_nodes])
    gaps = {}
    for name in ("averaged", "averaged-both"):
        term = coupling.coupling(name)
        data = term.prepare(Q, mesh, points)
        gaps[name] = jax.jit(term.residual)(problem, data, fine, y)
        assert gaps[name].shape == (49,)
    np.testing.assert_allclose(gaps["averaged-both"], 0, atol=1e-15)  # u = y is consistent in (2.16)
    assert jnp.max(jnp.abs(gaps["averaged"])) > 1e-6  # and is not in (2.10)
    ones = coupling.FineValues(jnp.ones(2000), jnp.ones(Q.pointwise_nodes.shape))
    r = coupling.coupling("averaged").residual(problem, Q, ones, jnp.zeros(49))
    np.testing.assert_allclose(jnp.sum(r**2), 1.0)
    with pytest.raises(
        InputError, match="coupling: expected one of averaged, averaged-both; received 'defects'"
    ):
        coupling.coupling("defects")


def test_errors():
    mesh = fem.unit_square(3)
    with pytest.raises(InputError, match="direction: expected an integer below 2"):
        coarse.coarse_problem(mesh, direction=2)
    with pytest.raises(InputError, match="parts: expected integers >= 0"):
        coarse.coarse_problem(mesh, parts=np.zeros(3, int))
    with pytest.raises(
        InputError, match=r"parts: expected a cell in each part 0\.\.2; received none in part 1"
    ):
        coarse.coarse_problem(mesh, parts=np.where(np.arange(18) > 4, 2, 0))
    with pytest.raises(InputError, match="isotropic_constant: expected one part; received 2 parts"):
        coarse.coarse_problem(mesh, parts=np.arange(18) % 2, isotropic_constant=True)
    with pytest.raises(InputError, match="coarse mesh: expected at least one interior node"):
        coarse.coarse_problem(fem.interval(1))
    problem = coarse.coarse_problem(mesh)
    with pytest.raises(InputError, match=r"K_hat: expected shape \(1, 2, 2\); received \(\)"):
        coarse.state(problem, jnp.asarray(1.0))
