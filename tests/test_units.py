"""A problem in other units has the same answer: K and q, or q and the drop, or lengths, times 10^±6."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import experiments, media, training
from hybrid_lib.experiments import assemble, configuration, own_problem, with_settings
from hybrid_lib.experiments.problems import units

EPS = 1 / 5
SMALL = {
    "network.widths": "8,8",
    "sampling.points": "200",
    "coarse.cells": "20",
    "training.steps": "30",
    "training.gate_every": "5",
    "training.balance_every": "10",
    "training.record_every": "5",
    "dtype": "float64",
}
METHODS = {
    "averaged": ({}, SMALL),
    "averaged-both, soft boundary": (
        {},
        SMALL | {"coarse.coupling": "averaged-both", "boundary": "soft", "sampling.boundary_points": "2"},
    ),
    "network alone": ({"method": "pinn"}, SMALL),
    "first-order": ({"method": "pinn"}, SMALL | {"formulation": "first-order"}),
    "defect": (
        {"optimiser": "gauss-newton"},
        {"coarse.coupling": "defect", "network.widths": "4,4", "training.steps": "2", "coarse.cells": "8",
         "sampling.points": "64"},
    ),
    "defect, two parts, adam": ({}, SMALL | {"coarse.coupling": "defect", "coarse.parts": "2"}),
}  # fmt: skip
UNITS = (1e-6, 1e6)
"""Of K and of u; q goes with their product."""


def problem(conductivity=1.0, field=1.0, source=3.0):
    def K(x):
        return conductivity * (2.5 + jnp.sin(2 * jnp.pi * x[0] / EPS))

    q = conductivity * field * source
    return own_problem(media.from_function(K, 1, period=EPS), lambda x: q * (1 - 2 * x[0]), (field,))


def configured(name, **changed):
    options, settings = METHODS[name]
    config = with_settings(configuration("heat1d-eps15", **options), settings | changed)
    return dataclasses.replace(config, eps=EPS)


def loss_and_gradient(name, *scales):
    """The training loss at the start and its gradient, and how far the gate says that K̂ is from twice itself."""
    setup = assemble(problem(*scales), configured(name), (0,))
    member, data = (training.member(tree, 0) for tree in (setup.state.members, setup.data))

    @jax.jit
    def at(theta):
        (value, _), gradient = jax.value_and_grad(
            lambda t: training.loss(setup.objective, t, member.weights, data, member.coarse), has_aux=True
        )(theta)
        model = setup.objective.coarse
        moved = 0.0 if model is None else model.distance(member.coarse, 2 * member.coarse.K_hat)
        return value, gradient, moved

    value, gradient, moved = at(member.params)
    return float(value), np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]), float(moved)


@pytest.mark.parametrize("name", METHODS)
def test_optimisers_meet_the_same_numbers_in_all_units(name):
    here, there = loss_and_gradient(name), loss_and_gradient(name, *UNITS)
    assert there[0] == pytest.approx(here[0], rel=1e-9)
    np.testing.assert_allclose(there[1], here[1], rtol=1e-7, atol=1e-9 * np.abs(here[1]).max())
    assert there[2] == pytest.approx(here[2], rel=1e-9)


@pytest.mark.parametrize("name", ["averaged", "defect"])
def test_a_run_in_other_units_has_the_same_relative_answer(name):
    own, other = (experiments.train(problem(*scales), configured(name), (0,)) for scales in ((), UNITS))
    here, there = own.summary["seeds"][0], other.summary["seeds"][0]
    assert there["rel_l2"] == pytest.approx(here["rel_l2"], rel=1e-6)
    assert there["rel_h1"] == pytest.approx(here["rel_h1"], rel=1e-6)
    assert there["residual"] == pytest.approx(here["residual"] * math.prod(UNITS), rel=1e-6)
    x = np.linspace(0.1, 0.9, 5)[:, None]
    np.testing.assert_allclose(other.solution(x)[1], UNITS[1] * own.solution(x)[1], rtol=1e-5)
    upscaled = [run.fit.history["upscaled"] for run in (own, other)]  # the gate opened and shut at the same steps
    np.testing.assert_allclose(upscaled[1], UNITS[0] * upscaled[0], rtol=1e-6)


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.sampled_from([0.0, 1.0, 1e4]))
@settings(max_examples=20, deadline=None)
def test_units_grow_with_the_problem(conductivity, field, source):
    here, there = units(problem(source=source)), units(problem(conductivity, field, source))
    assert there.conductivity == pytest.approx(here.conductivity * conductivity)
    assert there.field == pytest.approx(here.field * field)
    assert there.source == pytest.approx(here.source * conductivity * field)


def test_units_of_the_papers_problems_are_one_exactly():
    made = [experiments.heat1d_problem(1 / 15), experiments.heat1d_problem(0.01), experiments.heat2d_problem(0.1)]
    assert [units(p) for p in made] == [(1.0, 1.0)] * 3
