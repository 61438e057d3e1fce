"""Sampling: collocation points in Ω and on ∂Ω as pure functions of a random key.

All samplers share one signature, (key, domain, n, dtype) -> (n, d), run inside `jax.jit` with n, domain and
dtype static, and depend on nothing else: `jax.random.fold_in(key, step)` gives the batch of a step, and
points drawn as float32 are the same whether or not x64 is on. Interior points are strictly inside Ω, boundary
points exactly on ∂Ω, and `|Ω|/n Σ f(x_i)`, `|∂Ω|/n Σ f(x_i)` estimate the integrals of f without bias. Points that crowd
somewhere come with weights, :func:`graded`.

Paper: the residual and boundary points of (2.8); uniform is its choice.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.pinn.domains import Domain

CELLS = 8
"""Cells along the shorter side of a polygon in which points are drawn."""


def uniform(key, domain: Domain, n: int, dtype) -> jax.Array:
    """Independent uniform points x_i in Ω, the paper's choice; error of a mean O(n^(−1/2)), cost O(n d).

    Parameters
    ----------
    key : jax.Array
        Random key.
    domain : Domain
    n : int
        Number of points ≥ 1.
    dtype : float32 or float64

    Returns
    -------
    (n, d) array of ``dtype``.

    Raises
    ------
    InputError
        If the key is a number, ``n`` is no positive integer, or ``dtype`` is neither float32 nor an enabled
        float64.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import unit_square
    >>> uniform(jax.random.key(0), unit_square(), 5, jnp.float32).shape
    (5, 2)
    """
    dtype = check_draw(key, n, dtype)
    d, k = domain.dimension, len(domain.corners)
    if not k:
        return in_cells(domain, _open_uniform(key, (n, d + 1), dtype))
    draw = _open_uniform(key, (n, d + (k > 1)), dtype)  # coordinates in a unit cube, then which one if k > 1
    if k == 1:
        return _placed(domain, dtype, draw)
    cube = jnp.clip(jnp.floor(k * draw[:, d]).astype(jnp.int32), 0, k - 1)  # (n,)
    return _corners(domain, dtype)[cube] + draw[:, :d]


def sobol(key, domain: Domain, n: int, dtype) -> jax.Array:
    """Sobol points with a random digital shift; error of a mean about O(1/n) for smooth integrands.

    In each unit cube of Ω the points are x = corner + (b ⊕ shift)·2^(−32), with b the Sobol integers and ⊕
    the bitwise exclusive or. The shift keeps the net: of the first 2^m points of a cube exactly one lies in
    each dyadic box of volume 2^(−m), whatever its sides. Point i goes to cube (i + o) mod k with a random o,
    so cubes differ by at most one point. Cost O(n d); the best n are k·2^m.

    Parameters
    ----------
    key : jax.Array
        Random key; it draws the shifts and o.
    domain : Domain
    n : int
        Number of points ≥ 1.
    dtype : float32 or float64

    Returns
    -------
    (n, d) array of ``dtype``. Both dtypes give the same points up to rounding to 2^(−23).

    Raises
    ------
    InputError
        If the key is a number, ``n`` is no positive integer, or ``dtype`` is neither float32 nor an enabled
        float64.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> x = sobol(jax.random.key(0), interval(), 4, jnp.float32)
    >>> sorted(jnp.floor(4.0 * x[:, 0]).tolist())
    [0.0, 1.0, 2.0, 3.0]
    """
    dtype = check_draw(key, n, dtype)
    d, k = domain.dimension, len(domain.corners)
    if not k:
        return in_cells(domain, shifted_sobol(key, n, d + 1, dtype))
    draw = jax.random.bits(key, (k * d + 1,), jnp.uint32)
    shift = draw[:-1].reshape(k, d)
    first = (draw[-1] >> 8).astype(jnp.int32) % k  # o; of 2^24 values, so equally likely to 1e-7
    i = np.arange(n, dtype=np.int32)
    cube = jnp.mod(jnp.asarray(i % k) + first, k)  # (n,)
    bits = jnp.asarray(_sobol_integers(-(-n // k), d)[i // k]) ^ shift[cube]  # (n, d) uint32
    if domain.extent is not None:
        return _placed(domain, dtype, _from_bits(bits, dtype))
    return _corners(domain, dtype)[cube] + _from_bits(bits, dtype)


def shifted_sobol(key, n: int, dimension: int, dtype) -> jax.Array:
    """First n points of a Sobol sequence in (0, 1)^dimension with a random digital shift; (n, dimension) of `dtype`.

    Examples
    --------
    >>> u = shifted_sobol(jax.random.key(0), 8, 3, jnp.float32)
    >>> sorted(jnp.floor(8 * u[:, 2]).tolist())
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    shift = jax.random.bits(key, (dimension,), jnp.uint32)
    return _from_bits(jnp.asarray(_sobol_integers(n, dimension)) ^ shift[None], jnp.dtype(dtype))


def in_cells(domain: Domain, u: jax.Array) -> jax.Array:
    """Points of a polygon or a mesh from points u (n, d + 1) of the unit cube, of which the first coordinate says in which cell.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import polygon
    >>> triangle = polygon([(0, 0), (3, 0), (0, 3)])
    >>> x = in_cells(triangle, shifted_sobol(jax.random.key(0), 4096, 3, jnp.float32))
    >>> jnp.mean(x, axis=0).round(2).tolist()
    [1.0, 1.0]
    """
    corners, ends = (jnp.asarray(a, u.dtype) for a in _cells(domain))
    cell = corners[jnp.clip(jnp.searchsorted(ends, u[:, 0], side="right"), 0, len(corners) - 1)]  # (n, d + 1, d)
    if domain.dimension == 1:
        return cell[:, 0] + u[:, 1:] * (cell[:, 1] - cell[:, 0])
    root, along = jnp.sqrt(u[:, 1:2]), u[:, 2:]
    return cell[:, 0] + root * ((1 - along) * (cell[:, 1] - cell[:, 0]) + along * (cell[:, 2] - cell[:, 0]))


@lru_cache(maxsize=8)
def _cells(domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the cells of a coarse mesh, (m, d + 1, d), and the ends of their shares of (0, 1)."""
    mesh = domain.mesh(CELLS)
    return mesh.points[mesh.cells], np.cumsum(mesh.volumes) / mesh.volumes.sum()


def graded(key, domain: Domain, n: int, dtype, width: float) -> tuple[jax.Array, jax.Array]:
    r"""Sobol points that crowd towards ∂Ω, with weights: along each axis half of them lie in layers at the two ends.

    Each coordinate x = F⁻¹(u) of a Sobol point u has the density

    .. math:: F'(x) = \frac12 + \frac{e^{-x/\ell} + e^{-(1-x)/\ell}}{4\ell (1 - e^{-1/\ell})},

    and :math:`|\Omega|/n \sum_i w_i f(x_i)` with :math:`w = 1/\prod_k F'(x_k)` estimates the integral of f without bias, and
    within a factor 2^d of the variance of uniform points where nothing happens at the boundary. F is inverted by bisection.

    Parameters
    ----------
    key : jax.Array
        Random key, as for `sobol`.
    domain : Domain
        An interval or a box.
    n : int
        Number of points ≥ 1.
    dtype : float32 or float64
    width : float
        ℓ, the length in which the crowd thins out by e, in units of each side.

    Returns
    -------
    points : (n, d) array of ``dtype``
    weights : (n,) array of ``dtype``
        Positive, at most 2^d.

    Raises
    ------
    InputError
        As for `sobol`, for another domain, and for a width that is not positive.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> x, w = graded(jax.random.key(0), interval(), 1024, jnp.float32, 0.01)
    >>> near = x[:, 0] < 0.05
    >>> round(float(jnp.mean(near)), 2), round(float(jnp.mean(jnp.where(near, w, 0))), 2)
    (0.27, 0.05)
    """
    if len(domain.corners) != 1:
        raise InputError("domain", "an interval or a box", domain.name, "use sobol points")
    if not (np.isfinite(width) and width > 0):
        raise InputError("width", "a number > 0", width, "pass the width of the layers, for example 2*eps")
    lower, sides = _corners(domain, dtype), jnp.asarray(domain.extent or (1.0,) * domain.dimension, dtype)[None]
    u = sobol(key, domain, n, dtype)
    x = _graded_quantile(u if domain.extent is None else (u - lower) / sides, float(width))
    scale = 4 * width * (1 - math.exp(-1 / width))  # Python numbers keep the dtype of x
    density = 0.5 + (jnp.exp(-x / width) + jnp.exp(-(1 - x) / width)) / scale
    return x if domain.extent is None else lower + sides * x, 1 / jnp.prod(density, axis=1)


@partial(jax.jit, static_argnames="width")
def _graded_quantile(u: jax.Array, width: float) -> jax.Array:
    """F⁻¹(u) of :func:`graded` by bisection, down to the last bit of u."""
    far = math.exp(-1 / width)
    scale = 4 * width * (1 - far)

    def distribution(x):
        ends = 1 - jnp.exp(-x / width) + jnp.exp(-(1 - x) / width) - far
        return 0.5 * x + width / scale * ends

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        below = distribution(middle) < u
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(u.dtype).nmant + 2, halve, (jnp.zeros_like(u), jnp.ones_like(u)))
    return (low + high) / 2


def boundary_uniform(key, domain: Domain, n: int, dtype) -> jax.Array:
    """Independent points on ∂Ω, uniform by arc length; in 1-D the two end points in turn: 0, 1, 0, 1, ….

    Parameters
    ----------
    key : jax.Array
        Random key; unused in 1-D.
    domain : Domain
    n : int
        Number of points ≥ 1; even in 1-D, so that both ends count alike (2 is enough).
    dtype : float32 or float64

    Returns
    -------
    (n, d) array of ``dtype``.

    Raises
    ------
    InputError
        As for `uniform`, and for an odd ``n`` in 1-D.

    Examples
    --------
    >>> from hybrid_lib.pinn.domains import interval
    >>> boundary_uniform(jax.random.key(0), interval(), 2, jnp.float32).tolist()
    [[0.0], [1.0]]
    """
    dtype = check_draw(key, n, dtype)
    if domain.dimension == 1:
        _even(n)
        s = jnp.asarray(np.arange(n) % 2 / 2.0, dtype)
    else:
        s = _open_uniform(key, (n,), dtype)
    return jax.vmap(domain.boundary_point)(s)


def _corners(domain, dtype) -> jax.Array:
    return jnp.asarray(np.array(domain.corners), dtype)


def _placed(domain, dtype, draw) -> jax.Array:
    """Points of the unit cube in the one box of a domain."""
    return _corners(domain, dtype) + (draw if domain.extent is None else draw * jnp.asarray(domain.extent, dtype)[None])


def _open_uniform(key, shape, dtype) -> jax.Array:
    """Uniform on the midpoints of [0, 1) cut in 2^23 (float32) or 2^52 (float64) cells: never 0, never 1."""
    return jax.random.uniform(key, shape, dtype) + float(jnp.finfo(dtype).eps) / 2.0


def _from_bits(bits, dtype) -> jax.Array:
    """Midpoints of the dyadic cells named by the leading bits: 23 for float32, all 32 for float64."""
    if dtype == jnp.float32:
        return (bits >> 9).astype(dtype) * 2.0**-23 + 2.0**-24
    return bits.astype(dtype) * 2.0**-32 + 2.0**-33


@lru_cache(maxsize=8)
def _sobol_integers(n: int, d: int) -> np.ndarray:
    """First n points of the Sobol sequence as (n, d) 32-bit integers; read-only."""
    from scipy.stats import qmc  # here, since it is slow to import and needed for Sobol points alone

    levels = max(n - 1, 0).bit_length()
    points = qmc.Sobol(d, scramble=False, bits=32).random_base2(levels)[:n]
    integers = (points * 2.0**32).astype(np.uint32)
    integers.flags.writeable = False
    return integers


def check_draw(key, n, dtype) -> np.dtype:
    """The dtype of a draw, after a look at the arguments that all samplers share."""
    if isinstance(key, (int, np.integer)):
        raise InputError("key", "a random key", key, f"pass jax.random.key({key})")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError("n", "a number of points, an integer ≥ 1", n, "pass a Python int, static under jit")
    kind = jnp.dtype(dtype)
    if kind not in (jnp.float32, jnp.float64):
        raise InputError("dtype", "float32 or float64", kind, "pass jnp.float32 or jnp.float64")
    if kind == jnp.float64 and jnp.result_type(float) != jnp.float64:
        raise InputError(
            "dtype", "float32 while x64 is off", kind, "call hybrid_lib.enable_float64() first"
        )
    return kind


def _even(n):
    if n % 2:
        raise InputError("n", "an even number of boundary points in 1-D", n, "pass 2: one point an end")
