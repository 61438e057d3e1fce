r"""Cost of one training step: loss and gradient of the strong residual by jets, against nested AD and a plain regression.

    python benchmarks/residual_step.py [--points 25000] [--network ms] [--repeats 5] [--hybrid]

Prints a table: compile time apart, median milliseconds of the interleaved repeats, ratios to the regression step (the floor: one
forward and one reverse pass of the same network at the same points). With ``--hybrid`` it also times full iterations of
Algorithm 3.1 with and without the coupling, gate and balancing included, 200 iterations each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from hybrid_lib import media
from hybrid_lib.ledger.calculations import iteration_times
from hybrid_lib.pinn import domains, networks, sampling
from hybrid_lib.pinn.networks import Ansatz
from hybrid_lib.pinn.residuals import lifted_source, strong_residual


def losses(points: int, kind: str) -> tuple[dict, object]:
    """The competing loss functions of θ, and θ."""
    medium, domain = media.paper_2d(0.1), domains.unit_square()
    network = networks.multiscale_fourier((1.0, 10.0)) if kind == "ms" else networks.mlp()
    ansatz = Ansatz(network, 2)
    theta, fixed = ansatz.init(jax.random.key(0))
    x = sampling.uniform(jax.random.key(1), domain, points, jnp.float32)  # (M, 2)
    K, slope = jax.vmap(medium.conductivity)(x), jax.vmap(medium.divergence)(x)
    f = jax.vmap(lifted_source(lambda z: 0 * z[0], medium.divergence, (1.0, 0.0)))(x)
    embedding = jax.vmap(lambda z: ansatz.embed(fixed, z))(x)

    def squares(residual):
        return jnp.mean(residual**2)

    def by_jets(theta):
        jet = jax.vmap(lambda e: ansatz.jet_of(theta, e))(embedding)
        return squares(jax.vmap(strong_residual)(jet, K, slope, f))

    def nested(second):
        def loss(theta):
            def residual(z, k, s, g):
                u = lambda p: ansatz.value(theta, fixed, p)  # noqa: E731
                return -(k * jnp.trace(second(u)(z)) + s @ jax.grad(u)(z)) - g

            return squares(jax.vmap(residual)(x, K, slope, f))

        return loss

    def regression(theta):
        return squares(jax.vmap(lambda z: ansatz.value(theta, fixed, z))(x) - f)

    return {
        "regression (floor)": regression,
        "jets": by_jets,
        "jacfwd of grad": nested(lambda u: jax.jacfwd(jax.grad(u))),
        "hessian": nested(jax.hessian),
    }, theta


def compare(points: int, kind: str, repeats: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of loss and gradient; the competitors take turns, so that a noisy machine hits all alike."""
    functions, theta = losses(points, kind)
    compiled, table = {}, {}
    for name, loss in functions.items():
        started = time.perf_counter()
        compiled[name] = jax.jit(jax.value_and_grad(loss)).lower(theta).compile()
        table[name] = {"compile_s": time.perf_counter() - started}
        jax.block_until_ready(compiled[name](theta))
    samples = {name: [] for name in functions}
    for _ in range(repeats):
        for name, run in compiled.items():
            started = time.perf_counter()
            jax.block_until_ready(run(theta))
            samples[name].append(1e3 * (time.perf_counter() - started))
    for name, values in samples.items():
        table[name] |= {"ms": statistics.median(values), "spread_ms": max(values) - min(values)}
    floor = table["regression (floor)"]["ms"]
    for row in table.values():
        row["ratio"] = row["ms"] / floor
    return table


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=25_000)
    parser.add_argument("--network", choices=("ms", "mlp"), default="ms")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hybrid", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = compare(options.points, options.network, options.repeats)
    result = {
        "points": options.points,
        "network": options.network,
        "device": jax.devices()[0].device_kind,
        "steps": table,
    }
    if options.hybrid:
        result["iteration_ms"] = iteration_times(
            options.network, options.points, 200, max(2, options.repeats // 2)
        )
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.network}, {options.points} points, {result['device']}, jax {jax.__version__}")
    for name, row in table.items():
        print(
            f"{name:<20}{row['ms']:>10.1f} ms  x{row['ratio']:<6.2f} spread {row['spread_ms']:.1f} ms, "
            f"compile {row['compile_s']:.1f} s"
        )
    print(
        f"jets are {table['jacfwd of grad']['ms'] / table['jets']['ms']:.2f} times faster than jacfwd of grad"
    )
    if options.hybrid:
        plain, hybrid = result["iteration_ms"]["pinn"], result["iteration_ms"]["hybrid"]
        print(f"iteration: plain {plain:.2f} ms, hybrid {hybrid:.2f} ms, x{hybrid / plain:.3f}")


if __name__ == "__main__":
    main()
