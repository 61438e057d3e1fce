r"""What a trial field and a trial flux have to know of the sides of a box, with w = g on Γ_D and n·K∇w = p on Γ_N.

Other plane domains are :mod:`hybrid_lib.methods.polygons`'. The field is G + l·net with a blend G of the given temperatures
(Coons 1967) and a product l that vanishes on Γ_D alone. The flux is σ_p + (∂₂ψ, −∂₁ψ) with ψ = m·net + c·t: m vanishes on
Γ_N, and t runs from 0 to 1 between two opposite sides of Γ_N, c the heat that flows between them. σ_p balances the source
and has the given n·σ_p = p: across one axis it is linear between the sides, along the other one an integral of what is left,

.. math:: \sigma_1 = -(1 - t)\,p_l + t\,p_r, \qquad
          \sigma_2(x_1, x_2) = \sigma_2(x_1, s) - \int_s^{x_2} (q + \partial_1\sigma_1)\,d x_2'.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.methods import polygons
from hybrid_lib.methods.polygons import value_at
from hybrid_lib.pinn import outlines
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.pinn.hypercircle import particular_flux
from hybrid_lib.problems import Problem

Value = float | Callable
ENDS = (("left", "right"), ("bottom", "top"))
"""Names of the lower and the upper end of each axis of a box."""


class Lifting(NamedTuple):
    """What the sides ask of trial fields.

    Attributes
    ----------
    base : callable (d,) -> (), or None
        G; None for zero.
    factor, layer : callables (d,) -> () and (d,), period -> (), or None
        l, and one that is 1 but for a layer at Γ_D; None where no temperature is given.
    stream, stream_layer : likewise, or None
        m; None without Γ_N.
    flow : int or None
        The axis between two opposite sides of Γ_N: t is its coordinate.
    fixed : bool
        On an interval: whether an end has a given flux, so that nothing of τ is free.
    corners, stream_corners : tuples of callables (d,) -> ()
        On polygons: functions of corners that come with a number each, of the field and of the stream function.
    around : callable (d,) -> (k, d), or None
        On polygons: gradients of further stream functions with a number each.
    """

    base: Callable | None
    factor: Callable | None
    layer: Callable | None
    stream: Callable | None = None
    stream_layer: Callable | None = None
    flow: int | None = None
    fixed: bool = False
    corners: tuple[Callable, ...] = ()
    stream_corners: tuple[Callable, ...] = ()
    around: Callable | None = None


def lifting(problem: Problem) -> Lifting:
    """Base and factors for the sides of a problem.

    Raises
    ------
    InputError
        For two temperatures that differ where they meet, fluxes all around, a boundary that touches itself, and a mesh of a line.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.sides import Dirichlet, Neumann
    >>> found = lifting(Problem(medium=media.constant(1.0, 1), boundary={"left": Dirichlet(3.0), "right": Neumann()}))
    >>> [float(f(jnp.array([0.25]))) for f in (found.base, found.factor)]
    [3.0, 0.25]
    """
    domain, kinds = problem.domain, problem.conditions()
    if all(condition[0] == "flux" for condition in kinds.values()):
        remedy = "fix a temperature, or solve it by elements, hybrid_lib.solve"
        raise InputError("boundary", "a side without a given flux", "fluxes all around", remedy)
    if len(domain.corners) != 1:
        return _on_polygon(problem)
    if problem.boundary is None:
        return Lifting(None, domain.vanishing, domain.layer)
    ends = [[kinds[name] for name in pair] for pair in ENDS[: domain.dimension]]
    held, shut = (tuple(tuple(end[0] == kind for end in pair) for pair in ends) for kind in ("value", "flux"))
    given = tuple(tuple(end[1] if end[0] == "value" else None for end in pair) for pair in ends)
    _require_equal_corners(domain, given)
    box = domain.box
    product = lambda which: functools.partial(_product, *box, which) if np.any(which) else None  # noqa: E731
    layer = lambda which: functools.partial(_layers, *box, which) if np.any(which) else None  # noqa: E731
    base = functools.partial(_blend, *box, given) if np.any(held) else None
    if domain.dimension == 1:
        return Lifting(base, product(held), layer(held), fixed=bool(np.any(shut)))
    between = [axis for axis in (0, 1) if all(shut[axis]) and not any(shut[1 - axis])]
    return Lifting(base, product(held), layer(held), product(shut), layer(shut), between[0] if between else None)


def _on_polygon(problem: Problem) -> Lifting:
    """The same for a plane domain of any shape."""
    if problem.domain.dimension == 1:
        raise InputError("domain", "an interval", "the mesh of a line", "pass domains.interval(a, b)")
    loops, kinds = outlines.loops_of(problem.domain), polygons.kinds_of(problem)
    held, shut = (
        polygons.factors_of(problem.domain, loops, outlines.runs(loops, kinds, kind)) for kind in ("value", "flux")
    )
    product = lambda factors: functools.partial(outlines.product_of, factors) if factors else None  # noqa: E731
    layer = lambda factors: functools.partial(outlines.layers_of, factors) if factors else None  # noqa: E731
    sharp = outlines.corners_of(loops, kinds)
    corners, conjugate = (
        tuple(functools.partial(outlines.corner_term, c, c.sine == own) for c in sharp) for own in (True, False)
    )
    base, around = polygons.base_of(problem, loops), polygons.around_of(problem, loops)
    return Lifting(
        base, product(held), layer(held), product(shut), layer(shut), corners=corners, stream_corners=conjugate, around=around
    )


def balancing_flux(problem: Problem, nodes: int) -> Callable[[Array], Array]:
    """σ_p, a function of one point: by rays from the centre without Γ_N, else along an axis.

    Parameters
    ----------
    problem : Problem
    nodes : int
        Of Gauss's rule for each integral.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.sides import Dirichlet, Neumann
    >>> sides = {"left": Neumann(2.0), "right": Dirichlet(0.0)}
    >>> sigma = balancing_flux(Problem(medium=media.constant(1.0, 1), source=1.0, boundary=sides), 4)
    >>> [round(float(sigma(jnp.array([x]))[0]), 5) for x in (0.0, 1.0)]
    [-2.0, -3.0]
    """
    domain, kinds = problem.domain, problem.conditions()
    if len(domain.corners) != 1:
        return polygons.balancing(problem, nodes)
    shut = [name for name, condition in kinds.items() if condition[0] == "flux"]
    if not shut:
        return particular_flux(problem.source, centre(domain), nodes)
    d, (lower, upper) = domain.dimension, domain.box
    axis = d - 1 if not all(name in shut for name in ENDS[d - 1]) else 0
    t, w = np.polynomial.legendre.leggauss(nodes)
    t, w = (t + 1) / 2, w / 2
    flux = [[kinds[name][1] if name in shut else None for name in pair] for pair in ENDS[:d]]

    def at(x: Array, k: int, end: int) -> Array:
        """p at the projection of x to an end of axis k."""
        return value_at(flux[k][end], x.at[k].set((lower, upper)[end][k]))

    def across(x: Array) -> tuple[Array, Array]:
        """σ on the other axis, and its derivative there."""
        k, zero = 1 - axis, jnp.zeros((), x.dtype)
        low, high = (None if flux[k][end] is None else at(x, k, end) for end in (0, 1))
        if low is None or high is None:
            return (zero if high is None else high) if low is None else -low, zero
        s = (x[k] - jnp.asarray(lower[k], x.dtype)) / jnp.asarray(upper[k] - lower[k], x.dtype)
        return s * high - (1.0 - s) * low, (low + high) / jnp.asarray(upper[k] - lower[k], x.dtype)

    def sigma(x: Array) -> Array:
        start = (lower[axis] + upper[axis]) / 2
        first = jnp.zeros((), x.dtype)
        if flux[axis][0] is not None:
            start, first = lower[axis], -at(x, axis, 0)
        elif flux[axis][1] is not None:
            start, first = upper[axis], at(x, axis, 1)
        way = x[axis] - jnp.asarray(start, x.dtype)

        def left(s: Array) -> Array:
            y = x.at[axis].set(jnp.asarray(start, x.dtype) + s * way)
            rest = across(y)[1] if d == 2 else 0.0
            return jnp.asarray(problem.source(y), x.dtype) + rest

        along = first - way * (jnp.asarray(w, x.dtype) @ jax.vmap(left)(jnp.asarray(t, x.dtype)))
        if d == 1:
            return along[None]
        parts = (across(x)[0], along)
        return jnp.stack(parts if axis == 1 else parts[::-1])

    return sigma


def centre(domain: Domain) -> tuple[float, ...]:
    """A point that sees all of a domain that is made of boxes: the middle of the box that is closest to the others.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> centre(interval())
    (0.5,)
    """
    corners = np.asarray(domain.corners, float)
    nearest = np.abs(corners[:, None] - corners[None]).sum(axis=(1, 2)).argmin()
    return tuple((corners[nearest] + 0.5 * np.asarray(domain.extent or 1.0)).tolist())


def _ends(lower: Any, upper: Any, x: Array) -> tuple[Array, Array]:
    """Distances to the lower and the upper end of each axis."""
    return x - jnp.asarray(lower, x.dtype), jnp.asarray(upper, x.dtype) - x


def _product(lower: Any, upper: Any, which: tuple[tuple[bool, bool], ...], x: Array) -> Array:
    """Product of the distances to the ends in `which`, over the lengths of the axes; 4t(1 − t) where both are."""
    found = jnp.ones((), x.dtype)
    low, high = _ends(lower, upper, x)
    for k, (first, last) in enumerate(which):
        length = float(upper[k] - lower[k])
        found = found * (low[k] / length if first else 1.0) * (high[k] / length if last else 1.0)
        found = found * (4.0 if first and last else 1.0)
    return found


def _layers(lower: Any, upper: Any, which: tuple[tuple[bool, bool], ...], x: Array, period: float) -> Array:
    """Product of 1 − exp(−2πs/period) for the distances s to the ends in `which`."""
    found, rate = jnp.ones((), x.dtype), 2 * math.pi / period
    low, high = _ends(lower, upper, x)
    for k, (first, last) in enumerate(which):
        found = found * (-jnp.expm1(-rate * low[k]) if first else 1.0) * (-jnp.expm1(-rate * high[k]) if last else 1.0)
    return found


def _blend(lower: Any, upper: Any, given: tuple, x: Array) -> Array:
    """The blend of temperatures that are given at ends: P₁ + P₂ − P₁P₂ with the linear or constant P of each axis."""

    def along(k: int, x: Array, inner: Callable[[Value, Array], Array]) -> Array:
        t = (x[k] - jnp.asarray(lower[k], x.dtype)) / jnp.asarray(upper[k] - lower[k], x.dtype)
        low, high = (
            None if value is None else inner(value, x.at[k].set((lower, upper)[end][k])) for end, value in enumerate(given[k])
        )
        if low is None or high is None:
            return jnp.zeros((), x.dtype) if low is high else high if low is None else low
        return (1.0 - t) * low + t * high

    plain = [along(k, x, value_at) for k in range(len(given))]
    if len(plain) == 1 or any(pair == (None, None) for pair in given):
        return sum(plain[1:], start=plain[0])
    return plain[0] + plain[1] - along(0, x, lambda value, y: along(1, y, lambda _, z: value_at(value, z)))


def _require_equal_corners(domain: Domain, given: tuple) -> None:
    """Refuse temperatures of two sides that differ where they meet: no field of finite energy has both."""
    if domain.dimension == 1:
        return
    box = domain.box
    for i in (0, 1):
        for j in (0, 1):
            one, other = given[0][i], given[1][j]
            if one is None or other is None:
                continue
            corner = jnp.array([box[i][0], box[j][1]], jnp.result_type(float))
            a, b = (float(value_at(value, corner)) for value in (one, other))
            if abs(a - b) > 1e-5 * max(abs(a), abs(b)):
                received = f"{a:g} and {b:g} at {[round(float(c), 6) for c in corner]}"
                expected = f"equal temperatures where {ENDS[0][i]} and {ENDS[1][j]} meet"
                raise InputError("boundary", expected, received, "join them, or solve it by elements, hybrid_lib.solve")
