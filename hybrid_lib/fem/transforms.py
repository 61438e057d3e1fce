r"""Conjugate gradients with fast sine and cosine transforms as preconditioners, for elements on the uniform unit square.

With zero values on the boundary the matrix of −∇·(D∇u), D constant and diagonal, is the five-point formula, which sines
diagonalise; without any, cosines do. For a conductivity between α and β its inverse leaves a condition number of at most β/α,
whatever h and the period: some 30 iterations of two transforms, O(n log n) each, to twelve digits at contrast 5. Quadratic
elements have linear ones on the halved mesh as their preconditioner, and half as many iterations again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.fft import dctn, dstn
from scipy.sparse import csr_array

LEAST, CONTRAST, MOST = 10_000, 50.0, 200
"""Unknowns from which transforms are chosen, contrast up to which (they win from 4,000 on and up to 100), and most iterations."""


def square_side(matrix: csr_array) -> int | None:
    """Inner nodes s a side if the matrix (s², s²) couples only neighbours on a uniform square, row by row; else None.

    >>> from hybrid_lib.fem import stiffness, unit_square
    >>> mesh = unit_square(5)
    >>> square_side(stiffness(mesh, 1.0)[mesh.interior_nodes][:, mesh.interior_nodes])
    4
    """
    n = matrix.shape[0]
    side = math.isqrt(n)
    if side * side != n or side < 2:
        return None
    rows = np.repeat(np.arange(n, dtype=matrix.indices.dtype), np.diff(matrix.indptr))
    down, across = matrix.indices // side - rows // side, matrix.indices % side - rows % side
    return side if np.all((np.abs(down) <= 1) & (np.abs(across) <= 1)) else None


def lattice(points: np.ndarray, inner: bool) -> np.ndarray | None:
    """Numbers (s²,) of points that form a uniform grid of the unit square, row by row, or of its inside; None if they do not.

    >>> from hybrid_lib.fem import unit_square
    >>> lattice(unit_square(2).points[::-1], inner=False).tolist()
    [8, 7, 6, 5, 4, 3, 2, 1, 0]
    """
    side = math.isqrt(len(points))
    if points.shape[1] != 2 or side * side != len(points) or side < 3:
        return None
    scaled = points * (side + 1) - 1 if inner else points * (side - 1)
    index = np.rint(scaled)
    if np.abs(scaled - index).max() > 1e-6 or index.min() < 0 or index.max() >= side:
        return None
    number = (index @ [1, side]).astype(np.int64)
    return np.argsort(number) if np.all(np.bincount(number, minlength=len(points)) == 1) else None


def couplings(matrix: csr_array, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Minus the entries that couple neighbours along the first axis and along the second; positive for a scalar K."""
    first = -matrix.diagonal(1)
    return np.delete(first, np.arange(side - 1, len(first), side)), -matrix.diagonal(side)


def contrast(matrix: csr_array, side: int) -> float:
    """Largest over smallest coupling; inf where one is not positive."""
    first, second = couplings(matrix, side)
    low = min(first.min() / first.mean(), second.min() / second.mean()) if first.mean() > 0 and second.mean() > 0 else 0.0
    return max(first.max() / first.mean(), second.max() / second.mean()) / low if low > 0 else math.inf


def diagonal_contrast(matrix: csr_array, order: np.ndarray) -> float:
    """Largest over smallest diagonal entry of unknowns of one kind, on a lattice without its rim; inf where one is negative."""
    side = math.isqrt(len(order))
    grid = matrix.diagonal()[order].reshape(side, side)[1:-1, 1:-1]
    kinds = [grid[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return max(kind.max() / kind.min() if kind.min() > 0 else math.inf for kind in kinds if kind.size)


def sines(side: int, first: float = 1.0, second: float = 1.0) -> Callable:
    """The inverse (s, s) -> (s, s) of the five-point formula with these couplings along the axes, zero outside."""
    waves = 2 - 2 * np.cos(np.pi * np.arange(1, side + 1) / (side + 1))
    inverse = 1 / (first * waves[None, :] + second * waves[:, None]) / (2 * (side + 1)) ** 2
    return lambda r: dstn(inverse * dstn(r, type=1), type=1, overwrite_x=True)


def cosines(side: int) -> Callable:
    """The same with natural boundary values, on the complement of constants."""
    waves, weight = 2 - 2 * np.cos(np.pi * np.arange(side) / (side - 1)), np.full(side, 0.5)
    weight[[0, -1]] = 1.0  # the transform counts the ends once and the others twice
    size = (side - 1) * weight
    scale = waves[None, :] + waves[:, None]
    scale[0, 0] = np.inf
    inverse, weight = weight * weight[:, None] / (scale * size * size[:, None]), weight * weight[:, None]
    return lambda r: dctn(inverse * dctn(weight * r, type=1), type=1, overwrite_x=True)


def solve(matrix: csr_array, right: np.ndarray, inverse: Callable, tol: float, spread: float, order: np.ndarray | None = None):
    """Solutions for right-hand sides (n,) or (n, k), or None if a relative energy error of `tol` is not reached.

    With the preconditioner P, P/c ≤ A/mean ≤ cP for the contrast c = spread: rᵀP⁻¹r bounds the energy of the error, bᵀP⁻¹b that
    of the solution, for linear elements and a scalar conductivity. `order` are the unknowns of the grid, row by row.
    """
    side = math.isqrt(len(right))

    def precondition(r: np.ndarray) -> np.ndarray:
        if order is None:
            return inverse(r.reshape(side, side)).ravel()
        z = np.empty_like(r)
        z[order] = inverse(r[order].reshape(side, side)).ravel()
        return z

    columns = []
    for b in right.reshape(len(right), -1).T:
        x = np.zeros_like(b)
        r, z = b.copy(), precondition(b)
        p, rho = z, float(b @ z)
        target = tol**2 * rho / spread
        for _ in range(MOST):
            if rho <= target:
                break
            q = matrix @ p
            step = rho / float(p @ q)
            x += step * p
            r -= step * q
            z = precondition(r)
            before, rho = rho, float(r @ z)
            p = z + (rho / before) * p
        if not rho <= target:
            return None
        columns.append(x)
    return np.stack(columns, axis=1).reshape(right.shape)


def without_boundary(matrix: csr_array, right: np.ndarray, points: np.ndarray, tol: float) -> np.ndarray | None:
    """One solution (n,) with natural boundary values, on big uniform squares of moderate contrast; else None."""
    order = lattice(points, inner=False) if len(points) >= LEAST else None
    spread = math.inf if order is None else diagonal_contrast(matrix, order)
    return solve(matrix, right, cosines(math.isqrt(len(points))), tol, spread, order) if spread <= CONTRAST else None
