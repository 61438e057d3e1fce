r"""A trial field with the boundary values, and a trial flux that balances the source: the two fields of the hypercircle.

In the plane the flux is τ_θ = σ_p + (∂₂ψ_θ, −∂₁ψ_θ) with a stream function ψ_θ and a particular flux σ_p; on an interval
τ_θ = c + σ_p with one number c. Whatever θ is, ∇·τ_θ + q = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib.pinn.ansatz import Ansatz, Embedding
from hybrid_lib.pinn.jets import Jet

Tree = Any
FIELD, FLUX = "field", "flux"
"""Names of the two parts of θ."""
AROUND = "around"
"""Name of the further gradients in an embedding."""


class Pair(NamedTuple):
    """At one point: ∇v (d,), and τ (d,) without the particular flux."""

    gradient: Array
    flux: Array


@dataclass(frozen=True)
class HypercircleAnsatz:
    """A trial field v_θ and a trial flux; θ = {"field": …, "flux": …}. Read as an :class:`Ansatz` it is v_θ.

    Attributes
    ----------
    field : Ansatz
        v_θ, with factors that vanish on ∂Ω.
    stream : Ansatz or None
        ψ_θ, without a factor; None in one dimension, where the flux is one number times `unit`.
    unit : float
        Of the flux on an interval, 0 where it is given at an end; of the heat that flows along `flow`.
    flow : tuple of 2 floats, or None
        ∇t of a coordinate t between two sides with given fluxes: a number times t is added to ψ_θ.
    around : callable (2,) -> (k, 2), or None
        Gradients of functions, perhaps of several values, whose multiples are added likewise.
    """

    field: Ansatz
    stream: Ansatz | None
    unit: float = 1.0
    flow: tuple[float, ...] | None = None
    around: Callable[[Array], Array] | None = None

    @property
    def network(self):
        """The network of v_θ."""
        return self.field.network

    @property
    def dimension(self) -> int:
        """d."""
        return self.field.dimension

    @property
    def base(self):
        """B of v_θ."""
        return self.field.base

    def without_base(self) -> HypercircleAnsatz:
        """The same with v_θ − B in the place of v_θ."""
        return replace(self, field=self.field.without_base())

    def init(self, key: Array) -> tuple[Tree, Tree]:
        """Draw (θ, fixed) for both parts."""
        keys = jax.random.split(key)
        drawn = {FIELD: self.field.init(keys[0])}
        if self.stream is None:
            drawn[FLUX] = ({"constant": jnp.zeros(1, self.network.dtype)}, {})
        else:
            drawn[FLUX] = self.stream.init(keys[1])
        count = int(self.flow is not None)
        if self.around is not None:
            count = jax.eval_shape(self.around, jnp.zeros(2, self.network.dtype)).shape[0]
        if count:
            drawn[FLUX] = (drawn[FLUX][0] | {"heat": jnp.zeros(count, self.network.dtype)}, drawn[FLUX][1])
        return {name: pair[0] for name, pair in drawn.items()}, {name: pair[1] for name, pair in drawn.items()}

    def value(self, theta: Tree, fixed: Tree, x: Array) -> Array:
        """v_θ(x), shape ()."""
        return self.field.value(theta[FIELD], fixed[FIELD], x)

    def jet(self, theta: Tree, fixed: Tree, x: Array, metric: Array | None = None) -> Jet:
        """(v, ∇v, tr(A∇²v)) of v_θ at one point."""
        return self.field.jet(theta[FIELD], fixed[FIELD], x, metric)

    def embed(self, fixed: Tree, x: Array, metric: Array | None = None) -> dict[str, Embedding | None]:
        """What :meth:`pair_of` needs of one point and θ does not touch."""
        stream = None if self.stream is None else self.stream.embed(fixed[FLUX], x, second=False)
        found = {FIELD: self.field.embed(fixed[FIELD], x, second=False), FLUX: stream}
        return found if self.around is None else found | {AROUND: self.around(x)}

    def pair_of(self, theta: Tree, embedding: dict[str, Embedding | None]) -> Pair:
        """∇v_θ and τ_θ − σ_p from what :meth:`embed` returned."""
        gradient = self.field.gradient_of(theta[FIELD], embedding[FIELD])
        if self.stream is None:
            return Pair(gradient, theta[FLUX]["constant"] * jnp.asarray(self.unit, gradient.dtype))
        own = {name: part for name, part in theta[FLUX].items() if name != "heat"}
        along = self.stream.gradient_of(own, embedding[FLUX])
        if self.flow is not None:
            heat = theta[FLUX]["heat"][0] * jnp.asarray(self.unit, gradient.dtype)
            along = along + heat * jnp.asarray(self.flow, gradient.dtype)
        elif self.around is not None:
            along = along + (theta[FLUX]["heat"] * jnp.asarray(self.unit, gradient.dtype)) @ embedding[AROUND]
        along_x, along_y = along
        return Pair(gradient, jnp.stack([along_y, -along_x]))

    def side_of(self, theta: Tree, embedding: dict[str, Embedding | None]) -> tuple[Array, Array]:
        """v_θ and τ_θ − σ_p, for the points of a side."""
        return self.field.jet_of(theta[FIELD], embedding[FIELD]).value, self.pair_of(theta, embedding).flux


def particular_flux(
    source: Callable[[Array], Array], centre: tuple[float, ...], nodes: int = 40
) -> Callable[[Array], Array]:
    r"""σ_p with ∇·σ_p = −q by integrals along rays, for Ω that is seen from the centre z as a whole.

    .. math:: \sigma_p(x) = -(x - z)\int_0^1 t^{d-1} q(z + t(x - z))\,dt

    Parameters
    ----------
    source : callable (d,) -> ()
        *q*.
    centre : d floats
        z.
    nodes : int
        Of Gauss's rule on (0, 1), exact for polynomials q of degree 2·nodes − d; what it leaves of a rough q shows when the
        number changes.

    Returns
    -------
    callable (d,) -> (d,)

    Examples
    --------
    >>> sigma = particular_flux(lambda x: x[0] * x[1], (0.0, 0.0))
    >>> x = jnp.array([0.5, 0.25])
    >>> round(float(jnp.trace(jax.jacfwd(sigma)(x))), 6)  # −q
    -0.125
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    points, weights = (points + 1) / 2, weights / 2
    weights = weights * points ** (len(centre) - 1)

    def flux(x: Array) -> Array:
        z, t, w = (jnp.asarray(a, x.dtype) for a in (centre, points, weights))
        along = jax.vmap(lambda s: jnp.asarray(source(z + s * (x - z)), x.dtype))(t)
        return -(x - z) * (w @ along)

    return flux
