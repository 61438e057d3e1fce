r"""Reference solutions, with their error, on quadrature points.

One dimension: K(u' + e) = c − ∫₀ˣ q with c = (e + ∫ Q/K) / ∫ 1/K, Q(x) = ∫₀ˣ q, by collocated Gauss quadrature; the
error is estimated from twice as many cells. Two dimensions: P1 elements on two nested uniform meshes, Richardson
extrapolation of the nodal values, a quintic spline through them for values and gradients anywhere; the error is
estimated from a coarser pair and the result is kept in a cache directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.problems import Problem
from hybrid_lib.training import UNREADABLE, write_atomically

CACHE_VERSION = 2


@dataclass(frozen=True)
class Reference:
    """Exact or reference solution u on quadrature points.

    Attributes
    ----------
    points : (E, d) float64
    weights : (E,) float64
        Quadrature weights, summing to `|Ω|`.
    value : (E,) float64
        u.
    gradient : (E, d) float64
        ∇u.
    error : float
        Estimated relative L² error of `value`.
    upscaled : float
        `K̂[u] = ∫ e·K(∇u + e) / (|e|² |Ω|)` by the same quadrature.
    """

    points: np.ndarray
    weights: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    error: float
    upscaled: float

    def norms(self) -> tuple[float, float]:
        """`(‖u‖_{L²}, |u|_{H¹})`."""
        return (
            float(np.sqrt(np.sum(self.weights * self.value**2))),
            float(np.sqrt(np.sum(self.weights[:, None] * self.gradient**2))),
        )


def reference(problem: Problem, cells: int | None = None, mesh_cells: int | None = None) -> Reference:
    """Reference solution of `problem`, exact quadrature for d = 1, extrapolated finite elements for d = 2.

    Parameters
    ----------
    problem : Problem
    cells : int, optional
        Cells a side of the quadrature (Gauss points inside each); default 16 a period in 1-D, 4 in 2-D. Without a period in
        1-D: doubled until the estimated error is below 1e-9, 12,800 at most.
    mesh_cells : int, optional
        d = 2: cells a side of the coarser of the two finest meshes; default 32 a period, between 64 and 320, and 320 without
        a period.

    Raises
    ------
    InputError
        d = 2 on a domain other than the unit square, or `mesh_cells` that is odd or below 10.
    """
    known, period = problem.medium.period, problem.medium.period or 1.0
    if problem.domain.dimension == 1:
        found = _exact_1d(problem, cells or max(100, round(16 / period)))
        while cells is None and known is None and found.error > 1e-9 and len(found.points) < 8 * 12_800:
            found = _exact_1d(problem, 2 * len(found.points) // 8)
        return found
    if problem.domain.name != "unit_square":
        raise InputError(
            "reference",
            "the interval or the unit square",
            problem.domain.name,
            "solve with fem on a fine mesh",
        )
    if mesh_cells is not None and (mesh_cells < 10 or mesh_cells % 2):
        raise InputError("mesh_cells", "an even number of at least 10", mesh_cells, "its half is the coarsest of three meshes")
    sides = 320 if known is None else min(320, max(64, 2 * round(16 / known)))
    return _extrapolated_2d(problem, cells or max(20, round(4 / period)), mesh_cells or sides)


def _gauss(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss nodes and weights on (0, 1), and the matrix A_kj = ∫₀^{x_k} ℓ_j of the collocated integral."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    nodes, weights = (nodes + 1) / 2, weights / 2
    vandermonde = nodes[:, None] ** np.arange(order)  # (p, p)
    integrals = nodes[:, None] ** np.arange(1, order + 1) / np.arange(1, order + 1)
    return nodes, weights, np.linalg.solve(vandermonde.T, integrals.T).T


def _running_integral(values: np.ndarray, h: float, weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """∫₀ˣ of a function given at the Gauss points (cells, p), at the same points."""
    before = np.concatenate([[0.0], np.cumsum(h * values @ weights)[:-1]])  # (cells,)
    return before[:, None] + h * values @ matrix.T


def _exact_1d(problem: Problem, cells: int) -> Reference:
    x, w, u, slope, upscaled = _quadrature_1d(problem, cells)
    finer = _halved_to_points(_quadrature_1d(problem, 2 * cells)[2], cells)  # at the same points
    error = float(np.linalg.norm(u - finer) / max(np.linalg.norm(finer), np.finfo(float).tiny))
    return Reference(x[:, None], w, u, slope[:, None], max(error, np.finfo(float).eps), upscaled)


def _quadrature_1d(problem: Problem, cells: int, order: int = 8) -> tuple:
    """Points, weights, u, u' there, and K̂[u], from Gauss points in equal cells."""
    nodes, weights, matrix = _gauss(order)
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
    return x, np.tile(h * weights, cells), u.reshape(-1), slope.reshape(-1), total(K * (slope + e)) / e


def _halved_to_points(values: np.ndarray, cells: int, order: int = 8) -> np.ndarray:
    """Values at the Gauss points of 2·`cells` cells, interpolated to those of `cells` cells."""
    nodes, _, _ = _gauss(order)
    half = (nodes > 0.5).astype(int)  # (p,): the half of the cell a point lies in
    local = 2 * nodes - half
    powers = np.arange(order)
    lagrange = np.linalg.solve((nodes[:, None] ** powers).T, (local[:, None] ** powers).T).T  # (p, p)
    return np.einsum("kj,ckj->ck", lagrange, values.reshape(cells, 2, order)[:, half, :]).reshape(-1)


def fine_solution(problem: Problem, cells: int, order: int = 4) -> np.ndarray:
    """Nodal values of P1 elements on ``unit_square(cells)`` or ``interval(cells)``, homogeneous Dirichlet, lift included.

    `order` is that of the rule by which the conductivity is averaged over a cell.
    """
    if problem.domain.name not in ("interval", "unit_square"):
        raise InputError("fine_solution", "the interval or the unit square", problem.domain.name, "solve with fem on its mesh")
    mesh = fem.unit_square(cells) if problem.domain.dimension == 2 else fem.interval(cells)
    K, e = problem.medium.conductivity, np.asarray(problem.direction)
    coefficient = fem.cell_coefficient(mesh, K, order=order)
    rhs = fem.load(mesh, problem.source, order=4) - fem.flux_load(mesh, coefficient, e)
    return fem.solve_dirichlet(fem.stiffness(mesh, coefficient), rhs, mesh.boundary_nodes)


def _extrapolated_2d(problem: Problem, cells: int, mesh_cells: int) -> Reference:
    from scipy.interpolate import RectBivariateSpline  # here, since it is slow to import

    nodal, error = _cached(problem, mesh_cells)
    axis = np.linspace(0, 1, mesh_cells + 1)
    spline = RectBivariateSpline(axis, axis, nodal, kx=5, ky=5)
    nodes, weights, _ = _gauss(4)
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
    upscaled = float(weights2 @ np.einsum("a,eab,eb->e", e, K, gradient + e)) / float(e @ e)
    return Reference(points, weights2, value.reshape(-1), gradient, error, upscaled)


def _grid(problem: Problem, cells: int) -> np.ndarray:
    """P1 nodal values as a grid indexed [x₁, x₂]."""
    mesh = fem.unit_square(cells)
    nodal = fine_solution(problem, cells)
    i, j = np.rint(mesh.points.T * cells).astype(int)
    grid = np.empty((cells + 1, cells + 1))
    grid[i, j] = nodal
    return grid


def richardson(problem: Problem, cells: int) -> tuple[np.ndarray, float]:
    """Extrapolated nodal values (4 u_{h/2} − u_h)/3 on `cells` a side, and an estimate of their relative error.

    The estimate is the difference to the extrapolation from half as fine a pair, divided by 15 (fourth order), in the
    nodal ℓ² norm.
    """
    coarse, middle, fine = (_grid(problem, n) for n in (cells // 2, cells, 2 * cells))
    best = (4 * fine[::2, ::2] - middle) / 3
    rough = (4 * middle[::2, ::2] - coarse) / 3
    size = np.linalg.norm(rough)
    return best, float(np.linalg.norm(best[::2, ::2] - rough) / size / 15) if size else 0.0


def _cached(problem: Problem, cells: int) -> tuple[np.ndarray, float]:
    """Richardson values from the cache directory, computed and stored at the first call.

    The key is made of the medium's and source's *values* at the centroids of the mesh, so that two problems never share a file
    by name.
    """
    mesh = fem.unit_square(cells)
    probe = mesh.points[mesh.cells].mean(axis=1)  # (m, 2)
    content = [
        fem.evaluate(problem.medium.conductivity, probe),
        fem.evaluate(problem.source, probe),
        np.asarray(problem.direction),
    ]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(c, float).tobytes() for c in content)).hexdigest()[:16]
    path = cache_directory() / f"reference2d-v{CACHE_VERSION}-{cells}-{digest}.npz"
    try:
        with np.load(path) as file:
            return file["nodal"], float(file["error"])
    except UNREADABLE:
        nodal, error = richardson(problem, cells)
        buffer = io.BytesIO()
        np.savez(buffer, nodal=nodal, error=error)
        with contextlib.suppress(OSError):  # a read-only home: compute again next time
            write_atomically(path, buffer.getvalue())
        return nodal, error


def cache_directory() -> Path:
    """``$HYBRID_LIB_CACHE``, else ``$XDG_CACHE_HOME/hybrid_lib``, else ``~/.cache/hybrid_lib``."""
    if "HYBRID_LIB_CACHE" in os.environ:
        return Path(os.environ["HYBRID_LIB_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hybrid_lib"
