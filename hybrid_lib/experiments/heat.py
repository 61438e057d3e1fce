"""Heat through the sides of linear elements, and what quadrature and rounding change in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.experiments.breaks import LEAST
from hybrid_lib.experiments.galerkin import SAFETY, moments, sample_of
from hybrid_lib.fem import sides
from hybrid_lib.fem.bisection import differ, jumps_between
from hybrid_lib.fem.contact import outward_normals
from hybrid_lib.fem.fluxes import means, times
from hybrid_lib.fem.sided import NOTHING
from hybrid_lib.problems import Problem

ORDER = 7
"""Of the second rule along sides."""
ROUNDING = 64 * np.finfo(float).eps
"""Of a sum over the points of a side."""


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
    """What integrals of given fluxes and exchanges, each with 1 on the side, less z, may be off by: a second rule, and jumps."""
    by_rule = changed_on_facets(problem, mesh, w, lambda name, here: float(name == side) - along(z, here))
    total = SAFETY * sum(float(np.abs(change).sum()) for change in by_rule.values())
    for name in by_rule:
        largest = np.abs(float(name == side) - z[mesh.sides[name]]).max(axis=1)
        total += float(largest @ jumping(problem, mesh, w, name))
        here, through = given_flux(problem, mesh, w, name)
        total += ROUNDING * sides.side_integral(here, np.abs(through))  # of the sums
    return total


def changed_on_facets(
    problem: Problem, mesh: fem.Mesh, w: np.ndarray, weight: Callable[[str, sides.Facets], Any] = lambda name, here: 1.0
) -> dict[str, np.ndarray]:
    """What a second rule changes in the integrals over facets of given fluxes and exchanges that are functions, by side, (k,)."""
    found = {}
    for name, one in problem.conditions().items():
        if one[0] != "value" and any(map(callable, one)) and len(mesh.sides[name]):
            pair = []
            for rule in ((), (ORDER, 2 * sides.POINTS)):
                here, through = given_flux(problem, mesh, w, name, *rule)
                pair.append((weight(name, here) * through) @ here.weights * here.measure)
            found[name] = pair[1] - pair[0]
    return found


def jumping(problem: Problem, mesh: fem.Mesh, w: np.ndarray, side: str) -> np.ndarray:
    """Jumps of a given flux or exchange times the distance of the points between which they are, summed over each facet, (k,)."""
    _, value, *coefficient = problem.conditions()[side]
    nodes = mesh.sides[side]
    if mesh.dimension == 1:
        return np.zeros(len(nodes))
    ends, known = mesh.points[nodes].swapaxes(0, 1), w[nodes].T
    measure = np.linalg.norm(ends[1] - ends[0], axis=1)

    def flux(facet: np.ndarray, s: np.ndarray) -> np.ndarray:
        x = (1 - s[..., None]) * ends[0][facet] + s[..., None] * ends[1][facet]
        given = sides.values_at(value, x)
        if coefficient:
            given = sides.values_at(coefficient[0], x) * (given - (1 - s) * known[0][facet] - s * known[1][facet])
        return given

    s = np.clip(np.linspace(0, 1, math.ceil(sides.POINTS / len(nodes)) + 1), 1e-12, 1 - 1e-12)
    s = np.broadcast_to(s, (len(nodes), len(s)))
    p = flux(np.arange(len(nodes))[:, None], s)
    above = 2 * np.abs(p).max() or 1.0  # changes count as parts of the largest flux
    step, p = np.abs(np.diff(p, axis=1)), p[..., None] + above
    facet, k = np.nonzero(differ(p[:, :-1], p[:, 1:], LEAST))
    at = lambda which, middle: flux(facet[which], middle)[:, None] + above  # noqa: E731
    which, _ = jumps_between(at, s[facet, k], s[facet, k + 1], p[facet, k], p[facet, k + 1], LEAST)
    facet, k = facet[which], k[which]
    width = (s[facet, k + 1] - s[facet, k]) * measure[facet]
    return np.bincount(facet, step[facet, k] * width, len(nodes))


def changed_inside(problem: Problem, mesh: fem.Mesh, w: np.ndarray, z: np.ndarray) -> float:
    """What the second rule changes in ∫K∇w·∇z − ∫qz over the cells, in the source twice that, and rounding."""
    m = len(mesh.cells)
    first, second = (sample_of(problem, mesh, number) for number in (1, 2))
    steep, dual = fem.cell_gradients(mesh, w), fem.cell_gradients(mesh, z)
    K, other = (means(one.K, one.weights, m) for one in (first, second))
    flux, changed = (times(k[:, None], dual[:, None])[:, 0] for k in (K, other - K))
    source = SAFETY * np.abs(np.einsum("ma,ma->m", moments(mesh, second) - moments(mesh, first), z[mesh.cells])).sum()
    size = np.abs(w).max() / mesh.diameters * np.linalg.norm(flux, axis=1)
    return float(mesh.volumes @ (np.abs(np.einsum("md,md->m", steep, changed)) + NOTHING * size)) + float(source)


def unsolved(matrix: Any, right: np.ndarray, w: np.ndarray, held: np.ndarray, z: np.ndarray) -> float:
    """What the linear system was not solved by, times z, and the rounding of its sums."""
    free = np.delete(np.arange(len(z)), held)
    off = np.abs(matrix @ w - right)
    size = np.finfo(float).eps * (abs(matrix) @ np.abs(w) + np.abs(right))
    return float(off[free] @ np.abs(z[free]) + np.linalg.norm(size * z))
