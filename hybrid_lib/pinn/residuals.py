r"""Residuals of the lifted diffusion problem at one point: strong form (paper (2.1), (4.8), (4.11)) and first-order system.

With w = u + e·x and w = e·x on ∂Ω, the equation −∇·(K∇w) = q becomes, for u = 0 on ∂Ω,

.. math:: -\nabla\cdot(K\nabla u) = f, \qquad f = q + \nabla\cdot(Ke), \\
          -\nabla\cdot(K\nabla u) = -\operatorname{tr}(K\nabla^2 u) - (\nabla\cdot K)\cdot\nabla u, \qquad
          (\nabla\cdot K)_j = \sum_i \partial_i K_{ij},

or, with the flux σ as an unknown of its own and no derivative of K, σ = K∇w and ∇·σ + q = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from hybrid_lib import fem
from hybrid_lib.pinn.jets import Jet


def strong_residual(jet: Jet, conductivity: Array, divergence: Array, source: Array) -> Array:
    r"""A u − f = −∇·(K∇u) − f at one point.

    Parameters
    ----------
    jet : Jet
        (u, ∇u, Δu) for a scalar conductivity, (u, ∇u, tr(K∇²u)), seeded with the metric K, for a tensor.
    conductivity : Array, shape () or (d, d)
        K(x); in the tensor case it already stands in the jet's second-order term.
    divergence : Array, shape (d,)
        Row divergence (∇·K)_j = Σ_i ∂_i K_ij; for a scalar the gradient ∇K.
    source : Array, shape ()
        f(x).

    Returns
    -------
    Array, shape ()
        The residual; differentiable in all arguments.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from hybrid_lib.pinn.jets import from_function
    >>> jet = from_function(lambda x: x[0] ** 2, jnp.array([0.5]))
    >>> float(strong_residual(jet, jnp.array(3.0), jnp.array([1.0]), jnp.array(-7.0)))  # −(3·2 + 1·1) + 7
    0.0
    """
    second = conductivity * jet.laplacian if jnp.ndim(conductivity) == 0 else jet.laplacian
    first = sum(divergence[k] * g for k, g in enumerate(jet.gradient))
    return -(second + first) - source


def lifted_source(
    source: Callable[[Array], Array], divergence: Callable[[Array], Array], direction: Array
) -> Callable[[Array], Array]:
    r"""f = q + ∇·(K e) = q + (∇·K)·e as a function of one point (paper (4.8)).

    Parameters
    ----------
    source : callable (d,) -> ()
        *q*.
    divergence : callable (d,) -> (d,)
        Row divergence of K (``Medium.divergence``).
    direction : array-like, shape (d,)
        e, the direction of the linear temperature drop.
    """

    def f(x: Array) -> Array:
        return source(x) + divergence(x) @ jnp.asarray(direction, x.dtype)

    return f


def flux_residual(flux: Array, gradient: Array, conductivity: Array) -> Array:
    r"""R(σ − K∇w) at one point, where RᵀR = K⁻¹: its square is (σ − K∇w)·K⁻¹(σ − K∇w).

    Parameters
    ----------
    flux : Array, shape (d,)
        σ(x).
    gradient : Array, shape (d,)
        ∇w(x) = ∇u + e.
    conductivity : Array, shape () or (d, d)
        K(x); for a scalar R = K^{−1/2}, for a tensor R = L⁻¹ with the Cholesky factor K = LLᵀ.

    Returns
    -------
    Array, shape (d,)
        Differentiable in all arguments.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> flux_residual(jnp.array([5.0]), jnp.array([1.0]), jnp.array(4.0)).tolist()  # (5 − 4)/2
    [0.5]
    """
    if jnp.ndim(conductivity) == 0:
        return (flux - conductivity * gradient) / jnp.sqrt(conductivity)
    lower, rest, whitened = fem.tensor_root(conductivity), flux - conductivity @ gradient, []
    for i in range(len(flux)):  # forward substitution, entry by entry
        whitened.append((rest[i] - sum(lower[i, j] * whitened[j] for j in range(i))) / lower[i, i])
    return jnp.stack(whitened)


def balance_residual(divergence: Array, source: Array) -> Array:
    """∇·σ + q, the balance of the first-order system; `source` is q itself, not the lifted f."""
    return divergence + source
