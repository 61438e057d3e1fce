r"""The state of a training run: all that is needed to continue it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.training.objectives import Objective, Terms

Tree = Any
RUNNING, CONVERGED, DIVERGED = 0, 1, 2
STATUS = {RUNNING: "running", CONVERGED: "converged", DIVERGED: "diverged"}


class Best(NamedTuple):
    """The iterate with the smallest PDE term so far, or what the objective selects by; before a first one the largest number."""

    value: Array
    step: Array
    params: Tree

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


class Member(NamedTuple):
    """One seed's share of the state; in an ensemble every array has a leading axis of length S.

    Attributes
    ----------
    params : tree
        θ.
    opt_state : tree
        The optimiser's.
    weights : dict of str to ()
        Weights of the residual blocks.
    coarse : tree
        Coarse data at the last refresh, () without a coarse model.
    best : Best
    status : () int32
        RUNNING, CONVERGED or DIVERGED; only a running member moves.
    cause : () int32
        For a diverged member the position of the first non-finite block, the number of blocks for a gradient; else −1.
    """

    params: Tree
    opt_state: Tree
    weights: dict[str, Array]
    coarse: Tree
    best: Best
    status: Array
    cause: Array

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


class Optimiser(NamedTuple):
    """A way to improve θ, as two pure functions; first-order and least-squares methods alike.

    Attributes
    ----------
    init : callable (params) -> opt_state
    step : callable (objective, member, data) -> (params, opt_state, total, Terms)
        One step from ``member``; 𝔍 and its terms are those *before* the step. A step that fails returns parameters that
        are not finite.
    """

    init: Callable[[Tree], Tree]
    step: Callable[[Objective, Member, Tree], tuple[Tree, Tree, Array, Terms]]


class TrainState(NamedTuple):
    """Step counter, shared by all seeds, a key that nothing is drawn from (points have the seed's), and the members, stacked."""

    step: Array
    key: Array
    members: Member

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def init_member(
    objective: Objective,
    optimiser: Optimiser,
    params: Tree,
    data: Tree,
    weights: dict[str, float],
) -> Member:
    """State of one seed before its first step; `params` may come from another run (transfer).

    The coarse data start from K̂[u_θ] where that is usable, otherwise from K̂[0], the mean of the conductivity.
    """
    dtype = jax.tree.leaves(params)[0].dtype
    coarse: Tree = ()
    if objective.coarse is not None:
        model = objective.coarse
        fields = objective.fields(params, data)
        zero = objective.fields(jax.tree.map(jnp.zeros_like, params), data)
        K_hat, K_zero = model.upscale(fields, data), model.upscale(zero, data)
        coarse = model.refresh(jnp.where(model.usable(K_hat), K_hat, K_zero))
    return Member(
        params=params,
        opt_state=optimiser.init(params),
        weights={name: jnp.asarray(weights.get(name, 1.0), dtype) for name in objective.blocks},
        coarse=coarse,
        best=Best(jnp.asarray(jnp.finfo(dtype).max, dtype), jnp.asarray(0, jnp.int32), params),
        status=jnp.asarray(RUNNING, jnp.int32),
        cause=jnp.asarray(-1, jnp.int32),
    )


def stack(members: list[Tree]) -> Tree:
    """Stack equal trees along a new leading seed axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def member(tree: Tree, index: int) -> Tree:
    """The share of seed number `index` of a stacked tree; an index that is not there is refused (JAX takes the nearest one)."""
    counts = {len(leaf) for leaf in jax.tree.leaves(tree)} if isinstance(index, int) else set()
    if any(not -count <= index < count for count in counts):
        raise InputError("seed index", f"an index of {min(counts)} seeds", index, "count from 0")
    return jax.tree.map(lambda leaf: leaf[index], tree)


def init_state(members: list[Member], key: Array) -> TrainState:
    """Ensemble state at step 0."""
    return TrainState(jnp.asarray(0, jnp.int32), key, stack(members))
