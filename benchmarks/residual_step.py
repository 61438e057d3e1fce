r"""Cost of one training step: loss and gradient of the strong residual by jets, against nested AD and plain regressions.

The paper's plane problem in float32, at its 25,000 points if nothing else is asked for. Networks: the paper's Fourier network
``ms``, a perceptron of two layers of 128 (``mlp-2x128``) and the paper's eight layers of 64 (``mlp-8x64``). All steps compute the
same number; how far they differ is recorded. The floor is a regression of the same network at the same points: one forward and
one reverse pass. Jets take features that do not depend on θ from where the points are kept, as training does; so does the second,
lower floor. ``profile`` says where the time of jets goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from timing import digits, interleave, sample

from hybrid_lib import media
from hybrid_lib.pinn import domains, jets, networks, sampling
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.residuals import lifted_source, strong_residual

NETWORKS: dict[str, Callable] = {
    "ms": lambda: networks.multiscale_fourier((1.0, 10.0)),
    "mlp-2x128": lambda: networks.mlp((128, 128)),
    "mlp-8x64": lambda: networks.mlp(),
}
FLOOR, OURS = "regression", "jets"


class Data(NamedTuple):
    """What a step reads at the points: x (M, d), fixed frequencies, features, K (M,), ∇K (M, d), f (M,)."""

    points: jax.Array
    fixed: Any
    embedding: Any
    K: jax.Array
    slope: jax.Array
    source: jax.Array


def problem(network: Callable, points: int) -> tuple[Ansatz, Any, Data]:
    """Trial field, θ and the data of the step."""
    medium, domain = media.paper_2d(0.1), domains.unit_square()
    ansatz = Ansatz(network(), 2)
    theta, fixed = ansatz.init(jax.random.key(0))
    x = sampling.uniform(jax.random.key(1), domain, points, jnp.float32)  # (M, 2)
    K, slope = jax.vmap(medium.conductivity)(x), jax.vmap(medium.divergence)(x)
    f = jax.vmap(lifted_source(lambda z: 0 * z[0], medium.divergence, (1.0, 0.0)))(x)
    return ansatz, theta, Data(x, fixed, jax.vmap(lambda z: ansatz.embed(fixed, z))(x), K, slope, f)


def laplacians() -> dict[str, Callable]:
    """(u, x) -> (∇u, Δu) of the competitors; a string in place of one says why it is left out."""

    def by_hessian(u, x):
        return jax.grad(u)(x), jnp.trace(jax.hessian(u)(x))

    def by_jacfwd(u, x):
        return jax.grad(u)(x), jnp.trace(jax.jacfwd(jax.grad(u))(x))

    def by_grad(u, x):
        slope = jax.grad(u)
        return slope(x), sum(jax.grad(lambda z, i=i: slope(z)[i])(x)[i] for i in range(x.shape[0]))

    def by_taylor(u, x):
        from jax.experimental.jet import jet

        def along(v):
            _, (first, second) = jet(u, (x,), ((v, jnp.zeros_like(v)),))
            return first, second

        first, second = jax.vmap(along)(jnp.eye(x.shape[0], dtype=x.dtype))
        return first, jnp.sum(second)

    found: dict[str, Any] = {
        "hessian": by_hessian,
        "jacfwd of grad": by_jacfwd,
        "grad of grad": by_grad,
        "jax.experimental.jet": by_taylor,
    }
    try:
        import folx
    except ImportError:
        found["folx"] = "folx is not installed"
    else:

        def by_folx(u, x):
            out = folx.forward_laplacian(u)(x)
            return out.jacobian.dense_array, out.laplacian

        found["folx"] = by_folx
    return found


def losses(ansatz: Ansatz) -> dict[str, Any]:
    """The competing losses (θ, data) -> (), floors first."""

    def squares(residual):
        return jnp.mean(residual**2)

    def regression(theta, data):
        values = jax.vmap(lambda z: ansatz.value(theta, data.fixed, z))(data.points)
        return squares(values - data.source)

    def regression_given(theta, data):
        def value(embedding):
            features = [jet.value for jet in embedding.features]
            return ansatz.network.apply({"params": theta}, embedding.point, features, method="head")

        return squares(jax.vmap(value)(data.embedding) - data.source)

    def by_jets(theta, data):
        jet = jax.vmap(lambda e: ansatz.jet_of(theta, e))(data.embedding)
        return squares(jax.vmap(strong_residual)(jet, data.K, data.slope, data.source))

    def nested(derivatives):
        def loss(theta, data):
            def residual(x, K, slope, f):
                gradient, laplacian = derivatives(lambda z: ansatz.value(theta, data.fixed, z), x)
                return -(K * laplacian + slope @ gradient) - f

            return squares(jax.vmap(residual)(data.points, data.K, data.slope, data.source))

        return loss

    rivals = {name: way if isinstance(way, str) else nested(way) for name, way in laplacians().items()}
    return {FLOOR: regression, "regression, features given": regression_given, OURS: by_jets} | rivals


def compare(network: Callable, points: int, rounds: int) -> dict[str, Any]:
    """Rows of one network, ratios to the floor; `skipped` says who is left out and why."""
    ansatz, theta, data = problem(network, points)
    runs, notes, skipped, values = {}, {}, {}, {}
    for name, loss in losses(ansatz).items():
        if isinstance(loss, str):
            skipped[name] = loss
            continue
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # folx relies on both
            step, took = compiled(jax.value_and_grad(loss), theta, data)
        memory = step.memory_analysis().temp_size_in_bytes
        notes[name] = {"compile": took, "temporary_mib": digits(memory / 2**20)}
        runs[name] = lambda step=step: jax.block_until_ready(step(theta, data))
        values[name] = float(runs[name]()[0])
    table = interleave(runs, FLOOR, rounds, settle=True)
    for name, row in table.items():
        row |= notes[name]
    exact = [value for name, value in values.items() if not name.startswith(FLOOR)]
    return {
        "points": points,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(theta)),
        "steps": table,
        "skipped": skipped,
        "largest_difference": digits(max(abs(v / exact[0] - 1) for v in exact)),
    }


def compiled(function: Callable, *arguments):
    """A compiled function and the seconds that compiling took."""
    found = []
    took = sample(lambda: found.append(jax.jit(function).lower(*arguments).compile()))
    return found[0], digits(took["wall"])


def profile(points: int, rounds: int, width: int = 128) -> dict[str, Any]:
    """Parts of the Ms step on the same shapes, each as a program of its own, with the step beside them.

    ``products`` is every matrix product of the step: forward, and in reverse for kernels and inputs (features need none).
    ``activations`` is all of both activation layers, forward and reverse, tanh with it; ``tanh`` is the function alone, as often;
    ``copy`` reads and writes the four arrays of one layer's jets once.
    """
    ansatz, theta, data = problem(
        lambda: networks.multiscale_fourier((1.0, 10.0), (width,) * 2, width // 2), points
    )
    scales, key, shape = 2, jax.random.key(2), (points, width)
    parts = [jax.random.normal(k, shape, jnp.float32) for k in jax.random.split(key, 4 * scales)]
    kernels = [p[:width] / width**0.5 for p in parts[:2]]

    def products(kernels, parts):
        def total(kernels):
            return sum(jnp.vdot((p @ kernels[0]) @ kernels[1], p) for p in parts)

        return jax.value_and_grad(total)(kernels)

    def only_tanh(parts):
        return [jnp.tanh(p) for p in parts[: 2 * scales]]

    def activations(parts):
        def total(jet, bar):
            made = jets.tanh(jets.Jet(jet[0], (jet[1], jet[2]), jet[3]))
            return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(made), bar, strict=True))

        inputs = [parts[4 * k : 4 * k + 4] for k in range(scales)]
        return [jax.value_and_grad(total)(jet, bar) for jet in inputs for bar in inputs]

    step = jax.value_and_grad(losses(ansatz)[OURS])
    arguments = {
        "step": (step, theta, data),
        "products": (products, kernels, parts),
        "activations": (activations, parts),
        "tanh": (only_tanh, parts),
        "copy": (lambda parts: [p + 1 for p in parts[:4]], parts),
    }
    runs = {}
    for name, (function, *given) in arguments.items():
        program, _ = compiled(function, *given)
        runs[name] = lambda program=program, given=given: jax.block_until_ready(program(*given))
    products_done = (
        5  # of each array: two layers forward, two for their kernels, one for the inputs of the second
    )
    floating = 2 * scales * 4 * points * width * width * products_done
    found = interleave(runs, "step", rounds)
    found["products"]["gflops"] = digits(floating / found["products"]["seconds"] / 1e9)
    found["copy"]["gib_per_second"] = digits(8 * points * width * 4 / found["copy"]["seconds"] / 2**30)
    return {"points": points, "parts": found}


def small():
    """The network of a smoke run."""
    return networks.multiscale_fourier((1.0,), (4,), 2)


def measure(kind: str, smoke: bool, points: int) -> dict[str, Any]:
    """One of the parts ``residual-…``."""
    return compare(small, 64, 2) if smoke else compare(NETWORKS[kind], points, 5)


def measure_profile(smoke: bool, points: int) -> dict[str, Any]:
    """The part ``profile``."""
    return profile(256, 2, 4) if smoke else profile(points, 5)
