"""Whether the cells of a mesh fit together: nothing glued by position alone, nothing covered twice; and the glue.

Only facets of one cell (the boundary) are looked at: a node given twice, a hanging node and cells that overlap all leave some. If
no two of them touch and each has the mesh on one side exactly once, every point of the domain is covered once, as the number of
cells over a point changes at such facets alone.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybrid_lib.errors import InputError
from hybrid_lib.fem.buckets import background_grid

NEAR = 1e-3
"""Nodes nearer than this part of a cell's height (to glue: of the shortest edge) count as one."""
FACETS = 1 << 14
"""Facets whose surroundings are looked at together."""


def merged(points: np.ndarray, cells: np.ndarray, merge: bool | float) -> tuple[np.ndarray, np.ndarray]:
    """Points and cells after points nearer than `merge` times the shortest edge at them became one, and unused ones went."""
    from scipy.spatial import cKDTree  # here, since it is slow to import

    tolerance = NEAR if merge is True else merge
    if not (isinstance(tolerance, (int, float, np.number)) and 0 <= tolerance < 0.5):
        raise InputError("merge", "True, False or a number from 0 to 0.5", repr(merge), "1e-3 of an edge is usual")
    n, reach = len(points), np.full(len(points), np.inf)
    for i in range(cells.shape[1]):
        a, b = cells[:, i], cells[:, i - 1]
        length = np.linalg.norm(points[a] - points[b], axis=1)
        length[length == 0] = np.inf  # a cell with one node twice is refused later
        np.minimum.at(reach, a, length)
        np.minimum.at(reach, b, length)
    reach = np.where(np.isfinite(reach), tolerance * reach, 0.0)
    found = cKDTree(points).query_ball_point(points, reach, return_sorted=False)
    counts = np.array([len(f) for f in found])
    first, second = np.repeat(np.arange(n), counts), np.concatenate(found).astype(np.intp)
    near = np.linalg.norm(points[first] - points[second], axis=1) <= np.minimum(reach[first], reach[second])
    graph = coo_array((np.ones(near.sum(), bool), (first[near], second[near])), shape=(n, n))
    _, kept, number = np.unique(connected_components(graph, directed=False)[1], return_index=True, return_inverse=True)
    order = np.argsort(kept)  # the glued points keep the order of their first ones
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    used, cells = np.unique(place[number][cells], return_inverse=True)
    return points[kept[order]][used], cells


def check_boundary(points: np.ndarray, cells: np.ndarray, entries: np.ndarray, crack: bool) -> None:
    """Refuse facets that touch without being shared (unless `crack`) or cross, and cells that lie on others.

    `entries` number the facets of one cell: those of cell c are c(d+1) … c(d+1)+d, facet i opposite to vertex i. All cells are
    positively oriented. O(b log b) for b facets whose neighbours are of their size.
    """
    if points.shape[1] == 1:
        _check_line(points[:, 0], cells, crack)
        return
    owner, local = np.divmod(entries, 3)
    ends = np.stack([cells[owner, (local + 1) % 3], cells[owner, (local + 2) % 3]], axis=1)  # (b, 2), the cell on the left
    a, b, c = points[ends[:, 0]], points[ends[:, 1]], points[cells[owner, local]]
    longest = np.max([np.hypot(*side.T) for side in (b - a, c - b, a - c)], axis=0)
    height = _cross(b - a, c - a) / longest  # (b,), the least of the cell
    _check_touching(points, cells, owner, ends, NEAR * height, crack)
    _check_covered_once(points, ends, owner, NEAR * height)


def _check_line(x: np.ndarray, cells: np.ndarray, crack: bool) -> None:
    """In one dimension: cells from left to right, each beginning at the last node of the one before, or after a gap."""
    order = np.argsort(x[cells[:, 0]], kind="stable")
    left, right = cells[order, 0], cells[order, 1]
    gap = x[left[1:]] - np.maximum.accumulate(x[right])[:-1]
    near = NEAR * np.minimum(x[right[1:]] - x[left[1:]], x[right[:-1]] - x[left[:-1]])
    over = np.flatnonzero(gap < -near)
    if over.size:
        raise _overlap(order[over[0] + 1], f"it and cell {order[over[0]]} overlap")
    twice = np.flatnonzero((gap <= near) & (left[1:] != right[:-1]))
    if twice.size and not crack:
        raise _given_twice(right[twice[0]], left[twice[0] + 1], x[left[twice[0] + 1], None])


def _check_touching(
    points: np.ndarray, cells: np.ndarray, owner: np.ndarray, ends: np.ndarray, near: np.ndarray, crack: bool
) -> None:
    """Each facet with those around it: a node of one on the other, or a crossing."""
    from scipy.spatial import cKDTree  # here, since it is slow to import

    middle, half = points[ends].mean(axis=1), np.hypot(*(points[ends[:, 1]] - points[ends[:, 0]]).T) / 2
    tree, reach = cKDTree(middle), 2 * half + near  # the longer one of two that touch finds the other
    for start in range(0, len(ends), FACETS):
        found = tree.query_ball_point(middle[start : start + FACETS], reach[start : start + FACETS], return_sorted=False)
        i = np.repeat(np.arange(start, start + len(found)), [len(f) for f in found])
        j = np.concatenate(found).astype(np.intp)
        i, j = i[i != j], j[i != j]
        touching = np.zeros(len(i), bool)
        for s, t in ((i, j), (j, i)):
            for k in (0, 1):
                node = ends[t, k]
                a, b = points[ends[s, 0]], points[ends[s, 1]]
                along = np.clip(np.sum((points[node] - a) * (b - a), axis=1) / np.sum((b - a) ** 2, axis=1), 0, 1)
                away = np.hypot(*(points[node] - a - along[:, None] * (b - a)).T)
                on = (away <= np.minimum(near[s], near[t])) & (ends[s] != node[:, None]).all(axis=1)
                touching |= on
                if on.any() and not crack:
                    raise _touch(points, ends[s[on][0]], node[on][0], owner[s[on][0]], near[s[on][0]])
        apart = ~touching & (ends[i][:, :, None] != ends[j][:, None, :]).all(axis=(1, 2))
        i, j = i[apart], j[apart]
        sides = [
            _cross(points[ends[s, 1]] - points[ends[s, 0]], points[ends[t, k]] - points[ends[s, 0]])
            for s, t in ((i, j), (j, i))
            for k in (0, 1)
        ]
        across = np.flatnonzero((sides[0] * sides[1] < 0) & (sides[2] * sides[3] < 0))
        if across.size:
            one, two = sorted((int(owner[i[across[0]]]), int(owner[j[across[0]]])))
            raise _overlap(two, f"its edge crosses one of cell {one}")


def _check_covered_once(points: np.ndarray, ends: np.ndarray, owner: np.ndarray, near: np.ndarray) -> None:
    """Count the cells over the left side of the steepest facet of each loop, by the facets that a ray to the left meets.

    Loops are cut where they meet others at a node.
    """
    a, b = points[ends[:, 0]], points[ends[:, 1]]
    middle, down, rise, extent = (a + b) / 2, b[:, 1] < a[:, 1], np.abs(b - a)[:, 1], np.ptp(a, axis=0)
    following = np.zeros(len(points), np.intp)
    following[ends[:, 0]] = np.arange(len(ends))
    plain = np.flatnonzero(np.bincount(ends[:, 0], minlength=len(points))[ends[:, 1]] == 1)
    links = coo_array((np.ones(len(plain), bool), (plain, following[ends[plain, 1]])), shape=(len(ends),) * 2)
    loop = connected_components(links, directed=False)[1]
    order = np.lexsort((rise, loop))
    query = order[np.flatnonzero(np.diff(loop[order], append=-1))]  # the last of each loop
    query = query[rise[query] * extent[0] > 1e-6 * np.abs(b - a)[query, 0] * extent[1]]  # others are almost on the ray
    heights = np.stack([a[:, 1], b[:, 1]], axis=1).reshape(-1, 1)  # (2b, 1)
    grid = background_grid(heights, np.arange(2 * len(a)).reshape(-1, 2))
    bucket = np.clip((middle[query, 1] - grid.origin) / grid.spacing, 0, grid.shape - 1).astype(np.int64)
    for e, k in zip(query, bucket, strict=True):
        j, y = grid.cells[grid.indptr[k] : grid.indptr[k + 1]], middle[e, 1]
        j = j[(a[j, 1] <= y) != (b[j, 1] <= y)]
        x = a[j, 0] + (y - a[j, 1]) / (b[j, 1] - a[j, 1]) * (b[j, 0] - a[j, 0])
        here = (j == e) | (np.abs(x - middle[e, 0]) <= near[e])  # met where the cell of e is to the right
        over = np.sum(np.where(down[j], 1, -1) * np.where(here, down[e], x < middle[e, 0]))
        if over > 1:
            raise _overlap(owner[e], f"{over} cells on one another at {middle[e].tolist()}")


def _touch(points: np.ndarray, edge: np.ndarray, node: int, cell: int, near: float) -> InputError:
    away = np.hypot(*(points[edge] - points[node]).T)
    if away.min() <= near:
        return _given_twice(edge[np.argmin(away)], node, points[node])
    return InputError(
        f"point {node}", "nodes at the corners of cells only",
        f"{points[node].tolist()} on edge {sorted(edge.tolist())} of cell {cell}",
        "cut that cell at this hanging node, or mesh both sides alike; crack=True for a crack",
    )  # fmt: skip


def _given_twice(one: int, two: int, x: np.ndarray) -> InputError:
    first, second = sorted((int(one), int(two)))
    return InputError(
        f"points {first} and {second}", "one point at a place, shared by the cells around it",
        f"both at {np.asarray(x).tolist()}",
        "pass merge=True to glue the parts, or crack=True for a crack between them",
    )  # fmt: skip


def _overlap(cell: int, received: str) -> InputError:
    return InputError(f"mesh cell {cell}", "cells that do not overlap", received, "remove the part that lies on another one")


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
