"""Linear elements for a problem with any conditions on its sides, refined until a guaranteed bound is met."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, rounded
from hybrid_lib.experiments.field_solution import FieldSolution, LostInRoundingError, solve_on
from hybrid_lib.experiments.fitted import fitted
from hybrid_lib.experiments.galerkin import sample_of
from hybrid_lib.experiments.price import period
from hybrid_lib.problems import Problem, is_number, plain

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
FITTED = 4
"""Times as many cells as there are pixels, or would be, up to which a uniform mesh that holds their lines is taken."""
STALLED = 12
"""Meshes after which a bound that has not fallen by a tenth will not."""
RISEN = 4.0
"""Times the least bound, where a search ends at once if an exchange alone holds the temperatures: rounding grows."""
STUCK = (
    "as where K jumps by many orders within cells: put jumps on lines of the mesh; "
    "or by rounding, where an exchange is tiny"
)
BULK = 0.7
"""Share of the squared bound in the cells that are refined."""


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
        The first mesh has a node at each corner of a pixel (50,000 at most where a uniform one has none), and at each jump of a
        K that is a function on a line, or of one along an axis of a rectangle.
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
    mesh = domain.labelled(fitted(problem, domain.mesh(first_cells(problem) if n is None else n)))
    best, least, since = None, np.inf, 0
    if callable(plain(problem.source)) and np.abs(sample_of(problem, mesh).f).max() < 1e-100:  # tails of a peak
        text = "source: it is 0 at all points of the first mesh; if it is narrow pass n= for more of them, else source=0.0"
        warnings.warn(text, stacklevel=2)
    while True:
        try:
            found = solve_on(problem, mesh)
        except LostInRoundingError as error:
            if best is None:
                raise
            return dataclasses.replace(best, reason=f"the bound is {rounded(best.bound)}; a finer mesh is refused: {error}")
        if announce is not None:
            announce(found)
        if found.proof is None or target is None:
            return found
        coarse = found.proof.relative > target  # what a second rule changes is looked at where it may decide
        size = found.proof.relative if coarse else found.bound
        if size <= target:
            return found
        since = since + 1 if best is not None and size > 0.9 * least else 0
        best, least = (found, size) if best is None or size < least else (best, least)
        loose = found.data.exchanges and not found.data.held.size
        if since == STALLED or (loose and size > RISEN * least):
            why = STUCK if best._vanishing is None else f"as where K falls to zero: it has {rounded(best._vanishing)}"
            return dataclasses.replace(best, reason=f"the bound stays at {rounded(best.bound)} on finer meshes, {why}")
        parts = found.proof.cells if coarse else np.sqrt(found.proof.cells**2 + found.unsure)
        finer = fem.bisect(mesh, _marked(parts))
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


def first_cells(problem: Problem) -> int:
    """Cells a unit length of the domain that the first mesh has: four a period, within limits, and fewer in a thin layer.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> first_cells(Problem(medium=media.paper_2d(0.1)))
    40
    """
    least, most = CELLS[problem.domain.dimension]
    length, pixels = period(problem), problem.medium.pixels
    cells = least if length is None else math.ceil(CELLS_A_PERIOD * problem.domain.unit / length - 1e-9)
    cells = max(least, min(cells, most))
    squares = problem.domain.measure / problem.domain.unit**problem.domain.dimension
    if cells**2 * squares > UNKNOWNS and problem.domain.dimension == 2:  # a thin layer
        cells = max(1, math.isqrt(int(UNKNOWNS / THIN / squares)))
    if pixels is None:
        return cells
    found = pixels.cells(cells, problem.domain.box, problem.domain.unit)
    return cells if len(problem.domain.corners) == 1 and found > FITTED * max(cells, *pixels.shape) else found  # lines are put in
