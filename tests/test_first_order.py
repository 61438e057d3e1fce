"""First-order system: residuals of exact solutions, derivatives, rows, two-sided bounds, eigenvalues, runs, messages."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from shaken import shaken

from hybrid_lib import experiments, media, training
from hybrid_lib.cli import main
from hybrid_lib.config import fingerprint
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import Problem, configuration, references, stability_range, with_settings
from hybrid_lib.methods import balance_every, first_order
from hybrid_lib.pinn import domains, networks, residuals
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.flux import FluxFields
from hybrid_lib.training import jacobians

TINY = {
    "formulation": "first-order",
    "training.steps": "4",
    "training.record_every": "1",
    "training.report_every": "2",
    "network.widths": "5,4",
    "coarse.cells": "6",
    "coarse.pieces": "2",
}


def tiny(experiment="heat1d-eps15", optimiser="gauss-newton", **changes):
    return with_settings(configuration(experiment, "pinn", optimiser=optimiser), TINY | changes)


def tensor_problem():
    """A full tensor that varies, on the square, with a drop along neither axis."""
    medium = media.tensor((4.0, 1.0), 0.4, field=media.paper_2d(0.5))
    return Problem("tensor", domains.unit_square(), medium, lambda x: 1 + x[0] * x[1], (0.8, -0.3))


@functools.lru_cache
def case(name):
    """(ansatz, objective, theta, weights, data, coarse) of a small run."""
    config = tiny() if name == "1-D" else tiny("heat2d", **{"coarse.order": "2", "coarse.pieces": "1"})
    problem = tensor_problem() if name == "tensor" else experiments.problem_of(config)
    setup = experiments.assemble(problem, config, (0,))
    member = training.member(setup.state.members, 0)
    theta = shaken(member.params, jax.random.key(1))
    return (
        setup.ansatz, setup.objective, theta, member.weights, training.member(setup.data, 0), member.coarse,
    )  # fmt: skip


def close(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(np.max(np.abs(b))))


def test_exact_solution_in_one_dimension_has_no_residual():
    problem = experiments.heat1d_problem(1 / 15)
    exact = references.reference(problem)
    x = exact.points[:, 0]
    # K(u' + 1) = c − 3x(1 − x), and K̂ is the mean of the flux
    fields = FluxFields(exact.gradient, (exact.upscaled + 0.5 - 3 * x * (1 - x))[:, None], -3 + 6 * x)
    objective = first_order.first_order_objective(problem, case("1-D")[0])
    data = {
        "conductivity": jax.jit(jax.vmap(problem.medium.conductivity))(exact.points),
        "source": jax.vmap(problem.source)(exact.points),
    }
    for block in objective.blocks.values():
        r = jax.jit(lambda b=block: b({"collocation": jax.tree.map(jnp.asarray, fields)}, data, ()))()
        assert float(jnp.max(jnp.abs(r))) < 1e-13


def test_manufactured_solution_with_a_tensor_has_no_residual(key):
    problem = tensor_problem()
    direction = jnp.asarray(problem.direction)

    def u(x):
        return jnp.sin(np.pi * x[0]) * jnp.sin(np.pi * x[1]) * jnp.exp(x[0])

    def flux(x):
        return problem.medium.conductivity(x) @ (jax.grad(u)(x) + direction)

    def divergence(x):
        return jnp.trace(jax.jacfwd(flux)(x))

    x = jax.random.uniform(key, (50, 2))
    objective = first_order.first_order_objective(problem, case("tensor")[0])
    fields = jax.jit(jax.vmap(lambda p: FluxFields(jax.grad(u)(p), flux(p), divergence(p))))(x)
    data = {
        "conductivity": jax.jit(jax.vmap(problem.medium.conductivity))(x),
        "source": -fields.divergence,
    }
    for name, block in objective.blocks.items():
        largest = jax.jit(lambda f, b=block: jnp.max(jnp.abs(b({"collocation": f}, data, ()))))
        assert float(largest(fields)) < 1e-12
        assert float(largest(jax.tree.map(lambda a: 2.0 * a, fields))) > 1e-3, name


def test_square_of_the_flux_residual_is_weighted_by_the_inverse(key):
    keys = jax.random.split(key, 3)
    root = jax.random.normal(keys[0], (2, 2))
    K = root @ root.T + jnp.eye(2)
    flux, gradient = jax.random.normal(keys[1], (2,)), jax.random.normal(keys[2], (2,))
    p = flux - K @ gradient
    r = residuals.flux_residual(flux, gradient, K)
    assert float(r @ r) == pytest.approx(float(p @ jnp.linalg.solve(K, p)), rel=1e-13)
    r = residuals.flux_residual(flux, gradient, jnp.asarray(3.0))
    tensor = residuals.flux_residual(flux, gradient, 3.0 * jnp.eye(2))
    np.testing.assert_allclose(r, tensor, rtol=1e-14)


@pytest.mark.parametrize("name", ["1-D", "tensor"])
@pytest.mark.parametrize("kind", ["two-scale", "ms", "mlp"])
def test_fields_against_ad_and_differences(name, kind, key):
    d = 1 if name == "1-D" else 2
    dtype = jnp.float64
    network = {
        "two-scale": networks.two_scale(0.2, (5, 4), ((0.0,) * d, (1.0,) * d), dtype=dtype),
        "ms": networks.multiscale_fourier((1.0, 5.0), (5, 4), 3, dtype=dtype),
        "mlp": networks.mlp((5, 4), dtype=dtype),
    }[kind]
    domain = domains.interval() if d == 1 else domains.unit_square()
    ansatz = first_order.first_order_ansatz(Ansatz(network, d, domain.vanishing))
    theta, fixed = ansatz.init(key)
    theta = shaken(theta, key)
    x = jnp.asarray([0.37, 0.81])[:d]
    at = jax.jit(lambda t, p: ansatz.fields(t, fixed, p))
    fields = at(theta, x)
    by_ad = jax.jit(jax.grad(lambda p: ansatz.value(theta, fixed, p)))(x)
    np.testing.assert_allclose(fields.gradient, by_ad, rtol=1e-12)
    np.testing.assert_allclose(
        jax.jit(lambda p: jnp.stack(ansatz.jet(theta, fixed, p).gradient))(x), by_ad, rtol=1e-12
    )
    h = 1e-4  # fourth-order differences
    differences = 0.0
    for k in range(d):
        step = h * np.eye(d)[k]
        p2, p1, m1, m2 = (float(at(theta, x + n * step).flux[k]) for n in (2, 1, -1, -2))
        differences += (8 * (p1 - m1) - (p2 - m2)) / (12 * h)
    assert float(fields.divergence) == pytest.approx(differences, rel=1e-7, abs=1e-7)
    if d == 2:  # the stream function moves the flux, not its divergence
        stream = jax.tree.map(lambda a: 2 * a, theta["flux"]["stream"])
        moved = at(theta | {"flux": theta["flux"] | {"stream": stream}}, x)
        assert float(jnp.max(jnp.abs(moved.flux - fields.flux))) > 1e-3
        assert float(moved.divergence) == float(fields.divergence)


@pytest.mark.parametrize("name", ["1-D", "2-D", "tensor"])
def test_rows_equal_ad(name):
    _, *args = case(name)
    objective, theta, weights, data, coarse = args
    assert all(isinstance(block, training.PointwiseBlock) for block in objective.blocks.values())
    unravel = jacobians.unraveller(theta)
    stacked = jax.jit(lambda t: jacobians.weighted_residual(objective, unravel(t), weights, data, coarse))
    flat = jacobians.ravel(theta)
    J = jax.jit(jax.jacfwd(stacked))(flat)
    rows, r = jax.jit(lambda: jacobians.jacobian(*args, 64))()
    close(r, stacked(flat), 1e-14)
    close(rows, J, 1e-12)
    normal = jax.jit(lambda: jacobians.normal_equations(*args, 64))()
    close(normal.matrix, J.T @ J, 1e-12)


def test_weight_and_poincare_constant():
    assert first_order.poincare_constant(domains.unit_square()) == pytest.approx(1 / (np.pi * np.sqrt(2)))
    assert first_order.poincare_constant(domains.lshape()) == pytest.approx(
        np.sqrt(2) / np.pi
    )  # of the square of side 2
    medium = media.constant(4.0, 2)
    assert first_order.divergence_weight(medium, domains.unit_square()) == pytest.approx(1 / (4 * np.pi**2))


def gauss(cells, order=6):
    nodes, weights = np.polynomial.legendre.leggauss(order)
    x = ((np.arange(cells)[:, None] + (nodes + 1) / 2) / cells).reshape(-1)
    return x, np.tile(weights / (2 * cells), cells)


def norms(fields, exact, K, q, weights, w_div):
    """J, E² and N² of (1) in the module, for gradients (M, d), fluxes (M, d), divergences (M,), K (M, d, d)."""
    gradient, flux, divergence = (np.asarray(a) for a in fields)
    total, flux_exact = exact
    inverse = np.linalg.inv(K)
    square = lambda a, matrix: weights @ np.einsum("ma,mab,mb->m", a, matrix, a)  # noqa: E731
    p = flux - np.einsum("mab,mb->ma", K, gradient)
    balance = w_div * weights @ (divergence + q) ** 2
    energy = square(gradient - total, K) + square(flux - flux_exact, inverse)
    return square(p, inverse) + balance, energy, energy + balance


@pytest.mark.parametrize("eps", [1 / 5, 1 / 50])
def test_bounds_hold_on_random_networks_in_one_dimension(eps, key):
    problem = experiments.heat1d_problem(eps)
    exact = references.reference(problem)
    x = exact.points
    K = np.asarray(jax.jit(jax.vmap(problem.medium.conductivity))(x))
    q = np.asarray(jax.vmap(problem.source)(x))
    w_div = first_order.divergence_weight(problem.medium, problem.domain)
    total = exact.gradient + 1
    ansatz = first_order.first_order_ansatz(
        Ansatz(networks.two_scale(eps, (6,), dtype=jnp.float64), 1, problem.domain.vanishing)
    )
    evaluate = jax.jit(lambda t: jax.vmap(lambda p: ansatz.fields(t, {"u": {}, "flux": {"0": {}}}, p))(x))
    ratios = []
    for k, scale in enumerate((0.3, 1.0, 3.0)):
        theta = shaken(ansatz.init(key)[0], jax.random.fold_in(key, k))
        gradient, flux, divergence = evaluate(jax.tree.map(lambda a, s=scale: s * a, theta))
        J, energy, squared = norms(
            (gradient + 1, flux, divergence),
            (total, K[:, None] * total),
            K[:, None, None],
            q,
            exact.weights,
            w_div,
        )
        h1 = exact.weights @ (np.asarray(gradient) - exact.gradient)[:, 0] ** 2
        bounds = first_order.error_bounds(J, problem.medium, problem.domain)
        assert energy <= 2 * J and h1 <= bounds.h1**2 and bounds.energy**2 >= energy
        assert (1 - 3**-0.5) * squared <= J <= (1 + 3**-0.5) * squared
        ratios.append(J / squared)
    assert max(ratios) - min(ratios) > 1e-3  # the networks differ


def test_bounds_hold_on_random_networks_with_a_tensor(key):
    problem = tensor_problem()
    direction = jnp.asarray(problem.direction)

    def u(x):
        return 16 * problem.domain.vanishing(x) * jnp.cos(3 * x[0] + x[1])

    def flux(x):
        return problem.medium.conductivity(x) @ (jax.grad(u)(x) + direction)

    axis, weight = gauss(8)
    x = jnp.asarray(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2))
    weights = np.outer(weight, weight).reshape(-1)
    K, q, slope, flux_exact = jax.jit(
        jax.vmap(
            lambda p: (
                problem.medium.conductivity(p), -jnp.trace(jax.jacfwd(flux)(p)), jax.grad(u)(p) + direction, flux(p)
            )
        )
    )(x)  # fmt: skip
    K, q, exact = np.asarray(K), np.asarray(q), (np.asarray(slope), np.asarray(flux_exact))
    w_div = first_order.divergence_weight(problem.medium, problem.domain)
    ansatz = first_order.first_order_ansatz(
        Ansatz(networks.two_scale(0.5, (6,), dtype=jnp.float64), 2, problem.domain.vanishing)
    )
    _, fixed = ansatz.init(key)
    evaluate = jax.jit(lambda t: jax.vmap(lambda p: ansatz.fields(t, fixed, p))(x))
    for k in range(2):
        fields = evaluate(shaken(ansatz.init(key)[0], jax.random.fold_in(key, k)))
        fields = fields._replace(gradient=fields.gradient + direction[None, :])
        J, energy, squared = norms(fields, exact, K, q, weights, w_div)
        assert energy <= 2 * J
        assert (1 - 3**-0.5) * squared <= J <= (1 + 3**-0.5) * squared


def waves(eps, modes=3):
    """Quadrature and a two-scale basis: (v, v', v'') and (τ, τ', τ'') at its points.

    v: sin kπx {1, ε cos 2πx/ε, ε sin 2πx/ε} and εχ(x/ε) cos kπx; τ: cos kπx {1, ε cos 2πx/ε, ε sin 2πx/ε}. χ is the corrector
    of K = 2 + sin 2πy, with (2 + sin 2πy)(1 + χ') = √3 and χ(0) = 0, so that v = 0 at both ends for a whole number of periods.
    """
    x, weights = gauss(round(8 / eps))
    one = (1 + 0 * x, 0 * x, 0 * x)

    def wave(frequency, phase=0.0):
        c, s = np.cos(frequency * x + phase), np.sin(frequency * x + phase)
        return c, -frequency * s, -(frequency**2) * c

    def product(f, g):
        return f[0] * g[0], f[1] * g[0] + f[0] * g[1], f[2] * g[0] + 2 * f[1] * g[1] + f[0] * g[2]

    n = np.arange(1, 40)[:, None]  # √3/(2 + sin θ) = 1 + 2 Σ (√3 − 2)ⁿ cos n(θ − π/2)
    angle = n * (2 * np.pi * x / eps - np.pi / 2)
    size = 2 * (np.sqrt(3) - 2) ** n
    corrector = (
        eps * np.sum(size * (np.sin(angle) + np.sin(n * np.pi / 2)) / (2 * np.pi * n), axis=0),
        np.sum(size * np.cos(angle), axis=0),
        -2 * np.pi / eps * np.sum(size * n * np.sin(angle), axis=0),
    )
    fast = [one, wave(2 * np.pi / eps), wave(2 * np.pi / eps, np.pi / 2)]
    potentials = [product(wave(np.pi * k, np.pi / 2), g) for k in range(1, modes + 1) for g in fast]
    potentials += [product(wave(np.pi * k), corrector) for k in range(modes + 1)]
    fluxes = [product(wave(np.pi * k), g) for k in range(modes + 1) for g in fast]
    return x, weights, np.array(potentials), np.array(fluxes)


def spectra(eps):
    """(smallest, largest) for the first-order system in N², and for ‖(Kv')'‖² in the energy ‖K^{1/2}v'‖²."""
    x, weights, v, tau = waves(eps)
    K, slope = 2 + np.sin(2 * np.pi * x / eps), 2 * np.pi / eps * np.cos(2 * np.pi * x / eps)
    w_div = first_order.divergence_weight(media.paper_1d(eps), domains.interval())
    system = stability_range(v[:, 1, :, None], tau[:, 0, :, None], tau[:, 1], K, weights, w_div)
    strong = K * v[:, 2] + slope * v[:, 1]
    values = scipy.linalg.eigh(
        (strong * weights) @ strong.T, (v[:, 1] * (weights * K)) @ v[:, 1].T, eigvals_only=True
    )
    return system, (values[0], values[-1])


def test_system_is_stable_uniformly_in_eps_and_the_strong_residual_is_not():
    grid = [1 / 5, 1 / 15, 1 / 50, 1 / 100]
    systems, strongs = zip(*(spectra(eps) for eps in grid), strict=True)
    for low, high in systems:
        assert 1 - 3**-0.5 <= low <= 0.6 and 1.4 <= high <= 1 + 3**-0.5
        assert low + high == pytest.approx(2)  # the spectrum of (3) is symmetric about one
    assert np.ptp([low for low, _ in systems]) < 0.01
    smallest, largest = np.array(strongs).T
    assert np.all(
        np.abs(smallest / (np.sqrt(3) * np.pi**2) - 1) < 0.1
    )  # K* π², the first homogenised eigenvalue
    for k in range(3):  # grows like 1/ε²
        assert largest[k + 1] / largest[k] == pytest.approx((grid[k] / grid[k + 1]) ** 2, rel=0.3)


def test_stability_range_agrees_for_scalars_and_tensors_and_refuses_a_dependent_basis():
    x, weights, v, tau = waves(0.2, 2)
    K = 2 + np.sin(10 * np.pi * x)
    args = (v[:, 1, :, None], tau[:, 0, :, None], tau[:, 1])
    assert stability_range(*args, K, weights, 0.3) == pytest.approx(
        stability_range(*args, K[:, None, None], weights, 0.3), rel=1e-12
    )
    with pytest.raises(InputError, match="basis: expected linearly independent fields"):
        stability_range(np.zeros_like(args[0]), *args[1:], K, weights, 0.3)


def test_steps_lower_the_objective_and_the_best_iterate_has_the_smallest_sum():
    changes = {
        "training.select": "smallest-residual",
        "training.steps": "12",
        "coarse.cells": "30",
        "coarse.pieces": "4",
    }
    config = tiny(**changes)  # 32 points a period
    result = experiments.run(config, (0, 1))
    history = result.fit.history
    total = history["loss/flux_0"] + history["loss/divergence"]
    assert np.all(total[-1] < 0.5 * total[0])
    best = result.fit.state.members.best
    np.testing.assert_allclose(best.value, total.min(axis=0), rtol=1e-14)
    row = result.summary["seeds"][0]
    assert row["residual"] == pytest.approx(float(np.sqrt(best.value[0])))
    u, gradient = result.solution(np.array([[0.0], [0.4]]))
    assert u[0] == 0.0 and gradient.shape == (2, 1)
    # E² ≤ 2J with the run's own quadrature, within the bound of the error in H¹ and L²
    problem = experiments.problem_of(config)
    bounds = first_order.error_bounds(row["residual"] ** 2, problem.medium, problem.domain)
    l2, h1 = result.reference.norms()
    assert row["best_rel_h1"] * h1 <= bounds.h1
    assert row["best_rel_l2"] * l2 <= bounds.l2
    theta, fixed = result.parameters(0), training.member(result.setup.data["fixed"], 0)
    finer = first_order.objective_value(
        problem, result.setup.ansatz, theta, fixed, result.reference.points, result.reference.weights
    )
    assert finer == pytest.approx(row["residual"] ** 2, rel=0.05)


def test_value_by_the_runs_own_rule_is_the_sum_of_its_terms():
    ansatz, objective, theta, _, data, coarse = case("1-D")
    problem = experiments.heat1d_problem(1 / 15)
    points = data["points"]["collocation"]
    value = first_order.objective_value(
        problem, ansatz, theta, data["fixed"], points, data["scale"] ** 2 / len(points)
    )
    parts = jax.jit(lambda: training.terms(objective, theta, data, coarse))()
    assert value == pytest.approx(float(sum(parts.values())), rel=1e-12)


@pytest.mark.parametrize("kind", ["ms", "mlp"])
def test_adam_runs_every_network_in_two_dimensions(kind):
    settings = TINY | {
        "boundary": "hard", "sampling.points": "64", "sampling.boundary_points": "0", "network.frequencies": "3",
        "training.learning_rate": "1e-3",
    }  # fmt: skip
    config = with_settings(configuration("heat2d", "pinn", kind), settings)
    assert balance_every(config) == 0
    setup = experiments.assemble(tensor_problem(), config, (0, 1))
    result = training.fit(setup.program, setup.state, setup.data, 4, report_every=2)
    total = sum(result.history[f"loss/{name}"] for name in ("flux_0", "flux_1", "divergence"))
    assert total.shape == (4, 2) and np.all(total[-1] < total[0])
    assert total.dtype == np.float32


def test_resume_is_bitwise(tmp_path):
    config = tiny(optimiser="adam", **{"sampling.points": "64", "network.frequencies": "3"})
    whole = experiments.run(config, (0,))
    half = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=2))
    experiments.run(half, (0,), out=tmp_path)
    again = experiments.run(config, (0,), out=tmp_path, resume=True)
    for a, b in zip(
        jax.tree.leaves(whole.fit.state.members), jax.tree.leaves(again.fit.state.members), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    other = dataclasses.replace(config, formulation="strong")
    with pytest.raises(InputError, match="resume with the same options"):
        experiments.run(other, (0,), out=tmp_path, resume=True)


def test_default_formulation_leaves_fingerprints_as_they_were():
    config = configuration("heat1d-eps15")
    assert config.formulation == "strong"
    assert fingerprint(config, (0,)) == "f2a08ecb23427a51"
    other = dataclasses.replace(config, method="pinn", formulation="first-order")
    assert fingerprint(other, (0,)) != fingerprint(dataclasses.replace(config, method="pinn"), (0,))


@pytest.mark.parametrize(
    ("experiment", "method", "settings", "received"),
    [
        ("heat1d-eps15", "hybrid", {}, "method hybrid, boundary=hard"),
        ("heat2d", "pinn", {}, "method pinn, boundary=soft"),
    ],
)
def test_combinations_that_do_not_exist_are_refused(experiment, method, settings, received):
    with pytest.raises(InputError) as error:
        with_settings(configuration(experiment, method), {"formulation": "first-order"} | settings)
    assert str(error.value) == (
        f"formulation: expected method pinn and boundary=hard with first-order; received {received}; "
        "choose these, or formulation=strong"
    )
    with pytest.raises(InputError, match="formulation: expected method pinn"):
        dataclasses.replace(configuration(experiment, method), formulation="first-order")
    with pytest.raises(
        InputError, match="formulation: expected one of strong, first-order, hypercircle; received 'mixed'"
    ):
        with_settings(configuration(experiment, method), {"formulation": "mixed"})


def test_command_line(capsys, tmp_path):
    settings = [part for path, value in TINY.items() for part in ("--set", f"{path}={value}")]
    arguments = ["run", "heat1d-eps15", "--method", "pinn", "--optimiser", "gauss-newton", "--scale", "quick"]
    assert main([*arguments, *settings, "--out", str(tmp_path / "run"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["seeds"][0]["status"] == "completed"
    stored = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert stored["config"]["formulation"] == "first-order"
    assert main(["run", "heat1d-eps15", "--set", "formulation=first-order"]) == 2
    assert "expected method pinn" in capsys.readouterr().err
