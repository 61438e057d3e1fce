r"""What trial fields and fluxes on a polygon with holes have to know of its sides: as :mod:`.lifting` for boxes.

The field is G + l·net + Σ a_c s_c with functions of :mod:`hybrid_lib.pinn.outlines`: l vanishes on Γ_D, G blends the given
temperatures by inverse distances, s_c belongs to a corner. The stream function is m·net, m = 0 on Γ_N, with multiples of

* a function for each part of Γ_N but one, which is one there and zero on the others: the heat that flows between two parts;
* the angle around a point z of each hole, whose flux (x − z)/‖x − z‖² is the heat that comes out of the hole;
* the conjugate of s_c at each corner.

On an edge of Γ_N the rate of change of a stream function is the flux through it. So a function that has the wrong flux there, the
angle or the stream function of the rays from the centre, gets what is missing: its integral along the edges, blended likewise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem
from hybrid_lib.captured import fresh
from hybrid_lib.errors import InputError
from hybrid_lib.pinn import outlines
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.pinn.hypercircle import particular_flux
from hybrid_lib.pinn.outlines import SOLVE, Loop
from hybrid_lib.problems import Problem

Value = float | Callable
DEGREE = 40
"""Of the polynomials that integrals along an edge are."""
EXACT = 1e-9
"""Part of a flux through a side that these polynomials may miss."""
PROBES = 33
"""Points an axis at which a source, or a temperature of several sides, is asked whether it is finite."""


def value_at(value: Value, x: Array) -> Array:
    """A number or a function of one point, in the dtype of the point."""
    return jnp.asarray(fresh(value)(x) if callable(value) else value, x.dtype)


@functools.lru_cache(maxsize=32)
def centres(domain: Domain) -> np.ndarray:
    """Centres of the cells of a coarse mesh."""
    mesh = domain.mesh(8)
    return mesh.points[mesh.cells].mean(axis=1)


def factors_of(domain: Domain, loops: tuple[Loop, ...], parts: list[Loop]) -> tuple[Callable, ...]:
    """Functions that vanish on parts of the boundary, times a number: the largest value of their product is about one."""
    factors = outlines.vanishing(loops, parts)
    if not factors:
        return ()
    found = fem.evaluate(functools.partial(outlines.product_of, factors), centres(domain))
    size = float(found.max()) ** (1 / len(factors))
    return tuple(functools.partial(_over, f, size) for f in factors)


def _over(f: Callable, size: float, x: Array) -> Array:
    return f(x) / jnp.asarray(size, x.dtype)


def kinds_of(problem: Problem) -> dict[str, str]:
    """Kind of the condition on each side."""
    return {name: condition[0] for name, condition in problem.conditions().items()}


def base_of(problem: Problem, loops: tuple[Loop, ...]) -> Callable | None:
    """G: the temperature that all sides have, or the blend of several."""
    if problem.boundary is None:
        return None
    given = {name: one[1] for name, one in problem.conditions().items() if one[0] == "value"}
    edges = [edge for loop in loops for edge in loop if edge.name in given]
    values = list(dict.fromkeys(given[edge.name] for edge in edges))
    if not values:
        return None
    for value in values:
        _require_finite(problem.domain, value, "temperature", "a temperature that is a finite number in all of the box around")
    if len(values) == 1:
        return functools.partial(value_at, values[0])
    for loop in loops:
        for before, after in zip(loop[-1:] + loop[:-1], loop, strict=True):
            if before.name in given and after.name in given:
                _require_equal(before, after, given)
    group = np.array([values.index(given[edge.name]) for edge in edges])
    table = tuple(map(tuple, (group[None, :] == np.arange(len(values))[:, None]).astype(float).tolist()))
    return functools.partial(_blend, tuple((e.start, e.end) for e in edges), table, tuple(values))


def _blend(edges: tuple, table: tuple, values: tuple, x: Array) -> Array:
    weights = jnp.asarray(np.array(table), x.dtype) @ outlines.shares(edges, x)
    return weights @ jnp.stack([value_at(value, x) for value in values])


def _require_equal(before: Any, after: Any, given: dict[str, Value]) -> None:
    """Refuse temperatures that differ where two sides meet: no field of finite energy has both."""
    x = jnp.asarray(after.start, jnp.result_type(float))
    a, b = (float(value_at(given[edge.name], x)) for edge in (before, after))
    if abs(a - b) > 1e-5 * max(abs(a), abs(b)):
        received = f"{a:g} and {b:g} at {[round(float(c), 6) for c in x]}"
        expected = f"equal temperatures where {before.name} and {after.name} meet"
        raise InputError("boundary", expected, received, f"join them, or {SOLVE}")


def _require_finite(domain: Domain, value: Value, what: str, expected: str) -> None:
    """Refuse a function that is not finite in the box around the domain, where trial fields need it."""
    if not callable(value):
        return
    axes = [np.linspace(a, b, PROBES) for a, b in zip(*domain.box, strict=True)]
    try:
        fem.evaluate(value, np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, domain.dimension))
    except InputError as error:
        raise InputError(what, expected, error.received, f"write it so that it is, or {SOLVE}") from None


class _Walls:
    """The edges of Γ_N, in the order of its parts, and integrals along them.

    The flux (x − z)/‖x − z‖² of a hole goes through an edge with the line at the distance η from z at the rate η/(s² + η²), s
    from the foot of z: its integral is an angle.
    """

    def __init__(self, loops: tuple[Loop, ...], parts: list[Loop], points: np.ndarray):
        edges = [edge for part in parts for edge in part]
        self.parts, self.edges, self.ends = parts, edges, tuple((e.start, e.end) for e in edges)
        self.owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self.start = np.array([e.start for e in edges]).reshape(-1, 2)
        self.length = np.array([e.length for e in edges])
        self.along = (np.array([e.end for e in edges]).reshape(-1, 2) - self.start) / self.length[:, None]
        self.normal = np.stack([self.along[:, 1], -self.along[:, 0]], axis=1)  # outward
        away = points[None] - self.start[:, None]  # (edges, holes, 2)
        self.foot = np.einsum("ejd,ed->ej", away, self.along)
        eta = -np.einsum("ejd,ed->ej", away, self.normal)
        self.off = np.where(np.abs(eta) > 1e-12 * self.length[:, None], eta, np.inf)  # on one line: nothing goes through

    def place(self, x: Array) -> Array:
        """Coordinate of a point along each edge, (edges,)."""
        return jnp.sum((x[None] - jnp.asarray(self.start, x.dtype)) * jnp.asarray(self.along, x.dtype), axis=1)

    def angles(self, s: Array) -> Array:
        """Integrals of the holes' fluxes from the start of each edge to s (edges,), (edges, holes)."""
        foot, off = (jnp.asarray(a, s.dtype) for a in (self.foot, self.off))
        return jnp.arctan((s[:, None] - foot) / off) + jnp.arctan(foot / off)

    def whole(self) -> np.ndarray:
        """The same for whole edges."""
        far = np.arctan((self.length[:, None] - self.foot) / self.off)
        return far + np.arctan(self.foot / self.off)

    def offsets(self, rise: np.ndarray) -> np.ndarray:
        """Values at the starts of edges, (edges,), of a function that rises by `rise` along each, from zero on each part."""
        total = np.cumsum(rise) - rise
        first = np.searchsorted(self.owner, np.arange(len(self.parts)))
        return total - total[first][self.owner]


def hole_points(loops: tuple[Loop, ...]) -> np.ndarray:
    """A point in each hole, as far from its edges as a grid has one, (holes, 2)."""
    from hybrid_lib.fem.polygons import inside

    found = []
    for loop in loops[1:]:
        corners = np.array([edge.start for edge in loop])
        axes = [np.linspace(a, b, 42)[1:-1] for a, b in zip(corners.min(axis=0), corners.max(axis=0), strict=True)]
        x = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        middle = corners.mean(axis=0)
        x = np.concatenate([x[inside(corners, x)], middle[None][inside(corners, middle[None])]])
        gap = np.min([outlines.gaps(x, edge) for edge in loop], axis=0)
        found.append(x[np.argmax(gap)])
    return np.array(found).reshape(-1, 2)


def _free(loops: tuple[Loop, ...], parts: list[Loop]) -> np.ndarray:
    """Multiples of the holes' fluxes that may be added, (k, holes): without those insulated, in sum zero if the outline is."""
    open_ = [j for j, loop in enumerate(loops[1:]) if loop not in parts]
    rows = np.eye(len(loops) - 1)[open_]
    return rows[:-1] - rows[-1:] if loops[0] in parts and len(open_) else rows


def around_of(problem: Problem, loops: tuple[Loop, ...]) -> Callable[[Array], Array] | None:
    """x (2,) ↦ gradients (k, 2) of the stream functions that have a number each, or None without any."""
    parts = outlines.runs(loops, kinds_of(problem), "flux")
    points, free = hole_points(loops), _free(loops, parts)
    walls, between = _Walls(loops, parts, points), max(len(parts) - 1, 0)
    if not between + len(free):
        return None
    holes = np.concatenate([np.zeros((between, len(points))), free])
    ones = np.arange(1, between + 1)[:, None] == walls.owner[None]
    offsets = [-walls.offsets(walls.whole() @ row) for row in free]
    table = np.concatenate([ones, np.array(offsets).reshape(len(free), len(walls.edges))])  # (k, edges)

    def lifted(x: Array) -> Array:
        weights = outlines.shares(walls.ends, x)
        own = jnp.asarray(table, x.dtype) - jnp.asarray(holes, x.dtype) @ walls.angles(walls.place(x)).T
        return own @ weights

    def gradients(x: Array) -> Array:
        turning = jnp.asarray(holes, x.dtype) @ _turns(points, x)
        return turning + jax.jacfwd(lifted)(x) if walls.edges else turning

    return gradients


def _turns(points: np.ndarray, x: Array) -> Array:
    """Gradients of the angles around points, (k, 2)."""
    away = x[None] - jnp.asarray(points, x.dtype)
    return jnp.stack([-away[:, 1], away[:, 0]], axis=1) / jnp.sum(away**2, axis=1, keepdims=True)


def balancing(problem: Problem, nodes: int) -> Callable[[Array], Array]:
    """σ_p with ∇·σ_p = −q and n·σ_p = p on Γ_N: rays from the middle of the box, fluxes from holes, and what is missing on Γ_N.

    Raises
    ------
    InputError
        For a source that is not finite between the holes and in them, and fluxes that are not smooth along edges.
    """
    domain = problem.domain
    loops = outlines.loops_of(domain)
    _require_finite(domain, problem.source, "source", "a source that is a finite number in all of the box around")
    rays = particular_flux(problem.source, middle(domain), nodes)
    parts = outlines.runs(loops, kinds_of(problem), "flux")
    if not parts:
        return rays
    points = hole_points(loops)
    walls = _Walls(loops, parts, points)
    table, rise = _integrals(problem, walls, rays)
    b = np.zeros(len(points))
    missing = {part: rise[walls.owner == k].sum() for k, part in enumerate(parts)}
    for j, loop in enumerate(loops[1:]):
        if loop in missing:
            b[j] = -missing[loop] / (2 * math.pi)
    if loops[0] in missing:
        last = [j for j, loop in enumerate(loops[1:]) if loop not in missing][-1]
        b[last] = missing[loops[0]] / (2 * math.pi) - b.sum()
    offsets = walls.offsets(rise - walls.whole() @ b)

    def stream(x: Array) -> Array:
        s = walls.place(x)
        own = _polynomials(table, walls.length, s) + jnp.asarray(offsets, x.dtype) - walls.angles(s) @ jnp.asarray(b, x.dtype)
        return own @ outlines.shares(walls.ends, x)

    def sigma(x: Array) -> Array:
        along_x, along_y = jax.grad(stream)(x) + jnp.asarray(b, x.dtype) @ _turns(points, x)
        return rays(x) + jnp.stack([along_y, -along_x])

    return sigma


def middle(domain: Domain) -> tuple[float, ...]:
    """Of the box around."""
    return tuple((np.sum(domain.box, axis=0) / 2).tolist())


def _integrals(problem: Problem, walls: _Walls, rays: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials in 2s/L − 1 of ∫(p − n·σ) from the start of each edge, (edges, degree + 1) by Chebyshev, and their ends."""
    t = np.cos(np.pi * (np.arange(DEGREE) + 0.5) / DEGREE)
    fine = np.linspace(-1, 1, 3 * DEGREE)
    conditions, rows = problem.conditions(), []

    def density(k: int, t: np.ndarray) -> np.ndarray:
        x = walls.start[k] + (t[:, None] + 1) / 2 * walls.length[k] * walls.along[k]
        given = conditions[walls.edges[k].name][1]
        p = fem.evaluate(given, x) if callable(given) else np.full(len(x), given)
        return p - fem.evaluate(rays, x) @ walls.normal[k]

    chebyshev = np.polynomial.chebyshev
    for k, edge in enumerate(walls.edges):
        values = density(k, t)
        rate = chebyshev.chebfit(t, values, DEGREE - 1)
        rate[np.abs(rate) < 1e-14 * np.abs(rate).max()] = 0.0
        off = np.abs(chebyshev.chebval(fine, rate) - density(k, fine)).max()
        if off > EXACT * max(np.abs(values).max(), 1e-300):
            received = f"{off:.1g} away from one of degree {DEGREE - 1} on {edge.name}"
            raise InputError("boundary", "a flux and a source that are smooth along each edge", received, SOLVE)
        rows.append(chebyshev.chebint(rate, lbnd=-1) * edge.length / 2)
    table = np.array(rows)
    used = max(2, int(np.max(np.nonzero(np.abs(table).max(axis=0))[0], initial=0)) + 1)
    return table[:, :used], table.sum(axis=1)


def _polynomials(table: np.ndarray, length: np.ndarray, s: Array) -> Array:
    """Values at s (edges,), beyond the edges by the tangents at their ends."""
    derivative = np.polynomial.chebyshev.chebder(table, axis=1)
    t = 2 * s / jnp.asarray(length, s.dtype) - 1
    near = jnp.clip(t, -1.0, 1.0) if table.shape[1] > 2 else t
    return _sum(table, near) + (t - near) * _sum(derivative, near)


def _sum(table: np.ndarray, t: Array) -> Array:
    """Chebyshev sums (edges,) by Clenshaw's recurrence."""
    one, two = jnp.zeros_like(t), jnp.zeros_like(t)
    for column in table.T[:0:-1]:
        one, two = jnp.asarray(column, t.dtype) + 2 * t * one - two, one
    return jnp.asarray(table[:, 0], t.dtype) + t * one - two
