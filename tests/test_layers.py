"""Boundary layers: the factor η of the fast part, networks with a factor for each term, and points that crowd in the layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shaken import shaken

from hybrid_lib import experiments
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.compression import average, compression
from hybrid_lib.pinn import jets, networks, sampling
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.domains import interval, lshape, unit_square

BOX = {1: ((0.0,), (1.0,)), 2: ((0.0, 0.0), (1.0, 1.0))}
DOMAIN = {1: interval(), 2: unit_square()}
EPS = 0.2


def two_factors(d):
    """The ansatz of the library's Gauss-Newton runs."""
    network = networks.two_scale(EPS, (6, 5), BOX[d], dtype=jnp.float64, split=True)
    return Ansatz(network, d, (DOMAIN[d].vanishing, lambda x: DOMAIN[d].layer(x, EPS)))


@pytest.mark.parametrize("domain", [interval(), unit_square(), lshape()], ids=lambda domain: domain.name)
def test_layer_is_zero_on_the_boundary_and_one_away_from_it(domain):
    eps = 0.02
    layer = jax.vmap(lambda x: domain.layer(x, eps))
    edge = jax.vmap(domain.boundary_point)(jnp.linspace(0, 0.999, 40))
    np.testing.assert_allclose(layer(edge), 0.0, atol=1e-15)
    inside = sampling.uniform(jax.random.key(0), domain, 400, jnp.float64)
    values, s = layer(inside), jax.vmap(domain.distance)(inside)
    assert np.all((values > 0) & (values <= 1))
    far = s > (5 if len(domain.corners) == 1 else 12) * eps  # the factor of the L-shape rises more slowly in places
    assert far.any()
    np.testing.assert_allclose(values[far], 1.0, atol=1e-6)


def test_layer_decays_at_the_rate_of_the_period():
    eps, s = 0.1, jnp.array([0.3, 0.4])
    rest = [1 - float(interval().layer(x[None], eps)) for x in s]
    assert np.log(rest[0] / rest[1]) == pytest.approx(2 * np.pi * 0.1 / eps, rel=1e-3)


@pytest.mark.parametrize("d", [1, 2])
def test_each_term_has_its_own_factor(d, key):
    """u = l M₁ + η (ε/2π) M₂, where the network without `split` gives M₁ + (ε/2π) M₂."""
    ansatz = two_factors(d)
    theta = shaken(ansatz.init(key)[0], key)
    plain = networks.two_scale(EPS, (6, 5), BOX[d], dtype=jnp.float64)
    silent = jax.tree.map(jnp.zeros_like, theta)
    x = jax.random.uniform(key, (d,), jnp.float64)
    slow = plain.apply({"params": {"slow": theta["slow"], "fast": silent["fast"]}}, x)
    fast = plain.apply({"params": {"slow": silent["slow"], "fast": theta["fast"]}}, x)
    expected = DOMAIN[d].vanishing(x) * slow + DOMAIN[d].layer(x, EPS) * fast
    np.testing.assert_allclose(ansatz.value(theta, {}, x), expected, rtol=1e-13)
    assert abs(float(ansatz.value(theta, {}, jnp.zeros(d)))) < 1e-15


@pytest.mark.parametrize("d", [1, 2])
def test_jets_of_an_ansatz_with_two_factors_equal_nested_ad(d, key):
    ansatz = two_factors(d)
    theta = shaken(ansatz.init(key)[0], key)
    metric = jnp.array([[2.0, 0.3], [0.3, 1.0]])[:d, :d]
    points = jax.random.uniform(key, (3, d), jnp.float64)
    ours = jax.jit(jax.vmap(lambda x: ansatz.jet(theta, {}, x, metric)[:3]))(points)
    exact = jax.jit(jax.vmap(lambda x: jets.from_function(lambda z: ansatz.value(theta, {}, z), x, metric)[:3]))(points)
    given = jax.jit(jax.vmap(lambda x: ansatz.gradient_of(theta, ansatz.embed({}, x))))(points)
    np.testing.assert_allclose(ours[0], exact[0], rtol=1e-12)
    np.testing.assert_allclose(jnp.stack(ours[1]), jnp.stack(exact[1]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours[2], exact[2], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(given.T, jnp.stack(exact[1]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("d", [1, 2])
def test_graded_points_and_weights_integrate(d, dtype):
    """Means with weights are integrals, of smooth functions and of layers; half of the coordinates lie in the layers."""
    width, n = 0.01, 2**13
    x, w = sampling.graded(jax.random.key(1), DOMAIN[d], n, dtype, width)
    assert x.dtype == w.dtype == dtype and x.shape == (n, d)
    assert np.all((x > 0) & (x < 1)) and np.all((w > 0) & (w <= 2**d + 1e-5))
    x, w = np.asarray(x, float), np.asarray(w, float)
    assert np.mean(w) == pytest.approx(1, abs=2e-3)
    assert np.mean(w * np.prod(x**2, axis=1)) == pytest.approx(3.0**-d, rel=5e-3)
    layer = width * (1 - np.exp(-1 / width))  # ∫ exp(−x₁/ℓ)
    assert np.mean(w * np.exp(-x[:, 0] / width)) == pytest.approx(layer, rel=5e-3)
    near = np.minimum(x, 1 - x).ravel() < width * np.log(2)  # half of a layer's mass lies within ℓ log 2
    assert np.mean(near) == pytest.approx(0.25 + width * np.log(2), abs=5e-3)


def test_a_wide_layer_is_no_layer():
    x, w = sampling.graded(jax.random.key(0), interval(), 64, jnp.float64, 1e3)
    np.testing.assert_allclose(w, 1, atol=1e-6)
    np.testing.assert_allclose(x, sampling.sobol(jax.random.key(0), interval(), 64, jnp.float64), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval().layer(jnp.array([0.5]), 0.0), "period: expected a number > 0; received 0.0; pass the period"),
        (
            lambda: sampling.graded(jax.random.key(0), lshape(), 4, jnp.float32, 0.1),
            "domain: expected an interval or a box; received lshape; use sobol points",
        ),
        (
            lambda: sampling.graded(jax.random.key(0), interval(), 4, jnp.float32, 0.0),
            "width: expected a number > 0; received 0.0; pass the width of the layers, for example 2",
        ),
        (
            lambda: experiments.with_settings(experiments.configuration("heat2d"), {"network.layer_factor": "true"}),
            "network.layer_factor: expected network.kind=two-scale, boundary=hard; received network.kind=ms, boundary=soft",
        ),
        (
            lambda: compression(np.array([[0.5]]), np.array([[0.4]]), 0.5, np.array([0.5]), weights=np.array([0.0])),
            r"weights: expected 1 numbers > 0, one a point; received shape \(1,\); leave them out",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_weighted_averages():
    """With weights the mean over a ball is a quotient of two sums; equal weights change nothing."""
    nodes, points = np.linspace(0, 1, 5)[:, None], np.linspace(0, 1, 41)[:, None]
    make = functools.partial(compression, nodes, points, 0.2, lambda x: jnp.minimum(x[0], 1 - x[0]))
    w, v = np.random.default_rng(0).uniform(0.5, 2, 41), np.cos(points[:, 0])
    ends = jnp.asarray([1.0, 2.0])
    near = np.abs(points[:, 0] - 0.5) < 0.1 - 1e-9
    got = average(make(weights=w), jnp.asarray(v), ends)
    assert float(got[2]) == pytest.approx(w[near] @ v[near] / w[near].sum(), rel=1e-13)
    np.testing.assert_allclose(
        average(make(weights=np.full(41, 3.0)), jnp.asarray(v), ends), average(make(), jnp.asarray(v), ends), rtol=1e-14
    )


def small(name, **settings):
    config = experiments.configuration(name, optimiser="gauss-newton")
    tiny = {"network.widths": "5,5", "coarse.cells": "9", "training.steps": "4", "training.report_every": "2"}
    return experiments.with_settings(config, tiny | settings)


@pytest.mark.parametrize("coupling", ["averaged", "averaged-both", "defect"])
def test_every_coupling_takes_graded_points(coupling):
    settings = {"coarse.coupling": coupling, "coarse.delta": "0.2", "sampling.points": "256"}
    run = experiments.run(small("heat1d-eps15", **settings))
    assert all(np.all(np.isfinite(run.fit.history[name])) for name in ("loss/coupling", "upscaled"))
    assert run.summary["seeds"][0]["status"] == "completed"


def test_first_order_system_takes_two_factors():
    config = small("heat1d-eps15", **{"method": "pinn", "formulation": "first-order", "sampling.points": "128"})
    run = experiments.run(config)
    values, _ = run.solution(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(values, 0, atol=1e-14)
    assert run.summary["seeds"][0]["status"] == "completed"


def test_the_factor_is_what_a_small_period_needs():
    """Forty steps at ε = 1/200: with l as the factor of both terms the fast part would have to grow like 1/l, and does not."""

    def error(layer_factor):
        config = experiments.configuration("heat1d-eps100", optimiser="gauss-newton")
        settings = {"coarse.coupling": "defect", "coarse.cells": "97", "coarse.pieces": "none", "training.steps": "40"}
        settings |= {"eps": "0.005", "network.layer_factor": layer_factor, "sampling.points": "1024"}
        config = experiments.with_settings(config, settings | {"training.report_every": "40"})
        return experiments.run(config).summary["seeds"][0]["rel_l2"]

    own = error("true")
    assert own < 1e-3
    assert error("false") > 10 * own
