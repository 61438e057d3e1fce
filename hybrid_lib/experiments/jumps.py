r"""Conductivities that jump: where they do, who cannot use them, and what smoothing an image changes.

The strong residual −∇·(K∇u) − q contains ∇K. Across a jump of K that is no function: a training that samples it at points
sees nothing of the jump and ends, content, at the solution of another problem. A formulation without ∇K keeps its meaning:
finite elements, and the first-order system of u and its flux. The couplings of the hybrid method do not help, they are added
to the strong residual. The source q has only to be square integrable, and nobody looks for jumps in it.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array, rounded, whole
from hybrid_lib.experiments.breaks import Values, along_lines, find_break, inside
from hybrid_lib.media import Medium
from hybrid_lib.methods.lifting import lifting
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.problems import Problem, is_number
from hybrid_lib.units import units

GRADING = 3
"""Power of the grading of meshes towards the edges of pixels."""
ENERGY_ORDER = 4
"""Order of the rule for means of a smoothed field over a cell."""


class Jump(NamedTuple):
    """A jump of K: the point (d,), and K on the two sides of it, numbers or (d, d) arrays."""

    point: tuple[float, ...]
    below: Any
    above: Any


def find_jump(medium: Medium, domain: Domain) -> Jump | None:
    r"""The largest jump of K that lines through the domain meet, relative to K; None where there is none.

    Two points a, b, one after the other on a line, are suspicious if the secant misses what the derivative that the strong
    form would use predicts, `|K(b) − K(a) − (b − a)(K'(a) + K'(b))/2| > LEAST |K|/2`: automatic differentiation does not see
    `jnp.where`, `jnp.floor`, `jnp.round` or a comparison; what is then done, :mod:`.breaks` says.

    Parameters
    ----------
    medium : Medium
    domain : Domain

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.pinn.domains import interval
    >>> jump = find_jump(media.from_function(lambda x: jnp.where(x[0] < 0.3, 1.0, 4.0), 1), interval())
    >>> round(jump.point[0], 9), float(jump.below), float(jump.above)
    (0.3, 1.0, 4.0)
    """
    found = find_break(_values(medium), domain, medium.period)
    if found is None:
        return None
    shape = (medium.dimension,) * 2 if medium.is_tensor else ()
    return Jump(found.point, found.below.reshape(shape), found.above.reshape(shape))


@functools.lru_cache(maxsize=16)
def _values(medium: Medium) -> Values:
    """K and its derivative along a line, as the strong form would have it."""
    d = medium.dimension

    @jax.jit  # compiled for one block of points; operation by operation takes ten times as long
    def at(z: jax.Array) -> jax.Array:  # (2d,): a point and the direction of its line
        x, v = z[:d], z[d:]
        if medium.is_tensor:
            K, slope = jax.jvp(medium.conductivity, (x,), (v,))
        else:
            K = medium.conductivity(x)
            slope = jnp.zeros_like(K) if medium.is_lipschitz is False else medium.divergence(x) @ v
        return jnp.nan_to_num(jnp.stack([K.reshape(-1), slope.reshape(-1)]))

    return along_lines(at)


def require_no_jumps(problem: Problem) -> None:
    """What every door of the strong form asks; a medium's own word (`Medium.is_lipschitz`) first, else :func:`find_jump`.

    Raises
    ------
    InputError
        With the place of a jump and what can be done; or for a derivative that is not that of K.
    """
    medium = problem.medium
    if medium.is_lipschitz:
        return
    found = _jump(medium, problem.domain)
    if found is None and medium.is_lipschitz is None:
        return _require_derivative(medium, problem.domain)
    received = f"{medium.name!r}, which jumps"
    if found is not None:
        below, above = (rounded(k, 3) if np.ndim(k) == 0 else np.round(k, 6).tolist() for k in found[1:])
        place = ", ".join(f"{x:.6g}" for x in found.point)
        received += f" from {below} to {above} at x = ({place}{',' * (len(found.point) == 1)})"
    raise InputError(
        "medium",
        "a conductivity without jumps, as the strong form contains ∇K and every coupling is added to it",
        received,
        "use finite elements (experiments.element_cost, fine_solution), smooth it by name (smooth=, smoothing=), train with "
        "own_configuration(…, formulation='first-order'), or say is_lipschitz=True if there is none",
    )


def warn_of_layers(problem: Problem, points: int) -> None:
    """Warn of a rise of K by a tenth that is hidden between `points` of training: K' is then small at all of them."""
    medium, domain = problem.medium, problem.domain
    if medium.is_lipschitz is not None:
        return
    apart = (domain.measure / points) ** (1 / domain.dimension)
    found = find_break(_values(medium), domain, medium.period, least=0.1, shortest=apart / 4)
    if found is not None:
        below, above = (rounded(np.linalg.norm(k), 3) for k in (found.below, found.above))
        place = ", ".join(f"{x:.4g}" for x in found.point)
        warnings.warn(
            f"medium: {medium.name!r} goes from {below} to {above} within {apart / 4:.2g} at x = ({place}), where points "
            f"of training are {apart:.2g} apart: the strong form may not see it; take more of them (sampling.points), or "
            "own_configuration(…, formulation='first-order')", stacklevel=3,
        )  # fmt: skip


def require_continuous(problem: Problem) -> None:
    """Refuse given temperatures that jump: no field of finite energy has them, and trial fields would jump unseen.

    Raises
    ------
    InputError
        Named ``boundary``, with a place of the jump inside the domain, where trial fields are built from the temperatures.
    """
    given = [one[1] for one in problem.conditions().values() if one[0] == "value"] if problem.boundary is not None else []
    if problem.domain.dimension == 1 or not any(map(callable, given)):
        return
    d, base = problem.domain.dimension, lifting(problem).base

    @jax.jit
    def at(z: jax.Array) -> jax.Array:
        value, slope = jax.jvp(base, (z[:d],), (z[d:],))
        return jnp.nan_to_num(jnp.stack([value, slope]))[:, None]

    found = find_break(along_lines(at), problem.domain, size=units(problem).field)
    if found is not None:
        place = ", ".join(f"{x:.6g}" for x in found.point)
        received = f"a jump from {rounded(found.below[0], 3)} to {rounded(found.above[0], 3)} on the line through x = ({place})"
        remedy = "make it steep instead, or solve it by elements, hybrid_lib.solve"
        raise InputError("boundary", "temperatures without jumps, as fields of finite energy have", received, remedy)


@functools.lru_cache(maxsize=16)
def _require_derivative(medium: Medium, domain: Domain) -> None:
    """Refuse a scalar K whose given gradient, or a `stop_gradient` in it, contradicts difference quotients at most points."""
    if medium.is_tensor:
        return
    d, (lower, upper) = medium.dimension, (np.array(c) for c in domain.box)
    x = lower + (upper - lower) * np.mod(0.5 + np.arange(1, 513)[:, None] * 1.3247179572447460 ** -np.arange(1.0, d + 1), 1)
    x = x[inside(domain, x)]
    step = 1e-6

    @jax.jit
    def at(p: jax.Array) -> jax.Array:
        ends = p[None] + step * jnp.concatenate([jnp.eye(d), -jnp.eye(d), jnp.zeros((1, d))])  # (2d + 1, d)
        return jnp.concatenate([jax.vmap(medium.conductivity)(ends), jnp.nan_to_num(medium.divergence(p))])

    found = fem.evaluate(at, x)
    K, given = found[:, 2 * d], found[:, 2 * d + 1 :]
    quotient = (found[:, :d] - found[:, d : 2 * d]) / (2 * step)  # (points, d)
    size = np.maximum(np.linalg.norm(quotient, axis=1), np.linalg.norm(given, axis=1))
    slopes = size > 1e-3 * K
    wrong = slopes & (np.linalg.norm(quotient - given, axis=1) > 0.2 * size)
    if wrong.sum() > slopes.sum() / 2:
        k = int(np.argmax(wrong))
        raise InputError(
            "divergence of the medium", f"the gradient of K, {quotient[k].round(6).tolist()} at x = {x[k].round(6).tolist()}",
            given[k].round(6).tolist(), "correct gradient=, or leave it out; remove stop_gradient and custom derivatives",
        )  # fmt: skip


@functools.lru_cache(maxsize=16)
def _jump(medium: Medium, domain: Domain) -> Jump | None:
    """A jump in the domain: from the pixels, where the medium has some, else searched for."""
    if medium.pixels is not None and not medium.is_tensor:
        lower, upper = (np.array(c) for c in domain.box)
        for axis, jumps in enumerate(medium.pixels.jumps(float(lower.min()), float(upper.max()))):
            for x in jumps:
                line = lower + (upper - lower) * (np.arange(401)[:, None] + 0.5) / 401
                line[:, axis] = x
                shift = 0.5 * medium.pixels.sizes[axis] * np.eye(len(lower))[axis]
                below, above = (fem.evaluate(medium.conductivity, line + s * shift) for s in (-1, 1))
                met = inside(domain, line - shift) & inside(domain, line + shift) & (below != above)
                if np.any(met):
                    k = int(np.argmax(met))
                    return Jump(tuple(line[k].tolist()), below[k], above[k])
    return find_jump(medium, domain)


class MeanFlux(NamedTuple):
    r"""Bounds of the mean flux `K̂ = |Ω|⁻¹ ∫ e·K∇w / |e|²` of the field w without source and with boundary values e·x."""

    lower: float
    upper: float


def mean_flux(
    medium: Medium, direction: tuple[float, ...] | None = None, tolerance: float = 0.02, most_unknowns: int = 70_000
) -> MeanFlux:
    r"""Two-sided bounds of the mean flux through the unit cube under a linear drop, by two energies.

    .. math:: 2\int e\cdot\sigma - \int \sigma\cdot K^{-1}\sigma \le |e|^2 \hat K \le \int (e + \nabla v)\cdot K(e + \nabla v)

    for all v that vanish on the boundary and all σ without divergence: linear elements for v and, in the plane, for the
    stream function of σ, on finer and finer meshes until the bounds are within the tolerance. For pixels the integrals are
    exact, the bounds rigorous, and the meshes graded to their edges, where the gradient is singular; for other media all is up to
    quadrature.

    Parameters
    ----------
    medium : Medium
    direction : d numbers, optional
        e; the first axis by default.
    tolerance : float
        Wanted distance of the bounds, relative to the upper one.
    most_unknowns : int
        No mesh has more nodes; the bounds may then be further apart.

    Raises
    ------
    InputError
        For options that cannot be used, and where so many nodes do not resolve the period of a medium that has no pixels.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> lower, upper = mean_flux(media.raster([1.0, 3.0]))  # the harmonic mean
    >>> round(lower, 12), round(upper, 12)
    (1.5, 1.5)
    """
    d = medium.dimension
    e = np.eye(d)[0] if direction is None else real_array("direction", direction)
    if e.shape != (d,) or not np.isfinite(e).all() or not e.any():
        raise InputError("direction", f"{d} finite numbers, not all zero", direction, "one number an axis")
    if not (is_number(tolerance) and tolerance >= 0):
        raise InputError("tolerance", "a number >= 0", repr(tolerance), "0.02 stands for two per cent")
    most, level, found = int(whole("most_unknowns", most_unknowns, 2**d, "70,000 is usual") ** (1 / d)), 1, None
    while True:
        axis = _axis(medium, level)
        if len(axis) > most:
            if found is not None:
                return found
            if medium.pixels is None:  # the rule would not see a period
                received = f"{most_unknowns}, for {len(axis) ** d:,} on the first mesh"
                raise InputError("most_unknowns", "enough for the period of a medium without pixels", received, "raise it")
            axis = np.linspace(0, 1, most)  # not the edges of the pixels, but the exact means
        found = _energies(medium, e, axis)
        if found.upper - found.lower <= tolerance * found.upper:
            return found
        level += 1


def _axis(medium: Medium, level: int) -> np.ndarray:
    """Nodes along each axis: uniform, or from jump to jump, in the plane graded towards them."""
    if medium.pixels is None:
        grid = None if medium.unsmoothed is None else medium.unsmoothed.pixels
        feature = float(np.min(grid.sizes)) if grid is not None else medium.period or 1 / 16
        cells = math.ceil({1: 16, 2: 2}[medium.dimension] / feature - 1e-9)
        return np.linspace(0, 1, cells * 2 ** (level - 1) + 1)
    edges = np.unique(np.concatenate([[0.0, 1.0], *medium.pixels.jumps(0.0, 1.0)]))
    half = 0.5 * (np.arange(level + 1) / level) ** GRADING
    fractions = np.concatenate([half, 1 - half[-2:0:-1]]) if medium.dimension == 2 else np.zeros(1)
    return np.append((edges[:-1, None] + np.diff(edges)[:, None] * fractions).ravel(), 1.0)


def _energies(medium: Medium, e: np.ndarray, axis: np.ndarray) -> MeanFlux:
    """The bounds on the tensor mesh with these nodes along each axis."""
    n = len(axis) - 1
    mesh = fem.unit_square(n) if len(e) == 2 else fem.interval(n)
    mesh = fem.from_simplices(axis[np.rint(mesh.points * n).astype(int)], mesh.cells)
    K = fem.cell_coefficient(mesh, medium.conductivity, ENERGY_ORDER)
    push = fem.flux_load(mesh, K, e)
    v = fem.solve_dirichlet(fem.stiffness(mesh, K), -push, mesh.boundary_nodes)
    upper = np.einsum("m,a,mab,b->", mesh.volumes, e, K, e) + push @ v
    inverse = medium.pixels.reciprocal() if medium.pixels is not None and not medium.is_tensor else _turned_inverse(medium)
    flow = fem.cell_coefficient(mesh, inverse, ENERGY_ORDER)
    if len(e) == 1:
        return MeanFlux(1 / float(mesh.volumes @ flow[:, 0, 0]), float(upper / (e @ e)))
    curl = fem.flux_load(mesh, 1.0, np.array([-e[1], e[0]]))
    stream = fem.solve_dirichlet(fem.stiffness(mesh, flow), curl, np.array([0]))
    return MeanFlux(float(curl @ stream / (e @ e)), float(upper / (e @ e)))


def _turned_inverse(medium: Medium):
    """x -> K⁻¹ for fluxes that are turned gradients: 1/K of a scalar, K/det K of a tensor in the plane."""
    K = medium.conductivity
    return (lambda x: K(x) / jnp.linalg.det(K(x))) if medium.is_tensor else (lambda x: 1 / K(x))


class SmoothingChange(NamedTuple):
    """What smoothing an image did to its mean flux under a linear drop.

    Attributes
    ----------
    pixels, smoothed : float
        Mean flux of the pixels and of the smoothed field, geometric means of two-sided bounds.
    change : float
        smoothed/pixels − 1.
    error : float
        The change is within this of the truth.
    """

    pixels: float
    smoothed: float
    change: float
    error: float


def smoothing_change(medium: Medium, direction: tuple[float, ...] | None = None, **options: Any) -> SmoothingChange:
    """Compare the mean flux of a smoothed image with that of its exact pixels; the summary of a run holds the same.

    Parameters
    ----------
    medium : Medium
        From ``media.raster(…, smoothing=…)``.
    direction, options
        As in :func:`mean_flux`.

    Raises
    ------
    InputError
        For a medium that is no smoothed image.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> smooth = smoothing_change(media.raster([1.0, 3.0], smoothing="linear"))  # now 1/(1/3 + (ln 3)/4)
    >>> round(smooth.pixels, 6), round(smooth.smoothed, 3), round(smooth.change, 3)
    (1.5, 1.645, 0.097)
    """
    if not isinstance(medium, Medium) or medium.unsmoothed is None:
        received = f"{medium.name!r}" if isinstance(medium, Medium) else type(medium).__name__
        raise InputError("medium", "a smoothed image", received, "make one with media.raster(…, smoothing=…)")
    (low, high), (least, most) = (mean_flux(m, direction, **options) for m in (medium.unsmoothed, medium))
    pixels, smoothed = math.sqrt(low * high), math.sqrt(least * most)  # symmetric in K and 1/K, as the bounds are
    change = smoothed / pixels - 1
    error = max(most / low - 1 - change, change - (least / high - 1))
    return SmoothingChange(pixels, smoothed, change, error)
