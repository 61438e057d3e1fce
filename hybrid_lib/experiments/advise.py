r"""Which method for a problem, before it is solved: what each would need for a tolerance, from a few seconds of solving.

Linear elements are run on their first meshes, as :func:`hybrid_lib.solve` does, and their bound is continued by the rate that the
last two show, :math:`B \propto N^{-p}`; the time of a mesh with N unknowns is taken as

.. math:: t(N) = a + b\,N\,(1 + N/N_0), \qquad N_0 = 150\,000,

with a and b from the same meshes (the bend is that of the solver, measured on four problems up to 150,000 unknowns). Quadratic
elements are run on two meshes. A network is not trained: its memory is that of :func:`.forecast`, its time a count of operations
at the speed of the record. `benchmarks/advise.py` measures what becomes of the predictions.
"""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybrid_lib.errors import InputError, rounded
from hybrid_lib.experiments import sizes
from hybrid_lib.experiments.jumps import find_jump
from hybrid_lib.experiments.own import own_configuration, parameters_of
from hybrid_lib.experiments.price import pixel
from hybrid_lib.experiments.solve import UNKNOWNS, FieldSolution, solve, solve_on
from hybrid_lib.fem import bounds, fluxes, quadratic, transforms
from hybrid_lib.methods import method_of
from hybrid_lib.methods.points import growth, work
from hybrid_lib.problems import Problem, is_number

PILOT = {1: 500, 2: 6000}
"""Unknowns at which the trial meshes end, by dimension."""
BEND = 150_000
"""N₀, unknowns at which a mesh takes twice as long for each as a small one."""
NETWORKS = {"defect": "defect coupling", "hypercircle": "hypercircle"}
"""What follows "network" in the name of a way, by method."""
ASSUMED = 6e-5
"""Seconds an unknown where there is one mesh only, on the machine of the record."""
AGAIN = 4.0
"""Seconds up to which a trial is repeated, as most of them may be the compiler's."""
RATES = (0.1, 2.0)
"""Exponents of the unknowns that are believed."""
BYTES = {"P1": (2.6e8, 4800.0), "P2": (2.6e8, 9000.0), "sine": (2.6e8, 4800.0)}
"""Memory: of the process, and for each unknown with its proof; measured at 50,000 unknowns."""
SPEED = 2.5e10
"""Operations a second of a Gauss-Newton step, all counted by those of its normal equations: heat2d, 1.0 s a step on one core."""
COMPILES = 25.0
"""Seconds until the first step of a network, of the same record."""
KNOWN = {1: 1e-4, 2: 5e-3}
"""Relative error that networks reach on the paper's problems with the sizes of `own_configuration`, by dimension."""
TAME = 10.0
"""Contrast up to which that is said of a smooth medium with a period."""
LENGTH = (
    "A network would need the smallest length of K, as a part of the shortest side: it has no period and no pixels, so pass "
    "own_configuration(problem, length=…); hybrid solve --network takes 1"
)
"""What is said where nothing tells that length."""


class Way(NamedTuple):
    """What one method would need.

    Attributes
    ----------
    method : str
    unknowns : int or None
    memory : float or None
        Bytes.
    seconds : float or None
    reaches : bool or None
        Whether it meets the tolerance; None where only a run could tell.
    words : str
        What to know about it.
    """

    method: str
    unknowns: int | None
    memory: float | None
    seconds: float | None
    reaches: bool | None
    words: str


@dataclass(frozen=True)
class Advice:
    """What is known of a problem beforehand; prints as a table.

    Attributes
    ----------
    problem : Problem
    tolerance : float
    contrast : float
        β/α.
    length : float or None
        Smallest length: the period, or a pixel; None where nothing says.
    jumps : bool
        Whether K jumps.
    ways : tuple of Way
    recommended : str
        The method of one of them.
    reason : str
    """

    problem: Problem
    tolerance: float
    contrast: float
    length: float | None
    jumps: bool
    ways: tuple[Way, ...]
    recommended: str
    reason: str

    header = ("method", "unknowns", "memory", "seconds", "within the tolerance", "")

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The rows of the table, as texts."""
        return [
            (
                way.method,
                "–" if way.unknowns is None else f"{way.unknowns:,}",
                "–" if way.memory is None else f"{way.memory / 1e9:.1f} GB",
                "–" if way.seconds is None else rounded(way.seconds, 2 if way.seconds < 100 else 3),
                {True: "yes", False: "no", None: "unknown"}[way.reaches],
                way.words,
            )
            for way in self.ways
        ]

    def __str__(self) -> str:
        length = "not known" if self.length is None else f"{self.length:.3g}"
        found = f"contrast {rounded(self.contrast, 3)}, smallest length {length}, {'jumps' if self.jumps else 'no jumps'}"
        table = [self.header, *self.lines]
        widths = [max(len(row[k]) for row in table) for k in range(len(self.header))]
        rows = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]
        head = f"{self.problem.name}, tolerance {self.tolerance:g}: {found}"
        return "\n".join([*textwrap.wrap(head, 80), *rows, *textwrap.wrap(self.reason, 80)])


def advise(problem: Problem, tolerance: float = 0.01) -> Advice:
    """Say what each method would need for a relative error of energy, and which to take.

    Parameters
    ----------
    problem : Problem
        On any domain.
    tolerance : float
        Of the bound of :func:`hybrid_lib.solve`.

    Returns
    -------
    Advice

    Raises
    ------
    InputError
        For something that is no problem, or no tolerance.

    Notes
    -----
    It takes some seconds, as it solves on small meshes. Times are wall times of this machine as it is now, without compiling and
    within a factor of about two for elements; those of networks are of the machine of the record.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> found = advise(Problem(medium=media.paper_1d(0.1), source=1.0))
    >>> found.contrast, found.length, found.jumps, found.ways[0].reaches
    (3.0, 0.1, False, True)
    """
    if not isinstance(problem, Problem):
        raise InputError("problem", "a Problem", type(problem).__name__, "make one with hybrid_lib.Problem")
    if not (is_number(tolerance) and tolerance > 0):
        raise InputError("tolerance", "a number > 0", repr(tolerance), "0.01 is one per cent of the energy norm")
    medium = problem.medium
    jumps = not medium.is_lipschitz if medium.is_lipschitz is not None else _jumps(problem)
    length = medium.period or pixel(problem)
    linear, meshes = _linear(problem, tolerance)
    ways = [linear]
    plain = problem.boundary is None and problem.domain.name in ("interval", "unit_square")
    if plain:
        ways += _uniform(problem, tolerance, meshes)
    if medium.period is not None and medium.period < problem.domain.unit and problem.domain.dimension == 2:
        ways.append(_homogenised(linear))
    refused = ""
    try:
        ways.append(_network(problem, tolerance, jumps))
    except InputError as error:
        refused = LENGTH if error.what == "length" else f"No network of this library takes the problem as it is: {error}"
    chosen, reason = _choice(ways, tolerance, refused)
    return Advice(problem, float(tolerance), medium.beta / medium.alpha, length, jumps, tuple(ways), chosen, reason)


def _jumps(problem: Problem) -> bool:
    """Whether a search finds a jump; where it cannot search, as on a mesh, what is not known counts as one."""
    try:
        return find_jump(problem.medium, problem.domain) is not None
    except (InputError, ValueError):
        return True


class _Enough(Exception):  # noqa: N818
    """The trial meshes end here."""


def _linear(problem: Problem, tolerance: float) -> tuple[Way, list[tuple[int, float, float]]]:
    """Linear elements by the first meshes of `solve`; unknowns, bound and seconds of each."""
    meshes, began = [], [time.perf_counter()]

    def watch(found: FieldSolution) -> None:
        now = time.perf_counter()
        meshes.append((len(found.w), found.bound, now - began[0]))
        began[0] = now
        if found.bound is not None and len(found.w) > PILOT[problem.domain.dimension] and len(meshes) > 1:
            raise _Enough

    try:
        found = solve(problem, tolerance, announce=watch)
        N, bound, _ = meshes[-1]
        if len(meshes) == 1:  # again, without compiling
            solve_on(problem, found.mesh)
            meshes[0] = (N, bound, time.perf_counter() - began[0])
        reached = bound is not None and bound <= tolerance
        words = "solved already" if reached else found.reason or "no bound"
        return Way("linear elements", N, _memory("P1", N), _warm(meshes), reached, words), meshes
    except _Enough:
        pass
    (before, high, _), (N, bound, _) = meshes[-2:]
    rate = _rate(high, bound, before, N)
    growth, cost = max(N / before, 1.3), _cost(meshes)
    total, last = _warm(meshes), bound
    while last > tolerance and N * growth <= UNKNOWNS:
        N, last = N * growth, last * growth**-rate
        total += cost(N)
    reached = last <= tolerance
    words = f"bound {rounded(last)}" + ("" if reached else f" at the limit of {UNKNOWNS:,} unknowns")
    return Way("linear elements", round(N), _memory("P1", N), total, reached, words), meshes


def _warm(meshes: list[tuple[int, float, float]]) -> float:
    """Seconds of all meshes, those of the first without what it compiled."""
    return sum(row[2] for row in meshes) - (max(0.0, meshes[0][2] - meshes[1][2]) if len(meshes) > 1 else 0.0)


def _cost(meshes: list[tuple[int, float, float]]) -> Callable[[float], float]:
    """Seconds of a mesh by its unknowns, from those of the meshes after the first, which compiles."""
    rows = np.array([(N, seconds) for N, _, seconds in meshes[1:] or meshes])
    x = rows[:, 0] * (1 + rows[:, 0] / BEND)
    slope = ASSUMED
    if len(rows) > 1 and x[-1] > 1.5 * x[0]:
        slope = float(np.clip((rows[-1, 1] - rows[:-1, 1].min()) / (x[-1] - x[0]), 0.3 * ASSUMED, 5 * ASSUMED))
    start = max(0.0, float(rows[-1, 1] - slope * x[-1]))
    return lambda N: start + slope * N * (1 + N / BEND)


def _memory(kind: str, unknowns: float) -> float:
    base, each = BYTES[kind]
    return base + each * unknowns


def _uniform(problem: Problem, tolerance: float, meshes: list[tuple[int, float, float]]) -> list[Way]:
    """Quadratic elements, and linear ones with sine transforms, on uniform meshes of the square or the interval."""
    d, ways = problem.domain.dimension, []
    n = max(8, round(meshes[0][0] ** (1 / d)) // 2) if problem.medium.pixels is None else round(meshes[0][0] ** (1 / d)) - 1
    rows = [quadratic_bound(problem, n), quadratic_bound(problem, 2 * n)]
    if rows[1][2] < AGAIN:
        rows[1] = quadratic_bound(problem, 2 * n)  # without compiling
    ways.append(_continued(problem, "quadratic elements", rows, tolerance, 500_000, "fem.quadratic.solve on a uniform mesh"))
    contrast = problem.medium.beta / problem.medium.alpha
    if d == 2 and contrast <= transforms.CONTRAST and not problem.medium.is_tensor:
        began = time.perf_counter()
        first = solve_on(problem, problem.domain.labelled(problem.domain.mesh(64)))
        proof = time.perf_counter() - began
        began = time.perf_counter()
        second = solve_on(problem, problem.domain.labelled(problem.domain.mesh(128)))
        rows = [(len(s.w), s.bound, t) for s, t in ((first, proof), (second, time.perf_counter() - began))]
        words = "fem.certified_solve on unit_square(n)"
        ways.append(_continued(problem, "linear, uniform, sine", rows, tolerance, 4_000_000, words))
    return ways


def _rate(high: float, low: float, before: int, after: int) -> float:
    """The power of the unknowns by which a bound falls, between two meshes."""
    if not (0 < low < math.inf and high < math.inf):
        return RATES[1]
    return float(np.clip(math.log(high / low) / math.log(after / before), *RATES))


def quadratic_bound(problem: Problem, n: int) -> tuple[int, float, float]:
    """Unknowns, relative bound and seconds of quadratic elements and their proof on a uniform mesh."""
    began, mesh = time.perf_counter(), problem.domain.mesh(n)
    K, q, e = problem.medium.conductivity, problem.source, np.asarray(problem.direction)
    data = bounds.sampled(mesh, K, q, bounds.PROBES[mesh.dimension] // 4, 4)
    flux = bounds.flux_for(mesh, data, np.broadcast_to(e, (len(mesh.cells), mesh.dimension)), degree=2)
    V, nodal = quadratic.solve(mesh, K, q, direction=e, tol=fluxes.TOLERANCE)
    slope, bend = quadratic.gradients(V, nodal)
    gradient = slope[:, None] + (data.points - mesh.points[mesh.cells].mean(axis=1)[:, None]) @ bend
    found = bounds.bound_by(mesh, data, flux, gradient, e)
    whole = gradient + e
    size = math.sqrt(mesh.volumes @ (np.sum(whole * fluxes.times(data.K, whole), axis=-1) @ data.weights))
    relative = found.bound / size if size > 0 else math.inf if found.bound > 0 else 0.0
    return len(V.points), relative, time.perf_counter() - began


def _continued(
    problem: Problem, method: str, rows: list[tuple[int, float, float]], tolerance: float, most: int, words: str
) -> Way:
    """One uniform mesh of the size that the rate of two says, with its lines on the edges of pixels."""
    d, nodes = problem.domain.dimension, 2 if method.startswith("quadratic") else 1
    (before, high, _), (N, bound, seconds) = rows
    rate = _rate(high, bound, before, N)
    wanted = N * (bound / tolerance) ** (1 / rate) if bound > tolerance else N
    cells = math.ceil((wanted ** (1 / d) - 1) / nodes - 1e-9)
    cells = cells if problem.medium.pixels is None else problem.medium.pixels.cells(cells)
    wanted = float(nodes * cells + 1) ** d
    size = min(wanted, most)
    total = seconds * (size * (1 + size / BEND)) / (N * (1 + N / BEND)) if size > N else seconds
    reached = bool(wanted <= most)
    words = words if reached else f"bound {rounded(bound * (size / N) ** -rate)} at the limit of {most:,} unknowns"
    return Way(method, round(size), _memory("P2" if nodes == 2 else "sine", size), total, reached, words)


def _homogenised(linear: Way) -> Way:
    """Two small problems with constant coefficient: cheap, and without the ripples that carry the energy."""
    words = "the smooth part: off by about the period in L², by a fixed part in energy"
    return Way("homogenisation", 8192, _memory("sine", 8192), 2 * 4096 * ASSUMED + 0.5, False, words)


def _network(problem: Problem, tolerance: float, jumps: bool) -> Way:
    """The network of `own_configuration`, by its shapes; an InputError for a problem that it does not take."""
    d, period, sided = problem.domain.dimension, problem.medium.period, problem.boundary is not None
    formulation = "hypercircle" if jumps or sided else "strong"
    config = own_configuration(problem, formulation=formulation)
    N, load = sizes.load_of(problem, config)
    P = parameters_of(problem, config)
    step = 2.0 * (N * load.rows + load.coupling) * P**2 / load.parts + P**3 / load.parts**2
    after, steps = config.sampling.grow_after, config.training.steps
    seconds = COMPILES + work(after, 0, steps) / growth(after, steps - 1) * step / SPEED  # N is that of the last step
    contrast = problem.medium.beta / problem.medium.alpha
    tame = formulation == "strong" and period is not None and contrast <= TAME
    reaches = None if not tame else True if tolerance >= KNOWN[d] else None
    name = f"network, {NETWORKS.get(method_of(config).name, 'no coupling')}"
    return Way(name, P, sizes.forecast(problem, config).total + 5e8, seconds, reaches, "time of the record's machine")


def _choice(ways: list[Way], tolerance: float, refused: str) -> tuple[str, str]:
    """The quickest that is known to reach the tolerance, and why; `refused` says why there is no network."""
    sure = sorted((way for way in ways if way.reaches), key=lambda way: way.seconds)
    linear = ways[0]
    if not sure:
        best = linear.words if linear.reaches is False else "no bound is known"
        words = f"Nothing here is known to reach {tolerance:g}: linear elements end with {best}. A larger tolerance"
        return linear.method, words + ", or the mean flux of a sample (experiments.mean_flux), may be what you need."
    first = sure[0]
    if first is not linear and linear.reaches and linear.seconds <= 2 * first.seconds:
        first = linear  # the one that hl.solve does by itself
    others = [way for way in sure if way is not first]
    text = f"Take {first.method}: {rounded(first.seconds)} s"
    if others:
        text += f", {others[0].method} {rounded(others[0].seconds)} s"
    if refused:
        text += f". {refused}"
    elif "network" not in first.method:
        text += ". As for most problems of one or two dimensions a network is no match for that"
    return first.method, text + "."

