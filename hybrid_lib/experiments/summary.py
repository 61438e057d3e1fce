r"""What a run says of itself: errors of its iterates, status and time of every seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.experiments.assemble import Setup
from hybrid_lib.experiments.jumps import smoothing_change
from hybrid_lib.experiments.references import Reference
from hybrid_lib.methods import method_of
from hybrid_lib.methods.points import work
from hybrid_lib.problems import Problem, is_plain
from hybrid_lib.training.ritz import RitzResult

MARGIN = 5.0
"""An error below this many times the estimated error of the reference is as much the reference's as the run's."""
Evaluate = Callable[[Any, Any], dict[str, Any]]
"""(θ, data) ↦ errors, each with a leading seed axis; see :func:`hybrid_lib.experiments.assemble.evaluator`."""


def summary(
    setup: Setup,
    result: training.FitResult,
    evaluate: Evaluate,
    out: Path | str | None,
    finished: tuple[RitzResult | None, ...] = (),
    reference: Reference | None = None,
) -> dict[str, Any]:
    """The object ``run --json`` prints.

    The plain error keys belong to the finished iterate, if there is one, else to the one that ``training.select`` names.
    ``residual`` is the root of the number by which iterates are selected (the PDE term, or J), at that same iterate, in the
    units of the problem; losses in a history are in those of :func:`hybrid_lib.units.units`.
    ``forecast_seconds`` is what all steps take: by the first few, and for a run that was stopped by those that were done.
    ``reference`` holds the estimated relative errors of the reference, and ``doubtful`` of a seed names those of its errors that
    are not well above them: below :data:`MARGIN` times as large. Without a reference it is null, and so are the errors.
    ``left_out`` says why there is none where the time limit was too short for it.
    For an image that was smoothed by name ``smoothing`` says what that did to its mean flux.
    """
    known = {} if reference is None else {"rel_l2": _number(reference.error), "rel_h1": _number(reference.error_h1)}
    config, members = setup.config, result.state.members
    errors = {
        "best": {k: np.asarray(v) for k, v in evaluate(members.best.params, setup.data).items()},
        "last": {k: np.asarray(v) for k, v in evaluate(members.params, setup.data).items()},
    }
    step = int(result.state.step)
    at = {"best": np.asarray(members.best.step), "last": np.full(len(setup.seeds), step)}
    chosen = "last" if config.training.select == "last" else "best"
    data = setup.data_at(max(step - 1, 0)) if chosen == "last" or any(ritz is not None for ritz in finished) else None
    selected = _selected(setup)
    unit = setup.method.unit(setup.problem)
    last = selected(members.params, data, members.coarse) if chosen == "last" else None
    best = np.asarray(members.best.value)
    pde = {"best": np.where(best < np.finfo(best.dtype).max, best, np.inf), "last": last}
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
            "rel_l2": None,
            "rel_h1": None,
            "residual": _number(unit * np.sqrt(float(pde[chosen][index]))),
            "iterations": int(at[chosen][index]),
            "seconds": round(result.seconds, 3),
            "status": status,
        }
        for which in ("best", "last"):
            row |= {f"{which}_{name}": None for name in ("rel_l2", "rel_h1")}
            row |= {f"{which}_{name}": _number(values[index]) for name, values in errors[which].items()}
        row |= {name: row[f"{chosen}_{name}"] for name in errors[chosen]}
        if finished and finished[index] is not None:
            row |= _finished(finished[index], evaluate, selected, _alone((data, members.coarse), index), unit)
            row["seconds"] = round(result.seconds + finished[index].seconds, 3)
        row["doubtful"] = doubtful(row, known)
        row |= _reported(setup, result, finished, chosen, index, data, reference)
        rows.append(row)
    heading = _heading(config, result) | {"run_dir": None if out is None else str(out)}
    return heading | {"reference": known or None, "seeds": rows} | _smoothing(setup.problem)


def _heading(config: Config, result: training.FitResult) -> dict[str, Any]:
    """What a summary says of the run as a whole."""
    step, after = int(result.state.step), config.sampling.grow_after
    done, all_steps = work(after, 0, step), work(after, 0, config.training.steps)  # in steps as long as the first one
    own = result.seconds / done if done else None
    each = own if result.step_seconds is None or not result.finished else result.step_seconds
    return {
        "experiment": config.experiment,
        "method": config.method,
        "network": config.network.kind,
        "optimiser": config.training.optimiser,
        "scale": config.scale,
        "dtype": config.dtype,
        "device": jax.devices()[0].device_kind,
        "run_dir": None,
        "select": config.training.select,
        "steps": step,
        "forecast_seconds": None if each is None else _number(each * all_steps),
    }


def unfinished(config: Config, seeds: tuple[int, ...], result: training.FitResult, unit: float) -> dict[str, Any]:
    """A summary in the form of :func:`summary` for a run that was killed before it wrote one: without errors of its iterates."""
    members, step = result.state.members, int(result.state.step)
    best = np.asarray(members.best.value)
    best = np.where(best < np.finfo(best.dtype).max, best, np.inf)
    select_last = config.training.select == "last"
    names = [f"{which}{name}" for which in ("", "best_", "last_") for name in ("rel_l2", "rel_h1")]
    errors = dict.fromkeys([*names, *method_of(config).reports])
    rows = []
    for index, seed in enumerate(seeds):
        status = training.STATUS[int(members.status[index])]
        rows.append(
            {"seed": seed} | errors
            | {"residual": None if select_last else _number(unit * math.sqrt(best[index]))}
            | {"iterations": step if select_last else int(members.best.step[index])}
            | {"seconds": round(result.seconds, 3), "status": "interrupted" if status == "running" else status, "doubtful": []}
        )  # fmt: skip
    return _heading(config, result) | {"reference": None, "seeds": rows}


def table(summary: dict[str, Any], config: Config) -> str:
    """A summary as text: a row a seed, and what is to be known of the reference and of the steps that are missing."""
    keys = ("experiment", "method", "network", "scale", "dtype", "device")
    lines = ["  ".join(f"{key} {summary[key]}" for key in keys) + f"  eps {config.eps:.6g}"]
    known = {"rel_l2": "rel. L2", "rel_h1": "rel. H1", "residual": "residual"} | {k: k for k in method_of(config).reports}
    names = " ".join(f"{name:>10}" for name in known.values())
    lines.append(f"{'seed':>6} {names} {'iteration':>10} {'seconds':>9}  status")
    for row in summary["seeds"]:
        numbers = [row.get(k) for k in known]
        errors = " ".join(f"{'-':>10}" if number is None else f"{number:>10.2e}" for number in numbers)
        lines.append(f"{row['seed']:>6} {errors} {row['iterations']:>10} {row['seconds']:>9.1f}  {row['status']}")
    before = [f"{row['last_rel_l2']:.2e}" for row in summary["seeds"] if "finish_steps" in row and row["last_rel_l2"]]
    if before:
        lines.append(f"errors are those after the finish; the relative L2 errors before it: {', '.join(before)}")
    doubtful = [row["seed"] for row in summary["seeds"] if row["doubtful"]]
    if summary["reference"] is not None:
        off = [summary["reference"][k] for k in ("rel_l2", "rel_h1")]
        off = ["not known" if e is None else f"{e:.1e}" for e in off]
        more = f"; errors of seed {', '.join(map(str, doubtful))} are not well above these" if doubtful else ""
        lines.append(f"estimated errors of the reference itself: L2 {off[0]}, H1 {off[1]}{more}")
    if "left_out" in summary:
        lines.append(f"errors are left out: {summary['left_out']}")
    if config.training.steps > summary["steps"]:
        total = summary["forecast_seconds"]
        more = f"; all of them take about {duration(total)} here" if total is not None else ""
        lines.append(f"stopped at step {summary['steps']} of {config.training.steps}{more}")
    return "\n".join(lines)


def _reported(
    setup: Setup, result: training.FitResult, finished: tuple[RitzResult | None, ...], chosen: str, index: int, data: Any,
    reference: Reference | None,
) -> dict[str, Any]:  # fmt: skip
    """What the method reports of the iterate whose errors the row has."""
    if not setup.method.reports:
        return {}
    members = result.state.members
    alone = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)  # noqa: E731
    theta = alone(members.best.params if chosen == "best" else members.params)
    if finished and finished[index] is not None:
        theta = finished[index].params
    said = setup.method.report(setup, theta, alone(setup.data if data is None else data), reference)
    return {name: _number(said[name]) for name in setup.method.reports}


def duration(seconds: float) -> str:
    """A time in the largest unit that keeps it above one.

    Examples
    --------
    >>> duration(0.25), duration(45), duration(5400), duration(90)
    ('0.25 s', '45 s', '1.5 h', '1.5 min')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _smoothing(problem: Problem) -> dict[str, Any]:
    """What the smoothing of an image changed, for the summary; nothing for other media."""
    if problem.medium.unsmoothed is None or not is_plain(problem) or len(problem.domain.corners) > 1:
        return {}
    change = smoothing_change(problem.medium, problem.direction)
    return {"smoothing": change._asdict()}


def doubtful(row: dict[str, Any], known: dict[str, float | None]) -> list[str]:
    """Names of the errors in `row` below :data:`MARGIN` times those of the reference, or with a reference of unknown error."""
    return [name for name, off in known.items() if off is None or (row[name] is not None and row[name] < MARGIN * off)]


def _finished(ritz: RitzResult, evaluate: Evaluate, selected: Callable, own: tuple[Any, Any], unit: float) -> dict[str, Any]:
    """What the finish of one seed adds to its row; `own` are its data and coarse data, `unit` that of the residual."""
    theta = jax.tree.map(lambda leaf: leaf[None], ritz.params)
    errors = evaluate(theta, {"fixed": own[0]["fixed"]})
    return {name: _number(values[0]) for name, values in errors.items()} | {
        "residual": _number(unit * np.sqrt(np.asarray(selected(theta, *own)[0], float))),
        "finish_steps": len(ritz.dampings),
        "finish_energies": [float(e) for e in ritz.energies],
        "finish_reason": ritz.reason,
    }


def _alone(tree: Any, index: int) -> Any:
    """One member of a stacked tree, still with a leading axis."""
    return jax.tree.map(lambda leaf: leaf[index : index + 1], tree)


def _selected(setup: Setup) -> Callable[[Any, Any, Any], jax.Array]:
    """Jitted (params, data, coarse data) -> the number that selects the iterate (the PDE term, or J) of each member, (S,)."""

    def one(member: tuple[Any, Any, Any]) -> jax.Array:
        return setup.objective.selected(training.terms(setup.objective, *member))

    return fem.shared(lambda *trees: jax.lax.map(one, trees))


def _number(value) -> float | None:
    """A float for JSON; None where it is not finite."""
    value = float(value)
    return value if math.isfinite(value) else None
