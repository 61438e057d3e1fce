"""Cost of an iteration of Algorithm 3.1 with and without the coupling, and the memory of both programs.

All is counted: sampling data are at hand, gate and balancing run every hundredth iteration. An iteration that does both is timed
apart from those that do neither, and the mean of a hundred is (99 · ordinary + 1 · periodic)/100.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from timing import digits, rows, sample

from hybrid_lib import experiments

METHODS = ("pinn", "hybrid")


def program(method: str, network: str, smoke: bool, points: int, experiment: str = "heat2d"):
    """Compiled slice, and what it starts from: the experiment at the paper's sizes, or a small one on the interval."""
    if smoke:
        config = experiments.configuration("heat1d-eps15", method, network, "quick")
        config = experiments.with_settings(config, {"network.widths": "8", "sampling.points": "128"})
    else:
        config = experiments.configuration(experiment, method, network, "paper")
        points = min(points, config.sampling.points)
        config = experiments.with_settings(config, {"sampling.points": str(points)})
    setup = experiments.assemble(experiments.problem_of(config), config, (0,))
    end = jnp.asarray(0, jnp.int32)
    return setup.program.advance.lower(setup.state, setup.data, end).compile(), setup


def compare(
    network: str, smoke: bool, points: int, rounds: int, ordinary: int, experiment: str = "heat2d"
) -> dict[str, Any]:
    """Rows of the plain and of the hybrid iteration, ratio to the plain one."""
    ready = {method: program(method, network, smoke, points, experiment) for method in METHODS}
    samples: dict[str, list] = {method: [] for method in METHODS}
    parts: dict[str, list] = {
        f"{method}, {kind}": [] for method in METHODS for kind in ("ordinary", "periodic")
    }

    def seconds(method: str, first: int, steps: int) -> dict[str, float]:
        advance, setup = ready[method]
        state = setup.state._replace(step=jnp.asarray(first, jnp.int32))
        end = jnp.asarray(first + steps, jnp.int32)
        taken = sample(lambda: jax.block_until_ready(advance(state, setup.data, end)))
        return {kind: value / steps for kind, value in taken.items()}

    for method in METHODS:
        seconds(method, 0, 1)
    for _ in range(rounds):
        for method in METHODS:
            every = ready[method][1].program.options.gate_every
            usual, periodic = seconds(method, 1, ordinary), seconds(method, 0, 1)
            parts[f"{method}, ordinary"].append(usual)
            parts[f"{method}, periodic"].append(periodic)
            samples[method].append({k: ((every - 1) * usual[k] + periodic[k]) / every for k in usual})
    table = rows(samples, "pinn")
    memory = {method: ready[method][0].memory_analysis() for method in METHODS}
    for method, row in table.items():
        row["temporary_mib"] = digits(memory[method].temp_size_in_bytes / 2**20)
        row["arguments_mib"] = digits(memory[method].argument_size_in_bytes / 2**20)
    temporary = {method: table[method]["temporary_mib"] for method in METHODS}
    return {
        "points": ready["pinn"][1].config.sampling.points,
        "iterations": table,
        "kinds": rows(parts, "pinn, ordinary"),
        "memory_ratio": digits(temporary["hybrid"] / temporary["pinn"]),
    }


def measure(network: str, smoke: bool, points: int) -> dict[str, Any]:
    """One of the parts ``iteration-…``."""
    return compare(network, smoke, points, *((2, 1) if smoke else (5, 2)))


def measure_interval(smoke: bool, points: int) -> dict[str, Any]:
    """The part ``iteration-interval``: ε = 1/15, the paper's 2,000 points."""
    return compare("ms", smoke, points, *((2, 1) if smoke else (7, 20)), "heat1d-eps15")
