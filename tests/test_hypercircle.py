"""The hypercircle: identity, trial fields, points of two scales, the sampled bound, and runs."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.sharp import spectral_reference
from hybrid_lib.fem.spectral import solve_spectral
from hybrid_lib.methods import hypercircle, method_of
from hybrid_lib.pinn import domains, phases
from hybrid_lib.pinn.hypercircle import particular_flux
from hybrid_lib.problems import Problem, heat2d_problem, own_problem

TENSOR = np.array([[3.0, 1.0], [1.0, 2.0]])
pytestmark = pytest.mark.usefixtures("few_draws")


def short(name="heat1d-eps15", **settings):
    """A run of few steps."""
    given = {"training.steps": "30", "training.report_every": "10"}
    given |= {path.replace("__", "."): value for path, value in settings.items()}
    return experiments.with_settings(experiments.configuration(name, formulation="hypercircle"), given)


@pytest.mark.parametrize("jump", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("tensor", [False, True])
def test_the_objective_is_the_sum_of_both_errors(jump, tensor):
    """(1) to 1e-10: u and v vanish on the boundary, τ − σ is a curl; K jumps at x₁ = 1/2, on the lines of the rule."""
    mesh = fem.unit_square(8)
    x, w = (a.reshape(-1, *a.shape[2:]) for a in fem.quadrature_points(mesh, 11))
    scalar = np.where(x[:, 0] < 0.5, 1.0, jump)
    K = scalar[:, None, None] * (TENSOR if tensor else np.eye(2))
    e = np.array([1.0, -0.5])

    def slope(f):
        return np.asarray(jax.vmap(jax.grad(f))(jnp.asarray(x)))

    bubble = lambda p: p[0] * (1 - p[0]) * p[1] * (1 - p[1])  # noqa: E731
    du, dv = slope(lambda p: bubble(p) * (1 + p[0])), slope(lambda p: bubble(p) * (p[1] - 2 * p[0] ** 2))
    dpsi = slope(lambda p: p[0] ** 3 * p[1] - p[1] ** 2)
    sigma = np.einsum("kde,ke->kd", K, du + e)
    tau = sigma + np.stack([dpsi[:, 1], -dpsi[:, 0]], axis=1)
    given = K if tensor else scalar
    r = np.asarray(jax.vmap(hypercircle.flux_residual)(jnp.asarray(tau), jnp.asarray(dv + e), jnp.asarray(given)))
    J = w @ np.sum(r**2, axis=1)
    field = w @ np.einsum("kd,kde,ke->k", dv - du, K, dv - du)
    flux = w @ np.einsum("kd,kde,ke->k", tau - sigma, np.linalg.inv(K), tau - sigma)
    assert pytest.approx(field + flux, rel=1e-10) == J
    middle = (tau + np.einsum("kde,ke->kd", K, dv + e)) / 2 - sigma
    assert w @ np.einsum("kd,kde,ke->k", middle, np.linalg.inv(K), middle) == pytest.approx(J / 4, rel=1e-10)


@pytest.mark.parametrize("domain", [domains.interval(), domains.unit_square(), domains.lshape()], ids=lambda d: d.name)
def test_every_trial_flux_balances_the_source_and_every_field_vanishes(domain):
    d = domain.dimension
    medium = media.paper_1d(0.2) if d == 1 else media.paper_2d(0.2)
    source = lambda x: 2 + jnp.sum(x**3) - x[0]  # noqa: E731
    problem = Problem("balance", domain, medium, source, (1.0,) + (0.0,) * (d - 1))
    config = short("heat1d-eps15" if d == 1 else "heat2d")
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, layer_factor=False))
    ansatz = method_of(config).ansatz(problem, config)
    theta, fixed = ansatz.init(jax.random.key(3))
    theta = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), theta)
    sigma = particular_flux(source, hypercircle.centre(domain))

    def flux(x):
        return ansatz.pair_of(theta, ansatz.embed(fixed, x)).flux + sigma(x)

    points, _ = phases.two_scale(jax.random.key(0), domain, 32, "float64", 0.2)
    balance = jax.jit(jax.vmap(lambda x: jnp.trace(jax.jacfwd(flux)(x)) + source(x)))(points)
    assert np.abs(balance).max() < 1e-9
    boundary = jax.vmap(domain.boundary_point)(jnp.linspace(0.05, 0.95, 7))
    assert np.abs(jax.jit(jax.vmap(lambda x: ansatz.value(theta, fixed, x)))(boundary)).max() < 1e-15


@pytest.mark.parametrize("domain", [domains.interval(), domains.unit_square(), domains.lshape()], ids=lambda d: d.name)
@pytest.mark.parametrize("period", [1.0, 0.3, 1e-3])
def test_points_of_two_scales_integrate(domain, period):
    wave = lambda x: (1 + x[:, 0] ** 2) * np.cos(2 * np.pi * x[:, -1] / period) ** 2  # noqa: E731
    values = []
    for k in range(8):
        x, w = (np.asarray(a) for a in phases.two_scale(jax.random.key(k), domain, 4096, "float64", period))
        assert w.min() > 0 and w.max() <= (4 / 3) ** domain.dimension + 1e-12
        values.append(domain.measure * np.mean(w * wave(x)))
    mesh = domain.mesh(1)
    fine = domain.mesh(round(4 / period)) if period > 0.1 else None
    if fine is not None:
        x, w = fem.quadrature_points(fine, 9)
        exact = float(w.reshape(-1) @ wave(x.reshape(-1, domain.dimension)))
    else:
        x, w = fem.quadrature_points(mesh, 9)  # the mean of cos² is 1/2, whole periods on both sides of the corner
        exact = float(w.reshape(-1) @ (1 + x.reshape(-1, domain.dimension)[:, 0] ** 2)) / 2
    spread = np.std(values, ddof=1) / math.sqrt(8)
    assert abs(np.mean(values) - exact) < 5 * spread + 1e-3 * exact
    assert spread < 3e-3 * exact


def test_the_sampled_bound_is_rarely_below_the_error_and_never_far():
    """One-sided limits of 99 %: of 100 fields at most 2 below √J by a fine rule, and none by more than a tenth."""
    problem = own_problem(media.layered([1.0, 20.0, 3.0], 0, 0.75, 1), 2.0)
    config = dataclasses.replace(short(), experiment="own", eps=0.25)
    ansatz = method_of(config).ansatz(problem, config)
    x, w = fem.quadrature_points(problem.domain.mesh(1024), 9)
    x, w = jnp.asarray(x.reshape(-1, 1)), np.asarray(w).reshape(-1)
    data = hypercircle.coefficients(problem)(x)

    @jax.jit
    def exact(theta, fixed):
        pairs = jax.vmap(lambda p: ansatz.pair_of(theta, ansatz.embed(fixed, p)))(x)
        return jnp.sum(jnp.asarray(w) * jnp.sum(hypercircle._residual(problem.direction, pairs, data) ** 2, axis=1))

    below = 0
    for seed in range(100):
        theta, fixed = ansatz.init(jax.random.key(seed))
        theta = jax.tree.map(lambda a, s=seed: a + 0.3 * jax.random.normal(jax.random.key(s), a.shape), theta)
        true = math.sqrt(float(exact(theta, fixed)))
        found = hypercircle.sampled_bound(problem, config, ansatz, theta, fixed, draws=8, count=256).value
        below += found < true
        assert found > 0.9 * true
    assert below <= 2


def test_alternating_steps_are_those_of_the_parts():
    objective = training.Objective(
        lambda theta, data: theta, {"r": lambda fields, data, coarse: jnp.stack([fields["a"] - 1.0, 2 * fields["b"] + 3.0])}
    )
    theta = {"a": jnp.asarray(5.0), "b": jnp.asarray(7.0)}
    optimiser = training.alternating(training.gauss_newton(damping=0.0), ("a", "b"))
    member = training.init_member(objective, optimiser, theta, {}, {})
    params, _, total, _ = optimiser.step(objective, member, {})
    assert (float(params["a"]), float(params["b"])) == pytest.approx((1.0, -1.5))
    assert float(total) == pytest.approx(16 + 17**2)
    with pytest.raises(InputError, match="parts"):
        training.alternating(training.gauss_newton(), ("a",)).init(theta)


def test_spectral_elements_converge_and_refuse_tensors():
    problem = heat2d_problem(0.25)
    K, q = (lambda x: fem.evaluate(problem.medium.conductivity, x)), (lambda x: fem.evaluate(problem.source, x))
    energies = [
        float(np.sum(w[:, None] * g**2))
        for _, w, _, g in (solve_spectral(K, q, (1.0, 0.0), 4, p).at_gauss(7, 2) for p in (8, 14, 20))
    ]
    assert abs(energies[1] - energies[2]) < 0.1 * abs(energies[0] - energies[2])
    sharp, plain = spectral_reference(problem), experiments.reference(problem)
    assert sharp.upscaled == pytest.approx(plain.upscaled, rel=1e-4)
    assert sharp.error < 1e-4 and sharp.norms() == pytest.approx(plain.norms(), rel=1e-3)
    with pytest.raises(InputError, match="scalar"):
        solve_spectral(lambda x: np.broadcast_to(np.eye(2), (len(x), 2, 2)), q, (1.0, 0.0), 4)
    with pytest.raises(InputError, match="smooth scalar"):
        spectral_reference(own_problem(media.raster(np.ones((4, 4)))))


def test_a_run_on_the_interval_is_bounded_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    config = short(sampling__points="64", sampling__grow_after="4", training__steps="12", training__record_every="1")
    whole = experiments.run(config, (1,))
    units = 4 + 2 * 4 + 6 * 16  # steps as long as the first one
    assert whole.summary["forecast_seconds"] == pytest.approx(units * whole.fit.step_seconds)
    first = experiments.with_settings(config, {"training.steps": "5"})
    experiments.run(first, (1,), out=tmp_path / "run")
    again = experiments.run(config, (1,), out=tmp_path / "run", resume=True)
    for name, column in whole.history.items():
        np.testing.assert_array_equal(column, again.history[name])
    monkeypatch.undo()  # all draws
    row = experiments.run(short(), (0,)).summary["seeds"][0]
    assert row["rel_h1"] < 3e-4 and row["bound"] >= row["rel_energy"]
    assert row["efficiency"] < 1.1  # the flux is one number: all of the bound is the field's error
    assert row["bound_mean"] <= row["bound"] < 1.05 * row["bound_mean"]


def test_jumps_are_admitted_and_bounded():
    problem = own_problem(media.layered([1.0, 10.0], 0, 0.5, 1), 1.0)
    config = experiments.with_settings(
        experiments.own_configuration(problem, 0.5, formulation="hypercircle"), {"training.steps": "15"}
    )
    result = experiments.train(problem, config, reference=experiments.reference(problem))
    row = result.summary["seeds"][0]
    assert row["bound"] >= row["rel_energy"] > 1e-3  # a smooth network has no kink, and the bound says so


def test_the_command_line(capsys):
    from hybrid_lib.cli import main

    args = ["run", "heat1d-eps15", "--set", "formulation=hypercircle", "--set", "eps=0.02", "--set", "training.steps=5"]
    assert main([*args, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["seeds"][0]
    assert {"bound", "bound_mean", "bound_source", "rel_energy", "efficiency"} <= set(row)
    assert main([*args, "--set", "method=hybrid"]) == 2
    assert "hypercircle" in capsys.readouterr().err


@pytest.mark.parametrize("tensor", [False, True])
def test_a_run_in_the_plane_is_bounded_for_every_seed(tensor):
    medium = media.from_function(
        lambda x: (2 + jnp.sin(4 * jnp.pi * x[0])) * (jnp.asarray(TENSOR) if tensor else 1.0),
        dimension=2,
        period=0.5,
    )
    problem = own_problem(medium, 1.0)
    config = experiments.own_configuration(problem, widths=(8, 8), steps=5, formulation="hypercircle")
    assert config.network.widths == (8, 8) and config.network.slow_widths is None
    assert (config.training.steps, config.sampling.grow_after, config.coarse.pieces) == (5, 3, None)
    few = {"sampling.points": "128", "training.steps": "4", "network.coarse_cells": "5"}
    # each number of points is a program to compile: two, and one
    few |= {"sampling.grow_after": "0"} if tensor else {}
    config = experiments.with_settings(config, few)
    result = experiments.train(problem, config, (0, 1), reference=experiments.reference(problem, mesh_cells=40))
    for row in result.summary["seeds"]:
        assert row["bound"] >= row["rel_energy"] > 0
        assert row["residual"] > 0
    K, x = problem.medium.conductivity, result.reference.points
    along = fem.evaluate(K, x) @ np.array([1.0, 0.0]) if tensor else fem.evaluate(K, x)[:, None] * np.array([1.0, 0.0])
    flux = result.reference.weights @ np.einsum("kd,kd->k", along, result.reference.gradient + np.array([1.0, 0.0]))
    low, high = result.coarse(1)["upscaled"]
    assert low < flux < high < 1.2 * low


def test_settings_that_do_nothing_are_refused():
    with pytest.raises(InputError, match="grow_after"):
        short(sampling__resample_every="0", sampling__grow_after="3")
    with pytest.raises(InputError, match="slow_widths"):
        short(network__slow_widths="8,8", network__kind="mlp", network__layer_factor="false", network__boundary_layers="false")


def test_norms_of_a_spectral_reference_do_not_depend_on_its_points(monkeypatch):
    from hybrid_lib.experiments import sharp

    problem = heat2d_problem(1 / 20)
    first = spectral_reference(problem).norms()
    monkeypatch.setattr(sharp, "LEAST", 20)
    assert spectral_reference(problem).norms() == pytest.approx(first, rel=1e-3)  # with 5 points a period: 0.035


@pytest.mark.parametrize("jump", [1.0, 10.0])
def test_the_mean_flux_is_off_by_exactly_half_of_the_bound(jump):
    """The other methods' fluxes beside it: K(v' + e) of a strong run where K is smooth, σ of a first-order one."""
    problem = own_problem(media.layered([1.0, jump], 0, 0.5, 1), lambda x: jnp.sin(3 * x[0]))
    config = experiments.own_configuration(problem, 0.5, formulation="hypercircle", steps=15)
    result, exact = experiments.train(problem, config), experiments.reference(problem)
    K = fem.evaluate(problem.medium.conductivity, exact.points)
    flux = K * (exact.gradient[:, 0] + 1)
    norm = lambda g: math.sqrt(exact.weights @ (g**2 / K))  # noqa: E731
    mean = result.flux(exact.points)[:, 0]
    of_field = K * (result.solution(exact.points)[1][:, 0] + 1)
    half = norm((2 * mean - of_field) - of_field) / 2  # τ and K(v' + e) apart: √J
    np.testing.assert_allclose(norm(mean - flux), half, rtol=1e-6)
    low, high = result.coarse()["upscaled"]
    assert low < exact.weights @ flux < high < low + 2.1 * half * math.sqrt(exact.weights @ K) + 1e-3
    if jump == 1.0:
        assert norm(mean - flux) < 1e-5 * norm(flux)


@pytest.mark.parametrize("formulation", ["strong", "first-order"])
def test_every_run_has_a_flux(formulation):
    config = experiments.configuration("heat1d-eps15", "pinn", optimiser="gauss-newton")
    config = experiments.with_settings(
        config,
        {
            "eps": 1 / 4, "formulation": formulation, "network.widths": "8,8", "sampling.sampler": "sobol",
            "sampling.points": 256, "training.steps": 20,
        },
    )
    result = experiments.run(config)
    exact = result.reference
    flux = fem.evaluate(result.setup.problem.medium.conductivity, exact.points)[:, None] * (exact.gradient + 1)
    ours = result.flux(exact.points)
    assert ours.shape == flux.shape and np.abs(ours - flux).max() < 1e-2 * np.abs(flux).max()
    with pytest.raises(InputError, match="points"):
        result.flux(np.zeros(3))
