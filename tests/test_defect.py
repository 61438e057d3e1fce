"""The defect coupling: zero where it must be, its dual norm, adjoint against AD, rates, and a field that is a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shaken import shaken

from hybrid_lib import experiments, fem
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale import coarse, coupling, dual_norm
from hybrid_lib.multiscale.compression import compression
from hybrid_lib.multiscale.defect import (
    Defect,
    cell_flux,
    coarse_residual,
    defect,
    parts_of_an_edge,
    quadrature_error,
    upscaled,
)
from hybrid_lib.multiscale.upscaling import parts_of, upscaled_scalar
from hybrid_lib.pinn import networks
from hybrid_lib.pinn.ansatz import Ansatz


def source(x):
    return 1 + jnp.sum(x**2)


def oscillating(x):
    """A scalar medium of period 1/2."""
    return 2 + jnp.sum(jnp.sin(4 * jnp.pi * x)) / 2


def tensor(x):
    """A full tensor medium."""
    return oscillating(x) * jnp.eye(len(x)) + 0.3 * jnp.ones((len(x), len(x)))


def mesh_of(dimension, n=None):
    return fem.interval(n or 8) if dimension == 1 else fem.unit_square(n or 4)


def setting(dimension, kind, conductivity=oscillating, pieces=2, order=4):
    """Coarse problem, its defect and a K_hat; kind is scalar, tensor or parts."""
    mesh = mesh_of(dimension)
    if kind == "scalar":
        problem, K_hat = coarse.coarse_problem(mesh, source, isotropic_constant=True), jnp.asarray(1.7)
    else:
        parts = parts_of(mesh.points[mesh.cells].mean(axis=1), 2) if kind == "parts" else None
        problem = coarse.coarse_problem(mesh, source, direction=dimension - 1, parts=parts)
        shifts = np.arange(problem.n_parts)[:, None, None]
        K = np.array([[2.0, 0.6], [0.2, 1.5]])[:dimension, :dimension] + 0.3 * shifts * np.eye(dimension)
        K_hat = jnp.asarray(K)
    return mesh, problem, defect(problem, mesh, conductivity, source, pieces, order), K_hat


def fluxes_of(rule: Defect, gradient):
    return jax.vmap(cell_flux)(rule.weighted_conductivity, jax.vmap(jax.vmap(gradient))(rule.points))


KINDS = [(1, "scalar"), (1, "parts"), (2, "scalar"), (2, "tensor"), (2, "parts")]


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("is_tensor", [False, True])
def test_defect_of_the_fe_solution_of_a_nested_fine_mesh_is_zero(dimension, is_tensor):
    """Two grids: the P1 solution on the fine mesh, K and q constant on fine cells, tested with the coarse hat functions."""
    mesh = mesh_of(dimension)
    fine = fem.refine(fem.refine(mesh))
    random = np.random.default_rng(0)
    K = 1 + 9 * random.random(len(fine.cells))
    if is_tensor:
        K = K[:, None, None] * np.eye(dimension) + 0.5
    q, e = random.standard_normal(len(fine.cells)), np.eye(dimension)[0]
    load = fem.load(fine, q) - fem.flux_load(fine, K, e)
    u = fem.solve_dirichlet(fem.stiffness(fine, K), load, fine.boundary_nodes)

    def cell_values(values):
        return lambda x: values[fem.locate(fine, np.asarray(x)[None])[0][0]]

    problem = coarse.coarse_problem(mesh, 0.0, isotropic_constant=True)
    rule = defect(problem, mesh, cell_values(K), cell_values(q), pieces=4, order=1)
    gradients = fem.cell_gradients(fine, u)[fem.locate(fine, np.asarray(rule.points).reshape(-1, dimension))[0]]
    fluxes = jax.vmap(cell_flux)(rule.weighted_conductivity, jnp.asarray(gradients).reshape(rule.points.shape))
    rho = coarse_residual(problem, rule, fluxes)
    at_zero = coarse_residual(problem, rule, jnp.zeros_like(fluxes))
    assert jnp.max(jnp.abs(at_zero)) > 1e-3
    np.testing.assert_allclose(rho, 0, atol=1e-13)


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("conductivity", [oscillating, tensor])
def test_residual_equals_the_assembled_one(dimension, conductivity):
    """For u a P1 function of the coarse mesh itself: rho = F - B_K u - drop, by the assembly of the FE package."""
    mesh, problem, rule, _ = setting(dimension, "scalar", conductivity, pieces=1, order=9)
    u = np.random.default_rng(1).standard_normal(len(mesh.points))
    gradients = jnp.broadcast_to(jnp.asarray(fem.cell_gradients(mesh, u))[:, None, :], rule.points.shape)
    rho = coarse_residual(problem, rule, jax.vmap(cell_flux)(rule.weighted_conductivity, gradients))
    K = fem.cell_coefficient(mesh, conductivity, order=9)
    e = np.eye(dimension)[0]
    expected = fem.load(mesh, source, order=9) - fem.flux_load(mesh, K, e) - fem.stiffness(mesh, K) @ u
    np.testing.assert_allclose(rho, expected[mesh.interior_nodes], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("dimension", "kind"), KINDS)
def test_norm_residual_vector_and_direct_solve_agree(dimension, kind):
    mesh, problem, _, K_hat = setting(dimension, kind)
    rho = jnp.asarray(np.random.default_rng(2).standard_normal(len(mesh.interior_nodes)))
    K = np.asarray(K_hat) * np.eye(dimension) if kind == "scalar" else np.asarray(K_hat)[problem.parts]
    K = (K + np.swapaxes(K, -1, -2)) / 2
    rhs = np.zeros(len(mesh.points))
    rhs[mesh.interior_nodes] = rho
    z = fem.solve_dirichlet(fem.stiffness(mesh, K), rhs, mesh.boundary_nodes)
    np.testing.assert_allclose(dual_norm.representative(problem, K_hat, rho), z, rtol=1e-11, atol=1e-14)
    R = float(dual_norm.norm_squared(problem, K_hat, rho))
    assert pytest.approx(float(rhs @ z), rel=1e-12) == R
    factor, state = dual_norm.unit_factor(problem), coarse.refresh(problem, K_hat)
    assert (factor.lower.size == 0) == (kind != "scalar")
    r = dual_norm.residual(problem, factor, state, K_hat, rho)
    assert r.shape == rho.shape and float(jnp.sum(r**2)) == pytest.approx(R, rel=1e-12)
    for v in np.random.default_rng(3).standard_normal((5, len(rho))):  # the supremum is attained at z alone
        B = np.asarray(coarse.matrix(problem, K_hat))
        assert (v @ np.asarray(rho)) ** 2 / (v @ B @ v) < R


def network_terms(dimension, kind, key):
    """theta -> (fluxes, K_hat, rho) for a small network, with what they were made of."""
    _, problem, rule, _ = setting(dimension, kind, order=2)
    ansatz = Ansatz(networks.two_scale(0.5, (5,), dtype=jnp.float64), dimension, lambda x: jnp.prod(4 * x * (1 - x)))
    theta, fixed = ansatz.init(key)
    theta = shaken(theta, key)

    def terms(theta):
        gradients = jax.vmap(jax.vmap(lambda x: jnp.stack(ansatz.jet(theta, fixed, x).gradient)))(rule.points)
        fluxes = jax.vmap(cell_flux)(rule.weighted_conductivity, gradients)
        slopes = jnp.sum(rule.weights[:, :, None] * gradients, axis=1)
        return fluxes, upscaled(problem, rule, fluxes, slopes), coarse_residual(problem, rule, fluxes)

    return problem, theta, terms


@pytest.mark.parametrize(("dimension", "kind"), [(1, "scalar"), (1, "parts"), (2, "scalar"), (2, "parts")])
def test_readable_adjoint_equals_ad(dimension, kind, key):
    """dR = ∫K∇du·∇p − ∫dK̂ ∇z·∇z with p = −2z, for R(theta) with K̂[u_theta] in the norm."""
    problem, theta, terms = network_terms(dimension, kind, key)

    @jax.jit
    def both(theta):
        def exact(theta):
            _, K_hat, rho = terms(theta)
            return dual_norm.norm_squared(problem, K_hat, rho)

        state, factor = coarse.refresh(problem, terms(theta)[1]), dual_norm.unit_factor(problem)

        def frozen(theta):
            _, K_hat, rho = terms(theta)
            return jnp.sum(dual_norm.residual(problem, factor, state, K_hat, rho) ** 2)

        (_, K_hat, rho), pull = jax.vjp(terms, theta)
        by_fluxes, by_tensor = dual_norm.derivatives(problem, K_hat, rho)
        by_adjoint = pull((by_fluxes, by_tensor, jnp.zeros_like(rho)))[0]
        return by_adjoint, jax.grad(exact)(theta), jax.grad(frozen)(theta)

    by_adjoint, by_ad, by_frozen = both(theta)
    size = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(by_ad))
    for a, b, c in zip(*map(jax.tree.leaves, (by_adjoint, by_ad, by_frozen)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * size)
        np.testing.assert_allclose(c, b, rtol=1e-10, atol=1e-10 * size)


@pytest.mark.parametrize(("dimension", "kind"), KINDS)
def test_taylor_remainder_has_slope_two_in_field_and_tensor(dimension, kind):
    mesh, problem, rule, K_hat = setting(dimension, kind)
    random = np.random.default_rng(4)
    fluxes, change = jnp.asarray(random.standard_normal((2, len(mesh.cells), dimension)))
    K_change = jnp.asarray(0.3 * random.standard_normal(K_hat.shape))

    @jax.jit
    def R(fluxes, K_hat):
        return dual_norm.norm_squared(problem, K_hat, coarse_residual(problem, rule, fluxes))

    by_fluxes, by_tensor = dual_norm.derivatives(problem, K_hat, coarse_residual(problem, rule, fluxes))
    slope = float(jnp.sum(by_fluxes * change) + jnp.sum(by_tensor * K_change))
    steps = 2.0 ** -np.arange(4, 10)
    values = [float(R(fluxes + t * change, K_hat + t * K_change)) for t in steps]
    remainder = np.abs(np.array(values) - float(R(fluxes, K_hat)) - steps * slope)
    assert abs(np.polyfit(np.log(steps), np.log(remainder), 1)[0] - 2) < 0.1


@pytest.mark.parametrize(("dimension", "kind"), [(1, "scalar"), (2, "parts")])
def test_stored_operator_keeps_the_value_between_refreshes(dimension, kind):
    mesh, problem, _, K_hat = setting(dimension, kind)
    rho = jnp.asarray(np.random.default_rng(5).standard_normal(len(mesh.interior_nodes)))
    factor, state = dual_norm.unit_factor(problem), coarse.refresh(problem, K_hat)
    f = jax.jit(lambda K, rho: dual_norm.residual(problem, factor, state, K, rho))
    np.testing.assert_array_equal(f(1.2 * K_hat, rho), f(K_hat, rho))
    # linear in rho: J v and J^T v are the map itself
    v = jnp.ones_like(rho)
    tangent = jax.jvp(lambda rho: f(K_hat, rho), (rho,), (v,))[1]
    np.testing.assert_allclose(tangent, f(K_hat, v), rtol=1e-11)
    many = jax.vmap(lambda s: f(K_hat, s * rho))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(many[1], 2 * many[0], rtol=1e-12)


@pytest.mark.parametrize("eps", [1 / 15, 0.01])
def test_defect_of_the_exact_solution_falls_with_the_quadrature_and_the_averaged_gap_does_not(eps):
    """One dimension, q = exp: the exact flux is K(u' + e) = c − Q with Q = exp − 1, smooth, so that any rule finds zero."""
    domain, medium = experiments.heat1d_problem(eps).domain, experiments.heat1d_problem(eps).medium
    problem = experiments.Problem("exponential", domain, medium, lambda x: jnp.exp(x[0]), (1.0,))
    exact, mesh = experiments.reference(problem), fem.interval(50)
    K_hat = jnp.asarray(exact.upscaled)
    lower = coarse.coarse_problem(mesh, problem.source, isotropic_constant=True)
    x = exact.points[:, 0]
    c = np.mean((2 + np.sin(2 * np.pi * x / eps)) * (exact.gradient[:, 0] + 1) + np.exp(x) - 1)

    def gradient(x):
        return (c - jnp.exp(x) + 1) / medium.conductivity(x) - 1

    sizes = []
    for order in (1, 3, 5, 7):
        rule = defect(lower, mesh, medium.conductivity, problem.source, 1, order)
        rho = coarse_residual(lower, rule, fluxes_of(rule, gradient))
        sizes.append(float(jnp.sqrt(dual_norm.norm_squared(lower, K_hat, rho))))
    assert sizes[0] > 1e-6 and sizes[1] < 1e-4 * sizes[0] and sizes[2] < 1e-13 and sizes[3] < 1e-13

    gaps = []
    for cells in (None, 3 * len(exact.points) // 8):  # the averaged gap does not fall with more points
        r = experiments.reference(problem, cells)
        balls = compression(mesh.points, r.points, eps, problem.domain.distance)
        near = np.interp(mesh.points[np.asarray(balls.pointwise_nodes), 0], r.points[:, 0], r.value)
        y = coarse.state(lower, K_hat)
        gap = coupling.averaged(lower, balls, jnp.asarray(r.value), jnp.asarray(near), y)
        gaps.append(float(jnp.linalg.norm(gap)))
    assert gaps[1] == pytest.approx(gaps[0], rel=0.1) and gaps[0] > 5e-4


def test_upscaled_equals_the_mean_over_points():
    _, problem, rule, _ = setting(2, "parts")
    gradients = jnp.asarray(np.random.default_rng(6).standard_normal(rule.points.shape))
    fluxes = jax.vmap(cell_flux)(rule.weighted_conductivity, gradients)
    ours = upscaled(problem, rule, fluxes, jnp.sum(rule.weights[:, :, None] * gradients, axis=1))
    K = rule.weighted_conductivity / rule.weights
    parts = jnp.broadcast_to(problem.parts[:, None], K.shape).reshape(-1)
    direction = jnp.array([0.0, 1.0])
    expected = upscaled_scalar(
        K.reshape(-1), gradients.reshape(-1, 2), direction, rule.weights.reshape(-1), parts, problem.n_parts
    )
    np.testing.assert_allclose(ours, expected[:, None, None] * jnp.eye(2)[None], rtol=1e-12)


def test_quadrature_error_falls_with_the_pieces():
    mesh = fem.unit_square(4)
    problem = coarse.coarse_problem(mesh, isotropic_constant=True)
    rules = [defect(problem, mesh, oscillating, 0.0, pieces, 4) for pieces in (1, 2, 4, 8)]
    errors = [
        quadrature_error(problem, rule, rules[-1], jnp.asarray(2.0), lambda x: oscillating(x) * x).error
        for rule in rules
    ]
    assert errors[-1] == 0 and errors[0] > 20 * errors[1] > 400 * errors[2] > 0


def test_default_rule_resolves_the_period():
    """The comment on accuracy in parts_of_an_edge, measured: waves of one and two periods on its parts."""
    for d, mesh in ((1, fem.interval(10)), (2, fem.unit_square(10))):
        pieces = parts_of_an_edge(mesh, 0.1)
        assert pieces == 4
        problem = coarse.coarse_problem(mesh, isotropic_constant=True)
        for wave, bound in ((1, 2e-8 if d == 1 else 2e-5), (2, 1e-5 if d == 1 else 2e-3)):
            rule = defect(problem, mesh, 1.0, lambda x, k=wave: jnp.cos(20 * jnp.pi * k * x[0] + 1), pieces)
            fine = defect(problem, mesh, 1.0, lambda x, k=wave: jnp.cos(20 * jnp.pi * k * x[0] + 1), 4 * pieces)
            size = 1 / (10 if d == 1 else 100)  # integral of a hat function
            assert float(jnp.max(jnp.abs(rule.load - fine.load))) < bound * size
    assert parts_of_an_edge(fem.interval(250), 1 / 15) == 1 and parts_of_an_edge(fem.interval(250), 0.01) == 2
    assert parts_of_an_edge(fem.unit_square(25), 0.1) == 2


def test_float32_stays_float32():
    mesh = fem.interval(8)
    problem = coarse.coarse_problem(mesh, source, dtype=jnp.float32, isotropic_constant=True)
    rule = defect(problem, mesh, oscillating, source)
    assert {leaf.dtype for leaf in jax.tree.leaves((rule, dual_norm.unit_factor(problem)))} == {jnp.dtype("float32")}
    fluxes = jnp.zeros((8, 1), jnp.float32)
    K_hat = upscaled(problem, rule, fluxes)
    rho = coarse_residual(problem, rule, fluxes)
    state = coarse.refresh(problem, K_hat)
    assert dual_norm.residual(problem, dual_norm.unit_factor(problem), state, K_hat, rho).dtype == jnp.float32


def test_errors():
    mesh = fem.interval(8)
    problem = coarse.coarse_problem(mesh, isotropic_constant=True)
    with pytest.raises(InputError, match="pieces: expected a whole number >= 1; received 0"):
        defect(problem, mesh, 1.0, pieces=0)
    with pytest.raises(InputError, match="mesh: expected 8 cells, those of the coarse problem; received 4"):
        defect(problem, fem.interval(4), 1.0)
    with pytest.raises(InputError, match=r"conductivity: expected values of shape \(\) or \(1, 1\); received shape \(2,\)"):
        defect(problem, mesh, lambda x: jnp.ones(2))
    with pytest.raises(InputError, match="conductivity: expected finite values; received nan or inf"):
        defect(problem, mesh, np.inf)
    with pytest.raises(InputError, match=r"K_hat: expected shape \(\); received \(1,\)"):
        dual_norm.norm_squared(problem, jnp.ones(1), jnp.ones(7))
