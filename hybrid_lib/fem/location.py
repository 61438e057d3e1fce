"""Find the cell of a point, and interpolate nodal values there."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem.buckets import Buckets, ranges
from hybrid_lib.fem.mesh import Mesh


def locate(mesh: Mesh, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the cell of each point and the barycentric coordinates in it, x = Σ_i barycentric_i vertex_i.

    A point on an edge or a vertex belongs to any one of the cells that share it. Points outside by no more
    than rounding (1e-9 of the mesh's size) count as inside; their coordinates are clipped to [0, 1].

    Parameters
    ----------
    mesh : Mesh
    x : (k, d) array

    Returns
    -------
    cell : (k,) int32
    barycentric : (k, d+1) float64
        In [0, 1], each row sums to one.

    Raises
    ------
    InputError
        If a point lies outside the mesh, naming the first one.

    Notes
    -----
    Each point meets only the cells whose boxes touch its bucket of a background grid, so nothing is missed on
    non-convex domains. Cost O(k) on meshes of comparable cells, after O(m) once; more where small cells
    crowd in few buckets (strong grading).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> cell, barycentric = locate(interval(4), [[0.3]])
    >>> cell.tolist(), barycentric.round(12).tolist()
    ([1], [[0.8, 0.2]])
    """
    x, slack = _points_like(mesh, x)
    cell, barycentric, within = _nearest(mesh, x, slack)
    outside = np.flatnonzero(~within)
    if outside.size:
        k = int(outside[0])
        raise InputError(
            f"point {k}", f"a point in the mesh within {box_words(*_corners(mesh))}", f"{x[k].tolist()} outside it",
            f"leave out or move the {outside.size} point(s) that lie outside",
        )  # fmt: skip
    barycentric = np.clip(barycentric, 0.0, 1.0)
    return cell, barycentric / barycentric.sum(axis=1, keepdims=True)


def inside(mesh: Mesh, x: np.ndarray) -> np.ndarray:
    """Which of the points x (k, d) lie in the mesh, (k,) bool; those that :func:`locate` finds.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import lshape
    >>> inside(lshape(2), [[0.5, -0.5], [0.5, 0.5]]).tolist()
    [False, True]
    """
    return _nearest(mesh, *_points_like(mesh, x))[2]


def near(lower: Any, upper: Any, points: Any) -> float:
    """How far outside a box of these corners `points` may be by rounding: 1e-9 of its size, or ulps of the points' dtype.

    Examples
    --------
    >>> near([0.0], [2.0], [[0.5]]), near([0.0], [1.0], np.float32([[0.5]]))
    (2e-09, 1.9073486328125e-06)
    """
    dtype = getattr(points, "dtype", np.dtype(float))
    ulp = float(np.finfo(dtype if dtype.kind == "f" else float).eps)
    return max(1e-9 * float(np.max(np.subtract(upper, lower))), 16 * ulp * float(np.abs([lower, upper]).max()))


def box_words(lower: Any, upper: Any) -> str:
    """A box in words.

    >>> box_words([0.0, 0.0], [1.0, 0.5])
    '(0, 1) × (0, 0.5)'
    """
    return " × ".join(f"({a:.6g}, {b:.6g})" for a, b in zip(lower, upper, strict=True))


def _nearest(mesh: Mesh, x: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best cell of each point, its barycentric coordinates there, and whether it is outside by no more than `slack`."""
    buckets = mesh.buckets
    index = np.floor((x - buckets.origin) / buckets.spacing)
    index = np.clip(index, 0, buckets.shape - 1).astype(np.int64)  # (k, d)
    bucket = np.ravel_multi_index(tuple(index.T), tuple(buckets.shape))  # (k,)
    cell = np.full(len(x), -1, dtype=np.int32)
    barycentric = np.zeros((len(x), mesh.dimension + 1))
    counts = np.diff(buckets.indptr)[bucket]  # candidates of each point
    for part in _parts_of_size(counts, 1 << 21):
        found, coordinates = _best_cell(mesh, buckets, x[part], bucket[part], counts[part])
        cell[part], barycentric[part] = found, coordinates
    allowed = np.maximum(_location_tolerance(mesh), slack * np.linalg.norm(mesh.basis_gradients[cell], axis=2))
    within = (cell >= 0) & np.all(barycentric >= -allowed, axis=1)
    return cell, barycentric, within


def interpolation_matrix(mesh: Mesh, x: np.ndarray) -> csr_array:
    """Matrix that takes nodal values to the values of the piecewise linear function at the points x.

    Row k holds the hat functions at x_k: (P v)_k = Σ_i φ_i(x_k) v_i; rows sum to one.

    Parameters
    ----------
    mesh : Mesh
    x : (k, d) array

    Returns
    -------
    (k, n) csr_array

    Raises
    ------
    InputError
        If a point lies outside the mesh.

    Notes
    -----
    Cost as :func:`locate`.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> interpolation_matrix(interval(2), [[0.25]]).toarray().tolist()
    [[0.5, 0.5, 0.0]]
    """
    cell, barycentric = locate(mesh, x)
    width = mesh.dimension + 1
    indptr = np.arange(0, width * len(cell) + 1, width)
    shape = (len(cell), len(mesh.points))
    matrix = csr_array((barycentric.ravel(), mesh.cells[cell].ravel(), indptr), shape=shape)
    matrix.sort_indices()
    return matrix


def interpolate(mesh: Mesh, nodal: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Value at the points x of the piecewise linear function Σ_i nodal_i φ_i.

    Parameters
    ----------
    mesh : Mesh
    nodal : (n,) or (n, c) array
        Nodal values, one or several functions.
    x : (k, d) array

    Returns
    -------
    (k,) or (k, c) float64

    Raises
    ------
    InputError
        If a point lies outside the mesh, or nodal does not have n rows.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> interpolate(interval(2), [0.0, 1.0, 0.0], [[0.25], [1.0]]).tolist()
    [0.5, 0.0]
    """
    nodal = nodal_array(mesh, nodal)
    cell, barycentric = locate(mesh, x)
    return np.einsum("ki,ki...->k...", barycentric, nodal[mesh.cells[cell]])


def nodal_array(mesh: Mesh, nodal: Any) -> np.ndarray:
    """Nodal values as float64 with n rows, or an InputError."""
    nodal = real_array("nodal", nodal)
    if nodal.ndim == 0 or len(nodal) != len(mesh.points):
        raise InputError(
            "nodal", f"{len(mesh.points)} values, one a node", f"shape {nodal.shape}",
            "pass values at the nodes of this mesh",
        )  # fmt: skip
    return nodal


def _points_like(mesh: Mesh, given: Any) -> tuple[np.ndarray, float]:
    """Points as (k, d) float64, and how far outside they may be by rounding."""
    x = real_array("x", given)
    d = mesh.dimension
    if x.ndim != 2 or x.shape[1] != d:
        remedy = "pass x[:, None]" if d == 1 and x.ndim == 1 else "pass points as rows"
        raise InputError("x", f"an array of points of shape (k, {d})", f"shape {x.shape}", remedy)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise InputError(f"point {bad[0]}", "finite coordinates", x[bad[0]].tolist(), "remove it")
    return x, near(*_corners(mesh), given)


def _corners(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Of the smallest box around the mesh."""
    return mesh.points.min(axis=0), mesh.points.max(axis=0)


def _location_tolerance(mesh: Mesh) -> float:
    """How negative a barycentric coordinate may be by rounding: ulps of the points over a cell's height."""
    height = (mesh.volumes / mesh.diameters ** (mesh.dimension - 1)).min()
    return max(1e-10, 64 * np.finfo(float).eps * float(np.abs(mesh.points).max()) / float(height))


def _parts_of_size(counts: np.ndarray, size: int) -> list[slice]:
    """Consecutive slices of the points with about `size` candidates each."""
    if not len(counts):
        return []
    label = (np.cumsum(counts) - counts) // size
    edges = np.flatnonzero(np.diff(label)) + 1
    bounds = [0, *edges.tolist(), len(counts)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def _best_cell(
    mesh: Mesh, buckets: Buckets, x: np.ndarray, bucket: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """In each point's bucket, the cell whose smallest barycentric coordinate is largest; -1 if none."""
    d = mesh.dimension
    owner = np.repeat(np.arange(len(x)), counts)  # (pairs,)
    candidate = buckets.cells[ranges(buckets.indptr[bucket], counts)]  # (pairs,)
    offset = x[owner] - mesh.points[mesh.cells[candidate, 0]]  # (pairs, d)
    coordinates = np.empty((len(owner), d + 1))
    coordinates[:, 1:] = np.einsum("pia,pa->pi", mesh.basis_gradients[candidate, 1:], offset)
    coordinates[:, 0] = 1.0 - coordinates[:, 1:].sum(axis=1)
    smallest = coordinates.min(axis=1)
    occupied = counts > 0
    starts = (np.cumsum(counts) - counts)[occupied]
    cell = np.full(len(x), -1, dtype=np.int32)
    barycentric = np.full((len(x), d + 1), -np.inf)
    if len(owner):
        best = np.maximum.reduceat(smallest, starts)
        hits = np.flatnonzero(smallest == np.repeat(best, counts[occupied]))
        chosen = hits[np.unique(owner[hits], return_index=True)[1]]
        cell[occupied], barycentric[occupied] = candidate[chosen], coordinates[chosen]
    return cell, barycentric
