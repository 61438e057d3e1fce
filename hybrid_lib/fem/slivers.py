"""Slivers of a cell between a facet and a jump of K, too thin for the points of a rule, and what they change in integrals.

A mesh line close to an interface leaves strips that no rule with points inside cells can see, on each cell along it: their sum
may be most of the error. Here K is asked at one place of each facet, just inside the cell, and at the depth of the outermost
points of the rule; where the two differ by a jump, it is found to rounding, and the strip counts as one of that thickness all
along the facet. A jump between the outermost points and those behind them is no sliver: there a rule is off by a tenth at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hybrid_lib.fem.bisection import differ, jumps_between
from hybrid_lib.fem.fluxes import Flux, times
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import evaluate

LEAST = 0.01
"""A change of K by less than this part counts as none."""
INSIDE = 1e-10
"""Of the way from a facet to the centre: just inside the cell, and more where coordinates are rounded coarser."""
WHERE = (0.41, 0.59)
"""The place of an edge that is looked at; the thickness there stands for all of it."""


class Slivers(NamedTuple):
    """Strips of cells where K is not what a rule takes it for.

    Attributes
    ----------
    cell, facet : (k,) int
        Where they are.
    volume : (k,) float64
        Not below the strip's.
    near, far : (k,) or (k, d, d) float64
        K in it, and K that the rule has there.
    points : (m, d + 1, d) float64
        A point near each facet, in all cells: what is asked of other fields is asked there.
    """

    cell: np.ndarray
    facet: np.ndarray
    volume: np.ndarray
    near: np.ndarray
    far: np.ndarray
    points: np.ndarray

    def at(self, values: np.ndarray) -> np.ndarray:
        """Rows (k, d) of vectors (m, d + 1 or 1, d) at the points."""
        return np.broadcast_to(values, self.points.shape)[self.cell, self.facet]

    def gained(self, flux: Flux, mesh: Mesh, slope: np.ndarray) -> np.ndarray:
        """What each adds to ‖K^{-1/2}(τ − K∇v)‖², (k,); below zero where the rule has too much. slope is ∇v at `points`."""
        tau, steep = self.at(flux.at(mesh, self.points)), self.at(slope)
        return self.volume * (_density(self.near, tau, steep) - _density(self.far, tau, steep))

    def work(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """What each adds to ∫ one·K other of vectors at `points`, (k,)."""
        one, other = self.at(one), self.at(other)
        return self.volume * np.einsum("ki,ki->k", one, _times(self.near, other) - _times(self.far, other))

    def on_cells(self, values: np.ndarray) -> np.ndarray:
        """Sums over the strips of each cell, (m,)."""
        return np.bincount(self.cell, values, len(self.points))


def slivers(mesh: Mesh, K: Callable, barycentric: np.ndarray) -> Slivers | None:
    """The slivers of all cells; None if there are none.

    Parameters
    ----------
    mesh : Mesh
    K : callable
    barycentric : (Q, d + 1) array
        Points of the rule; the smallest coordinate says how deep the outermost lie.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from hybrid_lib.fem.grids import interval
    >>> mesh, K = interval(2), lambda x: jnp.where(x[0] < 0.501, 1.0, 4.0)
    >>> found = slivers(mesh, K, np.array([[0.9, 0.1], [0.1, 0.9]]))
    >>> flux = Flux(np.array([[1.0], [4.0]]), np.zeros(2))  # of v = x if K jumped at 1/2
    >>> found.on_cells(found.gained(flux, mesh, np.ones((2, 1, 1)))).round(9).tolist()  # (4 − 1)² on 0.001
    [0.0, 0.009]
    """
    d = mesh.dimension
    on_facets = np.zeros((d + 1, d + 1))
    for i in range(d + 1):
        on_facets[i, np.arange(d + 1) != i] = WHERE if d == 2 else 1.0
    corners = mesh.points[mesh.cells]
    start, centre = on_facets @ corners, corners.mean(axis=1)[:, None]  # (m, d + 1, d), (m, 1, d)
    way, depth = centre - start, min(1.0, (d + 1) * barycentric.min())
    rounding = 64 * np.finfo(float).eps * np.abs(mesh.points).max() / np.linalg.norm(way, axis=2)
    inside = np.minimum(np.maximum(INSIDE, rounding), depth / 2)
    near, far = (evaluate(K, start + s * way) for s in (inside[..., None], depth))  # (m, d + 1), or with (d, d) after it
    rows = [one.reshape(*near.shape[:2], -1) for one in (near, far)]
    cell, facet = np.nonzero(differ(*rows, LEAST))

    def at(which: np.ndarray, s: np.ndarray) -> np.ndarray:
        here = cell[which], facet[which]
        return evaluate(K, start[here] + s[:, None] * way[here]).reshape(len(s), -1)

    ends = inside[cell, facet], np.full(len(cell), depth), *(one[cell, facet] for one in rows)
    which, thick = jumps_between(at, *ends, LEAST)
    cell, facet = cell[which], facet[which]
    volume = mesh.volumes[cell] * thick * d / (d + 1)  # of the strip as wide as the facet
    found = Slivers(cell, facet, volume, near[cell, facet], far[cell, facet], start + depth / 2 * way)
    return found if cell.size else None


def _times(K: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """K (k,) or (k, d, d) times vectors (k, d)."""
    return times(K[:, None], vectors[:, None])[:, 0]


def _density(K: np.ndarray, tau: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """|K^{-1/2}(τ − K∇v)|², (k,)."""
    gap = tau - _times(K, slope)
    return np.einsum("ki,ki->k", gap, _times(1 / K if K.ndim == 1 else np.linalg.inv(K), gap))
