"""The optimisers by the name that a configuration has for them: the one place that asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hybrid_lib import training
from hybrid_lib.config import Config, TrainingConfig


class Kind(NamedTuple):
    """How an optimiser is made of its options; one of second order has sizes of its own, and no balanced weights."""

    make: Callable[[TrainingConfig], training.Optimiser]
    second_order: bool = False


def _adam(options: TrainingConfig) -> training.Optimiser:
    return training.adam(options.learning_rate, options.decay_rate, options.decay_every)


def _gauss_newton(options: TrainingConfig) -> training.Optimiser:
    return training.gauss_newton(momentum=options.momentum)


OPTIMISERS = {"adam": Kind(_adam), "gauss-newton": Kind(_gauss_newton, second_order=True)}
"""Every choice of ``training.optimiser``."""


def optimiser_of(config: Config) -> training.Optimiser:
    """The optimiser of a configuration."""
    return OPTIMISERS[config.training.optimiser].make(config.training)


def second_order(config: Config) -> bool:
    """Whether the optimiser of a configuration is one of second order.

    Examples
    --------
    >>> second_order(Config("heat1d-eps15", 1 / 15))
    False
    """
    return OPTIMISERS[config.training.optimiser].second_order
