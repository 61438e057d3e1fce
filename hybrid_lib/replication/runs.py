r"""The runs that the ledger's claims rest on: which configuration, which seed, and what they are likely to cost.

A run is *paper* (the printed sizes; section 4.4), *laptop* (smaller, for two CPU cores, provisional) or, for tests, *smoke*. The
paper's learning rate, 0.75 every 1,000 iterations, all but stops a run after 30,000: at that point it is 2e-4 of its start. Runs
named ``…-printed`` follow it to there; the others decay every 10,000 and run on: 200,000 iterations on the interval, as printed;
in the plane as far as Fig. 3e and f plot, 150,000 for perceptrons and 80,000 for Fourier networks. The end is part of the
measurement: the smallest residual, whose iterate Table 1 prints, tends to lie near it.

A run has one seed, so that adding a seed repeats none: seed 0 has the plain name, others end in ``-seed1``, …. (The laptop runs,
and two early ones, ``…-printed-seeds``, hold several.) Runs named after a *reading* of what the paper leaves open,
:data:`READINGS` and :data:`BALANCING`, differ from their plain twin in that alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from hybrid_lib import experiments
from hybrid_lib.config import Config, with_settings

PRINTED = {"training.decay_every": "1000", "training.steps": "30000"}
READINGS: dict[str, dict[str, str]] = {
    "radians": {"network.cycles": "false"},
    "trained": {"network.trainable_frequencies": "true"},
    "radians-trained": {"network.cycles": "false", "network.trainable_frequencies": "true"},
    "m128": {"network.frequencies": "128"},
    "float64": {"dtype": "float64"},
}
"""Readings of the Fourier features; :data:`READING_WORDS` says what each is."""
READING_WORDS = {
    "radians": "cos Bx for cos 2πBx",
    "trained": "B trained",
    "radians-trained": "cos Bx, B trained",
    "m128": "128 frequencies for 64",
    "float64": "float64",
}
BALANCING: dict[str, dict[str, str]] = {
    f"tau{weight}": {"training.balance_terms": "without-coupling", "coarse.weight": weight}
    for weight in ("1", "10", "100", "1000")
} | {"newest": {"training.balance_momentum": "0.1"}}
"""Readings of the loss balancing, at laptop scale: residual and boundary balanced, τ₂ fixed; all, 0.9 before the new weight.

Left out because they end at the same τ₂/λ_pde: relative to the residual or to the sum (same ratio of the targets), and balanced
from step 0 on (the start's share is 0.9ⁿ after n updates).
"""
SETTLED = "tau100"
"""The reading whose minimiser is nearest to the errors of the hybrid rows of Table 1; it is run at the paper's sizes, too."""
SEEDS = range(5)
_SMOKE = {
    "network.widths": "8,8",
    "network.frequencies": "4",
    "sampling.points": "512",
    "training.steps": "60",
    "training.record_every": "5",
    "training.report_every": "5",
    "training.gate_every": "10",
    "training.balance_every": "10",
}


@dataclass(frozen=True)
class RunSpec:
    """One run: a configuration by name, changed by `settings`, for an ensemble of `seeds`.

    Attributes
    ----------
    id : str
        Name of the run directory and of the artefacts.
    experiment, method, network, scale : str
        As in ``hybrid run``.
    seeds : tuple of int
        Trained together as one program.
    settings : dict of str to str
        As in ``--set``.
    reading : str
        Key of :data:`READINGS` or :data:`BALANCING`, empty for the plain run.
    """

    id: str
    experiment: str
    method: str
    network: str
    scale: str = "paper"
    seeds: tuple[int, ...] = (0,)
    settings: dict[str, str] = field(default_factory=dict)
    reading: str = ""

    @property
    def base(self) -> str:
        """The name that the runs of all seeds share."""
        return re.sub(r"-seeds?\d*$", "", self.id)

    @property
    def schedule(self) -> str:
        """``printed`` or ``usable``: the reading of the learning-rate schedule."""
        return (
            "printed"
            if self.settings.get("training.decay_every") == PRINTED["training.decay_every"]
            else "usable"
        )


def _seeded(spec: RunSpec, seeds: Iterable[int]) -> list[RunSpec]:
    """One run a seed."""
    return [
        dataclasses.replace(spec, id=f"{spec.id}-seed{seed}" if seed else spec.id, seeds=(seed,)) for seed in seeds
    ]


def _specs() -> dict[str, RunSpec]:
    specs = []
    for name in ("heat1d-eps15", "heat1d-eps100"):
        for method in ("hybrid", "pinn"):
            spec = RunSpec(f"{name}-{method}-ms", name, method, "ms")
            printed = dataclasses.replace(spec, id=f"{spec.id}-printed", settings=PRINTED)
            specs += _seeded(spec, SEEDS)
            if name == "heat1d-eps15":
                specs += [printed, dataclasses.replace(printed, id=f"{printed.id}-seeds", seeds=(1, 2))]
            else:
                specs += _seeded(printed, range(3))
            for (reading, settings), schedule in itertools.product(READINGS.items(), (spec, printed)):
                changed = schedule.settings | settings
                named = dataclasses.replace(schedule, id=f"{schedule.id}-{reading}", settings=changed, reading=reading)
                specs += _seeded(named, range(3))
    for network in ("ms", "mlp"):
        for method in ("hybrid", "pinn"):
            spec = RunSpec(f"heat2d-{method}-{network}", "heat2d", method, network)
            long = {"training.steps": "80000"} if network == "ms" else {}
            specs += [
                *_seeded(dataclasses.replace(spec, settings=long), SEEDS),
                dataclasses.replace(spec, id=f"{spec.id}-printed", settings=PRINTED),
                dataclasses.replace(spec, id=f"{spec.id}-laptop", scale="laptop", seeds=(0, 1, 2)),
            ]
            if method == "hybrid":
                specs += [
                    dataclasses.replace(
                        spec, id=f"{spec.id}-laptop-{reading}", scale="laptop", settings=settings, reading=reading
                    )
                    for reading, settings in BALANCING.items()
                ]
                settled = long | BALANCING[SETTLED]
                named = dataclasses.replace(spec, id=f"{spec.id}-{SETTLED}", settings=settled, reading=SETTLED)
                specs += _seeded(named, SEEDS)
    return {spec.id: spec for spec in specs}


RUNS: dict[str, RunSpec] = _specs()


def seeds_of(name: str) -> tuple[str, ...]:
    """Names of the runs of all seeds of a run, seed 0 first; of a calculation, its own.

    Examples
    --------
    >>> seeds_of("heat1d-eps15-pinn-ms-printed")
    ('heat1d-eps15-pinn-ms-printed', 'heat1d-eps15-pinn-ms-printed-seeds')
    """
    return tuple(spec.id for spec in RUNS.values() if spec.base == name) or (name,)


def configuration(spec: RunSpec, smoke: bool = False) -> Config:
    """The configuration of a run; with `smoke` a tiny one that takes the same path in seconds.

    Examples
    --------
    >>> configuration(RUNS["heat1d-eps15-hybrid-ms-printed"]).training.decay_every
    1000
    """
    config = experiments.configuration(spec.experiment, spec.method, spec.network, spec.scale)
    config = with_settings(config, spec.settings)
    if not smoke:
        return config
    tiny = dict(_SMOKE)
    if config.boundary == "soft":
        tiny |= {
            "sampling.points": "1024",
            "sampling.boundary_points": "64",
            "coarse.cells": "8",
            "coarse.delta": "0.2",
        }
    else:
        tiny |= {"coarse.delta": "0.1", "coarse.cells": "20"}
    return with_settings(config, tiny)


def cost(spec: RunSpec) -> float:
    """Arithmetic of a run in multiply-adds, to order runs by: jet channels × points × weights × iterations × seeds.

    Examples
    --------
    >>> cost(RUNS["heat1d-eps15-pinn-ms"]) < cost(RUNS["heat2d-pinn-mlp"])
    True
    """
    config = configuration(spec)
    widths = config.network.widths
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    if config.network.kind == "ms":  # the same hidden layers once for each of the two scales
        weights = 2 * (weights + 2 * config.network.frequencies * widths[0])
    channels = 4 if config.boundary == "soft" else 3
    return 3.0 * channels * config.sampling.points * weights * config.training.steps * len(spec.seeds)
