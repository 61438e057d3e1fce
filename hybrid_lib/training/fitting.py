"""Training from one report to the next: slices of the compiled loop, errors, history, callbacks, and the time that is left."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib.processes import agreed
from hybrid_lib.training.layout import local
from hybrid_lib.training.loop import Program
from hybrid_lib.training.state import RUNNING, TrainState
from hybrid_lib.training.watchdog import Watchdog

Tree = Any
SHORT = 0.05
"""Seconds over which a step is timed, at least."""


class FitResult(NamedTuple):
    """Outcome of :func:`fit`.

    Attributes
    ----------
    state : TrainState
    history : dict of str to ndarray
        Rows every `record_every` steps: ``step`` (R,), ``loss/…``, ``weight/…``, ``upscaled`` (R, S, …).
    evaluations : dict of str to ndarray
        ``step`` (E,) and what `evaluate` returned, (E, S).
    seconds : float
        Wall time of training and evaluation, all slices together, compilation apart.
    compile_seconds : float
        Of this call.
    finished : bool
        False when the time limit came first.
    step_seconds : float or None
        Of one of the first steps of this call; None where there was no time for one.
    """

    state: TrainState
    history: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]
    seconds: float
    compile_seconds: float
    finished: bool
    step_seconds: float | None = None

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


Callback = Callable[[FitResult], None]


def fit(
    program: Program,
    state: TrainState,
    data: Tree,
    steps: int,
    *,
    evaluate: Callable[[Tree, Tree], dict[str, Array]] | None = None,
    report_every: int = 1000,
    callbacks: tuple[Callback, ...] = (),
    time_limit: float | None = None,
    resample: Callable[[int], Tree] | None = None,
    resample_every: int = 0,
    previous: FitResult | None = None,
    watchdog: Watchdog | None = None,
    announce: Callable[[float], None] | None = None,
) -> FitResult:
    """Train until `steps` iterations are done, every seed has stopped, or the time is up.

    Parameters
    ----------
    program : Program
        With a layout, the result is of this process's first device all the same. Several processes call this together.
    state : TrainState
        Where to start; after a restore, where the run stood.
    data : tree
        The members' data, leading axis S.
    steps : int
        Total number of iterations, counted from step 0.
    evaluate : callable (members' params, data) -> dict of (S,), optional
        Errors of the current iterates, called every `report_every` steps and at both ends.
    report_every : int
        Steps between evaluations and callbacks; a multiple of ``record_every``.
    callbacks : tuple of callable (FitResult) -> None
        Progress, checkpoints; called after each slice with the result so far.
    time_limit : float, optional
        Seconds for this call, compilation among them. A slice is cut to the steps that fit, by the time the last ones took; the
        first is one step, and each at most twice as long as the one before. Where nothing fits the loop stops.
    resample : callable (step) -> data, optional
        New data for the slice that starts at `step`, a pure function of it; every `resample_every` steps.
    previous : FitResult, optional
        The result this one continues; its history, evaluations and seconds are carried on.
    watchdog : Watchdog, optional
        Watches the compiled programs while they run.
    announce : callable (seconds) -> None, optional
        Told what a step takes, after the first one, or the first few where they are short.

    Returns
    -------
    FitResult
    """
    called = time.perf_counter()
    history = _Table(previous.history if previous else None)
    evaluations = _Table(previous.evaluations if previous else None)
    every = program.options.record_every
    report_every = min(report_every, program.capacity * every)

    time_limit = None if time_limit is None else agreed(time_limit)
    if time_limit is not None and time_limit <= 0 and int(state.step) < steps:  # assembly took it all
        seconds = previous.seconds if previous else 0.0
        return FitResult(state, history.columns(), evaluations.columns(), seconds, 0.0, False)
    layout = program.layout
    if layout is not None:
        state = layout.copied(state)
    data = program.place(data)
    watched = watchdog.watched if watchdog is not None else lambda what: contextlib.nullcontext()
    with watched("compilation"):
        jax.block_until_ready(program.advance(state, data, jnp.asarray(0, jnp.int32)))  # runs no iteration
        if evaluate is not None:
            jax.block_until_ready(evaluate(state.members.params, data))
    compile_seconds = time.perf_counter() - called

    before = previous.seconds if previous else 0.0
    clock = time.perf_counter()

    def result(finished: bool) -> FitResult:
        seconds = before + time.perf_counter() - clock
        own = state if layout is None else local(state)
        return FitResult(own, history.columns(), evaluations.columns(), seconds, compile_seconds, finished, timed)

    def advance(stop: int) -> float:
        nonlocal state, step
        began = time.perf_counter()
        with watched(f"steps {step} to {stop}"):
            state, rows = jax.block_until_ready(program.advance(state, data, jnp.asarray(stop, jnp.int32)))
        took = time.perf_counter() - began
        at = np.arange(-(-step // every) * every, int(state.step), every)
        history.append({"step": at} | {name: np.asarray(v)[: len(at)] for name, v in rows.items()})
        took, step = agreed(took) / max(int(state.step) - step, 1), int(state.step)
        return took

    def measure(step: int) -> None:
        if evaluate is not None and evaluations.last("step") != step:
            with watched(f"errors at step {step}"):
                values = {name: np.asarray(v)[None] for name, v in evaluate(state.members.params, data).items()}
            evaluations.append({"step": np.asarray([step])} | values)

    step = int(state.step)
    resampling = resample is not None and resample_every > 0
    if resampling:
        data = program.place(resample(step - step % resample_every))
    each, longest, slowest = 0.0, 1, 0.0  # seconds of a step, steps of the next slice, seconds of the slowest evaluation
    timed, probe, enough = None, 1, min(steps, step + report_every)  # what a step takes; steps of the slice that tells
    while step < steps and np.any(np.asarray(state.members.status) == RUNNING):
        left = math.inf if time_limit is None else agreed(time_limit - (time.perf_counter() - called) - slowest)
        fitting = min(longest, left / max(each, 1e-9))
        if fitting < 1:
            return result(False)
        began = time.perf_counter()
        if step % report_every == 0:
            measure(step)
        stop = min(steps, (step // report_every + 1) * report_every)
        if resampling:
            stop = min(stop, (step // resample_every + 1) * resample_every)
            data = program.place(resample(step)) if step % resample_every == 0 else data
        if fitting < stop - step and time_limit is not None:
            stop = step + int(fitting)
        training = time.perf_counter()
        while timed is None and step < stop and np.any(np.asarray(state.members.status) == RUNNING):
            count = min(probe, stop - step)
            each, probe = advance(step + count), 8 * probe
            if count * each > SHORT or step >= enough:
                timed = each
                if announce is not None:
                    announce(timed)
        if step < stop:
            each = advance(stop)
        trained = time.perf_counter()
        longest *= 2
        for callback in callbacks:
            callback(result(False))
        slowest = max(slowest, time.perf_counter() - began - (trained - training))
    measure(step)
    return result(True)


def step_seconds(program: Program, state: TrainState, data: Tree, most: int) -> float:
    """Seconds of a step from `state`, which stays as it is: one step, and up to `most` of them where they are short."""
    count = 1
    while True:
        began = time.perf_counter()
        jax.block_until_ready(program.advance(state, data, state.step + count))
        took = time.perf_counter() - began
        if took > SHORT or count >= most:
            return took / count
        count = min(8 * count, most)


def _column(rows: dict[str, np.ndarray], name: str, like: np.ndarray) -> np.ndarray:
    """A column of some rows; not a number where a slice did not have it, for instance errors without a reference."""
    return rows[name] if name in rows else np.full((len(rows["step"]), *like.shape[1:]), np.nan)


class _Table:
    """Columns that grow by rows; joined only when read."""

    def __init__(self, start: dict[str, np.ndarray] | None):
        self._parts = [dict(start)] if start else []

    def append(self, rows: dict[str, np.ndarray]) -> None:
        self._parts.append(rows)

    def last(self, name: str):
        return self._parts[-1][name][-1] if self._parts and len(self._parts[-1][name]) else None

    def columns(self) -> dict[str, np.ndarray]:
        if len(self._parts) > 1:
            like = {name: column for part in self._parts for name, column in part.items()}
            self._parts = [{name: np.concatenate([_column(part, name, like[name]) for part in self._parts]) for name in like}]
        return dict(self._parts[0]) if self._parts else {}
