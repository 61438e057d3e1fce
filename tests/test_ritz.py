"""The Ritz finish: Galerkin in the tangent space, judged by a second rule."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.finish import finish, finish_all
from hybrid_lib.methods import finish_steps
from hybrid_lib.training.ritz import energy, ritz_finish
from hybrid_lib.training.state import DIVERGED

WAVES = jnp.arange(1.0, 9.0)


def waves(theta, x):
    """u = Σ θ_k sin kπx and its derivative at one point (1,)."""
    angle = jnp.pi * WAVES * x[0]
    return theta @ jnp.sin(angle), jnp.stack([theta @ (jnp.pi * WAVES * jnp.cos(angle))])


def rule_1d(cells, order):
    mesh = fem.interval(cells)
    barycentric, weights = fem.composite_rule(1, 1, order)
    x = np.einsum("qi,mia->mqa", barycentric, mesh.points[mesh.cells]).reshape(-1, 1)
    return jnp.asarray(x), jnp.asarray((mesh.volumes[:, None] * weights).reshape(-1))


def wave_energy(cells, order, evaluate=waves):
    x, w = rule_1d(cells, order)
    K, q = 2 + jnp.sin(2 * jnp.pi * x[:, 0] / 0.25), -3 * (2 * x[:, 0] - 1)
    return energy(evaluate, x, K, q, w, jnp.ones(1))


def galerkin():
    """Coefficients of the Galerkin solution in the sine waves, and its energy, assembled by hand."""
    x, w = (np.asarray(a) for a in rule_1d(40, 9))
    x = x[:, 0]
    k = np.pi * np.arange(1, 9)[:, None]
    K, q = 2 + np.sin(2 * np.pi * x / 0.25), -3 * (2 * x - 1)
    slopes, values = k * np.cos(k * x), np.sin(k * x)
    A, b = (slopes * (w * K)) @ slopes.T, values @ (w * q) - slopes @ (w * K)
    theta = np.linalg.solve(A, b)
    return theta, (theta @ A @ theta) / 2 - theta @ b + np.sum(w * K) / 2


def test_energy_is_that_of_the_formula():
    theta, value = galerkin()
    assert float(wave_energy(40, 9)(jnp.asarray(theta))) == pytest.approx(value, rel=1e-12)


def test_one_step_is_the_galerkin_solution_of_a_linear_model():
    theta, value = galerkin()
    found = ritz_finish(jnp.zeros(8), wave_energy(40, 9), wave_energy(50, 11), steps=1)
    np.testing.assert_allclose(found.params, theta, atol=1e-8)
    assert found.energies[-1] == pytest.approx(value, abs=1e-10)
    assert found.dampings.tolist() == [1e-10]


def test_it_stops_where_there_is_nothing_to_gain():
    theta, _ = galerkin()
    found = ritz_finish(jnp.asarray(theta), wave_energy(40, 9), wave_energy(40, 9), steps=3)
    assert found.reason in ("no decrease", "converged")
    assert len(found.energies) <= 2
    np.testing.assert_allclose(found.params, theta, atol=1e-8)


def test_a_step_that_exploits_its_rule_is_refused_by_the_other():
    """Eight waves on three points are not determined: the second rule sees the waves between them."""
    found = ritz_finish(0.01 * jnp.ones(8), wave_energy(3, 0), wave_energy(40, 9), steps=5)
    assert np.all(np.diff(found.energies) < 0)
    blind = ritz_finish(0.01 * jnp.ones(8), wave_energy(3, 0), wave_energy(3, 0), steps=5)
    judge = wave_energy(40, 9)
    assert float(judge(found.params)) <= float(judge(blind.params))


def test_tensor_conductivity():
    """In two dimensions with K = diag(2, 3): E from the factor equals the formula at a quadratic field."""

    def evaluate(theta, x):
        return theta[0] * x[0] * x[1], theta[0] * jnp.stack([x[1], x[0]])

    mesh = fem.unit_square(2)
    barycentric, weights = fem.composite_rule(2, 1, 4)
    x = np.einsum("qi,mia->mqa", barycentric, mesh.points[mesh.cells]).reshape(-1, 2)
    w = jnp.asarray((mesh.volumes[:, None] * weights).reshape(-1))
    K = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 3.0])), (len(x), 2, 2))
    form = energy(evaluate, jnp.asarray(x), K, jnp.ones(len(x)), w, jnp.array([1.0, 0.0]))
    # ½(2 (θ²/3 + θ + 1) + 3 θ²/3) − θ/4 for u = θ x₁x₂
    assert float(form(jnp.array([0.4]))) == pytest.approx(0.5 * (2 * (0.16 / 3 + 0.4 + 1) + 0.16) - 0.1)


def test_finish_lowers_the_error_of_a_run_and_says_by_how_much():
    config = experiments.with_settings(
        experiments.configuration("heat1d-eps15", optimiser="gauss-newton"),
        {"coarse.coupling": "defect", "training.steps": "10", "network.widths": "8", "coarse.cells": "50",
         "coarse.pieces": "4", "training.report_every": "10"},
    )  # fmt: skip
    run = experiments.run(config)
    done = finish(run, steps=2)
    assert done.before["rel_h1"] == pytest.approx(run.summary["seeds"][0]["last_rel_h1"], rel=1e-9)
    assert done.after["rel_h1"] < done.before["rel_h1"]
    assert np.all(np.diff(done.ritz.energies) < 0)


def small(name, **settings):
    changes = {"coarse.coupling": "defect", "training.steps": "4", "network.widths": "6", "training.report_every": "4"}
    config = experiments.configuration(name, optimiser="gauss-newton")
    return experiments.with_settings(config, changes | {key.replace("__", "."): v for key, v in settings.items()})


def test_a_run_ends_with_its_finish_and_leaves_the_training_alone(tmp_path):
    options = {"coarse__cells": "20", "coarse__pieces": "3"}
    plain = experiments.run(small("heat1d-eps15", **options), (0, 1))
    assert plain.finished == () and "finish_steps" not in plain.summary["seeds"][0]
    done = experiments.run(small("heat1d-eps15", training__finish="2", **options), (0, 1), out=tmp_path / "run")
    assert len(done.finished) == 2
    for one, other in zip(plain.summary["seeds"], done.summary["seeds"], strict=True):
        assert one["last_rel_l2"] == other["last_rel_l2"]
        assert other["rel_h1"] < one["rel_h1"]
        assert other["finish_steps"] == 2 and np.all(np.diff(other["finish_energies"]) < 0)
    assert done.parameters(1) is done.finished[1].params
    state = done.fit.state
    codes = jnp.asarray([DIVERGED, state.members.status[1]], jnp.int32)
    half = done.fit._replace(state=state._replace(members=state.members._replace(status=codes)))
    lost, kept = finish_all(done.setup, half)
    assert lost is None and np.array_equal(kept.energies, done.finished[1].energies)
    assert dataclasses.replace(done, finished=(lost, kept)).parameters(0) is not None
    again = experiments.run(small("heat1d-eps15", training__finish="2", **options), (0, 1), out=tmp_path / "run", resume=True)
    assert again.summary["seeds"][1]["rel_l2"] == done.summary["seeds"][1]["rel_l2"]
    with pytest.raises(InputError, match="which: expected best or last for a seed without a finish"):
        plain.parameters(0, "finished")


@pytest.mark.usefixtures("few_draws")
def test_the_output_layers_of_the_hypercircle_are_solved_for_in_one_step():
    small = {"network.widths": "5", "network.slow_widths": "4", "sampling.points": "128", "sampling.grow_after": "0"}
    small |= {"training.steps": "3", "training.report_every": "3", "eps": "0.25", "network.coarse_cells": "none"}
    config = experiments.configuration("heat2d", formulation="hypercircle")
    run = experiments.run(experiments.with_settings(config, small), reference=None)
    row, done = run.summary["seeds"][0], run.finished[0]
    assert (row["finish_steps"], done.reason) == (1, "steps") and done.energies[1] < done.energies[0]
    before, after = run.parameters(0, "last"), run.parameters(0)
    hidden = [name for name in ("stack_0", "stack_1") if name in before["field"]["slow"]]
    assert hidden and all(jax.tree.all(jax.tree.map(np.array_equal, before[part][net][k], after[part][net][k]))
                          for part in ("field", "flux") for net in ("slow", "fast") for k in hidden)  # fmt: skip
    again = run.setup.method.finish(run.setup, after, training.member(run.setup.fixed, 0), 1, (0, 0))
    assert abs(again.energies[-1] - done.energies[-1]) < 1e-8 * done.energies[-1]  # the minimum is found at once
    assert row["bound"] < run.setup.method.report(run.setup, before, run.data())["bound"]


def test_what_no_number_of_steps_stands_for():
    plane, line = (experiments.configuration(name, optimiser="gauss-newton") for name in ("heat2d", "heat1d-eps15"))
    assert (finish_steps(plane, 2), finish_steps(line, 1)) == (2, 0)
    assert finish_steps(experiments.configuration("heat2d"), 2) == 0
    assert finish_steps(experiments.configuration("heat2d", formulation="hypercircle"), 2) == 1
    first = experiments.with_settings(plane, {"method": "pinn", "formulation": "first-order"})
    assert finish_steps(first, 2) == 0
    with pytest.raises(InputError, match=r"training\.finish: expected 0 but for .* received 1 with formulation=first-order"):
        experiments.with_settings(first, {"training.finish": "1"})
    with pytest.raises(InputError, match=r"training\.finish: expected an integer >= 0 or none; received '-1'"):
        experiments.with_settings(plane, {"training.finish": "-1"})


def test_errors():
    form = wave_energy(4, 3)
    with pytest.raises(InputError, match="steps: expected an integer >= 1"):
        ritz_finish(jnp.zeros(8), form, form, steps=0)
    with pytest.raises(InputError, match="float64"):
        ritz_finish(jnp.zeros(8, jnp.float32), form, form)
    soft = experiments.with_settings(
        experiments.configuration("heat2d"),
        {"training.steps": "1", "network.widths": "2", "network.frequencies": "1", "sampling.points": "256",
         "coarse.cells": "4", "coarse.delta": "0.5"},
    )  # fmt: skip
    with pytest.raises(InputError, match="boundary=soft"):
        finish(experiments.run(soft))


def test_gradient_of_the_energy_is_the_weak_residual():
    form, theta = wave_energy(40, 9), jnp.linspace(0.1, 0.4, 8)
    exact, _ = galerkin()
    x, w = rule_1d(40, 9)
    k = np.pi * np.arange(1, 9)[:, None]
    slopes = k * np.cos(k * np.asarray(x)[:, 0])
    A = (slopes * np.asarray(w) * (2 + np.sin(2 * np.pi * np.asarray(x)[:, 0] / 0.25))) @ slopes.T
    np.testing.assert_allclose(jax.grad(form)(theta), A @ (np.asarray(theta) - exact), atol=1e-10)
