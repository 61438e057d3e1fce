r"""Data of a run: points, coefficients there, and what the coupling needs, as pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.config import Config, has_defect, is_first_order
from hybrid_lib.experiments.problems import Problem
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale.coarse import CoarseProblem, coarse_problem
from hybrid_lib.multiscale.compression import compression, pad
from hybrid_lib.multiscale.coupling import coupling
from hybrid_lib.multiscale.defect import ORDER, Defect, defect, parts_of_an_edge
from hybrid_lib.multiscale.upscaling import parts_of
from hybrid_lib.pinn import sampling
from hybrid_lib.pinn.networks import Ansatz
from hybrid_lib.pinn.residuals import lifted_source

Tree = Any
LAYERS = 2.0
"""Width of the layers of the sampler ``graded``, in periods."""
REDRAWS = 20
"""How often points are drawn anew, after the first step, when a ball of the averages holds none of them."""


def coarse_problem_of(problem: Problem, config: Config, mesh) -> CoarseProblem:
    """The coarse problem of a configuration on `mesh`."""
    parts = None
    if config.coarse.parts > 1:
        centres = mesh.points[mesh.cells].mean(axis=1)  # (m, d)
        parts = parts_of(centres, config.coarse.parts)
    return coarse_problem(
        mesh,
        problem.source,
        np.asarray(problem.direction),
        parts,
        jnp.dtype(config.dtype),
        isotropic_constant=config.coarse.parts == 1,
    )


def defect_of(problem: Problem, config: Config, coarse: CoarseProblem, mesh, refined: int = 1) -> Defect:
    """The defect of a configuration on `mesh`, with `refined` times as many pieces as it says."""
    pieces, order = rule_of(config, mesh)
    return defect(coarse, mesh, problem.medium.conductivity, problem.source, refined * pieces, order)


def sampler(problem: Problem, config: Config, ansatz: Ansatz, seeds, fixed: list[Tree], coarse, mesh):
    """The function step -> data of every seed; what does not change with the step is computed once."""
    embed = fem.shared(lambda d: training.embed_points(ansatz, d, problem.medium.is_tensor))
    coefficients = _coefficients(problem, config)
    coupled = [{} for _ in seeds]
    if has_defect(config):
        rule = defect_of(problem, config, coarse, mesh)
        cells = fem.shared(lambda f: jax.vmap(jax.vmap(lambda x: _first_order(ansatz, f, x)))(rule.points))
        shared = {"coupling": rule, "unit_factor": dual_norm.unit_factor(coarse)}
        coupled = [shared | {"cells": cells(frequencies)} for frequencies in fixed]

    def data_at(step: int) -> list[Tree]:
        plain = _data(problem, config, seeds, fixed, mesh, step, coefficients)
        return [d | own | {"embedding": embed(d)} for d, own in zip(plain, coupled, strict=True)]

    return data_at


def _coefficients(problem: Problem, config: Config) -> Callable[[Array], dict[str, Array]]:
    """Jitted x (M, d) -> what the residual needs of the medium and the source; one for all draws, so that it is compiled once."""
    dtype, medium = jnp.dtype(config.dtype), problem.medium
    source = lifted_source(problem.source, medium.divergence, problem.direction)

    def first_order(x: Array) -> dict[str, Array]:  # needs q itself and no derivative of K
        source = jax.vmap(lambda p: jnp.asarray(problem.source(p), dtype))(x)
        return {"conductivity": jax.vmap(medium.conductivity)(x), "source": source}

    def strong(x: Array) -> dict[str, Array]:
        K = jax.vmap(medium.conductivity)(x)
        return {"conductivity": K, "divergence": jax.vmap(medium.divergence)(x), "source": jax.vmap(source)(x)}

    return fem.shared(first_order if is_first_order(config) else strong)


def _data(
    problem: Problem, config: Config, seeds, fixed: list[Tree], mesh, step: int, coefficients: Callable
) -> list[Tree]:
    """Data of every seed for the points drawn at `step`: a pure function of (seed, step)."""
    gauss = _gauss_points(config, problem.domain) if config.sampling.sampler == "gauss" else None
    averaged = mesh is not None and not has_defect(config)
    out, balls = [], []
    for seed, frequencies in zip(seeds, fixed, strict=True):
        for draw in range(REDRAWS + 1):
            d = {"fixed": frequencies} | _drawn(problem, config, seed, step, draw, gauss)
            try:
                balls += [_balls(problem, config, mesh, d)] if averaged else []
                break
            except InputError:  # a ball without points: the first draw tells whether the sizes fit, a later one may be bad luck
                if step == 0 or draw == REDRAWS:
                    raise
        out.append(d | coefficients(d["points"]["collocation"]))
    return _with_coupling(config, mesh, out, balls) if averaged else out


def _drawn(problem: Problem, config: Config, seed: int, step: int, draw: int, gauss) -> dict[str, Any]:
    """Points of one seed, with the roots of their weights where they have weights; `draw` counts the attempts."""
    dtype, sizes, domain = jnp.dtype(config.dtype), config.sampling, problem.domain
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step)
    key = jax.random.fold_in(key, draw) if draw else key
    interior_key, boundary_key = jax.random.split(key)
    weights = None
    if sizes.sampler == "gauss":
        x, weights = jnp.asarray(gauss[0], dtype), gauss[1]
    elif sizes.sampler == "graded":
        x, weights = sampling.graded(interior_key, domain, sizes.points, dtype, LAYERS * config.eps)
    else:
        points = {"uniform": sampling.uniform, "sobol": sampling.sobol}[sizes.sampler]
        x = points(interior_key, domain, sizes.points, dtype)
    out = {"points": {"collocation": x}}
    if config.boundary == "soft":
        out["points"]["boundary"] = sampling.boundary_uniform(boundary_key, domain, sizes.boundary_points, dtype)
    return out if weights is None else out | {"scale": jnp.asarray(np.sqrt(weights / np.mean(weights)), dtype)}


def _balls(problem: Problem, config: Config, mesh, d: Tree):
    """Neighbours of the coarse nodes among the points of one seed."""
    return compression(
        mesh.points,
        np.asarray(d["points"]["collocation"], float),
        config.coarse.delta or config.eps,
        problem.domain.distance,
        config.coarse.radius,
        jnp.dtype(config.dtype),
        np.asarray(d["scale"], float) ** 2 if "scale" in d else None,
    )


def _with_coupling(config: Config, mesh, data: list[Tree], balls: list) -> list[Tree]:
    """Add what the coupling needs: neighbours of the coarse nodes, pointwise nodes, parts."""
    dtype, padded = jnp.dtype(config.dtype), pad(balls)
    prepare = coupling(config.coarse.coupling).prepare
    for index, d in enumerate(data):
        own = training.member(padded, index)
        points = np.asarray(d["points"]["collocation"], float)
        d["points"]["nodes"] = jnp.asarray(mesh.points[np.asarray(own.pointwise_nodes)], dtype)
        d["coupling"] = prepare(own, mesh, points)
        if config.coarse.parts > 1:
            d["parts"] = jnp.asarray(parts_of(points, config.coarse.parts), jnp.int32)
    return data


def rule_of(config: Config, mesh) -> tuple[int, int]:
    """Pieces of an edge of the coarse cells and order of the rule on each piece, as a configuration asks for them."""
    pieces = config.coarse.pieces or parts_of_an_edge(mesh, config.eps)
    return pieces, ORDER[mesh.dimension] if config.coarse.order is None else config.coarse.order


def _gauss_points(config: Config, domain) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature points (M, d) and weights (M,) in the cells of the coarse mesh."""
    mesh = domain.mesh(config.coarse.cells)
    barycentric, weights = fem.composite_rule(mesh.dimension, *rule_of(config, mesh))
    points = np.einsum("qi,mia->mqa", barycentric, mesh.points[mesh.cells])  # (m, Q, d)
    return points.reshape(-1, mesh.dimension), (mesh.volumes[:, None] * weights).reshape(-1)


def _first_order(ansatz: Ansatz, fixed: Tree, x: Array):
    """What the gradient of the trial field at one point needs: no second-order terms."""
    return ansatz.embed(fixed, x).each(lambda jet: jet._replace(laplacian=None))
