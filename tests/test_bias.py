"""The bias of the averaged coupling: against an independent minimisation, and its limits."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.bias import coupling_bias

EPS = 0.2


def near(x):
    return jnp.min(jnp.minimum(x, 1 - x))


def conductivity(x):
    return 2 + jnp.sin(2 * jnp.pi * x[0] / EPS)


def source(x):
    return 3 - 6 * x[0]


def curve(weights, cells=200, **options):
    return coupling_bias(fem.interval(cells), fem.interval(10), conductivity, source, EPS, near, weights, **options)


def by_polynomials(weight, degree=70):
    """The same over u = u_exact + x(1 − x)p(x), by Gauss points and a general least-squares solver; relative L² error."""
    t, w = np.polynomial.legendre.leggauss(300)
    x, w = (t + 1) / 2, w / 2
    basis = [np.polynomial.Legendre.basis(k, (0, 1)) * np.polynomial.Polynomial([0, 1, -1]).convert(
        kind=np.polynomial.Legendre, domain=(0, 1)) / (k + 1) for k in range(degree)]  # fmt: skip
    jet = [np.stack([b.deriv(n)(x) if n else b(x) for b in basis], 1) for n in range(3)]
    angle = 2 * np.pi * x / EPS
    K, K_slope = 2 + np.sin(angle), 2 * np.pi / EPS * np.cos(angle)
    A = -K[:, None] * jet[2] - K_slope[:, None] * jet[1]
    z = (np.arange(40_000) + 0.5) / 40_000  # the exact solution by midpoints
    flux = 3 * z**2 - 3 * z
    flux += (1 - w @ ((3 * x**2 - 3 * x) / K)) / (w @ (1 / K))
    exact = np.append(0, np.cumsum(flux / (2 + np.sin(2 * np.pi * z / EPS)) - 1)) / len(z)
    u = lambda z: np.interp(z, np.linspace(0, 1, len(exact)), exact)  # noqa: E731
    nodes = np.arange(1, 10) / 10
    inside = np.minimum(nodes, 1 - nodes) > EPS / 2 + 1e-9
    ball = nodes[:, None] + np.where(inside, EPS / 2, 0)[:, None] * t
    means = lambda f: f(ball) @ w  # noqa: E731
    Q_u, Q = means(u), np.stack([means(b) for b in basis], 1)
    y = nodes**3 - 1.5 * nodes**2 + 0.5 * nodes
    K_0, K_c = np.mean(flux), (w * K) @ jet[1]
    root = np.sqrt(w)[:, None]

    def vector(c):
        return np.concatenate([root * A @ c, np.sqrt(weight / 10) * (Q_u + Q @ c - y / (K_0 + K_c @ c))])

    c = least_squares(vector, np.zeros(degree), xtol=1e-14, ftol=1e-14, gtol=1e-14, x_scale="jac").x
    return np.sqrt(w @ (jet[0] @ c) ** 2 / (w @ u(x) ** 2))


def test_equals_an_independent_minimisation():
    weights = (10.0, 1e3, 1e5)
    np.testing.assert_allclose(curve(weights, 1000).rel_l2, [by_polynomials(w) for w in weights], rtol=2e-3)


def test_limits_and_monotony():
    weights = 10.0 ** np.arange(-3, 13)
    found = curve(weights)
    np.testing.assert_allclose(found.rel_l2[1] / found.rel_l2[0], 10, rtol=1e-3)  # linear at first
    np.testing.assert_allclose(found.residual[1] / found.residual[0], 100, rtol=1e-3)
    assert np.all(np.diff(found.residual) > 0) and np.all(np.diff(found.coupling) < 0)  # as for every penalty
    assert found.coupling[-1] < 1e-8 * found.coupling[0]  # in the end the averages agree
    assert found.gap > 0.1 and found.upscaled[0] == pytest.approx(3**0.5, rel=2e-3)


def test_the_error_is_second_order_in_the_mesh():
    coarse, middle, fine = (curve((100.0,), cells).rel_l2[0] for cells in (100, 200, 400))
    assert 3 < (coarse - middle) / (middle - fine) < 5


def test_the_plane():
    fine, coarse = fem.unit_square(30), fem.unit_square(6)
    found = coupling_bias(fine, coarse, conductivity, lambda x: 10 * x[1], EPS, near, (1.0, 1e3, 1e6), radius=0.09)
    assert np.all(np.diff(found.residual) > 0) and np.all(np.diff(found.coupling) < 0)
    assert found.rel_l2[0] < 0.01 < found.rel_l2[2]


def test_a_weight_must_be_positive():
    with pytest.raises(InputError, match="weights: expected numbers > 0"):
        curve((0.0, 1.0))


def test_upscaled_is_a_mean():
    """With K ≡ 1 and q = 1 the fields that vanish on the boundary leave K̂ at 1 on every interval."""
    for length in (1.0, 2.0):
        fine, coarse = fem.interval(200, 0.0, length), fem.interval(10, 0.0, length)
        distance = lambda x, length=length: jnp.min(jnp.minimum(x, length - x))  # noqa: E731
        found = coupling_bias(fine, coarse, lambda x: 1.0 + 0 * x[0], 1.0, EPS, distance, (1e-3, 1e3))
        np.testing.assert_allclose(found.upscaled, 1.0, rtol=1e-6)
        assert found.gap < 0.02
