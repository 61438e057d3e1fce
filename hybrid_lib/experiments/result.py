r"""What a run returns: the trained field, its coarse view, its errors and its history, and how to keep them in a folder."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem, processes, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import export
from hybrid_lib.experiments.assemble import Setup, draw
from hybrid_lib.experiments.environment import environment
from hybrid_lib.experiments.folder import FILES, RunFolder, claimed, write_json
from hybrid_lib.experiments.identity import digest
from hybrid_lib.experiments.references import Reference
from hybrid_lib.experiments.summary import table
from hybrid_lib.multiscale.defect import QuadratureError
from hybrid_lib.pinn.within import points_in
from hybrid_lib.training.ritz import RitzResult

BLOCK = 8192
"""Numbers of points are rounded up to a power of two up to here, then to multiples of this."""


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        """The errors of every seed, as the command line prints them."""
        return table(self.summary, self.setup.config)

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Losses, weights and K̂ at the recorded iterations by name; ``step`` is (R,), the others (R, S, …)."""
        return self.fit.history

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
        """u_θ and ∇u_θ of one seed at `points` (k, d) of the domain: arrays (k,) and (k, d).

        A network says something everywhere, also where it was not trained. In your own traced code ``setup.ansatz`` is the field;
        it is not checked there.

        Raises
        ------
        InputError
            For a point outside the domain; its boundary is inside, up to rounding.
        """
        value, gradient = self._at(self._jets, points, seed_index, which)
        return np.asarray(value)[: len(points)], np.stack([np.asarray(g)[: len(points)] for g in gradient], axis=-1)

    def flux(self, points, seed_index: int = 0, which: str | None = None) -> np.ndarray:
        """The flux K(∇u + e) of one seed at `points` (k, d) of the domain, as its method knows it best: (k, d).

        Of the strong forms K(∇u_θ + e); of the first-order system σ_θ; of the hypercircle the mean of its two fluxes, whose
        error ‖K^{−1/2}·‖ is half of √J.
        """
        return np.asarray(self._at(self._fluxes, points, seed_index, which))[: len(points)]

    def _at(self, program: Callable, points: Any, seed_index: int, which: str | None) -> Any:
        """`program` of θ, the fixed parameters and the points, filled up to one of few numbers of points."""
        theta, ansatz = self.parameters(seed_index, which), self.setup.ansatz
        fixed = training.member(self.setup.fixed, seed_index)
        x = points_in(self.setup.domain, points)
        count = len(x)
        size = 1 << (count - 1).bit_length() if count <= BLOCK else -(-count // BLOCK) * BLOCK  # few shapes, few compilations
        x = np.concatenate([x, np.zeros((size - count, ansatz.dimension), x.dtype)])
        return program(theta, fixed, jnp.asarray(x, ansatz.network.dtype))

    @functools.cached_property
    def _jets(self) -> Callable:
        """Jitted (θ, fixed, points) -> value and gradient: one program for all calls with the same number of points."""
        ansatz = self.setup.ansatz
        return fem.shared(lambda theta, fixed, x: jax.vmap(lambda p: ansatz.jet(theta, fixed, p)[:2])(x))

    @functools.cached_property
    def _fluxes(self) -> Callable:
        """Jitted (θ, fixed, points) -> flux."""
        method, problem, ansatz = self.setup.method, self.setup.problem, self.setup.ansatz
        return fem.shared(lambda theta, fixed, x: jax.vmap(lambda p: method.flux(problem, ansatz, theta, fixed, p))(x))

    def quadrature_error(self, seed_index: int = 0, which: str | None = None, pieces: int = 2) -> QuadratureError:
        """Size of the defect of one seed, and how much a rule with `pieces` times as many pieces changes it."""
        theta, data = self.parameters(seed_index, which), self.data(seed_index, which)
        return self.setup.method.quadrature_error(self.setup, theta, data, pieces)

    def coarse(self, seed_index: int = 0, which: str | None = None) -> dict[str, np.ndarray]:
        """Coarse view of one seed of a hybrid run: K̂[u_θ], y_h(u_θ) and Q_δu_θ, or the defect z, at the coarse nodes."""
        theta, data = self.parameters(seed_index, which), self.data(seed_index, which)
        return self.setup.method.view(self.setup, theta, data)

    def export(self, path: Path | str, seed_index: int = 0, which: str | None = None, n: int | None = None) -> Path:
        """Write fields of one seed for other programs, or u and ∇u as a program: see :mod:`hybrid_lib.experiments.export`.

        Parameters
        ----------
        path : path
            Its suffix says what: `.vtu`, `.vtk`, `.xdmf`, `.npz`, `.csv`, `.nc`, or `.jax` for a program.
        seed_index, which
            As in :meth:`parameters`.
        n : int, optional
            Cells a unit length of the mesh; a hundred in the plane, a thousand on a line.

        Raises
        ------
        InputError
            For an unknown suffix, a missing package, or a place that cannot be written.

        Notes
        -----
        A file `.jax` needs JAX alone, where its dtype is enabled::

            u, gradient = jax.export.deserialize(bytearray(Path("run.jax").read_bytes())).call(points)
        """
        path = export.path_of(path, (*export.SUFFIXES, ".jax"))
        if path.suffix == ".jax":
            export.write_function(path, self, seed_index, which)
            return path
        fields = export.of_run(self, seed_index, which, n)
        return export.write_fields(path, fields, **({} if n is None else {"n": n}))

    def save(self, out: Path | str) -> None:
        """Write the run to a folder as ``train(…, out=…)`` does, for :func:`hybrid_lib.load` and for ``resume``.

        Parameters
        ----------
        out : path
            New or empty: nothing is overwritten.

        Raises
        ------
        InputError
            If there is something in `out`, or it cannot be written.

        Notes
        -----
        Of several processes the first writes.
        """
        if not processes.is_coordinator():
            return
        setup, source = self.setup, getattr(self.setup, "source", None)
        with claimed(out, setup.config, setup.seeds, resume=False, saving=True) as folder:
            if source is not None:  # read from a folder: what lies there
                if not (source / "checkpoint" / "state.npz").exists():
                    received, remedy = f"none at {source}", "load it from where it is now"
                    raise InputError("save", "the folder that the run was read from", received, remedy)
                for name in FILES:
                    if (source / name).exists():
                        training.write_atomically(folder.path / name, (source / name).read_bytes())
                return
            start = (setup.state.members.params, setup.fixed)
            drawn = training.stack([draw(setup.ansatz, seed) for seed in setup.seeds])
            folder.write_config(None if digest(start) == digest(drawn) else digest(start))
            folder.write_environment(environment(setup.config))
            points = np.asarray(setup.data["points"]["collocation"][0])
            folder.write_problem(setup.problem, self.reference, points, setup.fixed)
            training.save(folder.checkpoint, self.fit, folder.identity)
            keep(folder, dataclasses.replace(self, summary=self.summary | {"run_dir": str(folder.path)}))


def _reborn(setup: Setup, fit: training.FitResult, *rest: Any) -> RunResult:
    """A result from its pickle."""
    state = fit.state._replace(key=jax.random.wrap_key_data(fit.state.key))
    return RunResult(setup, fit._replace(state=state), *rest)


def keep(folder: RunFolder, result: RunResult) -> None:
    """Write ``history.npz``, ``finish.npz`` (where there is a finish) and ``summary.json``."""
    columns = {f"history:{k}": v for k, v in result.fit.history.items()}
    columns |= {f"evaluations:{k}": v for k, v in result.fit.evaluations.items()}
    training.write_atomically(folder.path / "history.npz", _compressed(columns))
    if not result.finished:  # of an earlier slice, perhaps, that had one
        (folder.path / "finish.npz").unlink(missing_ok=True)
    else:
        found = {"step": np.asarray(result.fit.state.step)}
        for index, ritz in enumerate(result.finished):
            if ritz is not None:
                leaves = {f"leaf{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(ritz.params))}
                known = ritz._asdict() | leaves
                found |= {f"{index}:{name}": np.asarray(value) for name, value in known.items() if name != "params"}
        training.write_atomically(folder.path / "finish.npz", _compressed(found))
    write_json(folder.path / "summary.json", result.summary)


def _compressed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _in_ensemble(index: int, count: int) -> None:
    """Refuse a number that is no index of a seed; JAX would take the nearest one."""
    if not -count <= index < count:
        raise InputError("seed_index", f"an index of the {count} seeds of the run", index, "count from 0")
