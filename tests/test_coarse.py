"""The coarse problem: against the FE package, symmetry, derivatives, the frozen state, the couplings."""

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


LARGE = pytest.param(2, "parts", marks=pytest.mark.slow)
TENSORS = [(1, "parts"), (2, "tensor"), LARGE]
CASES = [(1, "scalar"), *TENSORS]


@pytest.mark.parametrize(("dimension", "kind"), TENSORS)
def test_state_equals_the_fe_solution(dimension, kind):
    """With the lift term, for the symmetric part of the tensor."""
    mesh = mesh_of(dimension)
    problem, K_hat = problem_of(dimension, kind)
    K_cells = np.asarray(K_hat + K_hat.swapaxes(1, 2))[np.asarray(problem.parts)] / 2
    load = fem.load(mesh, source) - fem.flux_load(mesh, K_cells, np.eye(dimension)[dimension - 1])
    expected = fem.solve_dirichlet(fem.stiffness(mesh, K_cells), load, mesh.boundary_nodes)
    np.testing.assert_allclose(jax.jit(coarse.state)(problem, K_hat), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dimension", [1, 2])
def test_scalar_form_equals_the_tensor_form(dimension):
    mesh = mesh_of(dimension)
    scalar = coarse.coarse_problem(mesh, source, isotropic_constant=True)
    tensor = coarse.coarse_problem(mesh, source)

    @jax.jit
    def everything(problem, K_hat):
        return coarse.state(problem, K_hat), coarse.matrix(problem, K_hat), coarse.load(problem, K_hat)

    one = everything(scalar, jnp.asarray(1.3))
    other = everything(tensor, 1.3 * jnp.eye(dimension)[None])
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_constant_antisymmetric_part_has_no_effect():
    problem, _ = problem_of(2, "tensor")
    state = jax.jit(coarse.state)
    skew = jnp.array([[[0.0, 1.0], [-1.0, 0.0]]])
    plain = jnp.eye(2)[None]
    np.testing.assert_array_equal(state(problem, plain + skew), state(problem, plain))


@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_solve_is_symmetric_and_sensitivity_equals_ad(dimension, kind):
    problem, K_hat = problem_of(dimension, kind)
    f, g = np.random.default_rng(0).standard_normal((2, len(problem.source)))

    def objective(K_hat):
        return jnp.sum(f * coarse.state(problem, K_hat) ** 2)

    @jax.jit
    def everything(K_hat, f, g):
        y = coarse.state(problem, K_hat)
        p = coarse.adjoint(problem, K_hat, -2 * f * y)
        solves = coarse.adjoint(problem, K_hat, f), coarse.adjoint(problem, K_hat, g)
        return solves, coarse.adjoint_sensitivity(problem, y, p), jax.grad(objective)(K_hat)

    (for_f, for_g), by_adjoint, by_ad = everything(K_hat, f, g)
    np.testing.assert_allclose(g @ for_f, f @ for_g, rtol=1e-11)
    np.testing.assert_allclose(by_adjoint, by_ad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("dimension", "kind"), CASES)
def test_frozen_state_and_taylor_remainder(dimension, kind):
    problem, K_hat = problem_of(dimension, kind)
    random = np.random.default_rng(1)
    change, r = 0.3 * random.standard_normal(K_hat.shape), random.standard_normal(len(problem.source))

    @jax.jit
    def everything(K_hat, at, change, r):
        """Value, J v and J^T v of the state and of the frozen state, the latter frozen at K_hat."""
        frozen = coarse.refresh(problem, K_hat)
        results = []
        for f in (
            lambda K: coarse.state(problem, K),
            lambda K: coarse.frozen_state(problem, frozen, K),
        ):
            value, pull_back = jax.vjp(f, at)
            results.append((value, jax.jvp(f, (at,), (change,))[1], pull_back(r)[0]))
        return frozen, *results

    frozen, (y, slope, back), held = everything(K_hat, K_hat, change, r)
    assert (frozen.factor == ()) == (kind == "scalar")
    np.testing.assert_allclose(frozen.state, y, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(held[0], frozen.state)
    np.testing.assert_allclose(held[1], slope, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(held[2], back, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(r @ held[1], np.sum(held[2] * change), rtol=1e-10)
    # elsewhere: the value stays, the derivative is the one of the stored operator
    _, _, moved = everything(K_hat, 1.1 * K_hat, change, r)
    np.testing.assert_array_equal(moved[0], frozen.state)
    np.testing.assert_allclose(moved[1], held[1], rtol=1e-12, atol=1e-15)

    steps = 2.0 ** -np.arange(4, 9)
    states = [everything(K_hat, K_hat + t * change, change, r)[1][0] for t in steps]
    remainder = [np.linalg.norm(states[k] - y - t * slope) for k, t in enumerate(steps)]
    assert abs(np.polyfit(np.log(steps), np.log(remainder), 1)[0] - 2) < 0.1


@pytest.mark.parametrize(
    ("dimension", "kind", "dtype"),
    [
        (2, "scalar", jnp.float32),
        (2, "tensor", jnp.float32),
        pytest.param(1, "parts", jnp.float64, marks=pytest.mark.slow),
    ],
)
def test_jit_vmap_and_control_flow(dimension, kind, dtype):
    """Refresh inside cond and while_loop over a seed axis, as in training: shapes and dtypes stay."""
    problem, K_hat = problem_of(dimension, kind, dtype)
    many = jnp.stack([K_hat, 2 * K_hat])

    def body(carry):
        k, frozen = carry
        return k + 1, jax.lax.cond(k > 0, lambda: coarse.refresh(problem, 2 * frozen.K_hat), lambda: frozen)

    def run(frozen):
        _, frozen = jax.lax.while_loop(lambda carry: carry[0] < 3, body, (jnp.asarray(0, jnp.int32), frozen))
        return frozen, jax.grad(lambda K: jnp.sum(coarse.frozen_state(problem, frozen, K) ** 2))(frozen.K_hat)

    start = jax.jit(jax.vmap(lambda K: coarse.refresh(problem, K)))(many)
    frozen, slope = jax.jit(jax.vmap(run))(start)
    assert frozen.state.dtype == slope.dtype == dtype
    np.testing.assert_allclose(frozen.K_hat, 4 * many)
    tolerance = {"rtol": 1e-4 if dtype == jnp.float32 else 1e-11, "atol": 1e-7}
    for k in range(2):
        np.testing.assert_allclose(frozen.state[k], coarse.state(problem, 4 * many[k]), **tolerance)


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
    Q = compression(mesh.points, points, 0.2, np.min(np.minimum(mesh.points, 1 - mesh.points), axis=1))
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
