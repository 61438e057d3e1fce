r"""Run a configuration: train its seeds, keep what is needed to continue, sum up the errors.

What a run leaves on disk is described in :mod:`hybrid_lib.experiments.folder`; an existing run needs ``resume=True``.
"""

from __future__ import annotations

import math
import operator
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from hybrid_lib import processes, training
from hybrid_lib.config import Config, fingerprint, validated
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import Setup, assemble, evaluator
from hybrid_lib.experiments.environment import environment
from hybrid_lib.experiments.finish import finish_all
from hybrid_lib.experiments.folder import UNKNOWN, RunFolder, Saver, claimed
from hybrid_lib.experiments.identity import digest, same_problem
from hybrid_lib.experiments.references import OutOfTimeError, Reference
from hybrid_lib.experiments.references import reference as solve_reference
from hybrid_lib.experiments.registry import EXPERIMENTS, problem_of
from hybrid_lib.experiments.result import RunResult, keep
from hybrid_lib.experiments.sharp import NoReferenceError, spectral_reference
from hybrid_lib.experiments.sizes import check_memory
from hybrid_lib.experiments.summary import duration, summary
from hybrid_lib.methods import method_of
from hybrid_lib.methods.points import growth, work
from hybrid_lib.problems import Problem, is_number

Tree = Any
CHECKPOINT_SECONDS = 30.0


def run(config: Config, seeds: tuple[int, ...] = (0,), **options: Any) -> RunResult:
    """Run one of the paper's experiments; `options` as in :func:`train`.

    Parameters
    ----------
    config : Config
        From :func:`hybrid_lib.experiments.registry.configuration`.
    seeds : tuple of int
        Trained together as one vmapped program.

    Returns
    -------
    RunResult
    """
    return train(problem_of(config), config, seeds, **options)


def train(
    problem: Problem,
    config: Config,
    seeds: tuple[int, ...] = (0,),
    *,
    out: Path | str | None = None,
    resume: bool = False,
    time_limit: float | None = None,
    callbacks: tuple[Callable[[training.FitResult], None], ...] = (),
    initial: Any = None,
    setup: Setup | None = None,
    checkpoint_every: float = CHECKPOINT_SECONDS,
    reference: Reference | str | None = "auto",
    announce: Callable[[str], None] | None = None,
    devices: int | None = None,
) -> RunResult:
    """Train `problem`, the paper's or your own, with the sizes of `config`.

    Parameters
    ----------
    problem : Problem
    config : Config
    seeds : tuple of int
    out : path, optional
        Run directory; None keeps all in memory. Of several processes (:func:`hybrid_lib.distributed`) the first alone
        writes it and calls `callbacks` and `announce`. One run at a time; a call that fails before its first step leaves none. An
        interrupt saves the last report; the library handles no signals, the command line makes SIGTERM and SIGHUP interrupts.
    resume : bool
        Continue the run in `out`, bit for bit on a CPU, with JAX's x64 mode as it was.
    time_limit : float, optional
        Seconds of this call, assembly, reference and compilation among them; an interrupted run can be resumed. A reference that
        would not end in time is left out, by the time of its coarser meshes; assembly, compilation and finish are not cut short.
    callbacks : tuple of callable (FitResult) -> None
        Called after each slice of steps, for instance for progress: at reports, at new draws of points, where a time limit cuts.
    initial : (params, fixed) with leading seed axis, optional
        Start from another run's parameters. The checkpoint holds them: on `resume` it may be left out.
    setup : Setup, optional
        What :func:`hybrid_lib.experiments.assemble.assemble` made of the same problem, configuration and seeds.
    checkpoint_every : float
        Least number of seconds between two checkpoints; 0 saves after each slice.
    reference : Reference, None or "auto"
        What the errors in summary and history are taken from, for instance ``experiments.reference(problem)``. None leaves it
        out, and the errors are null. "auto" solves one for the paper's experiments and none for a problem of your own,
        whose error :func:`hybrid_lib.experiments.error_estimate` bounds without.
    announce : callable (str) -> None, optional
        Told in a line, after the first steps, what all of them will take, and how the run lies on several devices.
    devices : int, optional
        How many of ``jax.devices()``; default all. Another number, also on `resume`, changes the last digits alone.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        For bad settings, sizes that do not fit into the memory (it names some that do), an existing `out` without `resume`,
        one that another process writes to, or a run with another configuration, medium, source, direction or start.

    Notes
    -----
    In one process training is compiled once for sizes, network and method: seeds, weights, averaging lengths, sources, media and
    drops share the program. A medium or a source as such is compiled anew, to be evaluated at the points, and so are the errors
    against another reference. Another period has another program where the network is of the kind ``two-scale``.
    """
    began = time.perf_counter()
    validated(config)
    seeds = _whole(seeds)
    _require_options(time_limit, checkpoint_every, callbacks, announce, out, resume)
    if not processes.is_coordinator():
        callbacks, announce = (), None
    if setup is not None:
        if not isinstance(setup, Setup):
            raise InputError("setup", "what experiments.assemble returns", repr(setup)[:60], "leave it out")
        _belongs(setup, problem, fingerprint(config, seeds), initial)
    if setup is None:
        check_memory(problem, config, len(seeds))
    until = None if time_limit is None else began + time_limit
    options = _Options(until, callbacks, checkpoint_every, announce)
    parts = setup, problem, config, seeds, initial, devices
    if out is None:
        with training.Watchdog(lambda: "without a folder nothing was kept") as watchdog:
            setup, exact, without = _prepared(parts, reference, until, watchdog)
            return _fit(setup, exact, None, setup.state, None, options._replace(without=without), watchdog)
    if not processes.is_coordinator():
        with training.Watchdog(lambda: f"{out} can be resumed") as watchdog:
            setup, exact, without = _prepared(parts, reference, until, watchdog)
            setup, previous = _followed(setup)
            state = setup.state if previous is None else previous.state
            return _fit(setup, exact, None, state, previous, options._replace(without=without), watchdog)
    with claimed(out, config, seeds, resume) as folder, training.Watchdog(lambda: _going_on(folder)) as watchdog:
        if not resume:
            folder.write_config(None if initial is None else UNKNOWN)
        setup, exact, without = _prepared(parts, reference, until, watchdog)
        state, previous = setup.state, None
        start = None if initial is None else digest((state.members.params, setup.data["fixed"]))
        start = folder.check_initial(start) if resume else start
        folder.check_problem(problem, exact)
        setup = _with_frequencies(setup, folder.frequencies(setup.fixed))
        if jax.process_count() > 1:
            _lead(setup, folder)
        if folder.checkpoint.exists():
            previous = training.restore(folder.checkpoint, state, folder.identity)
            state = previous.state
        points = np.asarray(setup.data["points"]["collocation"][0])
        folder.write_config(start)
        folder.write_environment(environment(config))
        folder.write_problem(problem, exact, points, setup.data["fixed"])
        return _fit(setup, exact, folder, state, previous, options._replace(without=without), watchdog)


class _Options(NamedTuple):
    """How a call of :func:`train` trains: until when, who is told, and why there is no reference, if there should be one."""

    until: float | None
    callbacks: tuple[Callable[[training.FitResult], None], ...]
    every: float
    announce: Callable[[str], None] | None
    without: str | None = None


def _prepared(parts, reference, until, watchdog) -> tuple[Setup, Reference | None, str | None]:
    """What is computed before the first step, and why the reference was left out, if it was."""
    setup, problem, config, *_ = parts
    with watchdog.watched("assembly"):
        setup = setup or assemble(*parts[1:])
    exact = without = None
    try:
        with watchdog.watched("reference"):
            exact = _reference(reference, problem, config, until)
    except OutOfTimeError as error:
        without = str(error)
    if not processes.everyone(without is None):
        exact, without = None, without or "another process had no time for the reference"
    return setup, exact, without


def _going_on(folder: RunFolder) -> str:
    """How to go on with a run that was ended."""
    return f"{folder.path} can be resumed"


def _reference(given: Reference | str | None, problem: Problem, config: Config, until: float | None = None) -> Reference | None:
    """The reference of a run: the one that is given, or what "auto" stands for."""
    if given is None or isinstance(given, Reference):
        return given
    if given != "auto":
        raise InputError("reference", 'a Reference, None or "auto"', repr(given), "experiments.reference(problem) makes one")
    if config.experiment not in EXPERIMENTS or problem.boundary is not None or problem.domain.extent is not None:
        return None  # a problem of one's own, whatever its sizes are called
    if not method_of(config).sharp or problem.domain.dimension == 1:
        return solve_reference(problem, until=until)
    try:
        return spectral_reference(problem, until)
    except NoReferenceError:  # the bound of the method judges
        return None


def _belongs(setup: Setup, problem: Problem, identity: str, initial: Any) -> None:
    """Refuse a setup of another run."""
    received = None
    if initial is not None:
        received = "initial too"
    elif fingerprint(setup.config, setup.seeds) != identity:
        received = "one of another configuration or of other seeds"
    elif not same_problem(setup.problem, problem, np.asarray(setup.data["points"]["collocation"][0])):
        received = "one of another problem"
    if received is not None:
        expected = "one that was assembled for this problem, this config and these seeds, without initial"
        raise InputError("setup", expected, received, "assemble anew")


def _lead(setup: Setup, folder: RunFolder) -> None:
    """Tell the other processes where the run stands: the frequencies that it was begun with, and its checkpoint."""
    for leaf in jax.tree.leaves(setup.fixed):
        processes.told(np.asarray(leaf).tobytes())
    processes.told(folder.identity.encode())
    processes.told(folder.checkpoint.read_bytes() if folder.checkpoint.exists() else b"")


def _followed(setup: Setup) -> tuple[Setup, training.FitResult | None]:
    """What :func:`_lead` tells: the setup of the run, and where it stands."""
    like, structure = jax.tree.flatten(setup.fixed)
    known = [np.frombuffer(processes.told(b""), leaf.dtype).reshape(leaf.shape) for leaf in like]
    setup = _with_frequencies(setup, jax.tree.unflatten(structure, known))
    identity, content = processes.told(b"").decode(), processes.told(b"")
    if not content:
        return setup, None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        path.write_bytes(content)
        return setup, training.restore(path, setup.state, identity)


def _with_frequencies(setup: Setup, known: Tree | None) -> Setup:
    """`setup` with the frequencies that the run was begun with: those of an `initial` are not the seeds' own."""
    drawn = setup.data["fixed"]
    if known is None or digest(known) == digest(drawn):
        return setup
    return assemble(setup.problem, setup.config, setup.seeds, (setup.state.members.params, known), setup.devices)


def _fit(
    setup: Setup, exact: Reference | None, folder: RunFolder | None, state, previous, told: _Options, watchdog: training.Watchdog
) -> RunResult:
    """Train from `state`, save into `folder`, sum up."""
    config, options, callbacks = setup.config, setup.config.training, told.callbacks
    saver = None if folder is None else Saver(folder.checkpoint, folder.identity, told.every)
    if saver is not None:

        def rescue() -> str:
            saver.save()
            return _going_on(folder)

        watchdog.rescue, callbacks = rescue, (*callbacks, saver)
        if previous is None:  # from here on the run can be continued
            training.save(folder.checkpoint, training.FitResult(state, {}, {}, 0.0, 0.0, False), folder.identity)
    after, done = config.sampling.grow_after, int(state.step)
    left = work(after, done, options.steps) / growth(after, done)  # in steps as long as the first one
    say = told.announce and (lambda each: told.announce(_outlook(options.steps - done, left, each, told.until)))
    evaluate = evaluator(setup.ansatz, exact)
    spread = evaluate
    if setup.layout is not None:
        spread = evaluator(setup.ansatz, exact, setup.layout)
        if told.announce is not None:
            told.announce(setup.layout.words(len(setup.seeds), config.sampling.points))
    try:
        result = training.fit(
            setup.program,
            state,
            setup.data,
            options.steps,
            evaluate=spread,
            report_every=options.report_every,
            callbacks=callbacks,
            time_limit=None if told.until is None else told.until - time.perf_counter(),
            resample=setup.resample,
            resample_every=config.sampling.resample_every,
            previous=previous,
            watchdog=watchdog,
            announce=say,
        )
    except BaseException:
        if saver is not None:
            saver.save()
        raise
    if folder is not None:
        training.save(folder.checkpoint, result, folder.identity)
    with watchdog.watched("finish"):
        finished = finish_all(setup, result)
    out = None if folder is None else folder.path
    said = summary(setup, result, evaluate, out, finished, exact) | ({} if told.without is None else {"left_out": told.without})
    done = RunResult(setup, result, exact, said, finished)
    if folder is not None:
        keep(folder, done)
    return done


def _outlook(steps: int, left: float, each: float, until: float | None) -> str:
    """The forecast in words: `left` steps of `each` seconds for `steps` steps, and how many of them end before `until`."""
    said = f"about {duration(left * each)} for {steps:,} steps"
    remaining = math.inf if until is None else until - time.perf_counter()
    if left * each <= remaining:
        return said
    fit = max(1, int(steps * max(remaining, 0.0) / (left * each)))
    return f"{said}, past the time limit: about {fit:,} of them fit; set training.steps={fit}, or give it a folder and resume"


def _require_options(time_limit: Any, every: Any, callbacks: Any, announce: Any, out: Any, resume: Any) -> None:
    """Refuse options of :func:`train` that would be found out in the middle of a run, or never."""
    endless = isinstance(time_limit, float) and time_limit == math.inf
    if time_limit is not None and not is_number(time_limit) and not endless:
        raise InputError("time_limit", "seconds", repr(time_limit), "leave it out for no limit")
    if not is_number(every) or every < 0:
        raise InputError("checkpoint_every", "seconds >= 0", repr(every), "0 saves at every report")
    if not isinstance(callbacks, tuple | list) or not all(map(callable, callbacks)):
        raise InputError("callbacks", "a tuple of functions", repr(callbacks)[:80], "one is (function,)")
    if announce is not None and not callable(announce):
        raise InputError("announce", "a function of one line", repr(announce)[:80], "print is one")
    if out is not None and not isinstance(out, str | os.PathLike):
        raise InputError("out", "a path", repr(out)[:80], "leave it out to keep all in memory")
    if resume and out is None:
        raise InputError("out", "the directory of the run that is resumed", "none", "pass out=, or resume=False")


def _whole(seeds: Any) -> tuple[int, ...]:
    """Seeds as a tuple of Python integers that a random key takes."""
    try:
        whole = tuple(operator.index(seed) for seed in seeds)
        if any(isinstance(seed, (bool, np.bool_)) for seed in seeds):
            raise TypeError
    except TypeError:
        raise InputError("seeds", "a sequence of integers", repr(seeds), "one seed is (0,)") from None
    if any(not 0 <= seed < 2**32 for seed in whole):
        raise InputError("seeds", "integers from 0 to 2**32 - 1", whole, "choose others")
    return whole
