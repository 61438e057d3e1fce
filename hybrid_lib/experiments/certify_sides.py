"""Certificates where sides have conditions: the bound of :mod:`hybrid_lib.fem.sided` on meshes that are refined."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, rounded
from hybrid_lib.experiments import heat
from hybrid_lib.experiments.certificate import ROUNDING, SHARP, Certificate, along, energy_of, least, sampled
from hybrid_lib.experiments.field_solution import solve_on
from hybrid_lib.experiments.nodal import Nodal, prolonged
from hybrid_lib.experiments.pointwise import Batch
from hybrid_lib.fem import bounds, fluxes, sides
from hybrid_lib.fem.bounds import Sampled
from hybrid_lib.fem.sided import between_nodes, sided_bound
from hybrid_lib.problems import Problem


def certified_sides(problem: Problem, at: Any, meshes: Iterator[fem.Mesh], most: int, enough: float = 0.0) -> Certificate:
    """The certificate of w where sides have conditions, and of u on domains that are not made of unit boxes.

    Parameters
    ----------
    problem : Problem
    at : callable points (k, d) -> values (k,) and gradients (k, d), or Nodal
        With the rounding of its numbers as ``eps``.
    meshes : iterator of meshes
        Its first one is refined; of values at nodes it is theirs.
    most : int
        Nodes of a finer mesh that is still taken, in units of a quarter.
    enough : float
        Relative bound at which a field without a lower bound is not looked at on finer meshes.

    Notes
    -----
    Linear elements v that have the given temperatures g at their nodes are off between them: with the solution w' that has the
    values of v, ‖v − w‖ ≤ ‖v − w'‖ + ‖w' − w‖, and the last is no more than the energy of any extension of g − v.
    """
    K, q, e, d = problem.medium.conductivity, problem.source, np.asarray(problem.direction), problem.domain.dimension
    mesh, before, between, slack = problem.domain.labelled(next(meshes)), math.inf, 0.0, 0.0
    field = values = None
    if isinstance(at, Nodal):
        values = at.values if problem.boundary is not None else at.values + mesh.points @ e
    else:
        field = at if problem.boundary is not None else _lifted(at, e)
    while True:
        elements = solve_on(problem, mesh)
        if elements.proof is None:
            raise InputError("problem", "conditions with which errors have a bound", elements.reason, "change the conditions")
        data, sample = elements.data, sampled(mesh, K, q, 0)
        if before == math.inf and field is None:
            _require_nodal(values, at.eps, elements)
            off = values[data.held] - data.values  # rounding, of float32 too: another field has the given values, and is near
            values, slack = values.copy(), energy_of(mesh, K, data.held, off, data.exchanges)
            values[data.held] = data.values
            between = between_nodes(mesh, values, sample, data) + slack
        elif before == math.inf:
            _require_values(field, at, elements)
        data = data if field is not None else data._replace(fixed=())  # `between` has them
        node = values if field is None else field(mesh.points)[0]
        found = sided_bound(mesh, K, q, node, data, 2, field, sample)
        slope = fem.cell_gradients(mesh, node)[:, None]
        slope = slope if field is None else field(sample.points.reshape(-1, d))[1].reshape(sample.points.shape)
        slope = np.broadcast_to(slope, sample.points.shape)
        size = math.sqrt(mesh.volumes @ (np.einsum("mqi,mqi->mq", slope, slope) @ sample.weights))
        off = slope - fem.cell_gradients(mesh, elements.w)[:, None]
        lower = max(math.hypot(_energy(mesh, sample, off), _exchange(elements, node, field)) - elements.proof.bound - slack, 0.0)
        bound = found.bound + between
        done = lower == 0 and between == 0 and found.relative <= enough
        if done or bound <= SHARP * lower or 4**d * len(mesh.points) > most or bound > before / SHARP:
            break
        before, values = bound, None if field is not None else prolonged(mesh, values)
        mesh = fem.refine(mesh)
    second = sampled(mesh, K, q, 1)
    finer = sides.side_data(mesh, problem.conditions(), heat.ORDER, 2 * sides.POINTS)
    finer = finer._replace(held=data.held, values=data.values, fixed=data.fixed, clash=data.clash)
    other = sided_bound(mesh, K, q, node, finer, 2, field, second)
    difference = abs(found.bound - other.bound) / max(found.bound, other.bound, np.finfo(float).tiny)
    lower = max(lower - (elements.energy_bound - elements.proof.bound), 0.0)
    strips = bounds.unseen(mesh, K, sample)
    if strips is not None:
        x, steep = strips.points, fem.cell_gradients(mesh, node)[:, None]
        steep = steep if field is None else field(x.reshape(-1, d))[1].reshape(x.shape)
        off = steep - fem.cell_gradients(mesh, elements.w)[:, None]
        lower = math.sqrt(max(lower**2 - np.maximum(-strips.on_cells(strips.work(off, off)), 0).sum(), 0.0))
    proof, between = max(found, other, key=lambda one: one.bound), between + elements.drift.bound
    if between > 0:
        energy = _energy(mesh, sample, slope)
        bound = proof.bound + between
        proof = proof._replace(bound=bound, relative=bound / energy if energy > 0 else math.inf)
    steep = proof.bound / (math.sqrt(least(problem, sample, second)) * size) if size > 0 else math.inf
    steep = 0.0 if proof.relative == 0 else steep
    return Certificate(proof.bound, lower, proof.relative, steep, proof.oscillation, difference, mesh, proof.flux)


def _energy(mesh: fem.Mesh, sample: Sampled, slope: np.ndarray) -> float:
    """Root of ∫ slope·K slope, by the rule."""
    return math.sqrt(mesh.volumes @ (np.einsum("mqi,mqi->mq", slope, fluxes.times(sample.K, slope)) @ sample.weights))


def _exchange(elements: Any, node: np.ndarray, field: Batch | None) -> float:
    """Root of ∫ c·(v − w_h)² along the sides with an exchange; v is linear between `node` or a field."""
    total = 0.0
    for one in elements.data.exchanges:
        here, d = one.facets, elements.mesh.dimension
        v = heat.along(node, here) if field is None else field(here.points.reshape(-1, d))[0].reshape(here.points.shape[:2])
        total += sides.side_integral(here, one.coefficient * (v - heat.along(elements.w, here)) ** 2)
    return math.sqrt(total)


def _lifted(at: Any, e: np.ndarray) -> Batch:
    """w = u + e·x of a field u."""

    def lifted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = at(x)
        return value + x @ e, slope + e

    return lifted


def _require_nodal(values: np.ndarray, eps: float, elements: Any) -> None:
    """Refuse values at nodes that differ from the given temperatures there."""
    data, mesh = elements.data, elements.mesh
    if not data.held.size:
        return
    off = np.abs(values[data.held] - data.values)
    worst = int(np.argmax(off))
    if not off[worst] <= ROUNDING * eps * max(np.abs(values).max(), np.abs(data.values).max()):
        node, plain = data.held[worst], elements.problem.boundary is None
        here = mesh.points[node].round(6).tolist()
        expected = "zero on the boundary" if plain else f"the temperature {rounded(data.values[worst], 6)} at {here}"
        shown = values[node] - data.values[worst] if plain else values[node]
        remedy = "pass u = w − e·x, not w" if plain else "certify w with its given values"
        raise InputError("field", expected, f"{rounded(shown, 6)} at node {node}, {here}", remedy)


def _require_values(field: Batch, at: Any, elements: Any) -> None:
    """Refuse a field that differs from the given temperatures at points of their sides."""
    mesh, data = elements.mesh, elements.data
    inside = np.abs(field(mesh.points)[0]).max()
    for name, (kind, value, *_) in elements.problem.conditions().items():
        if kind != "value":
            continue
        x = along(mesh, mesh.sides[name])
        off = np.abs(field(x)[0] - sides.values_at(value, x))
        worst = int(np.argmax(off))
        if not off[worst] <= ROUNDING * at.eps * max(inside, np.abs(data.values).max()):
            received = f"{off[worst]:.2g} away at {x[worst].round(6).tolist()}"
            raise InputError("field", f"the temperature of {name}", received, "certify w with its given values")
