"""The network of windowed subdomains: a partition of unity, its formula, its smoothness, and runs of every kind of method."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shaken import shaken

from hybrid_lib import experiments
from hybrid_lib.config import with_settings
from hybrid_lib.errors import InputError
from hybrid_lib.pinn import windows
from hybrid_lib.pinn.ansatz import Ansatz

BOX = ((-1.0, 0.5), (1.0, 1.5))
NETWORK = windows.windowed(3, BOX, (5,), dtype=jnp.float64)
WINDOWS = jax.jit(lambda x: NETWORK.apply({}, x, method="embed")[0])


@pytest.fixture(scope="module")
def parameters():
    theta, fixed = Ansatz(NETWORK, 2).init(jax.random.key(3))
    assert fixed == {}
    return shaken(theta, jax.random.key(4))


@settings(deadline=None)
@given(st.tuples(st.floats(-1, 1), st.floats(0.5, 1.5)))
def test_windows_are_a_partition_of_unity(x):
    weights = WINDOWS(jnp.array(x))
    assert weights.shape == (4,) and np.all(np.asarray(weights) >= 0)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-13)


def test_network_is_its_formula(parameters):
    """All sixteen networks with the windows of the definition, |x − c| and all, against the four that are evaluated."""
    h = np.array([2 / 3, 1 / 3])
    first, last = (jax.tree.map(np.asarray, parameters[f"layers_{k}"]) for k in (0, 1))
    for x in ([-0.9, 0.6], [0.1, 1.2], [1.0, 1.5], [-1 / 3, 0.9]):
        total = 0.0
        for number, node in enumerate(itertools.product(range(4), repeat=2)):
            centre = np.array(BOX[0]) + h * np.array(node[::-1])  # the first axis runs fastest
            place = (np.array(x) - centre) / h
            t = np.clip(1 - np.abs(place), 0, None)
            window = np.prod(t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3))
            hidden = np.tanh(place @ first["kernel"][number] + first["bias"][number])
            total += window * (hidden @ last["kernel"][number] + last["bias"][number]).item()
        ours = NETWORK.apply({"params": parameters}, jnp.array(x))
        np.testing.assert_allclose(ours, total, rtol=1e-12, atol=1e-13)


def test_third_derivatives_have_no_jump_at_a_node(parameters):
    along = lambda x: NETWORK.apply({"params": parameters}, jnp.array([x, 0.7]))  # noqa: E731
    third = jax.jit(jax.grad(jax.grad(jax.grad(along))))
    below, above = (float(third(-1 / 3 + side)) for side in (-1e-7, 1e-7))
    assert abs(above - below) < 1e-3 * max(1.0, abs(above))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, BOX), "subdomains: expected an integer >= 1; received 0"),
        ((2.5, BOX), "subdomains: expected an integer >= 1"),
        ((3, ((0.0,), (0.0,))), "box: expected a lower corner below the upper one"),
        ((3, BOX, ()), "widths: expected a non-empty tuple"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message):
        windows.windowed(*arguments)


def test_subdomains_belong_to_windows():
    config = experiments.configuration("heat1d-eps15", optimiser="gauss-newton", network="windowed")
    assert config.network.kind == "windowed" and config.network.subdomains is None
    with pytest.raises(InputError, match=r"network\.subdomains: expected network\.kind=windowed"):
        with_settings(config, {"network.kind": "mlp", "network.subdomains": 5})


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("formulation", ["strong", "hypercircle"])
def test_a_network_of_windows_trains_in_each_form(formulation):
    """Eight windows see the eight periods that one network of the same width does not: a tenth of its error after 40 steps."""
    errors = {}
    for kind in ("windowed", "mlp"):
        config = experiments.configuration("heat1d-eps15", "pinn", kind, optimiser="gauss-newton")
        config = with_settings(
            config,
            {"eps": 1 / 8, "network.widths": "6", "sampling.points": 512, "training.steps": 40, "training.report_every": 40},
        )
        if formulation == "hypercircle":
            config = with_settings(config, {"formulation": "hypercircle", "coarse.coupling": "averaged"})
        errors[kind] = experiments.run(config, seeds=(0,)).summary["seeds"][0]["rel_h1"]
    assert errors["windowed"] < 0.1 * errors["mlp"]
