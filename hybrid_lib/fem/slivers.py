"""Jumps of K close to the facets of a cell, where the points of a rule are few, and what they change in integrals.

A mesh line close to an interface leaves strips that no rule with points inside cells can see, or that it weighs wrongly, on each
cell along it: their sum may be most of the error. Here K is asked on lines from a facet inwards, just inside the cell and at the
depths of the outermost points of the rule; where two neighbours differ by a jump, it is found to rounding. Before the outermost
points any line counts, deeper only jumps that all lines of a facet meet: others cross it, and rules are good at these. A rule has
a function that jumps at the depth t as if the points nearer than t, of weight W(t), were the strip. That is the part t of a cell
on a line. In the plane it has 1 − (1 − t)² of the cells with a facet along it, and t² of those with a vertex there, as many: both
count at the facet. A film deeper in the cell, as thin as the distance of the points, is weighed as the rule does it.
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
WHERE = (0.07, 0.51, 0.93)
"""The places of an edge that are looked at; the thickness at each stands for a third of it."""
LAYERS = 6
"""Depths of points, at most, down to which jumps are looked for; none is deeper than the centre."""


class Slivers(NamedTuple):
    """Jumps of K near facets, each with the part of its cell that a rule takes for the wrong side of it.

    Attributes
    ----------
    cell, facet : (k,) int
        Where they are.
    volume : (k,) float64
        Of the strip, less what the rule has for it; below zero where that is too much.
    near, far : (k,) or (k, d, d) float64
        K before the jump, on the side of the facet, and behind it.
    points : (m, 2(d + 1), d) float64
        A point at each facet and one behind all jumps, in all cells: what is asked of other fields is asked there.
    """

    cell: np.ndarray
    facet: np.ndarray
    volume: np.ndarray
    near: np.ndarray
    far: np.ndarray
    points: np.ndarray

    def at(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (k, d) of vectors (m, 2(d + 1) or 1, d) at the points, before each jump and behind it."""
        values, n = np.broadcast_to(values, self.points.shape), self.points.shape[1] // 2
        return values[self.cell, self.facet], values[self.cell, n + self.facet]

    def gained(self, flux: Flux, mesh: Mesh, slope: np.ndarray) -> np.ndarray:
        """What each adds to ‖K^{-1/2}(τ − K∇v)‖², (k,); below zero where the rule has too much. slope is ∇v at `points`."""
        tau, steep = self.at(flux.at(mesh, self.points)), self.at(slope)
        return self.volume * (_density(self.near, tau[0], steep[0]) - _density(self.far, tau[1], steep[1]))

    def work(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """What each adds to ∫ one·K other of vectors at `points`, (k,)."""
        pairs = zip(self.at(one), self.at(other), (self.near, self.far), strict=True)
        near, far = (np.einsum("ki,ki->k", a, _times(K, b)) for a, b, K in pairs)
        return self.volume * (near - far)

    def on_cells(self, values: np.ndarray) -> np.ndarray:
        """Sums over the strips of each cell, (m,)."""
        return np.bincount(self.cell, values, len(self.points))


def slivers(mesh: Mesh, K: Callable, barycentric: np.ndarray, weights: np.ndarray) -> Slivers | None:
    """The slivers of all cells; None if there are none.

    Parameters
    ----------
    mesh : Mesh
    K : callable
    barycentric, weights : (Q, d + 1), (Q,) arrays
        A rule that is the same for all facets.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from hybrid_lib.fem.grids import interval
    >>> mesh, K = interval(2), lambda x: jnp.where(x[0] < 0.501, 1.0, 4.0)
    >>> found = slivers(mesh, K, np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([0.5, 0.5]))
    >>> flux = Flux(np.array([[1.0], [4.0]]), np.zeros(2))  # of v = x if K jumped at 1/2
    >>> found.on_cells(found.gained(flux, mesh, np.ones((2, 1, 1)))).round(9).tolist()  # (4 − 1)² on 0.001
    [0.0, 0.009]
    """
    d = mesh.dimension
    corners = mesh.points[mesh.cells]
    start, way = _lines(corners)  # (m, d + 1, p, d)
    order = np.argsort(barycentric[:, 0])
    deep, within = barycentric[order, 0], np.concatenate([[0.0], np.cumsum(weights[order])])  # W
    depths = np.unique(deep.round(12))
    depths = depths[: max(1, min(LAYERS, int(np.sum(depths <= 1 / (d + 1)))))]
    rounding = 64 * np.finfo(float).eps * np.abs(mesh.points).max() / np.linalg.norm(way, axis=-1)
    low = np.minimum(np.maximum(INSIDE, rounding), depths[0] / 2)
    below, found = evaluate(K, start + low[..., None] * way), []  # (m, d + 1, p), or with (d, d) after it
    for depth in depths:
        high = np.full_like(low, depth)
        above = evaluate(K, start + high[..., None] * way)
        rows = [one.reshape(*low.shape, -1) for one in (below, above)]
        here = np.nonzero(differ(*rows, LEAST))

        def at(which: np.ndarray, s: np.ndarray, here: tuple[np.ndarray, ...] = here) -> np.ndarray:
            line = tuple(one[which] for one in here)
            return evaluate(K, start[line] + s[:, None] * way[line]).reshape(len(s), -1)

        which, t = jumps_between(at, low[here], high[here], *(one[here] for one in rows), LEAST)
        line = tuple(one[which] for one in here)
        missed = t - within[np.searchsorted(deep, depth - 1e-9)]
        if d == 2:  # with the cells that have a vertex there
            missed += t - (1 - within[np.searchsorted(deep, 1 - t)])
        volume = mesh.volumes[line[0]] * missed / start.shape[2]
        found.append((*line, np.full(len(t), depth > depths[0]), volume, below[line], above[line]))
        low, below = high, above
    cell, facet, place, deeper, *rest = (np.concatenate(part) for part in zip(*found, strict=True))
    met = np.zeros(start.shape[:3], bool)
    met[cell, facet, place] = True
    kept = met.all(axis=2)[cell, facet] | ~deeper
    points = [(start + s * way)[:, :, start.shape[2] // 2] for s in (INSIDE, depths[-1])]
    found = (one[kept] for one in (cell, facet, *rest))
    return Slivers(*found, np.concatenate(points, axis=1)) if kept.any() else None


def _lines(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on each facet of cells (m, d + 1, d), and ways inwards as deep as the opposite vertex, (m, d + 1, p, d).

    From the middle of a facet to that vertex, from beside its ends along the neighbours: a strip along these meets no line.
    """
    n = corners.shape[1]
    shares = np.ones((1, 1)) if n == 2 else np.stack([WHERE, 1 - np.array(WHERE)], axis=1)  # (p, d)
    from_, to = np.zeros((2, n, len(shares), n))
    for i in range(n):
        others = np.arange(n) != i
        from_[i][:, others] = shares
        to[i][:, i] = 1
        to[i][:, others] -= np.where(n > 2 and np.abs(shares - 0.5).max(1, keepdims=True) > 0.4, np.round(shares), shares)
    return np.einsum("ipj,mjk->mipk", from_, corners), np.einsum("ipj,mjk->mipk", to, corners)


def _times(K: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """K (k,) or (k, d, d) times vectors (k, d)."""
    return times(K[:, None], vectors[:, None])[:, 0]


def _density(K: np.ndarray, tau: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """|K^{-1/2}(τ − K∇v)|², (k,)."""
    gap = tau - _times(K, slope)
    return np.einsum("ki,ki->k", gap, _times(1 / K if K.ndim == 1 else np.linalg.inv(K), gap))
