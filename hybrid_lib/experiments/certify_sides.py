"""Certificates where sides have conditions: the bound of :mod:`hybrid_lib.fem.sided` on meshes that are refined."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.certify import ROUNDING, SHARP, Batch, Certificate, _sampled
from hybrid_lib.experiments.solve import solve_on
from hybrid_lib.fem import fluxes, sides
from hybrid_lib.fem.sided import sided_bound
from hybrid_lib.problems import Problem


def certified_sides(problem: Problem, at: Any, meshes: Iterator[fem.Mesh], most: int) -> Certificate:
    """The certificate of w where sides have conditions, and of u on domains that are not made of unit boxes.

    Parameters
    ----------
    problem : Problem
    at : callable points (k, d) -> values (k,) and gradients (k, d)
        With the rounding of its numbers as ``eps``.
    meshes : iterator of meshes
        Its first one is refined.
    most : int
        Nodes of a finer mesh that is still taken, in units of a quarter.
    """
    K, q, e, d = problem.medium.conductivity, problem.source, np.asarray(problem.direction), problem.domain.dimension
    field = at if problem.boundary is not None else _lifted(at, e)
    mesh, before = problem.domain.labelled(next(meshes)), math.inf
    while True:
        elements = solve_on(problem, mesh)
        if elements.proof is None:
            raise InputError("problem", "conditions with which errors have a bound", elements.reason, "change the conditions")
        if before == math.inf:
            _require_values(field, at, elements)
        nodal, data = field(mesh.points)[0], _sampled(mesh, K, q, 0)
        found = sided_bound(mesh, K, q, nodal, elements.data, 2, field, data)
        slope = field(data.points.reshape(-1, d))[1].reshape(data.points.shape)
        size = math.sqrt(mesh.volumes @ (np.einsum("mqi,mqi->mq", slope, slope) @ data.weights))
        off = slope - fem.cell_gradients(mesh, elements.w)[:, None]
        apart = np.einsum("mqi,mqi->mq", off, fluxes.times(data.K, off)) @ data.weights
        lower = max(math.sqrt(mesh.volumes @ apart) - elements.proof.bound, 0.0)
        if found.bound <= SHARP * lower or 4**d * len(mesh.points) > most or found.bound > before / SHARP:
            break
        before, mesh = found.bound, fem.refine(mesh)
    other = sided_bound(mesh, K, q, nodal, elements.data, 2, field, _sampled(mesh, K, q, 1))
    difference = abs(found.bound - other.bound) / max(found.bound, other.bound, np.finfo(float).tiny)
    proof = max(found, other, key=lambda one: one.bound)
    steep = proof.bound / (math.sqrt(problem.medium.alpha) * size) if size > 0 else math.inf
    steep = 0.0 if proof.relative == 0 else steep
    return Certificate(proof.bound, lower, proof.relative, steep, proof.oscillation, difference, mesh, proof.flux)


def _lifted(at: Any, e: np.ndarray) -> Batch:
    """w = u + e·x of a field u."""

    def lifted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = at(x)
        return value + x @ e, slope + e

    return lifted


def _require_values(field: Batch, at: Any, elements: Any) -> None:
    """Refuse a field that differs from the given temperatures at points of their sides."""
    mesh, data = elements.mesh, elements.data
    inside = np.abs(field(mesh.points)[0]).max()
    for name, (kind, value, *_) in elements.problem.conditions().items():
        if kind != "value":
            continue
        x = sides.facets(mesh, mesh.sides[name]).points.reshape(-1, mesh.dimension)
        off = np.abs(field(x)[0] - sides.values_at(value, x))
        worst = int(np.argmax(off))
        if not off[worst] <= ROUNDING * at.eps * max(inside, np.abs(data.values).max()):
            received = f"{off[worst]:.2g} away at {x[worst].round(6).tolist()}"
            raise InputError("field", f"the temperature of {name}", received, "certify w with its given values")
