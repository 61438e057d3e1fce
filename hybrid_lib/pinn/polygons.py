"""Domains with straight sides of any shape: polygons with holes, and meshes from outside."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.pinn import outlines
from hybrid_lib.pinn.domains import Domain, Face, Point


@dataclass(frozen=True)
class Polygon(Domain):
    """A polygon with holes, or what a mesh covers; made by :func:`polygon` or :func:`from_mesh`.

    Attributes
    ----------
    area : float
        `|Ω|`, the length in one dimension.
    loops : tuple of tuples of points
        Corners of the outline and of each hole; empty for a mesh.
    first : fem.Mesh or None
        The mesh that the domain was made from; `mesh` refines it.
    """

    area: float = 0.0
    loops: tuple[tuple[Point, ...], ...] = ()
    first: Any = field(default=None, compare=False, repr=False)

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return len(self.faces[0][0])

    @property
    def measure(self) -> float:
        """`|Ω|`."""
        return self.area

    @property
    def box(self) -> tuple[Point, Point]:
        """Lower and upper corner of the smallest box that holds Ω."""
        starts, ends = self._ends()
        both = np.concatenate([starts, ends])
        return tuple(both.min(axis=0).tolist()), tuple(both.max(axis=0).tolist())

    @property
    def unit(self) -> float:
        """What counts as one for the number of cells, the shorter side of the box."""
        lower, upper = self.box
        return min(b - a for a, b in zip(lower, upper, strict=True))

    def distance(self, x: jax.Array) -> jax.Array:
        """Euclidean distance of one point to ∂Ω, as :meth:`.Domain.distance`.

        Examples
        --------
        >>> triangle = polygon([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
        >>> round(float(triangle.distance(jnp.array([0.5, 0.25]))), 6)
        0.176777
        """
        x = self._point(x)
        starts, along, lengths = (np.array([face[i] for face in self.faces]) for i in range(3))
        a, e = jnp.asarray(starts, x.dtype), jnp.asarray(along, x.dtype)
        away = x[None, :] - a
        t = jnp.clip(jnp.sum(away * e, axis=1), 0.0, jnp.asarray(lengths, x.dtype))
        square = jnp.min(jnp.sum((away - t[:, None] * e) ** 2, axis=1))
        touching = square == 0.0
        return jnp.where(touching, jnp.zeros_like(square), jnp.sqrt(jnp.where(touching, jnp.ones_like(square), square)))

    def contains(self, x: jax.Array) -> jax.Array:
        """Whether one point lies in the open set Ω: shape (), bool.

        Examples
        --------
        >>> ring = polygon([(0, 0), (3, 0), (3, 3), (0, 3)], holes=[[(1, 1), (2, 1), (2, 2), (1, 2)]])
        >>> [bool(ring.contains(jnp.array([x, 1.5]))) for x in (0.5, 1.5, 4.0)]
        [True, False, False]
        """
        x = self._point(x)
        a, b = (jnp.asarray(end, x.dtype) for end in self._ends())
        if self.dimension == 1:
            return (jnp.sum(jnp.asarray(a[:, 0] < x[0], jnp.int32)) % 2 == 1) & (self.distance(x) > 0.0)
        rise = b[:, 1] - a[:, 1]
        level = rise == 0.0
        at = a[:, 0] + (x[1] - a[:, 1]) / jnp.where(level, jnp.ones_like(rise), rise) * (b[:, 0] - a[:, 0])
        crossed = ((a[:, 1] <= x[1]) != (b[:, 1] <= x[1])) & (x[0] < at)
        return (jnp.sum(jnp.asarray(crossed, jnp.int32)) % 2 == 1) & (self.distance(x) > 0.0)

    def vanishing(self, x: jax.Array) -> jax.Array:
        """Zero on ∂Ω alone, positive in Ω: the product of distances of a few parts, :mod:`hybrid_lib.pinn.outlines`.

        Examples
        --------
        >>> triangle = polygon([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
        >>> round(float(triangle.vanishing(jnp.array([0.25, 0.25]))), 6), 0.25 * 0.25 * 0.5 / 2**0.5 > 0.0220970
        (0.022097, True)
        """
        return outlines.product_of(_factors(self), self._point(x))

    def layer(self, x: jax.Array, period: float) -> jax.Array:
        """As :meth:`.Domain.layer`, with those distances in the place of the coordinates."""
        if not (math.isfinite(period) and period > 0):
            raise InputError("period", "a number > 0", period, "pass the period of the medium")
        return outlines.layers_of(_factors(self), self._point(x), period)

    def mesh(self, n: int):
        """Triangulation with about n cells along the shorter side of the box, a `hybrid_lib.fem.Mesh` with the sides.

        Raises
        ------
        InputError
            If ``n`` is not an integer ≥ 1.
        """
        from hybrid_lib import fem

        fem.interval(n)  # checks the number
        if self.first is None:
            return self.labelled(fem.polygon(self.loops[0], self.loops[1:], self.unit / n))
        d = self.dimension
        mesh, longest = self.first, self.unit / n * math.sqrt(d)
        times = max(math.ceil(math.log2(mesh.h / longest) - 1e-9), 0)
        fem.mesh.require_room(*[math.ceil(2**times * (len(mesh.cells) / d) ** (1 / d))] * d)
        while mesh.h > longest * (1 + 1e-9):
            mesh = fem.refine(mesh)
        return mesh


def polygon(vertices: Any, holes: Sequence = (), sides: Mapping[str, Sequence[int]] | None = None) -> Polygon:
    """A simple polygon with holes.

    Parameters
    ----------
    vertices : (n, 2) array
        Corners in the order of a walk around, either way.
    holes : sequence of (k, 2) arrays
        Corners of each hole, likewise.
    sides : dict of name to list of int, optional
        Numbers of the edges of each side. Edge k goes from corner k to the next one; those of the first hole come after those of
        the outline, and so on. Edges that are in none belong to ``outer``, or to ``hole_0``, ``hole_1``, …

    Raises
    ------
    InputError
        For an outline that is open or meets itself, a hole that is not inside, or an edge that is in two sides or in none of the
        outlines.

    Examples
    --------
    >>> domain = polygon([(0, 0), (2, 0), (0, 1)], sides={"hot": [2]})
    >>> domain.sides, domain.measure
    (('outer', 'hot'), 1.0)
    """
    from hybrid_lib.fem.polygons import area, checked_loops

    loops = checked_loops(vertices, holes)
    names = [name for k, loop in enumerate(loops) for name in [f"hole_{k - 1}" if k else "outer"] * len(loop)]
    if not isinstance(sides or {}, Mapping):
        raise InputError("sides", "a dict of names and numbers of edges", type(sides).__name__, 'for example {"hot": [0, 1]}')
    given: dict[int, str] = {}
    for name, numbers in (sides or {}).items():
        for number in np.atleast_1d(np.asarray(numbers)).tolist():
            if type(number) is not int or not 0 <= number < len(names):
                raise InputError(f"sides, {name!r}", f"numbers of edges from 0 to {len(names) - 1}", repr(number), "correct it")
            if number in given:
                received = f"edge {number} in {given[number]!r} as well"
                raise InputError(f"sides, {name!r}", "edges of one side only", received, "leave it out of one of them")
            given[number], names[number] = str(name), str(name)
    faces: list[Face] = []
    for loop in loops:
        for a, b in zip(loop.tolist(), np.roll(loop, -1, axis=0).tolist(), strict=True):
            length = math.dist(a, b)
            faces.append((tuple(a), tuple((q - p) / length for p, q in zip(a, b, strict=True)), length))
    kept = tuple(tuple(map(tuple, loop.tolist())) for loop in loops)
    size = abs(area(loops[0])) - sum(abs(area(hole)) for hole in loops[1:])
    return Polygon("polygon", (), tuple(faces), None, tuple(names), None, size, kept)


def from_mesh(mesh: Any) -> Polygon:
    """The domain that a mesh covers, with its sides; what `mesh` returns are refinements of it.

    Parameters
    ----------
    mesh : fem.Mesh
        From :func:`hybrid_lib.fem.from_simplices` or :func:`hybrid_lib.fem.read_mesh`. Facets of the boundary that are in none of
        its ``sides`` belong to the side ``rest``, or ``boundary`` if there are no others; the ends of an interval are ``left``
        and ``right``.

    Raises
    ------
    InputError
        For something that is no mesh, and a facet in two sides.

    Examples
    --------
    >>> from hybrid_lib import fem
    >>> domain = from_mesh(fem.unit_square(2))
    >>> domain.sides, domain.measure
    (('boundary',), 1.0)
    """
    from hybrid_lib.fem.mesh import Mesh
    from hybrid_lib.fem.sides import with_rest

    if not isinstance(mesh, Mesh):
        raise InputError("mesh", "a fem.Mesh", type(mesh).__name__, "make one with fem.from_simplices or fem.read_mesh")
    mesh = with_rest(mesh)
    faces, names = [], []
    for name, nodes in mesh.sides.items():
        for ends in mesh.points[nodes].tolist():
            length = math.dist(ends[0], ends[-1]) or 1.0
            direction = tuple((q - p) / length for p, q in zip(ends[0], ends[-1], strict=True))
            faces.append((tuple(ends[0]), direction, length))
            names.append(name)
    return Polygon("mesh", (), tuple(faces), None, tuple(names), None, float(mesh.volumes.sum()), (), mesh)


@functools.lru_cache(maxsize=8)
def _factors(domain: Polygon) -> tuple:
    loops = outlines.loops_of(domain)
    return outlines.vanishing(loops, loops)
