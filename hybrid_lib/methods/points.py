r"""The points of a run and what is known there, as pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.methods.cells import gauss_points
from hybrid_lib.pinn import phases, sampling
from hybrid_lib.problems import Problem

Tree = Any
LAYERS = 2.0
"""Width of the layers of the sampler ``graded``, in periods."""
GROWTH = 4
"""Points grow by this factor, twice."""
REDRAWS = 20
"""How often points are drawn anew, after the first step, when what is made of them refuses them."""


def sampler(
    problem: Problem,
    config: Config,
    ansatz: Any,
    seeds: Sequence[int],
    fixed: list[Tree],
    coefficients: Callable[[Array], dict[str, Array]],
    judge: Callable[[Tree], Any] = lambda d: None,
    complete: Callable[[list[Tree], list[Any]], None] = lambda data, found: None,
    constant: list[Tree] | None = None,
) -> Callable[[int], list[Tree]]:
    """The function step ↦ data of every seed: points, `coefficients` there, and the embedding.

    Parameters
    ----------
    problem, config, ansatz, seeds, fixed
        As in ``Method.sampler``.
    coefficients : callable (points (M, d)) -> dict of arrays
        What the residual needs of medium and source.
    judge : callable (data of a seed) -> anything
        What else is made of the points of one seed. An InputError refuses them: at the first step it is the user's, later
        others are drawn.
    complete : callable (data of all seeds, what `judge` made of each)
        Adds to the data what the seeds have in common, such as shapes.
    constant : list of dict, optional
        What each seed has beside, the same at every step.
    """
    at = fem.shared(coefficients)
    embed = fem.shared(lambda d: training.embed_points(ansatz, d, problem.medium.is_tensor))
    constant = [{} for _ in seeds] if constant is None else constant

    def data_at(step: int) -> list[Tree]:
        gauss = gauss_points(config, problem.domain) if config.sampling.sampler == "gauss" else None
        out, judged = [], []
        for seed, frequencies in zip(seeds, fixed, strict=True):
            for draw in range(REDRAWS + 1):
                d = {"fixed": frequencies} | _drawn(problem, config, seed, step, draw, gauss)
                try:
                    judged.append(judge(d))
                    break
                except InputError:  # the first draw tells whether the sizes fit, a later one may be bad luck
                    if step == 0 or draw == REDRAWS:
                        raise
            out.append(d | at(d["points"]["collocation"]))
        complete(out, judged)
        return [d | own | {"embedding": embed(d)} for d, own in zip(out, constant, strict=True)]

    return data_at


def growth(after: int, step: int) -> int:
    """Factor of the number of points at a step: many cheap steps first, and few of full accuracy at the end.

    Examples
    --------
    >>> [growth(40, step) for step in (0, 39, 40, 59, 60, 500)]
    [1, 1, 4, 4, 16, 16]
    """
    return GROWTH ** ((step >= after) + (step >= after + after // 2)) if after else 1


def work(after: int, first: int, last: int) -> int:
    """Steps `first` to `last` in units of one with the fewest points, whose cost grows as their number.

    Examples
    --------
    >>> work(0, 10, 75), work(40, 0, 75)  # 40 + 20·4 + 15·16
    (65, 360)
    """
    return sum(growth(after, step) for step in range(first, last)) if after else last - first


def _drawn(problem: Problem, config: Config, seed: int, step: int, draw: int, gauss) -> dict[str, Any]:
    """Points of one seed, with the roots of their relative weights where they have some; `draw` counts the attempts."""
    dtype, sizes, domain = jnp.dtype(config.dtype), config.sampling, problem.domain
    count = sizes.points * growth(sizes.grow_after, step)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step)
    key = jax.random.fold_in(key, draw) if draw else key
    interior_key, boundary_key = jax.random.split(key)
    weights = None
    if sizes.sampler == "gauss":
        x, weights = jnp.asarray(gauss[0], dtype), gauss[1] / np.mean(gauss[1])
    elif sizes.sampler == "two-scale":
        x, weights = phases.two_scale(interior_key, domain, count, dtype, config.eps)
    elif sizes.sampler == "graded":
        x, weights = sampling.graded(interior_key, domain, count, dtype, LAYERS * config.eps)
        weights = weights / np.mean(weights)
    else:
        points = {"uniform": sampling.uniform, "sobol": sampling.sobol}[sizes.sampler]
        x = points(interior_key, domain, count, dtype)
    out = {"points": {"collocation": x}}
    if config.boundary == "soft":
        out["points"]["boundary"] = sampling.boundary_uniform(boundary_key, domain, sizes.boundary_points, dtype)
    return out if weights is None else out | {"scale": jnp.asarray(np.sqrt(weights), dtype)}
