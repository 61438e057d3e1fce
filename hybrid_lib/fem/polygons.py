"""Meshes of polygons with holes: Delaunay triangulations that are refined until all angles are good (Ruppert 1995).

Edges are halved until no point lies in the circle around a piece of them, so that each piece is an edge of the triangulation, and
circumcentres of bad triangles are put in, many at a time. At sharp corners pieces end on circles around the corner, and the
triangle in the corner keeps its angle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem.mesh import Mesh, from_simplices, require_room

RATIO = 1.3
"""Largest circumradius of a triangle over its shortest edge, 1/(2 sin of the smallest angle): 22.6 degrees."""
RADIUS = 0.75
"""Largest circumradius over the length that is asked for; of an equilateral triangle 0.58."""
ROUNDS = 300
"""Triangulations, at most."""
SHARP = np.cos(np.radians(60.5))
"""Corners with a larger cosine are sharp."""


def polygon(vertices: Any, holes: Any = (), h: float | None = None) -> Mesh:
    """Mesh a simple polygon with holes by triangles with edges of about h, smaller ones at small features.

    Parameters
    ----------
    vertices : (n, 2) array
        Corners in the order of a walk around, either way; the first may be repeated as the last.
    holes : sequence of (k, 2) arrays
        Of each hole, likewise.
    h : float, optional
        By default a sixteenth of the shorter side of the smallest box around.

    Raises
    ------
    InputError
        For an outline that is open, has edges that meet, or a hole that is not inside or meets another one.

    Notes
    -----
    No angle is below 22 degrees but those between two given edges, and their neighbours. Cost O(n log n) for n points, for some
    twenty triangulations by SciPy.

    Examples
    --------
    >>> mesh = polygon([(0, 0), (3, 0), (3, 2), (0, 2)], holes=[[(1, 0.5), (2, 0.5), (2, 1.5), (1, 1.5)]])
    >>> round(mesh.volumes.sum().item(), 12)
    5.0
    """
    loops = checked_loops(vertices, holes)
    if h is None:
        h = float(np.ptp(loops[0], axis=0).min()) / 16
    if not (np.ndim(h) == 0 and np.isfinite(h) and h > 0):
        raise InputError("h", "a number > 0", repr(h), "pass the length of an edge")
    pieces = math.ceil(math.sqrt(abs(area(loops[0])) - sum(abs(area(hole)) for hole in loops[1:])) / h)
    require_room(pieces, pieces, what="mesh of a polygon")
    return _triangulated(loops, float(h))


def checked_loops(vertices: Any, holes: Any = ()) -> list[np.ndarray]:
    """Corners of the outline and of each hole, as given but for a repeated last one, or an InputError."""
    if not isinstance(holes, Sequence | np.ndarray) or (isinstance(holes, np.ndarray) and holes.ndim == 2):
        received = "one outline" if isinstance(holes, np.ndarray) else type(holes).__name__
        raise InputError("holes", "a list of outlines", received, "write holes=[...] around each")
    loops = [_loop("vertices", vertices), *(_loop(f"hole {k}", hole) for k, hole in enumerate(holes))]
    names = ["vertices", *(f"hole {k}" for k in range(len(holes)))]
    for k, loop in enumerate(loops):
        _require_simple(names[k], loop)
        for other in range(k):
            crossed = _meeting(_edges(loop), _edges(loops[other]))
            if crossed is not None:
                received = f"edges {crossed[0]} and {crossed[1]} that meet"
                raise InputError(names[k], f"an outline apart from {names[other]}", received, "move or join them")
        if k and not inside(loops[0], loop[:1])[0]:
            received = f"{loop[0].tolist()} outside it"
            raise InputError(names[k], "a hole inside the outline", received, "move the hole or leave it out")
        for other in range(1, k):
            if inside(loops[other], loop[:1])[0] or inside(loop, loops[other][:1])[0]:
                raise InputError(names[k], f"a hole apart from {names[other]}", "one inside the other", "leave the inner one out")
    return loops


def inside(loop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points (k, 2) are inside one closed outline, by counting its edges to their right, (k,) bool.

    >>> inside(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0.2, 0.2], [0.8, 0.8]])).tolist()
    [True, False]
    """
    found = np.zeros(len(points), bool)
    x, y = points.T
    for a, b in pairwise([*loop, loop[0]]):
        if a[1] != b[1]:
            found ^= ((a[1] <= y) != (b[1] <= y)) & (x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
    return found


def area(loop: np.ndarray) -> float:
    """Signed area of an outline, positive anticlockwise."""
    away = loop - loop[0]
    other = np.roll(away, -1, axis=0)
    return float(np.sum(away[:, 0] * other[:, 1] - away[:, 1] * other[:, 0]) / 2)


def _loop(what: str, given: Any) -> np.ndarray:
    loop = real_array(what, given)
    if loop.ndim != 2 or loop.shape[1] != 2 or not np.isfinite(loop).all():
        raise InputError(what, "finite points, shape (n, 2)", f"shape {loop.shape}", "pass one row a corner")
    loop = loop[:-1] if len(loop) > 1 and np.array_equal(loop[0], loop[-1]) else loop
    if len(loop) < 3:
        raise InputError(what, "a closed outline of three corners or more", f"{len(loop)} corners", "add the missing corners")
    return loop


def _edges(loop: np.ndarray) -> np.ndarray:
    """(n, 2, 2): the ends of each edge, from each corner to the next."""
    return np.stack([loop, np.roll(loop, -1, axis=0)], axis=1)


def _require_simple(what: str, loop: np.ndarray) -> None:
    """Refuse an outline with repeated corners or edges that meet elsewhere than at their common corner."""
    size, edges = np.ptp(loop, axis=0).max(), _edges(loop)
    same = np.flatnonzero(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1) <= 1e-12 * size)
    if same.size:
        k = int(same[0])
        received = f"corner {k} at {loop[k].tolist()} twice"
        raise InputError(what, "corners that differ", received, "leave the second one out")
    if np.linalg.svd(loop - loop.mean(axis=0), compute_uv=False)[1] <= 1e-12 * size:
        raise InputError(what, "an outline around some area", "corners on one line", "correct the corners")
    crossed = _meeting(edges, edges)
    if crossed is not None:
        received = f"edges {crossed[0]} and {crossed[1]} that meet"
        raise InputError(what, "an outline that does not meet itself", received, "order the corners as a walk around")


def _meeting(one: np.ndarray, other: np.ndarray) -> tuple[int, int] | None:
    """Two edges of (n, 2, 2) and (k, 2, 2) that meet; neighbours of one outline only where they run back on each other."""
    same, scale = one is other, np.abs(np.ptp(np.concatenate([one, other]).reshape(-1, 2), axis=0)).max()

    def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    for i, (a, b) in enumerate(one):
        c, d = other[:, 0], other[:, 1]
        eps = 1e-12 * scale * np.maximum(np.linalg.norm(b - a), np.linalg.norm(d - c, axis=1))
        sides = [cross(b - a, c - a), cross(b - a, d - a), cross(d - c, a - c), cross(d - c, b - c)]
        crossing = (sides[0] * sides[1] < 0) & (sides[2] * sides[3] < 0) & (np.abs(sides).min(axis=0) > eps)
        on = np.zeros(len(other), bool)
        for off, p, (q, r) in (
            (sides[0], c, (a, b)), (sides[1], d, (a, b)), (sides[2], a[None], (c, d)), (sides[3], b[None], (c, d)),
        ):  # fmt: skip
            between = np.sum((p - q) * (p - r), axis=-1) <= eps * 1e-3
            on |= (np.abs(off) <= eps) & between
        found = crossing | on
        if same:
            n = len(one)
            found[i] = False
            for step, shared, mine, theirs in ((1, b, a, d), (-1, a, b, c)):
                k = (i + step) % n
                u, v = mine - shared, theirs[k] - shared
                found[k] = abs(cross(u, v)) <= eps[k] and u @ v > 0  # back along the same line
        if found.any():
            return i, int(np.argmax(found))
    return None


def _triangulated(loops: list[np.ndarray], h: float) -> Mesh:
    from scipy.spatial import Delaunay, cKDTree  # here, since it is slow to import

    points, segments, edge, sharp, far = _boundary(loops, h)
    points = np.concatenate([points, _lattice(loops, points, h)])
    on = np.full(len(points), -1)  # the given edge that a point is inside
    on[segments[:, 0]], on[segments[:, 1]] = edge, edge
    corners = np.zeros(len(points), bool)
    corners[: sum(map(len, loops))] = True
    on[corners] = -2
    limit = 4 * (sum(abs(area(loop)) for loop in loops) / h**2 + len(points)) * 20 + 1000
    for _ in range(ROUNDS):
        tree = cKDTree(points)
        middle = points[segments].mean(axis=1)
        radius = np.linalg.norm(points[segments[:, 1]] - points[segments[:, 0]], axis=1) / 2
        split = _encroached(tree, segments, middle, radius)
        added = np.zeros((0, 2))
        if not split.any():
            cells = Delaunay(points).simplices
            cells = cells[_within(loops, points[cells].mean(axis=1)) & ~_flat(points, cells)]
            centre, size = _bad(points, cells, h, on, far)
            if not len(centre):
                return _checked(loops, points, cells)
            hits = cKDTree(middle).query_ball_point(centre, radius.max())
            free = _within(loops, centre)
            for k, near in enumerate(hits):
                near = np.array(near, int)
                near = near[np.linalg.norm(middle[near] - centre[k], axis=1) < radius[near]]
                if near.size:
                    split[near], free[k] = True, False
            added = _apart(centre[free], size[free])
            if not split.any() and not len(added):
                return _checked(loops, points, cells)
        points, segments, edge, on = _cut(points, segments, edge, on, split, sharp, h)
        points, on = np.concatenate([points, added]), np.concatenate([on, np.full(len(added), -1)])
        if len(points) > limit:
            break
    received = f"{len(points)} points without end"
    raise InputError("polygon", "an outline that can be meshed", received, "move edges that almost meet")


def _boundary(loops: list[np.ndarray], h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, segments (k, 2), the given edge of each; whether corners are sharp; and ends (edges, 2) of the given edges."""
    corners = np.concatenate(loops)
    ends, sharp, first = [], [], 0
    for loop in loops:
        n = len(loop)
        ends.append(np.stack([first + np.arange(n), first + (np.arange(n) + 1) % n], axis=1))
        ahead, back = np.roll(loop, -1, axis=0) - loop, np.roll(loop, 1, axis=0) - loop
        cosine = np.sum(ahead * back, axis=1) / np.linalg.norm(ahead, axis=1) / np.linalg.norm(back, axis=1)
        sharp.append(cosine > SHARP)
        first += n
    far = np.concatenate(ends)
    points, segments, edge = [corners], [], []
    count = len(corners)
    for k, (a, b) in enumerate(far):
        pieces = max(1, int(np.ceil(np.linalg.norm(corners[b] - corners[a]) / h - 1e-9)))
        t = np.arange(1, pieces)[:, None] / pieces
        points.append((1 - t) * corners[a] + t * corners[b])
        chain = np.concatenate([[a], count + np.arange(pieces - 1), [b]])
        segments.append(np.stack([chain[:-1], chain[1:]], axis=1))
        edge.append(np.full(pieces, k))
        count += pieces - 1
    return np.concatenate(points), np.concatenate(segments), np.concatenate(edge), np.concatenate(sharp), far


def _lattice(loops: list[np.ndarray], boundary: np.ndarray, h: float) -> np.ndarray:
    """Corners of equilateral triangles inside, not too near to the points of the boundary."""
    from scipy.spatial import cKDTree

    lower, upper = loops[0].min(axis=0), loops[0].max(axis=0)
    rows = np.arange(lower[1] + h / 2, upper[1], h * np.sqrt(3) / 2)
    x = np.arange(lower[0] - h / 2, upper[0] + h, h)
    shift = h / 2 * (np.arange(len(rows)) % 2)[:, None]
    grid = np.stack(np.broadcast_arrays(x[None, :] + shift, rows[:, None]), axis=-1).reshape(-1, 2)
    grid = grid[_within(loops, grid)]
    return grid[cKDTree(boundary).query(grid)[0] > 0.7 * h] if len(grid) else grid


def _within(loops: list[np.ndarray], points: np.ndarray) -> np.ndarray:
    """Whether points are inside the outline and outside its holes."""
    found = inside(loops[0], points)
    for hole in loops[1:]:
        found &= ~inside(hole, points)
    return found


def _encroached(tree: Any, segments: np.ndarray, middle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Segments with a point inside the circle around them."""
    near = tree.query(middle, k=3)
    other = (near[1] != segments[:, :1]) & (near[1] != segments[:, 1:])
    return np.any(other & (near[0] < radius[:, None] * (1 - 1e-9)), axis=1)


def _flat(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Triangles without area, of points on one line."""
    a, b, c = (points[cells[:, i]] for i in range(3))
    u, v = b - a, c - a
    return np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) <= 1e-10 * np.maximum(np.sum(u**2, axis=1), np.sum(v**2, axis=1))


def _bad(
    points: np.ndarray, cells: np.ndarray, h: float, on: np.ndarray, far: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Circumcentres and radii of triangles that are too large or too thin, but for those that a sharp corner makes thin."""
    a, b, c = (points[cells[:, i]] for i in range(3))
    u, v = b - a, c - a
    uu, vv, cross = np.sum(u**2, axis=1), np.sum(v**2, axis=1), 2 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    away = np.stack([v[:, 1] * uu - u[:, 1] * vv, u[:, 0] * vv - v[:, 0] * uu], axis=1) / cross[:, None]
    radius = np.linalg.norm(away, axis=1)
    sides = np.stack([np.sum((c - b) ** 2, axis=1), vv, uu], axis=1)  # opposite to each corner
    thin = radius > RATIO * np.sqrt(sides.min(axis=1))
    opposite = sides.argmin(axis=1)
    rows = np.arange(len(cells))
    p, q = on[cells[rows, (opposite + 1) % 3]], on[cells[rows, (opposite + 2) % 3]]
    given = (p >= 0) & (q >= 0) & (p != q)
    common = np.zeros(len(cells), bool)
    common[given] = (far[p[given]][:, :, None] == far[q[given]][:, None, :]).any(axis=(1, 2))
    bad = (thin & ~common) | (radius > RADIUS * h)
    return (a + away)[bad], radius[bad]


def _apart(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Of circumcentres, largest radius first, those that are not within the circle of one that was taken."""
    from scipy.spatial import cKDTree

    if not len(centres):
        return centres
    order = np.argsort(-radii)
    centres, radii = centres[order], radii[order]
    taken, dropped = [], np.zeros(len(centres), bool)
    near = cKDTree(centres).query_ball_point(centres, radii)
    for k in range(len(centres)):
        if not dropped[k]:
            taken.append(k)
            dropped[near[k]] = True
    return centres[taken]


def _cut(
    points: np.ndarray, segments: np.ndarray, edge: np.ndarray, on: np.ndarray, split: np.ndarray, sharp: np.ndarray, h: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The segments with those of `split` cut in the middle; at a sharp corner on a circle of radius h times a power of 2."""
    if not split.any():
        return points, segments, edge, on
    a, b = segments[split].T
    length = np.linalg.norm(points[b] - points[a], axis=1)
    is_sharp = np.zeros(len(points), bool)
    is_sharp[: len(sharp)] = sharp
    t = np.full(len(a), 0.5)
    ring = h * 2.0 ** np.round(np.log2(length / 2 / h)) / length
    first, last = is_sharp[a] & ~is_sharp[b], is_sharp[b] & ~is_sharp[a]
    t[first], t[last] = ring[first], 1 - ring[last]
    new = (1 - t[:, None]) * points[a] + t[:, None] * points[b]
    number = len(points) + np.arange(len(a))
    halves = [np.stack([a, number], axis=1), np.stack([number, b], axis=1)]
    return (
        np.concatenate([points, new]),
        np.concatenate([segments[~split], *halves]),
        np.concatenate([edge[~split], edge[split], edge[split]]),
        np.concatenate([on, edge[split]]),
    )


def _checked(loops: list[np.ndarray], points: np.ndarray, cells: np.ndarray) -> Mesh:
    """The mesh, after checking that it covers the polygon."""
    used, cells = np.unique(cells, return_inverse=True)
    mesh = from_simplices(points[used], cells.reshape(-1, 3))
    exact = abs(area(loops[0])) - sum(abs(area(hole)) for hole in loops[1:])
    if abs(mesh.volumes.sum() - exact) > 1e-9 * exact:
        received = f"an area of {mesh.volumes.sum():.9g} in place of {exact:.9g}"
        raise InputError("polygon", "an outline that can be meshed", received, "move edges that almost meet")
    return mesh
