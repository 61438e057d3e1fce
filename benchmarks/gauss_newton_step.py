r"""Cost of one Gauss-Newton step of the 2-D problem against points and parameters: dense, Woodbury and conjugate gradients.

    python benchmarks/gauss_newton_step.py [--points 2000 8000] [--parameters 700 2800] [--cells 10] [--repeats 3] [--json]

A step is one linearisation of the hybrid objective (residual, and coupling rows of the coarse nodes) at a random θ, one solve
at a fixed λ and one evaluation at the new θ. Prints medians of the interleaved repeats, their spread, and the temporary
memory of the compiled step. A solver is left out where it would need more than ``--memory`` GiB.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time

import jax
import jax.numpy as jnp

from hybrid_lib import experiments, training
from hybrid_lib.training import solvers


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


def steps(points: int, parameters: int, cells: int, limit: float) -> dict[str, dict]:
    """The compiled steps that fit in `limit` bytes, each with its compile time and temporary memory."""
    objective, member, data = setup(points, parameters, cells)
    size = sum(leaf.size for leaf in jax.tree.leaves(member.params))
    options = solvers.SolverOptions()
    table = {}
    for name, solver in solvers.SOLVERS.items():

        def step(theta, data, solver=solver):
            _, _, coarse = training.reduced_loss(objective, theta, member.weights, data, member.coarse)
            model = solver(objective, theta, member.weights, data, coarse, options)
            g = model.gradient
            delta = model.solve(1e-6 * jnp.vdot(g, model.product(g)) / jnp.vdot(g, g))
            flat = training.jacobians.ravel(theta) + delta
            unravel = training.jacobians.unraveller(theta)
            return training.reduced_loss(objective, unravel(flat), member.weights, data, coarse)[0]

        started = time.perf_counter()
        compiled = jax.jit(step).lower(member.params, data).compile()
        memory = compiled.memory_analysis().temp_size_in_bytes
        if memory > limit:
            continue
        run = lambda compiled=compiled: jax.block_until_ready(compiled(member.params, data))  # noqa: E731
        table[name] = {
            "points": points,
            "parameters": size,
            "solver": name,
            "compile_s": time.perf_counter() - started,
            "memory_gib": memory / 2**30,
            "run": run,
        }
        run()
    return table


def measure(table: dict[str, dict], repeats: int) -> list[dict]:
    """Median milliseconds; the solvers take turns, so that a noisy machine hits all alike."""
    samples = {name: [] for name in table}
    for _ in range(repeats):
        for name, row in table.items():
            started = time.perf_counter()
            row["run"]()
            samples[name].append(1e3 * (time.perf_counter() - started))
    return [
        {k: v for k, v in row.items() if k != "run"}
        | {"ms": statistics.median(samples[name]), "spread_ms": max(samples[name]) - min(samples[name])}
        for name, row in table.items()
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[2000, 8000])
    parser.add_argument("--parameters", type=int, nargs="+", default=[700, 2800])
    parser.add_argument("--cells", type=int, default=10, help="coarse cells a side")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that a step may use")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    if not options.json:
        print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, float64")
        print(f"{'points':>8}{'P':>7}  {'solver':<10}{'step':>12}{'spread':>10}{'memory':>12}{'compile':>9}")
    for points in options.points:
        for parameters in options.parameters:
            table = steps(points, parameters, options.cells, options.memory * 2**30)
            for row in measure(table, options.repeats):
                rows.append(row)
                if not options.json:
                    print(
                        f"{row['points']:>8}{row['parameters']:>7}  {row['solver']:<10}{row['ms']:>9.0f} ms"
                        f"{row['spread_ms']:>7.0f} ms{row['memory_gib']:>8.2f} GiB{row['compile_s']:>7.1f} s",
                        flush=True,
                    )
    if options.json:
        print(json.dumps({"device": jax.devices()[0].device_kind, "jax": jax.__version__, "steps": rows}))


if __name__ == "__main__":
    main()
