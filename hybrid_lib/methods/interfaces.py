r"""Interfaces of materials: functions of the hypercircle's trial fields that have a kink where K jumps.

Across an interface Γ the slope of w along Γ is the same on both sides, and so is the flux through Γ, which is the slope of the
stream function along Γ; the other parts jump. With φ of :mod:`hybrid_lib.pinn.outlines`, which is zero on Γ with the slope 1 on
both sides and analytic elsewhere, a + φ·b_m with smooth a and a smooth b_m for each material m has every such pair of slopes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem
from hybrid_lib.fem.topology import facets_of, unique_pairs
from hybrid_lib.methods.polygons import centres
from hybrid_lib.pinn import outlines
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.problems import Problem

Segment = tuple[tuple[float, float], tuple[float, float]]
MATERIALS = 8
"""With more of them one function b is that of all."""
NEAR = 1e-9
"""Part of the domain's size below which two lines are one, and an end of an interface lies on the boundary."""
PROBES = 64
"""Points of a continued interface at which the domain must not be."""


class Kinks(NamedTuple):
    """x (2,) ↦ φ on each material and zero on the others, (count,), and their number."""

    values: Callable[[Array], Array]
    count: int


def kinks(problem: Problem) -> Kinks | None:
    """The functions with kinks for a problem; None where K has no materials, or on a line.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from hybrid_lib import media
    >>> from hybrid_lib.pinn.domains import unit_square
    >>> mesh = replace(fem.unit_square(2), materials={"a": np.arange(4), "b": np.arange(4, 8)})  # below and above ½
    >>> found = kinks(Problem(medium=media.by_tag(mesh, {"a": 1.0, "b": 9.0}), domain=unit_square()))
    >>> [(found.values(jnp.array([0.3, y])) > 0).tolist() for y in (0.25, 0.5, 0.75)]
    [[True, False], [False, False], [False, True]]
    """
    tagged = getattr(problem.medium.conductivity, "tagged", None)
    if tagged is None or problem.domain.dimension == 1:
        return None
    mesh, tag, locate = tagged
    segments = _joined(_between(mesh, tag), problem.domain)
    if not 0 < len(segments) <= outlines.MOST:
        return None
    phi = functools.partial(outlines.phi, segments)
    size = float(fem.evaluate(phi, centres(problem.domain)).max())
    count = int(tag.max()) + 1
    shared = count > MATERIALS

    def values(x: Array) -> Array:
        distance = phi(x) / jnp.asarray(size, x.dtype)
        if shared:
            return distance[None]
        return jnp.where(jnp.asarray(tag)[locate(x)] == jnp.arange(count, dtype=tag.dtype), distance, 0 * distance)

    return Kinks(values, 1 if shared else count)


def _between(mesh: Any, tag: np.ndarray) -> np.ndarray:
    """Ends of the facets between cells of different materials, (k, 2, 2)."""
    lower, upper = facets_of(mesh.cells)
    first, last, place = unique_pairs(lower, upper, len(mesh.points))
    own = np.repeat(tag, mesh.cells.shape[1])
    least, most = np.full(len(first), np.iinfo(np.int32).max), np.full(len(first), -1)
    np.minimum.at(least, place, own)
    np.maximum.at(most, place, own)
    return mesh.points[np.stack([first, last], axis=1)[least < most]]


def _joined(edges: np.ndarray, domain: Domain) -> tuple[Segment, ...]:
    """The edges, those of one line that touch as one; what ends on the boundary goes on outside, as far as it stays there."""
    size = float(np.ptp(domain.box, axis=0).max())
    along = edges[:, 1] - edges[:, 0]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    along *= np.where((along[:, :1] < -NEAR) | ((np.abs(along[:, :1]) <= NEAR) & (along[:, 1:] < 0)), -1.0, 1.0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    offset = np.sum(normal * edges[:, 0], axis=1)
    lines: dict[tuple, list] = {}
    for k, key in enumerate(np.round(np.c_[along, offset / size] / NEAR / 10).astype(int).tolist()):
        lines.setdefault(tuple(key), []).append(k)
    found: list[np.ndarray] = []
    for parts in lines.values():
        way, origin = along[parts[0]], offset[parts[0]] * normal[parts[0]]
        merged: list[list[float]] = []
        for start, end in sorted(sorted(ends) for ends in (edges[parts] @ way).tolist()):
            if merged and start <= merged[-1][1] + NEAR * size:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([start, end])
        found += [origin + np.array(ends)[:, None] * way for ends in merged]
    return tuple(tuple(map(tuple, pair)) for pair in _continued(np.array(found), domain, size).tolist()) if found else ()


def _continued(pairs: np.ndarray, domain: Domain, size: float) -> np.ndarray:
    """Segments (k, 2, 2), an end that lies on the boundary further out: φ is then smooth there."""
    ends, ways = pairs.reshape(-1, 2).copy(), (pairs - pairs[:, ::-1]).reshape(-1, 2)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    on = np.flatnonzero(fem.evaluate(domain.distance, ends) <= NEAR * size)
    if len(on):
        beyond = ends[on, None] + size * (np.arange(PROBES)[:, None] + 1) / PROBES * ways[on, None]  # (ends, probes, 2)
        inside = fem.evaluate(lambda x: jnp.asarray(domain.contains(x), x.dtype), beyond)
        clear = np.where(inside.any(axis=1), inside.argmax(axis=1) / 2, PROBES)
        ends[on] += size * clear[:, None] / PROBES * ways[on]
    return ends.reshape(pairs.shape)
