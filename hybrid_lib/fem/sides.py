r"""Sides of a mesh: where they are, integrals along them, and what their conditions add to a linear system.

With w = g on Γ_D, n·K∇w = p on Γ_N and n·K∇w = c(a − w) on Γ_R the weak form is

.. math:: \int_\Omega K\nabla w\cdot\nabla v + \int_{\Gamma_R} c\,w v
          = \int_\Omega f v + \int_{\Gamma_N} p\,v + \int_{\Gamma_R} c\,a\,v
          \quad\text{for all } v = 0 \text{ on } \Gamma_D.

A facet is a node in one dimension, where an integral along it is the value there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from hybrid_lib.errors import InputError
from hybrid_lib.fem.bisection import jumps_between
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import composite_rule, evaluate
from hybrid_lib.fem.topology import outer_facets

ORDER = 5
"""Order of the rule along facets for functions, and on each piece of one."""

POINTS = 1 << 16
"""A function is looked at so many points of a side, at least, since a narrow peak, or a jump, may lie within one facet."""

SAME = 1e-12
"""Given values nearer than this part of the largest one of all sides are the same."""
LOOKED_AT = 8
"""Pieces of a side, those with the largest changes, in which a jump of a given value is looked for."""
PART = 0.1
"""Of what a given value changes by on such a piece, what is left in the end is a jump."""
PIECES = 16
"""Equal parts of a facet, at least, between which a given temperature counts as linear; as many along a side as it has points."""


class Facets(NamedTuple):
    """Facets of the boundary with the points of a rule on them.

    Attributes
    ----------
    cell, local : (k,) int
        The cell of each, and the vertex of it that is opposite.
    nodes : (k, d) int
    measure : (k,) float64
        Lengths; 1 in one dimension.
    points : (k, q, d) float64
    barycentric : (q, d) float64
        Of the points, for the nodes.
    weights : (q,) float64
        Of the rule; they sum to one.
    """

    cell: np.ndarray
    local: np.ndarray
    nodes: np.ndarray
    measure: np.ndarray
    points: np.ndarray
    barycentric: np.ndarray
    weights: np.ndarray


class Exchange(NamedTuple):
    """Facets with a flux p, `coefficient` None, or with c and a: values (k, q) at their points."""

    facets: Facets
    value: np.ndarray
    coefficient: np.ndarray | None = None


class SideData(NamedTuple):
    """What is known on the sides of one mesh; from :func:`side_data`.

    Attributes
    ----------
    held : (b,) int
        Nodes with given values, sorted.
    values : (b,) float64
    fixed : tuple of (Facets, (k, pieces + 1) float64)
        Facets on Γ_D where g is a function, and its values at equal distances from their first node to the second.
    fluxes, exchanges : tuple of Exchange
        On Γ_N and Γ_R.
    clash : tuple of names or None
        Two sides with values that differ at a node that they share: no field of finite energy has both.
    broken : str
        Why no field of finite energy has the values along a side; empty if one has.
    """

    held: np.ndarray
    values: np.ndarray
    fixed: tuple[tuple[Facets, np.ndarray], ...]
    fluxes: tuple[Exchange, ...]
    exchanges: tuple[Exchange, ...]
    clash: tuple[str, str] | None = None
    broken: str = ""


@lru_cache
def facet_rule(d: int, order: int = ORDER, pieces: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric points (q, d) and weights (q,) on a facet that is cut into equal pieces.

    >>> facet_rule(1)[0].tolist()
    [[1.0]]
    """
    return composite_rule(1, pieces, order) if d == 2 else (np.ones((1, 1)), np.ones(1))


def facets(mesh: Mesh, nodes: np.ndarray, order: int = ORDER, pieces: int = 1) -> Facets:
    """Facets of the boundary by their nodes.

    Parameters
    ----------
    mesh : Mesh
    nodes : (k, d) int array
    order, pieces : int
        Of the rule on them.

    Raises
    ------
    InputError
        If one is no facet of the boundary.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> facets(unit_square(1), np.array([[1, 0]])).measure.tolist()
    [1.0]
    """
    d, n = mesh.dimension, len(mesh.points)
    nodes = np.asarray(nodes)
    if nodes.ndim != 2 or nodes.shape[1] != d or not np.issubdtype(nodes.dtype, np.integer):
        received = f"{nodes.dtype} of shape {nodes.shape}"
        raise InputError("facets", f"node numbers of shape (k, {d})", received, "one row a facet of the boundary")
    outer, lower, upper = outer_facets(mesh.cells, n)
    key = lower.astype(np.int64) * n + upper
    order_ = np.argsort(key)
    wanted = nodes.min(axis=1).astype(np.int64) * n + nodes.max(axis=1)
    place = np.minimum(np.searchsorted(key[order_], wanted), len(key) - 1)
    bad = np.flatnonzero(key[order_][place] != wanted)
    if bad.size:
        raise InputError("facets", "facets of the boundary", f"nodes {nodes[bad[0]].tolist()}", "leave inner facets out")
    cell, local = np.divmod(outer[order_[place]], d + 1)
    ends = mesh.points[nodes]  # (k, d, d)
    measure = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) if d == 2 else np.ones(len(nodes))
    barycentric, weights = facet_rule(d, order, pieces)
    return Facets(cell, local, nodes, measure, np.einsum("qa,kad->kqd", barycentric, ends), barycentric, weights)


def looked_at(mesh: Mesh, nodes: np.ndarray, values: Sequence, order: int = ORDER, points: int = POINTS) -> Facets:
    """Facets with `points` points in all, or more, if one of the values along them is a function; else the plain rule.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> [looked_at(unit_square(1), np.array([[0, 1]]), [value], points=8).points.shape for value in (1.0, np.sin)]
    [(1, 3, 2), (1, 9, 2)]
    """
    return facets(mesh, nodes, order, _pieces(mesh, nodes, values, order, points))


def _pieces(mesh: Mesh, nodes: np.ndarray, values: Sequence, order: int, points: int) -> int:
    """Equal pieces of each facet."""
    if mesh.dimension == 1 or not len(nodes) or not any(map(callable, values)):
        return 1
    return max(1, math.ceil(points / (len(nodes) * len(facet_rule(2, order)[1]))))


def labelled(mesh: Mesh, faces: Sequence, names: Sequence[str]) -> Mesh:
    """The mesh with named sides: each facet of the boundary belongs to the nearest of straight faces (start, direction, measure).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> labelled(interval(4), [((0.0,), (0.0,), 1.0), ((1.0,), (0.0,), 1.0)], ["left", "right"]).sides["right"].tolist()
    [[4]]
    """
    _, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    nodes = np.stack([lower, upper], axis=1)[:, : mesh.dimension]
    middle = mesh.points[nodes].mean(axis=1)
    nearest, owner = np.full(len(nodes), np.inf), np.zeros(len(nodes), int)
    for number, (start, direction, measure) in enumerate(faces):
        away, e = middle - np.array(start), np.array(direction)
        length = measure if e.any() else 0.0
        gap = np.linalg.norm(away - np.clip(away @ e, 0.0, length)[:, None] * e, axis=1)
        closer = gap < nearest
        nearest[closer], owner[closer] = gap[closer], number
    sides = {name: nodes[np.isin(owner, [k for k, other in enumerate(names) if other == name])] for name in dict.fromkeys(names)}
    return replace(mesh, sides=sides)


def with_rest(mesh: Mesh) -> Mesh:
    """The mesh with all facets of the boundary in sides: those in none are ``rest``, or ``boundary`` where there are no others.

    The two ends of one interval are ``left`` and ``right``.

    Raises
    ------
    InputError
        For a facet in two sides, or inside.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> with_rest(unit_square(1)).sides["boundary"].tolist()
    [[1, 3], [0, 1], [2, 3], [0, 2]]
    """
    outer, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    number, owner = np.full(mesh.cells.shape, -1), {}
    number.ravel()[outer] = np.arange(len(outer))
    taken = np.full(len(outer), -1)
    for k, (name, nodes) in enumerate(mesh.sides.items()):
        owner[k] = name
        side = facets(mesh, nodes)
        here = number[side.cell, side.local]
        if np.any(taken[here] >= 0):
            received = f"{owner[int(taken[here].max())]!r} and {name!r} share one"
            raise InputError("sides", "each facet in one side", received, "leave it out of one of them")
        taken[here] = k
    free = taken < 0
    if not free.any():
        return mesh
    nodes = np.stack([lower[free], upper[free]], axis=1)[:, : mesh.dimension]
    if mesh.dimension == 1 and not mesh.sides and len(nodes) == 2:
        nodes = nodes[np.argsort(mesh.points[nodes[:, 0], 0])]
        return replace(mesh, sides={"left": nodes[:1], "right": nodes[1:]})
    return replace(mesh, sides=mesh.sides | {"rest" if mesh.sides else "boundary": nodes})


def values_at(value: float | Callable, points: np.ndarray, name: str = "field value") -> np.ndarray:
    """A number or function of one point at points (..., d)."""
    return evaluate(value, points, name) if callable(value) else np.full(points.shape[:-1], float(value))


def side_data(mesh: Mesh, conditions: dict[str, tuple], order: int = ORDER, points: int = POINTS) -> SideData:
    """What is known on the named sides of a mesh.

    Parameters
    ----------
    mesh : Mesh
        With sides.
    conditions : dict of side name to (kind, value[, coefficient])
        Kind "value" for w = value, "flux" for n·K∇w = value, "exchange" for n·K∇w = coefficient·(value − w); numbers or
        functions of one point.
    order : int
        Of the rule on facets, or on pieces of them.
    points : int
        Along a side where something is a function, at least.

    Notes
    -----
    A node between two sides with given values gets their mean; one between such a side and another has the given value.
    """
    held: dict[int, tuple[float, str]] = {}
    fixed, fluxes, exchanges, apart, looked = [], [], [], [], []
    for name, (kind, value, *rest) in conditions.items():
        side = looked_at(mesh, mesh.sides[name], () if kind == "value" else (value, *rest), order, points)
        if not len(side.nodes):
            continue
        what = f"boundary {name!r}, {kind}"
        if kind == "value":
            nodes = np.unique(side.nodes)
            found = values_at(value, mesh.points[nodes], what)
            if callable(value) and mesh.dimension == 2:
                pieces = max(PIECES, math.ceil(points / len(side.nodes)))
                ends, t = mesh.points[side.nodes], np.linspace(0, 1, pieces + 1)[:, None]
                fixed.append((side, values_at(value, (1 - t) * ends[:, :1] + t * ends[:, 1:], what)))
                looked.append((name, value, ends, fixed[-1][1]))
            for node, number in zip(nodes.tolist(), found.tolist(), strict=True):
                other = held.get(node)
                if other is not None:
                    apart.append((abs(other[0] - number), other[1], name))
                held[node] = (number if other is None else (number + other[0]) / 2, name)
        elif kind == "flux":
            fluxes.append(Exchange(side, values_at(value, side.points, what)))
        else:
            c = values_at(rest[0], side.points, f"boundary {name!r}, coefficient")
            if c.min() < 0:
                received = f"{c.min():g} at {side.points.reshape(-1, mesh.dimension)[c.argmin()].round(6).tolist()}"
                raise InputError(f"boundary {name!r}, coefficient", "values >= 0", received, "n·K∇w = coefficient·(ambient − w)")
            zero = c.max() == 0  # nothing is exchanged
            pair = (c, None) if zero else (values_at(value, side.points, what), c)
            (fluxes if zero else exchanges).append(Exchange(side, *pair))
    nodes = np.array(sorted(held), dtype=np.int64)
    values = np.array([held[node][0] for node in nodes.tolist()])
    least = SAME * max([1e-300, np.abs(values).max(initial=0.0), *(np.abs(one[3]).max() for one in looked)])
    clash = next(((one, other) for off, one, other in apart if off > least), None)
    broken = next((text for one in looked if (text := _jump(*one, least))), "")
    return SideData(nodes, values, tuple(fixed), tuple(fluxes), tuple(exchanges), clash, broken)


def _jump(name: str, value: Callable, ends: np.ndarray, values: np.ndarray, least: float) -> str:
    """Where a given temperature jumps by more than `least`, in words, or nothing; ends (k, 2, d) of facets, values (k, p + 1)."""
    steps = np.diff(values, axis=1)
    facet, piece = np.unravel_index(np.argsort(-np.abs(steps), axis=None)[:LOOKED_AT], steps.shape)
    large = np.abs(steps[facet, piece]) > least
    facet, piece = facet[large], piece[large]
    from_, by, low = values[facet, piece], steps[facet, piece], piece / steps.shape[1]

    def points(which: np.ndarray, s: np.ndarray) -> np.ndarray:
        start, end = ends[facet[which]].swapaxes(0, 1)
        return start + s[:, None] * (end - start)

    def at(which: np.ndarray, s: np.ndarray) -> np.ndarray:  # 1 at the start of a piece, 2 at its end
        return (1 + (values_at(value, points(which, s)) - from_[which]) / by[which])[:, None]

    one = np.ones((len(facet), 1))
    which, places = jumps_between(at, low, low + 1 / steps.shape[1], one, 2 * one, PART)
    if not which.size:
        return ""
    return f"the temperature of {name} jumps at {points(which, places)[0].round(6).tolist()}: the energy is infinite"


def side_load(mesh: Mesh, side: Facets, values: np.ndarray) -> np.ndarray:
    """Vector ∫ p φ_i along facets, from values (k, q) at their points, (n,).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> mesh = unit_square(1)
    >>> side_load(mesh, facets(mesh, np.array([[0, 1]])), np.full((1, 3), 2.0)).round(12).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    entries = (values * side.weights) @ side.barycentric * side.measure[:, None]  # (k, d)
    return np.bincount(side.nodes.ravel(), entries.ravel(), len(mesh.points))


def side_mass(mesh: Mesh, side: Facets, values: np.ndarray) -> csr_array:
    """Matrix ∫ c φ_i φ_j along facets, (n, n)."""
    barycentric, weights = side.barycentric, side.weights
    d, n = mesh.dimension, len(mesh.points)
    entries = np.einsum("kq,q,qa,qb,k->kab", values, weights, barycentric, barycentric, side.measure, optimize=True)
    rows, columns = np.repeat(side.nodes, d, axis=1), np.tile(side.nodes, (1, d))
    return csr_array(coo_array((entries.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n)))


def side_integral(side: Facets, values: np.ndarray) -> float:
    """∫ along facets of values (k, q) at their points."""
    return float(side.measure @ (values @ side.weights))


def system(mesh: Mesh, data: SideData) -> tuple[np.ndarray, csr_array | None]:
    """What fluxes and exchange add to the load, (n,), and to the matrix."""
    right, matrix = np.zeros(len(mesh.points)), None
    for one in (*data.fluxes, *data.exchanges):
        given = one.value if one.coefficient is None else one.coefficient * one.value
        right += side_load(mesh, one.facets, given)
        if one.coefficient is not None:
            added = side_mass(mesh, one.facets, one.coefficient)
            matrix = added if matrix is None else matrix + added
    return right, matrix
