"""Errors of the defect coupling with Gauss-Newton at its quick scale, seed by seed.

    OPENBLAS_NUM_THREADS=1 python benchmarks/defect_seeds.py [--seeds 0 1 2 3 4] [--experiments …] [--time-limit 300] [--out FILE]

Every seed is a run of its own. Prints a line a seed and writes one JSON: errors of the last iterate and, where the run has a
finish, after it; seconds of both together (compilation apart), device and versions. The small dense factorisations are fastest
with one BLAS thread, hence the variable.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np

from hybrid_lib import experiments, training


def kept(result: experiments.RunResult) -> dict:
    """What a record keeps of a run with one seed."""
    row = result.summary["seeds"][0]
    keys = ("seed", "rel_l2", "rel_h1", "last_rel_l2", "last_rel_h1", "seconds", "status", "finish_steps")
    return {key: row[key] for key in keys if key in row} | {
        "steps": result.summary["steps"],
        "compile_seconds": round(result.fit.compile_seconds, 1),
    }


def rows(name: str, seeds: list[int], time_limit: float, corrector: bool) -> list[dict]:
    """One row a seed."""
    out = []
    for seed in seeds:
        config = experiments.configuration(name, optimiser="gauss-newton")
        changes = {"coarse.coupling": "defect", "network.corrector": str(corrector).lower()}
        config = experiments.with_settings(config, changes)
        result = experiments.run(config, (seed,), time_limit=time_limit)
        second = result.quadrature_error()
        keep = kept(result) | {"cores": len(os.sched_getaffinity(0))}
        keep |= {"defect": float(second.defect), "quadrature_error": float(second.error)}
        out.append(keep)
        print(name, keep, flush=True)
    return out


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--experiments", nargs="+", default=["heat1d-eps15", "heat1d-eps100", "heat2d"])
    parser.add_argument("--corrector", action="store_true", help="correct the expansion of homogenisation")
    parser.add_argument("--time-limit", type=float, default=300.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else {}
    for name in options.experiments:
        found = rows(name, options.seeds, options.time_limit, options.corrector)
        errors = [row["rel_l2"] for row in found]
        record[f"{name}-corrector" if options.corrector else name] = {
            "median_rel_l2": float(np.median(errors)),
            "median_rel_h1": float(np.median([row["rel_h1"] for row in found])),
            "worst_rel_l2": float(np.max(errors)),
            "seeds": found,
            "environment": experiments.environment(experiments.configuration(name, optimiser="gauss-newton")),
        }
        if options.out:
            training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
