r"""First-order optimisers, from optax, with the paper's learning-rate schedule.

    lr(t) = lr₀ · decay_rate^(t / decay_every)

The paper prints a decay of 0.75 every 1,000 iterations. Read literally, the rate is 1e-10 of its start after 80,000 of the
150,000 iterations whose errors still fall; `decay_every` is therefore an option everywhere.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.training.objectives import Objective, Terms, loss
from hybrid_lib.training.state import Member, Optimiser

Tree = Any


def first_order(transformation: optax.GradientTransformation) -> Optimiser:
    """Any optax gradient transformation as an :class:`Optimiser`: one evaluation of loss and gradient a step."""

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
