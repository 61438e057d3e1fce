"""Quadrature on simplices, and the evaluation of fields of one point at many points.

Rules are barycentric, so one rule serves every cell: `∫_T f ≈ |T| Σ_q w_q f(x_q)`, with positive weights that
sum to one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import roots_jacobi

from hybrid_lib.captured import fresh, traced
from hybrid_lib.errors import InputError, real_array, require_coordinates, require_one_argument, whole
from hybrid_lib.fem.identity import identity
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.reuse import shared

try:
    from jax import enable_x64
except ImportError:  # older JAX keeps it among the experimental names
    from jax.experimental import enable_x64

# Points are evaluated in blocks of one size: up to the second number of them operation by operation, as
# compiling the function would cost more than it saves; beyond, compiled.
BLOCK, COMPILED_BLOCK = 1 << 13, 1 << 17


@lru_cache(maxsize=64)
def rule(dimension: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature rule on a simplex, exact for polynomials up to a total degree.

    In 1-D Gauss-Legendre; in 2-D symmetric rules with 1, 3, 6, 7 points up to order 5, collapsed Gauss rules
    beyond. All points are inside the cell and all weights positive.

    Parameters
    ----------
    dimension : int
        1 or 2.
    order : int
        Polynomial degree that is integrated exactly, at least 0.

    Returns
    -------
    barycentric : (q, dimension+1) float64
    weights : (q,) float64
        Sum to one.

    Raises
    ------
    InputError
        For another dimension or a negative order.

    Examples
    --------
    >>> barycentric, weights = rule(2, 1)
    >>> barycentric.round(3).tolist(), weights.tolist()
    ([[0.333, 0.333, 0.333]], [1.0])
    """
    if dimension not in (1, 2):
        raise InputError("dimension", "1 or 2", repr(dimension), "use an interval or a triangle")
    whole("order", order, 0, "pass the degree to integrate exactly")
    if dimension == 1:
        x, weights = np.polynomial.legendre.leggauss(order // 2 + 1)
        barycentric, weights = np.stack([(1 - x) / 2, (1 + x) / 2], axis=1), weights / 2
    elif order <= 5:
        barycentric, weights = _symmetric_triangle(order)
    else:
        barycentric, weights = _collapsed_triangle(order)
    barycentric.flags.writeable = weights.flags.writeable = False
    return barycentric, weights


@lru_cache(maxsize=64)
def composite_rule(dimension: int, pieces: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature rule on a simplex cut into pieces^dimension congruent parts, :func:`rule` on each.

    For an integrand that varies within a cell, such as an oscillating coefficient: the error falls like
    pieces^-(order + 1). In 2-D the parts are those of a triangle whose sides are cut in equal pieces; for
    two pieces they are the children of red refinement.

    Parameters
    ----------
    dimension : int
        1 or 2.
    pieces : int
        Pieces of each edge, at least 1.
    order : int
        Polynomial degree that is integrated exactly on each part.

    Returns
    -------
    barycentric : (pieces^dimension q, dimension+1) float64
        Part by part, q points each.
    weights : (pieces^dimension q,) float64
        Sum to one.

    Raises
    ------
    InputError
        As :func:`rule`, and for fewer than one piece.

    Examples
    --------
    >>> composite_rule(1, 2, 1)[0].tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    whole("pieces", pieces, 1, "pass the number of pieces of an edge")
    barycentric, weights = rule(dimension, order)
    steps = np.arange(pieces)
    if dimension == 1:
        corners = np.stack([steps, steps + 1], axis=1)[:, :, None]  # (parts, 2, 1)
    else:
        i, j = (a.ravel() for a in np.meshgrid(steps, steps, indexing="ij"))
        upright = np.stack([np.stack(c, axis=1) for c in ((i, j), (i + 1, j), (i, j + 1))], axis=1)
        turned = np.stack([np.stack(c, axis=1) for c in ((i + 1, j), (i + 1, j + 1), (i, j + 1))], axis=1)
        corners = np.concatenate([upright[i + j < pieces], turned[i + j < pieces - 1]])  # (parts, 3, 2)
    local = np.einsum("qa,pax->pqx", barycentric, corners).reshape(-1, dimension) / pieces
    points = np.concatenate([1 - local.sum(axis=1, keepdims=True), local], axis=1)
    weights = np.tile(weights / len(corners), len(corners))
    points.flags.writeable = weights.flags.writeable = False
    return points, weights


def quadrature_points(mesh: Mesh, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature points and weights of all cells: ∫_Ω f ≈ Σ_{c,q} weights_cq f(points_cq).

    Parameters
    ----------
    mesh : Mesh
    order : int
        Polynomial degree integrated exactly on each cell.

    Returns
    -------
    points : (m, q, d) float64
    weights : (m, q) float64
        The volumes of the cells are in them.

    Raises
    ------
    InputError
        For a negative order.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> points, weights = quadrature_points(unit_square(2), 3)
    >>> round(float((weights * points[..., 0] ** 3).sum()), 12)
    0.25
    """
    barycentric, weights = rule(mesh.dimension, order)
    points = np.empty((len(mesh.cells), len(weights), mesh.dimension))
    for axis in range(mesh.dimension):
        points[:, :, axis] = mesh.points[mesh.cells, axis] @ barycentric.T  # (m, d+1) to (m, q)
    return points, mesh.volumes[:, None] * weights


def evaluate(function: Callable, points: np.ndarray, name: str = "field value") -> np.ndarray:
    """Evaluate a function of one point x: (d,) at many points, in float64.

    A function that JAX can trace runs as one vectorised call, in float64 whatever precision JAX is set to.
    Any other (NumPy calls, branches on values) is called point by point: correct, but slow beyond some 10^5
    points.

    Parameters
    ----------
    function : callable x (d,) -> value of any fixed shape
    points : (..., d) array
    name : str
        What the function is, for messages.

    Returns
    -------
    (..., *value shape) float64 NumPy array

    Raises
    ------
    InputError
        If a value is not finite, naming the point, or no real number.

    Examples
    --------
    >>> evaluate(lambda x: x[0] * x[1], np.array([[2.0, 3.0], [4.0, 5.0]])).tolist()
    [6.0, 20.0]
    """
    points = real_array("points", points)
    require_one_argument("function", function)
    if points.ndim == 0:
        raise InputError("points", "shape (..., d)", "a number", "one row a point, in one dimension x[:, None]")
    flat = points.reshape(-1, points.shape[-1])  # (N, d)
    try:
        if identity(function) is None:
            require_coordinates("function", function, flat.shape[1])
        jitted = isinstance(function, jax.stages.Wrapped)
        values = traced(lambda: _evaluate_traced(fresh(function), flat, jitted))
    except (
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
        jax.errors.NonConcreteBooleanIndexError,
        jax.errors.ConcretizationTypeError,
    ):
        rows = [real_array(name, function(x)) for x in flat]
        if len({row.shape for row in rows}) > 1:
            shapes = " and ".join(sorted({str(row.shape) for row in rows}))
            raise InputError(name, "one shape at all points", shapes, "return the same shape everywhere") from None
        values = np.array(rows)
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(flat), -1)).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name} at {flat[bad[0]].tolist()}", "a finite number", values[bad[0]].tolist(),
            "correct the function",
        )  # fmt: skip
    return values.reshape(points.shape[:-1] + values.shape[1:])


def field_values(
    mesh: Mesh, field: Any, order: int, shape: tuple[int, ...] = (), name: str = "field"
) -> np.ndarray:
    """Values of a field at the quadrature points, broadcastable to (m, q, *shape).

    A field is a constant of the given shape, an array (m, *shape) with one value a cell, an array (m, q,
    *shape) with one value a quadrature point, or a function of one point with values of the given shape.

    >>> from hybrid_lib.fem.grids import interval
    >>> field_values(interval(2), [1.0, 2.0], order=3).shape
    (2, 1)
    """
    points, weights = quadrature_points(mesh, order) if callable(field) else (None, None)
    if points is not None:
        values = evaluate(field, points, name)
        if values.shape != weights.shape + shape:
            raise InputError(
                name, f"a function of one point with values of shape {shape}",
                f"values of shape {values.shape[2:]}", "return that shape from the function",
            )  # fmt: skip
        return values
    values = real_array(name, field)
    m, q = len(mesh.cells), len(rule(mesh.dimension, order)[1])
    if values.shape == shape:
        values = values[None, None]
    elif values.shape == (m, *shape):
        values = values[:, None]
    elif values.shape != (m, q, *shape):
        raise InputError(
            name, f"shape {shape}, {(m, *shape)} or {(m, q, *shape)}, or a function of one point",
            f"shape {values.shape}", "pass one value, one a cell, one a quadrature point, or a function",
        )  # fmt: skip
    if not np.isfinite(values).all():
        raise InputError(name, "finite values", "nan or inf", "correct the array")
    return values


@contextmanager
def float64():
    """Within it JAX computes in float64 and mixes dtypes freely; the caller's settings are left alone."""
    with enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def _evaluate_traced(function: Callable, flat: np.ndarray, jitted: bool) -> np.ndarray:
    """Values at points (N, d) by vmap, block by block; the last block repeats the last point."""
    compiled = len(flat) > COMPILED_BLOCK
    block = COMPILED_BLOCK if compiled else BLOCK
    with float64():
        batched = jax.vmap(lambda x: _real(function(x)))
        batched = shared(batched) if compiled or jitted else batched
        parts = []
        for start in range(0, len(flat), block):
            points = flat[start : start + block]
            full = np.pad(points, ((0, block - len(points)), (0, 0)), mode="edge")
            parts.append(np.asarray(batched(jnp.asarray(full)))[: len(points)])
    return np.concatenate(parts)


def _real(value: Any) -> jax.Array:
    """A traced value in float64; what is no real number is refused."""
    remedy = "return a number, or an array of them, at each point"
    try:
        value = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
            raise
        raise InputError("field value", "real numbers", repr(value)[:80], remedy) from None
    if jnp.iscomplexobj(value):
        raise InputError("field value", "real numbers", f"values of type {value.dtype}", "solve for real and imaginary part")
    return value.astype(jnp.float64)


def _symmetric_triangle(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Rules of Strang and Fix (3, 6 points) and Radon (7 points); an orbit is (a, a, 1-2a) and its turns."""
    if order <= 1:
        orbits, centre = [], 1.0
    elif order == 2:
        orbits, centre = [(1 / 6, 1 / 3)], 0.0
    elif order <= 4:
        root, inner = np.sqrt(10.0), np.sqrt(38 - 44 * np.sqrt(2 / 5))
        weight = np.sqrt(213125 - 53320 * root)
        orbits = [((8 - root + s * inner) / 18, (620 + s * weight) / 3720) for s in (1, -1)]
        centre = 0.0
    else:
        root = np.sqrt(15.0)
        orbits, centre = [((6 + s * root) / 21, (155 + s * root) / 1200) for s in (1, -1)], 9 / 40
    points = [[1 - 2 * a if i == j else a for j in range(3)] for a, _ in orbits for i in range(3)]
    weights = [w for _, w in orbits for _ in range(3)]
    if centre:
        points, weights = [*points, [1 / 3] * 3], [*weights, centre]
    return np.array(points), np.array(weights)


def _collapsed_triangle(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Product of a Gauss and a Gauss-Jacobi rule under (s, t) -> (s (1-t), t), whose Jacobian is 1-t."""
    count = order // 2 + 1
    s, weight_s = np.polynomial.legendre.leggauss(count)
    t, weight_t = roots_jacobi(count, 1.0, 0.0)
    s, t = np.meshgrid((1 + s) / 2, (1 + t) / 2, indexing="ij")
    x, y = (s * (1 - t)).ravel(), t.ravel()
    weights = np.outer(weight_s, weight_t).ravel()
    return np.stack([1 - x - y, x, y], axis=1), weights / weights.sum()
