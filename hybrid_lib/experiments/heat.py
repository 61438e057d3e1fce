"""Heat through the sides of linear elements, and what quadrature and rounding change in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.experiments.galerkin import moments, sample_of
from hybrid_lib.fem import sides
from hybrid_lib.fem.contact import outward_normals
from hybrid_lib.fem.fluxes import means, times
from hybrid_lib.fem.sided import NOTHING
from hybrid_lib.problems import Problem

ORDER = 7
"""Of the second rule along sides."""


def along(w: np.ndarray, here: sides.Facets) -> np.ndarray:
    """w at the points of facets, (k, q)."""
    return w[here.nodes] @ here.barycentric.T


def given_flux(problem: Problem, mesh: fem.Mesh, w: np.ndarray, side: str, *rule: int) -> tuple[sides.Facets, np.ndarray]:
    """The facets of a side without given values, and n·K∇w at their points by its condition, (k, q)."""
    kind, value, *coefficient = problem.conditions()[side]
    here = sides.looked_at(mesh, mesh.sides[side], (value, *coefficient), *rule)
    given = sides.values_at(value, here.points)
    if kind == "exchange":
        given = sides.values_at(coefficient[0], here.points) * (given - along(w, here))
    return here, given


def heat_at_values(problem: Problem, mesh: fem.Mesh, w: np.ndarray, residual: np.ndarray) -> dict[str, float]:
    """Heat through each side with given values; at a node of two of them it is split as the fluxes of the cells are."""
    n, sample = len(mesh.points), sample_of(problem, mesh)
    K = fem.cell_coefficient(mesh, means(sample.K, sample.weights, len(mesh.cells)))
    slopes = fem.cell_gradients(mesh, w)
    names = [name for name, one in problem.conditions().items() if one[0] == "value"]
    own, length = np.zeros((len(names), n)), np.zeros((len(names), n))
    for row, name in enumerate(names):
        here = sides.facets(mesh, mesh.sides[name])
        normal = outward_normals(mesh, here.cell, here.local)
        through = np.einsum("kd,kde,ke->k", normal, K[here.cell], slopes[here.cell])
        own[row] = sides.side_load(mesh, here, through[:, None] * np.ones(here.points.shape[:2]))
        length[row] = sides.side_load(mesh, here, np.ones(here.points.shape[:2]))
    total = length.sum(axis=0)
    share = length / np.where(total > 0, total, 1.0)
    heat = own.sum(axis=1) + share @ (residual - own.sum(axis=0))
    return dict(zip(names, heat.tolist(), strict=True))


def changed_along(problem: Problem, mesh: fem.Mesh, w: np.ndarray, z: np.ndarray, side: str) -> float:
    """What the second rule changes in the integrals of given fluxes and exchanges, each with 1 on the side, less z."""
    given = [name for name, one in problem.conditions().items() if one[0] != "value" and any(map(callable, one))]

    def integrals(*rule: int) -> list[np.ndarray]:
        found = []
        for name in given:
            here, through = given_flux(problem, mesh, w, name, *rule)
            found.append(((float(name == side) - along(z, here)) * through) @ here.weights * here.measure)
        return found

    pairs = zip(integrals(), integrals(ORDER, 2 * sides.POINTS), strict=True)
    return sum(float(np.abs(one - other).sum()) for one, other in pairs)


def changed_inside(problem: Problem, mesh: fem.Mesh, w: np.ndarray, z: np.ndarray) -> float:
    """What the second rule changes in ∫K∇w·∇z − ∫qz over the cells, and rounding."""
    m = len(mesh.cells)
    first, second = (sample_of(problem, mesh, number) for number in (1, 2))
    steep, dual = fem.cell_gradients(mesh, w), fem.cell_gradients(mesh, z)
    K, other = (means(one.K, one.weights, m) for one in (first, second))
    flux, changed = (times(k[:, None], dual[:, None])[:, 0] for k in (K, other - K))
    source = np.abs(np.einsum("ma,ma->m", moments(mesh, second) - moments(mesh, first), z[mesh.cells])).sum()
    size = np.abs(w).max() / mesh.diameters * np.linalg.norm(flux, axis=1)
    return float(mesh.volumes @ (np.abs(np.einsum("md,md->m", steep, changed)) + NOTHING * size)) + float(source)


def unsolved(matrix: Any, right: np.ndarray, w: np.ndarray, held: np.ndarray, z: np.ndarray) -> float:
    """What the linear system was not solved by, times z, and the rounding of its sums."""
    free = np.delete(np.arange(len(z)), held)
    off = np.abs(matrix @ w - right)
    size = np.finfo(float).eps * (abs(matrix) @ np.abs(w) + np.abs(right))
    return float(off[free] @ np.abs(z[free]) + np.linalg.norm(size * z))
