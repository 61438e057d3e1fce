r"""The memory that a run will need, from shapes alone, before anything is assembled or compiled.

The large arrays are few. With N collocation points, P parameters, k coarse unknowns, C coupling rows, m coarse cells with Q
quadrature points each, and S seeds:

* the points with what the network needs of them (`points`), and its derivatives there (`network`);
* the sensitivity of each coupling row to the fields at all points or cells, C (M + m), and the rows of the Jacobian, C P;
* the normal matrix and its factor, P², or the dual one, N², with the Jacobian, N P;
* the dense coarse factors, k².
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import assemble
from hybrid_lib.fem.memory import free_bytes
from hybrid_lib.methods import Counts, Load, method_of, require_form
from hybrid_lib.methods.cells import rule_of
from hybrid_lib.methods.points import growth
from hybrid_lib.methods.steps import second_order
from hybrid_lib.pinn import splines
from hybrid_lib.problems import Problem
from hybrid_lib.training.solvers import choose

DOUBT = 2.0
"""How far a forecast may be too low: what is suggested has to fit even then. Measured 1.8 at ε = 1/50 in the plane."""
MARGIN = 0.9
"""Part of the free memory that a run may take."""


class Forecast(NamedTuple):
    """Memory of a run in bytes, all seeds together: `total`, and the largest of its parts by name."""

    total: float
    largest: str


def forecast(problem: Problem, config: Config, seeds: int = 1) -> Forecast:
    """Memory that a run needs beside the reference, within a factor of about two; nothing is computed.

    Parameters
    ----------
    problem : Problem
    config : Config
    seeds : int
        They train side by side.

    Examples
    --------
    >>> from hybrid_lib import experiments
    >>> config = experiments.configuration("heat2d", optimiser="gauss-newton")
    >>> forecast(experiments.problem_of(config), config).total < 2e9
    True
    """
    number = jnp.dtype(config.dtype).itemsize
    single = dataclasses.replace(config, dtype="float32", training=dataclasses.replace(config.training, finish=0))
    ansatz, d = method_of(config).ansatz(problem, single), problem.domain.dimension
    theta, fixed = jax.eval_shape(ansatz.init, jax.random.key(0))
    P = sum(math.prod(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(theta) if path[-1].key != splines.LEAF)
    embedded = _size(jax.eval_shape(ansatz.embed, fixed, jax.ShapeDtypeStruct((d,), jnp.float32)))
    neurons = sum(leaf.shape[-1] for leaf in jax.tree.leaves(theta))  # weights and biases of a layer: twice its width
    jet = neurons / 2 * (d + 2)  # values and derivatives of all neurons at one point

    N, load = load_of(problem, config)
    parts = {"points": (N + load.inner) * (embedded + 8.0), "coarse factors": load.factors}
    parts["parameters"] = 6.0 * P  # before and after the step, the best ones, a gradient and two moments
    parts["network"] = 3.0 * (N + load.inner) * jet
    if second_order(config):
        rows = N * load.rows + load.coupling
        parts["coupling rows"] = load.coupling * (2.0 * load.sensitivity + 2.0 * P)
        solver = choose(rows, P)
        parts["normal equations"] = {
            "woodbury": 2.0 * rows * P + 4.0 * rows * rows,
            "dense": 5.0 * P * P,
            "cg": 100.0 * P + 8.0 * (N + load.inner) * jet,
        }[solver]
    total = seeds * number * sum(parts.values())
    return Forecast(total, max(parts, key=parts.get))


def load_of(problem: Problem, config: Config) -> tuple[int, Load]:
    """Number of collocation points, and what the method has beside them."""
    mesh = problem.domain.mesh(config.coarse.cells)
    pieces, order = rule_of(config, mesh)
    rule = pieces**mesh.dimension * len(fem.rule(mesh.dimension, order)[1])
    drawn = config.sampling.points * growth(config.sampling.grow_after, config.training.steps - 1)
    N = len(mesh.cells) * rule if config.sampling.sampler == "gauss" else drawn
    sizes = len(mesh.cells), len(mesh.points), len(mesh.interior_nodes)
    return N, method_of(config).load(Counts(N, *sizes, rule, mesh.dimension))


def seconds_of_a_step(problem: Problem, config: Config, seeds: tuple[int, ...] = (0,)) -> float:
    """Seconds of a training step on this device: the run is assembled and compiled, and its first steps are timed, not kept."""
    setup = assemble(problem, config, seeds)
    nothing_yet = jnp.asarray(0, jnp.int32)
    jax.block_until_ready(setup.program.advance(setup.state, setup.data, nothing_yet))  # compiles
    return training.step_seconds(setup.program, setup.state, setup.data, config.training.steps)


def check_memory(problem: Problem, config: Config, seeds: int = 1) -> None:
    """Refuse a run that will not fit into the memory of the device, and name sizes that do."""
    require_form(problem, method_of(config))
    free, needed = MARGIN * free_memory(), forecast(problem, config, seeds)
    if needed.total <= free:
        return
    remedy = "use a machine with more memory"
    for smaller, words in _smaller(problem, config, seeds):
        size = forecast(problem, smaller).total
        if DOUBT * size <= free:
            remedy = f"set {words}: about {_gigabytes(size)}"
            break
    received = f"about {_gigabytes(needed.total)}, most of it for {needed.largest}"
    raise InputError("memory", f"sizes that fit into {_gigabytes(free)}", received, remedy)


def free_memory() -> float:
    """Bytes that the device has left: of an accelerator, or of this machine within the limit of its group of processes."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return free_bytes()


def _smaller(problem: Problem, config: Config, seeds: int) -> Iterator[tuple[Config, str]]:
    """Smaller runs of one seed, each with the words that ask for it, the least change first."""
    ending = " with one seed" if seeds > 1 else ""
    if seeds > 1:
        yield config, "one seed at a time"
    for part in (1, 2, 4):  # of the widths
        widths = tuple(max(1, width // part) for width in config.network.widths)
        narrow = dataclasses.replace(config, network=dataclasses.replace(config.network, widths=widths))
        words = f"network.widths={','.join(map(str, widths))}" if part > 1 else ""
        if words:
            yield narrow, words + ending
        for changed, more in (*_fewer_cells(problem, narrow), *_fewer_points(narrow)):
            yield changed, " and ".join(filter(None, (more, words))) + ending


def _fewer_cells(problem: Problem, config: Config) -> Iterator[tuple[Config, str]]:
    """Fewer coarse cells, cut into as many more pieces, out of step with the period."""
    if not load_of(problem, config)[1].coupling:
        return
    fine = config.coarse.cells * rule_of(config, problem.domain.mesh(config.coarse.cells))[0]
    cells, repeats = config.coarse.cells, round(1 / config.eps)
    while cells > 4:
        cells = max(4, int(0.8 * cells))
        while repeats > 1 and math.gcd(cells, repeats) > 1 and cells > 4:
            cells -= 1
        coarse, words = dataclasses.replace(config.coarse, cells=cells), f"coarse.cells={cells}"
        if load_of(problem, config)[1].inner or config.sampling.sampler == "gauss":
            coarse = dataclasses.replace(coarse, pieces=math.ceil(fine / cells))
            words += f" and coarse.pieces={coarse.pieces}"
        yield dataclasses.replace(config, coarse=coarse), words


def _fewer_points(config: Config) -> Iterator[tuple[Config, str]]:
    """Half the collocation points, again and again."""
    points = config.sampling.points
    while config.sampling.sampler != "gauss" and points > 500:
        points //= 2
        sampling = dataclasses.replace(config.sampling, points=points)
        yield dataclasses.replace(config, sampling=sampling), f"sampling.points={points}"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.0f} GB" if size >= 1e10 else f"{size / 1e9:.2g} GB"


def _size(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
