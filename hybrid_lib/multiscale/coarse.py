r"""The coarse problem that constrains the training: state, adjoint, sensitivity; (3.17), (3.18), (3.23), (4.18).

.. math:: y \in Y_h: \quad \int \hat K \nabla y\cdot\nabla v = \int q\,v - \int \hat K e\cdot\nabla v
          \quad \text{for all } v \in Y_h,

P1 functions that vanish on the boundary; e is the direction of the linear temperature drop. The upscaled
tensor :math:`\hat K` is constant on each of P parts of the domain. There are few unknowns, so the operator is
dense.

``K_hat`` stands for one of two things everywhere in this module, and the problem knows which:

* ``isotropic_constant``: a scalar of shape (), :math:`\hat K I` on the whole domain. Then
  :math:`y = y_1/\hat K` with :math:`y_1` computed once on the host, and the lift term is zero and dropped.
* otherwise: (P, d, d). Its symmetric part is used. The lift term is kept, also where it only adds rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from hybrid_lib import fem
from hybrid_lib.multiscale._coarse_problem import (
    CoarseProblem,
    coarse_problem,
    extend,
    flux_integrals,
    load,
    matrix,
    slopes,
    symmetric_part,
    valid_tensor,
)

__all__ = [
    "CoarseProblem",
    "CoarseState",
    "adjoint",
    "adjoint_sensitivity",
    "coarse_problem",
    "frozen_state",
    "is_elliptic",
    "load",
    "matrix",
    "refresh",
    "state",
]


class CoarseState(NamedTuple):
    """A coarse solution and what is needed to differentiate it without solving anew; shapes never change.

    Attributes
    ----------
    K_hat : () or (P, d, d)
        The upscaled tensor it was computed with.
    state : (n,)
        Nodal values y.
    factor : SymmetricFactor or ()
        Of the interior matrix; an empty tuple when K_hat is a scalar.
    """

    K_hat: jax.Array
    state: jax.Array
    factor: fem.SymmetricFactor | tuple

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


@jax.jit
def state(problem: CoarseProblem, K_hat: jax.Array) -> jax.Array:
    r"""Solve the coarse problem (4.18): :math:`B y = F`, zero on the boundary.

    Parameters
    ----------
    problem : CoarseProblem
        From :func:`coarse_problem`.
    K_hat : () or (P, d, d)
        Upscaled tensor, see the module.

    Returns
    -------
    (n,) array
        Nodal values, differentiable in K_hat forwards and backwards. For a tensor that is not positive
        definite they are not finite: see :func:`is_elliptic`. O(n) for a scalar, otherwise a dense Cholesky
        factorisation.

    Raises
    ------
    InputError
        If K_hat has another shape.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse_problem(interval(2), source=1.0)
    >>> state(problem, jnp.full((1, 1, 1), 2.0)).round(6).tolist()
    [0.0, 0.0625, 0.0]
    """
    K_hat = valid_tensor(problem, K_hat)
    if problem.isotropic_constant:
        return problem.unit_state / K_hat
    return extend(problem, fem.linear_solve(matrix(problem, K_hat), load(problem, K_hat)))


@jax.jit
def adjoint(problem: CoarseProblem, K_hat: jax.Array, rhs: jax.Array) -> jax.Array:
    r"""Solve :math:`B^T p = g` for nodal values p that vanish on the boundary, (3.18).

    Parameters
    ----------
    problem : CoarseProblem
        From :func:`coarse_problem`.
    K_hat : () or (P, d, d)
        Upscaled tensor; B is symmetric.
    rhs : (n,)
        g; its entries at boundary nodes do not matter.

    Returns
    -------
    (n,) array
        Differentiable; one dense factorisation.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse_problem(interval(2), source=1.0, isotropic_constant=True)
    >>> adjoint(problem, jnp.asarray(2.0), problem.source).round(6).tolist()  # g = F gives p = y
    [0.0, 0.0625, 0.0]
    """
    K_hat = valid_tensor(problem, K_hat)
    return extend(problem, fem.linear_solve(matrix(problem, K_hat), rhs[problem.interior_nodes]))


@jax.jit
def adjoint_sensitivity(problem: CoarseProblem, y: jax.Array, p: jax.Array) -> jax.Array:
    r"""Derivative of an objective R with respect to the upscaled tensor, the integrals of (4.28).

    .. math:: G_{ij} = \int_{V} \partial_i p\,(\partial_j y + e_j), \qquad B^T p = -\partial_y R, \qquad
              dR = \sum_{V} G : d\hat K,

    symmetrised, since the symmetric part of the tensor is used. For a scalar the lift's term vanishes and
    :math:`G = \int \nabla p\cdot\nabla y`.

    Parameters
    ----------
    problem : CoarseProblem
        From :func:`coarse_problem`.
    y, p : (n,)
        State and adjoint.

    Returns
    -------
    () or (P, d, d) array
        In the shape of K_hat. O(m d^2).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse_problem(interval(2), source=1.0, isotropic_constant=True)
    >>> hat = jnp.array([0.0, 1.0, 0.0])
    >>> float(adjoint_sensitivity(problem, hat, hat))
    4.0
    """
    slope_y, slope_p = slopes(problem, y), slopes(problem, p)  # (m, d)
    if problem.isotropic_constant:
        return jnp.sum(problem.volumes * jnp.sum(slope_p * slope_y, axis=1))
    slope_y = slope_y + problem.direction[None, :]
    products = problem.volumes[:, None, None] * slope_p[:, :, None] * slope_y[:, None, :]  # (m, d, d)
    return symmetric_part(jax.ops.segment_sum(products, problem.parts, num_segments=problem.n_parts))


@jax.jit
def refresh(problem: CoarseProblem, K_hat: jax.Array) -> CoarseState:
    """Solve anew and keep the factor for :func:`frozen_state`, as training does when K_hat has moved.

    Parameters
    ----------
    problem : CoarseProblem
        From :func:`coarse_problem`.
    K_hat : () or (P, d, d)
        Upscaled tensor.

    Returns
    -------
    CoarseState
        Constant: derivatives do not pass. One dense factorisation, none for a scalar.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> coarse = refresh(coarse_problem(interval(2), source=1.0, isotropic_constant=True), jnp.asarray(2.0))
    >>> coarse.state.tolist(), coarse.factor
    ([0.0, 0.0625, 0.0], ())
    """
    K_hat = jax.lax.stop_gradient(valid_tensor(problem, K_hat))
    if problem.isotropic_constant:
        return CoarseState(K_hat, state(problem, K_hat), ())
    factor = fem.factor(matrix(problem, K_hat))
    y = extend(problem, fem.factor_solve(factor, load(problem, K_hat)))
    return jax.lax.stop_gradient(CoarseState(K_hat, y, factor))


@jax.jit
def frozen_state(problem: CoarseProblem, coarse: CoarseState, K_hat: jax.Array) -> jax.Array:
    r"""The stored state, with the derivative of the state at the stored operator.

    .. math:: y_f - B_f^{-1}\bigl[r(\hat K) - r(\mathrm{sg}(\hat K))\bigr], \qquad
              r(\hat K) = B(\hat K) y_f - F(\hat K),

    where sg is ``stop_gradient``: the bracket is zero, its derivative is not. The derivative is exact where
    ``K_hat`` equals ``coarse.K_hat``, and lagged between two refreshes.

    Parameters
    ----------
    problem : CoarseProblem
        From :func:`coarse_problem`.
    coarse : CoarseState
        From :func:`refresh`.
    K_hat : () or (P, d, d)
        The current upscaled tensor, a function of the parameters.

    Returns
    -------
    (n,) array
        Exactly ``coarse.state``. J v and J^T v both work. O(n) for a scalar, otherwise two triangular solves
        O(k^2).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse_problem(interval(2), source=1.0, isotropic_constant=True)
    >>> coarse = refresh(problem, jnp.asarray(2.0))
    >>> float(jax.jacobian(lambda K: frozen_state(problem, coarse, K))(jnp.asarray(2.0))[1])  # -y / K_hat
    -0.03125
    """
    K_hat, coarse = valid_tensor(problem, K_hat), jax.lax.stop_gradient(coarse)
    change = K_hat - jax.lax.stop_gradient(K_hat)  # exactly zero
    if problem.isotropic_constant:
        return coarse.state * (1 - change / coarse.K_hat)
    slope = slopes(problem, coarse.state) + problem.direction[None, :]  # (m, d)
    residual = flux_integrals(problem, change, slope)  # r is affine: its difference is linear in the change
    return coarse.state - extend(problem, fem.factor_solve(coarse.factor, residual))


def is_elliptic(K_hat: jax.Array, alpha: float = 0.0) -> jax.Array:
    """Whether all eigenvalues of the symmetric part of K_hat are finite and above alpha, beyond rounding; jittable, () bool.

    An untrained network can give a K_hat with which the coarse problem makes no sense: test before
    :func:`refresh`.

    Parameters
    ----------
    K_hat : () or (P, d, d)
        Upscaled tensor, d = 1 or 2.
    alpha : float
        Lower bound.

    Examples
    --------
    >>> bool(is_elliptic(jnp.eye(2)[None])), bool(is_elliptic(jnp.asarray(-1.0)))
    (True, False)
    """
    lowest, highest = (K_hat, K_hat) if K_hat.ndim == 0 else fem.tensor_eigenvalues(K_hat)
    zero = jnp.where(lowest < highest, 4 * jnp.finfo(K_hat.dtype).eps * jnp.abs(highest), 0)
    return jnp.all(jnp.isfinite(K_hat)) & jnp.all(lowest > alpha + zero)
