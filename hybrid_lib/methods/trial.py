r"""The trial field of a configuration: a network, its vanishing factor, and what it corrects."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import Array

from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.methods.interfaces import Kinks
from hybrid_lib.methods.lifting import lifting
from hybrid_lib.multiscale.corrector import expansion
from hybrid_lib.pinn import networks, windows, wrapped
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.pinn.splines import WithSplines
from hybrid_lib.problems import Problem, argument
from hybrid_lib.units import units

Box = tuple[tuple[float, ...], tuple[float, ...]]


def ansatz_of(problem: Problem, config: Config, bent: Kinks | None = None) -> Ansatz:
    """The trial field of a configuration: network, and the vanishing factor for hard boundary conditions, in the unit of u."""
    dtype, net = jnp.dtype(config.dtype), config.network
    domain, eps, lift = problem.domain, config.eps, lifting(problem)
    scaled = domain.extent is not None or not domain.corners
    box = scaled_box(domain) if scaled else domain.box
    network = NETWORKS[net.kind](config, box, net.layer_factor and lift.layer is not None)
    if bent is not None:
        network = wrapped.WithKinks(network, net.slow_widths or net.widths, bent.count)
    if scaled:
        network = wrapped.Scaled(network, domain.box[0], domain.unit)
    factor = lift.factor if config.boundary == "hard" else None
    if net.layer_factor and lift.layer is not None:
        factor = (factor, lambda x: lift.layer(x, eps * domain.unit))
    if bent is not None:
        factor = with_kinks(factor, bent)
    if lift.corners and config.boundary == "hard":
        network, factor = with_terms(network, factor, lift.corners)
    base = _base(problem) if net.corrector else lift.base
    return Ansatz(network, problem.domain.dimension, times(factor, argument(problem, units(problem).field, dtype)), base)


def _perceptron(config: Config, box: Box, split: bool) -> Any:
    net = config.network
    return networks.mlp(net.widths, net.activation, jnp.dtype(config.dtype))


def _fourier(config: Config, box: Box, split: bool) -> Any:
    net, factor = config.network, 2 * math.pi if config.network.cycles else 1.0
    scales, dtype = (1.0, 1 / config.eps), jnp.dtype(config.dtype)
    return networks.multiscale_fourier(
        scales, net.widths, net.frequencies, net.activation, dtype, factor, net.trainable_frequencies
    )


def _two_scale(config: Config, box: Box, split: bool) -> Any:
    net, ends = config.network, box if config.network.boundary_layers else None
    return networks.two_scale(
        config.eps, net.widths, ends, net.activation, jnp.dtype(config.dtype), split, net.slow_widths
    )


def _windowed(config: Config, box: Box, split: bool) -> Any:
    net = config.network
    subdomains = net.subdomains or max(4, round(1 / config.eps))
    return windows.windowed(subdomains, box, net.widths, net.activation, jnp.dtype(config.dtype))


NETWORKS = {"ms": _fourier, "mlp": _perceptron, "two-scale": _two_scale, "windowed": _windowed}
"""Every choice of ``network.kind``, made of a configuration, the box of its coordinates, and whether its parts have factors."""


def scaled_box(domain: Domain) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The box in the coordinates of its network, from zero, with a shortest side of 1.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import box
    >>> scaled_box(box((1.0, 2.0), (5.0, 4.0)))
    ((0.0, 0.0), (2.0, 1.0))
    """
    sides = domain.extent or [b - a for a, b in zip(*domain.box, strict=True)]
    return (0.0,) * domain.dimension, tuple(side / domain.unit for side in sides)


def with_kinks(factor: Any, bent: Kinks) -> tuple[Callable, ...]:
    """Factors of a network and of its kinks, which vanish where the network does."""
    own = _each(factor)
    return (*own, lambda x: own[0](x) * bent.values(x))


def _each(factor: Any) -> tuple[Callable, ...]:
    return factor if isinstance(factor, tuple) else (factor or (lambda x: jnp.ones((), x.dtype)),)


def with_terms(network: Any, factor: Any, terms: tuple[Callable, ...]) -> tuple[Any, tuple[Callable, ...]]:
    """The network with a trained number for each of `terms`, functions of one point, and factors for all of that."""
    return wrapped.WithNumbers(network, len(terms)), (*_each(factor), *terms)


def with_splines(ansatz: Ansatz, cells: int, box: Any) -> Ansatz:
    """Beside the terms of the network splines on a coarse mesh, with the factor of its first term; at rest in training."""
    own = _each(ansatz.factor)
    return replace(ansatz, network=WithSplines(ansatz.network, cells, box), factor=(*own, own[0]))


def of_stream(network: Any, split: bool, wider: float) -> Any:
    """A network like that of the field but for its widths, without its numbers, and with as many terms as it has factors."""
    if isinstance(network, wrapped.WithNumbers):
        return of_stream(network.network, split, wider)
    if isinstance(network, wrapped.Scaled | wrapped.WithKinks):
        return network.clone(network=of_stream(network.network, split, wider))
    if not isinstance(network, networks.TwoScale):
        return network
    wide = lambda widths: widths and tuple(math.ceil(wider * width) for width in widths)  # noqa: E731
    return network.clone(split=split, widths=wide(network.widths), slow_widths=wide(network.slow_widths))


def times(factor: Any, unit: float | Array) -> Any:
    """The factor or factors of an ansatz times the unit of its field."""
    if isinstance(unit, float) and unit == 1:
        return factor
    if isinstance(factor, tuple):
        return tuple(times(one, unit) for one in factor)
    return lambda x: jnp.asarray(unit, x.dtype) if factor is None else jnp.asarray(unit, x.dtype) * factor(x)


def _base(problem: Problem) -> Callable[[Array], Array]:
    """The expansion that ``network.corrector`` asks for."""
    medium, domain = problem.medium, problem.domain
    if medium.period is None or len(domain.corners) > 1 or domain.extent is not None or problem.boundary is not None:
        received = f"{domain.name}, period {medium.period}"
        raise InputError(
            "network.corrector", "a medium with a period on the unit cube", received, "leave it out"
        )
    return expansion(medium.conductivity, problem.source, problem.direction, medium.period)
