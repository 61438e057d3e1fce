r"""Cost of one Gauss-Newton step of the plane problem against points and parameters: dense, Woodbury and conjugate gradients.

A step is one linearisation of the hybrid objective (residual, and coupling rows of the coarse nodes) at a random θ, one solve
at a fixed λ and one evaluation at the new θ. A solver is left out where its compiled step needs more memory than `MEMORY` or
its first run takes longer than `PATIENCE`; the record says which. `step_difference` is the relative distance of its δ from that
of the dense solver: conjugate gradients stop after 200 products and may not have converged.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from timing import digits, interleave, sample

from hybrid_lib import experiments, training
from hybrid_lib.training import solvers

MEMORY, PATIENCE = 4 * 2**30, 8.0
SIZES = ((700, 3000), (2000, 1000), (8000, 300), (2000, 6000))
"""Points and parameters, both rounded by :func:`setup`."""


def widths(parameters: int) -> tuple[int, int]:
    """Two equal hidden layers of a network on the plane with about `parameters` parameters: P = w² + 5w + 1."""
    w = round((-5 + (25 + 4 * (parameters - 1)) ** 0.5) / 2)
    return (w, w)


def setup(points: int, parameters: int, cells: int):
    """Objective, member and data of one seed, float64."""
    config = experiments.configuration("heat2d", "hybrid", "mlp", "quick")
    config = dataclasses.replace(
        config,
        dtype="float64",
        boundary="hard",
        network=dataclasses.replace(config.network, widths=widths(parameters)),
        sampling=dataclasses.replace(config.sampling, points=points),
        coarse=dataclasses.replace(config.coarse, cells=cells, coupling="averaged"),
    )
    made = experiments.assemble(experiments.problem_of(config), config, (0,))
    return made.objective, training.member(made.state.members, 0), training.member(made.data, 0)


def compare(
    points: int, parameters: int, cells: int, rounds: int, names: tuple[str, ...] = tuple(solvers.SOLVERS)
) -> dict[str, Any]:
    """Rows of the solvers at one size, ratios to the fastest by its first run."""
    objective, member, data = setup(points, parameters, cells)
    options = solvers.SolverOptions()
    runs, notes, skipped, deltas, first = {}, {}, {}, {}, {}
    for name in names:

        def step(theta, data, solver=solvers.SOLVERS[name]):
            _, _, coarse = training.reduced_loss(objective, theta, member.weights, data, member.coarse)
            model = solver(objective, theta, member.weights, data, coarse, options)
            g = model.gradient
            delta = model.solve(1e-6 * jnp.vdot(g, model.product(g)) / jnp.vdot(g, g))
            flat = training.jacobians.ravel(theta) + delta
            unravel = training.jacobians.unraveller(theta)
            return training.reduced_loss(objective, unravel(flat), member.weights, data, coarse)[0], delta

        made = []
        took = sample(
            lambda made=made, step=step: made.append(jax.jit(step).lower(member.params, data).compile())
        )
        memory = made[0].memory_analysis().temp_size_in_bytes
        if memory > MEMORY:
            skipped[name] = f"needs {memory / 2**30:.1f} GiB"
            continue
        run = lambda compiled=made[0]: jax.block_until_ready(compiled(member.params, data))  # noqa: E731
        first[name] = sample(lambda run=run, name=name: deltas.update({name: run()[1]}))["cpu"]
        if first[name] > PATIENCE:
            skipped[name] = f"one step takes {first[name]:.0f} s"
            continue
        runs[name] = run
        notes[name] = {"compile": digits(took["wall"]), "temporary_mib": digits(memory / 2**20)}
    table = interleave(runs, min(runs, key=first.get), rounds)
    exact = deltas["dense"]
    for name, row in table.items():
        off = jnp.linalg.norm(deltas[name] - exact) / jnp.linalg.norm(exact)
        row |= notes[name] | {"step_difference": digits(float(off))}
    return {
        "points": points,
        "residuals": points + (cells - 1) ** 2,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(member.params)),
        "solvers": table,
        "skipped": skipped,
        "fastest": min(table, key=lambda name: table[name]["seconds"]),
    }


def measure(smoke: bool) -> dict[str, Any]:
    """The part ``gauss-newton``."""
    if smoke:
        return {"sizes": [compare(600, 60, 4, 2, ("dense", "woodbury"))]}
    return {"sizes": [compare(points, parameters, 10, 3) for points, parameters in SIZES]}
