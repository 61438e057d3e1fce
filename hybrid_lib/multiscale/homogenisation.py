r"""Homogenised tensors of periodic media, to check :math:`\hat K[u]` against: cell problems and closed forms.

.. math:: \int_Y K (e_j + \nabla\chi_j)\cdot\nabla v = 0 \ \text{ for all periodic } v, \qquad
          K^*_{ij} = \int_Y e_i\cdot K (e_j + \nabla\chi_j)

Elements for χ give an upper bound of K*, elements for a flux without divergence a lower one (:func:`homogenised_bounds`).
The library's hybrid method never uses :math:`K^*`: it computes :math:`\hat K[u]` from the network, section
4.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array, require_one_argument, require_real, whole
from hybrid_lib.fem.solve import factorised
from hybrid_lib.multiscale._unit_cell import (
    MOST_ERROR,
    check_period,
    scaled_to_cell,
    unit_cell,
    warn_of_unseen,
)

PROBES = {1: 1 << 14, 2: 1 << 17}
"""Points, at least, of the rule for the means of K in :func:`homogenised_bounds`, by dimension."""


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
    conductivity: Callable, dimension: int, n: int, period: float = 1.0, order: int = 4, *, sample: bool = False
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
    sample : bool
        The cell is a sample of a medium, repeated whatever K is outside of it; else K has to have the period.

    Returns
    -------
    CellSolution
        The tensor is an upper bound of the exact one for exact quadrature, with error O(1/n^2). Host code,
        float64, O(n^(1.5 d)).

    Raises
    ------
    InputError
        For another dimension, n < 2, a period that is not positive, or one that K does not have.

    Examples
    --------
    >>> cell_problem(lambda x: 3.0 + 0.0 * x[0], 2, 2).tensor.round(6).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """
    mesh, scaled = unit_cell(conductivity, dimension, n, period, sample)
    return _solved(mesh, fem.cell_coefficient(mesh, scaled, order=order), n)


class TensorBounds(NamedTuple):
    """Two tensors between which the homogenised one lies, as quadratic forms.

    Attributes
    ----------
    lower, upper : (d, d)
        e·lower e ≤ e·K* e ≤ e·upper e for every e.
    tensor : (d, d)
        Their geometric mean; exact where K and its dual are alike, as on a checkerboard.
    error : float
        Largest relative error of e·tensor e that the bounds leave.
    """

    lower: np.ndarray
    upper: np.ndarray
    tensor: np.ndarray
    error: float


def homogenised_bounds(
    conductivity: Callable, dimension: int, n: int, period: float = 1.0, *, sample: bool = False
) -> TensorBounds:
    r"""Bounds of the homogenised tensor from both sides, by linear elements for the field and for the flux.

    .. math:: e\cdot K^* e = \min_\chi \int_Y K(e + \nabla\chi)\cdot(e + \nabla\chi), \qquad
              e\cdot (K^*)^{-1} e = \min_{\nabla\cdot\tau = 0} \int_Y K^{-1}(e + \tau)\cdot(e + \tau),

    over periodic fields, and fluxes of mean zero. In the plane τ is a turned gradient, so that the second is a cell problem with
    the turned K⁻¹; in one dimension it is zero, and the lower bound the harmonic mean.

    Parameters
    ----------
    conductivity, dimension, n, period, sample
        As in :func:`cell_problem`.

    Returns
    -------
    TensorBounds
        Guaranteed where K is constant on cells, and for media of pixels on any mesh; else up to the quadrature of K and K⁻¹,
        131,072 points in the plane.

    Raises
    ------
    InputError
        As :func:`cell_problem`.

    Examples
    --------
    >>> board = lambda x: jnp.where((x[0] % 1 < 0.5) == (x[1] % 1 < 0.5), 1.0, 100.0)  # K* = 10
    >>> found = homogenised_bounds(board, 2, 16)
    >>> found.tensor.round(6).tolist(), bool(found.lower[0, 0] < 10 < found.upper[0, 0])
    ([[10.0, 0.0], [0.0, 10.0]], True)
    """
    mesh, scaled = unit_cell(conductivity, dimension, n, period, sample)
    pieces = int(np.ceil((PROBES[dimension] / len(mesh.cells) / len(fem.rule(dimension, 2)[1])) ** (1 / dimension)))
    barycentric, weights = fem.composite_rule(dimension, max(1, pieces), 2)
    values = fem.evaluate(scaled, barycentric @ mesh.points[mesh.cells])  # (m, Q) or (m, Q, d, d)
    inverse = np.linalg.inv(values) if values.ndim == 4 else 1 / values
    K, inverse = (np.tensordot(v, weights, axes=(1, 0)) for v in (values, inverse))
    if hasattr(scaled, "inverse_means"):
        K, inverse = (means(mesh.points[mesh.cells]) for means in (scaled.cell_means, scaled.inverse_means))
    return _enclosed(_solved(mesh, fem.cell_coefficient(mesh, K), n).tensor, _dual(mesh, inverse, n))


def homogenised_tensor(
    conductivity: Callable,
    dimension: int,
    n: int,
    period: float = 1.0,
    order: int = 4,
    richardson: bool = True,
    *,
    sample: bool = False,
) -> np.ndarray:
    """Homogenised tensor K* of a periodic medium; warns where the bounds of the finer mesh leave an error above 5 per cent.

    Parameters
    ----------
    conductivity, dimension, n, period, order, sample
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
    coarse = cell_problem(conductivity, dimension, n, period, order, sample=sample).tensor if richardson else 0.0
    n = 2 * n if richardson else n
    mesh, scaled = unit_cell(conductivity, dimension, n, period, True)
    fine = _solved(mesh, fem.cell_coefficient(mesh, scaled, order=order), n).tensor
    if hasattr(scaled, "inverse_means"):
        inverse = scaled.inverse_means(mesh.points[mesh.cells])
    else:
        points, weights = fem.quadrature_points(mesh, order)
        values = fem.evaluate(scaled, points)
        inverse = np.linalg.inv(values) if values.ndim == 4 else 1 / values
        warn_of_unseen("homogenised_tensor", scaled, dimension, [np.einsum("mq,mq...", weights, v) for v in (values, inverse)])
        inverse = np.einsum("mq,mq...->m...", weights / mesh.volumes[:, None], inverse)
    sides = _enclosed(fine, _dual(mesh, inverse, n))
    if sides.error > MOST_ERROR:
        low, high = np.linalg.eigvalsh(sides.lower)[0], np.linalg.eigvalsh(sides.upper)[-1]
        warnings.warn(
            f"homogenised_tensor: {n} cells a side leave eigenvalues between {low:.4g} and {high:.4g}, a relative error of up to "
            f"{sides.error:.1g}; take more cells, or homogenised_bounds",
            stacklevel=2,
        )
    return (4 * fine - coarse) / 3 if richardson else fine


def harmonic_mean(conductivity: Callable, n: int = 256, period: float = 1.0, *, sample: bool = False) -> float:
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
    sample : bool
        As in :func:`cell_problem`.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If K is not positive and finite, or has another period.

    Warns
    -----
    UserWarning
        Where n points do not see what more points do.

    Examples
    --------
    >>> round(harmonic_mean(lambda x: 2 + jnp.sin(2 * jnp.pi * x[0])), 5)
    1.73205
    """
    conductivity = getattr(conductivity, "conductivity", conductivity)  # of a medium
    require_one_argument("conductivity", conductivity)
    whole("n", n, 2, "pass the number of quadrature points")
    if hasattr(conductivity, "pixels"):
        if not sample:
            check_period(scaled_to_cell(conductivity, period), 1, period)
        return float(1 / conductivity.pixels.reciprocal().cell_means(np.array([[[0.0], [period]]]))[0])
    points = period * (np.arange(n)[:, None] + 0.5) / n
    values = np.asarray(require_real("conductivity", jax.vmap(conductivity)(jnp.asarray(points))), float)
    if values.shape != (n,) or not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(
            "conductivity",
            "a positive number at each point",
            f"shape {values.shape}, min {values.min():.3g}",
            "pass a scalar function of x (1,)",
        )
    scaled = scaled_to_cell(conductivity, period)
    if not sample:
        check_period(scaled, 1, period)
    warn_of_unseen("harmonic_mean", scaled, 1, [np.mean(values), np.mean(1 / values)])
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
        *d*.

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


def _solved(mesh: fem.Mesh, K: np.ndarray, n: int) -> CellSolution:
    """Solution of the cell problems with the means K (m, d, d) over the cells."""
    fold, dimension = _periodic(mesh, n), mesh.dimension  # (N, n^d): periodic unknowns to nodes
    unit = np.eye(dimension)
    drops = np.stack([fem.flux_load(mesh, K, e) for e in unit], axis=1)  # (N, d)
    matrix, rhs = fold.T @ fem.stiffness(mesh, K) @ fold, -(fold.T @ drops)
    free = sp.csc_array(matrix)[1:, 1:]  # one unknown is fixed: constants are in the kernel
    chi = np.zeros((fold.shape[1], dimension))
    chi[1:] = factorised(free)(rhs[1:])
    chi = fold @ chi  # (N, d)
    chi = chi - fem.load(mesh, 1.0) @ chi
    mean = np.einsum("m,mij->ij", mesh.volumes, K)
    tensor = mean + drops.T @ chi  # drops_i . chi_j = integral of K e_i . grad(chi_j)
    return CellSolution(mesh, chi.T, (tensor + tensor.T) / 2)


def _dual(mesh: fem.Mesh, inverse: np.ndarray, n: int) -> np.ndarray:
    """Lower bound of K* from the means of K⁻¹ over the cells, (m,) or (m, d, d)."""
    inverse = fem.cell_coefficient(mesh, inverse)
    if mesh.dimension == 1:
        return 1 / np.einsum("m,mij->ij", mesh.volumes, inverse)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = np.ascontiguousarray(turn.T @ inverse @ turn)
    bound = np.linalg.inv(turn @ _solved(mesh, turned, n).tensor @ turn.T)
    return (bound + bound.T) / 2


def _enclosed(upper: np.ndarray, lower: np.ndarray) -> TensorBounds:
    """The geometric mean of two tensors, and how far K* between them can be from it."""
    values, vectors = np.linalg.eigh(upper)
    root, back = ((vectors * values**p) @ vectors.T for p in (0.5, -0.5))
    inner, axes = np.linalg.eigh(back @ lower @ back)
    inner = np.minimum(inner, 1.0)  # above it by rounding, or by the quadrature of K
    mean = root @ ((axes * np.sqrt(inner)) @ axes.T) @ root
    return TensorBounds(lower, upper, mean, float(1 / np.sqrt(inner.min()) - 1))


def _periodic(mesh: fem.Mesh, n: int) -> sp.csr_array:
    """Matrix (N, n^d) that copies the unknowns of the periodic functions to all nodes of the unit cell."""
    index = np.rint(mesh.points * n).astype(int) % n  # (N, d): opposite sides have one number
    unknown = np.ravel_multi_index(tuple(index.T), (n,) * mesh.dimension)
    return sp.csr_array((np.ones(len(unknown)), (np.arange(len(unknown)), unknown)))
