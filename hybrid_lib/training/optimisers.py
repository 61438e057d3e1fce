r"""Optimisers from optax: first-order ones with the paper's learning-rate schedule.

.. math:: \mathrm{lr}(t) = \mathrm{lr}_0 \cdot \mathrm{decay\_rate}^{\,t / \mathrm{decay\_every}}

The paper prints a decay of 0.75 every 1,000 iterations. Read literally, the rate is 1e-10 of its start after 80,000 of the
150,000 iterations whose errors still fall; `decay_every` is therefore an option everywhere.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.training.objectives import Objective, Terms, loss, reduced_loss
from hybrid_lib.training.state import Member, Optimiser

Tree = Any


def first_order(transformation: optax.GradientTransformation) -> Optimiser:
    """Any optax gradient transformation as an :class:`.Optimiser`: one evaluation of loss and gradient a step."""

    def step(objective: Objective, member: Member, data: Tree) -> tuple[Tree, Tree, Array, Terms]:
        (total, terms), gradient = jax.value_and_grad(
            lambda theta: loss(objective, theta, member.weights, data, member.coarse), has_aux=True
        )(member.params)
        with jax.numpy_dtype_promotion("standard"):  # optax raises float rates to integer counts
            updates, opt_state = transformation.update(gradient, member.opt_state, member.params)
            params = optax.apply_updates(member.params, updates)
        return params, opt_state, total, terms

    return Optimiser(transformation.init, step)


def adam(
    learning_rate: float,
    decay_rate: float = 0.75,
    decay_every: int = 1000,
    b1: float = 0.9,
    b2: float = 0.999,
) -> Optimiser:
    """Adam with an exponentially decaying rate (Kingma & Ba; the paper's defaults).

    Parameters
    ----------
    learning_rate : float
        lr₀; the paper uses 5e-4 (Ms) and 1e-3 (MLP).
    decay_rate : float
        Factor in (0, 1] for every `decay_every` steps.
    decay_every : int
        Steps; 1000 is the paper's printed value.
    b1, b2 : float
        Moments' decay rates.

    Notes
    -----
    The 1e-8 beside the root of the second moment is absolute: a step does not depend on the size of the loss as long as
    gradients are far above it. The objectives of the experiments are without units, see ``experiments.units``.

    Raises
    ------
    InputError
        If a rate is out of its range.
    """
    if not learning_rate > 0:
        raise InputError("learning_rate", "a number > 0", learning_rate, "the paper uses 5e-4 to 1e-3")
    if not 0 < decay_rate <= 1:
        raise InputError("decay_rate", "a number in (0, 1]", decay_rate, "1 keeps the rate constant")
    if decay_every < 1:
        raise InputError("decay_every", "an integer >= 1", decay_every, "the paper prints 1000")
    schedule = optax.exponential_decay(learning_rate, transition_steps=decay_every, decay_rate=decay_rate)
    return first_order(optax.adam(schedule, b1=b1, b2=b2))


def lbfgs(memory: int = 20, line_search_steps: int = 20) -> Optimiser:
    r"""L-BFGS with a zoom line search (strong Wolfe conditions), from optax.

    With a coarse problem it minimises the *reduced* functional, the coarse state solved anew at every evaluation: a line
    search needs one function and its own gradient, which the lagged state of Algorithm 3.1 is not.

    Parameters
    ----------
    memory : int
        Pairs of steps and gradient differences that are kept.
    line_search_steps : int
        Most evaluations of loss and gradient in one line search.

    Returns
    -------
    Optimiser
        O(memory·P) beside the evaluations. float64 is advised: in float32 the line search ends early.

    Raises
    ------
    InputError
        If a number is not positive.

    Examples
    --------
    >>> lbfgs(memory=0)
    Traceback (most recent call last):
    hybrid_lib.errors.InputError: memory: expected an integer >= 1; received 0; 10 to 50 is usual
    """
    if memory < 1:
        raise InputError("memory", "an integer >= 1", memory, "10 to 50 is usual")
    if line_search_steps < 1:
        raise InputError("line_search_steps", "an integer >= 1", line_search_steps, "20 is usual")
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=line_search_steps)
    transformation = optax.lbfgs(memory_size=memory, linesearch=search)

    def init(params: Tree) -> Tree:  # optax's numbers are weakly typed: the loop would compile a second time
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), transformation.init(params))

    def step(objective: Objective, member: Member, data: Tree) -> tuple[Tree, Tree, Array, Terms]:
        def value(theta: Tree) -> tuple[Array, Terms]:
            total, terms, _ = reduced_loss(objective, theta, member.weights, data, member.coarse)
            return total, terms

        (total, terms), gradient = jax.value_and_grad(value, has_aux=True)(member.params)
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = transformation.update(
                gradient,
                member.opt_state,
                member.params,
                value=total,
                grad=gradient,
                value_fn=lambda theta: value(theta)[0],
            )
            params = optax.apply_updates(member.params, updates)
        return params, opt_state, total, terms

    return Optimiser(init, step)
