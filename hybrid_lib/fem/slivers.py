"""Slivers of a cell between a facet and a jump of K, too thin for the points of a rule, and what they add to a bound.

A mesh line close to an interface leaves strips that no rule with points inside cells can see, on each cell along it: their sum
may be most of the error. Here K is asked at each facet, just inside the cell, and at the depth of the outermost points of the
rule; where the two differ by a jump, it is found to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hybrid_lib.fem.fluxes import Flux, times
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import evaluate

LEAST = 0.01
"""A change of K by less than this part counts as none."""
INSIDE = 1e-10
"""Of the way from a facet to the centre: just inside the cell."""
WHERE = (0.41, 0.59)
"""The point of an edge that is looked at."""


def slivers(mesh: Mesh, K: Callable, barycentric: np.ndarray, flux: Flux, slope: Callable) -> np.ndarray:
    """What slivers add to ‖K^{-1/2}(τ − K∇v)‖² on each cell, (m,).

    Parameters
    ----------
    mesh : Mesh
    K : callable
    barycentric : (Q, d + 1) array
        Points of the rule that does not see them.
    flux : Flux
    slope : callable
        ∇v at points (m, q, d) of the cells, (m, q or 1, d).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from hybrid_lib.fem.grids import interval
    >>> mesh, K = interval(2), lambda x: jnp.where(x[0] < 0.501, 1.0, 4.0)
    >>> flux = Flux(np.array([[1.0], [4.0]]), np.zeros(2))  # of v = x if K jumped at 1/2
    >>> slivers(mesh, K, np.array([[0.9, 0.1], [0.1, 0.9]]), flux, np.ones_like).round(9).tolist()  # (4 − 1)² on 0.001
    [0.0, 0.009]
    """
    m, d = mesh.cells.shape[0], mesh.dimension
    on_facets = np.zeros((d + 1, d + 1))
    for i in range(d + 1):
        on_facets[i, np.arange(d + 1) != i] = WHERE if d == 2 else 1.0
    corners = mesh.points[mesh.cells]
    start, centre = on_facets @ corners, corners.mean(axis=1)[:, None]  # (m, d + 1, d), (m, 1, d)
    depth = min(1.0, (d + 1) * barycentric.min())
    near, far = (evaluate(K, start + s * (centre - start)) for s in (INSIDE, depth))  # (m, d + 1), or with (d, d) after it
    cell, facet = np.nonzero(_differ(near, far))
    added = np.zeros(m)
    if not cell.size:
        return added
    begin, way = start[cell, facet], (centre - start)[cell, facet]
    low, high = np.full(len(cell), INSIDE), np.full(len(cell), depth)
    below, above = near[cell, facet], far[cell, facet]
    for _ in range(48):  # to rounding
        middle = (low + high) / 2
        between = evaluate(K, begin + middle[:, None] * way)
        left = _size(between - below) >= _size(above - between)
        low, high = np.where(left, low, middle), np.where(left, middle, high)
        left = left.reshape(-1, *[1] * (below.ndim - 1))
        below, above = np.where(left, below, between), np.where(left, between, above)
        keep = _differ(below, above)  # that of a steep function goes
        cell, facet, begin, way, low, high, below, above = (
            one[keep] for one in (cell, facet, begin, way, low, high, below, above)
        )
        if not cell.size:
            return added
    tau, steep = (np.broadcast_to(one, start.shape)[cell, facet] for one in (flux.at(mesh, start), slope(start)))
    near, far = near[cell, facet], far[cell, facet]
    volume = mesh.volumes[cell] * high * d / (d + 1)  # of the strip as wide as the facet
    more = _density(near, tau, steep) - _density(far, tau, steep)
    np.add.at(added, cell, volume * np.maximum(more, 0))
    return added


def _size(K: np.ndarray) -> np.ndarray:
    """|K|, of tensors (..., d, d) the largest entry."""
    return np.abs(K) if K.ndim < 3 else np.abs(K).max(axis=(-2, -1))


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether K is not the same at points, (...)."""
    return _size(one - other) > LEAST * np.minimum(_size(one), _size(other))


def _density(K: np.ndarray, tau: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """|K^{-1/2}(τ − K∇v)|², (k,)."""
    gap = tau - times(K[:, None], slope[:, None])[:, 0]
    inverse = 1 / K if K.ndim == 1 else np.linalg.inv(K)
    return np.einsum("ki,ki->k", gap, times(inverse[:, None], gap[:, None])[:, 0])
