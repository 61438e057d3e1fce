"""Adam on the paper's Fourier network with no coupling, the averaged one and the defect, over decades of the weight τ₂.

    OPENBLAS_NUM_THREADS=1 python benchmarks/adam_couplings.py [--experiments …] [--weights 1e1 … 1e7] [--steps 10000] [--out …]

Everything but the coupling is the same: network, initial parameters, Gauss points, coarse mesh, learning rate, number of
steps. The mesh is that of the Gauss-Newton runs. The weight stays what it is at the start (no balancing), the rule's
weight of the defect is one of the weights of both couplings. Writes errors of the last iterate and of the one with the
smallest strong residual (``best_…``) after every run, so that an interrupted sweep goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp

from hybrid_lib import experiments, training
from hybrid_lib.methods.defect import coupling_weight


def configuration(name: str, coupling: str, options: argparse.Namespace) -> experiments.Config:
    """The paper's Fourier network at this width, on the points and the coarse mesh of the Gauss-Newton runs."""
    newton = experiments.configuration(name, optimiser="gauss-newton")
    steps, width = options.steps, options.width
    return dataclasses.replace(
        newton,
        method="pinn" if coupling == "none" else "hybrid",
        dtype=options.dtype,
        network=experiments.NetworkConfig("ms", (width, width), frequencies=options.frequencies or width),
        coarse=dataclasses.replace(newton.coarse, coupling="averaged" if coupling == "none" else coupling),
        training=experiments.TrainingConfig(
            steps=steps,
            learning_rate=options.learning_rate,
            decay_every=max(1, 3 * steps // 20),  # 0.15 of the first rate at the end
            balance_every=0,
            record_every=max(1, steps // 100),
            report_every=max(1, steps // 20),
            select="last",
        ),
    )


def sweep(name: str, coupling: str, weights: list[float], options, record: dict, save) -> None:
    """Train for each weight from the same start; one compiled program."""
    config = configuration(name, coupling, options)
    problem, setup = experiments.problem_of(config), None
    for weight in weights:
        rate = options.learning_rate
        size = f"width {options.width}/frequencies {options.frequencies or options.width}"
        key = f"{name}/{coupling}/{weight:.6g}/{options.dtype}/{size}/rate {rate:g}/seed {options.seed}"
        if key in record:
            continue
        setup = setup or experiments.assemble(problem, config, (options.seed,))
        members = setup.state.members
        if coupling != "none":
            like = members.weights["coupling"]
            fixed = members.weights | {"coupling": jnp.full_like(like, weight)}
            members = members._replace(weights=fixed)
        start = dataclasses.replace(setup, state=setup.state._replace(members=members))
        run = experiments.train(problem, config, (options.seed,), setup=start, time_limit=options.time_limit)
        row, columns = run.summary["seeds"][0], run.fit.evaluations
        terms = {k: float(v[-1, 0]) for k, v in run.fit.history.items() if k.startswith("loss/")}
        record[key] = {
            "experiment": name, "coupling": coupling, "weight": weight, "seed": options.seed,
            "dtype": options.dtype, "learning_rate": rate, "width": options.width,
            "frequencies": options.frequencies or options.width,
            "rel_l2": row["last_rel_l2"], "rel_h1": row["last_rel_h1"],
            "best_rel_l2": row["best_rel_l2"], "best_rel_h1": row["best_rel_h1"], "steps": run.summary["steps"],
            "seconds": row["seconds"], "status": row["status"], "terms": terms,
            "history": {k: [float(x) for x in v.ravel()] for k, v in columns.items()},
        }  # fmt: skip
        print(key, {k: record[key][k] for k in ("rel_l2", "rel_h1", "best_rel_l2", "seconds")}, flush=True)
        save()


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", nargs="+", default=["heat1d-eps15", "heat1d-eps100"])
    parser.add_argument("--couplings", nargs="+", default=["none", "defect", "averaged"])
    parser.add_argument("--weights", type=float, nargs="+", default=[10.0**k for k in range(-1, 8)])
    parser.add_argument("--no-rule", action="store_true", help="leave the rule's weight out")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--frequencies", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--time-limit", type=float, default=240.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    done = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else {"runs": {}}

    def save() -> None:
        if options.out:
            training.write_atomically(options.out, (json.dumps(done, indent=1) + "\n").encode())

    for name in options.experiments:
        for coupling in options.couplings:
            config = configuration(name, "defect", options)
            problem = experiments.problem_of(config)
            rule = coupling_weight(problem, config, problem.domain.mesh(config.coarse.cells))
            done |= {"environment": experiments.environment(config)}
            done.setdefault("rule", {})[name] = rule
            weights = [0.0] if coupling == "none" else options.weights + ([] if options.no_rule else [rule])
            sweep(name, coupling, weights, options, done["runs"], save)


if __name__ == "__main__":
    main()
