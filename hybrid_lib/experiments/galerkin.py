"""Linear elements by the very points at which the bound looks: with them w_h is the exact Galerkin solution, jumps included."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.fem import bounds, sides
from hybrid_lib.fem.bounds import Sampled, sampled
from hybrid_lib.fem.fluxes import means
from hybrid_lib.problems import Problem, plain

SAFETY = 2.0
"""Times what a second rule changes in a source or a given flux counts in a bound: both rules may be off the same way."""


def sample_of(problem: Problem, mesh: fem.Mesh, number: int = 1) -> Sampled:
    """K and the source at the points that matrix, right side and bound share, or at those of a second rule."""
    rule = () if number == 1 else (2 * bounds.PROBES[mesh.dimension], 5)
    return sampled(mesh, problem.medium.conductivity, plain(problem.source), *rule)


def system(problem: Problem, mesh: fem.Mesh, data: sides.SideData, sample: Sampled) -> tuple[Any, np.ndarray]:
    """Matrix and right side of all nodes, by the rule of the bound: with it w_h is the exact Galerkin solution."""
    added, exchange = sides.system(mesh, data)
    matrix = fem.stiffness(mesh, means(sample.K, sample.weights, len(mesh.cells)))
    load = np.bincount(mesh.cells.ravel(), weights=moments(mesh, sample).ravel(), minlength=len(mesh.points))
    return matrix if exchange is None else matrix + exchange, load + added


def solved(mesh: fem.Mesh, matrix: Any, right: np.ndarray, data: sides.SideData) -> np.ndarray:
    """Values at all nodes; with fluxes all around those of mean zero, and what is left of their balance is spread."""
    if data.held.size or data.exchanges:
        return fem.solve_dirichlet(matrix, right, data.held, data.values)
    weight = fem.load(mesh, 1.0)
    w = fem.solve_dirichlet(matrix, right - weight * (right.sum() / weight.sum()), np.array([0]))
    return w - weight @ w / weight.sum()


def moments(mesh: fem.Mesh, sample: Sampled) -> np.ndarray:
    """∫q φ_a over each cell, (m, d + 1)."""
    shapes = sample.weights[:, None] * sample.barycentric  # (Q, d+1)
    found = sample.f @ shapes if sample.f.shape[1] > 1 else sample.f * shapes.sum(axis=0)
    return np.broadcast_to(found, mesh.cells.shape) * mesh.volumes[:, None]
