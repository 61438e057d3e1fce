"""Media made of data: random Fourier modes and rasters.

Paper: (4.1), (4.2); media beyond the paper's, for its assumptions on K^ε.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.media.medium import (
    Medium,
    check_dimension,
    evaluate,
    known_within,
    make_medium,
    numbers,
    ordered_bounds,
    positive,
    quintic_step,
    recorded,
    sample_points,
)
from hybrid_lib.media.pixels import Pixels

SPLINES = {"linear": 1, "cubic": 3}
"""Degree of the B-splines by the name of a smoothing."""


@recorded
def random_smooth(
    key,
    dimension: int,
    length: float,
    *,
    sigma: float = 1.0,
    bounds: tuple[float, float] | None = None,
    period: float | None = None,
    modes: int = 64,
) -> Medium:
    """A smooth random medium from M random Fourier modes.

    z(x) = √(2/M) Σ_k cos(ω_k·x + φ_k), approximately Gaussian with covariance `exp(−|r|²/(2·length²))`. Then
    K = exp(sigma·z), log-normal, or with ``bounds`` = (a, b) K = a + (b − a)Φ(sigma·z), Φ the normal
    distribution function. With ``period`` the ω_k are drawn from the lattice (2π/period)ℤ^d without 0, with
    the same spectrum.

    Parameters
    ----------
    key : jax.Array
        Random key; the modes are drawn once, here, and do not depend on the x64 switch.
    dimension : int
        *d*.
    length : float
        Correlation length > 0.
    sigma : float
        Standard deviation > 0 of log K (log-normal), or contrast of the bounded map.
    bounds : (float, float), optional
        0 < a < b; then they are exact. Otherwise α, β = `exp(∓sigma·1.25·max|z|)`, the maximum over `SAMPLES`
        points of (−1, 1)^d or of one period, never beyond the proven `|z| ≤ √(2M)`: an estimate.
    period : float, optional
        Makes the medium periodic.
    modes : int
        M ≥ 1; cost O(M d) a point.

    Raises
    ------
    InputError
        If the key is a number, a length, sigma or period is not positive, bounds are not ordered, there are
        no modes, or ``length`` < period/1250.

    Examples
    --------
    >>> medium = random_smooth(jax.random.key(0), 2, 0.2, bounds=(1.0, 4.0), period=1.0)
    >>> medium.alpha, medium.beta, medium.bounds_exact
    (1.0, 4.0, True)
    """
    d = check_dimension(dimension)
    length = positive("length", length, "pass the correlation length")
    sigma = positive("sigma", sigma, "use constant(…) for a field without contrast")
    if not isinstance(modes, (int, np.integer)) or modes < 1:
        raise InputError("modes", "an integer ≥ 1", modes, "64 is usual")
    if period is not None:
        period = positive("period", period, "pass None for a medium without period")
    if bounds is not None:
        if len(bounds) != 2:
            raise InputError("bounds", "a pair (a, b)", bounds, "pass two numbers 0 < a < b")
        alpha, beta = ordered_bounds(*bounds)
    if isinstance(key, (int, np.integer)):
        raise InputError("key", "a random key", key, f"pass jax.random.key({key})")
    frequency_key, phase_key = jax.random.split(key)
    omega = _frequencies(frequency_key, modes, d, length, period)  # (M, d)
    phase = 2.0 * np.pi * np.asarray(jax.random.uniform(phase_key, (modes,), jnp.float32), np.float64)
    scale = math.sqrt(2.0 / modes)

    def gaussian(x):
        turns = jnp.dot(jnp.asarray(omega, x.dtype), x, precision="highest")  # (M,)
        return scale * jnp.sum(jnp.cos(turns + jnp.asarray(phase, x.dtype)))

    if bounds is not None:

        def conductivity(x):
            return alpha + (beta - alpha) * jax.scipy.special.ndtr(sigma * gaussian(x))
    else:

        def conductivity(x):
            return jnp.exp(sigma * gaussian(x))

        points = sample_points(d, *((0.0, period) if period else (-1.0, 1.0)))
        largest = float(np.max(np.abs(evaluate(gaussian, points))))
        beta = math.exp(sigma * min(1.25 * largest, math.sqrt(2.0 * modes)))
        alpha = 1.0 / beta
    medium = make_medium(
        conductivity,
        d,
        alpha,
        beta,
        bounds_exact=bounds is not None,
        period=period,
        name="random-smooth",
        is_lipschitz=True,
    )
    return medium if bounds is not None else known_within(medium, (-1.0, 1.0), False)


@recorded
def raster(
    image,
    *,
    alpha: float | None = None,
    beta: float | None = None,
    period: float | None = None,
    lower: float | Sequence[float] = 0.0,
    upper: float | Sequence[float] = 1.0,
    smoothing: str | float | None = None,
) -> Medium:
    """A medium from an array of pixels: K(x) = image[p] in pixel p, with jumps at the edges of the pixels.

    ``image[i, j]`` fills the box from (lower + i h₁, lower + j h₂) to (lower + (i + 1)h₁, lower + (j + 1)h₂): the first index
    runs along x₁, the second upwards along x₂. A picture file has its rows from top to bottom:
    :func:`hybrid_lib.media.from_image` reads it.

    Finite elements are exact about the pixels on every mesh, in the sense that they take the exact mean of K over each cell;
    on a mesh whose lines hold the edges of the pixels (`Pixels.cells`) K is constant on the cells, and rules for energies and
    norms are exact too. The strong form of the equation needs ∇K and does not exist here.

    Parameters
    ----------
    image : (n,), (n₁, n₂) or (n₁, n₂, 2, 2) array
        Pixel values, real numbers, d = 1 or 2; or in the plane a symmetric positive definite tensor in each pixel.
    alpha, beta : float, optional
        Both or none: map [min image, max image] linearly onto [alpha, beta], for example for grey levels.
    period : float, optional
        Side of the tile (0, period)^d, repeated in each direction. None: the image covers (lower, upper)^d,
        is continued by its edge pixels and ``lower``, ``upper`` apply.
    lower, upper : float or d floats
        Extent of an image without period, along all axes or each.
    smoothing : "linear", "cubic" or a number, optional
        Another field, without jumps: (bi)linear through the centres of the pixels; cubic B-splines, C², which round off
        features of about a pixel; or each edge a quintic step of this width, at most the shorter side of a pixel, C². All keep
        min image ≤ K ≤ max image. It changes the problem: `hybrid_lib.experiments.smoothing_change` says by how
        much, and so does the summary of every run.

    Raises
    ------
    InputError
        If a pixel is masked, NaN, infinite or not a real number, K is not positive somewhere, a tensor is not symmetric, or the
        shape, extent or smoothing is impossible.

    Examples
    --------
    >>> image = [[1.0, 2.0], [3.0, 4.0]]  # 3 to the right of 1, 2 above it
    >>> float(raster(image).conductivity(jnp.array([0.9, 0.1])))
    3.0
    >>> float(raster([1.0, 3.0], smoothing="linear").conductivity(jnp.array([0.5])))
    2.0
    """
    pixels = numbers("image", image)
    is_tensor = pixels.ndim == 4 and pixels.shape[2:] == (2, 2)
    if (pixels.ndim not in (1, 2) and not is_tensor) or 0 in pixels.shape:
        remedy = "pass one grey-level array, or a tensor a pixel"
        raise InputError("image", "shape (n,), (n₁, n₂) or (n₁, n₂, 2, 2)", f"shape {pixels.shape}", remedy)
    d = 2 if is_tensor else pixels.ndim
    if alpha is None and beta is None and np.asarray(image).dtype == bool:
        raise InputError("image", "numbers", "True and False", "pass alpha and beta, the values of False and True")
    if is_tensor and (alpha is not None or beta is not None):
        raise InputError("alpha and beta", "none beside tensors", f"{alpha} and {beta}", "they map grey levels: leave them out")
    pixels = _rescale(pixels, alpha, beta)
    if is_tensor:
        pixels, low, high = _tensors(pixels)
    else:
        low, high = float(pixels.min()), float(pixels.max())
    if not is_tensor and low <= 0.0:
        where = tuple(int(i) for i in np.unravel_index(pixels.argmin(), pixels.shape))
        raise InputError(
            f"image{list(where)}",
            "a conductivity > 0",
            f"{pixels.min():g}",
            "pass alpha and beta to map grey levels onto [alpha, beta]",
        )
    if period is not None:
        lower, upper = 0.0, positive("period", period, "pass None for an image without period")
    first, last = numbers("extent", lower), numbers("extent", upper)
    if not (first.shape in ((), (d,)) and last.shape in ((), (d,)) and np.all(first < last)):
        raise InputError("extent", "lower < upper", f"lower = {lower}, upper = {upper}", "swap them, or one an axis")
    first = first if first.ndim else float(first)
    grid = Pixels(pixels, first, (last - first) / np.array(pixels.shape[:d]), period is not None)
    flat = bool(np.all(pixels == pixels[(0,) * d]))
    sharp = make_medium(
        grid,
        d,
        low,
        high,
        divergence=jnp.zeros_like if flat else None,
        is_tensor=is_tensor,
        period=period,
        name="raster",
        is_lipschitz=flat,
        pixels=grid,
    )
    if is_tensor:
        del sharp.conductivity.pixels  # as of other tensors: who asks takes them for numbers
    if smoothing is None:
        return known_within(sharp, grid.box, True)
    field = _smooth(grid, smoothing)
    known = {"period": period, "name": "smooth raster", "is_lipschitz": True, "unsmoothed": sharp}
    smooth = make_medium(field, d, low, high, is_tensor=is_tensor, **known)
    return known_within(smooth, grid.box, True)


def _tensors(pixels: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Tensors (n₁, n₂, 2, 2), symmetric to the last bit, with their extreme eigenvalues; refuses what is no conductivity."""
    flat = pixels.reshape(-1, 2, 2)
    even = (flat + flat.mT) / 2
    values = np.linalg.eigvalsh(even)
    skew = np.abs(flat[:, 0, 1] - flat[:, 1, 0]) > 1e-6 * np.abs(flat).max(axis=(1, 2))
    bad = skew | (values[:, 0] <= 4 * np.finfo(float).eps * values[:, 1])
    if bad.any():
        where = [int(i) for i in np.unravel_index(int(bad.argmax()), pixels.shape[:2])]
        remedy = "pass the symmetric part, (K + Kᵀ)/2" if skew[bad.argmax()] else "the equation is elliptic only for K > 0"
        raise InputError(f"image{where}", "a symmetric positive definite tensor", flat[bad.argmax()].tolist(), remedy)
    return even.reshape(pixels.shape), float(values.min()), float(values.max())


def _smooth(grid: Pixels, smoothing):
    """The field of pixels with a named smoothing: weights ≥ 0 with sum 1 on the pixels around a point."""
    degree = SPLINES.get(smoothing) if isinstance(smoothing, str) else 1
    shortest = grid.sizes.min()
    if degree is None:
        raise InputError("smoothing", 'None, "linear", "cubic" or a width', repr(smoothing), "choose one of these")
    width = None
    if not isinstance(smoothing, str):
        width = positive("smoothing", smoothing, "pass None for sharp pixels")
        if width > shortest * (1.0 + 1e-12):
            raise InputError("smoothing", f"a width ≤ a pixel's side {shortest:g}", f"{width:g}", "reduce it")
    offsets = np.arange(2) if degree == 1 else np.arange(-1, 3)

    def conductivity(x):
        s = (x - jnp.asarray(grid.lower, x.dtype)) / jnp.asarray(grid.sizes, x.dtype) - 0.5  # 0 at the first centre
        cell = jnp.floor(s)
        indices = []
        for axis, n in enumerate(grid.shape):
            index = cell[axis].astype(jnp.int32) + jnp.asarray(offsets, jnp.int32)  # (degree + 1,)
            indices.append(jnp.mod(index, n) if grid.periodic else jnp.clip(index, 0, n - 1))
        block = jnp.asarray(grid.values, x.dtype)[jnp.ix_(*indices)]  # (degree + 1,)^d
        for axis, h in enumerate(grid.sizes):  # contract the first axis left
            r = s[axis] - cell[axis]
            if width is not None:
                r = quintic_step((r - 0.5) * (float(h) / width) + 0.5)
            block = jnp.tensordot(_bspline(r, degree), block, axes=1, precision="highest")
        return block

    return conductivity


def _bspline(r, degree):
    """Weights (degree + 1,) of the uniform B-splines that are nonzero at fraction r of a cell."""
    if degree == 1:
        return jnp.stack([1.0 - r, r])
    q = 1.0 - r
    return jnp.stack([q**3, 4.0 - 3.0 * r**2 * (2.0 - r), 4.0 - 3.0 * q**2 * (2.0 - q), r**3]) / 6.0


def _frequencies(key, modes, d, length, period) -> np.ndarray:
    """(modes, d) float64 wave vectors of the Gaussian spectrum, on the lattice of a given ``period``."""
    if period is None:
        return np.asarray(jax.random.normal(key, (modes, d), jnp.float32), np.float64) / length
    spread = period / (2.0 * math.pi * length)  # standard deviation of the integer wave numbers
    reach = math.ceil(5.0 * spread) + 1
    if reach > 1000:
        raise InputError(
            "length", f"at least period/1250 = {period / 1250.0:g}", f"{length:g}", "shorten the period"
        )
    axis = np.arange(-reach, reach + 1)
    lattice = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    lattice = lattice[np.any(lattice != 0, axis=1)]
    squares = np.sum(lattice**2, axis=1)
    weights = np.cumsum(np.exp(-(squares - 1) / (2.0 * spread**2)))
    u = np.asarray(jax.random.uniform(key, (modes,), jnp.float32), np.float64) * weights[-1]
    picked = np.minimum(np.searchsorted(weights, u, side="right"), len(lattice) - 1)
    return 2.0 * math.pi / period * lattice[picked]


def _rescale(pixels, alpha, beta) -> np.ndarray:
    if alpha is None and beta is None:
        return pixels
    if alpha is None or beta is None:
        raise InputError(
            "alpha and beta", "both or none", f"alpha = {alpha}, beta = {beta}", "pass the other too"
        )
    alpha, beta = ordered_bounds(alpha, beta)
    low, high = pixels.min(), pixels.max()
    if low == high:
        raise InputError(
            "image",
            "two different values to map onto [alpha, beta]",
            f"{low:g} everywhere",
            "use constant(…)",
        )
    return np.clip(alpha + (beta - alpha) * ((pixels - low) / (high - low)), alpha, beta)
