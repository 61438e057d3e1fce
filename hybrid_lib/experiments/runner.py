r"""Run a configuration: train its seeds, keep what is needed to continue, sum up the errors.

What a run leaves on disk is described in :mod:`hybrid_lib.experiments.folder`; an existing run needs ``resume=True``.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import io
import operator
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
from hybrid_lib import __version__, fem, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import Setup, assemble, evaluator
from hybrid_lib.experiments.config import Config, fingerprint, has_defect, validated
from hybrid_lib.experiments.data import defect_of
from hybrid_lib.experiments.finish import finish_all
from hybrid_lib.experiments.folder import UNKNOWN, RunFolder, Saver, claimed, digest, same_problem, write_json
from hybrid_lib.experiments.problems import Problem
from hybrid_lib.experiments.references import Reference
from hybrid_lib.experiments.references import reference as solve_reference
from hybrid_lib.experiments.registry import EXPERIMENTS, problem_of
from hybrid_lib.experiments.sizes import check_memory
from hybrid_lib.experiments.summary import summary
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale.coarse import state as coarse_state
from hybrid_lib.multiscale.compression import average
from hybrid_lib.multiscale.coupling import FineValues
from hybrid_lib.multiscale.defect import QuadratureError, coarse_residual, quadrature_error
from hybrid_lib.training.ritz import RitzResult

CHECKPOINT_SECONDS = 30.0
BLOCK = 8192
"""Numbers of points are rounded up to a power of two up to here, then to multiples of this."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished or interrupted run.

    Attributes
    ----------
    setup : Setup
    fit : FitResult
        Last state, history per recorded iteration, errors per report.
    reference : Reference or None
        None for a run that was not compared with one.
    summary : dict
        The object that ``run --json`` prints.
    finished : tuple of RitzResult or None
        The finish of each seed, None for one that diverged; empty for a run without a finish and for one that was interrupted.
    """

    setup: Setup
    fit: training.FitResult
    reference: Reference | None
    summary: dict[str, Any]
    finished: tuple[RitzResult | None, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without its compiled programs: the setup is assembled again where it is read."""
        state = self.fit.state._replace(key=jax.random.key_data(self.fit.state.key))
        return _reborn, (self.setup, self.fit._replace(state=state), self.reference, self.summary, self.finished)

    def __deepcopy__(self, memo: Any) -> RunResult:
        """Tables are copied; what cannot change is shared."""
        tables = {name: copy.deepcopy(getattr(self.fit, name), memo) for name in ("history", "evaluations")}
        parts = {name: copy.deepcopy(getattr(self, name), memo) for name in ("reference", "summary")}
        return dataclasses.replace(self, fit=self.fit._replace(**tables), **parts)

    def parameters(self, seed_index: int = 0, which: str | None = None) -> Any:
        """θ of one seed: at the smallest PDE term (``best``), ``last`` or ``finished``.

        None stands for the finished one, if there is one, else for what ``training.select`` says.
        """
        which, members = self._iterate(seed_index, which), self.fit.state.members
        if which == "finished":
            return self.finished[seed_index].params
        return training.member(members.best.params if which == "best" else members.params, seed_index)

    def data(self, seed_index: int = 0, which: str | None = None) -> Any:
        """Points, coefficients and what the coupling needs, as the iterate of :meth:`parameters` was trained with.

        Where points are drawn anew (``sampling.resample_every``) these are those of its draw; of the last one for ``last`` and
        ``finished``.
        """
        state = self.fit.state
        at = state.members.best.step[seed_index] if self._iterate(seed_index, which) == "best" else state.step - 1
        return training.member(self.setup.data_at(max(int(at), 0)), seed_index)

    def _iterate(self, seed_index: int, which: str | None) -> str:
        """``best``, ``last`` or ``finished``, for an iterate that is there."""
        if which not in (None, "best", "last", "finished"):
            raise InputError("which", "best, last, finished or None", repr(which), "choose one of these")
        _in_ensemble(seed_index, len(self.setup.seeds))
        finished = bool(self.finished) and self.finished[seed_index] is not None
        if which == "finished" and not finished:
            raise InputError("which", "best or last for a seed without a finish", which, "set training.finish")
        selected = "last" if self.setup.config.training.select == "last" else "best"
        return which or ("finished" if finished else selected)

    def solution(self, points, seed_index: int = 0, which: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """u_θ and ∇u_θ of one seed at `points` (k, d): arrays (k,) and (k, d)."""
        theta, ansatz = self.parameters(seed_index, which), self.setup.ansatz
        fixed = training.member(self.setup.data["fixed"], seed_index)
        if np.ndim(points) != 2 or np.shape(points)[1] != ansatz.dimension:
            expected, remedy = f"shape (k, {ansatz.dimension})", "one row a point, in one dimension x[:, None]"
            raise InputError("points", expected, f"shape {np.shape(points)}", remedy)
        x = np.asarray(points)
        count = len(x)
        size = 1 << (count - 1).bit_length() if count <= BLOCK else -(-count // BLOCK) * BLOCK  # few shapes, few compilations
        x = np.concatenate([x, np.zeros((size - count, ansatz.dimension), x.dtype)])
        jet = self._jets(theta, fixed, jnp.asarray(x, ansatz.network.dtype))
        return np.asarray(jet[0])[:count], np.stack([np.asarray(g)[:count] for g in jet[1]], axis=-1)

    @functools.cached_property
    def _jets(self) -> Callable:
        """Jitted (θ, fixed, points) -> value and gradient: one program for all calls with the same number of points."""
        ansatz = self.setup.ansatz
        return fem.shared(lambda theta, fixed, x: jax.vmap(lambda p: ansatz.jet(theta, fixed, p)[:2])(x))

    def quadrature_error(self, seed_index: int = 0, which: str | None = None, pieces: int = 2) -> QuadratureError:
        """Size of the defect of one seed, and how much a rule with `pieces` times as many pieces changes it."""
        setup = self.setup
        if not has_defect(setup.config):
            raise InputError(
                "quadrature_error", "a hybrid run with the defect coupling", setup.config.coarse.coupling,
                "run with coarse.coupling=defect",
            )  # fmt: skip
        theta, data = self.parameters(seed_index, which), self.data(seed_index, which)
        finer = defect_of(setup.problem, setup.config, setup.coarse_problem, setup.coarse_mesh, pieces)
        K_hat = self.coarse(seed_index, which)["upscaled"]

        def gradient(x: jax.Array) -> jax.Array:
            return jnp.stack(setup.ansatz.jet(theta, data["fixed"], x).gradient)

        return quadrature_error(setup.coarse_problem, data["coupling"], finer, jnp.asarray(K_hat), gradient)

    def coarse(self, seed_index: int = 0, which: str | None = None) -> dict[str, np.ndarray]:
        """Coarse view of one seed of a hybrid run: K̂[u_θ], y_h(u_θ) and Q_δu_θ, or the defect z, at the coarse nodes."""
        setup = self.setup
        if setup.coarse_problem is None:
            raise InputError(
                "coarse", "a run of the hybrid method", setup.config.method, "run with method='hybrid'"
            )
        theta, data = self.parameters(seed_index, which), self.data(seed_index, which)
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


def _reborn(setup: Setup, fit: training.FitResult, *rest: Any) -> RunResult:
    """A result from its pickle."""
    state = fit.state._replace(key=jax.random.wrap_key_data(fit.state.key))
    return RunResult(setup, fit._replace(state=state), *rest)


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
) -> RunResult:
    """Train `problem`, the paper's or your own, with the sizes of `config`.

    Parameters
    ----------
    problem : Problem
    config : Config
    seeds : tuple of int
    out : path, optional
        Run directory; None keeps all in memory. One process at a time; a call that fails before its first step leaves none. An
        interrupt saves the last report; the library handles no signals, the command line makes SIGTERM and SIGHUP interrupts.
    resume : bool
        Continue the run in `out`, bit for bit on a CPU.
    time_limit : float, optional
        Seconds of this call, assembly and compilation among them; an interrupted run can be resumed.
    callbacks : tuple of callable (FitResult) -> None
        Called at every report, for instance for progress.
    initial : (params, fixed) with leading seed axis, optional
        Start from another run's parameters. The checkpoint holds them: on `resume` it may be left out.
    setup : Setup, optional
        What :func:`hybrid_lib.experiments.assemble.assemble` made of the same problem, configuration and seeds.
    checkpoint_every : float
        Least number of seconds between two checkpoints; 0 saves at every report.
    reference : Reference, None or "auto"
        What the errors in summary and history are taken from, for instance ``experiments.reference(problem)``. None leaves it
        out, and the errors are null. "auto" solves one for the paper's experiments and none for a problem of your own,
        whose error :func:`hybrid_lib.experiments.error_estimate` bounds without.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        For bad settings, sizes that do not fit into the memory (it names some that do), an existing `out` without `resume`,
        one that another process writes to, or a run with another configuration, medium, source, direction or start.
    """
    began = time.perf_counter()
    validated(config)
    seeds = _whole(seeds)
    if setup is not None:
        _belongs(setup, problem, fingerprint(config, seeds), initial)
    if setup is None:
        check_memory(problem, config, len(seeds))
    if out is None:
        setup = setup or assemble(problem, config, seeds, initial)
        exact = _reference(reference, problem, config)
        return _fit(setup, exact, began, None, setup.state, None, callbacks, time_limit, checkpoint_every)
    with claimed(out, config, seeds, resume) as folder:
        if not resume:
            folder.write_config(None if initial is None else UNKNOWN)
        setup = setup or assemble(problem, config, seeds, initial)
        exact, state, previous = _reference(reference, problem, config), setup.state, None
        start = None if initial is None else digest((state.members.params, setup.data["fixed"]))
        start = folder.check_initial(start) if resume else start
        folder.check_problem(problem, exact)
        setup = _with_frequencies(setup, folder)
        if folder.checkpoint.exists():
            previous = training.restore(folder.checkpoint, state, folder.identity)
            state = previous.state
        points = np.asarray(setup.data["points"]["collocation"][0])
        folder.write_config(start)
        folder.write_environment(environment(config))
        folder.write_problem(problem, exact, points, setup.data["fixed"])
        return _fit(setup, exact, began, folder, state, previous, callbacks, time_limit, checkpoint_every)


def _reference(given: Reference | str | None, problem: Problem, config: Config) -> Reference | None:
    """The reference of a run: the one that is given, or what "auto" stands for."""
    if given is None or isinstance(given, Reference):
        return given
    if given != "auto":
        raise InputError("reference", 'a Reference, None or "auto"', repr(given), "experiments.reference(problem) makes one")
    return solve_reference(problem) if config.experiment in EXPERIMENTS else None


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


def _with_frequencies(setup: Setup, folder: RunFolder) -> Setup:
    """`setup` with the frequencies that the run in `folder` was begun with: those of an `initial` are not the seeds' own."""
    drawn = setup.data["fixed"]
    known = folder.frequencies(drawn)
    if known is None or digest(known) == digest(drawn):
        return setup
    return assemble(setup.problem, setup.config, setup.seeds, (setup.state.members.params, known))


def _fit(
    setup: Setup, exact: Reference | None, began: float, folder: RunFolder | None, state, previous, callbacks, time_limit, every
) -> RunResult:
    """Train from `state`, save into `folder`, sum up."""
    config, options = setup.config, setup.config.training
    saver = None if folder is None else Saver(folder.checkpoint, folder.identity, every)

    def rescue() -> str:
        if saver is None:
            return "without --out nothing was kept"
        saver.save()
        return f"{folder.path} continues with --resume"

    with training.Watchdog(rescue) as watchdog:
        if folder is not None:
            if previous is None:  # from here on the run can be continued
                training.save(folder.checkpoint, training.FitResult(state, {}, {}, 0.0, 0.0, False), folder.identity)
            callbacks = (*callbacks, saver)
        evaluate = evaluator(setup.ansatz, exact)
        left = None if time_limit is None else time_limit - (time.perf_counter() - began)
        try:
            result = training.fit(
                setup.program,
                state,
                setup.data,
                options.steps,
                evaluate=evaluate,
                report_every=options.report_every,
                callbacks=callbacks,
                time_limit=left,
                resample=setup.resample,
                resample_every=config.sampling.resample_every,
                previous=previous,
                watchdog=watchdog,
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
    done = RunResult(setup, result, exact, summary(setup, result, evaluate, out, finished, exact), finished)
    if folder is not None:
        buffer = io.BytesIO()
        columns = {f"history:{k}": v for k, v in result.history.items()}
        np.savez_compressed(
            buffer, **columns, **{f"evaluations:{k}": v for k, v in result.evaluations.items()}
        )
        training.write_atomically(folder.path / "history.npz", buffer.getvalue())
        write_json(folder.path / "summary.json", done.summary)
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


def source_hash() -> str:
    """SHA-256 of the library's Python files, names and contents in sorted order; the first 16 digits."""
    root, digest = Path(hybrid_lib.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]
