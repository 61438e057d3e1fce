"""Norms and errors of piecewise linear functions, as integrals of squares.

An error integrates (u_h - u)² at quadrature points. It is never expanded into ‖u_h‖² - 2 (u_h, u) + ‖u‖²,
whose terms cancel: below 1e-8 ‖u‖ only rounding would be left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.fem.assembly import cell_gradients
from hybrid_lib.fem.coefficients import coefficient_values
from hybrid_lib.fem.location import nodal_array
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import field_values, rule


def l2_norm(mesh: Mesh, nodal: np.ndarray, order: int = 2) -> float:
    """Norm `‖u_h‖ = (∫ u_h²)^½` of u_h = Σ_i nodal_i φ_i, exact from order 2 on.

    Parameters
    ----------
    mesh : Mesh
    nodal : (n,) array
    order : int
        Quadrature order.

    Raises
    ------
    InputError
        If nodal is not one value a node.

    Notes
    -----
    Cost O(m q).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> mesh = unit_square(3)
    >>> round(l2_norm(mesh, mesh.points[:, 0]) ** 2, 12)  # ∫ x²
    0.333333333333
    """
    return _root_of_integral(mesh, _values(mesh, nodal, order) ** 2, order)


def h1_seminorm(mesh: Mesh, nodal: np.ndarray) -> float:
    """Seminorm `|u_h| = (∫ |∇u_h|²)^½`, exact as the gradient is constant on each cell.

    Parameters
    ----------
    mesh : Mesh
    nodal : (n,) array

    Raises
    ------
    InputError
        If nodal is not one value a node.

    Notes
    -----
    Cost O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> mesh = unit_square(3)
    >>> round(h1_seminorm(mesh, 3 * mesh.points[:, 0] + 4 * mesh.points[:, 1]), 12)
    5.0
    """
    gradients = _gradients(mesh, nodal)  # (m, 1, d)
    return _root_of_integral(mesh, (gradients**2).sum(axis=-1), order=0)


def flux_norm(mesh: Mesh, K: Any, nodal: np.ndarray, order: int = 2) -> float:
    """Norm `(∫ |K∇u_h|²)^½` of the flux, with K at quadrature points.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    nodal : (n,) array
    order : int
        Quadrature order for a callable K.

    Raises
    ------
    InputError
        If nodal is not one value a node, or K cannot be used.

    Notes
    -----
    Cost O(m q).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> flux_norm(interval(2), 3.0, [0.0, 0.5, 1.0])
    3.0
    """
    return _root_of_integral(mesh, (_flux(mesh, K, nodal, order) ** 2).sum(axis=-1), order)


def l2_error(mesh: Mesh, nodal: np.ndarray, exact: float | np.ndarray | Callable, order: int = 4) -> float:
    """Error `(∫ (u_h - u)²)^½` by integration, not by nodal values (which are smaller).

    Parameters
    ----------
    mesh : Mesh
    nodal : (n,) array
    exact : callable x (d,) -> scalar, or array (m, q) at the points of :func:`.quadrature_points`
        The array serves references that are not functions of one point, for instance
        ``interpolate(fine, reference, points.reshape(-1, d))``.
    order : int
        Quadrature order, default 4; higher if u varies within a cell.

    Raises
    ------
    InputError
        If nodal is not one value a node, or exact has another shape or is not finite.

    Notes
    -----
    Cost O(m q).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> round(l2_error(interval(1), [0.0, 0.0], lambda x: x[0]) ** 2, 12)
    0.333333333333
    """
    difference = _values(mesh, nodal, order) - field_values(mesh, exact, order, name="exact")
    return _root_of_integral(mesh, difference**2, order)


def h1_error(mesh: Mesh, nodal: np.ndarray, exact_gradient: np.ndarray | Callable, order: int = 4) -> float:
    """Error `(∫ |∇u_h - ∇u|²)^½` in the H1 seminorm.

    Parameters
    ----------
    mesh : Mesh
    nodal : (n,) array
    exact_gradient : callable x (d,) -> (d,), or array (m, d) or (m, q, d)
    order : int
        Quadrature order.

    Raises
    ------
    InputError
        If nodal is not one value a node, or exact_gradient has another shape or is not finite.

    Notes
    -----
    Cost O(m q).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> round(h1_error(interval(1), [0.0, 1.0], lambda x: 2 * x) ** 2, 12)  # ∫ (1 - 2x)²
    0.333333333333
    """
    exact = field_values(mesh, exact_gradient, order, (mesh.dimension,), name="exact_gradient")
    return _root_of_integral(mesh, ((_gradients(mesh, nodal) - exact) ** 2).sum(axis=-1), order)


def flux_error(
    mesh: Mesh, K: Any, nodal: np.ndarray, exact_flux: np.ndarray | Callable, order: int = 4
) -> float:
    """Error `(∫ |K∇u_h - σ|²)^½` of the flux against σ = exact_flux (= K∇u, without a minus sign).

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    nodal : (n,) array
    exact_flux : callable x (d,) -> (d,), or array (d,), (m, d) or (m, q, d)
    order : int
        Quadrature order.

    Raises
    ------
    InputError
        If nodal is not one value a node, or K or exact_flux cannot be used.

    Notes
    -----
    Cost O(m q).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> flux_error(interval(2), 3.0, [0.0, 0.5, 1.0], [1.0])
    2.0
    """
    exact = field_values(mesh, exact_flux, order, (mesh.dimension,), name="exact_flux")
    return _root_of_integral(mesh, ((_flux(mesh, K, nodal, order) - exact) ** 2).sum(axis=-1), order)


def _vector(mesh: Mesh, nodal: np.ndarray) -> np.ndarray:
    nodal = nodal_array(mesh, nodal)
    if nodal.ndim != 1:
        raise InputError("nodal", "one value a node", f"shape {nodal.shape}", "pass one function at a time")
    return nodal


def _values(mesh: Mesh, nodal: np.ndarray, order: int) -> np.ndarray:
    """u_h at the quadrature points, (m, q)."""
    return _vector(mesh, nodal)[mesh.cells] @ rule(mesh.dimension, order)[0].T


def _gradients(mesh: Mesh, nodal: np.ndarray) -> np.ndarray:
    """∇u_h on each cell, (m, 1, d)."""
    return cell_gradients(mesh, _vector(mesh, nodal))[:, None]


def _flux(mesh: Mesh, K: Any, nodal: np.ndarray, order: int) -> np.ndarray:
    """K∇u_h at the quadrature points, (m, q or 1, d)."""
    values, gradients = coefficient_values(mesh, K, order), _gradients(mesh, nodal)
    if values.ndim == 2:
        return values[..., None] * gradients
    return np.einsum("...ab,...b->...a", values, gradients)


def _root_of_integral(mesh: Mesh, squares: np.ndarray, order: int) -> float:
    """(Σ_c |T_c| Σ_q w_q squares_cq)^½ for squares (m, q or 1)."""
    weights = rule(mesh.dimension, order)[1]
    means = squares @ weights if squares.shape[1] > 1 else squares[:, 0]
    return float(np.sqrt(mesh.volumes @ means))
