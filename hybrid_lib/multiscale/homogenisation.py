r"""Homogenised tensors of periodic media, to check :math:`\hat K[u]` against: cell problems and closed forms.

.. math:: \int_Y K (e_j + \nabla\chi_j)\cdot\nabla v = 0 \ \text{ for all periodic } v, \qquad
          K^*_{ij} = \int_Y e_i\cdot K (e_j + \nabla\chi_j)

The library's hybrid method never uses :math:`K^*`: it computes :math:`\hat K[u]` from the network, section
4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array


@dataclass(frozen=True, eq=False)
class CellSolution:
    """Solution of the cell problems on the unit cell.

    Attributes
    ----------
    mesh : fem.Mesh
        Mesh of the unit cell.
    correctors : (d, N)
        Nodal values of the periodic correctors, mean zero; N nodes.
    tensor : (d, d)
        Homogenised tensor, symmetric.
    """

    mesh: fem.Mesh
    correctors: np.ndarray
    tensor: np.ndarray


def cell_problem(
    conductivity: Callable, dimension: int, n: int, period: float = 1.0, order: int = 4
) -> CellSolution:
    """Solve the d cell problems with periodic P1 elements on n cells a side.

    Parameters
    ----------
    conductivity : callable
        K of one point ``x (d,)``, scalar or (d, d), a JAX function with the given period along all axes.
    dimension : int
        d, 1 or 2.
    n : int
        Cells along an axis, at least 2.
    period : float
        Side of the period cell; it is scaled to the unit cell.
    order : int
        Quadrature order for K on a cell.

    Returns
    -------
    CellSolution
        The tensor is an upper bound of the exact one for exact quadrature, with error O(1/n^2). Host code,
        float64, O(n^(1.5 d)).

    Raises
    ------
    InputError
        For another dimension, n < 2 or a period that is not positive.

    Examples
    --------
    >>> cell_problem(lambda x: 3.0 + 0.0 * x[0], 2, 2).tensor.round(6).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """
    if dimension not in (1, 2):
        raise InputError("dimension", "1 or 2", dimension, "pass the number of axes of the medium")
    if not (isinstance(n, (int, np.integer)) and n >= 2):
        raise InputError("n", "an integer >= 2", n, "pass the number of cells along an axis")
    if period is None or not (np.isfinite(period) and period > 0):
        raise InputError("period", "a number > 0", period, "pass the period of the medium")
    mesh = fem.interval(n) if dimension == 1 else fem.unit_square(n)
    K = fem.cell_coefficient(mesh, _scaled(conductivity, period), order=order)  # (m, d, d)

    fold = _periodic(mesh, n)  # (N, n^d): periodic unknowns to nodes
    unit = np.eye(dimension)
    drops = np.stack([fem.flux_load(mesh, K, e) for e in unit], axis=1)  # (N, d)
    matrix, rhs = fold.T @ fem.stiffness(mesh, K) @ fold, -(fold.T @ drops)
    free = sp.csc_array(matrix)[1:, 1:]  # one unknown is fixed: constants are in the kernel
    chi = np.zeros((fold.shape[1], dimension))
    chi[1:] = splu(sp.csc_array(free)).solve(rhs[1:])
    chi = fold @ chi  # (N, d)
    chi = chi - fem.load(mesh, 1.0) @ chi
    mean = np.einsum("m,mij->ij", mesh.volumes, K)
    tensor = mean + drops.T @ chi  # drops_i . chi_j = integral of K e_i . grad(chi_j)
    return CellSolution(mesh, chi.T, (tensor + tensor.T) / 2)


def homogenised_tensor(
    conductivity: Callable,
    dimension: int,
    n: int,
    period: float = 1.0,
    order: int = 4,
    richardson: bool = True,
) -> np.ndarray:
    """Homogenised tensor K* of a periodic medium.

    Parameters
    ----------
    conductivity, dimension, n, period, order
        As in :func:`cell_problem`.
    richardson : bool
        Extrapolate from n and 2n cells, (4 K_2n - K_n) / 3: error O(1/n^4) for a smooth medium.

    Returns
    -------
    (d, d) float64 array
        Host code.

    Raises
    ------
    InputError
        As :func:`cell_problem`.

    Examples
    --------
    >>> K = homogenised_tensor(lambda x: 2 + jnp.sin(2 * jnp.pi * x[0]), 1, 64)
    >>> round(float(K[0, 0]), 5)  # the square root of 3
    1.73205
    """
    coarse = cell_problem(conductivity, dimension, n, period, order).tensor if richardson else 0.0
    fine = cell_problem(conductivity, dimension, 2 * n if richardson else n, period, order).tensor
    return (4 * fine - coarse) / 3 if richardson else fine


def harmonic_mean(conductivity: Callable, n: int = 256, period: float = 1.0) -> float:
    r"""Homogenised conductivity in one dimension, :math:`K^* = (\int_0^1 1/K)^{-1}`.

    Parameters
    ----------
    conductivity : callable
        Scalar K of one point ``x (1,)``.
    n : int
        Quadrature points; the error falls faster than any power of 1/n for a smooth periodic K. Pixels and sharp layers need
        none, they are exact.
    period : float
        Period of K.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If K is not positive and finite.

    Examples
    --------
    >>> round(harmonic_mean(lambda x: 2 + jnp.sin(2 * jnp.pi * x[0])), 5)
    1.73205
    """
    if hasattr(conductivity, "pixels"):
        return float(1 / conductivity.pixels.reciprocal().cell_means(np.array([[[0.0], [period]]]))[0])
    points = period * (np.arange(n)[:, None] + 0.5) / n
    values = np.asarray(jax.vmap(conductivity)(jnp.asarray(points)), float)
    if values.shape != (n,) or not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(
            "conductivity",
            "a positive number at each point",
            f"shape {values.shape}, min {values.min():.3g}",
            "pass a scalar function of x (1,)",
        )
    return float(1 / np.mean(1 / values))


def layered_tensor(
    values: np.ndarray, fractions: np.ndarray | None = None, direction: int = 0, dimension: int = 2
) -> np.ndarray:
    r"""Homogenised tensor of layers: the harmonic mean across them, the arithmetic mean along them.

    Parameters
    ----------
    values : (L,)
        Conductivity of each layer.
    fractions : (L,), optional
        Share of each layer; default equal.
    direction : int
        Axis across the layers.
    dimension : int
        d.

    Returns
    -------
    (d, d) float64 array
        Diagonal.

    Raises
    ------
    InputError
        For values that are not positive, or fractions that do not sum to 1.

    Examples
    --------
    >>> layered_tensor([1.0, 3.0]).tolist()
    [[1.5, 0.0], [0.0, 2.0]]
    """
    values = real_array("values", values)
    if values.ndim != 1 or len(values) == 0 or not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(
            "values", "positive conductivities, shape (L,)", values.tolist(), "pass one number a layer"
        )
    fractions = np.full(len(values), 1 / len(values)) if fractions is None else real_array("fractions", fractions)
    if fractions.shape != values.shape or np.any(fractions < 0) or not np.isclose(fractions.sum(), 1):
        raise InputError(
            "fractions", f"{len(values)} shares that sum to 1", fractions.tolist(), "divide them by their sum"
        )
    if direction not in range(dimension):
        raise InputError(
            "direction", f"an axis below {dimension}", direction, "pass the axis across the layers"
        )
    diagonal = np.full(dimension, fractions @ values)
    diagonal[direction] = 1 / (fractions @ (1 / values))
    return np.diag(diagonal)


def _scaled(conductivity: Callable, period: float) -> Callable:
    """y -> K(period·y), with the exact means over cells that pixels have."""

    def scaled(y):
        return conductivity(period * y)

    if hasattr(conductivity, "cell_means"):
        scaled.cell_means = lambda corners: conductivity.cell_means(period * corners)
    return scaled


def _periodic(mesh: fem.Mesh, n: int) -> sp.csr_array:
    """Matrix (N, n^d) that copies the unknowns of the periodic functions to all nodes of the unit cell."""
    index = np.rint(mesh.points * n).astype(int) % n  # (N, d): opposite sides have one number
    unknown = np.ravel_multi_index(tuple(index.T), (n,) * mesh.dimension)
    return sp.csr_array((np.ones(len(unknown)), (np.arange(len(unknown)), unknown)))
