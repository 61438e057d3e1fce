r"""References by spectral elements, for smooth media of small period in the plane.

At degree 20 they have nearly four digits of the gradient, and more of the value.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, rounded
from hybrid_lib.experiments.jumps import require_no_jumps
from hybrid_lib.experiments.references import OutOfTimeError, Reference
from hybrid_lib.fem.spectral import SpectralField, solve_spectral
from hybrid_lib.problems import Problem

DEGREE = 20
"""Of the last of three solutions, each four degrees apart; what they change estimates its error."""
MOST_NODES = 3_400
"""On an axis; a smaller period has lower degrees."""
PILOT = 4
"""Degree that tells how long the first takes, where time is limited."""
LOWEST = 16
"""Degree below which a cell of one period is not resolved."""
POINTS, LEAST = 200, 10
"""Gauss points on an axis, at least, where errors are taken, and in a cell."""


class NoReferenceError(InputError):
    """A period that is too small for a reference."""


def spectral_reference(problem: Problem, until: float | None = None) -> Reference:
    """Reference solution on the unit square for a smooth scalar medium with a period.

    One cell a period and degrees 12, 16 and 20 (lower for periods below 1/170); the errors are those of the last, by the rate at
    which the three converge, with a factor of two to spare.

    Parameters
    ----------
    problem : Problem
    until : float, optional
        As for :func:`hybrid_lib.experiments.references.reference`.

    Raises
    ------
    InputError
        For another domain, a tensor, a medium that jumps or has no period.
    OutOfTimeError
        If there is no time for the next degree.
    NoReferenceError
        For a period that is too small.

    Examples
    --------
    >>> from hybrid_lib.problems import heat2d_problem
    >>> spectral_reference(heat2d_problem(0.25)).error < 1e-4
    True
    """
    medium = problem.medium
    if problem.domain.name != "unit_square" or medium.is_tensor or medium.pixels is not None or medium.period is None:
        received = f"{problem.domain.name}, period {medium.period}"
        raise InputError("reference", "a smooth scalar medium with a period on the unit square", received, "use reference")
    require_no_jumps(problem)
    n = max(2, math.ceil(1 / medium.period - 1e-9))
    top = min(DEGREE, MOST_NODES // n)
    if top < LOWEST:
        received, remedy = f"{medium.period:g}", "do without a reference: the bound needs none"
        raise NoReferenceError("reference", f"a period of at least 1/{MOST_NODES // LOWEST}", received, remedy)
    fields: list[SpectralField] = []

    def solved(degree: int) -> SpectralField:
        K, q = (lambda x: fem.evaluate(medium.conductivity, x)), (lambda x: fem.evaluate(problem.source, x))
        return solve_spectral(K, q, problem.direction, n, degree)

    took = 0.0
    if until is not None:  # how long the first one will take, by its unknowns and the work at each
        solved(PILOT)  # compiles
        began = time.perf_counter()
        solved(PILOT)
        took = (time.perf_counter() - began) * ((top - 8) / PILOT) ** 3 / 3
    for degree in (top - 8, top - 4, top):
        left = math.inf if until is None else until - time.perf_counter()
        if 3 * took > left:
            needed, received = f"about {rounded(3 * took)} s more", f"{rounded(max(left, 0.0))} s"
            raise OutOfTimeError("reference", needed, received, "pass reference=None")
        began = time.perf_counter()
        fields.append(solved(degree))
        took = time.perf_counter() - began
    sampled = [field.at_gauss(max(LEAST, math.ceil(POINTS / n))) for field in fields]
    x, w, value, gradient = sampled[-1]
    error = _last_error([s[2] for s in sampled], w)
    error_h1 = _last_error([s[3] for s in sampled], w[:, None])
    e = np.asarray(problem.direction)
    K = fem.evaluate(medium.conductivity, x)
    upscaled = float(w @ (K * ((gradient + e) @ e)) / (e @ e)) if e.any() else math.nan
    return Reference(x, np.array(w), value, gradient, error, upscaled, error_h1)


def _last_error(values: list[np.ndarray], weights: np.ndarray) -> float:
    """Relative error of the last of three, whose errors fall by a factor that is at most what their differences show."""
    size = math.sqrt(np.sum(weights * values[-1] ** 2))
    first, second = (math.sqrt(np.sum(weights * (b - a) ** 2)) for a, b in itertools.pairwise(values))
    rate = min(second / first, 0.9) if first else 0.0
    return 2 * second * rate / (1 - rate) / size if size else math.inf
