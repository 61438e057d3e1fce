r"""Coordinate descent by parts of θ: one step of an optimiser for each part in turn, the others at rest.

For an objective that is a sum 𝔍(a, b) = 𝔍₁(a) + 𝔍₂(b) but for quadrature, as the hypercircle's, this loses nothing: the normal
equations fall apart into blocks, each with a damping of its own and, for two equal parts, a quarter of the entries.
"""

from __future__ import annotations

from typing import Any

from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.training.objectives import Objective, Terms
from hybrid_lib.training.state import Member, Optimiser

Tree = Any


def alternating(optimiser: Optimiser, parts: tuple[str, ...]) -> Optimiser:
    """A step of `optimiser` on ``θ[part]`` for every part, one after the other.

    Parameters
    ----------
    optimiser : Optimiser
        Its state is kept for each part.
    parts : tuple of str
        Keys of θ; together all of them.

    Returns
    -------
    Optimiser
        Total and terms of a step are those of θ before it.
    """

    def init(params: Tree) -> dict[str, Any]:
        if set(params) != set(parts):
            raise InputError("parts", f"the parts of θ, {sorted(params)}", parts, "name each once")
        return {name: optimiser.init(params[name]) for name in parts}

    def step(objective: Objective, member: Member, data: Tree) -> tuple[Tree, Tree, Array, Terms]:
        params, states = dict(member.params), dict(member.opt_state)
        first = None
        for name in parts:
            alone = member._replace(params=params[name], opt_state=states[name])
            rest = dict(params)
            one = objective.over(lambda part, name=name, rest=rest: rest | {name: part})
            params[name], states[name], total, terms = optimiser.step(one, alone, data)
            first = (total, terms) if first is None else first
        return params, states, *first

    return Optimiser(init, step)
