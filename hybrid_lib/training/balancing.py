r"""Gradient-norm loss balancing (paper section 4.4; Wang, Teng, Perdikaris 2021, as Algorithm 1(c) of Wang et al. 2023).

.. math:: \hat\lambda_k = \frac{\sum_j \|\nabla_\theta L_j\|}{\|\nabla_\theta L_k\|}, \qquad
          \lambda_k \leftarrow a\lambda_k + (1 - a)\hat\lambda_k,

with L_k the *unweighted* terms and a = 0.9: each weighted term then pulls with a gradient of the same size.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib.training.objectives import Objective, terms

Tree = Any


def tree_norm(tree: Tree) -> Array:
    """Euclidean norm of all leaves together."""
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)))


def gradient_norms(objective: Objective, theta: Tree, data: Tree, coarse: Tree) -> dict[str, Array]:
    """‖∇_θ‖r_k‖²‖ for each block, from a forward and a reverse pass a block, one block after the other.

    One forward pass would do for all, but what it keeps for the reverse pass of one block would be held through those of
    the others. The loop over the blocks is there so that the compiler neither merges nor overlaps them.
    """
    names = tuple(objective.blocks)

    def norm(name: str) -> Array:
        return tree_norm(jax.grad(lambda t: terms(objective, t, data, coarse)[name])(theta))

    branches = [lambda name=name: norm(name) for name in names]
    values = jax.lax.map(lambda k: jax.lax.switch(k, branches), jnp.arange(len(names)))
    return dict(zip(names, values, strict=True))


def balance(weights: dict[str, Array], norms: dict[str, Array], momentum: float) -> dict[str, Array]:
    """One update of the weights from the gradient norms of the unweighted terms.

    Parameters
    ----------
    weights, norms : dict of str to Array, shape ()
    momentum : float
        a in [0, 1); the paper's reference uses 0.9.

    Returns
    -------
    dict
        New weights. A block whose gradient vanishes keeps its weight: it asks for nothing.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> one = jnp.array(1.0)
    >>> new = balance({"pde": one, "boundary": one}, {"pde": 3 * one, "boundary": one}, 0.0)
    >>> {name: round(float(w), 3) for name, w in new.items()}
    {'pde': 1.333, 'boundary': 4.0}
    """
    total = sum(norms.values())
    updated = {}
    for name, weight in weights.items():
        a = jnp.asarray(momentum, weight.dtype)
        usable = norms[name] > 0
        ratio = total / jnp.where(usable, norms[name], jnp.ones_like(norms[name]))
        updated[name] = jnp.where(usable, a * weight + (1 - a) * ratio, weight)
    return updated
