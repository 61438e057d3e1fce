"""What follows from points and cells alone: volumes, facets, distinct pairs, and whether they form a mesh."""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hybrid_lib.errors import InputError, real_array

LOCAL_EDGES = {1: ((0, 1),), 2: ((0, 1), (1, 2), (0, 2))}  # by dimension, in local vertex numbers


def signed_volumes(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Signed volume det(edges)/d! of each cell, (m,); negative where a cell is flipped."""
    edges = edge_vectors(points, cells)  # (m, d, d)
    if points.shape[1] == 1:
        return edges[:, 0, 0].copy()
    return (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / factorial(points.shape[1])


def edge_vectors(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Edge vectors from vertex 0 to the others, (m, d, d)."""
    corners = points[cells]
    return corners[:, 1:] - corners[:, :1]


def facets_of(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper node of each facet, cell by cell, facet i opposite to vertex i: two (m(d+1),) arrays.

    In 1-D a facet is one node, which is then both.
    """
    if cells.shape[1] == 2:
        node = cells[:, ::-1].ravel()
        return node, node
    a, b = cells[:, (1, 2, 0)].ravel(), cells[:, (2, 0, 1)].ravel()
    return np.minimum(a, b), np.maximum(a, b)


def outer_facets(cells: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Facets of one cell only: their numbers c (d+1) + i in cell c, opposite to its vertex i, and their lower and upper nodes."""
    lower, upper = facets_of(cells)
    place = unique_pairs(lower, upper, n)[2]
    outer = np.flatnonzero(np.bincount(place)[place] == 1)
    return outer, lower[outer], upper[outer]


def edges_of(cells: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper node of each edge, (e,) each, and the edges' numbers in each cell, (m, edges)."""
    ends = np.array(LOCAL_EDGES[cells.shape[1] - 1])  # (edges, 2)
    a, b = cells[:, ends[:, 0]].ravel(), cells[:, ends[:, 1]].ravel()
    lower, upper, number = unique_pairs(np.minimum(a, b), np.maximum(a, b), n)
    return lower, upper, number.reshape(len(cells), -1)


def unique_pairs(first: np.ndarray, second: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct pairs (first, second) of numbers below n in lexicographic order, and each input's place there.

    Two stable counting sorts (a sparse transposition is one): O(N + n), faster than a comparison sort of 10^7
    pairs.

    >>> [part.tolist() for part in unique_pairs(np.array([1, 0, 1]), np.array([0, 2, 0]), 3)]
    [[0, 1], [2, 0], [1, 0, 1]]
    """

    def counting_sort(keys: np.ndarray) -> np.ndarray:
        rows = np.arange(len(keys) + 1, dtype=np.int32)
        return csr_array((rows[:-1], keys, rows), shape=(len(keys), n)).tocsc().data

    order = counting_sort(second)
    order = order[counting_sort(first[order])]
    a, b = first[order], second[order]
    new = np.ones(len(order), dtype=bool)
    np.not_equal(a[1:], a[:-1], out=new[1:])
    new[1:] |= b[1:] != b[:-1]
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.cumsum(new, dtype=np.int32) - 1
    return a[new], b[new], place


def checked_arrays(points: Any, cells: Any) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the arrays in the right shapes and dtypes, or an InputError."""
    try:
        if np.iscomplexobj(points) or np.ma.is_masked(points):
            real_array("points", points)
        if np.ma.is_masked(cells):
            real_array("cells", cells)
        points, cells = np.array(points, dtype=np.float64), np.array(cells)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            "mesh", "arrays of points and cells", str(error), "make all rows equally long"
        ) from None
    if points.ndim != 2 or points.shape[1] not in (1, 2):
        raise InputError("points", "shape (n, 1) or (n, 2)", f"shape {points.shape}", _remedy_for_points(points, cells))
    n, d = points.shape
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        where = points[bad[0]].tolist()
        raise InputError(f"point {bad[0]}", "finite coordinates", where, "correct or remove it")
    if cells.ndim != 2 or cells.shape[1] != d + 1 or not len(cells):
        raise InputError(
            "cells", f"shape (m, {d + 1}) with m >= 1 for points in {d}-D", f"shape {cells.shape}",
            _remedy_for_cells(points, cells),
        )  # fmt: skip
    if not np.issubdtype(cells.dtype, np.integer):
        raise InputError("cells", "integer node numbers", f"dtype {cells.dtype}", "use cells.astype(int)")
    bad = np.flatnonzero(((cells < 0) | (cells >= n)).any(axis=1))
    if bad.size:
        from_one = cells.min() == 1 and cells.max() == n
        raise InputError(
            f"mesh cell {bad[0]}", f"node numbers from 0 to {n - 1}", cells[bad[0]].tolist(),
            "pass cells - 1 (they count from 1)" if from_one
            else "correct the numbers (they count from 0) or add the missing points",
        )  # fmt: skip
    return points, cells.astype(np.int64)


def _remedy_for_points(points: np.ndarray, cells: np.ndarray) -> str:
    """What to do about points that are not rows of one or two coordinates."""
    if points.ndim == 1:
        return "pass points[:, None]"
    if points.ndim == 2 and points.shape[1] == 3:
        spread = np.ptp(points, axis=0)
        kept = [i for i in range(3) if spread[i] > 1e-9 * spread.max()]
        kept = [0, 1] if not kept or (len(kept) == 1 and cells.shape[-1:] != (2,)) else kept
        dropped = " and ".join("xyz"[i] for i in range(3) if i not in kept)
        if dropped:
            taken = {(0,): ":1", (0, 1): ":2"}.get(tuple(kept), kept)
            return f"drop the {dropped} coordinate: points[:, {taken}]"
        return "meshes lie in a line or a plane; none of the three coordinates is constant"
    return "pass points.T" if points.ndim == 2 and len(points) in (1, 2) else "pass points as rows"


def _remedy_for_cells(points: np.ndarray, cells: np.ndarray) -> str:
    """What to do about cells that are not rows of d + 1 numbers."""
    d = points.shape[1]
    if cells.dtype == object or cells.ndim != 2:
        block = "line" if d == 1 else "triangle"
        return f"list the {d + 1} node numbers of each cell in a row (meshio: mesh.cells_dict[{block!r}])"
    if d == 2 and cells.shape[1] == 2 and (flat := np.flatnonzero(np.ptp(points, axis=0) == 0)).size:
        return f"drop the {'xy'[flat[-1]]} coordinate: points[:, {1 - flat[-1]}:{2 - flat[-1]}]"
    if len(cells) == d + 1 != cells.shape[1]:
        return "pass cells.T"
    if d == 2 and cells.shape[1] == 6:
        return "take the corners, cells[:, :3], and drop the points that are then unused"
    if d == 2 and cells.shape[1] == 4:
        return "cut each quadrilateral in two: np.concatenate([cells[:, [0, 1, 2]], cells[:, [0, 2, 3]]])"
    return f"list the {d + 1} node numbers of each cell in a row"


def turned(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The cells, positively oriented: two nodes of a flipped one are exchanged. Refuses degenerate ones."""
    d = points.shape[1]
    volumes = signed_volumes(points, cells)
    size = np.zeros(len(cells))  # longest side of the box, (m,)
    for column in points.T:
        corners = column[cells]
        np.maximum(size, corners.max(axis=1) - corners.min(axis=1), out=size)
    rounding = 4 * np.finfo(float).eps * np.abs(points).max()  # of coordinates far from 0
    bad = np.flatnonzero(np.abs(volumes) <= (1e-14 * size + rounding) * size ** (d - 1))
    if bad.size:
        raise InputError(
            f"mesh cell {bad[0]}", "a cell of positive volume", f"nodes {cells[bad[0]].tolist()}, degenerate",
            "remove the cell or move a node so that its nodes do not coincide or lie on one line",
        )  # fmt: skip
    cells[volumes < 0, -2:] = cells[volumes < 0, :-3:-1]
    return cells


def checked_boundary(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Numbers of the facets of one cell, if no facet has more cells than one on each side and all points are used."""
    n = len(points)
    lower, upper = facets_of(cells)
    place = unique_pairs(lower, upper, n)[2]
    count = np.bincount(place)
    side = np.bincount(place, weights=_facet_sides(points, cells, lower, upper))  # of one cell 1, of two on both sides 0
    if count.max() > 2 or np.abs(side).max() > 1.5:
        _refuse_crowded(cells, lower, upper, place, count, side)
    unused = np.flatnonzero(np.bincount(cells.ravel(), minlength=n) == 0)
    if unused.size:
        raise InputError(
            f"point {unused[0]}", "every point in some cell", f"{unused.size} unused point(s)",
            "drop unused points and renumber the cells, or add the missing cells",
        )  # fmt: skip
    return np.flatnonzero(count[place] == 1)


def _refuse_crowded(
    cells: np.ndarray, lower: np.ndarray, upper: np.ndarray, place: np.ndarray, count: np.ndarray, side: np.ndarray
) -> None:
    """Name a repeated cell, a facet of more than two cells, or one with two cells on the same side."""
    d = cells.shape[1] - 1
    ordered = np.sort(cells, axis=1)
    order = np.lexsort(ordered.T[::-1])
    same = np.flatnonzero((ordered[order[1:]] == ordered[order[:-1]]).all(axis=1))
    if same.size:
        first, second = sorted((int(order[same[0]]), int(order[same[0] + 1])))
        raise InputError(
            f"mesh cell {second}", "each cell once", f"the nodes of cell {first} again",
            f"remove cell {second}" + (f" and {same.size - 1} more" if same.size > 1 else ""),
        )  # fmt: skip
    kind = {1: "node", 2: "edge"}[d]

    def facet_and_owners(number: int) -> tuple[str, list[int]]:
        entries = np.flatnonzero(place == number)
        ends = sorted({int(lower[entries[0]]), int(upper[entries[0]])})
        return f"{kind} {ends if d > 1 else ends[0]}", (entries // (d + 1)).tolist()

    crowded = np.flatnonzero(count > 2)
    if crowded.size:
        facet, owners = facet_and_owners(crowded[0])
        raise InputError(
            f"mesh cell {owners[2]}", f"each {kind} in at most two cells", f"{facet} in cells {owners}",
            "remove the cells that overlap there",
        )  # fmt: skip
    facet, owners = facet_and_owners(np.flatnonzero(np.abs(side) > 1.5)[0])
    raise InputError(
        f"mesh cell {owners[1]}", f"at most one cell on each side of {facet}",
        f"cells {owners} on the same side", "remove one of the two, as they overlap",
    )  # fmt: skip


def _facet_sides(points: np.ndarray, cells: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """+1 or -1 by the side of its facet on which each cell lies, (m(d+1),)."""
    across = points[cells.ravel()] - points[lower]  # to the vertex opposite to the facet
    if points.shape[1] == 1:
        return np.sign(across[:, 0])
    along = points[upper] - points[lower]
    return np.sign(along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0])
