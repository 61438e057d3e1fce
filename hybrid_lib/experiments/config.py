r"""Configurations: frozen data, changed by typed paths, identified by a fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError


@dataclass(frozen=True)
class NetworkConfig:
    """`kind` ms, mlp or two-scale; hidden `widths`; `activation`; `frequencies` m of each of the scales 1 and 1/ε (ms only);
    `boundary_layers`: features that decay from the boundary at the rate 2π/ε (two-scale only); `layer_factor`: the fast part
    has a factor of its own, which is one but for a layer of that width (two-scale, hard boundary); `corrector`: the network
    corrects the first-order expansion of homogenisation (hard boundary, periodic medium on the unit cube). Readings of the
    paper's features (ms only): `cycles`, cos 2πBx as printed or, false, cos Bx; `trainable_frequencies`, B is trained too."""

    kind: str = "ms"
    widths: tuple[int, ...] = (128, 128)
    activation: str = "tanh"
    frequencies: int = 64
    boundary_layers: bool = False
    layer_factor: bool = False
    corrector: bool = False
    cycles: bool = True
    trainable_frequencies: bool = False


@dataclass(frozen=True)
class SamplingConfig:
    """Collocation: number of `points` and `boundary_points`, `sampler`, `resample_every` steps (0: never).

    Sampler uniform or sobol; graded, Sobol points with half of them (an axis) in the boundary layers, and their weights; or
    gauss, the quadrature points of the defect in the coarse cells, with their weights, whose number `points` does not tell.
    """

    points: int = 2000
    boundary_points: int = 0
    sampler: str = "uniform"
    resample_every: int = 0


@dataclass(frozen=True)
class CoarseConfig:
    """Coarse problem of the hybrid method.

    `cells` a side; averaging length `delta` (None: ε); ball `radius` (None: δ/2); `coupling` by name; `parts` a side of the
    partition on which K̂ is constant; initial `weight` τ₂ of the coupling (None: 1 for an averaged coupling, the rule of
    ``assemble.coupling_weight`` for the defect). Quadrature of the defect: `pieces` of each edge of a coarse cell (None: so
    that the parts resolve ε) and the `order` of the rule on each part (None: 7 in 1-D, 5 in 2-D).
    """

    cells: int = 250
    delta: float | None = None
    radius: float | None = None
    coupling: str = "averaged"
    parts: int = 1
    weight: float | None = None
    pieces: int | None = None
    order: int | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """Options of Algorithm 3.1 and of the optimiser; see ``LoopOptions`` and ``adam``.

    `balance_every` None stands for 100, the paper's, and for no balancing with the defect coupling, the first-order
    system or Gauss-Newton. `balance_terms`, `balance_reference` and `balance_start` are readings of the rule, see
    :mod:`hybrid_lib.training.balancing`.
    `select` names the iterate whose errors are reported: the one with the smallest PDE term (the paper's) or the last.
    `momentum`: of Gauss-Newton, see ``gauss_newton``; for points that are drawn anew every few steps.
    `finish`: most Galerkin steps on the energy after the last step, see :func:`finish_steps` for None.
    """

    optimiser: str = "adam"
    steps: int = 200_000
    learning_rate: float = 5e-4
    decay_rate: float = 0.75
    decay_every: int = 5000
    tolerance: float = 0.0
    gate_every: int = 100
    gate_tolerance: float = 1e-2
    balance_every: int | None = None
    balance_momentum: float = 0.9
    balance_terms: str = "all"
    balance_reference: str = "sum"
    balance_start: str = "given"
    record_every: int = 100
    report_every: int = 1000
    select: str = "smallest-residual"
    finish: int | None = None
    momentum: float = 0.0


@dataclass(frozen=True)
class Config:
    """One run but for its seeds: experiment, method, scale, numbers' type, and a section for each part.

    `formulation`: the strong residual of u, or the first-order system of u and its flux (pinn with hard boundary only).
    """

    experiment: str
    eps: float
    method: str = "hybrid"
    scale: str = "quick"
    dtype: str = "float32"
    boundary: str = "hard"
    boundary_weight: float = 1.0
    network: NetworkConfig = field(default_factory=NetworkConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    coarse: CoarseConfig = field(default_factory=CoarseConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    formulation: str = "strong"


CHOICES: dict[str, tuple[str, ...]] = {
    "method": ("hybrid", "pinn"),
    "dtype": ("float32", "float64"),
    "boundary": ("hard", "soft"),
    "formulation": ("strong", "first-order"),
    "network.kind": ("ms", "mlp", "two-scale"),
    "network.activation": ("swish", "tanh"),
    "sampling.sampler": ("gauss", "graded", "sobol", "uniform"),
    "coarse.coupling": ("averaged", "averaged-both", "defect"),
    "training.optimiser": ("adam", "gauss-newton"),
    "training.balance_terms": ("all", "without-coupling"),
    "training.balance_reference": ("residual", "sum"),
    "training.balance_start": ("balanced", "given"),
    "training.select": ("last", "smallest-residual"),
}
POSITIVE = {
    "eps",
    "boundary_weight",
    "network.frequencies",
    "sampling.points",
    "coarse.cells",
    "coarse.delta",
    "coarse.radius",
    "coarse.parts",
    "coarse.weight",
    "coarse.pieces",
    "coarse.order",
    "training.steps",
    "training.learning_rate",
    "training.decay_rate",
    "training.decay_every",
    "training.gate_every",
    "training.record_every",
    "training.report_every",
}
NOT_NEGATIVE = {
    "sampling.boundary_points",
    "sampling.resample_every",
    "training.tolerance",
    "training.gate_tolerance",
    "training.balance_every",
    "training.finish",
}
WHOLE = {
    "network.frequencies",
    "sampling.points",
    "sampling.boundary_points",
    "sampling.resample_every",
    "coarse.cells",
    "coarse.parts",
    "training.steps",
    "training.decay_every",
    "training.gate_every",
    "training.record_every",
    "training.report_every",
}
FRACTIONS = {"training.balance_momentum", "training.momentum"}
"""Settings in [0, 1)."""
FIXED = {"experiment", "scale"}
LEFT_OUT = ("training.steps", "training.report_every", "training.select", "training.finish")
"""Settings that may change when a run is resumed: they are not in its fingerprint."""


def paths(config: Config) -> dict[str, Any]:
    """All settings as a flat dict from dotted path to value, in order of definition.

    Examples
    --------
    >>> paths(Config("heat1d-eps15", 1 / 15))["network.widths"]
    (128, 128)
    """
    flat: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= {
                f"{item.name}.{inner.name}": getattr(value, inner.name) for inner in dataclasses.fields(value)
            }
        else:
            flat[item.name] = value
    return flat


def with_settings(config: Config, settings: dict[str, str]) -> Config:
    """Apply ``path=value`` settings, each value converted to the type of its field.

    Parameters
    ----------
    config : Config
    settings : dict of str to str
        Dotted path to text, as on the command line; ``none`` or ``auto`` for an optional value, ``64,64`` for a tuple.

    Returns
    -------
    Config
        Validated.

    Raises
    ------
    InputError
        For an unknown path (lists the valid ones), a value of the wrong type or out of its range.

    Examples
    --------
    >>> with_settings(Config("heat1d-eps15", 1 / 15), {"network.widths": "32,32"}).network.widths
    (32, 32)
    """
    known = [path for path in paths(config) if path not in FIXED]
    for path, text in settings.items():
        if path not in known:
            raise InputError(f"--set {path}", "one of " + ", ".join(known), repr(path), "correct the path")
        head, _, tail = path.partition(".")
        owner = getattr(config, head) if tail else config
        name = tail or head
        value = _convert(path, text, typing.get_type_hints(type(owner))[name])
        changed = dataclasses.replace(owner, **{name: value})
        config = dataclasses.replace(config, **{head: changed}) if tail else changed
    return validated(config)


def validated(config: Config) -> Config:
    """`config` itself, if every setting is in its range."""
    for path, value in paths(config).items():
        if path in WHOLE and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
            raise InputError(path, "an integer", repr(value), f"set {path} to a whole number")
        if path in CHOICES and value not in CHOICES[path]:
            raise InputError(path, "one of " + ", ".join(CHOICES[path]), repr(value), "choose one of these")
        if path in NOT_NEGATIVE and value is not None and value < 0:
            kind = "an integer" if isinstance(value, int) else "a number"
            raise InputError(path, f"{kind} >= 0", value, f"set {path}=0 to do without, or a positive value")
        if path in FRACTIONS and not 0 <= value < 1:
            raise InputError(path, "a number in [0, 1)", value, f"set {path}=0 to do without")
        if path in POSITIVE and value is not None and not value > 0:
            raise InputError(path, "a number > 0", value, f"set {path} to a positive value")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(path, "a finite number", value, f"set {path} to a number")
    if config.boundary == "soft" and config.sampling.boundary_points < 1:
        raise InputError(
            "sampling.boundary_points",
            "at least 1 with soft boundary conditions",
            config.sampling.boundary_points,
            "set sampling.boundary_points, or boundary=hard",
        )
    if config.network.corrector and config.boundary != "hard":
        raise InputError(
            "network.corrector", "boundary=hard", f"boundary={config.boundary}", "the expansion is zero there"
        )
    if config.network.layer_factor and (config.network.kind, config.boundary) != ("two-scale", "hard"):
        received = f"network.kind={config.network.kind}, boundary={config.boundary}"
        raise InputError(
            "network.layer_factor", "network.kind=two-scale, boundary=hard", received, "set network.layer_factor=false"
        )
    if config.network.boundary_layers and config.network.kind != "two-scale":
        raise InputError(
            "network.boundary_layers", "network.kind=two-scale", f"network.kind={config.network.kind}",
            "set network.boundary_layers=false",
        )  # fmt: skip
    if (config.network.trainable_frequencies or not config.network.cycles) and config.network.kind != "ms":
        setting = "network.trainable_frequencies" if config.network.trainable_frequencies else "network.cycles"
        received = f"network.kind={config.network.kind}"
        raise InputError(setting, "network.kind=ms", received, "leave it out")
    if is_first_order(config) and (config.method, config.boundary) != ("pinn", "hard"):
        raise InputError(
            "formulation",
            "method pinn and boundary=hard with first-order",
            f"method {config.method}, boundary={config.boundary}",
            "choose these, or formulation=strong",
        )
    if config.training.finish and not has_energy(config):
        raise InputError(
            "training.finish", "0 but for formulation=strong, boundary=hard and dtype=float64",
            f"{config.training.finish} with formulation={config.formulation}, boundary={config.boundary}, dtype={config.dtype}",
            "set training.finish=0, or these",
        )  # fmt: skip
    if config.training.momentum and config.training.optimiser != "gauss-newton":
        received = f"{config.training.momentum} with optimiser {config.training.optimiser}"
        raise InputError("training.momentum", "0 but for gauss-newton", received, "set training.momentum=0")
    if not config.network.widths or min(config.network.widths) < 1:
        raise InputError("network.widths", "positive integers", config.network.widths, "for example 128,128")
    return config


def has_defect(config: Config) -> bool:
    """Whether the run is a hybrid one with the defect coupling."""
    return config.method == "hybrid" and config.coarse.coupling == "defect"


def is_first_order(config: Config) -> bool:
    """Whether u and its flux are trained together, see :mod:`hybrid_lib.experiments.first_order`."""
    return config.formulation == "first-order"


def balance_every(config: Config) -> int:
    """Steps between two updates of the weights, 0 for none; the setting, or what None stands for."""
    if config.training.balance_every is not None:
        return config.training.balance_every
    fixed = has_defect(config) or is_first_order(config) or config.training.optimiser == "gauss-newton"
    return 0 if fixed else 100


def finish_steps(config: Config, dimension: int) -> int:
    """Most steps of the Ritz finish, see :mod:`hybrid_lib.training.ritz`; the setting, or what None stands for.

    That is 2 after Gauss-Newton in two dimensions, where training leaves an error in L² that the energy still sees, and 0
    otherwise: in one dimension the runs end where the energy is down to rounding.
    """
    if config.training.finish is not None:
        return config.training.finish
    return 2 if dimension == 2 and config.training.optimiser == "gauss-newton" and has_energy(config) else 0


def has_energy(config: Config) -> bool:
    """Whether the energy of the trial field is that of the problem, in a precision that can tell two fields apart."""
    return (config.formulation, config.boundary, config.dtype) == ("strong", "hard", "float64")


def as_dict(config: Config) -> dict[str, Any]:
    """Nested dict for JSON."""
    return dataclasses.asdict(config)


def fingerprint(config: Config, seeds: tuple[int, ...]) -> str:
    """Short hash of what determines a run's numbers; the number of steps may grow on a resume and is left out.

    Only settings that differ from the defaults of their dataclass count, so that a setting added later, at a default that
    changes nothing, does not part a run from its checkpoint.
    """
    defaults = paths(Config(config.experiment, config.eps))
    content = {path: v for path, v in paths(config).items() if path not in LEFT_OUT and v != defaults.get(path)}
    identity = {"experiment": config.experiment, "eps": config.eps, "config": content, "seeds": list(seeds)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _convert(path: str, text: str, hint: Any) -> Any:
    """`text` as a value of type `hint`: int, float, str, an optional of these, or a tuple of integers."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if text.strip().lower() in ("none", "auto"):
            return None
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    try:
        if typing.get_origin(hint) is tuple:
            return tuple(int(part) for part in text.strip("()[] ").split(",") if part.strip())
        if hint is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
        if hint is int:
            number = float(text)
            if number != int(number):
                raise ValueError
            return int(number)
        return hint(text)
    except (ValueError, OverflowError, KeyError):
        kind = (
            "integers separated by commas"
            if typing.get_origin(hint) is tuple
            else f"a value of type {hint.__name__}"
        )
        raise InputError(f"--set {path}", kind, repr(text), f"write {path}=<value>") from None
