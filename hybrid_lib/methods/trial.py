r"""The trial field of a configuration: a network, its vanishing factor, and what it corrects."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.corrector import expansion
from hybrid_lib.pinn import networks, windows
from hybrid_lib.pinn.networks import Ansatz
from hybrid_lib.problems import Problem, units


def ansatz_of(problem: Problem, config: Config) -> Ansatz:
    """The trial field of a configuration: network, and the vanishing factor for hard boundary conditions, in the unit of u."""
    dtype, net = jnp.dtype(config.dtype), config.network
    if net.kind == "ms":
        factor = 2 * math.pi if net.cycles else 1.0
        network = networks.multiscale_fourier(
            (1.0, 1 / config.eps), net.widths, net.frequencies, net.activation, dtype, factor, net.trainable_frequencies
        )
    elif net.kind == "two-scale":
        box = problem.domain.box if net.boundary_layers else None
        network = networks.two_scale(config.eps, net.widths, box, net.activation, dtype, net.layer_factor, net.slow_widths)
    elif net.kind == "windowed":
        subdomains = net.subdomains or max(4, round(1 / config.eps))
        network = windows.windowed(subdomains, problem.domain.box, net.widths, net.activation, dtype)
    else:
        network = networks.mlp(net.widths, net.activation, dtype)
    domain, eps = problem.domain, config.eps
    factor = domain.vanishing if config.boundary == "hard" else None
    if net.layer_factor:
        factor = (factor, lambda x: domain.layer(x, eps))
    base = _base(problem) if net.corrector else None
    return Ansatz(network, problem.domain.dimension, times(factor, units(problem).field), base)


def times(factor: Any, unit: float) -> Any:
    """The factor or factors of an ansatz times the unit of its field."""
    if unit == 1:
        return factor
    if isinstance(factor, tuple):
        return tuple(times(one, unit) for one in factor)
    return lambda x: jnp.asarray(unit, x.dtype) if factor is None else jnp.asarray(unit, x.dtype) * factor(x)


def _base(problem: Problem) -> Callable[[Array], Array]:
    """The expansion that ``network.corrector`` asks for."""
    medium, domain = problem.medium, problem.domain
    if medium.period is None or len(domain.corners) > 1:
        received = f"{domain.name}, period {medium.period}"
        raise InputError(
            "network.corrector", "a medium with a period on the unit cube", received, "leave it out"
        )
    return expansion(medium.conductivity, problem.source, problem.direction, medium.period)
