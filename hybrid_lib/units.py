"""Units in which training sees a problem: with them its numbers are the same in all units of the user."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hybrid_lib import fem
from hybrid_lib.fem.sides import side_data
from hybrid_lib.problems import Problem, poincare_constant


class Units(NamedTuple):
    """Units in which training sees a problem, so that its answer is the same in other ones; all are 1 for the paper's problems.

    Attributes
    ----------
    conductivity : float
        The lower bound α of the medium: of K, K̂ and the tolerance of the gate.
    field : float
        Of u: the temperature drop `|e|L`, or the spread of given temperatures, or `C_P² ‖q‖/√(αβ |Ω|)` if that is larger.
    length : float
        L of the domain, `Domain.unit`.
    dimension : int
        d, for the units of integrals.
    """

    conductivity: float
    field: float
    length: float = 1.0
    dimension: int = 1

    @property
    def flux(self) -> float:
        """Of a flux at a point."""
        return self.conductivity * self.field / self.length

    @property
    def residual(self) -> float:
        """Of ‖r‖, the root of the integral of the squared strong residual."""
        return self.conductivity * self.field * self.length ** (self.dimension / 2 - 2)

    @property
    def boundary(self) -> float:
        """Of ‖u‖ on ∂Ω."""
        return self.field * self.length ** ((self.dimension - 1) / 2)

    @property
    def energy(self) -> float:
        """Of ‖K^{1/2}∇u‖, of the defect's dual norm and of the root of the first-order J."""
        return math.sqrt(self.conductivity) * self.field * self.length ** (self.dimension / 2 - 1)


def units(problem: Problem) -> Units:
    """The units of a problem; u, K̂ and q in them do not change when K and q, q and e, or lengths are multiplied by a number.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.problems import heat2d_problem, own_problem
    >>> units(heat2d_problem(0.1))
    Units(conductivity=1.0, field=1.0, length=1.0, dimension=2)
    >>> units(own_problem(media.constant(3e-6, 1), 3e-6, (2.0,)))
    Units(conductivity=3e-06, field=2.0, length=1.0, dimension=1)
    """
    medium, mesh = problem.medium, problem.domain.mesh(32)
    q = fem.evaluate(problem.source, mesh.points[mesh.cells].mean(axis=1))  # (m,)
    mean = math.sqrt(mesh.volumes @ q**2 / mesh.volumes.sum())
    driven = poincare_constant(problem.domain) ** 2 * mean / math.sqrt(medium.alpha * medium.beta)
    length = problem.domain.unit
    drop = math.hypot(*problem.direction) * length if problem.boundary is None else _given_drop(problem)
    return Units(medium.alpha, max(drop, driven) or 1.0, length, problem.domain.dimension)


def _given_drop(problem: Problem) -> float:
    """The spread of the given temperatures, around the domain too, or what the largest flux makes of its length."""
    domain = problem.domain
    mesh = domain.labelled(domain.mesh(8))
    data = side_data(mesh, problem.conditions(), points=0)
    values = [data.values, *(one.value.ravel() for one in data.exchanges)]
    spread = float(np.ptp(np.concatenate(values))) if data.held.size or data.exchanges else 0.0
    flux = max((float(np.abs(one.value).max()) for one in data.fluxes), default=0.0)
    return max(spread, flux * domain.unit / problem.medium.beta)
