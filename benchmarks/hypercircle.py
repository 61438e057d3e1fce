r"""The hypercircle in the plane, the same sizes for every period, beside spectral elements on the same problem.

    python benchmarks/hypercircle.py [--periods 10 100] [--seeds 11 12 13] [--windows N | --without | --elements] [--out FILE]

Each seed is a run of its own. The first of a period compiles its three programs (one for each number of points), the others find
them: `seconds` of the first row of a period hold the compilation of the second and third. Rows that exist are not run again. With
--windows the rows are those of N + 1 windows an axis with a small network each, without spectral elements beside them; with
--without those without the coarse splines, 100 steps and twice as many points in the finish; --elements are spectral elements
alone, whose error is left out where the degree of the reference is too near to theirs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import jax
import numpy as np

from hybrid_lib import experiments, fem, training
from hybrid_lib.experiments import sharp
from hybrid_lib.experiments.assemble import evaluator
from hybrid_lib.experiments.environment import environment
from hybrid_lib.experiments.sharp import spectral_reference
from hybrid_lib.fem.spectral import solve_spectral
from hybrid_lib.methods import hypercircle
from hybrid_lib.methods.hypercircle import energy_error
from hybrid_lib.pinn import splines

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "hypercircle.json"
NEAR = 3
"""Degrees by which a reference has to be above the elements that it judges."""
KEPT = ("seed", "bound", "bound_mean", "bound_source", "seconds", "status")


def main() -> None:
    """Run what is missing and write the record after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--periods", type=int, nargs="+", default=[100, 10, 1000, 20, 50, 200], help="1/ε")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--windows", type=int)
    parser.add_argument("--without", action="store_true")
    parser.add_argument("--elements", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text()) if options.out.exists() else {"rows": [], "elements": [], "environment": None}

    plain = options.windows is None and not options.without
    rows = record["rows"] if plain else record.setdefault("without" if options.without else "windowed", [])
    if options.without:
        hypercircle.FINISH = 4

    def write() -> None:
        options.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    for m in options.periods:
        settings = {"eps": repr(1 / m)} | ({} if options.windows is None else {"network.subdomains": options.windows})
        settings |= {"network.coarse_cells": "none", "training.steps": "100"} if options.without else {}
        network = None if options.windows is None else "windowed"
        config = experiments.with_settings(
            experiments.configuration("heat2d", network=network, formulation="hypercircle"), settings
        )
        problem = experiments.problem_of(config)
        if plain:
            record["environment"] = environment(config) | {"cores": len(os.sched_getaffinity(0))}
        if options.elements and m <= 250:
            others = [r for r in record["elements"] if r["periods"] != m]
            record["elements"] = others + elements(problem, m, spectral_reference(problem))
            write()
            continue
        missing = [s for s in options.seeds if not any(r["periods"] == m and r["seed"] == s for r in rows)]
        exact = None
        if missing and m <= 250:
            exact = spectral_reference(problem)
            if plain and not any(r["periods"] == m for r in record["elements"]):
                record["elements"] += elements(problem, m, exact)
        for k, seed in enumerate(missing):
            began = time.process_time()
            run = experiments.train(problem, config, (seed,), reference=None)
            spent = time.process_time() - began
            row = {name: run.summary["seeds"][0].get(name) for name in KEPT} | errors(run, exact)
            row |= {"periods": m, "cold": k == 0, "cpu_seconds": spent, "source": environment(config)["source"]}
            trained, coarse = zip(*map(splines.moving, run.parameters(0).values()), strict=True)
            row |= {"steps": config.training.steps}
            row |= {"parameters": size(trained), "coarse": size(coarse)}
            row |= {} if options.windows is None else {"windows": options.windows}
            rows.append(row)
            print(row, flush=True)
            write()


def size(tree) -> int:
    """How many numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def errors(run, exact) -> dict:
    """Errors of the last iterate, outside of the clock; none without a reference."""
    if exact is None:
        return dict.fromkeys(("rel_l2", "rel_h1", "rel_energy", "efficiency"))
    setup, theta = run.setup, run.parameters(0)
    fixed = training.member(setup.data["fixed"], 0)
    alone = jax.tree.map(lambda leaf: leaf[None], (theta, {"fixed": fixed}))
    found = {name: float(values[0]) for name, values in evaluator(setup.ansatz, exact)(*alone).items()}
    off = energy_error(setup.problem, setup.ansatz, theta, fixed, exact)
    return found | {"rel_energy": off, "efficiency": run.summary["seeds"][0]["bound"] / off}


def elements(problem, m: int, exact) -> list[dict]:
    """Spectral elements of lower degree, one cell a period: error against the reference, and seconds."""
    rows = []
    K, q = (lambda x: fem.evaluate(problem.medium.conductivity, x)), (lambda x: fem.evaluate(problem.source, x))
    solve_spectral(K, q, problem.direction, 2, 8)  # compiles what evaluates medium and source
    sharpest = min(sharp.DEGREE, sharp.MOST_NODES // m) - NEAR
    for degree in (8, 12, 14, 16):
        if degree * m > 3400:
            continue
        seconds = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            field = solve_spectral(K, q, problem.direction, m, degree)
            seconds.append((time.process_time() - cpu, time.perf_counter() - wall))
            if sum(wall for _, wall in seconds) > 30:
                break
        cpu, wall = min(seconds)
        order = round(math.sqrt(len(exact.points)) / m)
        _, w, value, gradient = field.at_gauss(order)
        off = w @ (value - exact.value) ** 2, w @ np.sum((gradient - exact.gradient) ** 2, axis=1)
        l2, h1 = np.sqrt(off) / exact.norms() if degree <= sharpest else (None, None)
        rows.append({"periods": m, "degree": degree, "rel_l2": l2, "rel_h1": h1, "seconds": wall, "cpu_seconds": cpu})
    return rows


if __name__ == "__main__":
    main()
