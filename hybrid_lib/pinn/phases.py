r"""Points for integrands of two scales f(x, x/ε): the cell of length ε and the place in it are drawn apart.

A set of n points of the plane meets the phases x/ε of a small period by chance. Here a Sobol sequence in twice as many
dimensions as Ω has says for each axis in which cell a point lies and where in it, so that n points integrate a function of
(x, y) ∈ Ω × (0, 1)^d with y = x/ε, whatever ε is: neither their number nor their error knows the period.
"""

from __future__ import annotations

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.pinn.sampling import check_draw, in_cells, shifted_sobol

INSIDE = 0.75
"""Share of the points, on each axis, that are spread evenly; the rest lies in the layers."""
LAYER = 0.5
"""Length in which the crowd at the ends thins out by e, in periods."""


def two_scale(key, domain: Domain, n: int, dtype, period: float, layer: float = LAYER) -> tuple[jax.Array, jax.Array]:
    r"""Points of Ω with weights: a cell of length ε on each axis, crowded towards ∂Ω, and a place in the cell.

    With cells of lengths ℓ_k (ε, the last one shorter) and their probabilities

    .. math:: p_k = \frac{3}{4}\ell_k + \frac{1}{4} c\,\ell_k\left(e^{-k/L} + e^{-(m-1-k)/L}\right), \qquad L = `layer`,

    `|Ω|/n Σ_i w_i f(x_i)` with the product of ℓ_k/p_k as weight estimates ∫f without bias: its mean over the random shift is
    the integral.

    Parameters
    ----------
    key : jax.Array
        Random key of the digital shift.
    domain : Domain
        In a polygon or a mesh points are spread evenly, in its cells: they know no phases.
    n : int
        Number of points, best a power of two.
    dtype : float32 or float64
    period : float
        ε over the domain's unit, from 1e-6 to 1: phases lie on a grid of 2⁻³² of a cell, and the cells of an axis in a table.
    layer : float
        L, in periods.

    Returns
    -------
    points : (n, d) array of `dtype`
    weights : (n,) array of `dtype`
        Positive, at most (4/3)^d.

    Raises
    ------
    InputError
        As :func:`hybrid_lib.pinn.sampling.sobol`, and for a period outside of its range.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import unit_square
    >>> x, w = two_scale(jax.random.key(0), unit_square(), 4096, jnp.float32, 1e-3)
    >>> wave = jnp.cos(2 * math.pi * x[:, 0] / 1e-3) ** 2 * x[:, 1]
    >>> round(float(jnp.mean(w * wave)), 3)  # its integral is 1/4
    0.25
    """
    dtype = check_draw(key, n, dtype)
    if not 1e-6 <= period <= 1:
        raise InputError("period", "a number from 1e-6 to 1", period, "pass the period of the medium")
    d, cubes = domain.dimension, len(domain.corners)
    if not cubes:
        return in_cells(domain, shifted_sobol(key, n, d + 1, dtype)), jnp.ones(n, dtype)
    if domain.extent is not None:
        return _in_box(key, domain, n, dtype, float(period), float(layer))
    starts, lengths, chances, ends = (jnp.asarray(a, dtype) for a in _cells(float(period), float(layer)))
    u = shifted_sobol(key, n, 2 * d + (cubes > 1), dtype)
    k = jnp.clip(jnp.searchsorted(ends, u[:, :d], side="right"), 0, len(lengths) - 1)
    x = starts[k] + lengths[k] * u[:, d : 2 * d]
    weights = jnp.prod(lengths[k] / chances[k], axis=1)
    corners = jnp.asarray(np.array(domain.corners), dtype)
    if cubes == 1:
        return corners[:1] + x, weights
    cube = jnp.clip((cubes * u[:, -1]).astype(jnp.int32), 0, cubes - 1)
    return corners[cube] + x, weights


def _in_box(key, domain: Domain, n: int, dtype, period: float, layer: float) -> tuple[jax.Array, jax.Array]:
    """The same in a box of any size: an axis of its length in units of the shortest side has its own cells."""
    d, weight, axes = domain.dimension, jnp.ones(n, dtype), []
    u = shifted_sobol(key, n, 2 * d, dtype)
    for k, (corner, side) in enumerate(zip(domain.corners[0], domain.extent, strict=True)):
        starts, lengths, chances, ends = (jnp.asarray(a, dtype) for a in _cells(period * domain.unit / side, layer))
        cell = jnp.clip(jnp.searchsorted(ends, u[:, k], side="right"), 0, len(lengths) - 1)
        axes.append(corner + side * (starts[cell] + lengths[cell] * u[:, d + k]))
        weight = weight * lengths[cell] / chances[cell]
    return jnp.stack(axes, axis=1), weight


@lru_cache(maxsize=8)
def _cells(period: float, layer: float) -> tuple[np.ndarray, ...]:
    """Starts, lengths and probabilities of the cells of (0, 1), and the ends of their shares of (0, 1)."""
    m = math.ceil(1 / period - 1e-9)
    k = np.arange(m)
    starts = k * period
    lengths = np.minimum(starts + period, 1.0) - starts
    crowd = lengths * (np.exp(-k / layer) + np.exp(-(m - 1 - k) / layer))
    chances = INSIDE * lengths / lengths.sum() + (1 - INSIDE) * crowd / crowd.sum()
    return starts, lengths, chances, np.cumsum(chances)
