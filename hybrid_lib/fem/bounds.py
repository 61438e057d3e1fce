r"""A guaranteed bound of the energy error of any conforming field, by a second field: a flux that balances the source.

For u with −∇·(K(∇u + e)) = f and every v with the boundary values of u, every τ with ∇·τ = −Π₀f (means over cells),

.. math:: \|K^{1/2}\nabla(v - u)\|_\Omega^2 \le \sum_T \Big(\|K^{-1/2}(\tau - K(\nabla v + e))\|_T
          + \frac{h_T}{\pi\sqrt{\alpha_T}}\|f - \Pi_0 f\|_T\Big)^2,

by Prager and Synge (1947) and the inequality of Payne and Weinberger on each cell. Where f is constant on cells the right side is
J = ‖K^{1/2}∇(v − u)‖² + ‖K^{−1/2}(τ − σ)‖², and the mean flux (τ + K(∇v + e))/2 is off by exactly √J/2. Nothing is assumed of K
but ellipticity: jumps, contrast and periods are all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.fem.assembly import cell_gradients, flux_load, load, stiffness
from hybrid_lib.fem.coefficients import check_elliptic, coefficient_values, direction_of
from hybrid_lib.fem.fluxes import (
    Flux,
    Rule,
    balanced_flux,
    eigenvalues,
    insulated_facets,
    means,
    nodes_held,
    times,
)
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import composite_rule, evaluate, field_values
from hybrid_lib.fem.slivers import Slivers, slivers
from hybrid_lib.fem.solve import solve_dirichlet

PROBES = {1: 1 << 16, 2: 1 << 19}
"""Points, at least, at which a function is looked at, by dimension."""
ORDER = 2
"""Order of the rule on each piece of a cell."""


class EnergyBound(NamedTuple):
    """A bound of ‖K^{1/2}∇(v − u)‖ and its parts.

    Attributes
    ----------
    bound : float
        Never below the error, up to the quadrature of K, f and v.
    relative : float
        `bound` over ‖K^{1/2}∇v‖.
    oscillation : float
        The part of the source that varies within cells.
    flux : Flux
        The flux that proves it.
    gap : float
        √J. Without oscillation it is `bound`, and twice the error of the mean flux.
    cells : (m,) float64
        The parts of the cells, of the sum of squares.
    size : float
        ‖K^{1/2}∇v‖.
    """

    bound: float
    relative: float
    oscillation: float
    flux: Flux
    gap: float
    cells: np.ndarray | None = None
    size: float = 0.0


class Rest(NamedTuple):
    """What conditions on sides add to a bound: on cells (m,), of an exchange, and of given values between nodes."""

    cells: np.ndarray
    exchange: float = 0.0
    values: float = 0.0


class Certified(NamedTuple):
    """Linear elements with their proof, from :func:`certified_solve`.

    Attributes
    ----------
    nodal : (n,) float64
        u_h.
    proof : EnergyBound
    """

    nodal: np.ndarray
    proof: EnergyBound


class Sampled(NamedTuple):
    """K, K⁻¹ and f at the points of a composite rule; (m or 1, Q or 1), tensors with (d, d) after it."""

    barycentric: np.ndarray
    weights: np.ndarray
    points: np.ndarray
    K: np.ndarray
    inverse: np.ndarray
    f: np.ndarray


def certified_solve(
    mesh: Mesh,
    K: Any,
    f: float | np.ndarray | Callable,
    boundary: float | np.ndarray | Callable = 0.0,
    direction: np.ndarray | None = None,
    insulated: Callable | np.ndarray | None = None,
    degree: int = 1,
) -> Certified:
    """Linear elements for −∇·(K(∇u + e)) = f with a guaranteed bound of their energy error, for the price of a second solve.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    f : see :func:`hybrid_lib.fem.assembly.load`
    boundary : float, array at the nodes with given values, or callable x (d,) -> scalar
        Taken as linear between nodes.
    direction, insulated, degree
        As in :func:`energy_bound`.

    Returns
    -------
    Certified

    Raises
    ------
    InputError
        If an argument cannot be used.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> found = certified_solve(interval(2), 1.0, 0.0, boundary=lambda x: 3 * x[0])
    >>> found.nodal.tolist(), round(found.proof.bound, 9)
    ([0.0, 1.5, 3.0], 0.0)
    """
    sides, e = insulated_facets(mesh, insulated), direction_of(mesh, direction)
    held = nodes_held(mesh, sides)
    values = evaluate(boundary, mesh.points[held]) if callable(boundary) else boundary
    rhs = load(mesh, f, 4) - (flux_load(mesh, K, e, 4) if e.any() else 0.0)
    nodal = solve_dirichlet(stiffness(mesh, K, 4), rhs, held, values)
    return Certified(nodal, energy_bound(mesh, K, f, nodal, direction, insulated, degree))


def energy_bound(
    mesh: Mesh,
    K: Any,
    f: float | np.ndarray | Callable,
    nodal: np.ndarray,
    direction: np.ndarray | None = None,
    insulated: Callable | np.ndarray | None = None,
    degree: int = 1,
) -> EnergyBound:
    r"""Guaranteed bound of the energy error of a P1 field: no constant is unknown, and no order of convergence is assumed.

    The flux τ is the best one in the lowest Raviart-Thomas space, τ = σ_p + (∂₂ψ, −∂₁ψ) with a σ_p that balances the means of f
    and ψ from a second P1 solve with K^{−1}; a hole with given values on it takes a solve more.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    f : see :func:`hybrid_lib.fem.assembly.load`
    nodal : (n,) array
        u_h, with the right values on the boundary: those of u, linear on each of its facets. Any field with these will do.
    direction : (d,) array, optional
        e of the lift; none by default.
    insulated : callable x (d,) -> bool or (k, d) int array, optional
        Sides with n·K(∇u + e) = 0 in place of given values: asked at the middle of each facet, or the facets' nodes.
    degree : 1 or 2
        Of the elements for ψ. With 1 the bound of a linear field is 1.3 to 1.6 times its error. With 2 the solve has four times
        the unknowns, and the bound is the error to a few per cent where the flux is smooth, 1.2 to 1.4 times it on pixels.

    Returns
    -------
    EnergyBound

    Raises
    ------
    InputError
        If K, f, nodal, the direction or the sides cannot be used.

    Notes
    -----
    Functions are integrated by a composite rule on each cell, with some 65,000 points in one dimension and half a million in the
    plane, and two or three a cell at least: what they all miss, but slivers at facets, is not in the bound. Exact for K and f
    constant on cells. The cost is that of a solve.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> mesh = interval(4)
    >>> found = energy_bound(mesh, 1.0, 0.0, [0.0, 1.0, 0.0, 0.0, 0.0])
    >>> round(found.bound**2, 9)  # the solution is zero: ∫ u_h'²
    8.0
    """
    slope = cell_gradients(mesh, nodal)
    data = sampled(mesh, K, f)
    total = slope + direction_of(mesh, direction)
    flux = flux_for(mesh, data, total, insulated, degree)
    return bound_by(mesh, data, flux, slope[:, None], direction, extra=gained(unseen(mesh, K, data), mesh, flux, total[:, None]))


def gained(strips: Slivers | None, mesh: Mesh, flux: Flux, slope: np.ndarray) -> np.ndarray | None:
    """What slivers add to the squares of a bound on cells, (m,), with ∇v + e at their points; None for none."""
    return None if strips is None else np.maximum(strips.on_cells(strips.gained(flux, mesh, slope)), 0)


def flux_for(mesh: Mesh, data: Sampled, slope: np.ndarray, insulated: Any = None, degree: int = 1) -> Flux:
    """:func:`.fluxes.balanced_flux` for sampled K and f; slope (m, d) is ∇v + e of a linear field with the boundary values."""
    if degree not in (1, 2):
        raise InputError("degree", "1 or 2", repr(degree), "choose linear or quadratic elements for ψ")
    rule, source = Rule(data.inverse, data.barycentric, data.weights), means(data.f, data.weights, len(mesh.cells))
    return balanced_flux(mesh, rule, source, slope, insulated_facets(mesh, insulated), degree)


def bound_by(
    mesh: Mesh,
    data: Sampled,
    flux: Flux,
    gradient: np.ndarray,
    direction: np.ndarray | None = None,
    more: Rest | None = None,
    constant: float | None = None,
    extra: np.ndarray | None = None,
) -> EnergyBound:
    """The bound that a flux gives for a field with ∇v = gradient, (m, Q or 1, d) at the points of `data`.

    α_T of the oscillation is the least K at the points of the cell: no lower bound on all of it, but right up to quadrature, like
    the integrals, and exact where K is constant on cells. The inequality of Payne and Weinberger takes f − f_T to have no mean.
    Where `data` is not what the flux was made from it has one, r_T by this rule, and `constant` ‖r‖ is added; `constant` is C/√α
    with ‖v − u‖ ≤ C‖∇(v − u)‖. `extra` is added to the squares of the gap on cells.
    """
    weights, volumes = data.weights, mesh.volumes
    slope = np.broadcast_to(gradient + direction_of(mesh, direction), data.points.shape)
    off = flux.at(mesh, data.points) - times(data.K, slope)
    squares = np.einsum("mqi,mqi->mq", off, times(data.inverse, off)) @ weights * volumes  # (m,)
    squares = squares if extra is None else squares + extra
    mean = flux.source if constant is None else means(data.f, weights, len(mesh.cells))
    rest = means((data.f - mean[:, None]) ** 2, weights, len(mesh.cells)) * volumes  # ‖f − Π₀f‖² on T
    drift = (constant or 0.0) * math.sqrt(volumes @ (mean - flux.source) ** 2)
    alpha = eigenvalues(data.K)[..., 0].min(axis=1)  # (m or 1,)
    oscillation = mesh.diameters / np.pi * np.sqrt(rest / alpha)
    parts = np.sqrt(squares) + oscillation if more is None else np.sqrt(squares) + oscillation + more.cells
    bound = float(np.linalg.norm(parts))
    if more is not None:
        bound, oscillation = math.hypot(bound, more.exchange) + more.values, oscillation + more.cells
    bound = bound + drift
    gradient = np.broadcast_to(gradient, data.points.shape)
    size = float(np.sqrt(volumes @ (np.einsum("mqi,mqi->mq", gradient, times(data.K, gradient)) @ weights)))
    relative = bound / size if size > 0 else 0.0 if bound == 0 else np.inf
    gap, within = float(np.sqrt(squares.sum())), float(np.linalg.norm(oscillation)) + drift
    return EnergyBound(bound, relative, within, flux, gap, parts, size)


def unseen(mesh: Mesh, K: Any, sample: Sampled) -> Slivers | None:
    """Slivers of K between a facet and the points of a rule; None where K is constant on cells, or there are none."""
    return slivers(mesh, K, sample.barycentric, sample.weights) if callable(K) and sample.K.shape[1] > 1 else None


def sampled(mesh: Mesh, K: Any, f: Any, least: int | None = None, order: int = ORDER) -> Sampled:
    """K and f at the points of a composite rule, checked; `least` points in all, or one piece a cell where nothing varies.

    A callable K with an attribute ``cell_values``, corners (m, d + 1, d) -> values on the cells, or None where it varies on one,
    is asked for these first: media of pixels and of materials have them.
    """
    d = mesh.dimension
    if (known := getattr(K, "cell_values", lambda corners: None)(mesh.points[mesh.cells])) is not None:
        K = known
    per_cell = len(mesh.cells) * len(composite_rule(d, 1, order)[1])
    least = (PROBES[d] if callable(K) or callable(f) else 0) if least is None else least
    pieces = max(1, int(np.ceil((least / per_cell) ** (1 / d))))
    barycentric, weights = composite_rule(d, pieces, order)
    points = barycentric @ mesh.points[mesh.cells]  # (m, Q, d)
    K_values, f_values = coefficient_values(mesh, K, order), field_values(mesh, f, 1, name="source f")  # checks the shapes
    if callable(K):
        K_values = evaluate(K, points, "conductivity")
        check_elliptic(K_values, "correct the function")
    inverse = 1 / K_values if K_values.ndim == 2 else np.linalg.inv(K_values)
    return Sampled(barycentric, weights, points, K_values, inverse, evaluate(f, points, "source f") if callable(f) else f_values)


