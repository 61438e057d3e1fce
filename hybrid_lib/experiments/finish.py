"""The finish of a run: a few Galerkin steps after training by residuals, see :mod:`hybrid_lib.training.ritz`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from hybrid_lib import training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import Setup, evaluator
from hybrid_lib.methods import finish_steps
from hybrid_lib.training.ritz import RitzResult

if TYPE_CHECKING:
    from hybrid_lib.experiments.result import RunResult

ORDER = 9
"""Order of the rule that makes the steps."""
JUDGE_ORDER = 11
"""Order of the rule that judges them."""


class Finish(NamedTuple):
    """A finished seed: `ritz` (parameters, energies, dampings) and the relative errors before and after."""

    ritz: RitzResult
    before: dict[str, float]
    after: dict[str, float]

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def finish(result: RunResult, seed_index: int = 0, steps: int = 3, order: int = ORDER, judge_order: int = JUDGE_ORDER) -> Finish:
    """Galerkin steps on the last iterate of one seed.

    Parameters
    ----------
    result : RunResult
        A run in float64 with hard boundary conditions.
    seed_index : int
    steps : int
        Most steps; see :func:`hybrid_lib.training.ritz.ritz_finish` for when it stops.
    order, judge_order : int
        Orders of the rule that makes the steps and of the one that judges them, on cells of side ε/2; ε/6 in one dimension. The
        hypercircle has two draws of points instead.

    Returns
    -------
    Finish
        Errors are computed for the report alone; no decision reads them.

    Raises
    ------
    InputError
        For soft boundary conditions, whose energy is another, and for the first-order system.
    """
    setup = result.setup
    if not setup.method.has_energy(setup.config):
        raise InputError(
            "finish", "formulation=strong or hypercircle, boundary=hard and dtype=float64",
            f"formulation={setup.config.formulation}, boundary={setup.config.boundary}, dtype={setup.config.dtype}", "set these",
        )  # fmt: skip
    theta = result.parameters(seed_index, "last")
    fixed = training.member(setup.data["fixed"], seed_index)
    ritz = setup.method.finish(setup, theta, fixed, steps, (order, judge_order))
    errors = evaluator(setup.ansatz, result.reference)
    alone = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)  # noqa: E731
    values = [errors(alone(t), alone({"fixed": fixed})) for t in (theta, ritz.params)]
    before, after = ({k: float(v[0]) for k, v in row.items()} for row in values)
    return Finish(ritz, before, after)


def finish_all(setup: Setup, result: training.FitResult) -> tuple[RitzResult | None, ...]:
    """The finish that the configuration asks for: an entry a seed, None for one that diverged; empty after an interruption."""
    steps = finish_steps(setup.config, setup.problem.domain.dimension)
    if not (steps and result.finished):
        return ()
    members = result.state.members
    return tuple(
        None
        if training.STATUS[int(code)] == "diverged"
        else setup.method.finish(
            setup, training.member(members.params, k), training.member(setup.data["fixed"], k), steps, (ORDER, JUDGE_ORDER)
        )
        for k, code in enumerate(np.asarray(members.status))
    )
