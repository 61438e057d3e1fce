r"""Gradient-norm loss balancing (paper section 4.4; Wang, Teng, Perdikaris 2021, as Algorithm 1(c) of Wang et al. 2023).

.. math:: \hat\lambda_k = \frac{\sum_j \|\nabla_\theta L_j\|}{\|\nabla_\theta L_k\|}, \qquad
          \lambda_k \leftarrow a\lambda_k + (1 - a)\hat\lambda_k,

with L_k the *unweighted* terms and a = 0.9: each weighted term then pulls with a gradient of the same size.

Algorithm 1 of Wang et al. 2023, for the terms of an evolution equation (initial, boundary, residual): 4. all weights are set
to 1; 5. in step n = 1, ..., S, if n mod f = 0, (c) :math:`\hat\lambda_k` as above for *every* term, the sum in the numerator;
(d) :math:`\lambda \leftarrow a\lambda_{old} + (1 - a)\hat\lambda_{new}`; then the gradient step. Recommended: f = 1,000, a =
0.9. (Wang et al. 2021 divide the largest entry of the residual's gradient by the mean entry of that of another term and leave
the residual's weight at 1; the share of the *new* weight is 0.1 in print and 0.9 in the preprint of 2020. Public code of the
authors has the mean of the norms in the numerator: a common factor, which Adam does not see.) The paper cites this for
"automatic loss balancing at every 100 steps" and does not say which of its terms are balanced, the coupling τ₂R being none of
the three, nor a, nor how the weights start, nor whether step 0 counts. What counts is τ₂ / λ_pde, the effective weight of the
coupling. Readings, as settings of ``training``:

* ``balance_terms``: ``all`` (the default), or ``without-coupling``, where the coupling keeps ``coarse.weight`` and no part in
  the sum;
* ``balance_reference``: numerator ``sum`` (the default) or ``residual``, which fixes λ_pde = 1 if it starts there;
* ``balance_momentum``: a = 0.9 before the old weight; 0.1 puts the 0.9 before the new one;
* ``balance_start``: ``given`` (the default), the first update mixes the weights given, 1 if none are, or ``balanced``,
  it replaces them.
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


def gradient_norms(
    objective: Objective, theta: Tree, data: Tree, coarse: Tree, kept: tuple[str, ...] = ()
) -> dict[str, Array]:
    """‖∇_θ‖r_k‖²‖ for each block but those `kept`, from a forward and a reverse pass a block, one block after the other.

    One forward pass would do for all, but what it keeps for the reverse pass of one block would be held through those of
    the others. The loop over the blocks is there so that the compiler neither merges nor overlaps them.
    """
    names = tuple(name for name in objective.blocks if name not in kept)

    def norm(name: str) -> Array:
        return tree_norm(jax.grad(lambda t: terms(objective, t, data, coarse)[name])(theta))

    branches = [lambda name=name: norm(name) for name in names]
    values = jax.lax.map(lambda k: jax.lax.switch(k, branches), jnp.arange(len(names)))
    return dict(zip(names, values, strict=True))


def balance(
    weights: dict[str, Array], norms: dict[str, Array], momentum: float | Array, reference: str | None = None
) -> dict[str, Array]:
    """One update of the weights from the gradient norms of the unweighted terms.

    Parameters
    ----------
    weights : dict of str to Array, shape ()
    norms : dict of str to Array, shape ()
        The terms to balance; a weight without a norm is kept.
    momentum : float
        a in [0, 1); the paper's reference uses 0.9.
    reference : str, optional
        The term whose norm is the numerator; default the sum of all.

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
    >>> new = balance({"pde": one, "coupling": 7 * one}, {"pde": 3 * one}, 0.0, "pde")
    >>> {name: round(float(w), 3) for name, w in new.items()}
    {'pde': 1.0, 'coupling': 7.0}
    """
    total = sum(norms.values()) if reference is None else norms[reference]
    updated = dict(weights)
    for name in norms:
        weight = weights[name]
        a = jnp.asarray(momentum, weight.dtype)
        usable = norms[name] > 0
        ratio = total / jnp.where(usable, norms[name], jnp.ones_like(norms[name]))
        updated[name] = jnp.where(usable, a * weight + (1 - a) * ratio, weight)
    return updated
