r"""The runs that the ledger's claims rest on: which configuration, which seeds, and what they are likely to cost.

A run is *paper* (the printed sizes; section 4.4), *laptop* (smaller, for two CPU cores, provisional) or, for tests, *smoke*. The
paper's learning rate, 0.75 every 1,000 iterations, all but stops a run after 30,000: at that point it is 2e-4 of its start. Runs
named ``…-printed`` follow it to there; the others decay every 10,000 and run to the end.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field

from hybrid_lib import experiments
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.config import Config, with_settings

PRINTED = {"training.decay_every": "1000", "training.steps": "30000"}
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
    """

    id: str
    experiment: str
    method: str
    network: str
    scale: str = "paper"
    seeds: tuple[int, ...] = (0,)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def schedule(self) -> str:
        """``printed`` or ``usable``: the reading of the learning-rate schedule."""
        return (
            "printed"
            if self.settings.get("training.decay_every") == PRINTED["training.decay_every"]
            else "usable"
        )


def _specs() -> dict[str, RunSpec]:
    specs = []
    for name in ("heat1d-eps15", "heat1d-eps100"):
        for method in ("hybrid", "pinn"):
            spec = RunSpec(f"{name}-{method}-ms", name, method, "ms")
            printed = dataclasses.replace(spec, id=f"{spec.id}-printed", settings=PRINTED)
            specs += [
                spec,
                dataclasses.replace(spec, id=f"{spec.id}-seeds", seeds=(1, 2, 3, 4)),
                printed,
                dataclasses.replace(printed, id=f"{printed.id}-seeds", seeds=(1, 2)),
            ]
    for network in ("ms", "mlp"):
        for method in ("hybrid", "pinn"):
            spec = RunSpec(f"heat2d-{method}-{network}", "heat2d", method, network, seeds=(0, 1, 2, 3, 4))
            specs += [
                spec,
                dataclasses.replace(spec, id=f"{spec.id}-printed", seeds=(0,), settings=PRINTED),
                dataclasses.replace(spec, id=f"{spec.id}-laptop", scale="laptop", seeds=(0, 1, 2)),
            ]
    return {spec.id: spec for spec in specs}


RUNS: dict[str, RunSpec] = _specs()


def run_spec(name: str) -> RunSpec:
    """The run called `name`.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> run_spec("heat2d-hybrid-ms").seeds
    (0, 1, 2, 3, 4)
    """
    if name not in RUNS:
        raise InputError("run", "one of " + ", ".join(RUNS), repr(name), "see `hybrid reproduce --list`")
    return RUNS[name]


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
