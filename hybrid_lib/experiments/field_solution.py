r"""A temperature in linear elements: what is asked of it, from the heat through a side to a file for other programs.

The heat through a side is that of the weak form,

.. math:: \int_\Gamma n\cdot K\nabla w
          = \sum_{i\in\Gamma} \Big(\int_\Omega K\nabla w_h\cdot\nabla\varphi_i - \int_\Omega q\varphi_i - \dots\Big),

whose error is of the order of the squared error of energy, and with which all sides and the source balance to rounding. Where a
strong exchange meets a given temperature it may be larger than the error of energy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array, rounded
from hybrid_lib.experiments import export, heat
from hybrid_lib.experiments.drift import Drift, drift_of
from hybrid_lib.experiments.galerkin import sample_of, solved, system
from hybrid_lib.fem import bounds, sides
from hybrid_lib.fem.bounds import Sampled
from hybrid_lib.fem.fluxes import eigenvalues, times
from hybrid_lib.fem.location import locate
from hybrid_lib.fem.sided import ROUNDING, no_bound, sided_bound
from hybrid_lib.fem.slivers import Slivers
from hybrid_lib.fem.solve import part_without_fixed_node
from hybrid_lib.media.medium import shape_at_point
from hybrid_lib.problems import Problem, plain
from hybrid_lib.sides import Condition, Dirichlet, Neumann, Robin

DEGREE = 2
"""Of the elements for the flux of the bound: with linear ones it is twice the error, with quadratic ones little above it."""


@dataclass(frozen=True, eq=False)
class FieldSolution:
    """The temperature w of a problem, in linear elements; from :func:`~hybrid_lib.experiments.solve.solve`.

    Attributes
    ----------
    problem : Problem
    mesh : fem.Mesh
        With the problem's sides.
    w : (n,) float64
        Temperature at the nodes.
    data : fem.sides.SideData
        The conditions on this mesh.
    proof : fem.EnergyBound or None
        Of the energy error; None where there is none.
    reason : str
        Why there is no proof, or why the tolerance was not met; empty otherwise.
    """

    problem: Problem
    mesh: fem.Mesh
    w: np.ndarray
    data: sides.SideData
    proof: fem.EnergyBound | None
    reason: str

    def __repr__(self) -> str:
        bound = f"bound={rounded(self.bound)}" if self.bound is not None else f"no bound: {self.reason}"
        return f"FieldSolution({self.problem.name}, {self.mesh!r}, {bound})"

    @property
    def bound(self) -> float | None:
        """Guaranteed bound of the energy error over ‖K^{1/2}∇w_h‖; None without a proof, and `reason` then says why.

        Integrals are sums over 65,536 points and more on a line or a side, 524,288 in the plane. What twice as many change, cell
        by cell, is added, twice that for sources and fluxes, and slivers of K between them and a facet; of what else lies between
        all points it cannot know.

        With an exchange on sides the error is that of ‖K^{1/2}∇·‖² + ∫c(·)², so that the bound holds for its first part too.
        """
        if self.proof is None or self.proof.relative == 0:  # of a constant temperature the energy is rounding
            return None if self.proof is None else 0.0
        return self.energy_bound / self.proof.size if self.proof.size > 0 else np.inf

    @cached_property
    def energy_bound(self) -> float | None:
        """The same bound of the error ‖K^{1/2}∇(w_h − w)‖ itself."""
        if self.proof is None:
            return None
        seen = (self.proof.cells**2).sum()
        return self.proof.bound + float(np.sqrt(seen + self._changed.sum()) - np.sqrt(seen)) + self.drift.bound

    @property
    def unsure(self) -> np.ndarray:
        """What a second rule changes in the parts of the bound on cells, (m,), in squares."""
        return self._changed + self.drift.cells**2

    def __call__(self, points: Any) -> np.ndarray:
        """w at points (k, d), (k,).

        Raises
        ------
        InputError
            For a point outside.
        """
        return fem.interpolate(self.mesh, self.w, points)

    def gradient(self, points: Any) -> np.ndarray:
        """∇w at points (k, d), (k, d): constant on each cell."""
        return fem.cell_gradients(self.mesh, self.w)[locate(self.mesh, points)[0]]

    def flux(self, points: Any) -> np.ndarray:
        """K∇w at points (k, d), (k, d); heat flows against it, and its part along an outward normal comes in."""
        slope = self.gradient(points)
        K = fem.evaluate(self.problem.medium.conductivity, real_array("points", points))
        return times(K[None], slope[None])[0]

    def heat_through(self, side: str) -> float:
        """∫ n·K∇w along a side: the heat that comes in there, negative where it leaves.

        All sides and ∫q add up to zero: to rounding, or with fluxes alone to the quadrature of q.

        Raises
        ------
        InputError
            For an unknown side.
        """
        _require_known("side", side, self.mesh.sides)
        if self.problem.conditions()[side][0] == "value":
            return self._heat_at_values[side]
        return sides.side_integral(*heat.given_flux(self.problem, self.mesh, self.w, side))

    def heat_bound(self, side: str) -> float | None:
        r"""What :meth:`heat_through` may be off by at most; None where there is no bound.

        With z the temperature that is 1 on the side, or around it, and 0 on all others, without sources or fluxes,

        .. math:: |Q - Q_h| = |B(w - w_h, z - z_h)| \le \|w - w_h\|_B\,\|z - z_h\|_B,

        both of which are bounded on this mesh: one solve and one bound more. What a second quadrature of K, q and the conditions
        changes is added, piece by piece, and rounding. There is no bound where a temperature is not linear between nodes, or
        where the side touches another one with a temperature, nor where K falls without end. Then the heat may be off by more
        than the energy beside a strong exchange that meets a given temperature.

        Raises
        ------
        InputError
            For an unknown side.
        """
        _require_known("side", side, self.mesh.sides)
        conditions = conditions_of(self.problem)
        if isinstance(conditions[side], Neumann):
            return heat.changed_along(self.problem, self.mesh, self.w, np.zeros_like(self.w), side)
        for here, given in self.data.fixed:
            t = np.linspace(0, 1, given.shape[1])
            linear = self.w[here.nodes] @ np.stack([1 - t, t])
            if np.abs(linear - given).max() > ROUNDING * np.abs(given).max():
                return None
        dual = {name: _dual(one, name == side) for name, one in conditions.items()}  # sides may share a condition
        found = solve_on(dataclasses.replace(self.problem, source=0.0, direction=None, boundary=dual), self.mesh)
        if self.proof is None or found.proof is None or self._vanishing:
            return None
        changed = heat.changed_inside(self.problem, self.mesh, self.w, found.w)
        if self._unseen is not None:
            steep, dual = (fem.cell_gradients(self.mesh, one)[:, None] for one in (self.w, found.w))
            changed += float(np.abs(self._unseen.on_cells(self._unseen.work(dual, steep))).sum())
        changed += heat.changed_along(self.problem, self.mesh, self.w, found.w, side)
        changed += heat.unsolved(*self._system, self.w, self.data.held, found.w)
        bound = self.energy_bound * found.energy_bound + changed
        return bound if np.isfinite(bound) else None

    def export(self, path: Path | str, n: int = export.GRID) -> Path:
        """Write temperature, heat flux, error and materials for other programs: :mod:`hybrid_lib.experiments.export`.

        Parameters
        ----------
        path : path
            Its suffix says what: `.vtu`, `.vtk`, `.xdmf`, `.npz`, `.csv` or `.nc`.
        n : int
            Intervals along the longer side of the grid, for `.nc`.

        Raises
        ------
        InputError
            For an unknown suffix, a missing package, or a place that cannot be written.
        """
        return export.write_fields(path, export.of_elements(self), n)

    def mean(self, part: str | Callable | None = None, *, side: str | None = None, material: str | None = None) -> float:
        """Mean of w over the domain, a side, a material, or the cells at whose centre a function of x is true.

        Parameters
        ----------
        part : str or callable, optional
            The name of a side or a material, or a function of one point.
        side, material : str, optional
            Instead: a name that both may have.

        Raises
        ------
        InputError
            For a name of neither a side nor a material, or of both, and a function that is true nowhere.
        """
        if sum(one is not None for one in (part, side, material)) > 1:
            raise InputError("mean", "one of part, side and material", "more", "ask for one after the other")
        if isinstance(part, str):
            if part in self.mesh.sides and part in self.mesh.materials:
                remedy = f"say which: mean(side={part!r}) or mean(material={part!r})"
                raise InputError("part", "the name of a side or a material", f"{part!r}, the name of both", remedy)
            _require_known("part", part, [*self.mesh.sides, *self.mesh.materials])
            side, material = (part, None) if part in self.mesh.sides else (None, part)
        if side is not None:
            _require_known("side", side, self.mesh.sides)
            here = sides.facets(self.mesh, self.mesh.sides[side])
            return sides.side_integral(here, heat.along(self.w, here)) / float(here.measure.sum())
        cells = slice(None)
        if material is not None:
            _require_known("material", material, self.mesh.materials)
            cells = self.mesh.materials[material]
        elif part is not None:
            if not callable(part) or shape_at_point("part", part, self.mesh.dimension) != ():
                expected = "the name of a side or a material, or a function of one point that is true or false"
                raise InputError("part", expected, repr(part)[:60], "for example lambda x: x[0] > 0.5")
            cells = fem.evaluate(part, self.mesh.points[self.mesh.cells].mean(axis=1)) != 0
            if not np.any(cells):
                expected = "a function that is true somewhere"
                raise InputError("part", expected, "false at all centres of cells", "correct it, or refine")
        volumes = self.mesh.volumes[cells]
        return float(volumes @ self.w[self.mesh.cells[cells]].mean(axis=1) / volumes.sum())

    @cached_property
    def _vanishing(self) -> float | None:
        """The least K at the points of two rules, if it is far below the medium's lower bound and they disagree; else None.

        A conductivity that reaches zero somewhere has no bound: the rules see another part of the valley each.
        """
        if self.problem.medium.pixels is not None:
            return None
        low = [float(eigenvalues(sample_of(self.problem, self.mesh, number).K).min()) for number in (1, 2)]
        return min(low) if max(low) > 1.5 * min(low) and min(low) < 0.1 * self.problem.medium.alpha else None

    @cached_property
    def _unseen(self) -> Slivers | None:
        """Slivers of K between facets and the points of the rule."""
        return bounds.unseen(self.mesh, self.problem.medium.conductivity, sample_of(self.problem, self.mesh))

    @cached_property
    def _changed(self) -> np.ndarray:
        """What a second rule changes in the squares of the parts of the bound on cells, (m,)."""
        slope = fem.cell_gradients(self.mesh, self.w)[:, None]
        samples = (sample_of(self.problem, self.mesh, number) for number in (1, 2))
        first, second = (bounds.bound_by(self.mesh, one, self.proof.flux, slope).cells ** 2 for one in samples)
        return np.abs(first - second)

    @cached_property
    def drift(self) -> Drift:
        """What other sources and given fluxes, by a second rule, add to the energy."""
        return drift_of(self.problem, self.mesh, self.w, self.data, self._system[0])

    @cached_property
    def _system(self) -> tuple[Any, np.ndarray]:
        """Matrix and right side of all nodes."""
        return system(self.problem, self.mesh, self.data, sample_of(self.problem, self.mesh))

    @cached_property
    def _heat_at_values(self) -> dict[str, float]:
        """Heat through each side with given values."""
        matrix, right = self._system
        return heat.heat_at_values(self.problem, self.mesh, self.w, matrix @ self.w - right)


class LostInRoundingError(InputError):
    """An exchange that alone holds the temperatures is lost in the rounding of the matrix."""


def _require_known(what: str, name: Any, names: Collection[str]) -> None:
    """Refuse what is none of some names."""
    if not isinstance(name, str) or name not in names:
        raise InputError(what, f"one of {', '.join(names) or 'none'}", repr(name), "correct the name")


def solve_on(problem: Problem, mesh: fem.Mesh) -> FieldSolution:
    """The linear elements of one mesh that has the problem's sides."""
    data, sample = sides.side_data(mesh, problem.conditions()), sample_of(problem, mesh)
    matrix, right = system(problem, mesh, data, sample)
    if data.held.size or data.exchanges:
        _require_no_part_alone(mesh, matrix, data)
    w = solved(mesh, matrix, right, data)
    return FieldSolution(problem, mesh, w, data, *_proof(problem, mesh, w, data, sample))


def _require_no_part_alone(mesh: fem.Mesh, matrix: Any, data: sides.SideData) -> None:
    """Refuse a mesh of several parts, one of which has fluxes alone, and one that an exchange holds by less than rounding."""
    node = part_without_fixed_node(matrix, data.held)
    if node is None:
        return
    place = mesh.points[node].round(6).tolist()
    exchanging = np.unique(np.concatenate([np.zeros(0, int), *(one.facets.nodes.ravel() for one in data.exchanges)]))
    if part_without_fixed_node(matrix, np.union1d(data.held, exchanging)) is None:
        received = f"one that is lost in the rounding of K on cells as small, around the part at {place}"
        remedy = "take a coarser mesh, with n=, or hold one temperature"
        raise LostInRoundingError("boundary", "a stronger exchange", received, remedy)
    expected = "a temperature or an exchange on a side of each connected part of the mesh"
    received = f"fluxes alone, or no heat at all, around the part at {place}"
    raise InputError("boundary", expected, received, "give one of its sides a Dirichlet or Robin, or leave the part out")


def conditions_of(problem: Problem) -> dict[str, Condition]:
    """The condition of each side, the paper's w = e·x among them."""
    if problem.boundary is not None:
        return problem.boundary
    return {name: Dirichlet(value) for name, (_, value) in problem.conditions().items()}


def _dual(condition: Condition, chosen: bool) -> Condition:
    """The condition of z, for the side whose heat is asked for or another one."""
    if isinstance(condition, Robin):
        return Robin(condition.coefficient, float(chosen))
    return Neumann() if isinstance(condition, Neumann) else Dirichlet(float(chosen))


def _proof(
    problem: Problem, mesh: fem.Mesh, w: np.ndarray, data: sides.SideData, sample: Sampled
) -> tuple[fem.EnergyBound | None, str]:
    """The bound of the energy error, or why there is none."""
    if (reason := no_bound(data)) is not None:
        return None, reason
    K, source = problem.medium.conductivity, plain(problem.source)
    return sided_bound(mesh, K, source, w, data, DEGREE, sample=sample), ""
