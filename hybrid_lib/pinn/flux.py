r"""A trial field together with a trial flux, for systems of first order.

In two dimensions σ_θ = F_θ + (∂₂ψ_θ, −∂₁ψ_θ), a vector and a stream function. The flux of a medium with period ε has waves
of length ε and size one, but a divergence of size one: the curl of εψ(x, x/ε) has just that, and costs no second derivative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib.pinn.ansatz import Ansatz, Embedding
from hybrid_lib.pinn.jets import Jet

Tree = Any


class FluxFields(NamedTuple):
    """What J needs at one point: ∇u_θ (d,), σ_θ (d,) and ∇·σ_θ ()."""

    gradient: Array
    flux: Array
    divergence: Array


@dataclass(frozen=True)
class FirstOrderAnsatz:
    """A trial field u_θ together with a trial flux σ_θ; θ = {"u": …, "flux": {"0": …, …}}, and the fixed frequencies alike.

    Read as an :class:`~hybrid_lib.pinn.ansatz.Ansatz` it is u_θ, so that errors and solutions are taken of u.

    Attributes
    ----------
    solution : Ansatz
        u_θ, with the factor that vanishes on ∂Ω.
    component : Ansatz
        The network of each component of σ_θ and, for d = 2, of the stream function; without a factor.
    length : float
        Of the domain: the stream function is that network times it.
    """

    solution: Ansatz
    component: Ansatz
    length: float = 1.0

    @property
    def network(self):
        """The network of u_θ."""
        return self.solution.network

    @property
    def dimension(self) -> int:
        """d."""
        return self.solution.dimension

    @property
    def base(self):
        """B of u_θ."""
        return self.solution.base

    def without_base(self) -> FirstOrderAnsatz:
        """The same with u_θ − B in the place of u_θ."""
        return replace(self, solution=self.solution.without_base())

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks of the flux."""
        return ("0",) if self.dimension == 1 else ("0", "1", "stream")

    def init(self, key: Array) -> tuple[Tree, Tree]:
        """Draw (θ, fixed) for u and every part of the flux."""
        keys = jax.random.split(key, 1 + len(self.parts))
        u, fixed = self.solution.init(keys[0])
        drawn = {name: self.component.init(k) for name, k in zip(self.parts, keys[1:], strict=True)}
        flux = {name: pair[0] for name, pair in drawn.items()}
        return {"u": u, "flux": flux}, {"u": fixed, "flux": {name: pair[1] for name, pair in drawn.items()}}

    def value(self, theta: Tree, fixed: Tree, x: Array) -> Array:
        """u_θ(x), shape ()."""
        return self.solution.value(theta["u"], fixed["u"], x)

    def jet(self, theta: Tree, fixed: Tree, x: Array, metric: Array | None = None) -> Jet:
        """(u, ∇u, tr(A∇²u)) of u_θ at one point."""
        return self.solution.jet(theta["u"], fixed["u"], x, metric)

    def embed(self, fixed: Tree, x: Array, metric: Array | None = None) -> dict[str, Tree]:
        """What :meth:`fields_of` needs of one point and θ does not touch; the metric has no part in first derivatives."""
        flux = {name: _plain(self.component.embed(fixed["flux"][name], x)) for name in self.parts}
        return {"u": _plain(self.solution.embed(fixed["u"], x)), "flux": flux}

    def fields_of(self, theta: Tree, embedding: dict[str, Tree]) -> FluxFields:
        """∇u_θ, σ_θ and ∇·σ_θ from what :meth:`embed` returned; first derivatives alone."""
        jets = {
            name: self.component.jet_of(theta["flux"][name], embedding["flux"][name]) for name in self.parts
        }
        vector = [jets[str(k)] for k in range(self.dimension)]
        flux = jnp.stack([jet.value for jet in vector])
        if self.dimension == 2:
            along_x, along_y = jets["stream"].gradient
            flux = flux + self.length * jnp.stack([along_y, -along_x])
        divergence = sum(jet.gradient[k] for k, jet in enumerate(vector))
        return FluxFields(self.solution.gradient_of(theta["u"], embedding["u"]), flux, divergence)

    def fields(self, theta: Tree, fixed: Tree, x: Array) -> FluxFields:
        """∇u_θ, σ_θ and ∇·σ_θ at one point `x` (d,)."""
        return self.fields_of(theta, self.embed(fixed, x))


def first_order_ansatz(solution: Ansatz, unit: float | Array = 1.0, length: float = 1.0) -> FirstOrderAnsatz:
    """u_θ as it is, and a flux of networks of the same kind and size, times `unit`, on a domain of the size `length`."""
    factor = None if isinstance(unit, float) and unit == 1 else lambda x: jnp.asarray(unit, x.dtype)
    return FirstOrderAnsatz(solution, Ansatz(solution.network, solution.dimension, factor), length)


def _plain(embedding: Embedding) -> Embedding:
    """An embedding without its second-order parts."""
    return embedding.each(lambda jet: jet._replace(laplacian=None))
