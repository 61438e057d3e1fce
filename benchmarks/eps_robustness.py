"""Error and time of training objectives as ε falls, beside linear finite elements.

    OPENBLAS_NUM_THREADS=1 python benchmarks/eps_robustness.py [--eps 5 10 …] [--methods …] [--seeds 0 1] [--plane] [--out FILE]

Everything but ε and the objective is the same: two-scale network with boundary layers, 2,048 points graded towards the ends, 97
coarse cells (a prime, never in step with a period), 200 Gauss-Newton steps in float64. The quadrature of the defect inside the
coarse cells resolves ε, so its cost grows like 1/ε; it needs first derivatives at its points and no row of the Jacobian for each
of them. The paper's coupling has the weight of the defect's rule, π²K/h². Finite elements: 32 cells a period. Errors are
relative, of the last iterate. The objective ``one-factor`` is the defect with the factor 4x(1 − x) for both terms of the network,
no boundary-layer features and Sobol points. Three objectives make one of these changes alone: ``common-factor``, ``no-features``
and ``even-points``.

In the plane (``--plane``): 23 coarse cells a side, 8,192 graded points, 60 steps, no Ritz finish; linear elements have 32 cells a
period as well.
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
from hybrid_lib.methods.defect import coupling_weight

CELLS, POINTS = 97, 2048
METHODS = (
    "defect", "none", "averaged", "first-order", "one-factor", "common-factor", "no-features", "even-points"
)


def configuration(eps: float, method: str, steps: int) -> experiments.Config:
    """The same sizes for every ε and objective."""
    base = experiments.configuration("heat1d-eps15", optimiser="gauss-newton")
    hybrid = method not in ("none", "first-order")
    layers, factor = method not in ("one-factor", "no-features"), method not in ("one-factor", "common-factor")
    sampler = "sobol" if method in ("one-factor", "even-points") else "graded"
    mesh = experiments.heat1d_problem(eps).domain.mesh(CELLS)
    config = dataclasses.replace(
        base,
        eps=eps,
        method="hybrid" if hybrid else "pinn",
        formulation="first-order" if method == "first-order" else "strong",
        network=dataclasses.replace(base.network, boundary_layers=layers, layer_factor=factor),
        sampling=experiments.SamplingConfig(points=POINTS, sampler=sampler),
        coarse=experiments.CoarseConfig(cells=CELLS, coupling="averaged" if method == "averaged" else "defect"),
        training=dataclasses.replace(base.training, steps=steps, report_every=50),
    )
    if method == "averaged":
        weight = coupling_weight(experiments.heat1d_problem(eps), config, mesh)
        config = dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, weight=weight))
    return config


def plane_configuration(eps: float, method: str, steps: int) -> experiments.Config:
    """The same sizes for every ε; only the pieces of the coarse cells, in which the defect is integrated, follow the period."""
    base = experiments.configuration("heat2d", optimiser="gauss-newton")
    return dataclasses.replace(
        base,
        eps=eps,
        method="pinn" if method == "none" else "hybrid",
        sampling=experiments.SamplingConfig(points=8192, sampler="graded"),
        coarse=dataclasses.replace(base.coarse, cells=23, coupling="defect", pieces=max(1, round(0.1 / eps))),
        training=dataclasses.replace(base.training, steps=steps, report_every=10, finish=0),
    )


def train(eps: float, method: str, seed: int, steps: int, time_limit: float, plane: bool) -> dict:
    """One run."""
    config = (plane_configuration if plane else configuration)(eps, method, steps)
    problem = (experiments.heat2d_problem if plane else experiments.heat1d_problem)(eps, config.experiment)
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


def plane_elements(eps: float) -> dict:
    """Linear elements in the plane, 32 cells a period and no more than 800 a side; one solve, timed after a small one."""
    problem = experiments.heat2d_problem(eps)
    known, cells = experiments.reference(problem), min(800, round(32 / eps))
    experiments.fine_solution(problem, 16)
    start = time.perf_counter()
    u = experiments.fine_solution(problem, cells)
    seconds = time.perf_counter() - start
    mesh = fem.unit_square(cells)
    error = np.asarray(fem.interpolate(mesh, u, known.points)) - known.value
    return {
        "cells": cells,
        "last_rel_l2": float(np.sqrt(known.weights @ error**2) / known.norms()[0]),
        "seconds": seconds,
    }


def main() -> None:
    """Run what is missing and write after every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eps", type=float, nargs="+", help="1/ε; default 5 to 1,000, in the plane 5 to 50")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default all, in the plane defect and none")
    parser.add_argument("--plane", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, help="default 200, in the plane 60")
    parser.add_argument("--time-limit", type=float, default=300.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else {}
    periods = options.eps or ([5, 10, 20, 50] if options.plane else [5, 10, 20, 50, 100, 200, 1000])
    methods = options.methods or (METHODS[:2] if options.plane else METHODS)
    steps, kind = options.steps or (60 if options.plane else 200), "plane " * options.plane
    for inverse in periods:
        if f"{kind}elements/{inverse:g}" not in record:
            record[f"{kind}elements/{inverse:g}"] = (plane_elements if options.plane else elements)(1 / inverse)
        for method in methods:
            for seed in options.seeds:
                key = f"{kind}{method}/{inverse:g}/seed {seed}"
                if key not in record:
                    record[key] = train(1 / inverse, method, seed, steps, options.time_limit, options.plane)
                    print(key, record[key], flush=True)
        config = configuration(1 / inverse, "defect", steps)
        record[f"{kind}environment"] = experiments.environment(config) | {"cores": len(os.sched_getaffinity(0))}
        if options.out:
            training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
