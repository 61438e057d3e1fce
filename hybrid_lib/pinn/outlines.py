r"""What a polygon with holes knows of its boundary: loops, corners, and functions that vanish on a part of it.

Of a set Γ of edges the integral

.. math:: W(x) = \int_\Gamma \frac{ds_y}{|x - y|^2} = \sum_e \frac{\alpha_e(x)}{h_e(x)}, \qquad \varphi = \frac{\pi}{W},

has the angle α under which an edge is seen and the distance h of its line: φ is analytic off Γ and its ends, positive there,
zero on Γ with the slope 1, whatever the number of edges, and for a circle of radius R it is (R² − ‖x‖²)/(2R). At a corner it is
of degree one. Where u is smoother, at corners of at most 120 degrees, Γ is cut, and the product of the parts' functions taken.
Quotients of such functions blend values that are given on several parts (Rvachev and others 2001).

At corners of a larger angle ω gradients are not bounded: fields have a multiple of r^λ sin λθ, λ = π/ω, of their own (λ = π/2ω
between a temperature and a flux), times a function that ends before the next edge; stream functions have its conjugate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib.errors import InputError

CUT = math.radians(120.001)
"""Corners up to this angle have the product of two functions."""
CHAINS = 12
"""With more parts one function takes all edges."""
STRAIGHT = 1e-9
"""Sine of the angle below which two edges are one."""
WEAK, CORNERS = 0.9, 16
"""Corners with an exponent up to this one have a term of their own, so many at most, those of the lowest exponents."""
MOST = 500
"""Straight pieces of a boundary, at most. Each point of training looks at all of them."""
SOLVE = "solve it by elements, hybrid_lib.solve"


class Edge(NamedTuple):
    """From `start` to `end` with Ω on the left, on the side `name`."""

    start: tuple[float, float]
    end: tuple[float, float]
    name: str

    @property
    def length(self) -> float:
        """Of the edge."""
        return math.dist(self.start, self.end)


Loop = tuple[Edge, ...]


@functools.lru_cache(maxsize=32)
def loops_of(domain: Any) -> tuple[Loop, ...]:
    """The outline and the holes of a plane domain as closed walks with Ω on the left; straight pieces of one side are joined.

    Raises
    ------
    InputError
        For a boundary that touches itself or has more than 500 straight pieces, and a domain of several pieces.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import lshape
    >>> [edge.name for edge in loops_of(lshape())[0]]
    ['bottom', 'notch', 'notch', 'right', 'top', 'left']
    """
    from hybrid_lib.fem.polygons import area, inside

    ends = [(start, tuple(s + m * e for s, e in zip(start, along, strict=True))) for start, along, m in domain.faces]
    size = max(abs(c) for pair in ends for point in pair for c in point)
    key = lambda point: tuple(round(c / size * 1e10) for c in point)  # noqa: E731
    known: dict[tuple, tuple] = {}
    at: dict[tuple, list[int]] = {}
    for k, pair in enumerate(ends):
        for point in pair:
            known.setdefault(key(point), point)
            at.setdefault(key(point), []).append(k)
    if any(len(faces) != 2 for faces in at.values()):
        raise InputError("domain", "a boundary that does not touch itself", f"the domain {domain.name}", SOLVE)
    left, walks = set(range(len(ends))), []
    while left:
        k, walk = min(left), []
        here = key(ends[k][0])
        while k in left:
            left.remove(k)
            there = next(key(p) for p in ends[k] if key(p) != here)
            walk.append((known[here], known[there], domain.names[k]))
            here = there
            k = next((n for n in at[here] if n != k), k)
        walks.append(walk)
    outlines = [np.array([edge[0] for edge in walk]) for walk in walks]
    order = sorted(range(len(walks)), key=lambda k: -abs(area(outlines[k])))
    if not all(inside(outlines[order[0]], outlines[k][:1])[0] for k in order[1:]):
        raise InputError("domain", "one connected piece", f"several, {domain.name}", f"train on each alone, or {SOLVE}")
    found = []
    for number, k in enumerate(order):
        walk = walks[k]
        if (area(outlines[k]) > 0) != (number == 0):
            walk = [(b, a, name) for a, b, name in reversed(walk)]
        found.append(_joined([Edge(*edge) for edge in walk]))
    if (count := sum(map(len, found))) > MOST:
        raise InputError("domain", f"a boundary of at most {MOST} straight pieces", f"{count} of {domain.name}", SOLVE)
    return tuple(found)


def _joined(walk: list[Edge]) -> Loop:
    """The walk without corners between two edges of one side on one line."""
    corner = lambda k: _turn(walk[k - 1], walk[k]) or walk[k - 1].name != walk[k].name  # noqa: E731
    starts = [k for k in range(len(walk)) if corner(k)]
    return tuple(Edge(walk[k].start, walk[n].start, walk[k].name) for k, n in zip(starts, starts[1:] + starts[:1], strict=True))


def _turn(one: Edge, other: Edge) -> bool:
    """Whether there is a corner between two edges."""
    u, v = (np.subtract(e.end, e.start) / e.length for e in (one, other))
    return abs(u[0] * v[1] - u[1] * v[0]) > STRAIGHT or u @ v < 0


def angle(before: Edge, after: Edge) -> float:
    """The angle in Ω between two edges, in (0, 2π)."""
    u, v = np.subtract(after.end, after.start), np.subtract(before.start, before.end)
    return float(np.mod(math.atan2(u[0] * v[1] - u[1] * v[0], u @ v), 2 * math.pi))


def runs(loops: Sequence[Loop], kinds: dict[str, str], kind: str) -> list[Loop]:
    """The connected parts of the boundary whose sides are of one kind, each as edges in order; a closed one is a whole loop."""
    found: list[Loop] = []
    for loop in loops:
        chosen = [kinds[edge.name] == kind for edge in loop]
        if all(chosen):
            found.append(loop)
            continue
        first = next((k for k in range(len(loop)) if chosen[k] and not chosen[k - 1]), None)
        part: list[Edge] = []
        for k in [] if first is None else [*range(first, len(loop)), *range(first + 1)]:
            if chosen[k] and not (part and k == first):
                part.append(loop[k])
            elif part:
                found, part = [*found, tuple(part)], []
    return found


def is_closed(part: Loop) -> bool:
    """Whether edges end where they begin."""
    return part[-1].end == part[0].start


def chains(loops: Sequence[Loop], parts: Sequence[Loop]) -> list[Loop]:
    """The parts, cut at corners of at most 120 degrees; all edges as one where that makes too many."""
    found = []
    for part in parts:
        n = len(part)
        cuts = [k for k in range(0 if is_closed(part) else 1, n) if angle(part[k - 1], part[k]) <= CUT]
        if is_closed(part) and cuts:
            part, cuts = part[cuts[0] :] + part[: cuts[0]], [k - cuts[0] for k in cuts[1:]]
        found += [part[a:b] for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    return found if len(found) <= CHAINS else [tuple(edge for part in parts for edge in part)]


def vanishing(loops: Sequence[Loop], parts: Sequence[Loop]) -> tuple[Callable[[Array], Array], ...]:
    """Functions of one point whose product vanishes on the parts alone; distances near to them.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import lshape
    >>> loops = loops_of(lshape())
    >>> factors = vanishing(loops, loops)
    >>> len(factors), [float(f(jnp.array([-1.0, 0.5]))) for f in factors].count(0.0)
    (5, 1)
    """
    corners = np.array([edge.start for loop in loops for edge in loop])
    return tuple(_factor(part, corners) for part in chains(loops, parts))


def _factor(part: Loop, corners: np.ndarray) -> Callable[[Array], Array]:
    """Of one chain: the distance of its line where Ω is on one side of it, else φ."""
    if len(part) == 1:
        edge = part[0]
        along = np.subtract(edge.end, edge.start) / edge.length
        normal = np.array([-along[1], along[0]])
        if ((corners - edge.start) @ normal).min() >= -STRAIGHT * np.ptp(corners, axis=0).max():
            return functools.partial(_line, edge.start, tuple(normal.tolist()))
    return functools.partial(phi, tuple((edge.start, edge.end) for edge in part))


def _line(start: tuple, normal: tuple, x: Array) -> Array:
    return (x - jnp.asarray(start, x.dtype)) @ jnp.asarray(normal, x.dtype)


def product_of(factors: tuple, x: Array) -> Array:
    """Product of functions of one point."""
    return functools.reduce(lambda a, f: a * f(x), factors, jnp.ones((), x.dtype))


def layers_of(factors: tuple, x: Array, period: float) -> Array:
    """Product of 1 − exp(−2πf/period)."""
    rate = 2 * math.pi / period
    return functools.reduce(lambda a, f: a * -jnp.expm1(-rate * f(x)), factors, jnp.ones((), x.dtype))


def phi(edges: tuple, x: Array) -> Array:
    """φ = π/W of edges (start, end) at one point, of x's dtype.

    Examples
    --------
    >>> edge = ((0.0, 0.0), (1.0, 0.0))
    >>> round(float(phi((edge,), jnp.array([0.5, 0.01]))), 4), float(phi((edge,), jnp.array([0.5, 0.0])))
    (0.0101, 0.0)
    """
    over, under, ends = _quotients(edges, x)
    scaled, near = _scaled(over, under)
    value = jnp.asarray(math.pi, x.dtype) * near / jnp.sum(scaled)
    return jnp.where(jnp.any(ends), 0 * value, value)


def shares(edges: tuple, x: Array) -> Array:
    """Part of each edge in W at one point, (k,): 1 on the edge and 0 on the others; they add up to one.

    Examples
    --------
    >>> edges = ((0.0, 0.0), (1.0, 0.0)), ((1.0, 1.0), (0.0, 1.0))
    >>> [shares(edges, jnp.array([0.5, y])).round(6).tolist() for y in (0.0, 0.5)]
    [[1.0, 0.0], [0.5, 0.5]]
    """
    over, under, ends = _quotients(edges, x)
    scaled = jnp.where(jnp.any(ends), jnp.asarray(ends, x.dtype), _scaled(over, under)[0])
    return scaled / jnp.sum(scaled)


def _quotients(edges: tuple, x: Array) -> tuple[Array, Array, Array]:
    """Numerators and denominators of W of each edge, and whether x is one of its ends."""
    a, b = (jnp.asarray(np.array([edge[i] for edge in edges]), x.dtype) for i in (0, 1))
    length = jnp.linalg.norm(b - a, axis=1)
    u, v = a - x[None], b - x[None]
    cross, dot = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], jnp.sum(u * v, axis=1)
    m = jnp.where(cross >= 0, cross, -cross)  # with the slope 1 on the edge
    ends = (m == 0) & (dot == 0)
    one = jnp.ones_like(m)
    dot = jnp.where(ends, one, dot)
    far = (dot > 0) & (m < 1e-2 * dot)
    z = jnp.where(far, m / jnp.where(far, dot, one), 0 * m)
    series = 1 + z**2 * (-1 / 3 + z**2 * (1 / 5 + z**2 * (-1 / 7 + z**2 / 9)))
    seen = jnp.arctan2(jnp.where(far, one, m), jnp.where(far, one, dot))
    return length * jnp.where(far, series, seen), jnp.where(far, dot, m), ends


def _scaled(over: Array, under: Array) -> tuple[Array, Array]:
    """W of each edge times the denominator of the nearest one, and that denominator, which is zero on it."""
    k = jnp.argmin(under / over)
    rest, one = jnp.arange(len(over)) != k, jnp.ones_like(over)
    others = over / jnp.where(rest & (under > 0), under, one)
    return jnp.where(rest, under[k] * others, over), under[k]


class Corner(NamedTuple):
    """A corner where gradients are not bounded.

    Attributes
    ----------
    point : tuple of 2 floats
    bisector : float
        Direction of the middle of its angle.
    opening, exponent, radius : float
        ω; λ; and where the terms end.
    sine : bool
        Whether the field is that with the sine, which is zero on the edge that begins here; else the cosine.
    """

    point: tuple[float, float]
    bisector: float
    opening: float
    exponent: float
    radius: float
    sine: bool


def corners_of(loops: Sequence[Loop], kinds: dict[str, str]) -> tuple[Corner, ...]:
    """Corners with an exponent of at most 0.9, where "value" is the kind of sides with a temperature.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import lshape
    >>> found = corners_of(loops_of(lshape()), dict.fromkeys(lshape().sides, "value"))
    >>> [(c.point, round(c.exponent, 6), c.radius) for c in found]
    [((0.0, 0.0), 0.666667, 1.0)]
    """
    edges, found = [edge for loop in loops for edge in loop], []
    for loop in loops:
        for before, after in zip(loop[-1:] + loop[:-1], loop, strict=True):
            omega = angle(before, after)
            held = [kinds[edge.name] == "value" for edge in (before, after)]
            exponent = math.pi / omega if held[0] == held[1] else math.pi / (2 * omega)
            if exponent > WEAK:
                continue
            p = np.array(after.start)
            others = [gaps(p[None], edge)[0] for edge in edges if edge is not before and edge is not after]
            way = np.subtract(after.end, after.start)
            middle = math.atan2(way[1], way[0]) + omega / 2
            radius = min(before.length, after.length, *others)
            found.append(Corner(after.start, middle, omega, exponent, radius, held[1]))
    return tuple(sorted(found, key=lambda corner: corner.exponent)[:CORNERS])


def gaps(x: np.ndarray, edge: Edge) -> np.ndarray:
    """Distances of points (k, 2) to an edge, (k,)."""
    a, b = np.array(edge.start), np.array(edge.end)
    t = np.clip((x - a) @ (b - a) / edge.length**2, 0, 1)
    return np.linalg.norm(x - a - t[:, None] * (b - a), axis=1)


def corner_term(corner: Corner, sine: bool, x: Array) -> Array:
    """r^λ sin λθ, or its conjugate with the cosine, times (1 − r²)³ for r < 1, in units of the radius."""
    away = (x - jnp.asarray(corner.point, x.dtype)) / jnp.asarray(corner.radius, x.dtype)
    square = jnp.sum(away**2)
    inside = (square > 0) & (square < 1)
    safe = jnp.where(inside, away, jnp.ones_like(away) / 2)
    square = jnp.sum(safe**2)
    c, s = math.cos(corner.bisector), math.sin(corner.bisector)
    theta = jnp.arctan2(c * safe[1] - s * safe[0], c * safe[0] + s * safe[1]) + corner.opening / 2
    wave = (jnp.sin if sine else jnp.cos)(corner.exponent * theta)
    return jnp.where(inside, square ** (corner.exponent / 2) * wave * (1 - square) ** 3, 0 * square)
