r"""Windows that cover the domain, each with a small network of its own (FBPINN).

.. math:: N(x) &= \sum_{j \in \{0, \dots, n\}^d} w_j(x)\, N_j\bigl((x - c_j)/h\bigr), \\
          w_j(x) &= \prod_i S\bigl(1 - |x_i - c_{j,i}|/h_i\bigr), \quad S(t) = t^4(35 - 84t + 70t^2 - 20t^3),

with nodes c_j of a grid of n cells of sides h over the box of Ω. S(t) + S(1 − t) = 1, so that the windows are a partition of
unity, three times continuously differentiable; 2^d of them are not zero at a point, and only their networks are evaluated there.
In its own coordinates each network sees a wave of the window's size, whatever the period of the medium.

Source: Moseley, Markham and Nissen-Meyer, finite basis physics-informed neural networks (2023).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.pinn import jets
from hybrid_lib.pinn.jets import Jet
from hybrid_lib.pinn.networks import ACTIVATIONS, GAIN, SPREAD, checked_activation, checked_widths


class Layers(nn.Module):
    """The same affine layer of `count` networks: `gain` × Glorot normal kernels, biases uniform in ±`spread`."""

    count: int
    features: int
    dtype: Any
    gain: float
    spread: float

    @nn.compact
    def __call__(self, x, which):
        """xW + b of the network `which`."""
        width = (x.value if isinstance(x, Jet) else x).shape[-1]
        kernels = self.param("kernel", self._kernels, (self.count, width, self.features), self.dtype)
        biases = self.param("bias", self._biases, (self.count, self.features), self.dtype)
        return jets.dense(x, kernels[which], biases[which])

    def _kernels(self, key, shape, dtype):
        draw = nn.initializers.glorot_normal(in_axis=-2, out_axis=-1, batch_axis=(0,))
        return jnp.asarray(self.gain, dtype) * draw(key, shape, dtype)

    def _biases(self, key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -self.spread, self.spread)


class Windowed(nn.Module):
    """Σ_j w_j(x) N_j((x − c_j)/h) for one point (d,) or its jet.

    Attributes
    ----------
    widths : tuple of int
        Hidden widths of each of the (n + 1)^d networks.
    subdomains : int
        n, cells of the grid of nodes, an axis.
    box : pair of d-tuples
        Lower and upper corner of the domain.
    activation, dtype
        As in :class:`hybrid_lib.pinn.networks.MLP`; the start is that of :class:`hybrid_lib.pinn.networks.TwoScale`.
    """

    widths: tuple[int, ...]
    subdomains: int
    box: tuple[tuple[float, ...], tuple[float, ...]]
    activation: str = "tanh"
    dtype: Any = jnp.float32

    def setup(self):
        """Name the layers, each that of all networks."""
        count, last = (self.subdomains + 1) ** len(self.box[0]), len(self.widths)
        self.layers = [
            Layers(count, width, self.dtype, GAIN if k == 0 else float(k < last), SPREAD if k < last else 0.0)
            for k, width in enumerate((*self.widths, 1))
        ]

    def embed(self, x):
        """Jets (or arrays) of the 2^d windows that reach the point, and of its place in each of them."""
        _, cell, sides = self._cell(x)
        lower = jnp.asarray(self.box[0], self.dtype)
        inside = [self._place(x, i, lower[i] + cell[i] * sides[i], sides[i]) for i in range(len(sides))]  # t in [0, 1]
        windows, places = [], []
        for corner in itertools.product((0, 1), repeat=len(sides)):
            window = None
            for t, up in zip(inside, corner, strict=True):
                one = _rise(t) if up else _rise(jets.affine(t, -1.0, 1.0))
                window = one if window is None else jets.product(window, one)
            windows.append(window)
            places.append(jets.stack([jets.affine(t, 1.0, float(up)) for t, up in zip(inside, corner, strict=True)]))
        return [jets.stack(windows), *places]

    def head(self, x, features):
        """The trainable part."""
        start, cell, _ = self._cell(x)
        windows, places = features[0], features[1:]
        values = []
        for corner, hidden in zip(itertools.product((0, 1), repeat=cell.shape[0]), places, strict=True):
            which = start + sum(up * (self.subdomains + 1) ** i for i, up in enumerate(corner))
            for k, layer in enumerate(self.layers):
                hidden = layer(hidden, which)
                if k < len(self.widths):
                    hidden = ACTIVATIONS[self.activation](hidden)
            values.append(hidden)
        weighted = jets.product(windows, jets.concatenate(values))
        return jets.linear(weighted, jnp.sum) if isinstance(weighted, Jet) else jnp.sum(weighted)

    def __call__(self, x):
        """The network at one point, or its jet."""
        return self.head(x, self.embed(x))

    def _cell(self, x: Jet | Array) -> tuple[Array, Array, Array]:
        """Number of the node at the lower corner of the point's cell, the cell an axis, and its sides."""
        point = jax.lax.stop_gradient(x.value if isinstance(x, Jet) else x)
        lower, upper = (jnp.asarray(corner, self.dtype) for corner in self.box)
        sides = (upper - lower) / self.subdomains
        cell = jnp.clip(jnp.floor((point - lower) / sides), 0, self.subdomains - 1)
        powers = jnp.asarray([(self.subdomains + 1) ** i for i in range(lower.shape[0])])
        return jnp.sum(cell.astype(powers.dtype) * powers), cell, sides

    def _place(self, x: Jet | Array, axis: int, start: Array, side: Array) -> Jet | Array:
        """(x_axis − start)/side."""
        pick = lambda part: part[axis] / side  # noqa: E731
        if not isinstance(x, Jet):
            return (x[axis] - start) / side
        scaled = jets.linear(x, pick)
        return scaled._replace(value=(x.value[axis] - start) / side)


def _rise(t: Jet | Array) -> Jet | Array:
    """S(t) for t in [0, 1]: from 0 to 1, three derivatives zero at both ends."""
    if not isinstance(t, Jet):
        return t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)
    v = t.value
    return jets.chain(t, _rise(v), 140 * (v * (1 - v)) ** 3, 420 * (v * (1 - v)) ** 2 * (1 - 2 * v))


def windowed(
    subdomains: int,
    box: tuple[tuple[float, ...], tuple[float, ...]],
    widths: tuple[int, ...] = (8, 8),
    activation: str = "tanh",
    dtype=jnp.float32,
) -> Windowed:
    """Validated :class:`Windowed`; `box` is ``domain.box``.

    Raises
    ------
    InputError
        For less than one subdomain, an empty box, or as :func:`hybrid_lib.pinn.networks.mlp`.

    Examples
    --------
    >>> from hybrid_lib.pinn.ansatz import Ansatz
    >>> theta, _ = Ansatz(windowed(15, ((0.0,), (1.0,)), (8,)), 1).init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(theta))  # 16 networks 1-8-1
    400
    """
    if not isinstance(subdomains, int) or subdomains < 1:
        raise InputError("subdomains", "an integer >= 1", subdomains, "as many as there are periods, an axis")
    lower, upper = (tuple(float(c) for c in corner) for corner in box)
    if not all(b > a and math.isfinite(b - a) for a, b in zip(lower, upper, strict=True)):
        raise InputError("box", "a lower corner below the upper one", box, "pass domain.box")
    return Windowed(checked_widths(widths), subdomains, (lower, upper), checked_activation(activation), dtype)
