"""Classical solvers for −∇·(K∇(u + e·x)) = q on the unit interval or square, u = 0 on the boundary; K scalar.

Linear and quadratic elements, the homogenised solution with its first-order corrector, and FE-HMM (E, Engquist 2003; Abdulle,
E, Engquist, Vanden-Eijnden 2012): coarse elements with tensors from cell problems at the quadrature points. Meshes, assembly,
solvers and cell problems are the library's; FE-HMM is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from hybrid_lib import fem
from hybrid_lib.fem import quadratic
from hybrid_lib.multiscale.homogenisation import CellSolution, cell_problem

BLOCKS = (1 << 11, 1 << 16)
Values = Callable[[np.ndarray], np.ndarray]


def vectorised(function: Callable) -> Values:
    """A JAX function of one point as a NumPy function of many, (..., d) -> (...); compiled for two sizes of blocks only."""
    compiled = jax.jit(jax.vmap(function))

    def values(points: np.ndarray) -> np.ndarray:
        flat = points.reshape(-1, points.shape[-1])
        block = BLOCKS[len(flat) > BLOCKS[0]]
        parts = []
        for start in range(0, len(flat), block):
            part = flat[start : start + block]
            padded = np.pad(part, ((0, block - len(part)), (0, 0)), mode="edge")
            parts.append(np.asarray(compiled(padded))[: len(part)])
        return np.concatenate(parts).reshape(points.shape[:-1])

    return values


class Space(NamedTuple):
    """Lagrange elements of degree 1 or 2: unknowns of each cell (m, k), coordinates of the unknowns (N, d), boundary (b,)."""

    mesh: fem.Mesh
    degree: int
    unknowns: np.ndarray
    points: np.ndarray
    boundary: np.ndarray


def space(mesh: fem.Mesh, degree: int) -> Space:
    """Vertices, and for degree 2 the midpoints of the edges after them."""
    if degree == 1:
        return Space(mesh, 1, mesh.cells, mesh.points, mesh.boundary_nodes)
    return Space(mesh, 2, *quadratic.space(mesh)[1:])


def grid(dimension: int, cells: int) -> fem.Mesh:
    """Uniform mesh of the unit interval or square."""
    return fem.interval(cells) if dimension == 1 else fem.unit_square(cells)


def shapes(barycentric: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Shape functions (..., k) and their derivatives in the barycentric coordinates (..., k, d+1)."""
    if degree == 2:
        return quadratic.shapes(barycentric)
    width = barycentric.shape[-1]
    return barycentric, np.broadcast_to(np.eye(width), (*barycentric.shape, width))


class System(NamedTuple):
    """Matrix and right side before boundary values."""

    space: Space
    matrix: sp.csr_array
    rhs: np.ndarray


def elements(
    mesh: fem.Mesh, degree: int, K: Values | None, q: Values, e, order: int = 4, pieces: int = 1, tensor=None
) -> System:
    """System of Lagrange elements; K = None is 1, times a constant `tensor`.

    With more `pieces` K is averaged over a cell by the rule of this order on each of pieces^d parts of it (degree 1 only).
    """
    d, V = mesh.dimension, space(mesh, degree)
    barycentric, weights = fem.composite_rule(d, pieces, order) if pieces > 1 else fem.rule(d, order)
    points = np.einsum("qa,max->mqx", barycentric, mesh.points[mesh.cells])  # (m, q, d)
    coefficient = np.ones(points.shape[:2]) if K is None else K(points)
    if degree == 1:
        mean = coefficient @ weights  # (m,)
        matrix = fem.stiffness(mesh, mean if tensor is None else mean[:, None, None] * tensor)
    else:
        values = coefficient if tensor is None else coefficient[..., None, None] * np.asarray(tensor)
        whole = quadratic.Quadratic(mesh, V.unknowns, V.points, V.boundary)
        matrix = quadratic.weighted_stiffness(whole, values, barycentric, weights)
    moments = (q(points) * weights) @ shapes(barycentric, degree)[0] * mesh.volumes[:, None]  # (m, k)
    rhs = np.bincount(V.unknowns.ravel(), weights=moments.ravel(), minlength=len(V.points))
    return System(
        V, matrix, rhs - matrix @ (V.points @ np.asarray(e))
    )  # e·x is in the space: the lift is exact


def solve(system: System, tol: float = 1e-12) -> np.ndarray:
    """Values of all unknowns, zero on the boundary."""
    return fem.solve_dirichlet(system.matrix, system.rhs, system.space.boundary, tol=tol)


def storage(system: System) -> tuple[int, int]:
    """Unknowns, and bytes of the matrix and its sparse factors (eight a number, four an index)."""
    free = np.ones(len(system.rhs), dtype=bool)
    free[system.space.boundary] = False
    inner = sp.csc_array(system.matrix[np.flatnonzero(free)][:, np.flatnonzero(free)])
    factors = splu(inner, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return int(free.sum()), 12 * (inner.nnz + factors.nnz)


def at(
    V: Space, u: np.ndarray, points: np.ndarray, hessian: bool = False, cell: bool = False
) -> tuple[np.ndarray, ...]:
    """u (k,) and ∇u (k, d) at points (k, d); if asked for, second derivatives of quadratic elements (k, d, d), or the cells."""
    place, barycentric = _locate(V.mesh, points)
    values, slopes = shapes(barycentric, V.degree)
    local, G = u[V.unknowns[place]], V.mesh.basis_gradients[place]  # (k, shapes), (k, d+1, d)
    found = np.einsum("ki,ki->k", local, values), np.einsum("ki,kia,kax->kx", local, slopes, G, optimize=True)
    if not hessian:
        return (*found, place) if cell else found
    curve = quadratic.slopes(G.shape[1])
    return *found, np.einsum("kax,ki,iab,kby->kxy", G, local, curve, G, optimize=True)


def _locate(mesh: fem.Mesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell and barycentric coordinates of points in a tensor mesh numbered like those of :func:`grid`."""
    d = mesh.dimension
    n = round((len(mesh.cells) / d) ** (1 / d))
    axis = mesh.points[: n + 1, 0]  # the same along both axes
    place = np.clip(np.searchsorted(axis, points, side="right") - 1, 0, n - 1)  # (k, d)
    s = (points - axis[place]) / np.diff(axis)[place]
    if d == 1:
        return place[:, 0], np.concatenate([1 - s, s], axis=1)
    upper = s[:, 1] > s[:, 0]
    large, small = np.max(s, axis=1), np.min(s, axis=1)
    right, left = np.where(upper, small, large - small), np.where(upper, large - small, small)
    return 2 * (place[:, 1] * n + place[:, 0]) + upper, np.stack([1 - large, right, left], axis=1)


class Expansion(NamedTuple):
    """Homogenised solution and what its corrector needs."""

    system: System
    u: np.ndarray
    cell: CellSolution
    period: float
    direction: np.ndarray


def homogenised(conductivity: Callable, q: Values, e, period: float, cells: int, micro: int) -> Expansion:
    """Cell problem with linear elements, `micro` cells a side; u⁰ with quadratic elements on `cells` a side."""
    d = len(e)
    cell = cell_problem(conductivity, d, micro, period, order=2)
    system = elements(grid(d, cells), 2, None, q, e, tensor=cell.tensor)
    return Expansion(system, solve(system), cell, period, np.asarray(e, float))


def expand(found: Expansion, points: np.ndarray, corrector: str) -> tuple[np.ndarray, np.ndarray]:
    """u and ∇u at points; corrector "none", "plain", or "cut" by η = Π (1 − e^{−2πs/ε}) over the distances s to the sides."""
    u, slope, bend = at(found.system.space, found.u, points, hessian=True)
    if corrector == "none":
        return u, slope
    eps, drop = found.period, found.direction + slope  # (k, d)
    V, y = space(found.cell.mesh, 1), np.mod(points / eps, 1.0)
    chi, chi_slope = (
        np.stack(a, axis=1) for a in zip(*(at(V, c, y) for c in found.cell.correctors), strict=True)
    )
    cut, cut_slope = np.ones(len(u)), np.zeros_like(slope)
    if corrector == "cut":
        left, right = np.exp(-2 * np.pi * points / eps), np.exp(-2 * np.pi * (1 - points) / eps)
        cut = np.prod((1 - left) * (1 - right), axis=1)
        cut_slope = cut[:, None] * 2 * np.pi / eps * (left / (1 - left) - right / (1 - right))
    first = np.einsum("kj,kj->k", chi, drop)
    slope = slope + cut[:, None] * np.einsum("kjx,kj->kx", chi_slope, drop) + eps * first[:, None] * cut_slope
    slope = slope + eps * cut[:, None] * np.einsum("kj,kjx->kx", chi, bend)
    return u + eps * cut * first, slope


def local_tensors(K: Values, centres: np.ndarray, period: float, n: int) -> np.ndarray:
    """Effective tensors (m, d, d) of periodic cell problems on cubes of one period around each centre (m, d), n cells a side."""
    d = centres.shape[1]
    mesh, (barycentric, weights) = grid(d, n), fem.rule(d, 2)
    index = np.rint(mesh.points * n).astype(int) % n
    cells = np.ravel_multi_index(tuple(index.T), (n,) * d)[mesh.cells]  # (c, d+1) periodic unknowns
    G = mesh.basis_gradients
    local = mesh.volumes[:, None, None] * (G @ G.swapaxes(1, 2))
    drop = mesh.volumes[:, None, None] * G  # (c, d+1, d)
    y = np.einsum("qa,cax->cqx", barycentric, mesh.points[mesh.cells]) - 0.5
    rows, columns = (np.broadcast_to(a, local.shape).ravel() for a in (cells[:, :, None], cells[:, None, :]))
    out = np.empty((len(centres), d, d))
    for k, centre in enumerate(centres):
        mean = K(centre + period * y) @ weights  # (c,)
        entries = (mean[:, None, None] * local).ravel()
        A = sp.csc_array(sp.coo_array((entries, (rows, columns)), shape=(n**d, n**d)))
        right = [np.bincount(cells.ravel(), (mean[:, None] * drop[:, :, i]).ravel(), n**d) for i in range(d)]
        b = np.stack(right, axis=1)  # (n^d, d)
        chi = np.zeros_like(b)
        chi[1:] = splu(A[1:, 1:]).solve(-b[1:])  # one unknown is fixed: constants are in the kernel
        out[k] = (mesh.volumes @ mean) * np.eye(d) + b.T @ chi
    return (out + out.swapaxes(1, 2)) / 2


def fe_hmm(
    K: Values, q: Values, e, period: float, cells: int, micro: int
) -> tuple[System, np.ndarray, np.ndarray]:
    """FE-HMM with linear elements: system, solution, and the tensor of each coarse cell."""
    mesh = grid(len(e), cells)
    tensors = local_tensors(K, mesh.points[mesh.cells].mean(axis=1), period, micro)
    V, matrix = space(mesh, 1), fem.stiffness(mesh, tensors)
    points, _ = fem.quadrature_points(mesh, 4)
    rhs = fem.load(mesh, q(points), order=4) - matrix @ (mesh.points @ np.asarray(e))
    system = System(V, matrix, rhs)
    return system, solve(system), tensors
