r"""Run a configuration: train its seeds, keep what is needed to continue, sum up the errors.

A run directory holds ``config.json``, ``environment.json``, ``history.npz``, ``checkpoint/state.npz`` and ``summary.json``.
It is never overwritten: an existing one needs ``resume=True``.
"""

from __future__ import annotations

import hashlib
import io
import json
import operator
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hybrid_lib
from hybrid_lib import __version__, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import Setup, assemble, evaluator
from hybrid_lib.experiments.config import LEFT_OUT, Config, as_dict, fingerprint, has_defect, validated
from hybrid_lib.experiments.data import defect_of
from hybrid_lib.experiments.finish import finish_all
from hybrid_lib.experiments.problems import Problem
from hybrid_lib.experiments.references import Reference, reference
from hybrid_lib.experiments.registry import problem_of
from hybrid_lib.experiments.summary import summary
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale.coarse import state as coarse_state
from hybrid_lib.multiscale.compression import average
from hybrid_lib.multiscale.coupling import FineValues
from hybrid_lib.multiscale.defect import QuadratureError, coarse_residual, quadrature_error
from hybrid_lib.training.ritz import RitzResult

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class RunResult:
    """A finished or interrupted run.

    Attributes
    ----------
    setup : Setup
    fit : FitResult
        Last state, history per recorded iteration, errors per report.
    reference : Reference
    summary : dict
        The object that ``run --json`` prints.
    finished : tuple of RitzResult or None
        The finish of each seed, None for one that diverged; empty for a run without a finish and for one that was interrupted.
    """

    setup: Setup
    fit: training.FitResult
    reference: Reference
    summary: dict[str, Any]
    finished: tuple[RitzResult | None, ...] = ()

    def parameters(self, seed_index: int = 0, which: str | None = None) -> Any:
        """θ of one seed: at the smallest PDE term (``best``), ``last`` or ``finished``.

        None stands for the finished one, if there is one, else for what ``training.select`` says.
        """
        if which not in (None, "best", "last", "finished"):
            raise InputError("which", "best, last, finished or None", repr(which), "choose one of these")
        _in_ensemble(seed_index, len(self.setup.seeds))
        members = self.fit.state.members
        ritz = self.finished[seed_index] if self.finished else None
        which = which or ("finished" if ritz is not None else None)
        if which == "finished":
            if ritz is None:
                raise InputError("which", "best or last for a seed without a finish", which, "set training.finish")
            return ritz.params
        which = which or ("last" if self.setup.config.training.select == "last" else "best")
        return training.member(members.best.params if which == "best" else members.params, seed_index)

    def solution(self, points, seed_index: int = 0, which: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """u_θ and ∇u_θ of one seed at `points` (k, d): arrays (k,) and (k, d)."""
        theta, ansatz = self.parameters(seed_index, which), self.setup.ansatz
        fixed = training.member(self.setup.data["fixed"], seed_index)
        if np.ndim(points) != 2 or np.shape(points)[1] != ansatz.dimension:
            expected, remedy = f"shape (k, {ansatz.dimension})", "one row a point, in one dimension x[:, None]"
            raise InputError("points", expected, f"shape {np.shape(points)}", remedy)
        x = jnp.asarray(points, ansatz.network.dtype)
        jet = jax.jit(jax.vmap(lambda p: ansatz.jet(theta, fixed, p)[:2]))(x)
        return np.asarray(jet[0]), np.stack([np.asarray(g) for g in jet[1]], axis=-1)

    def quadrature_error(self, seed_index: int = 0, which: str | None = None, pieces: int = 2) -> QuadratureError:
        """Size of the defect of one seed, and how much a rule with `pieces` times as many pieces changes it."""
        setup = self.setup
        if not has_defect(setup.config):
            raise InputError(
                "quadrature_error", "a hybrid run with the defect coupling", setup.config.coarse.coupling,
                "run with coarse.coupling=defect",
            )  # fmt: skip
        theta, fixed = self.parameters(seed_index, which), training.member(setup.data["fixed"], seed_index)
        coarse, finer = training.member(setup.data["coupling"], seed_index), defect_of(
            setup.problem, setup.config, setup.coarse_problem, setup.coarse_mesh, pieces
        )
        K_hat = self.coarse(seed_index, which)["upscaled"]

        def gradient(x: jax.Array) -> jax.Array:
            return jnp.stack(setup.ansatz.jet(theta, fixed, x).gradient)

        return quadrature_error(setup.coarse_problem, coarse, finer, jnp.asarray(K_hat), gradient)

    def coarse(self, seed_index: int = 0, which: str | None = None) -> dict[str, np.ndarray]:
        """Coarse view of one seed of a hybrid run: K̂[u_θ], y_h(u_θ) and Q_δu_θ, or the defect z, at the coarse nodes."""
        setup = self.setup
        if setup.coarse_problem is None:
            raise InputError(
                "coarse", "a run of the hybrid method", setup.config.method, "run with method='hybrid'"
            )
        theta, data = self.parameters(seed_index, which), training.member(setup.data, seed_index)
        fields = setup.objective.fields(theta, data)
        K_hat = setup.objective.coarse.upscale(fields, data)
        out = {
            "nodes": setup.coarse_mesh.points,
            "upscaled": np.asarray(K_hat),
            "state": np.asarray(coarse_state(setup.coarse_problem, K_hat)),
        }
        if has_defect(setup.config):
            rho = coarse_residual(setup.coarse_problem, data["coupling"], fields["cells"].flux)
            z = dual_norm.representative(setup.coarse_problem, K_hat, rho)
            return out | {"defect": np.asarray(z)}
        fine = FineValues(fields["collocation"].value, fields["nodes"])
        balls = getattr(data["coupling"], "compression", data["coupling"])
        return out | {"averaged": np.asarray(average(balls, *fine))}


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
) -> RunResult:
    """Train `problem`, the paper's or your own, with the sizes of `config`.

    Parameters
    ----------
    problem : Problem
    config : Config
    seeds : tuple of int
    out : path, optional
        Run directory; None keeps everything in memory.
    resume : bool
        Continue the run in `out`, bit for bit on a CPU.
    time_limit : float, optional
        Seconds of this call; an interrupted run can be resumed.
    callbacks : tuple of callable (FitResult) -> None
        Called at every report, for instance for progress.
    initial : (params, fixed) with leading seed axis, optional
        Start from another run's parameters.
    setup : Setup, optional
        What :func:`hybrid_lib.experiments.assemble.assemble` made of the same problem, configuration and seeds, if it is at hand.
    checkpoint_every : float
        Least number of seconds between two checkpoints; 0 saves at every report.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        For bad settings, an existing `out` without `resume`, or a checkpoint of another configuration.
    """
    if not isinstance(config, Config):
        remedy = "make one with experiments.configuration or own_configuration"
        raise InputError("config", "a Config", type(config).__name__, remedy)
    seeds = _whole(seeds)
    identity = fingerprint(validated(config), seeds)
    if setup is not None and (fingerprint(setup.config, setup.seeds) != identity or initial is not None):
        received = "initial too" if initial is not None else "one of another configuration or of other seeds"
        expected = "one that was assembled for this config and these seeds, without initial"
        raise InputError("setup", expected, received, "assemble anew")
    checkpoint = None if out is None else Path(out) / "checkpoint" / "state.npz"
    if checkpoint is not None:
        _claim(Path(out), resume, config, tuple(seeds))
    setup = setup or assemble(problem, config, tuple(seeds), initial)
    exact = reference(problem)
    previous = None
    state = setup.state
    if resume and checkpoint is not None and checkpoint.exists():
        previous = training.restore(checkpoint, state, identity)
        state = previous.state
    if checkpoint is not None:
        _write_json(
            Path(out) / "config.json",
            {"config": as_dict(config), "seeds": list(seeds), "fingerprint": identity},
        )
        _write_json(Path(out) / "environment.json", _with_history(environment(config), Path(out)))
        saver = _Saver(checkpoint, identity, checkpoint_every)
        callbacks = (*callbacks, saver)
    evaluate = evaluator(setup.ansatz, exact)
    options = config.training
    try:
        result = training.fit(
            setup.program,
            state,
            setup.data,
            options.steps,
            evaluate=evaluate,
            report_every=options.report_every,
            callbacks=callbacks,
            time_limit=time_limit,
            resample=setup.resample,
            resample_every=config.sampling.resample_every,
            previous=previous,
        )
    except KeyboardInterrupt:
        if checkpoint is not None:
            saver.save()
        raise
    finished = finish_all(setup, result)
    done = RunResult(setup, result, exact, summary(setup, result, evaluate, out, finished), finished)
    if checkpoint is not None:
        training.save(checkpoint, result, identity)
        buffer = io.BytesIO()
        columns = {f"history:{k}": v for k, v in result.history.items()}
        np.savez_compressed(
            buffer, **columns, **{f"evaluations:{k}": v for k, v in result.evaluations.items()}
        )
        training.write_atomically(Path(out) / "history.npz", buffer.getvalue())
        _write_json(Path(out) / "summary.json", done.summary)
    return done


def _in_ensemble(index: int, count: int) -> None:
    """Refuse a number that is no index of a seed; JAX would take the nearest one."""
    if not -count <= index < count:
        raise InputError("seed_index", f"an index of the {count} seeds of the run", index, "count from 0")


def _whole(seeds: Any) -> tuple[int, ...]:
    """Seeds as a tuple of Python integers that a random key takes."""
    try:
        whole = tuple(operator.index(seed) for seed in seeds)
    except TypeError:
        raise InputError("seeds", "a sequence of integers", repr(seeds), "one seed is (0,)") from None
    if any(not 0 <= seed < 2**32 for seed in whole):
        raise InputError("seeds", "integers from 0 to 2**32 - 1", whole, "choose others")
    return whole


def environment(config: Config) -> dict[str, Any]:
    """Versions, device and precision: the passport of a run's numbers."""
    packages = {}
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "scipy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover
            packages[name] = "unknown"
    return {
        "hybrid_lib": __version__,
        "source": source_hash(),
        "python": platform.python_version(),
        "packages": packages,
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "dtype": config.dtype,
        "x64": bool(jax.config.jax_enable_x64),
    }


def _with_history(now: dict[str, Any], out: Path) -> dict[str, Any]:
    """`now`, with the sources and devices of earlier slices of the same run under ``earlier``."""
    path = out / "environment.json"
    if not path.exists():
        return now
    before = _read_json(path)
    earlier = before.pop("earlier", [])
    mark = {key: before.get(key) for key in ("source", "device", "platform")}
    same = mark == {key: now[key] for key in mark} or mark in earlier
    return now | {"earlier": earlier if same else [*earlier, mark]} if earlier or not same else now


def source_hash() -> str:
    """SHA-256 of the library's Python files, names and contents in sorted order; the first 16 digits."""
    root, digest = Path(hybrid_lib.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _claim(out: Path, resume: bool, config: Config, seeds: tuple[int, ...]) -> None:
    if out.exists() and not out.is_dir():
        raise InputError("--out", "a directory", out, "choose another --out")
    if out.exists() and any(out.iterdir()) and not resume:
        raise InputError(
            "--out", "a new or empty directory", out, "add --resume to continue it, or choose another --out"
        )
    if resume and not (out / "config.json").exists():
        raise InputError("--resume", "a run directory with config.json", out, "start it without --resume")
    if resume:
        _same_run(out, config, seeds)
    try:
        out.mkdir(parents=True, exist_ok=True)
        refused = None if os.access(out, os.W_OK) else "no permission to write"
    except OSError as error:
        refused = error.strerror
    if refused:
        raise InputError("--out", "a directory that can be written", f"{out}: {refused}", "choose another --out")


def _same_run(out: Path, config: Config, seeds: tuple[int, ...]) -> None:
    """Refuse to go on with other settings, and name the first that differs; a run may get longer."""
    before = _read_json(out / "config.json")
    if before.get("fingerprint") == fingerprint(config, seeds):
        return
    then = _flat(before.get("config", {})) | {"seeds": before.get("seeds")}
    now = _flat(json.loads(json.dumps(as_dict(config)))) | {"seeds": list(seeds)}
    different = [key for key in now if key in then and then[key] != now[key] and key not in LEFT_OUT]
    if different:
        key = different[0]
        remedy = "resume with the same options, or choose another --out"
        raise InputError(f"--resume, {key}", f"{then[key]}, as in {out / 'config.json'}", now[key], remedy)


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted path."""
    inner = {f"{a}.{b}": v for a, part in content.items() if isinstance(part, dict) for b, v in part.items()}
    return {a: v for a, v in content.items() if not isinstance(v, dict)} | inner


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        content = None
    if not isinstance(content, dict):
        remedy = "restore it, or choose another --out"
        raise InputError(str(path), "a JSON object written by this library", "something else", remedy)
    return content


def _write_json(path: Path, content: dict) -> None:
    training.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


class _Saver:
    """A callback that saves every `every` seconds, and what came last when asked to."""

    def __init__(self, path: Path, identity: str, every: float):
        self._path, self._identity, self._every = path, identity, every
        self._at, self._unsaved = time.perf_counter(), None

    def __call__(self, result: training.FitResult) -> None:
        self._unsaved = result
        if time.perf_counter() - self._at >= self._every:
            self.save()

    def save(self) -> None:
        if self._unsaved is not None:
            training.save(self._path, self._unsaved, self._identity)
            self._at, self._unsaved = time.perf_counter(), None
