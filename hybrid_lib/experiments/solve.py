r"""Linear elements for a problem with any conditions on its sides, refined until a guaranteed bound is met.

What comes back is w itself. The heat through a side is that of the weak form,

.. math:: \int_\Gamma n\cdot K\nabla w
          = \sum_{i\in\Gamma} \Big(\int_\Omega K\nabla w_h\cdot\nabla\varphi_i - \int_\Omega q\varphi_i - \dots\Big),

whose error is of the order of the squared error of energy, and with which all sides and the source balance to rounding.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array, rounded
from hybrid_lib.experiments import export
from hybrid_lib.experiments.galerkin import moments, sample_of, system
from hybrid_lib.fem import bounds, sides
from hybrid_lib.fem.bounds import Sampled
from hybrid_lib.fem.contact import outward_normals
from hybrid_lib.fem.fluxes import means, times
from hybrid_lib.fem.location import locate
from hybrid_lib.fem.sided import NOTHING, no_bound, sided_bound
from hybrid_lib.media.medium import shape_at_point
from hybrid_lib.problems import Problem, is_number, plain
from hybrid_lib.sides import Condition, Dirichlet, Neumann, Robin

TOLERANCE = 0.01
"""Relative error of energy that is asked for where neither `tolerance` nor `n` is given."""
UNKNOWNS = 200_000
"""No finer mesh has more unknowns."""
CELLS = {1: (64, 4096), 2: (16, 128)}
"""Cells a unit length of the first mesh, at least and at most, by dimension."""
THIN = 4
"""What is left to refine, as a quotient of unknowns, where the first mesh would have more than all."""
CELLS_A_PERIOD = 4
"""Of the first mesh, where the medium has a period."""
DEGREE = 2
"""Of the elements for the flux of the bound: with linear ones it is twice the error, with quadratic ones little above it."""
STALLED = 12
"""Meshes after which a bound that has not fallen by a tenth will not."""
STUCK = "as where a given temperature jumps along a side, or K by many orders within cells: put jumps on lines of the mesh"
ORDER = 7
"""Of the second rule along sides."""
BULK = 0.7
"""Share of the squared bound in the cells that are refined."""


@dataclass(frozen=True, eq=False)
class FieldSolution:
    """The temperature w of a problem, in linear elements; from :func:`solve`.

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

        Integrals are sums over 65,536 points and more on a line or a side, 524,288 in the plane: it cannot know of what lies
        between them.

        With an exchange on sides the error is that of ‖K^{1/2}∇·‖² + ∫c(·)², so that the bound holds for its first part too.
        """
        return None if self.proof is None else self.proof.relative

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
        self._require_side(side)
        kind, value, *coefficient = self.problem.conditions()[side]
        if kind == "value":
            return self._heat_at_values[side]
        here = sides.looked_at(self.mesh, self.mesh.sides[side], (value, *coefficient))
        given = sides.values_at(value, here.points)
        if kind == "exchange":
            given = sides.values_at(coefficient[0], here.points) * (given - self._along(here))
        return sides.side_integral(here, given)

    def heat_bound(self, side: str) -> float | None:
        r"""What :meth:`heat_through` may be off by at most; None where there is no bound.

        With z the temperature that is 1 on the side, or around it, and 0 on all others, without sources or fluxes,

        .. math:: |Q - Q_h| = |B(w - w_h, z - z_h)| \le \|w - w_h\|_B\,\|z - z_h\|_B,

        both of which are bounded on this mesh: one solve and one bound more. What a second quadrature of K, q and the conditions
        changes is added, piece by piece, and rounding. There is no bound where a temperature is not linear between nodes, or
        where the side touches another one with a temperature.

        Raises
        ------
        InputError
            For an unknown side.
        """
        self._require_side(side)
        conditions = conditions_of(self.problem)
        if isinstance(conditions[side], Neumann):
            return self._along_sides(np.zeros_like(self.w), side)
        for here, given in self.data.fixed:
            t = np.linspace(0, 1, given.shape[1])
            linear = self.w[here.nodes] @ np.stack([1 - t, t])
            if np.abs(linear - given).max() > 1e-9 * np.abs(given).max():
                return None
        dual = {name: _dual(one, name == side) for name, one in conditions.items()}  # sides may share a condition
        found = solve_on(dataclasses.replace(self.problem, source=0.0, direction=None, boundary=dual), self.mesh)
        if self.proof is None or found.proof is None:
            return None
        second = [sample_of(one.problem, self.mesh, 2) for one in (self, found)]
        changed = self._quadrature(found.w, second[0]) + self._along_sides(found.w, side) + self._rounding(found.w)
        return _larger(self, second[0]) * _larger(found, second[1]) + changed

    def _along_sides(self, z: np.ndarray, side: str) -> float:
        """What the second rule changes in the integrals of given fluxes and exchanges, each with 1 on the side, less z_h."""
        given = {n: one for n, one in self.problem.conditions().items() if one[0] != "value" and any(map(callable, one))}
        first, second = (self._given_flux(z, given, side, *rule) for rule in ((), (ORDER, 2 * sides.POINTS)))
        return sum(float(np.abs(one - other).sum()) for one, other in zip(first, second, strict=True))

    def _given_flux(self, z: np.ndarray, given: dict[str, tuple], side: str, *rule: int) -> list[np.ndarray]:
        """∫ (1 or 0, less z_h)·(the flux, or that of the exchange) along each facet of each side, by a rule."""
        found = []
        for name, (kind, value, *coefficient) in given.items():
            here = sides.looked_at(self.mesh, self.mesh.sides[name], (value, *coefficient), *rule)
            through = sides.values_at(value, here.points)
            if kind == "exchange":
                through = sides.values_at(coefficient[0], here.points) * (through - self._along(here))
            weight = float(name == side) - z[here.nodes] @ here.barycentric.T
            found.append((weight * through) @ here.weights * here.measure)
        return found

    def _rounding(self, z: np.ndarray) -> float:
        """What the linear system was not solved by, times z_h, and the rounding of its sums."""
        matrix, right = self._system
        free = np.delete(np.arange(len(z)), self.data.held)
        off = np.abs(matrix @ self.w - right)
        size = np.finfo(float).eps * (abs(matrix) @ np.abs(self.w) + np.abs(right))
        return float(off[free] @ np.abs(z[free]) + np.linalg.norm(size * z))

    def _quadrature(self, z: np.ndarray, second: Sampled) -> float:
        """What the second rule changes in ∫K∇w_h·∇z_h − ∫q z_h over the cells, and rounding."""
        mesh, m = self.mesh, len(self.mesh.cells)
        first = sample_of(self.problem, mesh)
        steep, dual = fem.cell_gradients(mesh, self.w), fem.cell_gradients(mesh, z)
        K, other = (means(one.K, one.weights, m) for one in (first, second))
        flux, changed = (times(k[:, None], dual[:, None])[:, 0] for k in (K, other - K))
        source = np.abs(np.einsum("ma,ma->m", moments(mesh, second) - moments(mesh, first), z[mesh.cells])).sum()
        size = np.abs(self.w).max() / mesh.diameters * np.linalg.norm(flux, axis=1)
        return float(mesh.volumes @ (np.abs(np.einsum("md,md->m", steep, changed)) + NOTHING * size)) + float(source)

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

    def mean(self, part: str | Callable | None = None) -> float:
        """Mean of w over the domain, a side, a material, or the cells at whose centre a function of x is true.

        Raises
        ------
        InputError
            For a name of neither a side nor a material, and a function that is true nowhere.
        """
        cells = slice(None)
        if isinstance(part, str) and part not in self.mesh.materials:
            self._require_side(part)
            here = sides.facets(self.mesh, self.mesh.sides[part])
            return sides.side_integral(here, self._along(here)) / float(here.measure.sum())
        if isinstance(part, str):
            cells = self.mesh.materials[part]
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

    def _require_side(self, name: str) -> None:
        if not isinstance(name, str) or name not in self.mesh.sides:
            known = ", ".join([*self.mesh.sides, *self.mesh.materials])
            raise InputError("side", f"one of {known}", repr(name), "correct the name")

    def _along(self, here: sides.Facets) -> np.ndarray:
        """w at the points of facets, (k, q)."""
        return self.w[here.nodes] @ here.barycentric.T

    @cached_property
    def _system(self) -> tuple[Any, np.ndarray]:
        """Matrix and right side of all nodes."""
        return system(self.problem, self.mesh, self.data, sample_of(self.problem, self.mesh))

    @cached_property
    def _heat_at_values(self) -> dict[str, float]:
        """Heat through each side with given values; at a node of two of them it is split as the fluxes of the cells are."""
        mesh, n = self.mesh, len(self.mesh.points)
        sample = sample_of(self.problem, mesh)
        matrix, right = system(self.problem, mesh, self.data, sample)
        residual = matrix @ self.w - right
        K = fem.cell_coefficient(mesh, means(sample.K, sample.weights, len(mesh.cells)))
        slopes = fem.cell_gradients(mesh, self.w)
        names = [name for name, one in self.problem.conditions().items() if one[0] == "value"]
        own, length = np.zeros((len(names), n)), np.zeros((len(names), n))
        for row, name in enumerate(names):
            here = sides.facets(mesh, mesh.sides[name])
            normal = outward_normals(mesh, here.cell, here.local)
            through = np.einsum("kd,kde,ke->k", normal, K[here.cell], slopes[here.cell])
            own[row] = sides.side_load(mesh, here, through[:, None] * np.ones(here.points.shape[:2]))
            length[row] = sides.side_load(mesh, here, np.ones(here.points.shape[:2]))
        total = length.sum(axis=0)
        share = length / np.where(total > 0, total, 1.0)
        heat = own.sum(axis=1) + share @ (residual - own.sum(axis=0))
        return dict(zip(names, heat.tolist(), strict=True))


def solve(
    problem: Problem,
    tolerance: float | None = None,
    n: int | None = None,
    announce: Callable[[FieldSolution], None] | None = None,
) -> FieldSolution:
    """Solve −∇·(K∇w) = q with the conditions of the problem by linear elements.

    Parameters
    ----------
    problem : Problem
        On any domain.
    tolerance : float, optional
        Bound of the relative error of energy; 0.01 by default. Meshes are refined where the bound says so until it is met, or the
        next mesh would have more than 200,000 unknowns: then `reason` says so, and the mesh with the least bound is returned.
        The first mesh has a node at each corner of a pixel, whatever their number.
    n : int, optional
        Cells along a unit length of the domain (``problem.domain.unit``); of one mesh, or with a tolerance of the first.
    announce : callable, optional
        Told the solution on each mesh, from the first one.

    Returns
    -------
    FieldSolution

    Raises
    ------
    InputError
        For a problem, tolerance or number that cannot be used.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.sides import Dirichlet, Neumann
    >>> sides = {"left": Dirichlet(1.0), "right": Neumann(2.0)}
    >>> found = solve(Problem(medium=media.constant(4.0, 1), boundary=sides))
    >>> found([[0.5], [1.0]]).round(9).tolist(), round(found.heat_through("left"), 9)
    ([1.25, 1.5], -2.0)
    """
    if not isinstance(problem, Problem):
        raise InputError("problem", "a Problem", type(problem).__name__, "make one with hybrid_lib.Problem")
    if tolerance is not None and not (is_number(tolerance) and tolerance > 0):
        raise InputError("tolerance", "a number > 0", repr(tolerance), "0.01 is one per cent of the energy norm")
    target = TOLERANCE if tolerance is None and n is None else tolerance
    domain = problem.domain
    mesh, best, since = domain.labelled(domain.mesh(first_cells(problem) if n is None else n)), None, 0
    if callable(plain(problem.source)) and np.abs(sample_of(problem, mesh).f).max() < 1e-100:  # tails of a peak
        text = "source: it is 0 at all points of the first mesh; if it is narrow pass n= for more of them, else source=0.0"
        warnings.warn(text, stacklevel=2)
    while True:
        found = solve_on(problem, mesh)
        if announce is not None:
            announce(found)
        if found.proof is None or target is None or found.proof.relative <= target:
            return found
        since = since + 1 if best is not None and found.proof.relative > 0.9 * best.proof.relative else 0
        best = found if best is None or found.proof.relative < best.proof.relative else best
        if since == STALLED:
            reason = f"the bound stays at {rounded(best.bound)} on finer meshes, {STUCK}"
            return dataclasses.replace(best, reason=reason)
        finer = fem.bisect(mesh, _marked(found.proof.cells))
        if len(finer.points) > UNKNOWNS:
            received = f"{rounded(best.bound)} with {len(best.w)} unknowns; a finer mesh would have over {UNKNOWNS}"
            return dataclasses.replace(best, reason=f"the bound is {received}")
        mesh = finer


def _marked(parts: np.ndarray) -> np.ndarray:
    """The fewest cells whose parts make up most of the bound; all where it takes most of them."""
    order = np.argsort(-parts)
    share = np.cumsum(parts[order] ** 2)
    count = int(np.searchsorted(share, BULK * share[-1])) + 1
    return order[:count] if count < len(parts) / 2 else np.arange(len(parts))


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


def first_cells(problem: Problem) -> int:
    """Cells a unit length of the domain that the first mesh has: four a period, within limits, and fewer in a thin layer.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> first_cells(Problem(medium=media.paper_2d(0.1)))
    40
    """
    least, most = CELLS[problem.domain.dimension]
    period = problem.medium.period
    pixels = problem.medium.pixels
    cells = least if period is None else math.ceil(CELLS_A_PERIOD * problem.domain.unit / period - 1e-9)
    cells = max(least, min(cells, most))
    squares = problem.domain.measure / problem.domain.unit**problem.domain.dimension
    if cells**2 * squares > UNKNOWNS and problem.domain.dimension == 2:  # a thin layer
        cells = max(1, math.isqrt(int(UNKNOWNS / THIN / squares)))
    return cells if pixels is None else pixels.cells(cells, problem.domain.box, problem.domain.unit)


def solve_on(problem: Problem, mesh: fem.Mesh) -> FieldSolution:
    """The linear elements of one mesh that has the problem's sides."""
    data, sample = sides.side_data(mesh, problem.conditions()), sample_of(problem, mesh)
    matrix, right = system(problem, mesh, data, sample)
    if data.held.size or data.exchanges:
        w = fem.solve_dirichlet(matrix, right, data.held, data.values)
    else:  # fluxes all around: any constant may be added, and what the quadrature leaves of their balance is spread
        weight = fem.load(mesh, 1.0)
        w = fem.solve_dirichlet(matrix, right - weight * (right.sum() / weight.sum()), np.array([0]))
        w -= weight @ w / weight.sum()
    return FieldSolution(problem, mesh, w, data, *_proof(problem, mesh, w, data, sample))


def _larger(found: FieldSolution, second: Sampled) -> float:
    """The bound, or as much more as the second rule has in the gap between flux and field."""
    slope = fem.cell_gradients(found.mesh, found.w)[:, None]
    gap = bounds.bound_by(found.mesh, second, found.proof.flux, slope).gap
    return found.proof.bound * max(1.0, gap / found.proof.gap if found.proof.gap > 0 else 1.0)


def _proof(
    problem: Problem, mesh: fem.Mesh, w: np.ndarray, data: sides.SideData, sample: Sampled
) -> tuple[fem.EnergyBound | None, str]:
    """The bound of the energy error, or why there is none."""
    if (reason := no_bound(data)) is not None:
        return None, reason
    K, source = problem.medium.conductivity, plain(problem.source)
    return sided_bound(mesh, K, source, w, data, DEGREE, sample=sample), ""
