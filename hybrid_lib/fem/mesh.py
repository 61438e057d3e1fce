"""Simplicial meshes in one and two dimensions: build, check, refine.

A mesh is points and cells. Everything else (volumes, gradients of the hat functions, who lies on the
boundary) follows from these two arrays, for an interval and for a plane domain by the same code. Serves the
discrete state and adjoint (3.17), (3.18), (3.23) of the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.fem.buckets import Buckets, background_grid
from hybrid_lib.fem.conformity import check_boundary, merged
from hybrid_lib.fem.memory import free_bytes
from hybrid_lib.fem.topology import (
    LOCAL_EDGES,
    checked_arrays,
    checked_boundary,
    edge_vectors,
    edges_of,
    facets_of,
    signed_volumes,
    turned,
    unique_pairs,
)

# Red refinement: local vertices 0..d, then the midpoints of LOCAL_EDGES[d] in their order.
CHILDREN = {1: ((0, 2), (2, 1)), 2: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))}


ROOM = {1: 78, 2: 335}
"""Bytes that an interval, or a square of two cells, takes at most while its grid is made; measured."""
SMALL = 1e8
"""Bytes for which nobody asks."""
BLOCK = 8192
"""Cells at a time: the arrays of so many stay in cache from one operation to the next."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A conforming simplicial mesh; make one with a factory of this module, which checks it.

    Attributes
    ----------
    points : (n, d) float64
        Node coordinates, rows are points.
    cells : (m, d+1) int32
        Node numbers of each cell, positively oriented.
    boundary_nodes : (b,) int32
        Sorted numbers of the nodes on the boundary.
    sides : dict of name to (k, d) int
        Nodes of the facets of each side that has a name; :func:`refine` keeps them.
    materials : dict of name to (c,) int
        Numbers of the cells of each material that has a name; kept likewise.

    Notes
    -----
    Arrays are read-only. Derived quantities are computed once, on first use, in O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> unit_square(2).volumes.sum().item()
    1.0
    """

    points: np.ndarray
    cells: np.ndarray
    boundary_nodes: np.ndarray
    sides: dict[str, np.ndarray] = field(default_factory=dict)
    materials: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = f"nodes={len(self.points)}, cells={len(self.cells)}, h={self.h:.3g}"
        return f"Mesh(dimension={self.dimension}, {sizes})"

    @property
    def dimension(self) -> int:
        """Space dimension d."""
        return self.points.shape[1]

    @cached_property
    def interior_nodes(self) -> np.ndarray:
        """Sorted numbers of the nodes that are not on the boundary, (n-b,) int32."""
        inside = np.ones(len(self.points), dtype=bool)
        inside[self.boundary_nodes] = False
        return _frozen(np.flatnonzero(inside).astype(np.int32))

    @cached_property
    def volumes(self) -> np.ndarray:
        """Length or area of each cell, (m,)."""
        return _frozen(signed_volumes(self.points, self.cells))

    @cached_property
    def basis_gradients(self) -> np.ndarray:
        """Gradients of the hat functions, (m, d+1, d); row i of a cell is the gradient of its i-th hat."""
        gradients = np.empty((len(self.cells), self.dimension + 1, self.dimension))
        for start in range(0, len(self.cells), BLOCK):
            part = slice(start, start + BLOCK)
            _write_gradients(gradients[part], edge_vectors(self.points, self.cells[part]))
        return _frozen(gradients)

    @cached_property
    def diameters(self) -> np.ndarray:
        """Longest edge of each cell, (m,)."""
        corners = self.points[self.cells]  # (m, d+1, d)
        edges = LOCAL_EDGES[self.dimension]
        lengths = [np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a, b in edges]
        return _frozen(np.max(lengths, axis=0))

    @cached_property
    def h(self) -> float:
        """Largest cell diameter."""
        return float(self.diameters.max())

    @cached_property
    def buckets(self) -> Buckets:
        """Background grid for point location, about one bucket a cell, O(m)."""
        return background_grid(self.points, self.cells)


def _write_gradients(gradients: np.ndarray, edges: np.ndarray) -> None:
    """Fill the gradients (k, d+1, d) of cells with these edge vectors (k, d, d)."""
    if edges.shape[1] == 1:
        gradients[:, 1, 0] = 1.0 / edges[:, 0, 0]
        gradients[:, 0, 0] = -gradients[:, 1, 0]
        return
    ax, ay, bx, by = edges.reshape(-1, 4).T  # rows of the inverse transpose of the edge matrix, written out
    factor = 1.0 / (ax * by - ay * bx)
    x1, y1, x2, y2 = by * factor, -bx * factor, -ay * factor, ax * factor
    gradients[:, 1, 0], gradients[:, 1, 1], gradients[:, 2, 0], gradients[:, 2, 1] = x1, y1, x2, y2
    gradients[:, 0, 0], gradients[:, 0, 1] = -x1 - x2, -y1 - y2  # the hats sum to one


def from_simplices(points: np.ndarray, cells: np.ndarray, *, merge: bool | float = False, crack: bool = False) -> Mesh:
    """Make a mesh from given points and cells, after checking that they form one.

    Clockwise cells are turned. Refused: wrong shapes, coordinates that are not finite, node numbers out of range, degenerate
    or repeated cells, a facet in more than two cells or in two on the same side, unused points, cells that overlap anywhere, and
    parts that touch without sharing nodes: two points at one place, or a hanging node on an edge.

    Parameters
    ----------
    points : (n, d) array, d = 1 or 2
        Node coordinates.
    cells : (m, d+1) integer array
        Node numbers.
    merge : bool or float
        Glue points nearer to each other than this part of the shortest edge at them, True for 1e-3. The first of them stays, and
        points in no cell go, so that later points have other numbers.
    crack : bool
        Let parts touch without sharing nodes. The nodes on both sides are boundary nodes: :func:`.solve_diffusion` fixes them;
        with :func:`.solve_dirichlet` and other nodes nothing flows across.

    Raises
    ------
    InputError
        Naming the first offending cell or point, and the remedy.

    Notes
    -----
    Cost O(m log m).

    Examples
    --------
    >>> from_simplices([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 2]]).volumes.tolist()
    [0.5]
    >>> halves = [[0.0], [0.5], [0.5], [1.0]], [[0, 1], [2, 3]]
    >>> from_simplices(*halves, merge=True).cells.tolist()
    [[0, 1], [1, 2]]
    """
    points, cells = checked_arrays(points, cells)
    if merge is not False:
        points, cells = merged(points, cells, merge)
    cells = turned(points, cells)
    entries = checked_boundary(points, cells)
    check_boundary(points, cells, entries, bool(crack))
    return _mesh(points, cells, entries)


def refine(mesh: Mesh) -> Mesh:
    """Refine uniformly: halve each interval, cut each triangle in four (red refinement); h is halved.

    The first n points are the old ones, so coarse nodal values are ``fine[:n]``; the meshes are nested.

    Parameters
    ----------
    mesh : Mesh

    Notes
    -----
    Cost O(m). Cell c has the children ``2**d * c`` to ``2**d * (c + 1) - 1``.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> refine(interval(2)).points.ravel().tolist()
    [0.0, 0.5, 1.0, 0.25, 0.75]
    """
    n, d = mesh.points.shape
    lower, upper, number = edges_of(mesh.cells, n)
    midpoints = 0.5 * (mesh.points[lower] + mesh.points[upper])
    local = np.concatenate([mesh.cells, n + number], axis=1)  # (m, d+1+edges)
    children = local[:, CHILDREN[d]].reshape(-1, d + 1)  # (2^d m, d+1)
    fine = _mesh(np.concatenate([mesh.points, midpoints]), children)
    if not (mesh.sides or mesh.materials):
        return fine
    middle = np.full(len(lower), n) + np.arange(len(lower))
    sides = {name: halved_facets(nodes, lower, upper, middle, n) for name, nodes in mesh.sides.items()}
    materials = {name: (2**d * cells[:, None] + np.arange(2**d)).ravel() for name, cells in mesh.materials.items()}
    return replace(fine, sides=sides, materials=materials)


def halved_facets(nodes: np.ndarray, lower: np.ndarray, upper: np.ndarray, middle: np.ndarray, n: int) -> np.ndarray:
    """Facets (k, d) after the edges lower–upper got the nodes `middle`, −1 for none; in one dimension they stay."""
    if nodes.shape[1] == 1:
        return nodes
    keys = lower.astype(np.int64) * n + upper  # sorted, as the edges are
    ends = np.sort(nodes, axis=1).astype(np.int64)
    between = middle[np.searchsorted(keys, ends[:, 0] * n + ends[:, 1])]
    cut = between >= 0
    halves = [np.stack([nodes[cut, i], between[cut]], axis=1) for i in (0, 1)]
    return np.concatenate([nodes[~cut], *halves])


def _mesh(points: np.ndarray, cells: np.ndarray, entries: np.ndarray | None = None) -> Mesh:
    """A mesh of valid arrays: finds the boundary if its facets are not given, fixes dtypes, makes the arrays read-only."""
    cells = np.ascontiguousarray(cells, dtype=np.int32)
    lower, upper = facets_of(cells)
    if entries is None:
        place = unique_pairs(lower, upper, len(points))[2]
        entries = np.flatnonzero(np.bincount(place)[place] == 1)  # a facet of one cell is on the boundary
    boundary = np.unique(np.concatenate([lower[entries], upper[entries]])).astype(np.int32)
    return Mesh(_frozen(np.ascontiguousarray(points)), _frozen(cells), _frozen(boundary))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def require_room(*pieces: int, what: str = "n") -> None:
    """Refuse a grid, or a mesh as large as it, that the memory of this machine cannot hold, before it is begun."""
    needed = ROOM[len(pieces)] * math.prod(pieces)
    if needed > SMALL and needed > (free := free_bytes()):
        received = f"{' x '.join(f'{n:,}' for n in pieces)} pieces, about {needed / 1e9:,.0f} GB"
        raise InputError(what, f"a mesh that fits into {free / 1e9:,.0f} GB", received, "take fewer pieces a side")
