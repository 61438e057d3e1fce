r"""The compression operator :math:`Q_\delta`: averages of the fine field at coarse nodes, (2.9), (3.26).

A neural network lives on the fine scale, the coarse solution does not: before the two are compared, the fine
field is averaged over balls of the size of a period. What is built here on the host, once per set of
collocation points, is a sparse averaging matrix in a form that JAX evaluates, differentiates and vmaps over a
seed axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem import Mesh, interpolation_matrix

_ROUNDING = 1e-6  # relative: points and nodes this near to the edge of a ball or of the strip count as on it


class Compression(NamedTuple):
    r"""What is needed to evaluate :math:`Q_\delta` from values at points; arrays only, so that seeds stack.

    Attributes
    ----------
    rows : (nnz,) int32
        Coarse node of each entry of the averaging matrix, ascending.
    columns : (nnz,) int32
        Collocation point of each entry.
    weights : (nnz,) float
        One over the number of points around the node (0 in padding).
    pointwise_nodes : (k,) int32
        Nodes near the boundary, where :math:`(Q_\delta v)(x_i) = v(x_i)`.
    counts : (n,) int32
        Number of points averaged at each node, 0 at pointwise nodes.
    coverage : (M,) int32
        Number of neighbourhoods each collocation point lies in.
    """

    rows: jax.Array
    columns: jax.Array
    weights: jax.Array
    pointwise_nodes: jax.Array
    counts: jax.Array
    coverage: jax.Array

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def compression(
    nodes: np.ndarray,
    points: np.ndarray,
    delta: float,
    distance: Callable | np.ndarray,
    radius: float | None = None,
    dtype=None,
    weights: np.ndarray | None = None,
) -> Compression:
    r"""Find the collocation points around every coarse node.

    .. math:: (Q_\delta v)(x_i) = \frac1{|N_i|}\sum_{j \in N_i} v(z_j), \qquad
              N_i = \{j : |z_j - x_i| < r\}, \qquad \text{if } \mathrm{dist}(x_i, \partial\Omega) > \delta/2,

    and :math:`(Q_\delta v)(x_i) = v(x_i)` at all other nodes, (3.26).

    Parameters
    ----------
    nodes : (n, d)
        Coarse nodes :math:`x_i`, dimensionless lengths as all points.
    points : (M, d)
        Collocation points :math:`z_j`.
    delta : float
        Averaging length :math:`\delta > 0`; the experiments take the period.
    distance : callable or (n,) array
        Distance of one point ``x (d,)`` to the boundary, a JAX function; or its values at the nodes.
    radius : float, optional
        Radius r of the balls, default ``delta / 2`` as in (2.9).
    dtype : optional
        Of the weights; default JAX's current float.
    weights : (M,), optional
        Quadrature weights of the points, for weighted means; default equal.

    Returns
    -------
    Compression
        For :func:`average`.

    Raises
    ------
    InputError
        For wrong shapes, a length that is not positive, or a neighbourhood without a point.

    Notes
    -----
    Host code, O((n + M) log M + nnz). The balls are open, and a node whose distance is delta / 2 is
    pointwise; both up to 1e-6 relative, so that rounding does not decide.

    Examples
    --------
    >>> nodes, points = np.linspace(0, 1, 5)[:, None], np.linspace(0, 1, 41)[:, None]
    >>> Q = compression(nodes, points, 0.2, lambda x: jnp.minimum(x[0], 1 - x[0]))
    >>> means = average(Q, jnp.asarray(points[:, 0]), jnp.asarray([0.0, 1.0]))
    >>> np.round(np.asarray(means, float), 6).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    from scipy.spatial import cKDTree  # here, since it is slow to import

    nodes, points = _rows(nodes, "nodes"), _rows(points, "points")
    if points.shape[1] != nodes.shape[1]:
        raise InputError(
            "points", f"shape (M, {nodes.shape[1]}) as the nodes", points.shape, "pass points as rows"
        )
    radius = delta / 2 if radius is None else radius
    for name, length in (("delta", delta), ("radius", radius)):
        if not (np.isfinite(length) and length > 0):
            raise InputError(
                name, "a number > 0", length, "pass the averaging length, for example the period"
            )

    averaged = _distances(distance, nodes) > delta / 2 * (1 + _ROUNDING)  # (n,)
    inner = np.flatnonzero(averaged)
    tree = cKDTree(points)
    found = tree.query_ball_point(nodes[inner], radius, return_sorted=True)  # closed balls
    sizes = np.array([len(f) for f in found], dtype=np.intp)
    rows = np.repeat(inner, sizes)
    columns = np.concatenate([*found, []]).astype(np.intp)
    inside = np.linalg.norm(points[columns] - nodes[rows], axis=1) < radius * (1 - _ROUNDING)  # open balls
    rows, columns = rows[inside], columns[inside]
    counts = np.bincount(rows, minlength=len(nodes))
    if np.any(counts[inner] == 0):
        _raise_empty(tree, nodes, inner, counts, delta, radius)

    dtype = jnp.result_type(float) if dtype is None else dtype
    if weights is None:
        shares = 1.0 / counts[rows]
    else:
        w = real_array("weights", weights)
        if w.shape != points.shape[:1] or not np.all(w > 0):
            raise InputError("weights", f"{len(points)} numbers > 0, one a point", f"shape {w.shape}", "leave them out")
        shares = w[columns] / np.bincount(rows, w[columns], len(nodes))[rows]
    return Compression(
        rows=jnp.asarray(rows, jnp.int32),
        columns=jnp.asarray(columns, jnp.int32),
        weights=jnp.asarray(shares.astype(dtype)),
        pointwise_nodes=jnp.asarray(np.flatnonzero(~averaged), jnp.int32),
        counts=jnp.asarray(counts, jnp.int32),
        coverage=jnp.asarray(np.bincount(columns, minlength=len(points)), jnp.int32),
    )


# Three forms, float32 on two CPU cores, forward / forward and reverse in ms:
#                                          sorted segment sum   padded gather    dense matrix
#   1-D, 251 nodes, 2,000 points                0.30 / 0.38      0.27 / 0.40      0.17 / 0.26
#   2-D, 676 nodes, 25,000 points               0.76 / 1.15      0.75 / 1.41      2.64 / 5.04  (and 68 MB)
# The network costs hundreds of ms there, so the smallest and simplest one that is never bad: the segment sum.
@jax.jit
def average(
    compression: Compression, values_at_points: jax.Array, values_at_pointwise: jax.Array
) -> jax.Array:
    r"""Evaluate :math:`(Q_\delta v)(x_i)` at all coarse nodes, (3.26).

    Parameters
    ----------
    compression : Compression
        From :func:`compression`.
    values_at_points : (M,)
        :math:`v(z_j)` at the collocation points.
    values_at_pointwise : (k,)
        :math:`v(x_i)` at ``nodes[compression.pointwise_nodes]``.

    Returns
    -------
    (n,) array
        In the dtype of the values. Linear in both, differentiable in forward and reverse mode; O(nnz).

    Raises
    ------
    InputError
        If a length does not belong to this compression.

    Examples
    --------
    >>> Q = compression(np.array([[0.5], [1.0]]), np.array([[0.4], [0.6]]), 0.5, np.array([0.5, 0.0]))
    >>> average(Q, jnp.array([1.0, 3.0]), jnp.array([7.0])).tolist()
    [2.0, 7.0]
    """
    for name, values, like in (
        ("values_at_points", values_at_points, compression.coverage),
        ("values_at_pointwise", values_at_pointwise, compression.pointwise_nodes),
    ):
        if values.shape != like.shape:
            raise InputError(
                name,
                f"shape {like.shape}",
                values.shape,
                "evaluate at the points the compression was built for",
            )
    entries = values_at_points[compression.columns] * compression.weights.astype(
        values_at_points.dtype
    )  # (nnz,)
    means = jax.ops.segment_sum(
        entries, compression.rows, num_segments=compression.counts.shape[0], indices_are_sorted=True
    )  # (n,)
    return means.at[compression.pointwise_nodes].add(values_at_pointwise)


def pad(compressions: Sequence[Compression]) -> Compression:
    """Stack the compressions of several point sets along a leading seed axis, filled up with weights 0.

    Parameters
    ----------
    compressions : sequence of S Compression
        Same nodes, same delta, same number of points; the neighbours differ.

    Returns
    -------
    Compression
        Every array with a leading axis S: ``jax.vmap(average)(pad(list), values, pointwise)``.

    Raises
    ------
    InputError
        If the list is empty or the shapes other than the number of neighbours differ.

    Examples
    --------
    >>> sets, node = ([[0.4], [0.6]], [[0.4], [0.9]]), np.array([[0.5]])
    >>> both = pad([compression(node, np.array(z), 0.5, np.array([0.5])) for z in sets])
    >>> jax.vmap(average)(both, jnp.array([[1.0, 3.0], [1.0, 3.0]]), jnp.zeros((2, 0))).tolist()
    [[2.0], [1.0]]
    """
    if not compressions:
        raise InputError("compressions", "at least one", "none", "build one for every seed")
    shapes = [(c.pointwise_nodes.shape, c.counts.shape, c.coverage.shape) for c in compressions]
    if len(set(shapes)) > 1:
        raise InputError(
            "compressions",
            "equal nodes, delta and number of points",
            sorted(set(shapes)),
            "stack seeds of one problem only",
        )
    longest = max(c.rows.shape[0] for c in compressions)
    longest = 1 << (longest - 1).bit_length() if longest else 0  # the same length for most draws: one compiled program

    def filled(c: Compression) -> Compression:
        extra = (0, longest - c.rows.shape[0])
        last = c.counts.shape[0] - 1  # keeps the rows ascending; the weight is 0
        return c._replace(
            rows=jnp.pad(c.rows, extra, constant_values=last),
            columns=jnp.pad(c.columns, extra),
            weights=jnp.pad(c.weights, extra),
        )

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[filled(c) for c in compressions])


def compression_of_coarse(compression: Compression, mesh: Mesh, points: np.ndarray) -> jax.Array:
    r"""Matrix of :math:`Q_\delta` on the P1 functions of the coarse mesh, for the coupling (2.16).

    .. math:: C_{ik} = (Q_\delta \varphi_k)(x_i), \qquad (Q_\delta y_h)(x_i) = \sum_k C_{ik} y_k.

    Parameters
    ----------
    compression : Compression
        One point set (build before :func:`pad`), with ``nodes = mesh.points``.
    mesh : Mesh
        The coarse mesh, n nodes.
    points : (M, d)
        The collocation points of the compression.

    Returns
    -------
    (n, n) array
        Dense, in the dtype of the weights. Host code, O(nnz (d + 1) + n^2).

    Raises
    ------
    InputError
        If the nodes or points are not those of the compression.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> mesh, points = interval(4), np.linspace(0, 1, 41)[:, None]
    >>> Q = compression(mesh.points, points, 0.2, lambda x: jnp.minimum(x[0], 1 - x[0]))
    >>> bool(jnp.allclose(compression_of_coarse(Q, mesh, points).sum(axis=1), 1))
    True
    """
    points = _rows(points, "points")
    expected = (compression.counts.shape[0], compression.coverage.shape[0])
    if (len(mesh.points), len(points)) != expected:
        raise InputError(
            "mesh and points",
            f"{expected[0]} nodes and {expected[1]} points as in the compression",
            f"{len(mesh.points)} nodes and {len(points)} points",
            "pass the ones the compression was built for, before padding",
        )
    entries = (
        np.asarray(compression.weights, float),
        (np.asarray(compression.rows), np.asarray(compression.columns)),
    )
    means = sp.csr_array(entries, shape=expected)
    matrix = (means @ interpolation_matrix(mesh, points)).toarray()  # (n, n)
    pointwise = np.asarray(compression.pointwise_nodes)
    matrix[pointwise, pointwise] = 1.0
    return jnp.asarray(matrix.astype(compression.weights.dtype))


def _rows(points: np.ndarray, name: str) -> np.ndarray:
    points = real_array("points", points)
    if points.ndim != 2 or len(points) == 0 or not np.all(np.isfinite(points)):
        raise InputError(
            name,
            "finite points as rows, shape (count, d)",
            f"shape {points.shape}",
            "use points[:, None] for d = 1",
        )
    return points


def _distances(distance: Callable | np.ndarray, nodes: np.ndarray) -> np.ndarray:
    values = jax.vmap(distance)(jnp.asarray(nodes)) if callable(distance) else distance
    values = real_array("values", values)
    if values.shape != (len(nodes),):
        raise InputError(
            "distance",
            f"one number per node, shape ({len(nodes)},)",
            f"shape {values.shape}",
            "return a scalar for a point x (d,)",
        )
    return values


def _raise_empty(tree, nodes, inner, counts, delta, radius) -> None:
    """Say how far the next point is, and what that means for delta or for the number of points."""
    empty = inner[counts[inner] == 0]
    gap = 1.01 * float(
        np.max(tree.query(nodes[inner])[0])
    )  # the largest hole at a node, and room for rounding
    enough = int(np.ceil(tree.n * (gap / radius) ** nodes.shape[1] * 1.1))  # holes shrink like M^(-1/d)
    larger = f"delta > {2 * gap:.3g}" if radius == delta / 2 else f"radius > {gap:.3g}"
    raise InputError(
        f"compression node {empty[0]} at {np.round(nodes[empty[0]], 6).tolist()}",
        f"a collocation point within {radius:.3g}",
        f"none among {tree.n} points ({len(empty)} such nodes, delta = {delta:.3g})",
        f"use {larger}, or about {enough} points",
    )
