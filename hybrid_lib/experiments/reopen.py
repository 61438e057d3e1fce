"""A run read back from its folder: settings, history, summary and parameters at once, the rest when it is asked for."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hybrid_lib import media, training
from hybrid_lib.config import ABSENT, FIELDS, SECTIONS, Config, flat
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import Setup, assemble, draw, require_precision
from hybrid_lib.experiments.folder import RunFolder, read_json
from hybrid_lib.experiments.registry import EXPERIMENTS, problem_of
from hybrid_lib.experiments.result import RunResult
from hybrid_lib.experiments.summary import unfinished
from hybrid_lib.methods import Method, method_of
from hybrid_lib.pinn import domains
from hybrid_lib.problems import PLAIN, Problem
from hybrid_lib.training.ritz import RitzResult
from hybrid_lib.units import Units

Tree = Any
WHAT = "load"


def load(path: Path | str, problem: Problem | None = None) -> RunResult:
    """A finished or interrupted run from its folder; nothing is trained, and no reference is solved.

    Solution, history and summary are there at once. What needs the medium (``coarse``, ``data``, ``error_estimate``, the
    Ritz finish) is assembled when it is first asked for.

    Parameters
    ----------
    path : path
        What ``train(…, out=path)``, ``hybrid run --out`` or ``RunResult.save`` wrote.
    problem : Problem, optional
        The problem of one's own that the run solves, whose functions no folder can hold; it is compared with the values that the
        folder does hold. The paper's problems are known. Without it there is no more than the solution.

    Returns
    -------
    RunResult
        Without reference; its errors are those in the summary. A run that was killed has none. A warning names each file that a
        run has and this one lacks, or that cannot be read, and what is left out for it.

    Raises
    ------
    InputError
        If there is no run in the folder, it was written by a newer version, or `problem` is another one.
    """
    path = Path(path)
    if not (path / "config.json").is_file():
        raise InputError(WHAT, "the folder of a run, with config.json", path, "pass what out= or RunResult.save named")
    content = read_json(path / "config.json")
    config, seeds = config_of(content, path), tuple(content["seeds"])
    require_precision(config)
    folder = RunFolder(path, config, seeds, content.get("fingerprint"))
    if not folder.checkpoint.exists():
        raise InputError(WHAT, "a run that has begun", f"{path} without checkpoint", "run it again with resume=True")
    setup = Reopened(folder, config, seeds, _known_problem(folder, config, problem))
    fit = training.glance(folder.checkpoint, setup.shapes[0], folder.identity)
    setup.start = fit.state.members.params, setup.fixed
    summary = _complete(path, content, fit)
    if summary is None or summary.get("steps") != int(fit.state.step):
        summary = unfinished(config, seeds, fit, setup.unit)
    return RunResult(setup, fit, None, summary | {"run_dir": str(path)}, _finish(path, fit, setup.shapes[0], len(seeds)))


class Reopened:
    """Stands for the :class:`Setup` of a run that was read: network, settings and seeds are known, the rest is assembled.

    Attributes
    ----------
    source : Path
    config, seeds
    start : (params, fixed)
        What the rest is assembled with.
    """

    def __init__(self, folder: RunFolder, config: Config, seeds: tuple[int, ...], problem: Problem | None):
        self.source, self.config, self.seeds = folder.path, config, seeds
        self._folder, self._problem, self.start = folder, problem, None

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.source, self._problem)

    def __deepcopy__(self, _: Any) -> Reopened:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._whole, name)

    @property
    def method(self) -> Method:
        """That of the configuration."""
        return method_of(self.config)

    @property
    def problem(self) -> Problem:
        """The problem of the run, which is to be known."""
        if self._problem is None:
            raise InputError(WHAT, "the problem of the run", f"{self.source} alone", f'load("{self.source}", problem=...)')
        return self._problem

    @functools.cached_property
    def _like(self) -> Problem:
        """The problem, or one with the same network: on the domain and in the units that the folder names."""
        record = self._folder.record()
        if self._problem is not None:
            return self._problem
        name = str(record.get("domain", ""))
        sided = any(key.startswith("kind of ") for key in record)
        if "units" not in record or name not in PLAIN or sided or self.config.network.corrector:
            return self.problem
        domain, known = getattr(domains, name)(), Units(*map(float, record["units"]))
        slope = (known.field, *[0.0] * (domain.dimension - 1))
        return Problem(self.config.experiment, domain, media.constant(known.conductivity, domain.dimension), _nothing, slope)

    @property
    def domain(self) -> domains.Domain:
        """That of the run."""
        return self._like.domain

    @functools.cached_property
    def unit(self) -> float:
        """Unit of the root of the number by which iterates are selected."""
        return self.method.unit(self._like)

    @functools.cached_property
    def ansatz(self) -> Any:
        """The trial field."""
        return self.method.ansatz(self._like, self.config)

    @functools.cached_property
    def shapes(self) -> tuple[Tree, Tree]:
        """Shapes and types of parameters and frequencies, leading axis seeds."""
        drawn = jax.eval_shape(self.ansatz.init, jax.random.key(0))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(self.seeds), *leaf.shape), leaf.dtype), drawn)

    @functools.cached_property
    def fixed(self) -> Tree:
        """What the networks have drawn and do not train, leading axis seeds."""
        known = self._folder.frequencies(self.shapes[1])
        return training.stack([draw(self.ansatz, seed)[1] for seed in self.seeds]) if known is None else known

    @functools.cached_property
    def _whole(self) -> Setup:
        return assemble(self.problem, self.config, self.seeds, self.start)


def config_of(content: dict[str, Any], path: Path) -> Config:
    """The configuration in a ``config.json``, with what its version stood for in the place of settings that came later."""
    stored = content.get("config")
    if not isinstance(stored, dict) or not isinstance(content.get("seeds"), list):
        raise InputError(str(path / "config.json"), "the settings of a run", "something else", "restore it")
    found = ABSENT | flat(stored)
    if unknown := [name for name in found if name not in FIELDS]:
        raise InputError(WHAT, "settings of this version", ", ".join(unknown), "read it with the version that wrote it")
    parts: dict[str, dict[str, Any]] = {head: {} for head in ("", *SECTIONS)}
    for name, value in found.items():
        head, _, last = name.rpartition(".")
        parts[head][last] = tuple(value) if isinstance(value, list) else value
    return Config(**parts.pop(""), **{head: SECTIONS[head](**values) for head, values in parts.items()})


def _known_problem(folder: RunFolder, config: Config, given: Problem | None) -> Problem | None:
    """The problem that is given, or the paper's if the folder is of one; refuses another than that of the run."""
    if given is not None:
        if not isinstance(given, Problem):
            raise InputError("problem", "a Problem", type(given).__name__, "pass the problem of the run")
        folder.check_problem(given, None, WHAT)
        return given
    if config.experiment not in EXPERIMENTS:
        return None
    known = problem_of(config)
    try:
        folder.check_problem(known, None, WHAT)
    except InputError:  # a problem of one's own with the sizes of the paper's
        return None
    return known


def _complete(path: Path, content: dict[str, Any], fit: training.FitResult) -> dict[str, Any] | None:
    """The summary, None if there is none; warns of files that are missing, damaged or by another hand, once each."""
    found: dict[str, Any] = {}
    if unknown := [name for name in content if name not in ("config", "seeds", "fingerprint", "initial")]:
        _warn(path / "config.json", f"it holds {', '.join(map(repr, unknown))}, which this version does not know and leaves out")
    lost = {
        "environment.json": "versions and device of the run are not known",
        "problem.npz": "nothing says whether the problem is that of the run",
        "summary.json": "errors and status are not known, the rest is that of the checkpoint",
        "history.npz": "the history is that of the checkpoint",
    }
    for name, without in lost.items():
        file, late = path / name, name in ("summary.json", "history.npz")
        if not file.exists():
            if fit.finished or not late:
                _warn(file, f"it is missing: {without}")
            continue
        try:
            if name.endswith(".json"):
                found[name] = read_json(file)
            elif late:
                with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                    _ = [arrays[column] for column in arrays.files]
        except (InputError, *training.UNREADABLE):
            _warn(file, f"it cannot be read: {without}")
    return found.get("summary.json")


def _warn(file: Path, text: str) -> None:
    warnings.warn(f"{file}: {text}", stacklevel=4)


def _finish(path: Path, fit: training.FitResult, params: Tree, seeds: int) -> tuple[RitzResult | None, ...]:
    """The finish of each seed, as far as there is one of this state."""
    try:
        with open(path / "finish.npz", "rb") as stream, np.load(stream, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return ()
    except training.UNREADABLE:
        raise InputError(str(path / "finish.npz"), "a file written by this library", "something else", "remove it") from None
    if int(stored["step"]) != int(fit.state.step):
        return ()
    structure, found = jax.tree.structure(params), []
    for index in range(seeds):
        own = {name.split(":")[1]: value for name, value in stored.items() if name.startswith(f"{index}:")}
        leaves = [own.pop(f"leaf{k}") for k in range(structure.num_leaves)] if own else []
        known = {"reason": str(own.pop("reason"))} | {k: float(v) if v.ndim == 0 else v for k, v in own.items()} if own else {}
        found.append(RitzResult(params=jax.tree.unflatten(structure, map(jax.numpy.asarray, leaves)), **known) if own else None)
    return tuple(found)


def _again(source: Path, problem: Problem | None) -> Reopened:
    """A setup from its pickle."""
    return load(source, problem).setup


def _nothing(x: Any) -> Any:
    """No source."""
    return jax.numpy.zeros((), x.dtype)
