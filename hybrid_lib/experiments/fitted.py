"""Meshes with nodes on a line, and lines on a rectangle, wherever K or the source jumps: elements and rules then see it there.

A jump within a cell costs the elements accuracy, and a bound its truth: the cell's energy is off by what K changes between the
jump and the next point of the rule, its heat by what the source does. Pixels, tables and materials know their edges; of a
function they are searched for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hybrid_lib import fem
from hybrid_lib.experiments.breaks import LEAST
from hybrid_lib.fem.bisection import differ, jumps_between
from hybrid_lib.fem.bounds import PROBES
from hybrid_lib.fem.quadrature import composite_rule
from hybrid_lib.problems import Problem, plain

POINTS = {1: 1 << 16, 2: 1 << 12}
"""Points on a line between which a jump is looked for, by dimension: between two neighbours one is found, or none."""
LINES = 24
"""Lines along each axis of a rectangle; a jump at the same place of two of them is a line of jumps."""
MOST = 50_000
"""Nodes of a mesh that is fitted, at most."""
APART = 0.25
"""A node of the mesh nearer to a jump than this part of a cell gives way to it."""
ROUNDING = 64 * np.finfo(float).eps
"""Of the largest coordinate: places nearer than this are the same."""
NARROW = 1e-9
"""Of a cell: of two jumps nearer than this one gets a node; a layer between them is a sliver."""


def jumps_on_lines(K: Callable, starts: np.ndarray, ends: np.ndarray, points: int = POINTS[1]) -> tuple[np.ndarray, np.ndarray]:
    """Where K jumps on segments: number of the segment and part of the way, (k,) each, to rounding.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> K = lambda x: jnp.where((x[0] > 0.3) & (x[0] < 0.7), 5.0, 2.0 + x[0])
    >>> jumps_on_lines(K, np.array([[0.0]]), np.array([[1.0]]))[1].round(12).tolist()
    [0.3, 0.7]
    """

    def values(line: np.ndarray, s: np.ndarray) -> np.ndarray:
        return fem.evaluate(K, starts[line] + s[..., None] * (ends - starts)[line]).reshape(*s.shape, -1)

    within = np.concatenate([[1e-12], (np.arange(points) + 0.381966) / points, [1 - 1e-12]])  # films at the ends, too
    s = np.broadcast_to(within, (len(starts), len(within)))
    f = values(np.arange(len(starts))[:, None], s)
    line, k = np.nonzero(differ(f[:, :-1], f[:, 1:], LEAST))
    ends_of = s[line, k], s[line, k + 1], f[line, k], f[line, k + 1]
    which, places = jumps_between(lambda which, middle: values(line[which], middle), *ends_of, LEAST)
    return line[which], places


def fitted(problem: Problem, mesh: fem.Mesh) -> fem.Mesh:
    """:func:`fitting` for one mesh.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from hybrid_lib import media
    >>> medium = media.from_function(lambda x: jnp.where(x[0] < 0.3, 1.0, 4.0), 1)
    >>> fitted(Problem(medium=medium), fem.interval(4)).points.ravel().round(12).tolist()
    [0.0, 0.3, 0.5, 0.75, 1.0]
    """
    return fitting(problem)(mesh)


def fitting(problem: Problem, searched: bool = False) -> Callable[[fem.Mesh], fem.Mesh]:
    """What gives the uniform mesh of a line or rectangle nodes, or lines, at the jumps of K and q; any other stays as it is.

    With `searched` at the jumps of conductivities that are functions alone, not at lines of pixels and tables, nor of sources.
    """
    medium, domain, source = problem.medium, problem.domain, plain(problem.source)
    K, kinks = medium.conductivity, getattr(medium.conductivity, "kinks", None)
    tables = kinks is not None or medium.pixels is not None
    known = not tables and (medium.is_lipschitz or hasattr(K, "cell_values"))
    driven = callable(source) and not searched
    if (known and not driven) or len(domain.corners) != 1 or (searched and tables):
        return lambda mesh: mesh
    box = np.transpose(domain.box)
    jumps = [np.zeros(0)] * len(box)
    if kinks is not None:
        apart = (domain.measure / PROBES[domain.dimension]) ** (1 / domain.dimension)  # of the points of a rule
        jumps = [_close(lines, *ends, 2 * apart) for lines, ends in zip(kinks, box, strict=True)]
    elif medium.pixels is not None:
        jumps = medium.pixels.jumps(*domain.box)
    elif not known:
        jumps = _jumps_along_axes(K, box)
    if driven:
        jumps = [np.union1d(*both) for both in zip(jumps, _jumps_along_axes(lifted(source, domain.mesh(1)), box), strict=True)]

    def fit(mesh: fem.Mesh) -> fem.Mesh:
        axes = [np.unique(along) for along in mesh.points.T]
        if mesh.materials or math.prod(map(len, axes)) != len(mesh.points):
            return mesh
        lines = [_with(axis, places) for axis, places in zip(axes, jumps, strict=True)]
        same = all(new is old for new, old in zip(lines, axes, strict=True))
        return mesh if same or math.prod(map(len, lines)) > max(MOST, 2 * len(mesh.points)) else fem.grid(*lines)

    return fit


def lifted(value: Callable, mesh: fem.Mesh) -> Callable:
    """A function of one point plus a number that puts it well above zero: changes then count as parts of its largest value."""
    barycentric, _ = composite_rule(mesh.dimension, {1: 4096, 2: 64}[mesh.dimension], 2)
    above = 2 * np.abs(fem.evaluate(value, barycentric @ mesh.points[mesh.cells], "source f")).max()
    return lambda x: value(x) + (above if above > 0 else 1.0)


def _jumps_along_axes(K: Callable, box: np.ndarray) -> list[np.ndarray]:
    """Coordinates of the jumps of K along each axis of a box (d, 2); in the plane those that two parallel lines meet."""
    d = len(box)
    shares = np.mod(0.5 + 0.618034 * np.arange(1, LINES + 1), 1) if d == 2 else np.zeros(1)  # in no phase of a period twice
    starts, ends = (np.repeat(box[None, None, :, side], len(shares), axis=1).repeat(d, axis=0) for side in (0, 1))  # (d, L, d)
    for axis in range(d if d == 2 else 0):
        across = 1 - axis
        starts[axis, :, across] = ends[axis, :, across] = box[across, 0] + shares * np.ptp(box[across])
    line, s = jumps_on_lines(K, starts.reshape(-1, d), ends.reshape(-1, d), POINTS[d])
    found = []
    for axis in range(d):
        places = np.sort(box[axis, 0] + s[line // len(shares) == axis] * np.ptp(box[axis]))
        same = np.diff(places) <= ROUNDING * np.abs(box[axis]).max()
        found.append(places if d == 1 else places[1:][same])
    return found


def _close(lines: np.ndarray, start: float, end: float, apart: float) -> np.ndarray:
    """Those lines of a table on one axis, within the ends, that have a neighbour nearer than `apart`."""
    thin = np.diff(lines) < apart
    lines = lines[np.concatenate([thin, [False]]) | np.concatenate([[False], thin])]
    return lines[(lines > start) & (lines < end)]


def _with(nodes: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """Nodes and jumps, each place once; a node close to a jump gives way to it."""
    h = np.diff(nodes).min()
    same = max(ROUNDING * np.abs(nodes).max(), NARROW * h)
    jumps = np.sort(jumps)
    jumps = jumps[np.diff(jumps, prepend=-np.inf) > same]
    rounding = ROUNDING * np.abs(nodes).max()
    inner = nodes[1:-1]
    jumping = _distance(jumps, inner) <= rounding
    jumps = jumps[_distance(nodes, jumps) > rounding]
    jumps = jumps[np.minimum(jumps - nodes[0], nodes[-1] - jumps) > same]
    if not jumps.size:
        return nodes
    inner = inner[jumping | (_distance(jumps, inner) > APART * h)]
    return np.sort(np.concatenate([nodes[[0, -1]], inner, jumps]))


def _distance(places: np.ndarray, x: np.ndarray) -> np.ndarray:
    """To the nearest of sorted places, as many as x."""
    padded = np.concatenate([[-np.inf], places, [np.inf]])
    k = np.searchsorted(places, x)
    return np.minimum(x - padded[k], padded[k + 1] - x)
