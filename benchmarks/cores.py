"""A step of the paper's plane problem on one device and on virtual ones, a core each: what spreading the points gives.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python benchmarks/cores.py [--networks mlp ms] [--rounds 5] [--out FILE]

On an idle machine; "one device" may use all cores, too, inside each operation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
from timing import cores, interleave

from hybrid_lib import experiments, training

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "cores.json"
STEPS = 4
"""Of one call."""


def steps(config: experiments.Config, devices: int):
    """A call that takes some steps, from step 1: the periodic work of step 0 is left out."""
    setup = experiments.assemble(experiments.problem_of(config), config, (0,), devices=devices)
    state = setup.state._replace(step=jnp.asarray(1, jnp.int32))
    until = jnp.asarray(1 + STEPS, jnp.int32)
    return lambda: jax.block_until_ready(setup.program.advance(state, setup.data, until))


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["mlp", "ms"], choices=["mlp", "ms"])
    parser.add_argument("--scale", default="paper", choices=["paper", "quick"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    there = jax.device_count()
    environment = experiments.environment(experiments.configuration("heat2d", scale=options.scale))
    record = {"environment": environment | {"cores": cores()}, "devices": there, "steps": STEPS, "cases": {}}
    for method in ("pinn", "hybrid"):
        for network in options.networks:
            config = experiments.configuration("heat2d", method, network, options.scale)
            found = interleave({f"{n}": steps(config, n) for n in sorted({1, there})}, "1", options.rounds)
            record["cases"][f"{method} {network}"] = found | {"points": config.sampling.points}
            print(method, network, {n: round(1e3 * row["seconds"] / STEPS) for n, row in found.items()}, "ms", flush=True)
    training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
