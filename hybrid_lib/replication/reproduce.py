r"""Run what the ledger still lacks: in slices, resumable, cheapest first, into small artefacts.

A run lives in ``runs/<run>`` (checkpoint, history) and is exported to ``book/results/<run>.json`` and ``.npz`` after every slice,
finished or not; the ledger is written anew each time. A kill at any moment costs the iterations since the last checkpoint. Where
``runs/<run>`` is missing the run goes on from the checkpoint among the artefacts, if there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from hybrid_lib import experiments, training
from hybrid_lib.config import fingerprint
from hybrid_lib.errors import InputError, rounded
from hybrid_lib.experiments import folder
from hybrid_lib.experiments.summary import duration
from hybrid_lib.replication import artefacts, calculations, table, travel
from hybrid_lib.replication.artefacts import Artefact
from hybrid_lib.replication.claims import CLAIMS
from hybrid_lib.replication.runs import RUNS, RunSpec, configuration, cost

Say = Callable[[str], None]
Callback = Callable[[training.FitResult], None]


def missing(names: Sequence[str], results: Path) -> list[str]:
    """Those of `names` (runs and calculations) without a finished artefact: calculations first, then runs, cheapest first."""

    def order(name: str) -> tuple[bool, float]:
        return (name in RUNS, cost(RUNS[name]) if name in RUNS else 0.0)

    def done(name: str) -> bool:
        artefact = _known(name, results)
        return artefact is not None and artefact.complete

    return sorted((name for name in dict.fromkeys(names) if not done(name)), key=order)


def wanted(claims: Sequence[str], scale: str | None = None) -> list[str]:
    """Names of the runs and calculations that `claims` rest on; with none given, all there are.

    Parameters
    ----------
    claims : sequence of str
        Identifiers of claims, or names of runs.
    scale : str, optional
        ``paper`` or ``laptop``: only runs of this scale.

    Raises
    ------
    InputError
        For a name that is neither a claim nor a run.
    """
    names: list[str] = []
    for item in claims or (*calculations.CALCULATIONS, *RUNS):
        if item in CLAIMS:
            names += CLAIMS[item].waits_for
        elif item in RUNS or item in calculations.CALCULATIONS:
            names.append(item)
        else:
            known = ", ".join((*CLAIMS, *calculations.CALCULATIONS, *RUNS))
            raise InputError("claim or run", f"one of {known}", repr(item), "see `hybrid reproduce --list`")
    return [
        name
        for name in dict.fromkeys(names)
        if scale is None or name not in RUNS or RUNS[name].scale == scale
    ]


def reproduce(
    names: Sequence[str],
    *,
    runs: Path,
    results: Path,
    time_limit: float | None = None,
    smoke: bool = False,
    say: Say = print,
    progress: Callable[[int], AbstractContextManager[tuple[Callback, ...]]] | None = None,
    checkpoint_every: float = 30.0,
) -> list[Artefact]:
    """Do the named runs and calculations, in this order, until they are done or the time is up.

    Parameters
    ----------
    names : sequence of str
        From :func:`missing`.
    runs : Path
        Folder of the run directories; an existing run is resumed.
    results : Path
        Folder of the artefacts and of ``ledger.json``.
    time_limit : float, optional
        Seconds for all of them together.
    smoke : bool
        The same path with tiny sizes; refuses the book's own results folder.
    say : callable (str) -> None
        Receives one line a run: what, how long it is likely to take.
    progress : callable (steps) -> context manager of callbacks, optional
        For a progress bar.
    checkpoint_every : float
        Least seconds between checkpoints.

    Returns
    -------
    list of Artefact
        What was written.
    """
    if smoke and Path(results).resolve() == table.results_folder().resolve():
        raise InputError("--results", "a folder other than the book's", results, "smoke runs are for tests")
    began, done = time.perf_counter(), []
    for name in names:
        left = None if time_limit is None else time_limit - (time.perf_counter() - began)
        if left is not None and left <= 0:
            say(f"{name}: left for another time")
            continue
        if name in RUNS:
            made = _one(RUNS[name], Path(runs), Path(results), left, smoke, say, progress, checkpoint_every)
            done += [] if made is None else [made]
        else:
            say(f"{name}: a calculation of about a minute")
            done.append(artefacts.write_calculation(name, calculations.calculate(name), Path(results)))
        table.write(results)
    return done


def _known(name: str, results: Path, say: Say | None = None) -> Artefact | None:
    """The artefact called `name`; None if there is none, or a damaged one, which is then made anew."""
    try:
        return artefacts.load(name, results)
    except InputError as error:
        if say is not None:
            say(f"{name}: {error}")
        return None


def _one(
    spec: RunSpec, runs: Path, results: Path, left, smoke, say, progress, checkpoint_every
) -> Artefact | None:
    """One run: a short timing, the estimate, the slice, the artefact."""
    began = time.perf_counter()
    config, out = configuration(spec, smoke), Path(runs) / spec.id
    known = _known(spec.id, results, say)
    if known is not None and known.record["fingerprint"] != fingerprint(config, spec.seeds):
        known = None
    try:
        carried = None if known is None else known.record.get("checkpoint")
        if carried is not None and travel.unpack_run(travel.recorded(results, carried), out):
            say(f"{spec.id}: goes on from the checkpoint among the artefacts")
        with folder.locked(out):  # before anything that takes long
            pass
        resume = (out / "config.json").is_file()
        result = _slice(spec, config, out, resume, left, began, say, progress, checkpoint_every)
    except folder.InUseError:
        say(f"{spec.id}: another process works on it")
        return None
    if result.summary["steps"] == 0:
        say(f"{spec.id}: no time for an iteration")
        return None
    if known is not None and known.record["steps"] > result.summary["steps"] and not result.fit.finished:
        say(f"{spec.id}: iteration {result.summary['steps']:,}; the artefact of iteration {known.record['steps']:,} is kept")
        return None
    artefact = artefacts.export(spec, result, results)
    errors = ", ".join(
        "not finite" if row["rel_l2"] is None else f"{row['rel_l2']:.2e}" for row in artefact.record["seeds"]
    )
    say(f"{spec.id}: iteration {artefact.record['steps']:,}, relative L2 error {errors}")
    return artefact


def _slice(spec, config, out: Path, resume: bool, left, began: float, say, progress, checkpoint_every):
    """Assemble, time, and train until the run or the time is over."""
    problem = experiments.problem_of(config)
    setup = experiments.assemble(problem, config, spec.seeds, devices=None)
    each = calculations.short_timing(setup)
    reference = experiments.reference(problem)  # whatever it takes: an artefact has errors
    at = training.steps_done(out / "checkpoint" / "state.npz")
    say(
        f"{spec.id}: {rounded(each, 3)} ms an iteration for {len(spec.seeds)} seed{'s' * (len(spec.seeds) > 1)}, "
        f"about {duration((config.training.steps - at) * each / 1e3)} from iteration {at:,} to {config.training.steps:,}"
    )
    limit = None if left is None else max(left - (time.perf_counter() - began), 1e-3)
    options = {"out": out, "resume": resume, "time_limit": limit, "setup": setup, "checkpoint_every": checkpoint_every}
    options["reference"] = reference
    with nullcontext(()) if progress is None else progress(config.training.steps) as callbacks:
        return experiments.train(problem, config, spec.seeds, callbacks=callbacks, **options)


def estimate(names: Sequence[str], results: Path, say: Say = print) -> Artefact:
    """Time a few iterations of each kind of run and write ``costs.json``: what the pending rows would cost on this device.

    One seed is timed and counted as often as a run has seeds: right for a CPU, an upper bound for a GPU, where seeds share a
    program.
    """
    old = artefacts.load(table.COSTS, results)
    known = {} if old is None else dict(old.record["runs"])
    timed: dict[tuple[str, ...], float] = {}
    for name in names:
        spec, config = RUNS[name], configuration(RUNS[name])
        kind = (spec.experiment, spec.method, spec.network, spec.scale)
        if kind not in timed:
            timed[kind] = calculations.step_cost(config, spec.seeds[:1])
        each = timed[kind] * len(spec.seeds)
        known[name] = {"ms": each, "iterations": config.training.steps}
        say(f"{name}: {rounded(each, 3)} ms an iteration, {duration(each * config.training.steps / 1e3)} in all")
    record = {"runs": known, "environment": experiments.environment(experiments.configuration("heat2d"))}
    artefact = artefacts.write_calculation(table.COSTS, record, results)
    table.write(results)
    return artefact
