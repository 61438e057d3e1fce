r"""Quadratic elements on intervals and triangles: the rival that wins where K is smooth, and the stream function of sharp bounds.

Unknowns are the values at the vertices and, after them, at the midpoints of the edges. With barycentric coordinates λ the shapes
of a cell are λ_i(2λ_i − 1) and 4λ_iλ_j. Errors fall like h³ in L² and h² in H¹ where u is smooth; linear elements: h², h.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem import sides
from hybrid_lib.fem.coefficients import coefficient_values, direction_of
from hybrid_lib.fem.location import locate
from hybrid_lib.fem.mesh import BLOCK, Mesh
from hybrid_lib.fem.quadrature import evaluate, field_values, rule
from hybrid_lib.fem.solve import solve_dirichlet
from hybrid_lib.fem.topology import LOCAL_EDGES, edges_of

ORDER = 4
"""Order of the rule for functions."""


class Quadratic(NamedTuple):
    """Quadratic elements on a mesh; made by :func:`space`.

    Attributes
    ----------
    mesh : Mesh
    unknowns : (m, k) int
        Numbers of the unknowns of each cell, k = 3 or 6: vertices, then edges in the order of ``LOCAL_EDGES``.
    points : (N, d) float64
        Where the unknowns are values.
    boundary : (b,) int
        Unknowns on the boundary.
    """

    mesh: Mesh
    unknowns: np.ndarray
    points: np.ndarray
    boundary: np.ndarray


def space(mesh: Mesh) -> Quadratic:
    """Quadratic elements on `mesh`.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> space(interval(2)).points.ravel().tolist()
    [0.0, 0.5, 1.0, 0.25, 0.75]
    """
    n = len(mesh.points)
    lower, upper, number = edges_of(mesh.cells, n)
    points = np.concatenate([mesh.points, (mesh.points[lower] + mesh.points[upper]) / 2])
    boundary = mesh.boundary_nodes
    if mesh.dimension == 2:  # an edge of one triangle is on the boundary
        boundary = np.concatenate([boundary, n + np.flatnonzero(np.bincount(number.ravel()) == 1)])
    return Quadratic(mesh, np.concatenate([mesh.cells, n + number], axis=1), points, boundary)


def shapes(barycentric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shapes (..., k) and their derivatives in the barycentric coordinates (..., k, d+1), at points (..., d+1).

    Examples
    --------
    >>> shapes(np.array([0.5, 0.5]))[0].tolist()
    [0.0, 0.0, 1.0]
    """
    values = [barycentric * (2 * barycentric - 1)]
    values += [4 * barycentric[..., i, None] * barycentric[..., j, None] for i, j in LOCAL_EDGES[barycentric.shape[-1] - 1]]
    return np.concatenate(values, axis=-1), np.einsum("kac,...c->...ka", slopes(barycentric.shape[-1]), barycentric)


@lru_cache
def slopes(width: int) -> np.ndarray:
    """s (k, a, c): the derivative of shape k in λ_a is Σ_c s_kac λ_c, as Σ λ = 1."""
    edges = LOCAL_EDGES[width - 1]
    s = np.zeros((width + len(edges), width, width))
    for i in range(width):
        s[i, i] = 4 * np.eye(width)[i] - 1
    for number, (i, j) in enumerate(edges):
        s[width + number, i, j] = s[width + number, j, i] = 4.0
    return s


def stiffness(V: Quadratic, K: Any, order: int = ORDER) -> csr_array:
    """Matrix ∫ K∇φ_j·∇φ_i of all unknowns, the boundary included.

    Parameters
    ----------
    V : Quadratic
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    order : int
        Quadrature order for a callable K; exact for polynomials of degree order − 2.

    Returns
    -------
    (N, N) csr_array

    Raises
    ------
    InputError
        If K cannot be used.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> (3 * stiffness(space(interval(1)), 1.0)).toarray().round(9).tolist()
    [[7.0, 1.0, -8.0], [1.0, 7.0, -8.0], [-8.0, -8.0, 16.0]]
    """
    return weighted_stiffness(V, coefficient_values(V.mesh, K, order), *rule(V.mesh.dimension, order))


def weighted_stiffness(V: Quadratic, values: np.ndarray, barycentric: np.ndarray, weights: np.ndarray) -> csr_array:
    """As :func:`stiffness`, from values (m or 1, q or 1), for tensors with (d, d) after it, at the points of a rule."""
    (q, width), m, k = barycentric.shape, len(V.mesh.cells), V.unknowns.shape[1]
    pairs = (weights[:, None, None] * barycentric[:, :, None] * barycentric[:, None, :]).reshape(q, -1)
    if values.shape[1] == 1:
        pairs = pairs.sum(axis=0, keepdims=True)
    moments = np.tensordot(values, pairs, axes=(1, 0))  # ∫ K λ_c λ_d / |T|: (m or 1, [d, d,] cd)
    moments = np.broadcast_to(moments, (m, *moments.shape[1:]))
    s = slopes(width)
    products = np.einsum("iac,jbd->abcdij", s, s).reshape(-1, k * k)
    entries = np.empty((m, k * k))
    for start in range(0, m, BLOCK):
        part = slice(start, start + BLOCK)
        G, volumes, local = V.mesh.basis_gradients[part], V.mesh.volumes[part], moments[part]
        if values.ndim == 2:
            table = (volumes[:, None, None] * (G @ G.mT)).reshape(len(G), -1, 1) * local[:, None]
        else:
            table = np.einsum("m,max,mxyc,mby->mabc", volumes, G, local, G, optimize=True)
        entries[part] = table.reshape(len(G), -1) @ products
    rows, columns = np.repeat(V.unknowns, k, axis=1), np.tile(V.unknowns, (1, k))
    n = len(V.points)
    return csr_array(coo_array((entries.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n)))


def load(V: Quadratic, f: float | np.ndarray | Callable, order: int = ORDER) -> np.ndarray:
    """Vector ∫ f φ_i of all unknowns, (N,).

    Parameters
    ----------
    V : Quadratic
    f : see :func:`hybrid_lib.fem.assembly.load`
    order : int
        Quadrature order, exact for polynomials f of degree order − 2.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> (6 * load(space(interval(1)), 1.0)).round(9).tolist()
    [1.0, 1.0, 4.0]
    """
    values = field_values(V.mesh, f, order, name="f")  # (m or 1, q or 1)
    barycentric, weights = rule(V.mesh.dimension, order)
    moments = (values * weights) @ shapes(barycentric)[0] * V.mesh.volumes[:, None]  # (m, k)
    return np.bincount(V.unknowns.ravel(), weights=moments.ravel(), minlength=len(V.points))


def solve(
    mesh: Mesh,
    K: Any,
    f: float | np.ndarray | Callable,
    boundary: float | Callable = 0.0,
    direction: np.ndarray | None = None,
    order: int = ORDER,
    tol: float = 1e-12,
    conditions: dict[str, tuple] | None = None,
) -> tuple[Quadratic, np.ndarray]:
    """Quadratic elements for −∇·(K(∇u + e)) = f with u = boundary on the boundary, or with conditions on its sides.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    f : see :func:`hybrid_lib.fem.assembly.load`
    boundary : float or callable x (d,) -> scalar
    direction : (d,) array, optional
        e of the lift; none by default.
    order : int
        Quadrature order for callables.
    tol : float
        As in :func:`hybrid_lib.fem.solve.solve_dirichlet`.
    conditions : dict of side name to (kind, value[, coefficient]), optional
        In the place of `boundary`, without `direction`, as :meth:`hybrid_lib.Problem.conditions` has them, on a mesh with sides.
        With fluxes alone the mean is zero.

    Returns
    -------
    space : Quadratic
    nodal : (N,) float64
        Values at ``space.points``.

    Raises
    ------
    InputError
        If an argument cannot be used.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> solve(interval(1), 1.0, 2.0)[1].round(12).tolist()  # x(1 − x), exact
    [0.0, 0.0, 0.25]
    """
    V = space(mesh)
    matrix, rhs = stiffness(V, K, order), load(V, f, order)
    if conditions is not None:
        return V, _sided(V, conditions, matrix, rhs, tol)
    if direction is not None:
        rhs = rhs - matrix @ (V.points @ direction_of(mesh, direction))  # e·x is in the space: the lift is exact
    values = evaluate(boundary, V.points[V.boundary]) if callable(boundary) else boundary
    return V, solve_dirichlet(matrix, rhs, V.boundary, values, tol=tol, points=V.points)


def _sided(V: Quadratic, conditions: dict[str, tuple], matrix: csr_array, rhs: np.ndarray, tol: float) -> np.ndarray:
    """Values at the unknowns with conditions on sides; the mean of two temperatures where their sides meet."""
    d, n, exchanged = V.mesh.dimension, len(V.points), False
    total, count = np.zeros(n), np.zeros(n)
    opposite = [next(e for e, pair in enumerate(LOCAL_EDGES[d]) if a not in pair) for a in range(3)] if d == 2 else []
    for name, (kind, value, *rest) in conditions.items():
        side = sides.looked_at(V.mesh, V.mesh.sides[name], () if kind == "value" else (value, *rest))
        unknowns = side.nodes
        if d == 2:
            middle = V.unknowns[side.cell, 3 + np.array(opposite)[side.local]]
            unknowns = np.concatenate([unknowns, middle[:, None]], axis=1)  # (facets, k)
        if kind == "value":
            own = np.unique(unknowns)
            total[own] += sides.values_at(value, V.points[own])
            count[own] += 1
            continue
        on = shapes(side.barycentric)[0] if d == 2 else np.ones((1, 1))  # (q, k)
        given, measure = sides.values_at(value, side.points), side.measure[:, None] * side.weights  # (facets, q)
        if kind == "exchange":
            c = sides.values_at(rest[0], side.points)
            entries = np.einsum("fq,qa,qb->fab", c * measure, on, on)
            k = on.shape[1]
            rows, columns = np.repeat(unknowns, k, axis=1), np.tile(unknowns, (1, k))
            matrix = matrix + csr_array(coo_array((entries.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n)))
            given, exchanged = c * given, exchanged or bool(c.any())
        rhs = rhs + np.bincount(unknowns.ravel(), ((given * measure) @ on).ravel(), n)
    held = np.flatnonzero(count)
    if held.size or exchanged:
        return solve_dirichlet(matrix, rhs, held, total[held] / count[held], tol=tol, points=V.points)
    mass = load(V, 1.0)
    nodal = solve_dirichlet(matrix, rhs - mass * (rhs.sum() / mass.sum()), np.array([0]), 0.0, tol=tol, points=V.points)
    return nodal - mass @ nodal / mass.sum()


def at(V: Quadratic, nodal: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value (k,) and gradient (k, d) of a field of quadratic elements at points (k, d).

    Raises
    ------
    InputError
        If a point lies outside the mesh, or nodal has not one value an unknown.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> V = space(interval(2))
    >>> [a.round(12).tolist() for a in at(V, V.points[:, 0] ** 2, np.array([[0.3]]))]
    [[0.09], [[0.6]]]
    """
    local = _unknowns(V, nodal)
    cell, barycentric = locate(V.mesh, points)
    values, slopes = shapes(barycentric)
    local, G = local[V.unknowns[cell]], V.mesh.basis_gradients[cell]  # (k, shapes), (k, d+1, d)
    return np.einsum("ki,ki->k", local, values), np.einsum("ki,kia,kax->kx", local, slopes, G, optimize=True)


def gradients(V: Quadratic, nodal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient at the centroid (m, d) and second derivatives (m, d, d) of a field of quadratic elements on each cell.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> V = space(interval(2))
    >>> [a.ravel().tolist() for a in gradients(V, V.points[:, 0] ** 2)]
    [[0.5, 1.5], [2.0, 2.0]]
    """
    local, G = _unknowns(V, nodal)[V.unknowns], V.mesh.basis_gradients
    width = G.shape[1]
    bend = np.einsum("mk,kac->mac", local, slopes(width))  # derivative a is Σ_c bend_ac λ_c
    return np.einsum("mac,max->mx", bend, G) / width, np.einsum("mac,max,mcy->mxy", bend, G, G, optimize=True)


def _unknowns(V: Quadratic, nodal: Any) -> np.ndarray:
    """Values at the unknowns as a float64 vector."""
    nodal = real_array("nodal", nodal)
    if nodal.shape != (len(V.points),):
        expected = f"{len(V.points)} values, one a vertex and one an edge"
        raise InputError("nodal", expected, f"shape {nodal.shape}", "pass what solve gives")
    return nodal
