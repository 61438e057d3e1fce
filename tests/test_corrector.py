"""First-order expansion of homogenisation as the base of an ansatz."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shaken import shaken

from hybrid_lib import experiments, media
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.corrector import expansion, sine_solution, trigonometric
from hybrid_lib.pinn import jets, networks
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.domains import lshape


def test_sine_series_is_exact_for_sines_and_its_gradient_is_the_derivative(key):
    def exact(x):
        return jnp.sin(2 * jnp.pi * x[0]) * jnp.sin(3 * jnp.pi * x[1])

    u, gradient = sine_solution([2.0, 5.0], lambda x: jnp.pi**2 * (2 * 4 + 5 * 9) * exact(x), modes=6)
    for x in jax.random.uniform(key, (5, 2)):
        np.testing.assert_allclose(u(x), exact(x), atol=1e-13)
        np.testing.assert_allclose(gradient(x), jax.grad(u)(x), atol=1e-12)


def test_trigonometric_polynomial_is_reproduced(key):
    n = 12
    y = np.arange(n) / n
    f = lambda a, b: 0.3 + np.cos(2 * np.pi * (2 * a - b)) + 0.5 * np.sin(2 * np.pi * (a + 3 * b))  # noqa: E731
    polynomial = trigonometric(f(y[:, None], y[None, :]), modes=4)
    for a, b in np.asarray(jax.random.uniform(key, (4, 2))):
        np.testing.assert_allclose(polynomial(jnp.array([a, b])), f(a, b), atol=1e-13)


def test_expansion_vanishes_on_the_boundary_and_nears_the_solution():
    errors = []
    for eps in (1 / 10, 1 / 40):
        problem = experiments.heat1d_problem(eps)
        base = expansion(problem.medium.conductivity, problem.source, problem.direction, eps)
        assert abs(float(base(jnp.zeros(1)))) < 1e-14 and abs(float(base(jnp.ones(1)))) < 1e-12
        known = experiments.reference(problem)
        slope = jax.vmap(jax.grad(base))(jnp.asarray(known.points))
        square = np.sum(known.weights * (np.asarray(slope)[:, 0] - known.gradient[:, 0]) ** 2)
        errors.append(np.sqrt(square) / known.norms()[1])
    assert errors[1] < 0.6 * errors[0] < 0.3  # O(sqrt(eps)): a factor 2


def test_jets_of_an_ansatz_with_a_base(key):
    base = lambda x: jnp.sin(jnp.pi * x[0]) * x[1] * (1 - x[1])  # noqa: E731
    factor = lambda x: x[0] * (1 - x[0]) * x[1] * (1 - x[1])  # noqa: E731
    ansatz = Ansatz(networks.two_scale(0.3, (4,), None, "tanh", jnp.float64), 2, factor, base)
    theta, fixed = ansatz.init(key)
    theta = shaken(theta, key)
    A = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    for x in jax.random.uniform(key, (3, 2)):
        jet = ansatz.jet(theta, fixed, x, A)
        plain = jets.from_function(lambda p: ansatz.value(theta, fixed, p), x, A)
        np.testing.assert_allclose(jet.value, plain.value, atol=1e-13)
        np.testing.assert_allclose(jnp.stack(jet.gradient), jnp.stack(plain.gradient), atol=1e-12)
        np.testing.assert_allclose(jet.laplacian, plain.laplacian, atol=1e-10)
        slope = ansatz.gradient_of(theta, ansatz.embed(fixed, x))
        np.testing.assert_allclose(slope, jnp.stack(plain.gradient), atol=1e-12)


def small(**network):
    config = experiments.with_settings(
        experiments.configuration("heat1d-eps15", optimiser="gauss-newton"),
        {"coarse.coupling": "defect", "training.steps": "5", "training.report_every": "5",
         "training.record_every": "5", "network.widths": "6"},
    )  # fmt: skip
    return dataclasses.replace(config, network=dataclasses.replace(config.network, **network))


def test_a_run_starts_from_the_expansion_and_improves_on_it():
    run = experiments.run(small(corrector=True))
    first, last = run.fit.evaluations["rel_h1"][[0, -1], 0]
    assert first == pytest.approx(0.202, rel=0.01)  # the network is zero: this is the expansion's own error
    assert last < 0.85 * first  # 0.75 after five steps


@pytest.mark.parametrize("formulation", ["strong", "first-order"])
def test_errors_are_those_of_the_field_with_its_base(formulation):
    """The evaluator leaves B out on both sides; here it is in."""
    config = small(corrector=True)
    config = config if formulation == "strong" else dataclasses.replace(config, method="pinn", formulation=formulation)
    run = experiments.run(config)
    reference, (norm_l2, norm_h1) = run.reference, run.reference.norms()
    value, gradient = run.solution(reference.points)
    square = np.sum((gradient - reference.gradient) ** 2, axis=1)
    found = run.summary["seeds"][0]
    assert found["rel_l2"] == pytest.approx(
        np.sqrt(reference.weights @ (value - reference.value) ** 2) / norm_l2, rel=1e-9
    )
    assert found["rel_h1"] == pytest.approx(np.sqrt(reference.weights @ square) / norm_h1, rel=1e-9)


def test_errors():
    with pytest.raises(InputError, match=r"^diagonal: expected one or two numbers > 0"):
        sine_solution([1.0, -1.0], lambda x: x[0])
    with pytest.raises(InputError, match=r"^modes: expected an integer >= 1"):
        sine_solution([1.0], lambda x: x[0], modes=0)
    with pytest.raises(InputError, match=r"^modes: expected less than half of the 8 grid points"):
        trigonometric(np.zeros((8, 8)), modes=4)
    oblique = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    with pytest.raises(InputError, match=r"^K\*: expected a diagonal tensor"):
        expansion(lambda x: oblique, lambda x: x[0], (1.0, 0.0), 0.5, cells=40)
    with pytest.raises(InputError, match=r"^network.corrector: expected boundary=hard"):
        experiments.with_settings(experiments.configuration("heat2d"), {"network.corrector": "true"})
    problem = dataclasses.replace(experiments.heat1d_problem(1 / 15), medium=media.constant(2.0, 1))
    problem = dataclasses.replace(problem, medium=dataclasses.replace(problem.medium, period=None))
    with pytest.raises(InputError, match=r"^network.corrector: expected a medium with a period"):
        experiments.assemble(problem, small(corrector=True), (0,))
    square = dataclasses.replace(experiments.heat2d_problem(0.5), domain=lshape())
    with pytest.raises(InputError, match=r"received lshape"):
        experiments.assemble(square, small(corrector=True), (0,))
