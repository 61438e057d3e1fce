r"""Spectral elements on the unit square: Q_p on n × n cells, for smooth coefficients.

Gauss-Lobatto nodes serve as quadrature, so that the mass is diagonal and the operator a few small matrix products a cell. The
system is solved by conjugate gradients with −Δ on the same nodes as preconditioner, which is inverted by *fast diagonalisation*
(Lynch, Rice and Thomas 1964): its eigenvectors are products of those of one axis. The number of iterations depends on the
contrast of K alone, not on n, p or a period.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.polynomial import legendre

from hybrid_lib.errors import InputError

MOST = 200
"""Iterations, at most."""


class SpectralField(NamedTuple):
    """A field of degree p on n × n cells of the unit square.

    Attributes
    ----------
    value : (n, n, p + 1, p + 1) float64
        At the nodes of each cell; the axes are cell along x₁, along x₂, node along x₁, along x₂.
    iterations : int
    """

    value: np.ndarray
    iterations: int

    def at_gauss(self, order: int, pieces: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Points (k, 2), weights (k,), values (k,) and gradients (k, 2): order² Gauss points in pieces² parts of every cell."""
        n, p = len(self.value), self.value.shape[-1] - 1
        nodes, _, derivative = lobatto(p)
        t, w = legendre.leggauss(order)
        t = ((np.arange(pieces)[:, None] + (t + 1) / 2) / pieces).ravel()
        w = np.tile(w / 2 / pieces, pieces)
        to = _interpolation(nodes, t)  # (order, p + 1)
        slope = to @ derivative * n
        value = to @ self.value @ to.T
        gradient = np.stack([slope @ self.value @ to.T, to @ self.value @ slope.T], axis=-1)
        x = (np.arange(n)[:, None] + t) / n  # (n, order)
        grid = np.broadcast_arrays(x[:, None, :, None], x[None, :, None, :])
        weights = np.broadcast_to(np.outer(w, w) / n**2, value.shape)
        return np.stack(grid, -1).reshape(-1, 2), weights.reshape(-1), value.reshape(-1), gradient.reshape(-1, 2)


def solve_spectral(
    conductivity: Callable[[np.ndarray], np.ndarray],
    source: Callable[[np.ndarray], np.ndarray],
    direction: tuple[float, float],
    cells: int,
    degree: int = 8,
    tolerance: float = 1e-11,
) -> SpectralField:
    """−∇·(K∇(u + e·x)) = q, u = 0 on the boundary of the unit square, for a smooth scalar K.

    Parameters
    ----------
    conductivity, source : callable (k, 2) -> (k,)
        K and q.
    direction : two floats
        *e*.
    cells : int
        n, cells a side: one for each period, or several.
    degree : int
        *p*. The error falls exponentially with p where K is analytic in every cell.
    tolerance : float
        Relative, of the preconditioned residual.

    Returns
    -------
    SpectralField

    Raises
    ------
    InputError
        For a tensor, or when 200 iterations do not suffice.

    Examples
    --------
    >>> sine = lambda x: 2 * np.pi**2 * np.sin(np.pi * x[:, 0]) * np.sin(np.pi * x[:, 1])
    >>> field = solve_spectral(lambda x: 1 + 0 * x[:, 0], sine, (0.0, 0.0), 2, 10)
    >>> x, w, u, _ = field.at_gauss(6)
    >>> bool(np.abs(u - np.sin(np.pi * x[:, 0]) * np.sin(np.pi * x[:, 1])).max() < 1e-10)
    True
    """
    n, p = int(cells), int(degree)
    nodes, w, slopes = lobatto(p)
    last = n * p
    at = np.arange(n)[:, None] * p + np.arange(p + 1)  # (n, p + 1), nodes of each cell on one axis
    x = (np.arange(n)[:, None] + nodes) / n
    shape = (n, n, p + 1, p + 1)
    points = np.stack(np.broadcast_arrays(x[:, None, :, None], x[None, :, None, :]), -1).reshape(-1, 2)
    K = np.asarray(conductivity(points), float)
    if K.shape != (len(points),):
        raise InputError("conductivity", "a scalar medium", f"shape {K.shape}", "solve tensors with solve_dirichlet")
    weights = np.outer(w, w)
    K = K.reshape(shape)
    weighted = K * weights
    load = np.asarray(source(points), float).reshape(shape) * weights / n**2
    load -= (direction[0] * (slopes.T @ weighted) + direction[1] * (weighted @ slopes)) / n

    def gather(u: np.ndarray) -> np.ndarray:
        return u[at][:, :, at].transpose(0, 2, 1, 3)

    def scatter(parts: np.ndarray) -> np.ndarray:
        parts = parts.transpose(0, 2, 1, 3)  # (n, p + 1, n, p + 1)
        rows = np.zeros((n, p + 1, last + 1))
        rows[:, :, :last] = parts[..., :p].reshape(n, p + 1, last)
        rows[:, :, p::p] += parts[..., p]
        out = np.zeros((last + 1, last + 1))
        out[:last] = rows[:, :p].reshape(last, last + 1)
        out[p::p] += rows[:, p]
        out[[0, -1]] = 0.0
        out[:, [0, -1]] = 0.0
        return out

    def apply(u: np.ndarray) -> np.ndarray:
        inside = gather(u)
        return scatter(slopes.T @ (weighted * (slopes @ inside)) + (weighted * (inside @ slopes.T)) @ slopes)

    invert = _poisson(n, p, w, slopes)
    u, r = np.zeros((last + 1, last + 1)), scatter(load)
    z = invert(r)
    d, size = z.copy(), np.vdot(r, z)
    first = size
    for count in range(MOST):
        if size <= tolerance**2 * first:
            return SpectralField(gather(u), count)
        image = apply(d)
        step = size / np.vdot(d, image)
        u += step * d
        r -= step * image
        z = invert(r)
        new = np.vdot(r, z)
        d = z + new / size * d
        size = new
    raise InputError("conductivity", f"a contrast that {MOST} iterations can bear", "more", "solve with solve_dirichlet")


def _poisson(n: int, p: int, w: np.ndarray, slopes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The inverse of −Δ with zero boundary values, by the eigenvectors of one axis."""
    last = n * p
    stiff, mass = np.zeros((last + 1, last + 1)), np.zeros(last + 1)
    cell = slopes.T @ (w[:, None] * slopes) * n
    for k in range(n):
        own = slice(k * p, k * p + p + 1)
        stiff[own, own] += cell
        mass[own] += w / n
    root = np.sqrt(mass[1:-1])
    values, vectors = scipy.linalg.eigh(stiff[1:-1, 1:-1] / root[:, None] / root)
    vectors /= root[:, None]
    sums = values[:, None] + values

    def invert(r: np.ndarray) -> np.ndarray:
        out = np.zeros_like(r)
        out[1:-1, 1:-1] = vectors @ ((vectors.T @ r[1:-1, 1:-1] @ vectors) / sums) @ vectors.T
        return out

    return invert


def lobatto(degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Lobatto nodes and weights of (0, 1), and the matrix of derivatives at the nodes, (p + 1, p + 1).

    Examples
    --------
    >>> lobatto(2)[1].round(6).tolist()  # Simpson's rule
    [0.166667, 0.666667, 0.166667]
    """
    p = degree
    unit = np.eye(p + 1)[p]
    x = np.concatenate([[-1.0], np.sort(legendre.legroots(legendre.legder(unit)).real), [1.0]])
    peak = legendre.legval(x, unit)
    weights = 2 / (p * (p + 1) * peak**2)
    with np.errstate(divide="ignore"):
        slopes = peak[:, None] / peak / (x[:, None] - x)
    np.fill_diagonal(slopes, 0.0)
    slopes[0, 0], slopes[p, p] = -p * (p + 1) / 4, p * (p + 1) / 4
    return (x + 1) / 2, weights / 2, 2 * slopes


def _interpolation(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values at `at` of the polynomials that are one at a node and zero at the others; (len(at), len(nodes))."""
    return np.stack(
        [np.prod([(at - b) / (a - b) for j, b in enumerate(nodes) if j != i], axis=0) for i, a in enumerate(nodes)], axis=1
    )
