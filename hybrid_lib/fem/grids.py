"""Meshes of intervals, rectangles and an L-shape, of equal pieces or of given lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_lib.errors import InputError, real_array, whole
from hybrid_lib.fem.mesh import Mesh, _mesh, require_room


def interval(n: int, a: float = 0.0, b: float = 1.0) -> Mesh:
    """Mesh the interval (a, b) with n equal cells; h = (b - a)/n.

    Parameters
    ----------
    n : int
        Number of cells, at least 1.
    a, b : float
        Ends, a < b.

    Raises
    ------
    InputError
        If n < 1, a >= b, or the nodes coincide by rounding.

    Examples
    --------
    >>> interval(4).points.ravel().tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    n = _count("n", n)
    require_room(n)
    if not (np.isfinite(a) and np.isfinite(b) and a < b):
        raise InputError("interval", "finite ends a < b", f"a = {a}, b = {b}", "exchange or correct the ends")
    points = a + (b - a) * (np.arange(n + 1) / n)
    points[-1] = b
    if not np.all(np.diff(points) > 0):
        length = f"(b - a)/n = {(b - a) / n:.1e}"
        raise InputError("interval", "cells longer than the rounding of the ends", length, "shift the interval to 0")
    return grid(points)


def unit_square(n: int) -> Mesh:
    """Mesh the unit square with n by n square pieces of side 1/n, each cut in two triangles; h = sqrt(2)/n.

    Node (i, j) at (i/n, j/n) has the number j (n+1) + i.

    Parameters
    ----------
    n : int
        Pieces a side, at least 1.

    Raises
    ------
    InputError
        If n < 1.

    Examples
    --------
    >>> mesh = unit_square(3)
    >>> len(mesh.points), len(mesh.cells), len(mesh.boundary_nodes)
    (16, 18, 12)
    """
    n = _count("n", n)
    require_room(n, n)
    coordinate = np.arange(n + 1) / n
    return _grid(coordinate, coordinate, np.ones((n, n), dtype=bool))


def box(lower: Any, upper: Any, counts: Any) -> Mesh:
    """Mesh the box between two corners with counts[i] equal pieces along axis i, in the plane each cut in two triangles.

    Parameters
    ----------
    lower, upper : d floats
        Corners, lower < upper; d = 1 or 2.
    counts : d ints
        Pieces along each axis, at least 1.

    Raises
    ------
    InputError
        As :func:`interval`, along each axis.

    Examples
    --------
    >>> mesh = box((0.0, -1.0), (3.0, 0.0), (3, 2))
    >>> len(mesh.cells), mesh.volumes.sum().item()
    (12, 3.0)
    """
    return grid(*(interval(n, a, b).points[:, 0] for n, a, b in zip(counts, lower, upper, strict=True)))


def grid(*axes: Any) -> Mesh:
    """Mesh an interval with nodes at given places, or a rectangle with lines at them, each piece cut in two triangles.

    Parameters
    ----------
    axes : one or two (n + 1,) arrays
        Coordinates along each axis, ascending.

    Raises
    ------
    InputError
        For coordinates that do not ascend.

    Examples
    --------
    >>> grid([0.0, 0.1, 1.0], [0.0, 2.0]).volumes.round(12).tolist()
    [0.1, 0.1, 0.9, 0.9]
    """
    axes = [real_array("axes", axis) for axis in axes]
    if not all(axis.ndim == 1 and axis.size > 1 and np.all(np.diff(axis) > 0) for axis in axes):
        raise InputError("axes", "ascending coordinates along each axis", "others", "sort them, and take each once")
    require_room(*(len(axis) - 1 for axis in axes))
    if len(axes) > 1:
        return _grid(*axes, np.ones((len(axes[1]) - 1, len(axes[0]) - 1), dtype=bool))
    left = np.arange(len(axes[0]) - 1, dtype=np.int32)
    return _mesh(axes[0][:, None], np.column_stack([left, left + 1]))


def lshape(n: int) -> Mesh:
    """Mesh the L-shaped domain (-1, 1)^2 without [0, 1) x (-1, 0], n pieces a unit side; h = sqrt(2)/n.

    The corner at the origin points inwards, so solutions of smooth data have no second derivatives in L2
    there.

    Parameters
    ----------
    n : int
        Square pieces on each unit side, at least 1.

    Raises
    ------
    InputError
        If n < 1.

    Examples
    --------
    >>> round(lshape(4).volumes.sum().item(), 12)
    3.0
    """
    n = _count("n", n)
    require_room(2 * n, 2 * n)
    coordinate = np.arange(-n, n + 1) / n
    kept = np.ones((2 * n, 2 * n), dtype=bool)  # [row j, column i]
    kept[:n, n:] = False
    return _grid(coordinate, coordinate, kept)


def _grid(x: np.ndarray, y: np.ndarray, kept: np.ndarray) -> Mesh:
    """Tensor grid of squares (kept[j, i] says which stay), each cut along the diagonal from lower left."""
    columns = len(x)
    j, i = np.nonzero(kept)
    corner = j * columns + i  # (s,)
    a, b, c, e = corner, corner + 1, corner + columns + 1, corner + columns
    cells = np.stack([np.stack([a, b, c], axis=1), np.stack([a, c, e], axis=1)], axis=1).reshape(-1, 3)
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
    if not kept.all():
        used = np.zeros(len(points), dtype=bool)
        used[cells] = True
        cells, points = (np.cumsum(used) - 1)[cells], points[used]
    return _mesh(points, cells)


def _count(name: str, n: Any) -> int:
    return whole(name, n, 1, "pass the number of pieces a side")
