r"""Algorithm 3.1 as one compiled loop, for one seed or an ensemble, for every objective and every optimiser.

An iteration, in this order: every `gate_every` steps compare K̂[u_θ] with the K̂ of the coarse data and refresh state and
adjoint operator if it moved by more than `gate_tolerance`; every `balance_every` steps renew the weights; optimiser step,
with derivatives by AD (which contain the adjoint part, see :mod:`hybrid_lib.multiscale.coarse`). Many iterations run as one
compiled program with a *dynamic* end, so that ten steps equal five, a restore and five bit for bit: the length of a slice
is not compiled in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.training.balancing import balance, gradient_norms
from hybrid_lib.training.layout import Layout
from hybrid_lib.training.objectives import Objective, PointFields
from hybrid_lib.training.state import CONVERGED, DIVERGED, RUNNING, Best, Member, Optimiser, TrainState

Tree = Any


@dataclass(frozen=True)
class LoopOptions:
    """Options of Algorithm 3.1; the defaults are the paper's.

    Attributes
    ----------
    tolerance : float
        Stop a seed when 𝔍(θ) ≤ tolerance; 0 never does.
    gate_every : int
        T_K: steps between two tests of the gate.
    gate_tolerance : float
        The coarse data are refreshed when ``CoarseModel.distance`` exceeds this: `|K̂ − K̂_stored|` over the lower bound α of the
        medium, which is 1 for the paper's media.
    balance_every : int
        Steps between two updates of the weights; 0 keeps them.
    balance_momentum : float
        Share of the old weight in the moving average.
    balance_kept : tuple of str
        Blocks that keep their weight and are left out of the balancing.
    balance_reference : str
        Numerator of the targets: ``sum`` of the norms, or the norm of the ``residual``, the first block.
    balance_start : str
        ``given``: the update at step 0 mixes like any other; ``balanced``: it replaces the weights.
    record_every : int
        Steps between two rows of the history.
    """

    tolerance: float = 0.0
    gate_every: int = 100
    gate_tolerance: float = 1e-2
    balance_every: int = 100
    balance_momentum: float = 0.9
    record_every: int = 10
    balance_kept: tuple[str, ...] = ()
    balance_reference: str = "sum"
    balance_start: str = "given"


class Program(NamedTuple):
    """The compiled slice of training: `advance` (state, data, end) -> (state, rows), and what it was made of.

    On several devices there is a `layout`: state and rows are copied to all of them, and data lie where `place` puts them.
    """

    advance: Callable[[TrainState, Tree, Array], tuple[TrainState, dict[str, Array]]]
    options: LoopOptions
    capacity: int
    layout: Layout | None = None
    place: Callable[[Tree], Tree] = lambda data: data


class Iteration(NamedTuple):
    """An iteration of Algorithm 3.1 for one seed, in its two halves.

    Attributes
    ----------
    prepare : callable (step, member, data) -> member
        Gate and weights, where they are due at this step.
    advance : callable (step, member, data) -> (member, row of the history)
        The step itself.
    period : callable (step) -> step
        The next step after this one at which something is due; the largest integer if nothing ever is.
    """

    prepare: Callable[[Array, Member, Tree], Member]
    advance: Callable[[Array, Member, Tree], tuple[Member, dict[str, Array]]]
    period: Callable[[Array], Array]


def iteration(objective: Objective, optimiser: Optimiser, options: LoopOptions) -> Iteration:
    """The iteration of this objective with this optimiser."""
    names = tuple(objective.blocks)
    gated = objective.coarse is not None
    balanced = options.balance_every > 0 and len(set(names) - set(options.balance_kept)) > 1
    intervals = [options.gate_every] * gated + [options.balance_every] * balanced

    def gate(member: Member, data: Tree) -> Tree:
        model = objective.coarse
        K_hat = model.upscale(objective.fields(member.params, data), data)
        moved = model.distance(member.coarse, K_hat) > options.gate_tolerance
        return lax.cond(moved & model.usable(K_hat), lambda: model.refresh(K_hat), lambda: member.coarse)

    def rebalance(step: Array, member: Member, data: Tree) -> dict[str, Array]:
        norms = gradient_norms(objective, member.params, data, member.coarse, options.balance_kept)
        momentum = options.balance_momentum
        if options.balance_start == "balanced":
            momentum = jnp.where(step == 0, 0.0, momentum)
        return balance(member.weights, norms, momentum, names[0] if options.balance_reference == "residual" else None)

    def prepare(step: Array, member: Member, data: Tree) -> Member:
        if gated:
            due = step % options.gate_every == 0
            coarse = lax.cond(due, lambda: gate(member, data), lambda: member.coarse)
            member = member._replace(coarse=coarse)
        if balanced:
            due = step % options.balance_every == 0
            weights = lax.cond(due, lambda: rebalance(step, member, data), lambda: member.weights)
            member = member._replace(weights=weights)
        return member

    def period(step: Array) -> Array:
        following = [(step // every + 1) * every for every in intervals]
        return functools.reduce(jnp.minimum, following, jnp.asarray(jnp.iinfo(step.dtype).max, step.dtype))

    def advance(step: Array, member: Member, data: Tree) -> tuple[Member, dict[str, Array]]:
        params, opt_state, total, terms = optimiser.step(objective, member, data)

        values = jnp.stack([terms.parts[name] for name in names])
        finite = jnp.isfinite(total) & _finite(params)
        cause = jnp.where(jnp.all(jnp.isfinite(values)), len(names), jnp.argmin(jnp.isfinite(values)))
        converged = finite & (total <= options.tolerance)
        status = jnp.where(finite, jnp.where(converged, CONVERGED, RUNNING), DIVERGED).astype(jnp.int32)
        moves = (member.status == RUNNING) & (status == RUNNING)
        ran = member.status == RUNNING
        value = objective.selected(terms.parts)
        better = ran & finite & (value < member.best.value)
        best = _select(better, Best(value, step, member.params), member.best)
        advanced = member._replace(
            params=_select(moves, params, member.params),
            opt_state=_select(moves, opt_state, member.opt_state),
            best=best,
            status=jnp.where(ran, status, member.status),
            cause=jnp.where(ran & ~finite, cause.astype(jnp.int32), member.cause),
        )
        row = {f"loss/{name}": terms.parts[name] for name in names}
        row |= {f"weight/{name}": member.weights[name] for name in names}
        if terms.upscaled is not None:
            row["upscaled"] = terms.upscaled
        return advanced, row

    return Iteration(prepare, advance, period)


def program(
    objective: Objective,
    optimiser: Optimiser,
    options: LoopOptions,
    seeds: int,
    capacity: int = 1000,
    layout: Layout | None = None,
) -> Program:
    """Compile-ready training slice for an ensemble of `seeds` members as one vmapped program.

    Parameters
    ----------
    objective : Objective
    optimiser : Optimiser
    options : LoopOptions
    seeds : int
        S, the length of the leading axis of the members and of `data`.
    capacity : int
        Rows of history one call can return, hence at most ``capacity * record_every`` steps a call.
    layout : Layout, optional
        On several devices.

    Returns
    -------
    Program
        Its `advance(state, data, end)` runs up to step `end` or until no member runs any more.

    Raises
    ------
    InputError
        If an interval is not positive.
    """
    for name in ("gate_every", "record_every"):
        if getattr(options, name) < 1:
            raise InputError(name, "an integer >= 1", getattr(options, name), "count in training steps")
    single = iteration(objective if layout is None else over_points(objective, layout), optimiser, options)
    prepare, step_members = (_over_seeds(part, seeds, layout) for part in (single.prepare, single.advance))

    @fem.shared
    def advance(state: TrainState, data: Tree, end: Array) -> tuple[TrainState, dict[str, Array]]:
        rows = _empty_rows(objective, state.members, data, capacity)
        first = -(-state.step // options.record_every)  # index of the first row of this slice

        def running(carry, end=end):
            state, _ = carry
            return (state.step < end) & jnp.any(state.members.status == RUNNING)

        def step(carry):
            state, rows = carry
            members, row = step_members(state.step, state.members, data)
            index = state.step // options.record_every - first
            keep = state.step % options.record_every == 0
            slot = jnp.where(keep, index, capacity)  # a slot out of bounds is dropped
            rows = jax.tree.map(lambda all_, new: all_.at[slot].set(new, mode="drop"), rows, row)
            return TrainState(state.step + 1, state.key, members), rows

        def period(carry):  # a loop in the loop: what is due and the step never hold their arrays at the same time
            state, rows = carry
            stop = jnp.minimum(end, single.period(state.step))
            ready = state._replace(members=prepare(state.step, state.members, data))
            return lax.while_loop(lambda carry: running(carry, stop), step, (ready, rows))

        out = lax.while_loop(running, period, (state, rows))
        return out if layout is None else layout.whole(out)

    def place(data: Tree) -> Tree:
        inputs = objective.fields.inputs if isinstance(objective.fields, PointFields) else lambda data: {}
        rows = jax.tree.leaves(jax.eval_shape(jax.vmap(inputs), data))
        return layout.placed(data, {leaf.shape[1] for leaf in rows})

    return Program(advance, options, capacity) if layout is None else Program(advance, options, capacity, layout, place)


def over_points(objective: Objective, layout: Layout) -> Objective:
    """The objective with its points over the devices, where its fields know points."""
    if not isinstance(objective.fields, PointFields):
        return objective
    return replace(objective, fields=replace(objective.fields, layout=layout))


def _over_seeds(function: Callable, seeds: int, layout: Layout | None = None) -> Callable:
    """`function` (step, member, data) over the leading axes of members and data."""
    if layout is not None:
        return layout.over_seeds(_over_seeds(function, seeds // layout.seeds))
    if seeds > 1:
        return jax.vmap(function, in_axes=(None, 0, 0))

    def single(step: Array, members: Member, data: Tree) -> Any:  # without the batch axis matrix products keep their fastest form
        out = function(step, *jax.tree.map(lambda leaf: leaf[0], (members, data)))
        return jax.tree.map(lambda leaf: leaf[None], out)

    return single


def _empty_rows(objective: Objective, members: Member, data: Tree, capacity: int) -> dict[str, Array]:
    """History of `capacity` rows, filled with zeros: a scalar for each term and weight, and K̂."""
    like = members.best.value  # (S,)
    rows = {f"{kind}/{name}": like for kind in ("loss", "weight") for name in objective.blocks}
    if objective.coarse is not None:
        upscale = jax.vmap(lambda theta, d: objective.coarse.upscale(objective.fields(theta, d), d))
        rows["upscaled"] = jax.eval_shape(upscale, members.params, data)
    return {name: jnp.zeros((capacity, *row.shape), row.dtype) for name, row in rows.items()}


def _finite(tree: Tree) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _select(condition: Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
