"""The hypercircle in the plane, the same sizes for seven media of a small length of 1/10: errors, bounds and seconds.

    python benchmarks/hypercircle_media.py [--media NAME …] [--seeds 11 12] [--out FILE]

Errors are those against linear elements, whose own error stands beside them; where the two are close, the bound is the judge.
Rows that exist are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import experiments, media, training
from hybrid_lib.experiments.assemble import evaluator
from hybrid_lib.experiments.environment import environment
from hybrid_lib.methods.hypercircle import energy_error

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "hypercircle-media.json"
PERIOD = 0.1


def inclusions(contrast: float) -> media.Medium:
    """Squares of half a period a side, on pixels of an eighth of it."""
    cell = np.zeros((8, 8))
    cell[2:6, 2:6] = 1.0
    return media.raster(np.tile(cell, (10, 10)), alpha=1.0, beta=contrast)


def varying(x: jax.Array) -> jax.Array:
    """Locally periodic: the amplitude changes over the square."""
    wave = jnp.sin(2 * jnp.pi * x[0] / PERIOD) + jnp.sin(2 * jnp.pi * x[1] / PERIOD)
    return 3.0 + (0.4 + x[0] * x[1]) * wave


def knots(x: jax.Array) -> jax.Array:
    """A product of waves in the exponent: no sum of functions of one coordinate, contrast 20."""
    return jnp.exp(1.5 * jnp.sin(2 * jnp.pi * x[0] / PERIOD) * jnp.sin(2 * jnp.pi * x[1] / PERIOD))


MEDIA = {
    "knots": lambda: media.from_function(knots, 2, period=PERIOD),
    "locally periodic": lambda: media.from_function(varying, 2),
    "random smooth": lambda: media.random_smooth(jax.random.key(0), 2, PERIOD / 2, sigma=0.5, period=1.0),
    "tensor": lambda: media.tensor((1.0, 5.0), np.pi / 6, media.paper_2d(PERIOD)),
    "layers 1 : 10": lambda: media.layered([1.0, 10.0], direction=0, period=PERIOD, dimension=2),
    "inclusions 1 : 10": lambda: inclusions(10.0),
    "inclusions 1 : 1000": lambda: inclusions(1000.0),
}


def main() -> None:
    """Run what is missing and write the record after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", nargs="+", choices=list(MEDIA), default=list(MEDIA))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12])
    parser.add_argument("--steps", type=int, help="for a smoke run")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    record = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    for seed in options.seeds:
        for name in options.media:
            if any(r["medium"] == name and r["seed"] == seed for r in record["rows"]):
                continue
            record["rows"].append(row(name, seed, options.steps))
            config = experiments.own_configuration(experiments.own_problem(MEDIA[name](), 1.0), PERIOD, formulation="hypercircle")
            record["environment"] = environment(config) | {"cores": len(os.sched_getaffinity(0))}
            print(record["rows"][-1], flush=True)
            options.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def row(name: str, seed: int, steps: int | None) -> dict:
    """One run: the bound, errors against elements, and those of the elements."""
    problem = experiments.own_problem(MEDIA[name](), 1.0)
    config = experiments.own_configuration(problem, PERIOD, formulation="hypercircle", steps=steps)
    began = time.process_time()
    run = experiments.train(problem, config, (seed,), reference=None)
    seconds = time.process_time() - began
    exact = experiments.reference(problem)
    theta, fixed = run.parameters(0), training.member(run.setup.data["fixed"], 0)
    alone = jax.tree.map(lambda leaf: leaf[None], (theta, {"fixed": fixed}))
    found = {key: float(values[0]) for key, values in evaluator(run.setup.ansatz, exact)(*alone).items()}
    said = run.summary["seeds"][0]
    return {
        "medium": name, "seed": seed, "status": said["status"], "bound": said["bound"], "bound_mean": said["bound_mean"],
        "rel_energy": energy_error(problem, run.setup.ansatz, theta, fixed, exact), "elements_h1": exact.error_h1,
        "elements_l2": exact.error, "cpu_seconds": seconds, "steps": config.training.steps,
    } | found  # fmt: skip


if __name__ == "__main__":
    main()
