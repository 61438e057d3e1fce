"""Cubic splines of a coarse mesh beside a network: values, jets, rest in training, the finish that solves for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline

from hybrid_lib import experiments
from hybrid_lib.errors import InputError
from hybrid_lib.pinn import jets
from hybrid_lib.pinn.networks import mlp
from hybrid_lib.pinn.splines import WithSplines, cubic_splines


def test_the_splines_are_those_of_scipy():
    knots, t = np.arange(-3, 9) / 5, np.linspace(0, 1, 23)
    found = jax.vmap(lambda s: cubic_splines(s, 5))(jnp.asarray(t))
    for j in range(8):
        np.testing.assert_allclose(found[:, j], BSpline(knots, np.eye(8)[j], 3)(t), atol=1e-14)


def test_their_jets_are_those_of_ad():
    network = WithSplines(mlp((3,), dtype=jnp.float64), 4, ((1.0, -1.0), (3.0, 1.0)), at_rest=False)
    theta = network.init(jax.random.key(0), jnp.ones(2))["params"]
    theta = theta | {"coarse": jax.random.normal(jax.random.key(1), (7, 7))}
    value = lambda x: jnp.sum(network.apply({"params": theta}, x))  # noqa: E731
    for point in ([1.3, -0.2], [2.99, 0.6], [1.5, 0.5]):
        x = jnp.asarray(point)
        jet = jets.linear(network.apply({"params": theta}, jets.seed(x)), jnp.sum)
        expected = jets.from_function(value, x)
        np.testing.assert_allclose(jet.value, expected.value, rtol=1e-12)
        np.testing.assert_allclose(jet.gradient, expected.gradient, rtol=1e-11)
        np.testing.assert_allclose(jet.laplacian, expected.laplacian, rtol=1e-10)


def test_the_finish_alone_moves_them_and_lowers_the_bound():
    small = {"network.widths": "3", "network.slow_widths": "3", "sampling.points": "64", "sampling.grow_after": "0"}
    small |= {"training.steps": "2", "training.report_every": "2", "eps": "0.5", "network.coarse_cells": "3"}
    config = experiments.configuration("heat2d", formulation="hypercircle")
    assert config.network.coarse_cells == 25
    run = experiments.run(experiments.with_settings(config, small), reference=None)
    before, after = run.parameters(0, "last"), run.parameters(0)
    for part in ("field", "flux"):
        assert before[part]["coarse"].shape == (6, 6)
        assert not np.any(before[part]["coarse"]) and np.all(after[part]["coarse"] != 0)
    energies = run.finished[0].energies
    assert energies[1] < 0.9 * energies[0]
    assert run.summary["seeds"][0]["bound"] < run.setup.method.report(run.setup, before, run.data())["bound"]


def test_other_forms_have_none():
    with pytest.raises(InputError, match=r"network\.coarse_cells: expected formulation=hypercircle; received formulation=strong"):
        experiments.with_settings(experiments.configuration("heat2d"), {"network.coarse_cells": "4"})
