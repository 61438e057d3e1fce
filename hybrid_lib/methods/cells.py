r"""The coarse mesh of a run: its problem, the rule in its cells, and when the coarse data are renewed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.fem import Mesh
from hybrid_lib.multiscale.coarse import CoarseProblem, coarse_problem, is_elliptic, refresh
from hybrid_lib.multiscale.defect import ORDER, parts_of_an_edge
from hybrid_lib.multiscale.upscaling import parts_of
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.problems import Problem, argument


class Coarse(NamedTuple):
    """The coarse mesh and the problem on it."""

    mesh: Mesh
    problem: CoarseProblem


def coarse_of(problem: Problem, config: Config) -> Coarse:
    """The coarse mesh of a configuration and the problem on it."""
    mesh = problem.domain.mesh(config.coarse.cells)
    return Coarse(mesh, coarse_problem_of(problem, config, mesh))


def coarse_problem_of(problem: Problem, config: Config, mesh: Mesh) -> CoarseProblem:
    """The coarse problem of a configuration on `mesh`."""
    parts = None
    if config.coarse.parts > 1:
        centres = mesh.points[mesh.cells].mean(axis=1)  # (m, d)
        parts = parts_of(centres, config.coarse.parts)
    dtype = jnp.dtype(config.dtype)
    made = coarse_problem(
        mesh, problem.source, np.asarray(problem.direction), parts, dtype, isotropic_constant=config.coarse.parts == 1
    )
    varied = {name: argument(problem, getattr(made, name), dtype) for name in ("source", "unit_state", "direction")}
    return replace(made, **varied)


def coarse_model(problem: Problem, coarse: CoarseProblem, upscale: Callable) -> training.CoarseModel:
    """K̂ by `upscale`, and coarse data that are renewed when it moves by a part of α."""
    alpha = argument(problem, problem.medium.alpha, coarse.source.dtype)
    return training.CoarseModel(
        upscale=upscale,
        refresh=lambda K_hat: refresh(coarse, K_hat),
        distance=lambda state, K_hat: in_units(jnp.max(jnp.abs(K_hat - state.K_hat)), alpha),
        usable=is_elliptic,
    )


def in_units(values: Array, unit: float | Array) -> Array:
    """`values` over their unit."""
    return values if isinstance(unit, float) and unit == 1 else values / jnp.asarray(unit, values.dtype)


def rule_of(config: Config, mesh: Mesh) -> tuple[int, int]:
    """Pieces of an edge of the coarse cells and order of the rule on each piece, as a configuration asks for them."""
    pieces = config.coarse.pieces or parts_of_an_edge(mesh, config.eps)
    return pieces, ORDER[mesh.dimension] if config.coarse.order is None else config.coarse.order


def gauss_points(config: Config, domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature points (M, d) and weights (M,) in the cells of the coarse mesh."""
    mesh = domain.mesh(config.coarse.cells)
    barycentric, weights = fem.composite_rule(mesh.dimension, *rule_of(config, mesh))
    points = np.einsum("qi,mia->mqa", barycentric, mesh.points[mesh.cells])  # (m, Q, d)
    return points.reshape(-1, mesh.dimension), (mesh.volumes[:, None] * weights).reshape(-1)
