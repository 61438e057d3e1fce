r"""What a run says of itself: errors of its iterates, status and time of every seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hybrid_lib import training
from hybrid_lib.experiments.assemble import Setup
from hybrid_lib.training.ritz import RitzResult

Evaluate = Callable[[Any, Any], dict[str, Any]]
"""(θ, data) ↦ errors, each with a leading seed axis; see :func:`hybrid_lib.experiments.assemble.evaluator`."""


def summary(
    setup: Setup,
    result: training.FitResult,
    evaluate: Evaluate,
    out: Path | str | None,
    finished: tuple[RitzResult | None, ...] = (),
) -> dict[str, Any]:
    """The object ``run --json`` prints.

    The plain error keys belong to the finished iterate, if there is one, else to the one that ``training.select`` names.
    """
    config, members = setup.config, result.state.members
    errors = {
        "best": {k: np.asarray(v) for k, v in evaluate(members.best.params, setup.data).items()},
        "last": {k: np.asarray(v) for k, v in evaluate(members.params, setup.data).items()},
    }
    step = int(result.state.step)
    at = {"best": np.asarray(members.best.step), "last": np.full(len(setup.seeds), step)}
    pde = {"best": np.asarray(members.best.value, float), "last": _last_selected(setup, result)}
    chosen = "last" if config.training.select == "last" else "best"
    blocks = [*setup.objective.blocks, "gradient"]
    rows = []
    for index, seed in enumerate(setup.seeds):
        status = training.STATUS[int(members.status[index])]
        if status == "running":
            status = "completed" if result.finished else "time limit"
        elif status == "diverged":
            status = f"diverged: not finite in {blocks[int(members.cause[index])]}"
        row = {
            "seed": seed,
            "rel_l2": _number(errors[chosen]["rel_l2"][index]),
            "rel_h1": _number(errors[chosen]["rel_h1"][index]),
            "residual": _number(np.sqrt(pde[chosen][index])),
            "iterations": int(at[chosen][index]),
            "seconds": round(result.seconds, 3),
            "status": status,
        }
        for which in ("best", "last"):
            row |= {f"{which}_{name}": _number(values[index]) for name, values in errors[which].items()}
        if finished and finished[index] is not None:
            row |= _finished(setup, finished[index], evaluate, index)
            row["seconds"] = round(result.seconds + finished[index].seconds, 3)
        rows.append(row)
    return {
        "experiment": config.experiment,
        "method": config.method,
        "network": config.network.kind,
        "optimiser": config.training.optimiser,
        "scale": config.scale,
        "dtype": config.dtype,
        "device": jax.devices()[0].device_kind,
        "run_dir": None if out is None else str(out),
        "select": config.training.select,
        "steps": step,
        "seeds": rows,
    }


def _finished(setup: Setup, ritz: RitzResult, evaluate: Evaluate, index: int) -> dict[str, Any]:
    """What the finish of one seed adds to its row."""
    alone = {"fixed": jax.tree.map(lambda leaf: leaf[index : index + 1], setup.data["fixed"])}
    errors = evaluate(jax.tree.map(lambda leaf: leaf[None], ritz.params), alone)
    return {name: _number(values[0]) for name, values in errors.items()} | {
        "finish_steps": len(ritz.dampings),
        "finish_energies": [float(e) for e in ritz.energies],
        "finish_reason": ritz.reason,
    }


def _last_selected(setup: Setup, result: training.FitResult) -> np.ndarray:
    """The number that selects the iterate, in the last recorded row (the PDE term, or J); nan if there is none."""
    rows = {name: result.history.get(f"loss/{name}") for name in setup.objective.blocks}
    if any(column is None or not len(column) for column in rows.values()):
        return np.full(len(setup.seeds), np.nan)
    return np.asarray(setup.objective.selected({name: column[-1] for name, column in rows.items()}), float)


def _number(value) -> float | None:
    """A float for JSON; None where it is not finite."""
    value = float(value)
    return value if math.isfinite(value) else None
