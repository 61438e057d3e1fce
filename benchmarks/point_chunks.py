r"""Points in chunks against all at once: value and gradient of the plain objective at the paper's sizes.

    NPROC=1 OPENBLAS_NUM_THREADS=1 python benchmarks/point_chunks.py [--sizes 125 250 1000] [--rounds 5] [--out FILE]

`products` is the floor: the dense layers' matrix products alone, forwards and backwards, in arrays of the same size.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
from timing import interleave

from hybrid_lib import experiments, training

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "beyond" / "point-chunks.json"
CASES = (("heat2d", "mlp"), ("heat2d", "ms"), ("heat1d-eps100", "ms"), ("heat1d-eps15", "ms"))


def products(config, channels: int):
    """The matrix products of the hidden layers: xW, xᵀdy and, where x depends on θ, dy Wᵀ, for each channel and each scale."""
    inputs = 2 * config.network.frequencies if config.network.kind == "ms" else config.network.widths[0]
    widths = (inputs, *config.network.widths) if config.network.kind == "ms" else config.network.widths
    layers = list(itertools.pairwise(widths))
    fixed = 1 if config.network.kind == "ms" else 0  # layers whose input, the features, does not depend on θ
    pairs = list(enumerate(layers)) * channels * (2 if config.network.kind == "ms" else 1)
    key, points = jax.random.key(0), config.sampling.points
    arrays = {width: jax.random.normal(key, (points, width)) for width in set(widths)}
    kernels = {pair: jax.random.normal(key, pair) for pair in set(layers)}
    forward, back, outer = jax.jit(lambda x, W: x @ W), jax.jit(lambda y, W: y @ W.T), jax.jit(lambda x, y: x.T @ y)

    def run():
        for layer, (a, b) in pairs:
            jax.block_until_ready((forward(arrays[a], kernels[a, b]), outer(arrays[a], arrays[b])))
            if layer >= fixed:
                jax.block_until_ready(back(arrays[b], kernels[a, b]))

    return run


def compare(experiment: str, network: str, sizes: list[int], rounds: int) -> dict:
    """Rows by name: ``whole``, one for each chunk, and ``products``; ratios to ``whole``."""
    config = experiments.configuration(experiment, "pinn", network, "paper")
    made = experiments.assemble(experiments.problem_of(config), config, (0,))
    theta, data = (training.member(tree, 0) for tree in (made.state.members.params, made.data))

    def gradient(chunk: int | None):
        fields = dataclasses.replace(made.objective.fields, chunk=chunk)

        def loss(t):
            found = fields(t, data)
            return sum(jnp.vdot(r, r) for r in (block(found, data, None) for block in made.objective.blocks.values()))

        compiled = jax.jit(jax.value_and_grad(loss))
        return lambda: jax.block_until_ready(compiled(theta))

    runs = {"whole": gradient(None)} | {f"chunks of {size}": gradient(size) for size in sizes}
    channels = experiments.problem_of(config).domain.dimension + 2
    return interleave(runs | {"products": products(config, channels)}, "whole", rounds)


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[125, 250, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    record = {"environment": experiments.environment(experiments.configuration("heat2d")), "cases": {}}
    for experiment, network in CASES:
        rows = compare(experiment, network, options.sizes, options.rounds)
        record["cases"][f"{experiment} {network}"] = rows
        print(experiment, network, {name: round(row["ratio"], 2) for name, row in rows.items()}, flush=True)
    training.write_atomically(options.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
