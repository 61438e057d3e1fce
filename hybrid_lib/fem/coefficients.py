"""Conductivity for assembly: values at quadrature points or means over cells, checked to be elliptic."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import evaluate, quadrature_points, rule


def direction_of(mesh: Mesh, direction: Any) -> np.ndarray:
    """e (d,) of a linear drop, zero for None; a vector of another shape is refused."""
    e = np.zeros(mesh.dimension) if direction is None else real_array("direction", direction)
    if e.shape != (mesh.dimension,):
        expected = f"a vector of shape ({mesh.dimension},)"
        raise InputError("direction", expected, f"shape {e.shape}", "pass one component an axis")
    return e


def cell_coefficient(mesh: Mesh, K: Any, order: int = 2) -> np.ndarray:
    """Mean of a conductivity over each cell, `K_T = 1/|T| ∫_T K`, checked to be elliptic.

    Parameters
    ----------
    mesh : Mesh
    K : float, (d, d), (m,), (m, d, d) array, or callable x (d,) -> scalar or (d, d)
        Constant, one value a cell, or a function of one point (see
        :func:`hybrid_lib.fem.quadrature.evaluate`).
    order : int
        Quadrature order for a callable, default 2.

    Returns
    -------
    (m, d, d) float64

    Raises
    ------
    InputError
        If the shape is none of these, or K is not symmetric positive definite at a point, naming the cell.

    Notes
    -----
    Cost O(m q). Paper: ellipticity (4.2). A callable with an attribute ``cell_means``, corners (m, d + 1, d) -> (m,) or
    (m, d, d), is asked for its means and not for values at points: media of pixels have exact ones on every mesh.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> cell_coefficient(interval(2), lambda x: 1.0 + x[0]).ravel().round(12).tolist()
    [1.25, 1.75]
    """
    if hasattr(K, "cell_means"):
        K = K.cell_means(mesh.points[mesh.cells])
    values = coefficient_values(mesh, K, order)  # (m, q) or (m, q, d, d), q may be 1
    m, d = len(mesh.cells), mesh.dimension
    if values.shape[1] > 1:
        values = np.tensordot(values, rule(d, order)[1], axes=(1, 0))  # (m,) or (m, d, d)
    else:
        values = values[:, 0]
    if values.ndim == 1:
        values = values[:, None, None] * np.eye(d)
    return np.ascontiguousarray(np.broadcast_to(values, (m, d, d)))


def coefficient_values(mesh: Mesh, K: Any, order: int = 2) -> np.ndarray:
    """Values of a conductivity at the quadrature points: (m or 1, q or 1), with (d, d) after it for tensors.

    Accepts and checks what :func:`cell_coefficient` does.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> coefficient_values(interval(2), 3.0).tolist()
    [[3.0]]
    """
    d, m = mesh.dimension, len(mesh.cells)
    if callable(K):
        values = evaluate(K, quadrature_points(mesh, order)[0])  # (m, q, ...)
        expected = values.shape[2:] in ((), (d, d))
        shown = f"values of shape {values.shape[2:]}"
    else:
        try:
            values = real_array("K", K)
        except InputError:
            if isinstance(K, np.ndarray):
                raise
            remedy = "pass one of these; of a Medium its conductivity"
            raise InputError("K", "a number, an array or a function of x", type(K).__name__, remedy) from None
        expected = values.shape in ((), (d, d), (m,), (m, d, d))
        shown = f"shape {values.shape}"
        per_cell = values.ndim in (1, 3)
        values = values[:, None] if per_cell else values[None, None]
    if not expected:
        raise InputError(
            "K", f"a number or a ({d}, {d}) tensor, one for all or for each of {m} cells, or a function of x",
            shown, "pass one of these",
        )  # fmt: skip
    check_elliptic(values, "correct the function" if callable(K) else "correct the coefficient")
    return values


def check_elliptic(values: np.ndarray, remedy: str) -> None:
    """Symmetric to rounding and positive definite at every point of (cells, points[, d, d]) values."""
    if values.ndim == 4 and values.shape[-1] == 2:
        skew = np.abs(values[..., 0, 1] - values[..., 1, 0])
        bad = np.argwhere(~(skew <= 1e-6 * np.abs(values).max(axis=(-2, -1))))
        if bad.size:
            raise InputError(
                f"K in cell {bad[0, 0]}", "a finite symmetric tensor", values[tuple(bad[0])].tolist(),
                "correct it, or pass the symmetric part (K + K.T) / 2",
            )  # fmt: skip
        mean = 0.5 * (values[..., 0, 0] + values[..., 1, 1])
        half = 0.5 * (values[..., 0, 0] - values[..., 1, 1])
        smallest = mean - np.hypot(half, 0.5 * (values[..., 0, 1] + values[..., 1, 0]))  # eigenvalue
        smallest = np.where(smallest <= 4 * np.finfo(float).eps * mean, np.minimum(smallest, 0.0), smallest)  # 0 to rounding
    else:
        smallest = values.reshape(values.shape[:2])
    if smallest.min() > 0 and smallest.max() < np.inf:  # nan fails both
        return
    bad = np.argwhere(~((smallest > 0) & (smallest < np.inf)))[0]
    kind = "value" if values.ndim == 2 else "tensor"
    raise InputError(
        f"K in cell {bad[0]}", f"a finite positive definite {kind}", values[tuple(bad)].tolist(), remedy
    )
