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
        return distance[None] if shared else jnp.where(jnp.asarray(tag)[locate(x)] == jnp.arange(count), distance, 0 * distance)

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
    offset = along[:, 0] * edges[:, 0, 1] - along[:, 1] * edges[:, 0, 0]
    lines: dict[tuple, list] = {}
    for edge, way, away in zip(edges, along, offset, strict=True):
        key = tuple(np.round([*way / NEAR / 10, away / (NEAR * size) / 10]).astype(int).tolist())
        lines.setdefault(key, []).append((sorted((edge @ way).tolist()), way, away))
    found = []
    for parts in lines.values():
        _, way, away = parts[0]
        normal = np.array([-way[1], way[0]])
        merged: list[list[float]] = []
        for start, end in sorted(part[0] for part in parts):
            if merged and start <= merged[-1][1] + NEAR * size:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([start, end])
        for start, end in merged:
            ends = _continued(start, -1, way, away * normal, domain, size), _continued(end, 1, way, away * normal, domain, size)
            found.append(tuple(tuple((s * way + away * normal).tolist()) for s in ends))
    return tuple(found)


def _continued(s: float, sign: int, way: np.ndarray, origin: np.ndarray, domain: Domain, size: float) -> float:
    """The end s of an interface, or one further out where it lies on the boundary: φ is then smooth there."""
    if float(domain.distance(jnp.asarray(s * way + origin))) > NEAR * size:
        return s
    t = s + sign * size * np.arange(1, PROBES + 1) / PROBES
    inside = [bool(domain.contains(jnp.asarray(one * way + origin))) for one in t]
    clear = inside.index(True) if any(inside) else PROBES
    return s + sign * size * clear / PROBES / (1 if clear == PROBES else 2)
