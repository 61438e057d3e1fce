r"""Strong residual of the lifted diffusion problem, at one point (paper (2.7), (4.8), (4.11)).

With w = u + e·x and w = e·x on ∂Ω, the equation −∇·(K∇w) = q becomes, for u = 0 on ∂Ω,

    −∇·(K∇u) = f,   f = q + ∇·(K e),   −∇·(K∇u) = −tr(K∇²u) − (∇·K)·∇u,   (∇·K)_j = Σ_i ∂_i K_ij.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

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
        q.
    divergence : callable (d,) -> (d,)
        Row divergence of K (``Medium.divergence``).
    direction : array-like, shape (d,)
        e, the direction of the linear temperature drop.
    """

    def f(x: Array) -> Array:
        return source(x) + divergence(x) @ jnp.asarray(direction, x.dtype)

    return f
