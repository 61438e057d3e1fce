r"""Coordinate descent by parts of θ: one step of an optimiser for each part in turn, the others at rest.

For an objective that is a sum 𝔍(a, b) = 𝔍₁(a) + 𝔍₂(b) but for quadrature, as the hypercircle's, this loses nothing: the normal
equations fall apart into blocks, each with a damping of its own and, for two equal parts, a quarter of the entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.training.objectives import Objective, Terms
from hybrid_lib.training.state import Member, Optimiser

Tree = Any


def alternating(
    optimiser: Optimiser, parts: tuple[str, ...], split: Callable[[Tree], tuple[Tree, Tree]] = lambda part: (part, {})
) -> Optimiser:
    """A step of `optimiser` on ``θ[part]`` for every part, one after the other.

    Parameters
    ----------
    optimiser : Optimiser
        Its state is kept for each part.
    parts : tuple of str
        Keys of θ; together all of them.
    split : callable
        A part ↦ what moves and what stays at rest, two dicts.

    Returns
    -------
    Optimiser
        Total and terms of a step are those of θ before it.
    """

    def whole(part: Tree, still: Tree) -> Tree:
        return {**part, **still} if still else part

    def init(params: Tree) -> dict[str, Any]:
        if set(params) != set(parts):
            raise InputError("parts", f"the parts of θ, {sorted(params)}", parts, "name each once")
        return {name: optimiser.init(split(params[name])[0]) for name in parts}

    def step(objective: Objective, member: Member, data: Tree) -> tuple[Tree, Tree, Array, Terms]:
        params, states = dict(member.params), dict(member.opt_state)
        first = None
        for name in parts:
            part, still = split(params[name])
            alone = member._replace(params=part, opt_state=states[name])
            rest = dict(params)
            one = objective.over(lambda part, name=name, rest=rest, still=still: rest | {name: whole(part, still)})
            part, states[name], total, terms = optimiser.step(one, alone, data)
            params[name] = whole(part, still)
            first = (total, terms) if first is None else first
        return params, states, *first

    return Optimiser(init, step)
