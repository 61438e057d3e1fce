"""What is known of the error of a field, and what the ways to it share: :mod:`hybrid_lib.experiments.certify`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hybrid_lib import fem
from hybrid_lib.experiments.pointwise import BLOCK
from hybrid_lib.fem import bounds, fluxes
from hybrid_lib.fem.topology import outer_facets
from hybrid_lib.problems import Problem

SHARP = 1.05
"""Quotient of the two sides at which meshes are fine enough."""
RULES = {1: ((4, 1.0), (6, 1.3)), 2: ((4, 1.0), (5, 1.3))}
"""By dimension, order of each rule, and its points, at least, in units of ``fem.bounds.PROBES``; 4 and 5 are one on a line."""
ROUNDING = 100
"""Values on the boundary, in units of rounding and of the largest value, that count as zero."""


class Certificate(NamedTuple):
    """What is known of the energy error ‖K^{1/2}∇(v − u)‖ of a field v; with an exchange on sides ∫c(v − u)² is in its square.

    Attributes
    ----------
    bound : float
        Never below the error, up to the quadrature of K, q and v; the larger one of two rules, and slivers of K between a facet
        and their points.
    lower : float
        Never above the error, up to the same.
    relative : float
        `bound` over ‖K^{1/2}∇v‖.
    gradient : float
        Bound of the relative error of ∇v in L²: `bound` over √α ‖∇v‖, with the lower bound α of the medium, or the least K at
        the points of the rules.
    oscillation : float
        The part of `bound` that comes from the source within cells.
    difference : float
        Relative difference of the two rules. Far above one per cent it says that they do not resolve v or K; a small one does not
        exclude features, inside or on the boundary, that no point of either rule sees, such as a spike between all of them.
    mesh : fem.Mesh
        Of the flux.
    flux : Flux
        The flux that proves it.
    """

    bound: float
    lower: float
    relative: float
    gradient: float
    oscillation: float
    difference: float
    mesh: fem.Mesh
    flux: Any


def sampled(mesh: fem.Mesh, K: Callable, q: Callable, number: int) -> bounds.Sampled:
    """K and q at the points of one of the rules."""
    order, factor = RULES[mesh.dimension][number]
    return bounds.sampled(mesh, K, q, round(factor * bounds.PROBES[mesh.dimension]), order)


def least(problem: Problem, *samples: bounds.Sampled) -> float:
    """The lower bound of the medium, or less where K has less at the points of the rules: its own may be from fewer points."""
    return min(problem.medium.alpha, *(float(fluxes.eigenvalues(one.K).min()) for one in samples))


def energy_of(mesh: fem.Mesh, K: Callable, nodes: np.ndarray, values: np.ndarray, exchanges: tuple = ()) -> float:
    """The energy norm of the linear field δ with these values at `nodes`, and 0 at the others: what a field is off by there."""
    if not np.any(values):
        return 0.0
    delta = np.zeros(len(mesh.points))
    delta[nodes] = values
    square = float(delta @ (fem.stiffness(mesh, K, 4) @ delta))
    for one in exchanges:
        here = one.facets
        square += float(here.measure @ (one.coefficient * (delta[here.nodes] @ here.barycentric.T) ** 2 @ here.weights))
    return math.sqrt(max(square, 0.0))


def along(mesh: fem.Mesh, facets: np.ndarray | None = None) -> np.ndarray:
    """Points on facets (k, d), of the boundary by default: their ends, and in the plane some 16,000 between, at odd places."""
    if mesh.dimension == 1:
        return mesh.points[mesh.boundary_nodes if facets is None else facets.ravel()]
    lower, upper = outer_facets(mesh.cells, len(mesh.points))[1:] if facets is None else facets.T
    count = max(8, BLOCK // len(lower) - 2)
    turned = (np.arange(1, count + 1) + np.arange(len(lower))[:, None] / np.e) * (np.sqrt(5) - 1) / 2 % 1
    s = np.concatenate([np.tile([0.0, 1.0], (len(lower), 1)), turned], axis=1)[:, :, None]
    return ((1 - s) * mesh.points[lower, None] + s * mesh.points[upper, None]).reshape(-1, 2)
