r"""Networks u_θ of one point, written once for arrays and for jets (paper section 4.4).

A network is a pair of methods: ``embed`` makes features of a point and has nothing trainable, so that it runs once where the
points stay; ``head`` maps the point and its features to a number. Two networks are the paper's: a plain multilayer perceptron
and the multiscale Fourier feature network ("Ms")

.. math:: \gamma_k(x) &= (\cos 2\pi B_k x, \sin 2\pi B_k x), \quad (B_k)_{ij} \sim N(0, \sigma_k^2) \text{ fixed}, \quad
          k = 1, \dots, n, \\
          u(x) &= \bigl(H(\gamma_1(x)), \dots, H(\gamma_n(x))\bigr)\, w + b,

where H is the same stack of hidden layers for every k. The frequencies live in the flax collection ``"fixed"``, apart from
``"params"``, so that no optimiser can touch them. The third, :class:`TwoScale`, knows the period and draws nothing. Weights
start from Glorot's normal distribution, biases from zero, but for :class:`TwoScale`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from hybrid_lib.errors import InputError
from hybrid_lib.pinn import jets
from hybrid_lib.pinn.jets import Jet

ACTIVATIONS: dict[str, Callable] = {"tanh": jets.tanh, "swish": jets.swish}
Tree = Any
GAIN, SPREAD = 2.0, 1.0
"""Start of :class:`TwoScale`, the pair with the smallest objective after 100 Gauss-Newton steps of the five tried at ε = 0.01,
two seeds each, when the output layers did not start from zero yet."""


class Layer(nn.Module):
    """Affine layer for arrays or jets: `features` outputs, `gain` × Glorot normal kernel, biases uniform in ± `spread`."""

    features: int
    dtype: Any = jnp.float32
    gain: float = 1.0
    spread: float = 0.0

    @nn.compact
    def __call__(self, x):
        """XW + b."""
        width = (x.value if isinstance(x, Jet) else x).shape[-1]
        kernel = self.param("kernel", self._kernel, (width, self.features), self.dtype)
        bias = self.param("bias", self._bias, (self.features,), self.dtype)
        return jets.dense(x, kernel, bias)

    def _kernel(self, key, shape, dtype):
        kernel = nn.initializers.glorot_normal()(key, shape, dtype)
        return kernel if self.gain == 1 else jnp.asarray(self.gain, dtype) * kernel

    def _bias(self, key, shape, dtype):
        if not self.spread:
            return jnp.zeros(shape, dtype)
        return jax.random.uniform(key, shape, dtype, -self.spread, self.spread)


class MLP(nn.Module):
    """Multilayer perceptron with a scalar output, for one point (d,) or its jet.

    Attributes
    ----------
    widths : tuple of int
        Hidden widths; the paper's MLP has eight layers of 64.
    activation : str
        ``"tanh"`` or ``"swish"``.
    dtype : dtype
        Of the parameters; the input must have the same.
    gain, spread, end : float
        At the start the first and the last kernel are `gain` and `end` times Glorot's, and the hidden biases are uniform in
        ± `spread`.
    outputs : int
        With more than one the value has this length.
    """

    widths: tuple[int, ...]
    activation: str = "tanh"
    dtype: Any = jnp.float32
    gain: float = 1.0
    spread: float = 0.0
    end: float = 1.0
    outputs: int = 1

    def setup(self):
        """Name the layers."""
        gains = [self.gain] + [1.0] * (len(self.widths) - 1)
        self.stack = [
            Layer(width, self.dtype, gain, self.spread)
            for width, gain in zip(self.widths, gains, strict=True)
        ]
        self.output = Layer(self.outputs, self.dtype, self.end)

    def embed(self, x):
        """Features of the point: none."""
        return []

    def head(self, x, features):
        """The trainable part."""
        for layer in self.stack:
            x = ACTIVATIONS[self.activation](layer(x))
        x = self.output(x)
        return _scalar(x) if self.outputs == 1 else x

    def __call__(self, x):
        """The network at one point, or its jet."""
        return self.head(x, self.embed(x))


class FourierFeatures(nn.Module):
    """(cos sBx, sin sBx), s = `factor`, B from N(0, scale²), kept in ``"fixed"`` or, where trainable, in ``"params"``."""

    frequencies: int
    scale: float
    dtype: Any = jnp.float32
    factor: float = 2 * math.pi
    trainable: bool = False

    @nn.compact
    def __call__(self, x):
        """The 2m features of one point, or their jet."""
        d = (x.value if isinstance(x, Jet) else x).shape[-1]
        shape = (d, self.frequencies)
        if self.trainable:
            B = self.param("frequencies", self._draw, shape)
        else:
            B = self.variable("fixed", "frequencies", lambda: self._draw(self.make_rng("frequencies"), shape)).value
        return jets.cos_sin(jets.dense(x, self.factor * B))

    def _draw(self, key: Array, shape: tuple[int, int]) -> Array:
        return jnp.asarray(self.scale, self.dtype) * jax.random.normal(key, shape, self.dtype)


class MultiscaleFourier(nn.Module):
    """Multiscale Fourier feature network with fixed random frequencies, for one point (d,) or its jet.

    Attributes
    ----------
    widths : tuple of int
        Hidden widths of the stack that all features share; the paper's has two layers of 128.
    scales : tuple of float
        Standard deviations σ_k of the frequencies (cycles per unit length); the paper's are (1, 1/ε).
    frequencies : int
        m, the number of frequencies of each scale; 2m features each. Not printed in the paper; 64 makes 2m = 128.
    activation, dtype
        As in :class:`MLP`.
    factor : float
        2π for cos 2πBx, 1 for cos Bx: a reading of the paper, which prints the former.
    trainable : bool
        Train the frequencies with the other parameters; the paper does not say so.
    """

    widths: tuple[int, ...]
    scales: tuple[float, ...]
    frequencies: int = 64
    activation: str = "tanh"
    dtype: Any = jnp.float32
    factor: float = 2 * math.pi
    trainable: bool = False

    def setup(self):
        """Name the layers."""
        self.features = [
            FourierFeatures(self.frequencies, scale, self.dtype, self.factor, self.trainable) for scale in self.scales
        ]
        self.stack = [Layer(width, self.dtype) for width in self.widths]
        self.output = Layer(1, self.dtype)

    def embed(self, x):
        """The features γ_k(x); none where they are trained."""
        return [] if self.trainable else [feature(x) for feature in self.features]

    def head(self, x, features):
        """The trainable part; it sees the point through its features alone."""
        outputs = []
        for hidden in [feature(x) for feature in self.features] if self.trainable else features:
            for layer in self.stack:
                hidden = ACTIVATIONS[self.activation](layer(hidden))
            outputs.append(hidden)
        return _scalar(self.output(jets.concatenate(outputs)))

    def __call__(self, x):
        """The network at one point, or its jet."""
        return self.head(x, self.embed(x))


class TwoScale(nn.Module):
    r"""Two-scale network M₁(x) + (ε/2π) M₂(x, ψ(x/ε)) of two perceptrons, for one point (d,) or its jet.

    The form is that of the two-scale expansion of homogenisation, u⁰(x) + ε u¹(x, x/ε). The features ψ are cos 2πx_i/ε and
    sin 2πx_i/ε of each coordinate and, where `box` is given, exp(−2πs/ε) with the distance s to each side of the box: the
    rate at which boundary layers of a medium with period ε decay. With the factor ε/2π the gradient of the second term is as
    large as that of the first at the start, whatever ε.

    The start differs from the other networks': the first kernels are `GAIN` times Glorot's, and hidden biases are uniform in
    ±`SPREAD`. With Glorot's kernels and zero biases tanh is nearly linear on the unit interval, the hidden units are nearly
    copies of each other, and least-squares methods lose their first hundred steps to telling them apart. The output layers
    start from zero: the first Gauss-Newton step is then the linear least-squares problem of the features.

    Attributes
    ----------
    widths : tuple of int
        Hidden widths of each of the two.
    period : float
        ε.
    box : pair of d-tuples, or None
        Lower and upper corner of the domain, for boundary-layer features.
    activation, dtype
        As in :class:`MLP`.
    split : bool
        Return the two terms, shape (2,), and not their sum: :class:`~hybrid_lib.pinn.ansatz.Ansatz` then gives each a
        factor of its own.
    slow_widths : tuple of int, or None
        Hidden widths of the slow one, where they differ.
    """

    widths: tuple[int, ...]
    period: float
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    activation: str = "tanh"
    dtype: Any = jnp.float32
    split: bool = False
    slow_widths: tuple[int, ...] | None = None

    def setup(self):
        """Name the two perceptrons."""
        self.slow = MLP(self.slow_widths or self.widths, self.activation, self.dtype, GAIN, SPREAD, 0.0)
        self.fast = MLP(self.widths, self.activation, self.dtype, GAIN, SPREAD, 0.0)

    def embed(self, x):
        """ψ(x/ε) as one list entry: 2d features, 4d with boundary layers."""
        frequency = 2 * math.pi / self.period
        parts = [jets.cos_sin(jets.affine(x, frequency))]
        if self.box is not None:
            lower, upper = (jnp.asarray(corner, self.dtype) for corner in self.box)
            parts += [jets.exp(jets.affine(x, -frequency, lower)), jets.exp(jets.affine(x, frequency, upper))]
        return [jets.concatenate(parts)]

    def head(self, x, features):
        """The trainable part."""
        slow, fast = self.slow.head(x, []), self.fast.head(jets.concatenate([x, *features]), [])
        fast = jets.affine(fast, self.period / (2 * math.pi))
        return jets.stack([slow, fast]) if self.split else jets.add(slow, fast)

    def __call__(self, x):
        """The network at one point, or its jet."""
        return self.head(x, self.embed(x))


def _scalar(x: Jet | Array) -> Jet | Array:
    """Drop the output axis of length one."""
    return jets.linear(x, lambda part: part[..., 0]) if isinstance(x, Jet) else x[..., 0]


def mlp(widths: tuple[int, ...] = (64,) * 8, activation: str = "tanh", dtype=jnp.float32) -> MLP:
    """Validated :class:`MLP`; the defaults are the paper's (8 hidden layers of 64, tanh)."""
    return MLP(checked_widths(widths), checked_activation(activation), dtype)


def multiscale_fourier(
    scales: tuple[float, ...],
    widths: tuple[int, ...] = (128, 128),
    frequencies: int = 64,
    activation: str = "tanh",
    dtype=jnp.float32,
    factor: float = 2 * math.pi,
    trainable: bool = False,
) -> MultiscaleFourier:
    """Validated :class:`MultiscaleFourier`; the defaults are the paper's, with `scales` = (1, 1/ε) up to the caller."""
    scales = tuple(float(s) for s in scales)
    if not scales or min(scales) <= 0:
        raise InputError("scales", "one or more numbers > 0", scales, "the paper uses (1, 1/eps)")
    if frequencies < 1:
        raise InputError("frequencies", "an integer >= 1", frequencies, "64 makes 128 features a scale")
    return MultiscaleFourier(
        checked_widths(widths), scales, int(frequencies), checked_activation(activation), dtype, float(factor), bool(trainable)
    )


def two_scale(
    period: float,
    widths: tuple[int, ...] = (20, 20),
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    activation: str = "tanh",
    dtype=jnp.float32,
    split: bool = False,
    slow_widths: tuple[int, ...] | None = None,
) -> TwoScale:
    """Validated :class:`TwoScale`; `box` is ``domain.box`` for boundary-layer features.

    Raises
    ------
    InputError
        For a period that is not positive, or as :func:`mlp`.

    Examples
    --------
    >>> import jax
    >>> from hybrid_lib.pinn.ansatz import Ansatz
    >>> theta, _ = Ansatz(two_scale(0.1, (20, 20)), 1).init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(theta))  # 1-20-20-1 and 3-20-20-1
    1002
    """
    if not (period > 0 and math.isfinite(period)):
        raise InputError("period", "a number > 0", period, "pass the period of the medium")
    slow = None if slow_widths is None else checked_widths(slow_widths)
    return TwoScale(checked_widths(widths), float(period), box, checked_activation(activation), dtype, split, slow)


def checked_widths(widths) -> tuple[int, ...]:
    """`widths` as integers, refused unless there are some and all are positive."""
    widths = tuple(int(w) for w in widths)
    if not widths or min(widths) < 1:
        raise InputError("widths", "a non-empty tuple of positive integers", widths, "for example (128, 128)")
    return widths


def checked_activation(name: str) -> str:
    """`name`, refused unless it is an activation."""
    if name not in ACTIVATIONS:
        raise InputError("activation", f"one of {sorted(ACTIVATIONS)}", repr(name), "choose one of these")
    return name
