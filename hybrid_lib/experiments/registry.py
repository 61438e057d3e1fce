r"""The paper's experiments by name: what can be run, and with which configuration."""

from __future__ import annotations

from dataclasses import replace

from hybrid_lib.config import CHOICES, Config
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import heat1d, heat2d
from hybrid_lib.methods import recommended_method
from hybrid_lib.methods.steps import OPTIMISERS
from hybrid_lib.problems import Problem, heat1d_problem, heat2d_problem

METHODS, NETWORKS, SCALES = CHOICES["method"], CHOICES["network.kind"], CHOICES["scale"]
EXPERIMENTS = {
    "heat1d-eps15": (heat1d, heat1d_problem, "1-D, eps = 1/15: Fig. 1"),
    "heat1d-eps100": (heat1d, heat1d_problem, "1-D, eps = 0.01: Fig. 2"),
    "heat2d": (heat2d, heat2d_problem, "2-D, eps = 0.1: Fig. 3 and Table 1"),
}


def configuration(
    experiment: str,
    method: str = "hybrid",
    network: str | None = None,
    scale: str = "quick",
    optimiser: str = "adam",
    formulation: str = "strong",
) -> Config:
    """Configuration of one of the paper's runs.

    Parameters
    ----------
    experiment : str
        heat1d-eps15, heat1d-eps100 or heat2d.
    method : str
        hybrid, or pinn for the same network without the coarse constraint.
    network : str
        ms (multiscale Fourier features), mlp, two-scale or windowed; None for ms with Adam and two-scale with Gauss-Newton.
    scale : str
        quick (under a minute on two CPU cores), laptop (minutes on one core) or paper (the printed sizes).
    optimiser : str
        adam, or gauss-newton, which has sizes and numbers' type (float64) of its own, at the quick scale only.

    formulation : str
        hypercircle, which has sizes of its own (Gauss-Newton, whatever `optimiser` says) and no coarse constraint. Of the others
        the sizes are those of strong: set ``formulation`` in the result.

    Returns
    -------
    Config
        Change it with ``dataclasses.replace`` or ``with_settings``.

    Raises
    ------
    InputError
        For an unknown name; lists the valid ones.

    Examples
    --------
    >>> configuration("heat2d", "hybrid", "mlp", "paper").network.widths
    (64, 64, 64, 64, 64, 64, 64, 64)
    """
    own = recommended_method(formulation)
    steps = OPTIMISERS.get(optimiser) if isinstance(optimiser, str) else None
    second_order = own.own_sizes or (steps is not None and steps.second_order)
    network = network or ("two-scale" if second_order else "ms")
    for what, value, known in (
        ("experiment", experiment, tuple(EXPERIMENTS)),
        ("method", method, METHODS),
        ("network", network, NETWORKS),
        ("scale", scale, SCALES[:1] if second_order else SCALES),
        ("optimiser", optimiser, CHOICES["training.optimiser"]),
    ):
        if value not in known:
            raise InputError(what, "one of " + ", ".join(known), repr(value), "choose one of these")
    module = EXPERIMENTS[experiment][0]
    sizes = module.newton if second_order else getattr(module, scale)
    config = sizes(experiment, method, network)
    if config.network.kind != network:
        known = " or ".join(kind for kind in NETWORKS if sizes(experiment, method, kind).network.kind == kind)
        remedy = "choose one of these, or optimiser gauss-newton"
        raise InputError("network", f"{known} for {experiment} at scale {scale}", repr(network), remedy)
    if own.own_sizes:
        return own.recommended(config)
    return replace(config, training=replace(config.training, optimiser=optimiser))


def problem_of(config: Config) -> Problem:
    """The problem a configuration is about, with the configuration's ε."""
    if config.experiment not in EXPERIMENTS:
        raise InputError(
            "experiment",
            "one of " + ", ".join(EXPERIMENTS),
            repr(config.experiment),
            "pass a problem of your own to train()",
        )
    return EXPERIMENTS[config.experiment][1](config.eps, config.experiment)
