"""Sources and fluxes with jumps: a bound of the energy or of a heat is never below the error, wherever the jumps are."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import fem, media
from hybrid_lib.experiments.field_solution import solve_on
from hybrid_lib.experiments.fitted import fitted
from hybrid_lib.experiments.solve import solve
from hybrid_lib.problems import Problem
from hybrid_lib.sides import Dirichlet, Neumann, Robin

LINE, SQUARE = media.constant(1.0, 1), media.constant(1.0, 2)


def pulses(duty, count):
    """A source that is 1 on the first part `duty` of each of `count` periods."""
    return lambda x: jnp.where((count * x[0]) % 1.0 < duty, 1.0, 0.0)


@pytest.mark.parametrize(("duty", "count"), [(0.1, 1024), (0.3, 1024), (0.37, 16)])
def test_a_source_of_many_pulses_has_nodes_where_it_jumps(duty, count):
    found = solve(Problem(medium=LINE, boundary=Dirichlet(0.0), source=pulses(duty, count)), n=64)
    jumps = (np.arange(count) + duty) / count
    assert np.abs(np.sort(found.mesh.points[:, 0])[:, None] - jumps[:3]).min(axis=0).max() < 1e-12
    assert sum(map(found.heat_through, ("left", "right"))) == pytest.approx(-duty, abs=1e-9)
    x = np.linspace(0, 1, 200 * count + 1)
    q = np.asarray(pulses(duty, count)((x[:-1] + x[1:])[None] / 2))  # exact where 200 duty is a whole number
    flux = np.concatenate([[0.0], np.cumsum(q) / len(q)])
    slopes = found.gradient((x[:-1, None] + x[1:, None]) / 2)[:, 0]  # jumps and nodes are among the x
    a, b = (np.mean((flux[:-1] + flux[1:]) / 2) - one - slopes for one in (flux[:-1], flux[1:]))
    error = math.sqrt(np.mean((a**2 + a * b + b**2) / 3))
    assert error * (1 - 1e-6) <= found.energy_bound <= 1.5 * error


def test_a_node_at_a_jump_stays_beside_another_jump():
    medium = media.from_function(lambda x: jnp.where((x[0] > 0.5) & (x[0] < 0.5001), 1e-3, 1.0), 1)
    problem = Problem(medium=medium, boundary={"left": Dirichlet(0.0), "right": Dirichlet(1.0)})
    mesh = fitted(problem, fem.interval(16))
    near = mesh.points[np.abs(mesh.points[:, 0] - 0.5) < 0.01, 0]
    assert near.round(12).tolist() == [0.5, 0.5001]
    found = solve(problem)
    assert found.bound < 1e-9 and found.heat_through("right") == pytest.approx(1 / (1 - 1e-4 + 0.1), rel=1e-12)


def test_the_zeros_of_a_smooth_source_are_no_jumps():
    for source in (lambda x: jnp.sin(40 * x[0]), lambda x: x[0] - 1 / 3, lambda x: jnp.abs(x[0] - 0.3) - 0.1):
        mesh = fem.interval(16)
        assert fitted(Problem(medium=LINE, source=source, boundary=Dirichlet(0.0)), mesh) is mesh


@pytest.mark.parametrize("a", [0.05051, 0.5901, 0.9, 0.5**0.5, 0.25])
@pytest.mark.parametrize("kind", ["flux", "exchange"])
def test_heat_through_a_side_whose_flux_jumps(a, kind):
    step = lambda x: jnp.where(x[1] < a, 1.0, 0.0)  # noqa: E731
    right = Neumann(step) if kind == "flux" else Robin(1e-9, lambda x: 1e9 * step(x))
    sides = {"left": Dirichlet(0.0), "right": right, "top": Neumann(), "bottom": Neumann()}
    found = solve(Problem(medium=SQUARE, boundary=sides), n=8)
    for side, true in (("right", a), ("left", -a)):
        assert abs(found.heat_through(side) - true) <= found.heat_bound(side) + 1e-8 * (kind == "exchange")
        assert found.heat_bound(side) < 1e-3
    assert found.bound >= found.proof.relative


def test_a_round_source_is_in_the_bound():
    disc = lambda x: jnp.where((x[0] - 0.47) ** 2 + (x[1] - 0.52) ** 2 < 0.04, 1.0, 0.0)  # noqa: E731
    sides = {"left": Dirichlet(0.0), "right": Neumann(), "top": Neumann(), "bottom": Neumann()}
    problem = Problem(medium=SQUARE, boundary=sides, source=disc)
    found = solve_on(problem, problem.domain.labelled(fem.unit_square(8)))
    assert found.drift.bound > 0 and np.isclose(np.linalg.norm(found.drift.cells), found.drift.bound)
    assert abs(found.heat_through("left") + math.pi * 0.04) <= found.heat_bound("left")
    smooth = solve(Problem(medium=SQUARE, boundary=sides, source=lambda x: jnp.exp(x[0])), n=8)
    assert smooth.drift.bound < 1e-6 * smooth.proof.bound
    plain = solve(Problem(medium=SQUARE, boundary=sides, source=1.0), n=8)
    assert plain.drift.bound == 0


def test_the_drift_of_a_known_change_is_its_energy(monkeypatch):
    """With a second rule that sees q + 1 where the first sees q: z'' = −2, z(0) = z(1) = 0 has ∫z'² = 1/3."""
    from hybrid_lib.experiments import drift, galerkin

    def seen(problem, mesh, number=1):
        found = galerkin.sample_of(problem, mesh, 1)
        return found if number == 1 else found._replace(f=found.f + 1.0)

    found = solve(Problem(medium=LINE, boundary=Dirichlet(0.0), source=lambda x: x[0]), n=64)
    monkeypatch.setattr(drift, "sample_of", seen)
    moved = drift.drift_of(found.problem, found.mesh, found.w, found.data, found._system[0])
    assert moved.bound == pytest.approx(3**-0.5, rel=1e-3)


def test_fluxes_all_around_have_a_drift_too():
    step = Neumann(lambda x: jnp.where(x[1] < 0.3, 1.0, 0.0))
    sides = {"left": step, "right": Neumann(-0.3), "top": Neumann(), "bottom": Neumann()}
    found = solve(Problem(medium=SQUARE, boundary=sides), n=8)
    assert 0 < found.drift.bound < 1e-2 * found.proof.bound
