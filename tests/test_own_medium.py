"""A medium of one's own: problem, sizes, price of finite elements, and estimates without a reference."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import element_cost, error_estimate, field_energy, own_configuration, own_problem
from hybrid_lib.pinn import domains

EPS, KEY = 1 / 6, jax.random.key(0)


def waves(x):
    return jnp.exp(jnp.sin(2 * jnp.pi * x[0] / EPS))


@pytest.fixture(scope="module")
def problem():
    return own_problem(media.from_function(waves, 1, period=EPS), lambda x: 4 * jnp.exp(-x[0]))


@pytest.fixture(scope="module")
def run(problem):
    return experiments.train(
        problem, own_configuration(problem, widths=(6, 6), steps=12), reference=experiments.reference(problem)
    )


def test_own_problem_is_the_library_s_problem_with_defaults():
    mine, papers = own_problem(media.paper_2d(0.2), 1.0), experiments.heat2d_problem(0.2)
    assert (mine.domain.name, mine.direction) == (papers.domain.name, papers.direction)
    assert float(mine.source(jnp.zeros(2))) == 1.0
    turned = own_problem(media.paper_2d(0.2), lambda x: x[0] * x[1], (0, 2))
    assert turned.direction == (0.0, 2.0) and float(turned.source(jnp.full(2, 2.0))) == 4.0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: own_problem(waves), "medium: expected a Medium; received function; pass medium=, made with"),
        (lambda: own_problem(media.paper_1d(0.1), lambda x: x), "source: expected a number at one point x; received shape (1,)"),
        (lambda: own_problem(media.paper_1d(0.1), lambda x: np.exp(x[0])), "source: expected a function that JAX can trace"),
        (lambda: own_problem(media.paper_1d(0.1), math.nan), "source: expected a finite number"),
        (lambda: own_problem(media.paper_1d(0.1), 1.0, (0.0,)), "direction: expected 1 numbers, not all zero"),
        (lambda: own_problem(media.paper_2d(0.1), 1.0, (1.0,)), "direction: expected 2 finite numbers; received (1.0,)"),
        (
            lambda: own_configuration(own_problem(media.layered([1.0, 9.0], 0, 0.1, 1))),
            "medium: expected a conductivity without jumps, as the strong form contains ∇K and every coupling is added to it; "
            "received 'layered', which jumps from 1 to 9 at x = (0.05,); use finite elements",
        ),
        (lambda: own_configuration(own_problem(media.raster([1.0, 3.0]))), "medium: expected a conductivity without jumps"),
        (
            lambda: own_configuration(own_problem(media.raster([1.0, 3.0], smoothing="cubic"))),
            "length: expected the smallest length of a medium",
        ),
        (lambda: own_configuration(own_problem(media.paper_1d(0.1)), 2.0), "length: expected a number > 0, at most the side 1"),
        (lambda: element_cost(own_problem(media.paper_1d(0.1)), 0.0), "tolerance: expected a number > 0; received 0.0"),
        (lambda: element_cost(own_problem(media.paper_1d(0.1)), "a"), "tolerance: expected a number > 0; received a"),
        (lambda: own_configuration(own_problem(media.paper_1d(0.1)), "a"), "length: expected a number > 0, at most the side 1"),
        (lambda: own_problem(media.paper_1d(0.1), "one"), "source: expected a finite number or a function of one point"),
        (lambda: media.from_function(3.0, 1), "function: expected a function of one point x; received 3.0; a number goes to"),
        (lambda: experiments.train(own_problem(media.paper_1d(0.1)), None), "config: expected a Config; received NoneType"),
        (lambda: error_estimate(own_problem(media.paper_1d(0.1))), "result: expected what experiments.train returns"),
        (lambda: element_cost(own_problem(media.random_smooth(KEY, 1, 0.1))), "length: expected the smallest length"),
        (lambda: element_cost(own_problem(media.paper_2d(0.001))), "most_unknowns: expected at least 16008001"),
        (
            lambda: element_cost(dataclasses.replace(own_problem(media.paper_2d(0.1)), domain=domains.lshape())),
            "fine_solution: expected the interval or the unit square; received lshape",
        ),
        (
            lambda: media.from_function(waves, 1, period=0.1),
            "period along axis 0: expected K(x) = K(x + 0.1); received values that differ",
        ),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_say_what_to_do(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("inverse", [1, 3, 7, 12, 100])
@pytest.mark.parametrize("medium", [media.paper_1d, media.paper_2d])
def test_suggested_cells_are_not_in_step_and_points_outnumber_parameters(inverse, medium):
    problem = own_problem(medium(1 / inverse))
    config, d = own_configuration(problem), problem.domain.dimension
    cells, pieces = config.coarse.cells, config.coarse.pieces
    assert math.gcd(cells, inverse) == 1
    assert cells * config.eps >= {1: 10 / 3, 2: 5 / 2}[d] - 1e-9
    points = {1: 4 * cells * pieces, 2: 14 * (cells * pieces) ** 2}[d]
    assert points >= 3 * {1: 674, 2: 1162}[d]  # the sizes of the paper's runs with these networks
    assert experiments.own_configuration(problem, widths=(4, 4), steps=7).training.steps == 7


def test_cost_of_elements_is_honest_about_the_error(problem):
    rows = element_cost(problem, tolerance=1e-3)
    exact = experiments.reference(problem)
    for row in rows[1:]:
        nodal = experiments.fine_solution(problem, row.cells, 9)
        values = np.interp(exact.points[:, 0], np.linspace(0, 1, row.cells + 1), nodal)
        true = np.sqrt(exact.weights @ (values - exact.value) ** 2) / exact.norms()[0]
        assert 0.8 * true < row.error < 4 * true
    assert rows[-1].error <= 1e-3 < rows[-2].error
    assert rows[-1].order == pytest.approx(2, abs=0.1)
    energies = [row.energy for row in rows]
    assert energies == sorted(energies, reverse=True)
    assert math.isnan(rows[0].error) and [row.cells for row in rows[:2]] == [24, 48]


def test_cost_of_elements_stops_at_the_largest_mesh():
    with pytest.warns(UserWarning, match=r"stopped at 16 cells.*above the tolerance of 1e-09.*1,089 nodes, raise most_unknowns"):
        rows = element_cost(own_problem(media.paper_2d(0.5)), tolerance=1e-9, most_unknowns=400)
    assert [row.cells for row in rows] == [8, 16] and rows[-1].error > 1e-9
    assert not any(row.reached for row in rows)


def test_energy_is_that_of_the_theorem_and_of_the_elements(problem):
    exact = experiments.reference(problem)
    solution = (exact.value, exact.gradient)

    def energy(value, gradient):
        K = np.asarray(jax.vmap(problem.medium.conductivity)(jnp.asarray(exact.points)))
        q = 4 * np.exp(-exact.points[:, 0])
        return exact.weights @ (K * (gradient[:, 0] + 1) ** 2 / 2 - q * value)

    def bump(x):
        return x[:, 0] * (1 - x[:, 0]), 1 - 2 * x

    gradient = bump(exact.points)[1]
    K = np.asarray(jax.vmap(problem.medium.conductivity)(jnp.asarray(exact.points)))
    gap = exact.weights @ (K * (gradient - exact.gradient)[:, 0] ** 2) / 2
    assert field_energy(problem, bump, 200) - energy(*solution) == pytest.approx(gap, rel=1e-9)
    row, mesh = element_cost(problem)[0], fem.interval(24)
    nodal = experiments.fine_solution(problem, 24, 9)

    def linear(x):
        cell = np.minimum((x[:, 0] * 24).astype(int), 23)
        return np.interp(x[:, 0], mesh.points[:, 0], nodal), fem.cell_gradients(mesh, nodal)[cell]

    assert field_energy(problem, linear, 24) == pytest.approx(row.energy, rel=1e-9)


def test_energy_of_a_tensor_medium():
    problem = own_problem(media.constant([[2.0, 1.0], [1.0, 5.0]], 2), 1.0, (0.0, 1.0))
    assert field_energy(problem, lambda x: (np.zeros(len(x)), np.zeros(x.shape)), 2) == pytest.approx(2.5)


def test_estimate_bounds_the_error_of_a_run(run):
    estimate, row = error_estimate(run), run.summary["seeds"][0]
    assert math.isfinite(estimate.second)
    true = row["last_rel_h1"] * run.reference.norms()[1]
    own = np.sqrt(run.reference.weights @ np.sum(run.solution(run.reference.points)[1] ** 2, axis=1))
    assert true / own <= 1.02 * estimate.second
    assert estimate.second == pytest.approx(math.hypot(estimate.defect, estimate.residual))
    coupling, pde = (float(run.fit.history[f"loss/{k}"][-1, 0]) for k in ("coupling", "pde"))
    K_hat, h = float(run.coarse()["upscaled"]), 1 / run.setup.config.coarse.cells
    by_hand = math.sqrt(K_hat * coupling + (h / np.pi) ** 2 * pde) / run.setup.problem.medium.alpha / own
    if run.fit.history["step"][-1] == row["iterations"]:
        assert estimate.bound == pytest.approx(by_hand, rel=0.05)


def test_estimate_bounds_the_error_in_the_plane():
    problem = own_problem(media.paper_2d(1 / 2), 1.0)
    run = experiments.train(
        problem, own_configuration(problem, widths=(6, 6), steps=6), reference=experiments.reference(problem)
    )
    estimate, row = error_estimate(run), run.summary["seeds"][0]
    own = np.sqrt(run.reference.weights @ np.sum(run.solution(run.reference.points)[1] ** 2, axis=1))
    assert row["last_rel_h1"] * run.reference.norms()[1] / own <= estimate.second < math.inf


def test_estimate_divides_by_the_least_conductivity_that_it_sees(run):
    given = run.setup.problem
    larger = dataclasses.replace(given.medium, alpha=2 * given.medium.alpha)  # as if from few points
    problem = object.__new__(type(given))
    vars(problem).update(vars(given) | {"medium": larger})
    flattered = dataclasses.replace(run, setup=dataclasses.replace(run.setup, problem=problem))
    assert 0.8 < error_estimate(flattered).second / error_estimate(run).second <= 1  # and not a half


def test_points_of_a_solution_are_rows(run):
    with pytest.raises(InputError, match=r"points: expected shape \(k, 1\); received shape \(5,\); one row a point"):
        run.solution(np.linspace(0, 1, 5))


def test_estimate_needs_the_defect(run):
    setup = dataclasses.replace(run.setup, config=dataclasses.replace(run.setup.config, method="pinn"))
    with pytest.raises(
        InputError, match=r"error_estimate: expected a hybrid run with coarse\.coupling=defect"
    ):
        error_estimate(dataclasses.replace(run, setup=setup))


def test_reference_of_a_medium_without_period_refines_itself():
    problem = own_problem(media.random_smooth(jax.random.key(1), 1, 0.003, bounds=(1.0, 9.0)))
    assert experiments.reference(problem, cells=100).error > 1e-9
    assert experiments.reference(problem).error <= 1e-9
