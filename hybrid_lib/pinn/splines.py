"""Cubic splines on a coarse mesh of a box, beside a network: unknowns of a coarse problem that no step of training moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

from hybrid_lib.pinn import jets
from hybrid_lib.pinn.jets import Jet
from hybrid_lib.pinn.wrapped import Beside

LEAF = "coarse"
"""Name of the unknowns among the parameters of :class:`WithSplines`."""


def cubic_splines(t: Jet | Array, cells: int) -> Jet | Array:
    r"""The uniform cubic B-splines of `cells` cells of (0, 1) at one point, (cells + 3,), or their jet.

    .. math:: B_j(t) &= N(\text{cells}\, t - j + 1), \quad j = 0, \dots, \text{cells} + 2, \\
              N(s) &= \tfrac23 - s^2 + \tfrac12|s|^3 \ (|s| \le 1), \quad \tfrac16(2 - |s|)^3 \ (1 \le |s| \le 2).

    Parameters
    ----------
    t : () or its jet
    cells : int

    Examples
    --------
    >>> [round(float(B), 4) for B in cubic_splines(jnp.asarray(0.5), 2)]  # a node: 1/6, 2/3, 1/6
    [0.0, 0.1667, 0.6667, 0.1667, 0.0]
    """
    value = t.value if isinstance(t, Jet) else t
    s = cells * value - jnp.arange(-1, cells + 2, dtype=value.dtype)
    a = jnp.abs(s)
    near, out = a < 1, jnp.maximum(2 - a, 0)
    N = jnp.where(near, 2 / 3 - a**2 + a**3 / 2, out**3 / 6)
    if not isinstance(t, Jet):
        return N
    first = jnp.sign(s) * jnp.where(near, 1.5 * a**2 - 2 * a, -(out**2) / 2)
    return jets.chain(t, N, cells * first, cells**2 * jnp.where(near, 3 * a - 2, out))


class WithSplines(Beside):
    """The terms of a network, and Σ C_{ij…} B_i(x₁) B_j(x₂)… as a further term, in one or two dimensions.

    Attributes
    ----------
    network : flax Module
    cells : int
        A side of the box.
    box : pair of d-tuples
        Lower and upper corner.
    at_rest : bool
        The coefficients C, ((cells + 3)ᵈ numbers from zero), have no derivative: training leaves them alone.
    """

    cells: int
    box: tuple[tuple[float, ...], tuple[float, ...]]
    at_rest: bool = True

    @nn.compact
    def head(self, x, features):
        """The trainable part."""
        C = self.param(LEAF, nn.initializers.zeros, (self.cells + 3,) * len(self.box[0]), self.dtype)
        C = lax.stop_gradient(C) if self.at_rest else C
        part = (lambda k: jets.linear(x, lambda p: p[k])) if isinstance(x, Jet) else (lambda k: x[k])
        along = [
            cubic_splines(jets.affine(part(k), 1 / (upper - lower), lower), self.cells)
            for k, (lower, upper) in enumerate(zip(*self.box, strict=True))
        ]
        apply = jets.linear if isinstance(x, Jet) else (lambda array, function: function(array))
        last = apply(along[-1], lambda b: C @ b)
        field = last if len(along) == 1 else apply(jets.product(along[0], last), jnp.sum)
        return jets.joined([self.network.head(x, features), field])


def moving(tree: dict) -> tuple[dict, dict]:
    """Parameters without the splines' coefficients, and those alone; each with the names of the tree.

    Examples
    --------
    >>> moving({"output": 1.0, "coarse": 2.0})
    ({'output': 1.0}, {'coarse': 2.0})
    """
    return {k: v for k, v in tree.items() if k != LEAF}, {k: v for k, v in tree.items() if k == LEAF}


def released(ansatz: Any) -> Any:
    """An ansatz of two fields whose splines have derivatives."""
    free = lambda own: replace(own, network=own.network.clone(at_rest=False))  # noqa: E731
    with_them = lambda own: own is not None and isinstance(own.network, WithSplines)  # noqa: E731
    changed = {name: free(own) for name in ("field", "stream") if with_them(own := getattr(ansatz, name))}
    return replace(ansatz, **changed)
