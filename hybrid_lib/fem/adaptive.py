"""Local refinement: cells that are marked are cut, and as few others as it takes to leave no hanging node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.fem.mesh import Mesh, _mesh, halved_facets
from hybrid_lib.fem.topology import LOCAL_EDGES, edges_of

# Children of a cell with corners a, b, c, longest edge ab, and midpoints m of ab, n of bc, p of ca: by which of bc, ca is cut.
PARTS = {
    (False, False): ("amc", "mbc"),
    (True, False): ("amc", "mbn", "mnc"),
    (False, True): ("amp", "pmc", "mbc"),
    (True, True): ("amp", "pmc", "mbn", "mnc"),
}


def bisect(mesh: Mesh, marked: Any) -> Mesh:
    """Halve the edges of marked cells, and the longest edge of every cell that has one of them, until none hangs.

    Parameters
    ----------
    mesh : Mesh
        Its first n points stay the first ones; sides and materials are kept.
    marked : (m,) bool array, or (k,) int array
        Cells.

    Raises
    ------
    InputError
        If `marked` names no cells.

    Notes
    -----
    By longest edges (Rivara 1984): no angle ever falls below half of the smallest of the first mesh. Cost O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval, unit_square
    >>> bisect(interval(2), [1]).cells.tolist()
    [[0, 1], [1, 3], [3, 2]]
    >>> len(bisect(unit_square(2), [0]).cells)
    15
    """
    m, (n, d) = len(mesh.cells), mesh.points.shape
    marked = np.asarray(marked)
    if marked.dtype == bool and marked.shape == (m,):
        marked = np.flatnonzero(marked)
    marked = marked.astype(int) if marked.size == 0 else marked
    if marked.ndim != 1 or not np.issubdtype(marked.dtype, np.integer) or np.any((marked < 0) | (marked >= m)):
        received = f"{marked.dtype} of shape {marked.shape}"
        raise InputError("marked", f"numbers of cells below {m}, or {m} truth values", received, "pass one of these")
    lower, upper, number = edges_of(mesh.cells, n)
    cut = np.zeros(len(lower), bool)
    cut[number[marked]] = True
    if d == 1:
        first = np.zeros(m, int)
    else:
        length = np.linalg.norm(mesh.points[upper] - mesh.points[lower], axis=1)
        rank = np.empty(len(length), int)
        rank[np.lexsort((np.arange(len(length)), np.round(length / length.max(), 12)))] = np.arange(len(length))
        first = np.argmax(rank[number], axis=1)  # local number of the longest edge; of equal ones the same from both sides
        longest = number[np.arange(m), first]
        while not cut[needed := longest[cut[number].any(axis=1)]].all():
            cut[needed] = True
    middle = np.where(cut, n + np.cumsum(cut) - 1, -1)
    points = np.concatenate([mesh.points, (mesh.points[lower[cut]] + mesh.points[upper[cut]]) / 2])
    cells, parent = _children(mesh.cells, first, middle[number])
    fine = _mesh(points, cells)
    sides = {name: halved_facets(nodes, lower, upper, middle, n) for name, nodes in mesh.sides.items()}
    materials = {name: np.flatnonzero(np.isin(parent, of)) for name, of in mesh.materials.items()}
    return replace(fine, sides=sides, materials=materials)


def _children(cells: np.ndarray, first: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells and their parents, in the order of the parents, from the longest local edge and the midpoints, −1 for none."""
    whole = middle.max(axis=1) < 0
    rows, owner = [cells[whole]], [np.flatnonzero(whole)]
    if cells.shape[1] == 2:
        at, between = np.flatnonzero(~whole), middle[~whole, 0]
        rows += [np.stack([cells[at, 0], between], axis=1), np.stack([between, cells[at, 1]], axis=1)]
        owner += [at, at]
    else:
        ends = [(0, 1), (1, 2), (2, 0)]
        place = {frozenset(edge): k for k, edge in enumerate(LOCAL_EDGES[2])}
        order = np.array([place[frozenset(edge)] for edge in ends])  # edges in the order of the walk around
        turn = np.argsort(order)[first]  # of the walk, so that it begins with the longest edge
        walk = (turn[:, None] + np.arange(3)) % 3
        corners = np.take_along_axis(cells, walk, axis=1)
        between = np.take_along_axis(middle[:, order], walk, axis=1)  # m, n, p
        local = dict(zip("abcmnp", [*corners.T, *between.T], strict=True))
        for cuts, parts in PARTS.items():
            at = np.flatnonzero(~whole & ((between[:, 1] >= 0) == cuts[0]) & ((between[:, 2] >= 0) == cuts[1]))
            for part in parts:
                rows.append(np.stack([local[letter][at] for letter in part], axis=1))
                owner.append(at)
    parent = np.concatenate(owner)
    sort = np.argsort(parent, kind="stable")
    return np.concatenate(rows)[sort], parent[sort]
