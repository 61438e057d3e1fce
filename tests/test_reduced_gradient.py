"""The written-out adjoint gradient equals AD through the coarse solve, and both pass the Taylor test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import fem
from hybrid_lib.multiscale import coarse, upscaling
from hybrid_lib.multiscale.compression import average, compression, compression_of_coarse
from hybrid_lib.multiscale.reduced import reduced_gradient, reduced_objective

TAU = 7.0


def network(theta, x):
    """A tanh network (d fields) that vanishes on the boundary of the unit box."""
    hidden = jnp.tanh(theta["W"] @ x + theta["b"])
    return jnp.prod(4 * x * (1 - x)) * (theta["V"] @ hidden)  # (d,)


def conductivity(x):
    return 3 + jnp.sin(9 * x[0]) + jnp.sin(7 * x[-1] + 1)


def setup(dimension, kind, both):
    """theta and the arguments of reduced_objective and reduced_gradient."""
    mesh = fem.interval(15) if dimension == 1 else fem.unit_square(6)
    points = np.random.default_rng(0).random((300, dimension))
    Q = compression(mesh.points, points, 0.25, np.min(np.minimum(mesh.points, 1 - mesh.points), axis=1))
    cut = 2 if kind == "parts" else 1
    parts = upscaling.parts_of(mesh.points[mesh.cells].mean(axis=1), cut)
    problem = coarse.coarse_problem(mesh, 1.0, parts=parts, isotropic_constant=kind == "scalar")
    point_parts = jnp.asarray(upscaling.parts_of(points, cut))
    x, near = jnp.asarray(points), jnp.asarray(mesh.points)[Q.pointwise_nodes]
    K, e = jax.jit(jax.vmap(conductivity))(x), jnp.eye(dimension)

    def gradients(theta):  # of the lifted fields, (d, M, d)
        return jnp.swapaxes(jax.vmap(jax.jacfwd(network, argnums=1), (None, 0))(theta, x), 0, 1)

    def fine_objective(theta):
        return jnp.mean(jax.vmap(network, (None, 0))(theta, x) ** 2) + jnp.mean(gradients(theta)[0] ** 2)

    def upscaled(theta):
        if kind == "scalar":
            return upscaling.upscaled_scalar(K, gradients(theta)[0], e[0])[0]
        return upscaling.upscaled_tensor(
            K, gradients(theta) + e[:, None, :], None, point_parts, problem.n_parts
        )

    def compressed(theta):
        def u(points):
            return jax.vmap(network, (None, 0))(theta, points)[:, 0]

        return average(Q, u(x), u(near))

    random = np.random.default_rng(3)
    shapes = {"W": (8, dimension), "b": (8,), "V": (dimension, 8)}
    theta = {name: jnp.asarray(0.4 * random.standard_normal(shape)) for name, shape in shapes.items()}
    Q_phi = compression_of_coarse(Q, mesh, points) if both else None
    return theta, (problem, TAU, fine_objective, upscaled, compressed, Q_phi)


# Every dimension, kind and coupling; the quick ones meet each value once, compiling all takes a minute.
QUICK = [(1, "parts", True), (2, "scalar", False), (2, "tensor", True)]
ALL = [(d, kind, both) for d in (1, 2) for kind in ("scalar", "tensor", "parts") for both in (False, True)]
CASES = QUICK + [pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in QUICK]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize(("dimension", "kind", "both"), CASES)
def test_readable_equals_production_and_both_pass_the_taylor_test(dimension, kind, both):
    theta, arguments = setup(dimension, kind, both)
    direction = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), theta)
    steps = 2.0 ** -np.arange(6, 11)

    @jax.jit
    def evaluate(theta):
        production = jax.value_and_grad(lambda t: reduced_objective(t, *arguments))(theta)
        return production, reduced_gradient(theta, *arguments), arguments[3](theta)

    (value, gradient), readable, K_hat = evaluate(theta)
    assert coarse.is_elliptic(K_hat)
    gradient, written_out = flat(gradient), flat(readable.gradient)
    np.testing.assert_allclose(readable.objective, value, rtol=1e-13)
    assert np.linalg.norm(written_out - gradient) <= 1e-10 * np.linalg.norm(gradient)
    assert np.linalg.norm(readable.adjoint) > 0

    values = [evaluate(jax.tree.map(lambda a, b, t=t: a + t * b, theta, direction))[0][0] for t in steps]
    remainder = np.abs(np.asarray(values) - value - steps * (written_out @ flat(direction)))
    assert abs(np.polyfit(np.log(steps), np.log(remainder), 1)[0] - 2) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scalar", "parts"])
def test_frozen_state_gives_the_same_gradient_right_after_a_refresh(kind):
    theta, arguments = setup(2, kind, False)
    problem, tau, fine_objective, upscaled, compressed, _ = arguments
    frozen = jax.jit(lambda t: coarse.refresh(problem, upscaled(t)))(theta)

    def objective(t):
        y = coarse.frozen_state(problem, frozen, upscaled(t))
        return fine_objective(t) + tau * jnp.sum(problem.weights * (compressed(t) - y) ** 2)

    value, gradient = jax.jit(jax.value_and_grad(objective))(theta)
    readable = jax.jit(lambda t: reduced_gradient(t, *arguments))(theta)
    np.testing.assert_allclose(value, readable.objective, rtol=1e-12)
    np.testing.assert_allclose(flat(gradient), flat(readable.gradient), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_forward_mode_agrees_with_reverse_mode():
    theta, arguments = setup(2, "parts", True)

    @jax.jit
    def both(theta):
        def objective(t):
            return reduced_objective(t, *arguments)

        return jax.jvp(objective, (theta,), (jax.tree.map(jnp.ones_like, theta),))[1], jax.grad(objective)(
            theta
        )

    forward, gradient = both(theta)
    np.testing.assert_allclose(forward, np.sum(flat(gradient)), rtol=1e-10)
