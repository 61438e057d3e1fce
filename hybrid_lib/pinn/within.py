"""Whether points lie in a domain, up to rounding: what every door asks that evaluates a result at points."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem import inside
from hybrid_lib.fem.location import box_words, near
from hybrid_lib.fem.polygons import inside as inside_loop
from hybrid_lib.pinn.domains import Domain


def points_in(domain: Domain, points: Any) -> np.ndarray:
    """`points` as (k, d) float64, all of them in the domain or, up to rounding (1e-9 of its size), on its boundary.

    Raises
    ------
    InputError
        For another shape, for coordinates that are no finite numbers, and for a point outside: its number, and the domain.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> points_in(interval(0.0, 0.3), [[0.0], [0.1 + 0.2]]).shape
    (2, 1)
    >>> points_in(interval(), [[0.5], [1.5]])
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: point 1: expected a point in the domain (0, 1); received [1.5] outside it; leave out or \
move the 1 point(s) that lie outside
    """
    d = domain.dimension
    if np.ndim(points) != 2 or np.shape(points)[1] != d:
        remedy = "one row a point, in one dimension x[:, None]"
        raise InputError("points", f"shape (k, {d})", f"shape {np.shape(points)}", remedy)
    x = real_array("points", points)
    if len(bad := np.flatnonzero(~np.isfinite(x).all(axis=1))):
        raise InputError(f"point {bad[0]}", "finite coordinates", x[bad[0]].tolist(), "remove it")
    if len(out := np.flatnonzero(_outside(domain, x, near(*domain.box, points)))):
        remedy = f"leave out or move the {len(out)} point(s) that lie outside"
        raise InputError(f"point {out[0]}", f"a point in the domain {_words(domain)}", f"{x[out[0]].tolist()} outside it", remedy)
    return x


def nan_outside(domain: Domain, x: Array, value: Array) -> Array:
    """`value` at one point x (d,) of the domain, NaN outside: for programs, which cannot complain."""
    near_it = domain.contains(x) | (domain.distance(x) <= near(*domain.box, x))
    return jnp.where(near_it, value, jnp.full_like(value, jnp.nan))


def _outside(domain: Domain, x: np.ndarray, slack: float) -> np.ndarray:
    """Which of the points (k, d) lie outside by more than `slack`, (k,) bool."""
    if domain.corners:  # the union of equal boxes
        sides = domain.extent or (1.0,) * domain.dimension
        boxes = [(np.array(low) - slack, np.add(low, sides) + slack) for low in domain.corners]
        return ~np.any([np.all((x >= low) & (x <= high), axis=1) for low, high in boxes], axis=0)
    if domain.first is not None:
        found = inside(domain.first, x)
    else:
        found = np.logical_xor.reduce([inside_loop(np.array(loop), x) for loop in domain.loops])
    rest = np.flatnonzero(~found)
    gap = np.full(len(rest), np.inf)
    for start, along, length in domain.faces if len(rest) else ():
        away = x[rest] - start
        t = np.clip(away @ along, 0, length)
        gap = np.minimum(gap, np.linalg.norm(away - t[:, None] * along, axis=1))
    found[rest[gap <= slack]] = True
    return ~found


def _words(domain: Domain) -> str:
    """The domain: a product of intervals, or its name and the box around it."""
    box = box_words(*domain.box)
    return box if len(domain.corners) == 1 else f"{domain.name!r} within {box}"
