r"""Configurations: frozen data, checked when made, changed by typed paths, identified by a fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from hybrid_lib.errors import InputError
from hybrid_lib.settings import Section, described, setting


@described
@dataclass(frozen=True)
class NetworkConfig(Section):
    """The network: its kind, its sizes, and what it is told of the problem."""

    kind: str = setting(
        "ms", "Fourier features of each of the scales 1 and 1/ε, a plain network, two networks that are told ε, "
        "or a small network in each of many windows.",
        choices=("ms", "mlp", "two-scale", "windowed"),
    )  # fmt: skip
    widths: tuple[int, ...] = setting((128, 128), "Hidden layers, of each network where there are several.")
    slow_widths: tuple[int, ...] | None = setting(
        None, "Hidden layers of the slow one of two networks; none: those of the other (two-scale only)."
    )
    activation: str = setting("tanh", "Of every hidden layer.", choices=("swish", "tanh"))
    frequencies: int = setting(64, "m, of each of the scales 1 and 1/ε (ms only).", above=0)
    boundary_layers: bool = setting(False, "Features that decay from the boundary at the rate 2π/ε (two-scale only).")
    layer_factor: bool = setting(
        False, "The fast part has a factor of its own, one but for a layer of width ε (two-scale, hard boundary)."
    )
    corrector: bool = setting(
        False, "The network corrects the first-order expansion of homogenisation (hard boundary, periodic medium, unit cube)."
    )
    subdomains: int | None = setting(
        None, "Windows an axis, less one; none: one a period, at least four (windowed only).", above=0
    )
    coarse_cells: int | None = setting(
        None, "A side of the coarse mesh whose cubic splines the finish solves for; none: without (hypercircle only).", above=0
    )
    cycles: bool = setting(True, "Features cos 2πBx, as printed; false: cos Bx (ms only).")
    trainable_frequencies: bool = setting(False, "B is trained, too (ms only).")


@described
@dataclass(frozen=True)
class SamplingConfig(Section):
    """Collocation points."""

    points: int = setting(2000, "In the domain.", above=0)
    boundary_points: int = setting(0, "On the boundary, for soft boundary conditions.", least=0)
    sampler: str = setting(
        "uniform",
        "Random, Sobol, Sobol with half of the points (an axis) in the boundary layers and weights, "
        "Sobol in place and phase apart (two-scale), "
        "or the quadrature points of the defect in the coarse cells, whose number `points` does not tell.",
        choices=("gauss", "graded", "sobol", "two-scale", "uniform"),
    )  # fmt: skip
    resample_every: int = setting(0, "Steps between two draws of the points; 0 for one draw.", least=0)
    grow_after: int = setting(
        0, "Steps after which four times as many points are drawn, and again after half as many steps, up to sixteen times; "
        "0 for never. Needs resample_every.", least=0,
    )  # fmt: skip


@described
@dataclass(frozen=True)
class CoarseConfig(Section):
    """Coarse problem of the hybrid method."""

    cells: int = setting(250, "Of the coarse mesh, a side.", above=0)
    delta: float | None = setting(None, "Averaging length δ; none stands for ε.", above=0)
    radius: float | None = setting(None, "Of the averaging balls; none stands for δ/2.", above=0)
    coupling: str = setting("averaged", "(2.10), (2.16), or the defect.", choices=("averaged", "averaged-both", "defect"))
    parts: int = setting(1, "A side of the partition on which the upscaled coefficient is constant.", above=0)
    weight: float | None = setting(
        None, "First weight τ₂; none stands for 1, and with the defect for the rule of ``methods.defect.coupling_weight`` over "
        "the bound α of the medium.", above=0,
    )  # fmt: skip
    pieces: int | None = setting(
        None, "Of each edge of a coarse cell in the defect's quadrature; none: so that the parts resolve ε.", above=0
    )
    order: int | None = setting(None, "Of the rule on each part; none: 7 in one dimension, 5 in two.", above=0)


@described
@dataclass(frozen=True)
class TrainingConfig(Section):
    """Options of Algorithm 3.1 and of the optimiser; see ``LoopOptions``, ``adam`` and ``gauss_newton``."""

    optimiser: str = setting("adam", "Which one.", choices=("adam", "gauss-newton"))
    steps: int = setting(200_000, "In all, counted from the start of the run.", above=0, may_change=True)
    learning_rate: float = setting(5e-4, "Of Adam, at the start.", above=0)
    decay_rate: float = setting(0.75, "Factor of the learning rate.", above=0)
    decay_every: int = setting(5000, "Steps between two such factors.", above=0)
    tolerance: float = setting(0.0, "A seed stops when the objective, in the units of the problem, is not above it.", least=0)
    gate_every: int = setting(100, "Steps between two looks at the upscaled coefficient.", above=0)
    gate_tolerance: float = setting(
        1e-2, "Change of it, over the lower bound α of the medium (1 for the paper's), that renews the coarse state.", least=0
    )
    balance_every: int | None = setting(
        None, "Steps between two updates of the weights, 0 for none. None stands for 100, the paper's, and for no balancing "
        "with the defect coupling, the first-order system or Gauss-Newton.", least=0,
    )  # fmt: skip
    balance_momentum: float = setting(0.9, "Share of the old weight in the moving average.", least=0, below=1)
    balance_terms: str = setting(
        "all", "Reading of the rule: which terms are balanced, see :mod:`hybrid_lib.training.balancing`.",
        choices=("all", "without-coupling"),
    )  # fmt: skip
    balance_reference: str = setting(
        "sum", "Reading of the rule: relative to the sum of the norms or to the residual's.", choices=("residual", "sum")
    )
    balance_start: str = setting("given", "Reading of the rule: the first weights.", choices=("balanced", "given"))
    record_every: int = setting(100, "Steps between two rows of the history.", above=0)
    report_every: int = setting(1000, "Steps between two evaluations.", above=0, may_change=True)
    select: str = setting(
        "smallest-residual", "The iterate that is reported: the one with the smallest PDE term, the paper's, or the last.",
        choices=("last", "smallest-residual"), may_change=True,
    )  # fmt: skip
    finish: int | None = setting(
        None, "Most Galerkin steps on the energy after the last step; see ``finish_steps`` for none.", least=0, may_change=True
    )
    momentum: float = setting(0.0, "Of Gauss-Newton alone, for points that are drawn anew every few steps.", least=0, below=1)


@described
@dataclass(frozen=True)
class Config(Section):
    """One run but for its seeds: experiment, method, scale, numbers' type, and a section for each part.

    A configuration that exists is consistent: every setting has the type of its field and lies in its range, and the
    settings fit each other.
    """

    experiment: str = setting(MISSING, "Name of the experiment, or of a problem of one's own.")
    eps: float = setting(MISSING, "ε, the small length that network and quadrature are told.", above=0)
    method: str = setting("hybrid", "With the coarse constraint or without.", choices=("hybrid", "pinn"))
    scale: str = setting("quick", "Name of the sizes, for reports.", choices=("quick", "laptop", "paper"))
    dtype: str = setting("float32", "Of network and data.", choices=("float32", "float64"))
    boundary: str = setting("hard", "Boundary conditions by a factor that vanishes, or by a penalty.", choices=("hard", "soft"))
    boundary_weight: float = setting(1.0, "First weight τ₁ of that penalty.", above=0)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    coarse: CoarseConfig = field(default_factory=CoarseConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    formulation: str = setting(
        "strong", "The strong residual of u; the first-order system of u and its flux; or the hypercircle, whose objective is a "
        "bound of the error (both pinn with hard boundary only).", choices=("strong", "first-order", "hypercircle"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, kind in SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                received = type(getattr(self, name)).__name__
                raise InputError(name, f"a {kind.__name__}", received, "make one, or use with_settings")
        super().__post_init__()
        _consistent(self)
        importlib.import_module("hybrid_lib.methods")  # which adds its check; above this module, hence not before
        for check in CHECKS:
            check(self)


CHECKS: list[Callable[[Config], None]] = []
"""Called with every configuration that is made; :mod:`hybrid_lib.methods` adds what each method admits."""


SECTIONS: dict[str, type] = {
    "network": NetworkConfig, "sampling": SamplingConfig, "coarse": CoarseConfig, "training": TrainingConfig
}  # fmt: skip
FIELDS: dict[str, dataclasses.Field] = {
    f"{head}.{item.name}" if head else item.name: item
    for head, section in {"": Config, **SECTIONS}.items()
    for item in dataclasses.fields(section)
    if item.metadata
}
"""Every setting by its dotted path."""
CHOICES: dict[str, tuple[str, ...]] = {p: f.metadata["choices"] for p, f in FIELDS.items() if f.metadata["choices"]}
FIXED = ("experiment", "scale")
"""Names that no setting changes."""
LEFT_OUT = tuple(path for path, item in FIELDS.items() if item.metadata["may_change"])
"""Settings that may change when a run is resumed, and are not in its fingerprint."""
ABSENT: dict[str, Any] = {
    "method": "hybrid",
    "scale": "quick",
    "dtype": "float32",
    "boundary": "hard",
    "boundary_weight": 1.0,
    "formulation": "strong",
    "network.kind": "ms",
    "network.widths": (128, 128),
    "network.slow_widths": None,
    "network.activation": "tanh",
    "network.frequencies": 64,
    "network.boundary_layers": False,
    "network.layer_factor": False,
    "network.corrector": False,
    "network.subdomains": None,
    "network.coarse_cells": None,
    "network.cycles": True,
    "network.trainable_frequencies": False,
    "sampling.points": 2000,
    "sampling.boundary_points": 0,
    "sampling.sampler": "uniform",
    "sampling.resample_every": 0,
    "sampling.grow_after": 0,
    "coarse.cells": 250,
    "coarse.delta": None,
    "coarse.radius": None,
    "coarse.coupling": "averaged",
    "coarse.parts": 1,
    "coarse.weight": None,
    "coarse.pieces": None,
    "coarse.order": None,
    "training.optimiser": "adam",
    "training.steps": 200_000,
    "training.learning_rate": 5e-4,
    "training.decay_rate": 0.75,
    "training.decay_every": 5000,
    "training.tolerance": 0.0,
    "training.gate_every": 100,
    "training.gate_tolerance": 1e-2,
    "training.balance_every": None,
    "training.balance_momentum": 0.9,
    "training.balance_terms": "all",
    "training.balance_reference": "sum",
    "training.balance_start": "given",
    "training.record_every": 100,
    "training.report_every": 1000,
    "training.select": "smallest-residual",
    "training.finish": None,
    "training.momentum": 0.0,
}
"""What a configuration stands for that does not name a setting, because it was written before the setting existed, or by its
fingerprint alone. Frozen: these are not the defaults, which may change. A new setting gets a line with the value that changes
nothing; without one it counts in every fingerprint, and parts all runs from their checkpoints."""


def paths(config: Config) -> dict[str, Any]:
    """All settings as a flat dict from dotted path to value, in order of definition.

    Examples
    --------
    >>> paths(Config("heat1d-eps15", 1 / 15))["network.widths"]
    (128, 128)
    """
    return flat({item.name: getattr(config, item.name) for item in dataclasses.fields(config)})


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted path, from a dict whose parts are dicts or sections.

    Examples
    --------
    >>> flat({"eps": 0.1, "coarse": {"cells": 4}})
    {'eps': 0.1, 'coarse.cells': 4}
    """
    out: dict[str, Any] = {}
    for name, value in settings.items():
        part = vars(value) if isinstance(value, Section) else value
        out |= {f"{name}.{inner}": v for inner, v in part.items()} if isinstance(part, dict) else {name: value}
    return out


def with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Apply ``path=value`` settings, each value brought to the type of its field.

    Parameters
    ----------
    config : Config
    settings : mapping of str to value
        Dotted path to a typed value (True, 1.0, a tuple, a scalar of NumPy) or a text, as on the command line: ``none`` or
        ``auto`` for an optional value, ``64,64`` for a tuple.

    Returns
    -------
    Config

    Raises
    ------
    InputError
        For an unknown path (lists the valid ones), a value of the wrong type or out of its range.

    Examples
    --------
    >>> config = with_settings(Config("heat1d-eps15", 1 / 15), {"network.widths": "32,32", "coarse.delta": 0.1})
    >>> config.network.widths, config.coarse.delta
    ((32, 32), 0.1)
    """
    validated(config)
    if not isinstance(settings, Mapping):
        raise InputError("settings", "a mapping of paths to values", repr(settings)[:80], 'for example {"training.steps": 500}')
    known = [path for path in FIELDS if path not in FIXED]
    changes: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        if path not in known:
            raise InputError(f"setting {path}", "one of " + ", ".join(known), repr(path), "correct the path")
        head, _, name = path.rpartition(".")
        changes.setdefault(head, {})[name] = value
    sections = {head: dataclasses.replace(getattr(config, head), **new) for head, new in changes.items() if head}
    return dataclasses.replace(config, **sections, **changes.get("", {}))


def validated(config: Config) -> Config:
    """`config` itself, if it is one: a wrong one cannot be made."""
    if not isinstance(config, Config):
        remedy = "make one with experiments.configuration or own_configuration"
        raise InputError("config", "a Config", type(config).__name__, remedy)
    return config


def _consistent(config: Config) -> None:
    """Refuse settings that do not fit each other."""
    if config.boundary == "soft" and config.sampling.boundary_points < 1:
        raise InputError(
            "sampling.boundary_points",
            "at least 1 with soft boundary conditions",
            config.sampling.boundary_points,
            "set sampling.boundary_points, or boundary=hard",
        )
    if config.sampling.grow_after and not config.sampling.resample_every:
        received = config.sampling.grow_after
        raise InputError("sampling.grow_after", "0 without resample_every", received, "set sampling.resample_every=1")
    if config.network.slow_widths and config.network.kind != "two-scale":
        received = f"network.kind={config.network.kind}"
        raise InputError("network.slow_widths", "network.kind=two-scale", received, "set network.slow_widths=none")
    if config.network.subdomains and config.network.kind != "windowed":
        received = f"network.kind={config.network.kind}"
        raise InputError("network.subdomains", "network.kind=windowed", received, "set network.subdomains=none")
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
        name = "network.trainable_frequencies" if config.network.trainable_frequencies else "network.cycles"
        received = f"network.kind={config.network.kind}"
        raise InputError(name, "network.kind=ms", received, "leave it out")


def as_dict(config: Config) -> dict[str, Any]:
    """Nested dict for JSON."""
    return dataclasses.asdict(config)


def fingerprint(config: Config, seeds: tuple[int, ...]) -> str:
    """Short hash of what determines a run's numbers: the seeds, and every setting but those that may change on a resume.

    Of the settings those are hashed that differ from ``ABSENT``, which is frozen: a default that changes does not make two runs
    one, and a setting added later does not part a run from its checkpoint.
    """
    content = {path: v for path, v in paths(config).items() if path not in (*LEFT_OUT, "experiment", "eps")}
    content = {path: v for path, v in content.items() if path not in ABSENT or v != ABSENT[path]}
    identity = {"experiment": config.experiment, "eps": config.eps, "config": content, "seeds": list(seeds)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
