"""A problem in other units has the same answer: K and q, or q and the drop, or lengths, times 10^±6."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import assemble, configuration, own_problem, with_settings
from hybrid_lib.multiscale import coarse, compression, homogenisation, upscaling
from hybrid_lib.pinn import domains
from hybrid_lib.problems import Problem
from hybrid_lib.sides import Dirichlet, Neumann, Robin
from hybrid_lib.training.solvers import nystrom
from hybrid_lib.units import units

SQUARE = fem.unit_square(6)

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
    return at_the_start(problem(*scales), configured(name))


def at_the_start(own, config):
    """Likewise, of a problem and a configuration."""
    setup = assemble(own, config, (0,))
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


@pytest.mark.parametrize("name", sorted({*METHODS} - {"averaged"}))  # that one runs, below
def test_optimisers_meet_the_same_numbers_in_all_units(name):
    here, there = loss_and_gradient(name), loss_and_gradient(name, *UNITS)
    assert there[0] == pytest.approx(here[0], rel=1e-9)
    np.testing.assert_allclose(there[1], here[1], rtol=1e-7, atol=1e-9 * np.abs(here[1]).max())
    assert there[2] == pytest.approx(here[2], rel=1e-9)


@pytest.mark.parametrize("name", ["averaged", pytest.param("defect", marks=pytest.mark.slow)])
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
    assert there.residual == pytest.approx(here.residual * conductivity * field)


def test_units_of_the_papers_problems_are_one_exactly():
    made = [experiments.heat1d_problem(1 / 15), experiments.heat1d_problem(0.01), experiments.heat2d_problem(0.1)]
    for of in map(units, made):
        assert (*of[:3], of.flux, of.residual, of.boundary, of.energy) == (1.0,) * 7


def in_length(length, dimension, kind):
    """A problem on an interval or a rectangle whose short side is `length`: with a drop, a source, or conditions on sides."""
    domain = domains.interval(0.0, length) if dimension == 1 else domains.box((0.0, 0.0), (1.5 * length, length))
    K = lambda x: 2.5 + jnp.sin(2 * jnp.pi * x[0] / (EPS * length))  # noqa: E731
    medium = media.from_function(K, dimension, 1.5, 3.5, box=(0.0, 1.5 * length))
    q = lambda x: (1 + x[0] / length) / length**2  # noqa: E731
    if kind == "drop":
        return Problem("own", domain, medium, 0.0, (1 / length, *[0.0] * (dimension - 1)))
    if kind == "source":
        return Problem("own", domain, medium, q, (0.0,) * dimension)
    given, exchange = Dirichlet(1.0), Robin(2.0 / length, 0.5)
    sides = {"left": given, "right": exchange} | ({"top": Neumann(1 / length)} if dimension == 2 else {})
    if kind == "flow":
        sides = {"left": given, "right": given, "bottom": Neumann(0.0), "top": Neumann(1 / length)}
    return Problem("own", domain, medium, q, boundary=sides | ({"bottom": Neumann(0.0)} if dimension == 2 else {}))


@pytest.mark.parametrize(
    ("dimension", "kind", "changed"),
    [
        (1, "drop", {"network.kind": "ms"}),
        (1, "source", {"boundary": "soft", "sampling.boundary_points": 2}),
        (2, "source", {"boundary": "soft", "sampling.boundary_points": 8}),
        (2, "drop", {"network.kind": "two-scale", "network.layer_factor": True}),
        (2, "source", {"network.kind": "windowed", "network.subdomains": 2}),
        (1, "source", {"formulation": "first-order"}),
        (2, "drop", {"formulation": "first-order", "network.kind": "two-scale"}),
        (1, "drop", {"formulation": "hypercircle"}),
        (1, "sides", {"formulation": "hypercircle"}),
        (2, "sides", {"formulation": "hypercircle", "network.kind": "two-scale"}),
        (2, "flow", {"formulation": "hypercircle", "network.kind": "two-scale", "network.coarse_cells": 4}),
    ],
)
def test_a_seed_meets_the_same_numbers_in_all_lengths(dimension, kind, changed):
    config = Config("own", EPS, method="pinn", dtype="float64", formulation=changed.get("formulation", "strong"))
    small = {"network.kind": "mlp", "network.widths": "6,6", "network.frequencies": 4, "sampling.points": 128}
    if changed.get("boundary") == "soft":  # both at once
        config = dataclasses.replace(config, boundary="soft", sampling=dataclasses.replace(config.sampling, boundary_points=8))
    config = with_settings(config, small | changed)
    here, *others = (at_the_start(in_length(length, dimension, kind), config) for length in (1.0, 1e-3, 1e3))
    for there in others:
        assert there[0] == pytest.approx(here[0], rel=1e-9)
        np.testing.assert_allclose(there[1], here[1], rtol=1e-7, atol=1e-9 * np.abs(here[1]).max())


def test_a_run_in_another_unit_of_length_has_the_same_relative_answer():
    config = Config("own", EPS, method="pinn", dtype="float64", formulation="first-order")
    config = with_settings(config, {"network.kind": "mlp", "network.widths": "6,6", "sampling.points": 64, "training.steps": 30})
    x = np.linspace(0.1, 0.9, 5)[:, None]
    here, there = (experiments.train(in_length(k, 1, "drop"), config, (0,)).solution(k * x)[0] for k in (1.0, 1e3))
    np.testing.assert_allclose(there, here, rtol=1e-6)


# ------------------------------------------------------------------------ coefficients, meshes and averages beside the training

SCALES = st.sampled_from([1e-12, 1e-6, 1e-3, 1e6])


@given(SCALES, SCALES, st.floats(1.0, 5.0))
@settings(max_examples=8, deadline=None)
def test_upscaling_and_homogenisation_scale_with_the_conductivity(conductivity, drop, peak):
    random = np.random.default_rng(0)
    K, gradients = 1 + random.random(40), np.eye(2)[:, None] + 0.3 * random.standard_normal((2, 40, 2))
    here = upscaling.upscale(K, gradients)
    np.testing.assert_allclose(upscaling.upscale(conductivity * K, drop * gradients), conductivity * here, rtol=1e-9)
    with pytest.raises(InputError, match="mean gradients of part 0"):
        upscaling.upscale(conductivity * K, drop * np.stack([gradients[0], gradients[0]]))
    medium = lambda x: peak + jnp.sin(2 * jnp.pi * x[0]) * jnp.cos(2 * jnp.pi * x[1]) / 2  # noqa: E731
    own = homogenisation.cell_problem(medium, 2, 6)
    there = homogenisation.cell_problem(lambda x: conductivity * medium(x / drop), 2, 6, period=drop)
    np.testing.assert_allclose(there.tensor, conductivity * own.tensor, rtol=1e-9)
    np.testing.assert_allclose(there.correctors, own.correctors, atol=1e-9)


@given(SCALES, SCALES, st.sampled_from([0.0, 1.0]))
@example(1e-6, 1e6, 1.0)
@settings(max_examples=8, deadline=None)
def test_coarse_states_scale(conductivity, length, direction):
    """In other units of K and of length; the drop, a slope, is in the latter's too."""

    def solved(K, unit, q):
        problem = coarse.coarse_problem(fem.from_simplices(unit * SQUARE.points, SQUARE.cells), q, (direction / unit, 1.0 / unit))
        tensor = K * jnp.array([[[2.0, 0.5], [0.5, 1.0]]])
        assert coarse.is_elliptic(tensor)
        assert not coarse.is_elliptic(K * jnp.array([[[1.0, 1.0], [1.0, 1.0]]]))
        return coarse.refresh(problem, tensor).state

    here = solved(1.0, 1.0, 1.0)
    np.testing.assert_allclose(solved(conductivity, length, conductivity / length**2), here, rtol=1e-9, atol=1e-14)


@given(SCALES, st.integers(0, 100))
@settings(max_examples=8, deadline=None)
def test_balls_hold_the_same_points_in_all_units(length, seed):
    points = np.random.default_rng(seed).random((400, 2))
    nodes = SQUARE.points
    distance = np.minimum(nodes, 1 - nodes).min(axis=1)
    here = compression.compression(nodes, points, 0.4, distance)
    there = compression.compression(length * nodes, length * points, length * 0.4, length * distance)
    for name in ("rows", "columns", "weights", "pointwise_nodes"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))


@given(SCALES, SCALES)
@settings(max_examples=2, deadline=None)
def test_prices_references_and_energies_scale(conductivity, field):
    own, there = problem(), problem(conductivity, field)
    here, other = (experiments.reference(p) for p in (own, there))
    np.testing.assert_allclose(other.value, field * here.value, rtol=1e-9, atol=1e-12 * field)
    assert other.error == pytest.approx(here.error, rel=1e-2, abs=1e-13)
    assert other.upscaled == pytest.approx(conductivity * here.upscaled)
    rows = [experiments.element_cost(p, 0.03) for p in (own, there)]
    assert [row.cells for row in rows[0]] == [row.cells for row in rows[1]]
    assert rows[1][-1].error == pytest.approx(rows[0][-1].error, rel=1e-6)
    assert rows[1][-1].energy == pytest.approx(conductivity * field**2 * rows[0][-1].energy)


@given(SCALES, SCALES)
@settings(max_examples=3, deadline=None)
def test_media_in_other_units_have_the_same_bounds_and_refusals(conductivity, length):
    def K(x):
        return conductivity * (2 + jnp.sin(2 * jnp.pi * x[0] / length))

    medium = media.from_function(K, 1, conductivity, 3 * conductivity, period=length, box=(0.0, 3 * length))
    assert medium.bounds_exact
    for wrong in ({"alpha": 1.01 * conductivity}, {"beta": 2.98 * conductivity}, {"period": 1.1 * length}):
        with pytest.raises(InputError, match=r"bounds|period"):
            media.from_function(K, 1, **wrong, box=(0.0, 3 * length))
    layers = media.layered([conductivity, 9 * conductivity], 0, length, 1, smooth=length / 4)
    assert layers.conductivity(jnp.array([0.75 * length])) == pytest.approx(9 * conductivity)
    with pytest.raises(InputError, match="smooth"):
        media.layered([conductivity, 9 * conductivity], 0, length, 1, smooth=length)


def test_a_period_is_compared_at_each_point_with_its_own_size():
    def steep(x):  # from 1 to 1e6; what has no period is a part of the small values
        wave = jnp.sin(2 * jnp.pi * x[0]) ** 2
        return jnp.exp(13.8 * wave) + 0.1 * x[0]

    with pytest.raises(InputError, match="period along axis 0"):
        media.from_function(steep, 1, period=0.5)


def test_nystrom_of_zero_is_zero():
    U, values = nystrom(jnp.zeros_like, jnp.ones(12), 4)
    assert np.isfinite(U).all()
    assert values.max() < 1e-30
    for size in (1e-30, 1e30):  # and its shift is a part of the matrix
        assert nystrom(lambda v, s=size: s * v, jnp.ones(12), 4)[1] == pytest.approx([size] * 4)
