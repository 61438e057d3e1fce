"""The price of linear elements for a problem of one's own: cells, seconds, and an error with a guaranteed bound beside it."""

from __future__ import annotations

import math
import time
import warnings
from typing import NamedTuple

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, whole
from hybrid_lib.experiments.references import fine_solution
from hybrid_lib.problems import PLAIN, Problem, is_number, require_drop

ORDER = {1: 9, 2: 4}
"""Order of the rule for the energy of linear elements, by dimension."""
FINE = {1: 39, 2: 13}
"""Order of the rule that looks for what that of the load, 4, does not see of the source."""
LEAST_ORDER, MOST_ORDER = 0.25, 3.0
"""Orders of convergence in L² that are believed; an error that grows, or falls faster, counts as one of the lowest order."""
BLIND = 0.5
"""Relative bound of the energy error above which the differences of meshes say nothing."""
FALL = 1.1
"""The bound falls at least by this factor when a mesh is halved that sees the solution; where K is smooth it is 2."""
EXCESS = 1 / 30
"""Share of the excess of energy that is an error in L² at least; 1/28 to 1 in problems that were solved."""


class Elements(NamedTuple):
    """Linear elements on one mesh.

    Attributes
    ----------
    cells : int
        Cells a side.
    error : float
        Estimated relative L² error; nan on the first mesh.
    order : float
        Observed order of the last three meshes; nan on the first two.
    energy : float
        𝓔(u_h).
    seconds : float
        Assembly and solution, without compilation and without the estimates.
    bound : float
        Relative error in the energy norm, guaranteed: :func:`hybrid_lib.fem.energy_bound`.
    reached : bool
        Whether `error` is within the tolerance; False in the last row says that no mesh was allowed that is.
    """

    cells: int
    error: float
    order: float
    energy: float
    seconds: float
    bound: float = math.nan
    reached: bool = False


def element_cost(
    problem: Problem, tolerance: float = 0.01, length: float | None = None, most_unknowns: int = 500_000
) -> tuple[Elements, ...]:
    r"""What linear elements need for a relative L² error: meshes are halved until the estimate is below the tolerance.

    With solutions on cells of width 2h and h, and p the order that three meshes show,

    .. math:: \|u_h - u^\varepsilon\| \approx \frac{\|u_h - u_{2h}\|}{2^p - 1}, \qquad \tfrac14 \le p \le 2.

    On two meshes p is twice the order of the guaranteed bound B of the relative energy error, as by duality, and 1 at most;
    where the differences do not fall, did not before, or fall too fast to be true, p = 1/4. Two meshes that miss the same
    thing agree; so B has a word: if it is above one half, or does not fall from the mesh before, the error is no less than
    B/(1 − B), inf for B ≥ 1; it is never less than a thirtieth of the excess of energy, over the energy, in units of ‖∇u_h +
    e‖. What a finer rule for the load changes in u_h is added: a part of the source that lies between the points.

    The first mesh has four cells a small length. For pixels it has, where there is such a mesh, its lines on their edges; the
    means of K over the cells are exact on any.

    Parameters
    ----------
    problem : Problem
        On the interval or the unit square.
    tolerance : float
        Relative L² error to reach.
    length : float, optional
        Smallest length of the medium; default its period, or a pixel.
    most_unknowns : int
        No mesh has more nodes. If that ends the search, a warning says so, and `reached` of the last row is False.

    Returns
    -------
    tuple of Elements
        One row a mesh, from the coarsest.

    Raises
    ------
    InputError
        For a tolerance that is not positive, an unknown or impossible length, or a first mesh that is too large.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.experiments import own_problem
    >>> rows = element_cost(own_problem(media.paper_1d(1 / 4), 1.0), tolerance=0.01)
    >>> [row.cells for row in rows]
    [16, 32, 64]
    """
    require_drop(problem, "element_cost")
    if not (is_number(tolerance) and tolerance > 0):
        raise InputError("tolerance", "a number > 0", tolerance, "0.01 stands for one per cent")
    whole("most_unknowns", most_unknowns, 1, "pass the largest number of nodes of a mesh")
    grid = problem.medium.pixels
    length = pixel(problem) if length is None else length
    cells, d = math.ceil(4 / small_length(problem, length) - 1e-9), problem.domain.dimension
    if (cells + 1) ** d > most_unknowns:
        raise InputError(
            "most_unknowns",
            f"at least {(cells + 1) ** d}, four cells a small length",
            most_unknowns,
            "raise it, or upscale",
        )
    if grid is not None and (grid.cells(cells) + 1) ** d <= most_unknowns:
        cells = grid.cells(cells)
    fine_solution(problem, cells, ORDER[d])  # compiles
    rows, before, gap, e = [], None, math.nan, np.asarray(problem.direction)
    while (cells + 1) ** d <= most_unknowns:
        began = time.perf_counter()
        nodal = fine_solution(problem, cells, ORDER[d])
        seconds, mesh = time.perf_counter() - began, problem.domain.mesh(cells)
        proof = fem.energy_bound(mesh, problem.medium.conductivity, problem.source, nodal, e)
        energy = _nodal_energy(problem, mesh, nodal)
        error = order = math.nan
        if before is not None:
            coarse, values, last_bound = before
            last, gap = gap, fem.l2_norm(mesh, nodal - fem.interpolation_matrix(coarse, mesh.points) @ values)
            order = math.log2(last / gap) if gap > 0 and last > 0 else math.nan
            fall = last_bound / max(proof.bound, np.finfo(float).tiny)
            p = order if len(rows) > 1 else min(2 * math.log2(max(fall, 1.0)), 1.0)
            believed = p <= MOST_ORDER and not rows[-1].order < LEAST_ORDER
            p = min(max(p, LEAST_ORDER), 2.0) if believed else LEAST_ORDER
            slope = fem.cell_gradients(mesh, nodal) + e
            steepness = math.sqrt(mesh.volumes @ np.sum(slope**2, axis=1))
            stored = 2 * (energy + fem.load(mesh, problem.source, ORDER[d]) @ nodal)
            error = max(gap / (2**p - 1), EXCESS * proof.bound**2 / stored * steepness)
            missed = _missed(problem, mesh)
            error = (error + fem.l2_norm(mesh, missed)) / max(fem.l2_norm(mesh, nodal + missed), np.finfo(float).tiny)
            if proof.relative > BLIND or fall < FALL:
                error = max(error, proof.relative / (1 - proof.relative) if proof.relative < 1 else math.inf)
        error = float(error)
        reached = error <= tolerance
        rows.append(Elements(cells, error, order, energy, seconds, proof.relative, reached))
        if reached:
            return tuple(rows)
        before, cells = (mesh, nodal, proof.bound), 2 * cells
    last = rows[-1]
    warnings.warn(
        f"element_cost: stopped at {last.cells} cells a side with an estimated error of {last.error:.2g}, above the tolerance of "
        f"{tolerance:g}; the next mesh has {(cells + 1) ** d:,d} nodes, raise most_unknowns ({most_unknowns:,d})",
        stacklevel=2,
    )
    return tuple(rows)


def _missed(problem: Problem, mesh: fem.Mesh) -> np.ndarray:
    """What a finer rule for the load changes in the nodal values of u_h."""
    rough, fine = (fem.load(mesh, problem.source, order=order) for order in (4, FINE[mesh.dimension]))
    if np.abs(change := fine - rough).sum() <= 1e-6 * np.abs(fine).sum():
        return np.zeros(len(mesh.points))
    K = fem.cell_coefficient(mesh, problem.medium.conductivity, order=ORDER[mesh.dimension])
    return fem.solve_dirichlet(fem.stiffness(mesh, K), change, mesh.boundary_nodes)


def _nodal_energy(problem: Problem, mesh: fem.Mesh, nodal: np.ndarray) -> float:
    order = ORDER[mesh.dimension]
    K = fem.cell_coefficient(mesh, problem.medium.conductivity, order=order)  # (m, d, d)
    slope = fem.cell_gradients(mesh, nodal) + np.asarray(problem.direction)  # (m, d)
    stored = np.einsum("m,mi,mij,mj->", mesh.volumes, slope, K, slope) / 2
    return float(stored - fem.load(mesh, problem.source, order=order) @ nodal)


def period(problem: Problem) -> float | None:
    """The period of the medium, None for one without and for a constant, of which any length is one."""
    return None if problem.medium.name == "constant" else problem.medium.period


def pixel(problem: Problem) -> float | None:
    """The side of a pixel, None for a medium without."""
    grid = problem.medium.pixels
    return None if grid is None else min(problem.domain.unit, float(np.min(grid.sizes)))


def small_length(problem: Problem, length: float | None) -> float:
    """The length that a mesh has to resolve, in units of the shortest side: as given, the period, or the side of a pixel."""
    if length is None:
        length = problem.medium.period or pixel(problem)
        if length is not None and problem.domain.name not in PLAIN:
            uniform = problem.medium.alpha == problem.medium.beta
            length = 1.0 if uniform else min(1.0, length / problem.domain.unit)
    if length is None:
        raise InputError(
            "length",
            "the smallest length of a medium without a period",
            "none",
            "pass length=, for instance the size of a pixel",
        )
    if not (is_number(length) and 0 < length <= 1):
        raise InputError(
            "length",
            "a number > 0, at most the side 1 of the domain",
            length,
            "pass the period, or a part of it",
        )
    return float(length)
