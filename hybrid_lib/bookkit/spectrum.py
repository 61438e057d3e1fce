r"""What a sum of squares hears: spectra of its linearisation at given parameters, and errors split by frequency.

Near θ the weighted residual is r(θ + δ) ≈ r + Jδ, and the singular values σ_k of J say everything about its descent:

JᵀJ (P × P)
    Gauss-Newton matrix: curvature of ‖r‖² in the parameters,
JJᵀ (N × N)
    neural tangent kernel of the residuals; its nonzero eigenvalues are the same, μ_k = σ_k².

Under the gradient flow θ' = −∇‖r‖² the part of r along the k-th left singular vector decays as exp(−2μ_k t), as long as J stays
what it is. Both matrices are made of the rows of the blocks: JᵀJ = Σ_k w_k J_kᵀJ_k, so a new block lifts eigenvalues and lowers
none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.training.jacobians import jacobian
from hybrid_lib.training.objectives import Objective

Tree = Any


class Matrices(NamedTuple):
    """One matrix for each residual block, by name, and that of the `whole` weighted residual."""

    blocks: dict[str, Array]
    whole: Array

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


class Modes(NamedTuple):
    """Thin singular value decomposition of J with n = min(N, P), squared, in descending order.

    Attributes
    ----------
    values : (n,)
        Eigenvalues μ_k of JᵀJ and JJᵀ.
    left : (N, n)
        Eigenvectors of JJᵀ: which residuals.
    right : (P, n)
        Eigenvectors of JᵀJ: which parameters.
    """

    values: Array
    left: Array
    right: Array

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def block_jacobians(
    objective: Objective, theta: Tree, weights: dict[str, Array], data: Tree, coarse: Tree
) -> dict[str, Array]:
    """√w_k ∂r_k/∂θ of every block, (N_k, P); stacked in their order they are the derivative of the weighted residual.

    Parameters
    ----------
    objective : Objective
    theta : tree
        P numbers.
    weights : dict of str to ()
    data, coarse : trees
        As in :func:`hybrid_lib.training.jacobians.jacobian`; a coupling's rows hold the sensitivity of the coarse state.

    Returns
    -------
    dict of str to (N_k, P) array
        In the order of the objective's blocks; a dict that leaves ``jax.jit`` is in alphabetical order. One sweep over the
        points for each block; memory N P.
    """
    return {
        name: jacobian(dataclasses.replace(objective, blocks={name: block}), theta, weights, data, coarse)[0]
        for name, block in objective.blocks.items()
    }


def gauss_newton_matrices(rows: dict[str, Array]) -> Matrices:
    """J_kᵀJ_k (P, P) of every block and their sum JᵀJ, from :func:`block_jacobians`; O(N P²).

    Examples
    --------
    >>> rows = {"pde": jnp.array([[1.0, 0.0]]), "coupling": jnp.array([[1.0, 2.0]])}
    >>> gauss_newton_matrices(rows).whole.tolist()
    [[2.0, 2.0], [2.0, 4.0]]
    """
    blocks = {name: J.T @ J for name, J in rows.items()}
    return Matrices(blocks, sum(blocks.values()))


def tangent_kernels(rows: dict[str, Array]) -> Matrices:
    """J_kJ_kᵀ (N_k, N_k) of every block and JJᵀ of all rows in their order, from :func:`block_jacobians`; O(N²P).

    Examples
    --------
    >>> rows = {"pde": jnp.array([[1.0, 0.0]]), "coupling": jnp.array([[1.0, 2.0]])}
    >>> tangent_kernels(rows).whole.tolist()
    [[1.0, 1.0], [1.0, 5.0]]
    """
    J = jnp.concatenate(list(rows.values()))
    return Matrices({name: K @ K.T for name, K in rows.items()}, J @ J.T)


def modes(J: Array) -> Modes:
    """Eigenvalues and both kinds of eigenvectors by a singular value decomposition of J itself.

    The small eigenvalues are then right to rounding of the largest *singular value*: μ_k down to 1e-32 of the largest, where
    forming JᵀJ stops at 1e-16. O(N P min(N, P)).

    Examples
    --------
    >>> modes(jnp.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])).values.round(4).tolist()
    [16.0, 9.0]
    """
    left, singular, right = jnp.linalg.svd(J, full_matrices=False)
    return Modes(singular**2, left, right.T)


def condition(values: Array, cut: float = 0.0) -> float:
    """Largest over smallest of the eigenvalues that exceed `cut` times the largest.

    Parameters
    ----------
    values : (n,)
        Not negative, one at least positive.
    cut : float
        In [0, 1): what counts as zero. Of a network the number without a cut measures rounding alone.

    Raises
    ------
    InputError
        If no value is positive.

    Examples
    --------
    >>> condition(jnp.array([8.0, 2.0, 1e-20]), cut=1e-12)
    4.0
    """
    values = _positive(values)
    return float(values.max() / values[values > cut * values.max()].min())


def effective_rank(values: Array) -> float:
    r"""Number of directions that share the trace, :math:`\exp(-\sum_k p_k\log p_k)` with :math:`p_k = \mu_k/\sum_j\mu_j`.

    n for n equal eigenvalues, 1 for a single one (Roy & Vetterli 2007).

    Raises
    ------
    InputError
        If no value is positive.

    Examples
    --------
    >>> round(effective_rank(jnp.array([2.0, 2.0, 2.0, 0.0])), 12)
    3.0
    """
    values = _positive(values)
    p = values / values.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def linearised_flow(modes: Modes, residual: Array, times: Array) -> Array:
    r"""Where the gradient flow θ' = −∇‖r‖² of the linearised residual has moved the parameters.

    .. math:: \delta(t) = -\sum_k \frac{1 - e^{-2\mu_k t}}{\sigma_k}\, (w_k \cdot r)\, v_k, \qquad
              w_k \cdot (r + J\delta(t)) = e^{-2\mu_k t}\, w_k \cdot r

    Parameters
    ----------
    modes : Modes
        Of J: left vectors :math:`w_k`, right vectors :math:`v_k`.
    residual : (N,)
        r at t = 0.
    times : (T,)

    Returns
    -------
    (T, P) array
        O(T P n).

    Examples
    --------
    >>> m = modes(jnp.array([[2.0]]))
    >>> linearised_flow(m, jnp.array([1.0]), jnp.array([0.0, jnp.inf])).ravel().tolist()  # the minimiser of (1 + 2δ)²
    [-0.0, -0.5]
    """
    sigma = jnp.sqrt(modes.values)
    alive = sigma > 0
    done = -jnp.expm1(-2 * jnp.where(alive, modes.values, 1)[None, :] * times[:, None])  # (T, n)
    share = jnp.where(alive, (modes.left.T @ residual) / jnp.where(alive, sigma, 1), 0)  # (n,)
    return -(done * share[None, :]) @ modes.right.T


def sine_coefficients(values: np.ndarray) -> np.ndarray:
    r"""Coefficients in :math:`\sqrt2\sin(k\pi x)`, k = 1 … n − 1, of values at the points i/n, i = 1 … n − 1.

    .. math:: c_k = \frac{\sqrt2}{n}\sum_i v_i \sin\frac{ki\pi}{n}, \qquad \sum_k c_k^2 = \frac1n\sum_i v_i^2

    Parameters
    ----------
    values : (..., n − 1)

    Returns
    -------
    (..., n − 1) array
        Discrete sine transform, O(n log n), on the host in float64.

    Examples
    --------
    >>> x = np.arange(1, 8) / 8
    >>> np.abs(sine_coefficients(np.sqrt(2) * np.sin(3 * np.pi * x))).round(12).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    values = np.asarray(values, float)
    n = values.shape[-1] + 1
    return scipy.fft.dst(values, type=1, norm="ortho", axis=-1) / np.sqrt(n)


def band_norms(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    r"""L² norms of the parts of a field on (0, 1) in bands of frequency, waves a unit length.

    The wave :math:`\sin(k\pi x)` has the frequency k/2. With edges :math:`f_1 < … < f_m` the bands are :math:`[0, f_1),
    [f_1, f_2), …, [f_m, \infty)`. The squares of the norms add up to that of the field (Parseval).

    Parameters
    ----------
    values : (..., n − 1)
        At the points i/n, i = 1 … n − 1, of a field that vanishes at 0 and 1.
    edges : sequence of m floats

    Returns
    -------
    (..., m + 1) array

    Raises
    ------
    InputError
        If the edges do not ascend, or the grid has no wave above the last.

    Examples
    --------
    >>> x = np.arange(1, 64) / 64
    >>> band_norms(np.sqrt(2) * (np.sin(2 * np.pi * x) + 3 * np.sin(20 * np.pi * x)), [5.0]).round(12).tolist()
    [1.0, 3.0]
    """
    values, edges = np.asarray(values, float), np.asarray(edges, float)
    count = values.shape[-1]
    if edges.ndim != 1 or np.any(np.diff(edges) <= 0) or np.any(edges <= 0):
        raise InputError("edges", "ascending positive frequencies", edges.tolist(), "sort them")
    if edges.size and edges[-1] > count / 2:
        wanted = f"at most {count / 2:g}, the highest frequency on {count} points"
        raise InputError("edges", wanted, edges[-1], "take more points")
    band = np.searchsorted(edges, np.arange(1, count + 1) / 2, side="right")
    squares = sine_coefficients(values) ** 2
    sums = [squares[..., band == k].sum(axis=-1) for k in range(edges.size + 1)]
    return np.sqrt(np.stack(sums, axis=-1))


def _positive(values: Array) -> np.ndarray:
    found = np.asarray(values, float)
    if not np.any(found > 0):
        remedy = "pass those of a nonzero matrix"
        raise InputError("eigenvalues", "at least one positive value", "none", remedy)
    return found[found > 0]
