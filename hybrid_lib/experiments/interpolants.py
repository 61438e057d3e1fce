"""Fields through values at the Gauss points of equal cells, or at the nodes of a uniform grid: what a reference evaluates."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_lib.pinn.domains import interval, unit_square
from hybrid_lib.pinn.within import points_in


def gauss(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss nodes and weights on (0, 1), and the matrix A_kj = ∫₀^{x_k} ℓ_j of the collocated integral."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    nodes, weights = (nodes + 1) / 2, weights / 2
    vandermonde = nodes[:, None] ** np.arange(order)  # (p, p)
    integrals = nodes[:, None] ** np.arange(1, order + 1) / np.arange(1, order + 1)
    return nodes, weights, np.linalg.solve(vandermonde.T, integrals.T).T


def spline_through(grid: np.ndarray):
    """Quintic spline through nodal values on a uniform grid of the unit square."""
    from scipy.interpolate import RectBivariateSpline  # here, since it is slow to import

    axis = np.linspace(0, 1, len(grid))
    return RectBivariateSpline(axis, axis, grid, kx=5, ky=5)


class Pieces:
    """u and u' on the interval from both at Gauss points of equal cells: the polynomial through u' and its integral."""

    def __init__(self, value: np.ndarray, slope: np.ndarray):
        nodes, _, matrix = gauss(slope.shape[1])
        self.powers = np.linalg.solve(nodes[:, None] ** np.arange(len(nodes)), slope.T)  # (p, cells)
        self.start = (value - slope @ matrix.T / len(slope)).mean(axis=1)

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (k,) and gradients (k, 1) at points (k, 1)."""
        points = points_in(interval(), points)
        cells = len(self.start)
        cell = np.clip((points[:, 0] * cells).astype(int), 0, cells - 1)
        s, c, k = points[:, 0] * cells - cell, self.powers[:, cell], np.arange(len(self.powers))[:, None]
        slope = np.sum(c * s**k, axis=0)
        return self.start[cell] + np.sum(c * s ** (k + 1) / (k + 1), axis=0) / cells, slope[:, None]


class Surface:
    """u and ∇u at points of the square from a spline."""

    def __init__(self, spline: Any):
        self.spline = spline

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (k,) and gradients (k, 2) at points (k, 2)."""
        x, y = points_in(unit_square(), points).T
        return self.spline.ev(x, y), np.stack([self.spline.ev(x, y, dx=1), self.spline.ev(x, y, dy=1)], axis=1)
