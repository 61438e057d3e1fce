r"""Claims of the paper that need no training: upscaled coefficients, the consistency gap, the cost of an iteration."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicHermiteSpline

from hybrid_lib import experiments, fem, media
from hybrid_lib.config import Config, with_settings
from hybrid_lib.multiscale.coarse import coarse_problem, state
from hybrid_lib.multiscale.homogenisation import harmonic_mean, homogenised_tensor

FINE_CELLS = {"heat1d-eps15": 2000, "heat1d-eps100": 5000}  # h = 5e-4 and 2e-4


def upscaled_coefficients() -> dict[str, Any]:
    """K̂ of exact and of P1 solutions, K integrated exactly or taken at the cells' midpoints, and K*.

    Returns
    -------
    dict
        ``heat1d-eps15`` and ``heat1d-eps100`` with ``exact``, ``elements``, ``elements_midpoint``, ``K_star``; ``heat2d``
        with ``exact`` and ``K_star``.
    """
    out: dict[str, Any] = {}
    for name, cells in FINE_CELLS.items():
        problem = experiments.problem_of(experiments.configuration(name))
        out[name] = {
            "exact": experiments.reference(problem).upscaled,
            "elements": _upscaled_elements(problem, cells, 4),
            "elements_midpoint": _upscaled_elements(problem, cells, 1),
            "cells": cells,
            "K_star": harmonic_mean(media.paper_1d(1.0).conductivity),
        }
    problem = experiments.problem_of(experiments.configuration("heat2d"))
    K_star = homogenised_tensor(media.paper_2d(1.0).conductivity, 2, 64)
    out["heat2d"] = {
        "exact": experiments.reference(problem).upscaled,
        "K_star": float(np.asarray(K_star)[0, 0]),
    }
    return out


def _upscaled_elements(problem, cells: int, order: int) -> float:
    """K̂[u_h] = Σ_T |T| K_T (u_h' + 1) with K_T the mean of K over a cell by a rule of this order."""
    mesh = fem.interval(cells)
    K = fem.cell_coefficient(mesh, problem.medium.conductivity, order=order)  # (m, 1, 1)
    nodal = experiments.fine_solution(problem, cells, order)
    return float(np.sum(K[:, 0, 0] * (np.diff(nodal) * cells + 1)) / cells)


def consistency_gap(cells: int = 250) -> dict[str, Any]:
    """‖Q_δu − y_h(u)‖ / ‖y_h(u)‖ at the exact solutions of both one-dimensional problems, δ = ε, h = 1/`cells`.

    Returns
    -------
    dict
        For each problem ``gap``, ``coarse_error`` = ‖y_h − u‖/‖u‖ at the nodes, and the nodal fields ``state``, ``averaged``.
    """
    out: dict[str, Any] = {}
    mesh = fem.interval(cells)
    x = mesh.points[:, 0]
    for name in FINE_CELLS:
        config = experiments.configuration(name)
        problem = experiments.problem_of(config)
        known = experiments.reference(problem)
        u = CubicHermiteSpline(known.points[:, 0], known.value, known.gradient[:, 0])
        integral, half = u.antiderivative(), config.eps / 2
        inside = np.minimum(x, 1 - x) > half
        averaged = np.where(inside, (integral(x + half) - integral(x - half)) / config.eps, u(x))
        coarse = coarse_problem(mesh, problem.source, isotropic_constant=True)
        y = np.asarray(state(coarse, jnp.asarray(known.upscaled, coarse.source.dtype)), float)
        w = np.asarray(coarse.weights, float)
        size = lambda v, w=w: float(np.sqrt(w @ v**2))  # noqa: E731
        out[name] = {
            "gap": size(averaged - y) / size(y),
            "coarse_error": size(y - u(x)) / size(u(x)),
            "upscaled": known.upscaled,
            "state": y,
            "averaged": averaged,
        }
        out[name] |= {key: [float(f"{v:.7g}") for v in out[name][key]] for key in ("state", "averaged")}
    return out


def coupling_cost(points: int = 5000, steps: int = 100, repeats: int = 3) -> dict[str, Any]:
    """Milliseconds an iteration of Algorithm 3.1 in two dimensions, hybrid and plain in turn; gate and balancing counted.

    Parameters
    ----------
    points : int
        Collocation points; the paper has 25,000.
    steps : int
        Iterations timed at a stretch; a multiple of 100 counts the periodic work fairly.
    repeats : int
        The medians of so many turns are returned.
    """
    rows: dict[str, Any] = {}
    for network in ("ms", "mlp"):
        times = iteration_times(network, points, steps, repeats)
        rows[network] = {f"{method}_ms": value for method, value in times.items()}
        rows[network]["ratio"] = times["hybrid"] / times["pinn"]
    return rows | {"points": points}


def iteration_times(network: str, points: int, steps: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of an iteration in two dimensions, by method; arguments as in :func:`coupling_cost`."""
    ready = {}
    for method in ("pinn", "hybrid"):
        settings = {"sampling.points": str(points), "sampling.boundary_points": str(max(points // 10, 8))}
        config = with_settings(experiments.configuration("heat2d", method, network, "paper"), settings)
        ready[method] = experiments.assemble(experiments.problem_of(config), config, (0,))
        milliseconds(ready[method], 0)
    times = {method: [] for method in ready}
    for _ in range(repeats):
        for method, setup in ready.items():
            times[method].append(milliseconds(setup, steps))
    return {method: statistics.median(values) for method, values in times.items()}


def milliseconds(setup: experiments.Setup, steps: int) -> float:
    """Wall time of the first `steps` iterations of a run, divided by their number; with 0 steps it only compiles."""
    began = time.perf_counter()
    jax.block_until_ready(setup.program.advance(setup.state, setup.data, jnp.asarray(steps, jnp.int32)))
    return 1e3 * (time.perf_counter() - began) / max(steps, 1)


def short_timing(setup: experiments.Setup, seconds: float = 1.0) -> float:
    """Milliseconds an iteration: the least over calls of growing length that take about `seconds` together, at least three.

    The periodic work of step 0 is left out. The first calls also touch memory for the first time and take up to twice as long.
    """
    milliseconds(setup, 0)
    state = setup.state._replace(step=jnp.asarray(1, jnp.int32))
    best, spent, calls, steps = float("inf"), 0.0, 0, 1
    while calls < 3 or spent < seconds:
        began = time.perf_counter()
        jax.block_until_ready(setup.program.advance(state, setup.data, jnp.asarray(1 + steps, jnp.int32)))
        took = time.perf_counter() - began
        best, spent, calls = min(best, took / steps), spent + took, calls + 1
        steps = min(90, 2 * steps)
    return 1e3 * best


def step_cost(config: Config, seeds: tuple[int, ...]) -> float:
    """Milliseconds an iteration of a configuration on this device, all seeds together."""
    return short_timing(experiments.assemble(experiments.problem_of(config), config, seeds))


CALCULATIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "upscaled-coefficients": upscaled_coefficients,
    "consistency-gap": consistency_gap,
    "coupling-cost": coupling_cost,
}


def calculate(name: str) -> dict[str, Any]:
    """The record of a calculation with its passport: seconds, versions, device and source."""
    began = time.perf_counter()
    record = CALCULATIONS[name]()
    config = experiments.configuration("heat2d")
    environment = experiments.environment(config) | {
        "dtype": "float32" if name == "coupling-cost" else "float64"
    }
    return record | {"seconds": round(time.perf_counter() - began, 1), "environment": environment}
