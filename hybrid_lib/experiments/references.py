r"""Reference solutions, with their errors, on quadrature points.

One dimension: K(u' + e) = c − ∫₀ˣ q with c = (e + ∫ Q/K) / ∫ 1/K, Q(x) = ∫₀ˣ q, by collocated Gauss quadrature; the
errors are the differences to a quadrature with several times as many cells, 8,192 at least. Two dimensions: P1 elements
on three nested uniform meshes, Richardson extrapolation of the nodal values of the finer two, a quintic spline through
them for values and gradients anywhere; the errors of nodes and spline are estimated from what a halved mesh changes, with
the orders that the meshes show and a factor of two to spare. The result is kept in a cache directory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, rounded, whole
from hybrid_lib.experiments.interpolants import Pieces, Surface, gauss, spline_through
from hybrid_lib.problems import Problem, require_drop
from hybrid_lib.training import UNREADABLE, write_atomically

ORDER = 4
"""Of the rule on each cell of the elements."""
SAFETY = 2.0
"""Factor on every estimate in the plane."""
CAP, MOST = 320, 640
"""Cells a side of the middle mesh: as many as 32 a period may ask for, and as many as 8 a period may."""
FINE_1D = 8192
"""Cells, at least, of the quadrature that judges another one in one dimension."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Exact or reference solution u on quadrature points.

    Attributes
    ----------
    points : (E, d) float64
    weights : (E,) float64
        Quadrature weights, summing to `|Ω|`.
    value : (E,) float64
        *u*.
    gradient : (E, d) float64
        ∇u.
    error : float
        Estimated relative L² error of `value`.
    upscaled : float
        `K̂[u] = ∫ e·K(∇u + e) / (|e|² |Ω|)` by the same quadrature.
    error_h1 : float
        Estimated relative error of `gradient`, in the same norm as ``rel_h1`` of a run.
    field : callable or None
        What :meth:`solution` evaluates.
    """

    points: np.ndarray
    weights: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    error: float
    upscaled: float
    error_h1: float = math.nan
    field: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None

    def solution(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """u and ∇u at any `points` (k, d), so that ``experiments.certify(problem, reference)`` bounds its error, guaranteed.

        Raises
        ------
        InputError
            For a reference that holds values at its points only, and for a point outside.
        """
        if self.field is None:
            expected = "one that experiments.reference made"
            raise InputError("reference", expected, "values at points only", "call experiments.reference")
        return self.field(np.asarray(points))

    def norms(self) -> tuple[float, float]:
        """`(‖u‖_{L²}, |u|_{H¹})`."""
        return (
            float(np.sqrt(np.sum(self.weights * self.value**2))),
            float(np.sqrt(np.sum(self.weights[:, None] * self.gradient**2))),
        )


class OutOfTimeError(InputError):
    """A reference would take longer than there is time."""


def reference(
    problem: Problem, cells: int | None = None, mesh_cells: int | None = None, until: float | None = None
) -> Reference:
    """Reference solution of `problem`, exact quadrature for d = 1, extrapolated finite elements for d = 2.

    Parameters
    ----------
    problem : Problem
    cells : int, optional
        Cells a side of the quadrature (Gauss points inside each); default 16 a period in 1-D, 4 in 2-D. Without a period in
        1-D: doubled until the estimated error is below 1e-9, 12,800 at most.
    mesh_cells : int, optional
        d = 2: cells a side of the middle one of three meshes; default 32 a period, between 64 and 320, but 8 a period at
        least, and 320 without a period.
    until : float, optional
        A time of ``time.perf_counter``: a mesh that would end later, by the time that the one before has taken, is not begun.

    Raises
    ------
    OutOfTimeError
        If there is no time for a mesh.
    InputError
        d = 2 on a domain other than the unit square, a period below 1/80 without `mesh_cells`, or `mesh_cells` that is odd
        or below 10.

    Notes
    -----
    The errors are estimates, none of them a bound: what no point of a mesh has seen, a source between them all, cannot be told.
    ``experiments.certify(problem, reference)`` is a bound, of the error in energy; it needs as long again.
    """
    require_drop(problem, "reference")
    if cells is not None:
        whole("cells", cells, 1, "pass the cells a side of the quadrature")
    if mesh_cells is not None and (whole("mesh_cells", mesh_cells, 1, "pass a number of cells") < 10 or mesh_cells % 2):
        raise InputError("mesh_cells", "an even number of at least 10", mesh_cells, "its half is the coarsest of three meshes")
    known, period = problem.medium.period, problem.medium.period or 1.0
    _in_time(until, 0.0)
    grid = problem.medium.pixels
    aligned = (lambda n: n) if grid is None else grid.cells  # cells whose ends are the jumps
    if problem.domain.dimension == 1:
        found = _exact_1d(problem, aligned(cells or max(100, round(16 / period))))
        while cells is None and known is None and found.error > 1e-9 and len(found.points) < 8 * 12_800:
            found = _exact_1d(problem, 2 * len(found.points) // 8)
        return _without_rounding(found, problem)
    if problem.domain.name != "unit_square":
        raise InputError(
            "reference",
            "the interval or the unit square",
            problem.domain.name,
            "solve with fem on a fine mesh",
        )
    sides = CAP if known is None else max(min(CAP, max(64, 2 * round(16 / known))), 2 * math.ceil(4 / known - 1e-9))
    if mesh_cells is None and sides > MOST:
        raise InputError(
            "reference", f"a period of at least 1/{MOST // 8}, 8 of at most {MOST} cells a side", f"{known:g}",
            f"pass mesh_cells={sides}, whose finest mesh has {(2 * sides + 1) ** 2:,d} nodes, or do without a reference",
        )  # fmt: skip
    sides = 2 * aligned(sides // 2) if 2 * aligned(sides // 2) <= 1.25 * sides else sides
    found = _extrapolated_2d(problem, cells or max(20, round(4 / period)), mesh_cells or sides, until)
    return _without_rounding(found, problem)


def _in_time(until: float | None, needed: float) -> None:
    """Refuse to begin what will not end in time."""
    left = math.inf if until is None else until - time.perf_counter()
    if needed >= left:
        wanted = f"about {rounded(needed)} s more" if needed else "time"
        remedy = "raise the time limit, or pass reference=None"
        raise OutOfTimeError("reference", f"{wanted} for its next mesh", f"{rounded(max(left, 0.0))} s", remedy)


def _without_rounding(found: Reference, problem: Problem) -> Reference:
    """Zero where the solution is nothing but the rounding of e·x: relative errors are then not finite, and not 1e15."""
    drop, (value, gradient) = math.hypot(*problem.direction), found.norms()
    if value > 1e-13 * drop or gradient > 1e-11 * drop:
        return found
    zero = {"value": 0 * found.value, "gradient": 0 * found.gradient}
    return dataclasses.replace(found, **zero, error=math.inf, error_h1=math.inf)


def _running_integral(values: np.ndarray, h: float, weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """∫₀ˣ of a function given at the Gauss points (cells, p), at the same points."""
    before = np.concatenate([[0.0], np.cumsum(h * values @ weights)[:-1]])  # (cells,)
    return before[:, None] + h * values @ matrix.T


def _exact_1d(problem: Problem, cells: int) -> Reference:
    x, w, u, slope, upscaled = _quadrature_1d(problem, cells)
    times = max(4, math.ceil(FINE_1D / cells))
    _, _, finer, finer_slope, _ = _quadrature_1d(problem, times * cells)
    finer, flux = (_to_points(v, cells, times) for v in (finer, _flux_1d(problem, times * cells, finer_slope)))
    off = _flux_1d(problem, cells, slope) - flux  # smoother than the slope where K jumps

    def relative(change: np.ndarray, size: np.ndarray) -> float:
        small, large = (float(np.sqrt(w @ v**2)) for v in (change, size))
        return max(small / max(large, np.finfo(float).tiny), np.finfo(float).eps)

    K = fem.evaluate(problem.medium.conductivity, x[:, None]).reshape(-1)
    errors = relative(u - finer, finer), upscaled, relative(off / K, slope)
    return Reference(x[:, None], w, u, slope[:, None], *errors, Pieces(u.reshape(cells, -1), slope.reshape(cells, -1)))


def _flux_1d(problem: Problem, cells: int, slope: np.ndarray, order: int = 8) -> np.ndarray:
    """K(u' + e) at the Gauss points of `cells` cells."""
    points = (np.arange(cells)[:, None] + gauss(order)[0]).reshape(-1, 1) / cells
    K = fem.evaluate(problem.medium.conductivity, points).reshape(-1)
    return K * (slope + problem.direction[0])


def _quadrature_1d(problem: Problem, cells: int, order: int = 8) -> tuple:
    """Points, weights, u, u' there, and K̂[u], from Gauss points in equal cells."""
    nodes, weights, matrix = gauss(order)
    h = 1.0 / cells
    x = ((np.arange(cells)[:, None] + nodes) * h).reshape(-1)  # (cells·p,)
    K = fem.evaluate(problem.medium.conductivity, x[:, None]).reshape(cells, order)
    q = fem.evaluate(problem.source, x[:, None]).reshape(cells, order)
    e = problem.direction[0]

    def total(f: np.ndarray) -> float:
        return float(np.sum(h * f @ weights))

    Q = _running_integral(q, h, weights, matrix)  # (cells, p)
    c = (e + total(Q / K)) / total(1 / K)
    slope = (c - Q) / K - e
    u = _running_integral(slope, h, weights, matrix)
    return x, np.tile(h * weights, cells), u.reshape(-1), slope.reshape(-1), total(K * (slope + e)) / e if e else math.nan


def _to_points(values: np.ndarray, cells: int, times: int, order: int = 8) -> np.ndarray:
    """Values at the Gauss points of `times`·`cells` cells, interpolated to those of `cells` cells."""
    nodes, _, _ = gauss(order)
    part = np.minimum((times * nodes).astype(int), times - 1)  # (p,): the part of the cell a point lies in
    local = times * nodes - part
    powers = np.arange(order)
    lagrange = np.linalg.solve((nodes[:, None] ** powers).T, (local[:, None] ** powers).T).T  # (p, p)
    return np.einsum("kj,ckj->ck", lagrange, values.reshape(cells, times, order)[:, part, :]).reshape(-1)


def fine_solution(problem: Problem, cells: int, order: int = ORDER) -> np.ndarray:
    """Nodal values of P1 elements on ``unit_square(cells)`` or ``interval(cells)``, homogeneous Dirichlet, lift included.

    `order` is that of the rule by which the conductivity is averaged over a cell.
    """
    require_drop(problem, "fine_solution")
    if problem.domain.name not in ("interval", "unit_square"):
        raise InputError("fine_solution", "the interval or the unit square", problem.domain.name, "solve with fem on its mesh")
    mesh = fem.unit_square(cells) if problem.domain.dimension == 2 else fem.interval(cells)
    K, e = problem.medium.conductivity, np.asarray(problem.direction)
    coefficient = fem.cell_coefficient(mesh, K, order=order)
    rhs = fem.load(mesh, problem.source, order=ORDER) - fem.flux_load(mesh, coefficient, e)
    return fem.solve_dirichlet(fem.stiffness(mesh, coefficient), rhs, mesh.boundary_nodes)


def _extrapolated_2d(problem: Problem, cells: int, mesh_cells: int, until: float | None = None) -> Reference:
    nodal, error, error_h1 = _cached(problem, mesh_cells, until)
    spline = spline_through(nodal)
    nodes, weights, _ = gauss(4)
    h = 1.0 / cells
    x = ((np.arange(cells)[:, None] + nodes) * h).reshape(-1)
    w = np.tile(h * weights, cells)
    value, dx, dy = spline(x, x), spline(x, x, dx=1), spline(x, x, dy=1)
    points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    gradient = np.stack([dx, dy], axis=-1).reshape(-1, 2)
    weights2 = np.outer(w, w).reshape(-1)
    e = np.asarray(problem.direction)
    K = fem.evaluate(problem.medium.conductivity, points)
    K = K[:, None, None] * np.eye(2) if K.ndim == 1 else K  # (E, 2, 2)
    upscaled = float(weights2 @ np.einsum("a,eab,eb->e", e, K, gradient + e)) / float(e @ e) if e.any() else math.nan
    return Reference(points, weights2, value.reshape(-1), gradient, error, upscaled, error_h1, Surface(spline))


def _grid(problem: Problem, cells: int) -> np.ndarray:
    """P1 nodal values as a grid indexed [x₁, x₂]."""
    mesh = fem.unit_square(cells)
    nodal = fine_solution(problem, cells)
    i, j = np.rint(mesh.points.T * cells).astype(int)
    grid = np.empty((cells + 1, cells + 1))
    grid[i, j] = nodal
    return grid


def richardson(problem: Problem, cells: int, until: float | None = None) -> tuple[np.ndarray, float, float]:
    """Extrapolated nodal values (4 u_{h/2} − u_h)/3 on `cells` a side, and the relative L² and H¹ errors of their spline.

    Two parts are added. *Nodes*: the change to the extrapolation from half as fine a pair, over 2^p − 1 with the order p of
    the elements that the three meshes show, 2 at most. *Spline*: the change if every other node is left out, over 2^p − 1
    with the order that leaving out three of four shows, 6 at most (5 for gradients). Where the order is below one, above
    the theory, or not to be had, the largest change takes the place of the quotient. All times :data:`SAFETY`; inf if the
    finest mesh has fewer than four cells a period.
    """
    grids, needed = [], 0.0
    for n in (cells // 2, cells, 2 * cells):
        _in_time(until, needed)
        began = time.perf_counter()
        grids.append(_grid(problem, n))
        needed = 5 * (time.perf_counter() - began)  # four times the unknowns, and the estimates after the last one
    coarse, middle, fine = grids
    best = (4 * fine[::2, ::2] - middle) / 3
    rough = (4 * middle[::2, ::2] - coarse) / 3
    if problem.medium.period is not None and 2 * cells * problem.medium.period < 4 - 1e-9:
        return best, math.inf, math.inf
    return best, *_estimates(coarse, middle, fine, best, rough)


def _estimates(
    coarse: np.ndarray, middle: np.ndarray, fine: np.ndarray, best: np.ndarray, rough: np.ndarray
) -> tuple[float, float]:
    """Relative L² and H¹ error of the spline through `best`; see :func:`richardson`."""
    cells = len(best) - 1
    nodes, weights, _ = gauss(2)
    x, w = ((np.arange(cells)[:, None] + nodes) / cells).reshape(-1), np.tile(weights / cells, cells)

    def field(grid: np.ndarray) -> tuple[np.ndarray, ...]:
        spline = spline_through(grid)
        return spline(x, x), spline(x, x, dx=1), spline(x, x, dy=1)

    def sizes(*parts: np.ndarray) -> np.ndarray:  # L², H¹
        squares = [w @ part**2 @ w for part in parts]
        return np.sqrt([squares[0], squares[1] + squares[2]])

    def change(one: tuple, other: tuple) -> np.ndarray:
        return sizes(*(a - b for a, b in zip(one, other, strict=True)))

    whole, halved = field(best), field(best[::2, ::2])
    nodal = change(halved, field(rough))
    moved = [np.linalg.norm(middle[::2, ::2] - coarse), np.linalg.norm(fine[::4, ::4] - middle[::2, ::2])]
    order = _order(*moved)
    if 1 <= order <= 2.5:
        found = nodal / (2 ** min(order, 2.0) - 1)
    else:  # the differences tell no order: take the largest, those of the elements themselves among them
        steps = [field(grid) for grid in (coarse, middle, fine)]
        found = np.max([nodal, *(change(a, b) for a, b in zip(steps, [*steps[1:], whole], strict=True))], axis=0)
    left_out = change(whole, halved)
    sparser = change(halved, field(best[::4, ::4])) if cells % 4 == 0 and cells >= 20 else left_out
    for k, highest in enumerate((6.0, 5.0)):
        order = min(_order(sparser[k], left_out[k]), highest)
        found[k] += left_out[k] / (2**order - 1) if order >= 1 else max(sparser[k], left_out[k])
    return tuple(float(e) for e in SAFETY * found / np.maximum(sizes(*whole), np.finfo(float).tiny))


def _order(before: float, after: float) -> float:
    """Order of convergence that two successive changes show; inf if the second is zero, nan if both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log2(np.float64(before) / after))


def _cached(problem: Problem, cells: int, until: float | None = None) -> tuple[np.ndarray, float, float]:
    """Richardson values from the cache directory, computed and stored at the first call.

    The key is made of all that they depend on: K and q as the elements of the three meshes see them, e, the period, this code.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes() + repr((problem.medium.period, problem.direction)).encode())
    for n in (cells // 2, cells, 2 * cells):
        mesh = fem.unit_square(n)
        digest.update(fem.cell_coefficient(mesh, problem.medium.conductivity, order=ORDER).tobytes())
        digest.update(fem.load(mesh, problem.source, order=ORDER).tobytes())
    path = cache_directory() / f"reference2d-{cells}-{digest.hexdigest()[:16]}.npz"
    try:
        with np.load(path) as file:
            return file["nodal"], float(file["error"]), float(file["error_h1"])
    except UNREADABLE:
        nodal, error, error_h1 = richardson(problem, cells, until)
        buffer = io.BytesIO()
        np.savez(buffer, nodal=nodal, error=error, error_h1=error_h1)
        with contextlib.suppress(InputError):  # a read-only home, a full disk: compute again next time
            write_atomically(path, buffer.getvalue())
        return nodal, error, error_h1


def cache_directory() -> Path:
    """``$HYBRID_LIB_CACHE``, else ``$XDG_CACHE_HOME/hybrid_lib``, else ``~/.cache/hybrid_lib``.

    Where nothing can be written there, or there is no home, references are computed anew in every process.
    """
    if os.environ.get("HYBRID_LIB_CACHE"):
        return Path(os.environ["HYBRID_LIB_CACHE"])
    home = Path(os.path.expanduser("~"))
    kept = home / ".cache" if home.is_absolute() and os.path.isdir(home) else Path(os.devnull)
    return Path(os.environ.get("XDG_CACHE_HOME") or kept) / "hybrid_lib"
