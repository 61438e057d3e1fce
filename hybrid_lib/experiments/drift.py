r"""What a second rule sees otherwise of sources and given fluxes, as a bound in energy.

The flux of a bound balances the means of q over cells, and of fluxes over facets, by one rule. If they are r more, the
temperature is another one, by z with

.. math:: B(z, \varphi) = \int r\,\varphi \quad\text{for all } \varphi, \qquad \|z\|_B^2 = \|z_h\|_B^2 + \|z - z_h\|_B^2,

whose energy a solve and a bound give. r is unknown, but for what a second rule changes. Twice that is taken, with one sign
everywhere: of all r that are no larger it gives the largest energy, where K is a number. A flux that jumps along a side may be
off by its jump times the distance of the two points between which it does.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from hybrid_lib import fem
from hybrid_lib.experiments import heat
from hybrid_lib.experiments.galerkin import SAFETY, sample_of, solved
from hybrid_lib.fem import sides
from hybrid_lib.fem.fluxes import means
from hybrid_lib.fem.sided import sided_bound
from hybrid_lib.problems import Problem

NOTHING = 1e-13
"""Below this part of all sources and fluxes a change is rounding."""


class Drift(NamedTuple):
    """A bound of ‖z‖_B, and the parts of it that belong to cells, (m,), whose squares sum to its square."""

    bound: float
    cells: np.ndarray


def drift_of(problem: Problem, mesh: fem.Mesh, w: np.ndarray, data: sides.SideData, matrix: Any) -> Drift:
    """The drift of a temperature `w` on a mesh, with the matrix of all its nodes."""
    m, d, loose = len(mesh.cells), mesh.dimension, not (data.held.size or data.exchanges)
    first, second = (sample_of(problem, mesh, number) for number in (1, 2))
    source = np.broadcast_to(SAFETY * (means(second.f, second.weights, m) - means(first.f, first.weights, m)), m)
    source = source if loose else np.abs(source)  # fluxes all around: r is balanced, as the source has to be
    along = _along_sides(problem, mesh, w)
    mass = np.abs(source) * mesh.volumes
    for here, r in along:
        np.add.at(mass, here.cell, np.abs(r) * here.measure)
    seen = mesh.volumes @ np.broadcast_to(means(np.abs(first.f), first.weights, m), m)
    seen += sum(sides.side_integral(one.facets, np.abs(one.value)) for one in data.fluxes)
    if mass.sum() <= NOTHING * seen or not mass.any():
        return Drift(0.0, np.zeros(m))

    def given(one: sides.Exchange) -> np.ndarray:
        r = next((r for here, r in along if np.array_equal(here.nodes, one.facets.nodes)), np.zeros(len(one.facets.nodes)))
        return np.broadcast_to(r[:, None], one.value.shape)

    moved = data._replace(
        values=np.zeros_like(data.values),
        fixed=tuple((here, np.zeros_like(values)) for here, values in data.fixed),
        fluxes=tuple(one._replace(value=given(one)) for one in data.fluxes),
        exchanges=tuple(one._replace(value=given(one) / one.coefficient) for one in data.exchanges),
    )
    load = np.bincount(mesh.cells.ravel(), np.repeat(source * mesh.volumes / (d + 1), d + 1), len(mesh.points))
    load += sides.system(mesh, moved)[0]
    z = solved(mesh, matrix, load, moved)
    sample = first._replace(f=np.array(source)[:, None])
    proof = sided_bound(mesh, problem.medium.conductivity, source, z, moved, sample=sample)
    bound = math.hypot(math.sqrt(max(load @ z, 0.0)), proof.bound)
    return Drift(bound, bound * np.sqrt(mass / mass.sum()))


def _along_sides(problem: Problem, mesh: fem.Mesh, w: np.ndarray) -> list[tuple[sides.Facets, np.ndarray]]:
    """What given fluxes and exchanges may be off by in the mean over facets."""
    found = []
    for name, change in heat.changed_on_facets(problem, mesh, w).items():
        here = sides.facets(mesh, mesh.sides[name])
        found.append((here, (SAFETY * np.abs(change) + heat.jumping(problem, mesh, w, name)) / here.measure))
    return found
