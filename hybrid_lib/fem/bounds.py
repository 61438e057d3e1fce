r"""A guaranteed bound of the energy error of any conforming field, by a second field: a flux that balances the source.

For u with −∇·(K(∇u + e)) = f and every v with the boundary values of u, every τ with ∇·τ = −Π₀f (means over cells),

.. math:: \|K^{1/2}\nabla(v - u)\|_\Omega^2 \le \sum_T \Big(\|K^{-1/2}(\tau - K(\nabla v + e))\|_T
          + \frac{h_T}{\pi\sqrt{\alpha_T}}\|f - \Pi_0 f\|_T\Big)^2,

by Prager and Synge (1947) and the inequality of Payne and Weinberger on each cell. Where f is constant on cells the right side is
‖K^{1/2}∇(v − u)‖² + ‖K^{−1/2}(τ − σ)‖². Nothing is assumed of K but ellipticity: jumps, contrast and periods are all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from hybrid_lib.errors import InputError
from hybrid_lib.fem.assembly import cell_gradients, stiffness
from hybrid_lib.fem.coefficients import check_elliptic, coefficient_values
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import composite_rule, evaluate, field_values
from hybrid_lib.fem.solve import solve_dirichlet
from hybrid_lib.fem.topology import facets_of, unique_pairs

PROBES = {1: 1 << 16, 2: 1 << 19}
"""Points, at least, at which a function is looked at, by dimension."""
ORDER = 2
"""Order of the rule on each piece of a cell."""


class Flux(NamedTuple):
    """A flux with ∇·τ = −f_T on each cell T, continuous across facets: τ(x) = mean_T − f_T (x − x_T)/d, x_T the centroid.

    Attributes
    ----------
    mean : (m, d) float64
    source : (m,) float64
        f_T, the means of the source.
    """

    mean: np.ndarray
    source: np.ndarray

    def at(self, mesh: Mesh, points: np.ndarray) -> np.ndarray:
        """Values at points (m, q, d) of the cells."""
        centroid = mesh.points[mesh.cells].mean(axis=1)
        return self.mean[:, None] - (self.source[:, None] / mesh.dimension)[..., None] * (points - centroid[:, None])


class EnergyBound(NamedTuple):
    """A bound of ‖K^{1/2}∇(u_h − u)‖ and its parts.

    Attributes
    ----------
    bound : float
        Never below the error, up to the quadrature of K and f.
    relative : float
        `bound` over ‖K^{1/2}∇u_h‖.
    oscillation : float
        The part of the source that varies within cells.
    flux : Flux
        The flux that proves it.
    """

    bound: float
    relative: float
    oscillation: float
    flux: Flux


def energy_bound(
    mesh: Mesh, K: Any, f: float | np.ndarray | Callable, nodal: np.ndarray, direction: np.ndarray | None = None
) -> EnergyBound:
    r"""Guaranteed bound of the energy error of a P1 field: no constant is unknown, and no order of convergence is assumed.

    The flux τ is the best one in the lowest Raviart-Thomas space on a simply connected mesh, τ = σ_p + (∂₂ψ, −∂₁ψ) with a σ_p
    that balances the means of f and ψ from a second P1 solve with K^{−1}; around holes the bound holds but is not sharp.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    f : see :func:`hybrid_lib.fem.assembly.load`
    nodal : (n,) array
        u_h, with the right values on the boundary: those of u, linear on each of its facets. Any field with these will do.
    direction : (d,) array, optional
        e of the lift; none by default.

    Returns
    -------
    EnergyBound

    Raises
    ------
    InputError
        If K, f, nodal or the direction cannot be used.

    Notes
    -----
    Functions are integrated by a composite rule on each cell, with some 65,000 points in one dimension and half a million in the
    plane, and two or three a cell at least: what they all miss is not in the bound. Exact for K and f constant on cells. The
    cost is that of a solve.

    Examples
    --------
    >>> from hybrid_lib.fem.mesh import interval
    >>> mesh = interval(4)
    >>> found = energy_bound(mesh, 1.0, 0.0, [0.0, 1.0, 0.0, 0.0, 0.0])
    >>> round(found.bound**2, 9)  # the solution is zero: ∫ u_h'²
    8.0
    """
    d, m = mesh.dimension, len(mesh.cells)
    e = np.zeros(d) if direction is None else np.asarray(direction, np.float64)
    if e.shape != (d,):
        raise InputError("direction", f"a vector of shape ({d},)", f"shape {e.shape}", "pass one component an axis")
    slope = cell_gradients(mesh, nodal) + e  # (m, d)
    barycentric, weights = composite_rule(d, _pieces(mesh, callable(K) or callable(f)), ORDER)
    points = barycentric @ mesh.points[mesh.cells]  # (m, Q, d)
    K, f = _conductivity(mesh, K, points), _source(mesh, f, points)  # (m or 1, Q or 1), tensors with (d, d) after it
    scalar, unit = K.ndim == 2, np.eye(d)
    inverse = 1 / K if scalar else np.linalg.inv(K)
    means = [_means(v, weights, m) for v in (K, inverse)]
    K_cell, inverse_cell = (v[:, None, None] * unit for v in means) if scalar else means
    flux = _balanced(mesh, inverse_cell, _means(f, weights, m), slope)
    gap = flux.at(mesh, points) - _times(K, np.broadcast_to(slope[:, None], points.shape))
    squares = np.sum(gap * _times(inverse, gap), axis=-1)
    rest = _means((f - flux.source[:, None]) ** 2, weights, m) * mesh.volumes  # ‖f − Π₀f‖² on T
    alpha = (K if scalar else np.linalg.eigvalsh(K)[..., 0]).min(axis=1)  # (m or 1,)
    oscillation = mesh.diameters / np.pi * np.sqrt(rest / alpha)
    bound = float(np.linalg.norm(np.sqrt(mesh.volumes * (squares @ weights)) + oscillation))
    size = float(np.sqrt(np.einsum("m,mi,mij,mj->", mesh.volumes, slope - e, K_cell, slope - e)))
    relative = bound / size if size > 0 else 0.0 if bound == 0 else np.inf
    return EnergyBound(bound, relative, float(np.linalg.norm(oscillation)), flux)


def _times(K: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """K at points, scalar or tensor, times vectors (m, Q, d)."""
    return K[..., None] * vectors if K.ndim == 2 else np.matmul(K, vectors[..., None])[..., 0]


def _conductivity(mesh: Mesh, K: Any, points: np.ndarray) -> np.ndarray:
    """K at the points (m, Q, d), checked; (m or 1, 1, ...) for one that is constant on cells."""
    values = coefficient_values(mesh, K, ORDER)  # checks the shape, too
    if not callable(K):
        return values
    values = evaluate(K, points)
    check_elliptic(values, "correct the function")
    return values


def _source(mesh: Mesh, f: Any, points: np.ndarray) -> np.ndarray:
    """f at the points (m, Q, d); (m or 1, 1) for one that is constant on cells."""
    values = field_values(mesh, f, 1, name="f")
    return evaluate(f, points) if callable(f) else values


def _pieces(mesh: Mesh, varies: bool) -> int:
    """Pieces of an edge for the composite rule: enough points in all where a function is to be looked at, else one."""
    d = mesh.dimension
    per_cell = len(mesh.cells) * len(composite_rule(d, 1, ORDER)[1])
    return max(1, int(np.ceil((PROBES[d] / per_cell) ** (1 / d)))) if varies else 1


def _means(values: np.ndarray, weights: np.ndarray, m: int) -> np.ndarray:
    """Means over the cells of values (m or 1, Q or 1, ...), (m, ...)."""
    means = np.tensordot(values, weights, axes=(1, 0)) if values.shape[1] > 1 else values[:, 0]
    return np.broadcast_to(means, (m, *means.shape[1:]))


def _balanced(mesh: Mesh, inverse: np.ndarray, source: np.ndarray, slope: np.ndarray) -> Flux:
    """The flux that balances `source` and is closest to K `slope` in the norm with the means `inverse` (m, d, d) of K^{−1}."""
    d = mesh.dimension
    mean = _particular(mesh, source)
    miss = slope - np.einsum("mij,mj->mi", inverse, mean)  # ∫ miss·η = ∫ K^{-1} η̂·η for all η without divergence
    if d == 1:  # constants, one for each connected part
        part = connected_components(stiffness(mesh, 1.0), directed=False)[1][mesh.cells[:, 0]]
        top, bottom = (np.bincount(part, mesh.volumes * v[:, 0]) for v in (miss, inverse[:, 0]))
        return Flux(mean + (top / bottom)[part][:, None], source)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # ∇ψ to (∂₂ψ, −∂₁ψ)
    turned = np.einsum("ki,mkl,lj->mij", turn, inverse, turn)
    hats = np.einsum("mai,m,mi->ma", mesh.basis_gradients, mesh.volumes, miss @ turn)  # ∫ miss·turn∇φ
    rhs = np.bincount(mesh.cells.ravel(), hats.ravel(), minlength=len(mesh.points))
    matrix = stiffness(mesh, (turned + turned.mT) / 2)
    fixed = np.unique(connected_components(matrix, directed=False)[1], return_index=True)[1]
    psi = solve_dirichlet(matrix, rhs, fixed)
    return Flux(mean + cell_gradients(mesh, psi) @ turn.T, source)


def _particular(mesh: Mesh, source: np.ndarray) -> np.ndarray:
    """Means over cells of one flux that balances `source`: the sources flow out along a tree from cell to cell."""
    m, d = len(mesh.cells), mesh.dimension
    facet = unique_pairs(*facets_of(mesh.cells), len(mesh.points))[2].reshape(m, d + 1)
    owner = np.repeat(np.arange(m), d + 1)
    sums = np.bincount(facet.ravel(), owner)[facet]  # of the cells at a facet
    inside = np.bincount(facet.ravel())[facet] == 2
    neighbour = np.where(inside, sums - np.arange(m)[:, None], m)  # m: outside
    graph = csr_array((np.ones(m * (d + 1)), (owner, neighbour.ravel())), shape=(m + 1, m + 1))
    order, parent = breadth_first_order(graph, m, directed=False)
    total = [*(mesh.volumes * source).tolist(), 0.0]
    up = parent.tolist()
    for cell in order[:0:-1].tolist():  # from the leaves to the outside
        total[up[cell]] += total[cell]
    way = np.argmax(neighbour == parent[:m, None], axis=1)  # local number of the facet to the parent
    outward = np.zeros((m, d + 1))
    outflow = -np.asarray(total[:m])  # ∫ τ·n over the facets of what drains through it
    outward[np.arange(m), way] = outflow
    above = parent[:m]
    entry = facet[np.arange(m), way]
    inner = np.flatnonzero(above < m)
    local = np.argmax(facet[above[inner]] == entry[inner, None], axis=1)
    np.add.at(outward, (above[inner], local), -outflow[inner])
    corners = mesh.points[mesh.cells]  # (m, d+1, d)
    away = corners.mean(axis=1, keepdims=True) - corners
    return np.einsum("ma,mad->md", outward, away) / (d * mesh.volumes)[:, None]
