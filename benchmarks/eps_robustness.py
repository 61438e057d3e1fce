"""Error and time of four training objectives as ε falls, one dimension, beside linear finite elements.

    OPENBLAS_NUM_THREADS=1 python benchmarks/eps_robustness.py [--eps 5 10 20 …] [--methods …] [--seeds 0 1 2] [--out FILE]

Everything but ε and the objective is the same: two-scale network, 2,048 Sobol points, 97 coarse cells (a prime, never in step
with a period), 300 Gauss-Newton steps in float64. The quadrature of the defect inside the coarse cells resolves ε, so its
cost grows like 1/ε; it needs first derivatives at its points and no row of the Jacobian for each of them. The paper's coupling
has the weight of the defect's rule, π²K/h². Finite elements: 32 cells a period. Errors are relative, of the last iterate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
from defect_seeds import kept

from hybrid_lib import experiments, fem, training
from hybrid_lib.experiments.assemble import coupling_weight

CELLS, POINTS = 97, 2048
METHODS = ("defect", "none", "averaged", "first-order")


def configuration(eps: float, method: str, steps: int) -> experiments.Config:
    """The same sizes for every ε and objective."""
    base = experiments.configuration("heat1d-eps15", optimiser="gauss-newton")
    hybrid = method in ("defect", "averaged")
    mesh = experiments.heat1d_problem(eps).domain.mesh(CELLS)
    config = dataclasses.replace(
        base,
        eps=eps,
        method="hybrid" if hybrid else "pinn",
        formulation="first-order" if method == "first-order" else "strong",
        sampling=experiments.SamplingConfig(points=POINTS, sampler="sobol"),
        coarse=experiments.CoarseConfig(cells=CELLS, coupling=method if hybrid else "averaged"),
        training=dataclasses.replace(base.training, steps=steps, report_every=50),
    )
    if method == "averaged":
        weight = coupling_weight(experiments.heat1d_problem(eps), config, mesh)
        config = dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, weight=weight))
    return config


def train(eps: float, method: str, seed: int, steps: int, time_limit: float) -> dict:
    """One run."""
    config = configuration(eps, method, steps)
    problem = experiments.heat1d_problem(eps, config.experiment)
    return kept(experiments.train(problem, config, (seed,), time_limit=time_limit))


def elements(eps: float) -> dict:
    """Linear elements, 32 cells a period: assembly and solution timed, the median of five."""
    problem = experiments.heat1d_problem(eps)
    known, cells = experiments.reference(problem), round(32 / eps)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        u = experiments.fine_solution(problem, cells)
        seconds.append(time.perf_counter() - start)
    x = known.points[:, 0]
    nodes = fem.interval(cells).points[:, 0]
    error = np.interp(x, nodes, u) - known.value
    slope = (np.diff(u) / np.diff(nodes))[np.clip(np.searchsorted(nodes, x) - 1, 0, cells - 1)]
    norm_l2, norm_h1 = known.norms()
    return {
        "cells": cells,
        "last_rel_l2": float(np.sqrt(known.weights @ error**2) / norm_l2),
        "last_rel_h1": float(np.sqrt(known.weights @ (slope - known.gradient[:, 0]) ** 2) / norm_h1),
        "seconds": float(np.median(seconds)),
    }


def main() -> None:
    """Run what is missing and write after every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eps", type=float, nargs="+", default=[5, 10, 20, 50, 100, 200, 1000], help="1/ε")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    for inverse in options.eps:
        record.setdefault(f"elements/{inverse:g}", elements(1 / inverse))
        for method in options.methods:
            for seed in options.seeds:
                key = f"{method}/{inverse:g}/seed {seed}"
                if key not in record:
                    record[key] = train(1 / inverse, method, seed, options.steps, options.time_limit)
                    print(key, record[key], flush=True)
        config = configuration(1 / inverse, "defect", options.steps)
        record["environment"] = experiments.environment(config) | {"cores": len(os.sched_getaffinity(0))}
        if options.out:
            training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
