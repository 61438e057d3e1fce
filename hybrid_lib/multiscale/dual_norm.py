r"""Size of a residual on the coarse space: its dual norm, with the upscaled operator as Riesz map.

With :math:`\rho_i` the residual on the hat function of the interior node i and :math:`B = LL^T` the interior matrix (3.23):

.. math:: Bz = \rho, \qquad R = \sup_{v \in Y_h} \frac{(\rho, v)^2}{\int \hat K\nabla v\cdot\nabla v} = \rho^T B^{-1}\rho
          = \int \hat K \nabla z\cdot\nabla z = \|L^{-1}\rho\|^2.

:func:`norm_squared` is the plain form, :func:`derivatives` its derivatives by the adjoint, :func:`residual` the vector
:math:`L^{-1}\rho` for least squares, with the operator of the last refresh. See :mod:`hybrid_lib.multiscale.defect`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from hybrid_lib import fem
from hybrid_lib.multiscale._coarse_problem import (
    CoarseProblem,
    extend,
    flux_integrals,
    matrix,
    slopes,
    symmetric_part,
    valid_tensor,
)
from hybrid_lib.multiscale.coarse import CoarseState


def unit_factor(problem: CoarseProblem) -> fem.SymmetricFactor:
    """Factor of the interior matrix for K_hat = 1 where K_hat is a scalar, computed in the problem's dtype; else empty, (0, 0).

    With a tensor the factor comes from the coarse state. O(k³).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> unit_factor(coarse_problem(interval(2), isotropic_constant=True)).lower.tolist()
    [[2.0]]
    """
    dtype = problem.source.dtype
    if not problem.isotropic_constant:
        return fem.SymmetricFactor(jnp.zeros((0, 0), dtype))
    return fem.factor(matrix(problem, jnp.ones((), dtype)))


def representative(problem: CoarseProblem, K_hat: jax.Array, rho: jax.Array) -> jax.Array:
    r"""The coarse defect z with :math:`Bz = \rho`: what the coarse problem would add to the fine field.

    Parameters
    ----------
    problem : CoarseProblem
    K_hat : () or (P, d, d)
        Upscaled tensor.
    rho : (k,)
        From ``defect.coarse_residual``.

    Returns
    -------
    (n,) array
        Nodal values, zero on the boundary; differentiable in both. A dense factorisation.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> problem = coarse_problem(interval(2), isotropic_constant=True)
    >>> representative(problem, jnp.asarray(1.0), jnp.array([8.0])).tolist()
    [0.0, 2.0, 0.0]
    """
    K_hat = valid_tensor(problem, K_hat)
    return extend(problem, fem.linear_solve(matrix(problem, K_hat), rho))


def norm_squared(problem: CoarseProblem, K_hat: jax.Array, rho: jax.Array) -> jax.Array:
    r"""The coupling term :math:`R = \rho^T B[\hat K]^{-1}\rho`, differentiable in :math:`\rho` and :math:`\hat K`.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> problem = coarse_problem(interval(2), isotropic_constant=True)
    >>> float(norm_squared(problem, jnp.asarray(1.0), jnp.array([8.0])))
    16.0
    """
    K_hat = valid_tensor(problem, K_hat)
    return jnp.vdot(rho, fem.linear_solve(matrix(problem, K_hat), rho))


def derivatives(
    problem: CoarseProblem, K_hat: jax.Array, rho: jax.Array
) -> tuple[jax.Array, jax.Array]:
    r"""Derivatives of R by the adjoint, which is the state itself: p = −2z.

    .. math:: dR = \int K^\varepsilon\nabla(du)\cdot\nabla p - \int d\hat K\,\nabla z\cdot\nabla z

    From :math:`R = \rho^TB^{-1}\rho`: :math:`dR = 2z^Td\rho - z^TdB\,z`, and
    :math:`z^Td\rho = -\int K^\varepsilon\nabla(du)\cdot\nabla z`. No second solve is needed.

    Parameters
    ----------
    problem : CoarseProblem
    K_hat : () or (P, d, d)
    rho : (k,)
        From ``defect.coarse_residual``.

    Returns
    -------
    by_fluxes : (m, d)
        :math:`\partial R/\partial\Phi_T = \nabla p|_T`.
    by_tensor : () or (P, d, d)
        :math:`\partial R/\partial\hat K = -\int_V \nabla z\otimes\nabla z`.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> problem = coarse_problem(interval(2), isotropic_constant=True)
    >>> by_fluxes, by_tensor = derivatives(problem, jnp.asarray(1.0), jnp.array([8.0]))
    >>> by_fluxes.ravel().tolist(), float(by_tensor)
    ([-8.0, 8.0], -16.0)
    """
    slope = slopes(problem, representative(problem, K_hat, rho))  # (m, d)
    if problem.isotropic_constant:
        return -2 * slope, -jnp.sum(problem.volumes * jnp.sum(slope * slope, axis=1))
    products = problem.volumes[:, None, None] * slope[:, :, None] * slope[:, None, :]  # (m, d, d)
    sums = jax.ops.segment_sum(products, problem.parts, num_segments=problem.n_parts)
    return -2 * slope, -symmetric_part(sums)


def residual(
    problem: CoarseProblem,
    unit_factor: fem.SymmetricFactor,
    coarse: CoarseState,
    K_hat: jax.Array,
    rho: jax.Array,
) -> jax.Array:
    r"""The residual vector of the coupling with the stored coarse operator, :math:`\sum_i r_i^2 = R`.

    .. math:: r = L^{-1}\bigl[\rho - \tfrac12 (B[\hat K] - B[\mathrm{sg}(\hat K)])\,\mathrm{sg}(z)\bigr], \qquad
              LL^T = B_f, \quad B_f z = \rho,

    where f marks what :func:`hybrid_lib.multiscale.coarse.refresh` stored and sg is ``stop_gradient``: the bracket's
    second term is zero and its derivative is not, as in ``coarse.frozen_state``. The Riesz map stays what it was at the
    last refresh; the derivative of R is exact where `K_hat` equals ``coarse.K_hat``, and lagged between two refreshes.

    Parameters
    ----------
    problem : CoarseProblem
    unit_factor : SymmetricFactor
        Of the matrix for K_hat = 1, from :func:`unit_factor`; it serves a scalar K_hat:
        :math:`L = \hat K_f^{1/2}L_1`, factored once for all.
    coarse : CoarseState
        Stored tensor and factor.
    K_hat : () or (P, d, d)
        The current upscaled tensor, a function of the parameters.
    rho : (k,)
        From ``defect.coarse_residual``.

    Returns
    -------
    (k,) array
        Differentiable in rho and K_hat; triangular solves, O(k²).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem, refresh
    >>> problem, K_hat = coarse_problem(interval(2), isotropic_constant=True), jnp.asarray(1.0)
    >>> L, coarse = unit_factor(problem), refresh(problem, K_hat)
    >>> r = lambda K: jnp.sum(residual(problem, L, coarse, K, jnp.array([8.0])) ** 2)
    >>> float(r(K_hat)), float(jax.grad(r)(K_hat))
    (16.0, -16.0)
    """
    K_hat, coarse = valid_tensor(problem, K_hat), jax.lax.stop_gradient(coarse)
    change = K_hat - jax.lax.stop_gradient(K_hat)  # exactly zero
    if problem.isotropic_constant:
        r = fem.half_solve(unit_factor, rho) / jnp.sqrt(coarse.K_hat)
        return r - jax.lax.stop_gradient(r) * (change / (2 * coarse.K_hat))
    z = jax.lax.stop_gradient(extend(problem, fem.factor_solve(coarse.factor, rho)))
    return fem.half_solve(coarse.factor, rho - flux_integrals(problem, change, slopes(problem, z)) / 2)

