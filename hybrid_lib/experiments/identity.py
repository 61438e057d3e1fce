"""Whether two runs solve the same problem: its values at some thousand points and the integrals of its reference."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np

from hybrid_lib import fem
from hybrid_lib.experiments.references import Reference
from hybrid_lib.fem import sides
from hybrid_lib.problems import Problem

Tree = Any
MOST_POINTS = 5000
"""Collocation points at which medium and source are recorded."""
SAME = 1e-6
"""Relative difference up to which two values are the same, above the rounding of another device, also in float32."""


def digest(tree: Tree) -> str:
    """SHA-256 of the leaves of a tree of arrays, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        values = np.ascontiguousarray(leaf)
        found.update(f"{values.dtype}{values.shape}".encode() + values.tobytes())
    return found.hexdigest()[:16]


def same_problem(one: Problem, other: Problem, points: np.ndarray) -> bool:
    """Whether two problems have the same domain and direction, and the same medium and source at `points` (k, d)."""
    if one is other:
        return True
    a, b = (_values(problem, points[:MOST_POINTS].astype(float)) for problem in (one, other))
    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)


def _values(problem: Problem, points: np.ndarray) -> dict[str, np.ndarray]:
    """What a problem is: its domain and direction, the medium and the source at `points` (k, d), and the sides' conditions."""
    known = {
        "domain": np.asarray(problem.domain.name),
        "direction": np.asarray(problem.direction, float),
        "points": points,
        "medium": fem.evaluate(problem.medium.conductivity, points),
        "source": fem.evaluate(problem.source, points),
    }
    if problem.domain.extent is not None:
        known["box"] = np.asarray(problem.domain.box)
    if not problem.domain.corners:
        known["faces"] = np.array([np.concatenate([start, m * np.array(along)]) for start, along, m in problem.domain.faces])
    return known if problem.boundary is None else known | _side_values(problem)


def problem_record(problem: Problem, reference: Reference | None, points: np.ndarray) -> dict[str, np.ndarray]:
    """Values at `points`, and three integrals of the reference, where there is one, which feel what lies between them."""
    if reference is None:
        return _values(problem, points)
    return _values(problem, points) | {"reference": np.asarray([reference.upscaled, *reference.norms()])}


def same(stored: np.ndarray | None, now: np.ndarray) -> bool:
    """Whether two recorded arrays are the same, up to :data:`SAME`."""
    if stored is None or stored.shape != now.shape:
        return False
    return bool(np.all(stored == now) if now.dtype.kind != "f" else np.allclose(stored, now, rtol=SAME, atol=0))


def _side_values(problem: Problem) -> dict[str, np.ndarray]:
    """Kind and values of the condition on each side, at its middle and two other points."""
    mesh, values = problem.domain.labelled(problem.domain.mesh(1)), {}
    for name, (kind, *given) in problem.conditions().items():
        x = sides.facets(mesh, mesh.sides[name]).points.reshape(-1, mesh.dimension)
        values[f"kind of {name}"] = np.asarray(kind)
        values[f"values of {name}"] = np.stack([sides.values_at(value, x) for value in given])
    return values
