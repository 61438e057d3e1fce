r"""Problems: a medium on a domain with a source and a temperature drop (paper (4.8), (4.11), (4.29))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hybrid_lib import media
from hybrid_lib.media import Medium
from hybrid_lib.pinn import domains
from hybrid_lib.pinn.domains import Domain


@dataclass(frozen=True)
class Problem:
    """−∇·(K∇(u + e·x)) = q in Ω, u = 0 on ∂Ω.

    Attributes
    ----------
    name : str
    domain : Domain
    medium : Medium
        K, with its period ε as default averaging length.
    source : callable (d,) -> ()
        q.
    direction : tuple of d floats
        e, the direction of the linear temperature drop.
    """

    name: str
    domain: Domain
    medium: Medium
    source: Callable[[Array], Array]
    direction: tuple[float, ...]


def heat1d_problem(eps: float, name: str = "heat1d") -> Problem:
    """(4.29): K = 2 + sin(2πx/ε), q = −3(2x − 1) on (0, 1), drop x."""
    return Problem(name, domains.interval(), media.paper_1d(eps), lambda x: -3 * (2 * x[0] - 1), (1.0,))


def heat2d_problem(eps: float, name: str = "heat2d") -> Problem:
    """(4.11): K = 3 + sin(2πx₁/ε) + sin(2πx₂/ε), q = 10 exp(−100|x − (½, ½)|²) on (0, 1)², drop x₁."""

    def source(x: Array) -> Array:
        return 10 * jnp.exp(-100 * ((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2))

    return Problem(name, domains.unit_square(), media.paper_2d(eps), source, (1.0, 0.0))
