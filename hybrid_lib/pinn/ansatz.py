"""Trial fields u_θ(x) = B(x) + l(x)·net_θ(x): a network, a factor that vanishes on the boundary, and what is corrected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from hybrid_lib.pinn import jets
from hybrid_lib.pinn.jets import Jet
from hybrid_lib.pinn.wrapped import drawn

Tree = Any


class Embedding(NamedTuple):
    """The part of a trial field at one point that does not depend on θ: the point, its features, the factors and the base B."""

    point: Array
    features: list[Jet]
    factor: Jet | None
    base: Jet | None = None

    def each(self, change: Callable[[Jet], Jet]) -> Embedding:
        """The same embedding with `change` applied to every jet in it."""
        one = lambda jet: None if jet is None else change(jet)  # noqa: E731
        return Embedding(self.point, [one(f) for f in self.features], one(self.factor), one(self.base))


@dataclass(frozen=True)
class Ansatz:
    """A trial field u_θ(x) = B(x) + l(x)·net_θ(x): a network and, for hard boundary conditions, a factor l that vanishes on ∂Ω.

    The value of a network with several outputs is their sum; each of them can have a factor of its own.

    Attributes
    ----------
    network : flax Module
        Maps a point (d,) or its jet to a scalar or to k terms.
    dimension : int
        *d*.
    factor : callable (d,) -> (), a tuple of k of them, or None
        Vanishing factor l (paper: 4x(1−x) in one dimension), or one for each term, the last ones perhaps by one function with
        several values; None leaves the boundary to a penalty (soft conditions).
    base : callable (d,) -> (), or None
        B, a given approximation that the network corrects; zero on ∂Ω. None stands for 0.

    Examples
    --------
    >>> import jax
    >>> from hybrid_lib.pinn.networks import mlp
    >>> ansatz = Ansatz(mlp((8,)), 1, factor=lambda x: 4 * x[0] * (1 - x[0]))
    >>> theta, fixed = ansatz.init(jax.random.key(0))
    >>> float(ansatz.value(theta, fixed, jax.numpy.zeros(1, "float32")))
    0.0
    """

    network: nn.Module
    dimension: int
    factor: Callable[[Array], Array] | tuple[Callable[[Array], Array], ...] | None = None
    base: Callable[[Array], Array] | None = None

    def init(self, key: Array) -> tuple[Tree, Tree]:
        """Draw (θ, fixed): trainable parameters and the fixed frequencies ({} where there are none)."""
        params_key, frequency_key = jax.random.split(key)
        x = jnp.zeros(self.dimension, self.network.dtype)
        variables = drawn(self.network, {"params": params_key, "frequencies": frequency_key}, x)
        return variables["params"], variables.get("fixed", {})

    def without_base(self) -> Ansatz:
        """The trial field u_θ − B."""
        return replace(self, base=None)

    def value(self, theta: Tree, fixed: Tree, x: Array) -> Array:
        """u_θ(x) for one point `x` of shape (d,); returns shape ()."""
        net = self.network.apply({"params": theta, "fixed": fixed}, x)
        if isinstance(self.factor, tuple):
            net = jets.joined([factor(x) for factor in self.factor]) * net
        elif self.factor is not None:
            net = self.factor(x) * net
        field = jnp.sum(net) if net.ndim else net
        return field if self.base is None else self.base(x) + field

    def jet(self, theta: Tree, fixed: Tree, x: Array, metric: Array | None = None) -> Jet:
        """(u, ∇u, tr(A∇²u)) of u_θ at one point `x` (d,) for the metric A (None: the Laplacian)."""
        return self.jet_of(theta, self.embed(fixed, x, metric), metric)

    def embed(self, fixed: Tree, x: Array, metric: Array | None = None, second: bool = True) -> Embedding:
        """All of :meth:`jet` that does not depend on θ, computed once where points stay; `second`: with second derivatives."""
        features = self.network.apply({"fixed": fixed}, jets.seed(x, metric), method="embed")

        def given(function):
            if isinstance(function, tuple):
                return jets.joined([given(one) for one in function])
            if function is None:
                return None
            return jets.from_function(function, x, metric) if second else jets.first_of(function, x)

        found = Embedding(x, features, given(self.factor), given(self.base)).each(lambda jet: jet._replace(metric=None))
        return found if second else found.each(lambda jet: jet._replace(laplacian=None))

    def jet_of(self, theta: Tree, embedding: Embedding, metric: Array | None = None) -> Jet:
        """(u, ∇u, tr(A∇²u)) from what :meth:`embed` returned for the same metric."""
        given = embedding.each(lambda jet: jet._replace(metric=metric))
        point = jets.seed(embedding.point, metric)
        field = self.network.apply({"params": theta}, point, given.features, method="head")
        if given.factor is not None:
            field = jets.product(given.factor, field)
        if field.value.ndim:
            field = jets.linear(field, jnp.sum)
        return field if given.base is None else jets.add(given.base, field)

    def gradient_of(self, theta: Tree, embedding: Embedding) -> Array:
        """∇u_θ (d,) from what :meth:`embed` returned; the second-order parts are not read and cost nothing under jit."""
        return jnp.stack(self.jet_of(theta, embedding).gradient)
