"""Elements by the points of the bound: jumps within cells, high contrast, and what is said of sources that no point meets."""

import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import media
from hybrid_lib.experiments.galerkin import SAFETY
from hybrid_lib.experiments.solve import solve_on
from hybrid_lib.fem import bounds

ENDS = {"left": hl.Dirichlet(0.0), "right": hl.Dirichlet(1.0)}
SHUT = {"top": hl.Neumann(), "bottom": hl.Neumann()}


def line(conductivity, **more):
    return hl.Problem(medium=media.from_function(conductivity, 1), boundary=more or ENDS)


@pytest.mark.parametrize(("copies", "part"), [(7, 0.3), (5.5, 0.41)])
@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_heat_is_within_its_bound_where_k_jumps_within_cells(copies, part, tolerance):
    problem = line(lambda x: jnp.where(jnp.mod(copies * x[0] + 0.123, 1) < part, 1.0, 30.0))
    low = [np.floor(t) * part + min(t % 1, part) for t in (0.123, copies + 0.123)]  # length where K is 1, up to a phase
    low = (low[1] - low[0]) / copies
    exact = 1 / (low + (1 - low) / 30)
    found = hl.solve(problem, tolerance)
    assert found.bound <= tolerance and not found.reason
    assert abs(found.heat_through("right") - exact) <= found.heat_bound("right")


@pytest.mark.parametrize("low", [1e-6, 1e-18, 1e-150])
@pytest.mark.parametrize("start", [0.0, 293.0])
def test_contrast_of_any_size_has_an_honest_bound(low, start):
    ends = {"left": hl.Dirichlet(start), "right": hl.Dirichlet(start + 1.0)}
    found = hl.solve(line(lambda x: jnp.where(x[0] < 0.3, 1.0, low), **ends))
    exact = 1 / (0.3 + 0.7 / low)
    assert found.bound > 0 and bool(found.reason) == (found.bound > 0.01)  # 293 rounds more than a gradient of 1e-18 has
    assert abs(found.heat_through("right") - exact) <= found.heat_bound("right")
    assert start or found.heat_bound("right") <= 2e-4 * exact


def test_a_constant_temperature_has_the_bound_zero():
    for value in (0.0, 5.0):
        ends = {"left": hl.Dirichlet(value), "right": hl.Robin(2.0, value)}
        assert hl.solve(line(lambda x: 2 + x[0], **ends)).bound == 0.0


@pytest.mark.parametrize("contrast", [1e-4, 1e3])
def test_bounds_fall_where_k_jumps_within_cells_of_the_plane(contrast):
    medium = media.from_function(lambda x: jnp.where(jnp.hypot(x[0] - 0.3, x[1]) < 0.31, 1.0, contrast), 2)
    bounds = []
    found = hl.solve(hl.Problem(medium=medium, boundary=ENDS | SHUT), 0.12, announce=lambda one: bounds.append(one.bound))
    assert found.bound <= 0.12 and found.bound == min(bounds) and len(found.w) < 5000


def test_a_source_that_no_point_meets_is_named():
    def peak(x):
        return jnp.exp(-((x[0] - 0.5123) ** 2 + (x[1] - 0.4711) ** 2) / 2e-10)

    problem = hl.Problem(medium=media.constant(2.0, 2), source=peak, boundary=hl.Dirichlet(0.0))
    with pytest.warns(UserWarning, match="source: it is 0 at all points"):
        hl.solve(problem, 0.1)


def test_what_the_rule_misses_of_the_source_is_in_the_bound_of_the_heat(monkeypatch):
    """K is constant and the other factor of the bound zero: what is left is twice what a second rule changes, cell by cell."""
    monkeypatch.setattr(bounds, "PROBES", {1: 1, 2: 1})
    cold = {side: hl.Dirichlet(0.0) for side in ("left", "right")}
    problem = hl.Problem(medium=media.constant(1.0, 1), source=lambda x: 100 * x[0] ** 4, boundary=cold)
    found = solve_on(problem, problem.domain.labelled(problem.domain.mesh(4)))
    off = abs(found.heat_through("left") + 100 / 30)  # −∫q(1 − x), which the second rule has exactly
    assert 1e-4 < off < found.heat_bound("left") / SAFETY * (1 + 1e-9) < 2 * off
