r"""The reduced objective and its gradient, (3.1), (3.13), (3.23) and (4.28), in two forms that agree to rounding.

.. math:: \mathfrak J(\theta) = J(u_\theta) + \tau_2 R_\delta(y(\theta), u_\theta), \qquad
          B[\hat K(\theta)]\,y = F[\hat K(\theta)]

:func:`reduced_gradient` writes the adjoint out, as the paper does. Differentiating :func:`reduced_objective`
with ``jax.grad`` is what training does: JAX differentiates the coarse solve, all else follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hybrid_lib.multiscale import coarse


class ReducedGradient(NamedTuple):
    """What :func:`reduced_gradient` returns.

    Attributes
    ----------
    objective : ()
        Value of the reduced objective.
    gradient : pytree
        Like theta.
    state, adjoint : (n,)
        y and p.
    """

    objective: jax.Array
    gradient: Any
    state: jax.Array
    adjoint: jax.Array

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def reduced_objective(
    theta: Any,
    problem: coarse.CoarseProblem,
    tau: float,
    fine_objective: Callable,
    upscaled: Callable,
    compressed: Callable,
    Q_phi: jax.Array | None = None,
) -> jax.Array:
    r"""Objective :math:`\mathfrak J(\theta) = J(u_\theta) + \tau R_\delta(y(\theta), u_\theta)` of (3.1).

    Parameters
    ----------
    theta : pytree
        Network parameters.
    problem : CoarseProblem
        The coarse problem, the constraint.
    tau : float
        Weight of the coupling term, the paper's :math:`\tau_2`.
    fine_objective : callable
        ``fine_objective(theta) -> ()``: J, the PINN objective (3.24).
    upscaled : callable
        ``upscaled(theta) -> K_hat``, () or (P, d, d) as the problem wants it.
    compressed : callable
        ``compressed(theta) -> (n,)``: :math:`Q_\delta u_\theta` at the coarse nodes.
    Q_phi : (n, n), optional
        Compression of the coarse basis: given, the coupling is (2.16); default (2.10).

    Returns
    -------
    () array
        Differentiable in theta forwards and backwards; one coarse solve.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse.coarse_problem(interval(2), source=1.0, isotropic_constant=True)
    >>> parts = (lambda t: t**2, lambda t: t, lambda t: t * problem.unit_state)
    >>> float(reduced_objective(jnp.asarray(1.0), problem, 1.0, *parts))  # y = Q u at theta = 1
    1.0
    """
    y = coarse.state(problem, upscaled(theta))
    return fine_objective(theta) + tau * _coupling(problem, compressed(theta), y, Q_phi)


def reduced_gradient(
    theta: Any,
    problem: coarse.CoarseProblem,
    tau: float,
    fine_objective: Callable,
    upscaled: Callable,
    compressed: Callable,
    Q_phi: jax.Array | None = None,
) -> ReducedGradient:
    r"""Gradient of the reduced objective by the adjoint equation, step by step as in section 3 of the paper.

    .. math:: B^T p = 2\tau\,(P[\theta] - P[y]), \qquad
              \nabla\mathfrak J = \partial_\theta\bigl[J + \tau R_\delta(y, \cdot)\bigr]
              + \int K_\theta\,(\nabla y + e)\cdot\nabla p,

    with :math:`P[\theta]_i = \langle Q_\delta u_\theta, \varphi_i\rangle` for (2.10) and
    :math:`\langle Q_\delta u_\theta, Q_\delta\varphi_i\rangle` for (2.16), likewise P[y], and
    :math:`K_\theta = \partial\hat K/\partial\theta`.

    Parameters
    ----------
    theta, problem, tau, fine_objective, upscaled, compressed, Q_phi
        As in :func:`reduced_objective`.

    Returns
    -------
    ReducedGradient
        Equals ``jax.value_and_grad(reduced_objective)`` to rounding; two coarse solves.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse.coarse_problem(interval(2), source=1.0, isotropic_constant=True)
    >>> parts = (lambda t: t**2, lambda t: t, lambda t: t * problem.unit_state)
    >>> float(reduced_gradient(jnp.asarray(1.0), problem, 1.0, *parts).gradient)  # only J at theta = 1
    2.0
    """
    # 1. The state, (3.17).
    K_hat = upscaled(theta)
    y = coarse.state(problem, K_hat)

    # 2. The adjoint, (3.18): the right-hand side is minus the derivative of tau R with respect to y.
    difference = problem.weights * (compressed(theta) - _compressed_state(y, Q_phi))  # (n,)
    rhs = difference if Q_phi is None else jnp.matmul(Q_phi.T, difference, precision="highest")
    p = coarse.adjoint(problem, K_hat, 2 * tau * rhs)

    # 3. The derivative with the state held fixed.
    def at_fixed_state(theta):
        return fine_objective(theta) + tau * _coupling(problem, compressed(theta), y, Q_phi)

    objective, direct = jax.value_and_grad(at_fixed_state)(theta)

    # 4. The derivative through the state, (4.28): one matrix G serves all parameters.
    G = coarse.adjoint_sensitivity(problem, y, p)  # like K_hat
    _, pull_back = jax.vjp(upscaled, theta)
    (through_state,) = pull_back(G)

    return ReducedGradient(objective, jax.tree.map(jnp.add, direct, through_state), y, p)


def _compressed_state(y: jax.Array, Q_phi: jax.Array | None) -> jax.Array:
    return y if Q_phi is None else jnp.matmul(Q_phi, y, precision="highest")


def _coupling(
    problem: coarse.CoarseProblem, Q_u: jax.Array, y: jax.Array, Q_phi: jax.Array | None
) -> jax.Array:
    """R_delta, (2.10) or (2.16) with quadrature at the nodes, (3.25)."""
    return jnp.sum(problem.weights * (Q_u - _compressed_state(y, Q_phi)) ** 2)
