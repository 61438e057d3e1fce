r"""The upscaled tensor :math:`\hat K[u]`, computed from the fine field itself: Algorithm 4.1 and (4.10).

No homogenised coefficient is given to the solver. The mean flux and the mean gradient of the fine field over
a part of the domain obey Fourier's law with the tensor that the coarse problem then uses.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError


@partial(jax.jit, static_argnames="n_parts")
def upscaled_tensor(
    conductivity: jax.Array,
    gradients: jax.Array,
    weights: jax.Array | None = None,
    parts: jax.Array | None = None,
    n_parts: int = 1,
    mean_gradients: jax.Array | None = None,
) -> jax.Array:
    r"""Upscaled tensor of each part from d fine fields, Algorithm 4.1; pure array code for jit.

    .. math:: \hat K\,T_i = F_i \quad (i = 1..d), \qquad T_i = \langle\nabla w_i\rangle_V, \qquad
              F_i = \langle K\nabla w_i\rangle_V,

    the means taken over the points in the part V.

    Parameters
    ----------
    conductivity : (M,) or (M, d, d)
        K at the points.
    gradients : (d, M, d)
        :math:`\nabla w_i` at the points: the *unlifted* fields, :math:`w_i = u_i + x_i`.
    weights : (M,), optional
        Quadrature weights; default equal.
    parts : (M,) int32, optional
        Part of each point, see :func:`parts_of`; default one part.
    n_parts : int
        Number of parts P; static.
    mean_gradients : (P, d, d), optional
        :math:`T_i` as row i where it is known: the identity for the whole domain, (4.9). Default: from the
        points.

    Returns
    -------
    (P, d, d) array
        :math:`\hat K`, symmetric for solutions without a source on a single part, else in general not.
        Differentiable in conductivity, gradients and weights; nan or inf where the mean gradients are dependent,
        see :func:`upscale`. O(M d^3 + P d^3).

    Examples
    --------
    >>> gradients = jnp.stack([jnp.tile(e, (4, 1)) for e in jnp.eye(2)])  # w_i = x_i
    >>> upscaled_tensor(jnp.array([1.0, 2.0, 3.0, 6.0]), gradients).tolist()
    [[[3.0, 0.0], [0.0, 3.0]]]
    """
    T, F = mean_gradients_and_fluxes(
        conductivity, gradients, weights, parts, n_parts
    )  # (P, d, d), row i of field i
    T = T if mean_gradients is None else mean_gradients
    return jnp.swapaxes(fem.tensor_solve(T, F), 1, 2)  # K T^T = F^T


@partial(jax.jit, static_argnames="n_parts")
def upscaled_scalar(
    conductivity: jax.Array,
    gradient: jax.Array,
    direction: jax.Array,
    weights: jax.Array | None = None,
    parts: jax.Array | None = None,
    n_parts: int = 1,
) -> jax.Array:
    r"""Upscaled conductivity in one direction from one lifted field, (4.10); pure array code for jit.

    .. math:: \hat K = \frac{\langle e\cdot K\,(\nabla u + e)\rangle_V}{\langle e\cdot(\nabla u + e)\rangle_V}

    For one part V is the whole domain, u vanishes on its boundary, and the denominator is exactly :math:`|e|^2`.

    Parameters
    ----------
    conductivity : (M,) or (M, d, d)
        K at the points, scalar or tensor.
    gradient : (M, d)
        :math:`\nabla u` of the *lifted* unknown, :math:`w = u + e\cdot x`.
    direction : (d,)
        *e*.
    weights : (M,), optional
        Quadrature weights; default equal.
    parts : (M,) int32, optional
        Part of each point, see :func:`parts_of`; default one part.
    n_parts : int
        Number of parts P; static.

    Returns
    -------
    (P,) array
        Differentiable in conductivity, gradient and weights; O(M d). For one part affine in the gradient.

    Examples
    --------
    >>> upscaled_scalar(jnp.array([2.0, 4.0]), jnp.array([[0.5], [-0.5]]), jnp.array([1.0])).tolist()
    [2.5]
    """
    slope = gradient + direction[None, :]  # (M, d)
    if conductivity.ndim == 1:
        flux = conductivity[:, None] * slope
    else:
        flux = jnp.einsum("mab,mb->ma", conductivity, slope, precision="highest")
    along = jnp.stack([jnp.sum(v * direction[None, :], axis=1) for v in (flux, slope)], axis=1)  # (M, 2)
    means = _part_means(along, weights, parts, n_parts)  # (P, 2)
    if n_parts == 1:
        return means[:, 0] / jnp.sum(direction**2)
    return means[:, 0] / means[:, 1]


def upscale(
    conductivity: np.ndarray,
    gradients: np.ndarray,
    weights: np.ndarray | None = None,
    parts: np.ndarray | None = None,
    n_parts: int = 1,
    largest_condition: float = 1e6,
) -> jax.Array:
    r"""Algorithm 4.1 with checks: :func:`upscaled_tensor` on the host.

    Parameters
    ----------
    conductivity, gradients, weights, parts, n_parts
        As in :func:`upscaled_tensor`.
    largest_condition : float
        Accepted condition number of the matrix T of mean gradients of a part: the largest root mean square of a field's gradient
        on the part, or ‖T‖ if that is larger, over the smallest singular value of T. It bounds how much K̂ magnifies errors.

    Returns
    -------
    (P, d, d) array

    Raises
    ------
    InputError
        For shapes that do not fit, numbers that are not finite, a part without points, or mean gradients that
        are nearly dependent: then a part is too small, or too uniform in one direction, to tell the tensor.

    Examples
    --------
    >>> upscale(np.array([1.0, 3.0]), np.ones((1, 2, 1))).tolist()
    [[[2.0]]]
    """
    conductivity, gradients = jnp.asarray(conductivity), jnp.asarray(gradients)
    d = gradients.shape[0] if gradients.ndim == 3 else 0
    if d == 0 or gradients.shape[2] != d:
        raise InputError(
            "gradients",
            "shape (d, M, d): d fields at M points",
            gradients.shape,
            "stack the gradients of w_1, ..., w_d",
        )
    size = gradients.shape[1]
    if conductivity.shape not in ((size,), (size, d, d)):
        raise InputError(
            "conductivity",
            f"shape ({size},) or ({size}, {d}, {d})",
            conductivity.shape,
            "evaluate at the points",
        )
    if not (jnp.all(jnp.isfinite(conductivity)) and jnp.all(jnp.isfinite(gradients))):
        raise InputError(
            "fine fields", "finite values", "nan or inf", "check the fields and the conductivity"
        )
    if weights is not None:
        weights = jnp.asarray(weights)
        if weights.shape != (size,) or not jnp.all(weights >= 0):
            raise InputError(
                "weights", f"{size} numbers >= 0", f"shape {weights.shape}", "pass quadrature weights"
            )
    parts = np.zeros(size, np.int32) if parts is None else np.asarray(parts)
    if (
        parts.shape != (size,)
        or not np.issubdtype(parts.dtype, np.integer)
        or parts.min() < 0
        or parts.max() >= n_parts
    ):
        raise InputError(
            "parts",
            f"{size} integers from 0 to {n_parts - 1}",
            f"{parts.dtype} {parts.shape}",
            "use parts_of",
        )
    held = np.bincount(parts, minlength=n_parts)
    if np.any(held == 0):
        raise InputError(
            f"part {np.argmin(held)}", "at least one point", "none", "use more points or fewer parts"
        )
    if weights is not None:
        total = np.bincount(parts, np.asarray(weights, float), n_parts)
        if not np.all(total > 0):
            raise InputError(
                f"weights of part {np.argmin(total)}", "one that is not 0", "only zeros", "pass quadrature weights"
            )

    parts = jnp.asarray(parts, jnp.int32)
    T, _ = mean_gradients_and_fluxes(conductivity, gradients, weights, parts, n_parts)
    squares = _part_means(jnp.sum(gradients**2, axis=2).T, weights, jnp.asarray(parts), n_parts)  # (P, d)
    singular = np.linalg.svd(np.asarray(T, float), compute_uv=False)  # (P, d), falling
    size = np.maximum(np.sqrt(np.asarray(squares, float).max(axis=1)), singular[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        conditions = size / singular[:, -1]  # (P,)
    worst = int(np.argmax(np.where(np.isnan(conditions), np.inf, conditions)))
    if not conditions[worst] <= largest_condition:
        raise InputError(
            f"mean gradients of part {worst}",
            f"a condition number up to {largest_condition:.0e}",
            f"{conditions[worst]:.1e}",
            "use larger parts or fields with independent temperature drops",
        )
    return upscaled_tensor(conductivity, gradients, weights, parts, n_parts)


@partial(jax.jit, static_argnames="n_parts")
def mean_gradients_and_fluxes(
    conductivity: jax.Array,
    gradients: jax.Array,
    weights: jax.Array | None = None,
    parts: jax.Array | None = None,
    n_parts: int = 1,
) -> tuple[jax.Array, jax.Array]:
    r"""Means :math:`T_i = \langle\nabla w_i\rangle_V` and :math:`F_i = \langle K\nabla w_i\rangle_V`.

    Parameters
    ----------
    conductivity, gradients, weights, parts, n_parts
        As in :func:`upscaled_tensor`.

    Returns
    -------
    T, F : (P, d, d) arrays
        Row i belongs to field i. Jittable, O(M d^3).

    Examples
    --------
    >>> T, F = mean_gradients_and_fluxes(jnp.array([1.0, 3.0]), jnp.ones((1, 2, 1)))
    >>> T.tolist(), F.tolist()
    ([[[1.0]]], [[[2.0]]])
    """
    if conductivity.ndim == 1:
        fluxes = gradients * conductivity[None, :, None]  # (d, M, d)
    else:
        fluxes = jnp.einsum("mab,imb->ima", conductivity, gradients, precision="highest")
    both = jnp.moveaxis(jnp.stack([gradients, fluxes]), 2, 0)  # (M, 2, d, d)
    means = _part_means(both, weights, parts, n_parts)  # (P, 2, d, d)
    return means[:, 0], means[:, 1]


def parts_of(points: np.ndarray, n_parts: int) -> np.ndarray:
    """Part of each point when every axis of the unit box is cut in ``n_parts``; the last axis runs fastest.

    Parameters
    ----------
    points : (M, d)
        Points in the closed unit box; cell midpoints for the parts of a coarse mesh.
    n_parts : int
        Pieces along an axis; there are ``n_parts ** d`` parts.

    Returns
    -------
    (M,) int32 array
        Host code, O(M d).

    Raises
    ------
    InputError
        For a count that is not a positive integer or a point outside the box.

    Examples
    --------
    >>> parts_of(np.array([[0.1, 0.2], [0.1, 0.9], [0.9, 0.1], [1.0, 1.0]]), 2).tolist()
    [0, 1, 2, 3]
    """
    points = np.asarray(points, float)
    if not (isinstance(n_parts, (int, np.integer)) and n_parts >= 1):
        raise InputError("n_parts", "an integer >= 1", n_parts, "pass the number of pieces along an axis")
    if points.ndim != 2:
        raise InputError(
            "points", "points as rows, shape (M, d)", points.shape, "use points[:, None] for d = 1"
        )
    outside = ~np.all((points >= 0) & (points <= 1), axis=1)
    if np.any(outside):
        first = int(np.argmax(outside))
        raise InputError(
            f"point {first}",
            "a point in the unit box",
            points[first].tolist(),
            "scale the domain to the unit box",
        )
    pieces = np.minimum(
        (points * n_parts).astype(np.int32), n_parts - 1
    )  # (M, d); 1.0 belongs to the last piece
    return np.ravel_multi_index(tuple(pieces.T), (n_parts,) * points.shape[1]).astype(np.int32)


def _part_means(
    values: jax.Array, weights: jax.Array | None, parts: jax.Array | None, n_parts: int
) -> jax.Array:
    """Weighted means of values (M, ...) over the parts, (P, ...)."""
    if parts is None and n_parts != 1:
        raise InputError(
            "parts", f"the part of each point, for {n_parts} parts", "none", "use parts_of(points, ...)"
        )
    if weights is None:
        weights = jnp.ones(values.shape[0], values.dtype)
    weighted = values * weights.reshape((-1,) + (1,) * (values.ndim - 1))
    if n_parts == 1:  # a plain sum: no scatter, pairwise summation
        return (jnp.sum(weighted, axis=0) / jnp.sum(weights))[None]
    total = jax.ops.segment_sum(weights, parts, num_segments=n_parts)  # (P,)
    sums = jax.ops.segment_sum(weighted, parts, num_segments=n_parts)  # (P, ...)
    return sums / total.reshape((-1,) + (1,) * (values.ndim - 1))
