"""Networks around a network: in other coordinates, and with further terms beside its own."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from hybrid_lib.pinn import jets
from hybrid_lib.pinn.jets import Jet
from hybrid_lib.pinn.networks import GAIN, MLP, SPREAD


class Scaled(nn.Module):
    """A network in the coordinates (x − lower)/unit, for domains that are not of size one.

    Attributes
    ----------
    network : flax Module
    lower : tuple of d floats
    unit : float
    """

    network: nn.Module
    lower: tuple[float, ...]
    unit: float

    @property
    def dtype(self):
        """That of the network."""
        return self.network.dtype

    def embed(self, x):
        """Features there."""
        return self.network.embed(self._into(x))

    def head(self, x, features):
        """The trainable part."""
        return self.network.head(self._into(x), features)

    def __call__(self, x):
        """The network at one point, or its jet."""
        return self.network(self._into(x))

    def _into(self, x):
        return jets.affine(x, 1 / self.unit, jnp.asarray(self.lower, self.dtype))


class Beside(nn.Module):
    """What networks share that have further terms beside those of a network: its features, and one call for arrays and jets.

    Attributes
    ----------
    network : flax Module
    """

    network: nn.Module

    @property
    def dtype(self):
        """That of the network."""
        return self.network.dtype

    def embed(self, x):
        """Features of the network."""
        return self.network.embed(x)

    def __call__(self, x):
        """The terms at one point, or their jet."""
        return self.head(x, self.embed(x))


class WithKinks(Beside):
    """The terms of a network, and a perceptron of several outputs beside them: multiples of functions that have kinks.

    Attributes
    ----------
    network : flax Module
    widths : tuple of int
        Of the perceptron.
    count : int
        Its outputs.
    """

    widths: tuple[int, ...]
    count: int

    def setup(self):
        """Name the perceptron; its output starts from zero."""
        self.beside = MLP(self.widths, "tanh", self.dtype, GAIN, SPREAD, 0.0, self.count)

    def head(self, x, features):
        """The trainable part."""
        terms = [self.network.head(x, features), self.beside.head(x, [])]
        return jets.joined(terms)


class WithNumbers(Beside):
    """The terms of a network, and numbers beside them that are trained too: multiples of given functions.

    Attributes
    ----------
    network : flax Module
    count : int
    """

    count: int

    @nn.compact
    def head(self, x, features):
        """The trainable part; the numbers start from zero."""
        terms = self.network.head(x, features)
        numbers = self.param("numbers", nn.initializers.zeros, (self.count,), self.network.dtype)
        if isinstance(x, Jet):
            numbers = Jet(numbers, tuple(jnp.zeros_like(numbers) for _ in x.gradient), None, x.metric)
        return jets.joined([terms, numbers])


def drawn(network: nn.Module, keys: dict[str, Array], x: Array) -> dict[str, dict]:
    """The variables of a network at the start: a change of coordinates has no part in the draw, which is that of all units."""
    return {kind: _nested(network, tree) for kind, tree in _unscaled(network).init(keys, x).items()}


def _unscaled(network: nn.Module) -> nn.Module:
    """The network without its change of coordinates."""
    if isinstance(network, Scaled):
        return _unscaled(network.network)
    return network.clone(network=_unscaled(network.network)) if isinstance(network, Beside) else network


def _nested(network: nn.Module, tree: dict) -> dict:
    """Variables of :func:`_unscaled` by the names that `network` has for them."""
    if isinstance(network, Scaled):
        return {"network": _nested(network.network, tree)}
    inner = "network" in tree and isinstance(network, Beside)
    return tree | {"network": _nested(network.network, tree["network"])} if inner else tree
