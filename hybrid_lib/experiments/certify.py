r"""A guaranteed bound of the energy error of any field: a trained network, finite elements, a formula.

For every v that vanishes on ∂Ω and every flux τ with ∇·τ + q = 0 the hypercircle of Prager and Synge (1947) says

.. math:: \|K^{1/2}\nabla(v - u)\|^2 + \|K^{-1/2}(\tau - \sigma)\|^2 = \|K^{-1/2}(\tau - K(\nabla v + e))\|^2 = J(v, \tau).

So √J(v, τ) is never below the error, whatever K and v are; and with a second field w, J(v, τ) − J(w, τ) is never above its
square. Here τ comes from quadratic elements for its stream function (:mod:`hybrid_lib.fem.fluxes`) and w from quadratic elements
for u, on meshes that are halved until the two sides meet. The part of q that varies within cells enters both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, rounded, whole
from hybrid_lib.experiments.certificate import ROUNDING, SHARP, Certificate, along, energy_of, least, sampled
from hybrid_lib.experiments.certify_sides import certified_sides
from hybrid_lib.experiments.fitted import fitting
from hybrid_lib.experiments.galerkin import SAFETY
from hybrid_lib.experiments.nodal import Nodal, covering, nodal
from hybrid_lib.experiments.pointwise import field_of
from hybrid_lib.experiments.price import period, pixel
from hybrid_lib.fem import bounds, fluxes, quadratic
from hybrid_lib.problems import Problem, is_number, is_plain, poincare_constant
from hybrid_lib.units import units

TOLERANCE = {1: 1e-7, 2: 1e-3}
"""Relative bound, by dimension, at which a field without a lower bound is not looked at on finer meshes."""


def certify(
    problem: Problem,
    field: Any,
    gradient: Callable | None = None,
    *,
    mesh: fem.Mesh | None = None,
    cells: int | None = None,
    most_unknowns: int = 500_000,
    tolerance: float | None = None,
) -> Certificate:
    """Bound the energy error of a field that vanishes on the boundary, or has the given temperatures, guaranteed.

    Parameters
    ----------
    problem : Problem
        On any domain; with conditions on its sides the field is w.
    field : RunResult, Reference, callable or (n,) array
        u: a run (its first seed; for others pass ``lambda x: result.solution(x, 1)``); a reference; a function of points (k, d)
        -> (k,), or -> (k,) and gradients (k, d), as that; a function of one point (d,) -> (); or values at the nodes of linear
        elements, on any domain and with any conditions, in the order of ``mesh.points``. On grids of the square and of a box that
        is x first, j(n₁ + 1) + i for (x_i, y_j); values (n₁ + 1, n₂ + 1) are taken as [i, j], [along x, along y]. The field has
        to be continuous.
    gradient : callable, optional
        ∇u, points (k, d) -> (k, d), or one point (d,) -> (d,) beside a function of one point. By differentiation without it.
    mesh : fem.Mesh, optional
        Of the linear elements, which covers the domain; by default the uniform one with as many nodes, where there is one
        (intervals, the square, grids of a box). The meshes for the flux are its refinements, of a function too.
    cells : int, optional
        Cells a unit length of the first mesh for the flux; in the plane four a period or pixel, in one dimension 64; 16 at least.
    most_unknowns : int
        Of the flux: no mesh with more is taken, but the first one.
    tolerance : float, optional
        Of a field that is better than the elements beside it, so that `lower` is zero, the bound only falls with the mesh: it is
        refined no further once `relative` is below this; 1e-3 by default, 1e-7 in one dimension.

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        For a field that does not vanish on the boundary, has other values than those given, none, or no gradient that can be
        found, and for a mesh that does not cover the domain.

    Notes
    -----
    The rules have half a million points in the plane and more, 65,000 in one dimension: a field with features between all of
    them needs a formula, or more `cells`. The price is that of the meshes: seconds in the plane. Under the second rule the means
    over cells of q are others than those that the flux balances, by r: 2 C_P ‖r‖/√α is added, with the constant of Poincaré. With
    conditions on sides it is not known: the second rule has a flux of its own, and what sources and fluxes drift by is added.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.experiments import own_problem
    >>> problem = own_problem(media.constant(1.0, 1), 2.0)  # u = x(1 − x)
    >>> found = certify(problem, lambda x: 1.5 * x[0] * (1 - x[0]))
    >>> round(found.bound, 6), round(found.lower, 6)  # half of ‖u'‖ = 3^{-1/2}
    (0.288675, 0.288675)
    """
    if not isinstance(problem, Problem):
        raise InputError("problem", "a Problem", type(problem).__name__, "see experiments.own_problem; of a run setup.problem")
    if hasattr(field, "proof"):
        raise InputError("field", "a run, a function or values at nodes", "what solve returns", "its bound is there already")
    whole("most_unknowns", most_unknowns, 1, "pass the largest number of unknowns of the flux")
    if tolerance is not None and not (is_number(tolerance) and tolerance > 0):
        raise InputError("tolerance", "a number > 0", repr(tolerance), "0.01 is one per cent of the energy norm")
    enough = TOLERANCE[problem.domain.dimension] if tolerance is None else float(tolerance)
    known = nodal(problem.domain, field, mesh)
    if known is not None and mesh is None and fitting(problem, searched=True)(known.mesh) is not known.mesh:
        expected, remedy = "the mesh of the values where K jumps between the nodes of a uniform one", "pass mesh="
        raise InputError("mesh", expected, "none", f"{remedy}, of what hl.solve returns found.mesh")
    if known is None:
        at = field_of(problem, field, gradient)
        levels = _uniform(problem, cells) if mesh is None else _halved(covering(problem.domain, mesh))
    else:
        at, levels = known, _halved(known.mesh)
    if not is_plain(problem):
        return certified_sides(problem, at, levels, most_unknowns, enough)
    if known is None:
        slopes: Callable = lambda level, points: at(points.reshape(-1, points.shape[-1]))[1].reshape(points.shape)  # noqa: E731
        _require_zero(at, next(_uniform(problem, cells)))
    else:
        _require_zero_at_nodes(known)
        edge, zero = known.mesh.boundary_nodes, known.values.copy()
        zero[edge] = 0.0  # another field, which is as near as rounding: for float32 not for nothing
        off = energy_of(known.mesh, problem.medium.conductivity, edge, known.values[edge])
        steps = fem.cell_gradients(known.mesh, zero)
        slopes = lambda level, points: np.repeat(steps, 2 ** (level * known.mesh.dimension), axis=0)[:, None]  # noqa: E731
        size = energy_of(known.mesh, problem.medium.conductivity, np.arange(len(zero)), zero)
        steepness = math.sqrt(problem.medium.alpha * (known.mesh.volumes @ np.sum(steps**2, axis=1)))
        return _widened(_certified(problem, levels, slopes, most_unknowns, enough), off, size, steepness)
    return _certified(problem, levels, slopes, most_unknowns, enough)


def _widened(found: Certificate, off: float, size: float, steepness: float) -> Certificate:
    """The certificate of a field whose distance in energy to the certified one is `off`; of that `size` and √α‖∇v‖."""
    if not off > 0:
        return found
    bound, lower = found.bound + off, max(found.lower - off, 0.0)
    relative, gradient = (bound / one if one > 0 else math.inf for one in (size, steepness))
    return found._replace(bound=bound, lower=lower, relative=relative, gradient=gradient)


def _certified(problem: Problem, levels: Iterator[fem.Mesh], slopes: Callable, most: int, enough: float) -> Certificate:
    """The loop over meshes with the first rule, which balances the flux, and the second rule on the last one."""
    K, q, e, d = problem.medium.conductivity, problem.source, np.asarray(problem.direction), problem.domain.dimension
    mesh, level, nothing = next(levels), 0, 1e-13 * units(problem).energy
    while True:
        data = sampled(mesh, K, q, 0)
        flux = bounds.flux_for(mesh, data, np.broadcast_to(e, (len(mesh.cells), d)), degree=2)
        best, slope = _quadratic(mesh, K, q, e), slopes(level, data.points)
        found = bounds.bound_by(mesh, data, flux, slope, e)
        lower = _lower(found, bounds.bound_by(mesh, data, flux, best(data.points), e))
        done = found.bound <= nothing or (lower == 0 and found.relative <= enough)
        if done or found.bound <= SHARP * lower or 4 * len(best.unknowns) > most:
            break
        mesh, level = next(levels), level + 1
    slope = np.broadcast_to(slope, data.points.shape)
    size = math.sqrt(mesh.volumes @ (np.einsum("mqi,mqi->mq", slope, slope) @ data.weights))
    second = sampled(mesh, K, q, 1)
    alpha, data = least(problem, data, second), second
    constant = SAFETY * poincare_constant(problem.domain) / math.sqrt(alpha)
    other = bounds.bound_by(mesh, data, flux, slopes(level, data.points), e, constant=constant)
    lower = min(lower, _lower(other, bounds.bound_by(mesh, data, flux, best(data.points), e, constant=constant)))
    difference = abs(found.bound - other.bound) / max(found.bound, other.bound, np.finfo(float).tiny)
    proof = max(found, other, key=lambda one: one.bound)
    strips = bounds.unseen(mesh, K, data)
    if strips is not None:
        own, others = (strips.gained(flux, mesh, at(strips.points) + e) for at in (lambda x: slopes(level, x), best))
        own, others = strips.on_cells(own), strips.on_cells(others)
        extra, taken = np.maximum(own, 0), np.maximum(others, 0).sum() + np.maximum(-own, 0).sum()
        more = bounds.bound_by(mesh, data, flux, slopes(level, data.points), e, constant=constant, extra=extra)
        proof, lower = max(proof, more, key=lambda one: one.bound), math.sqrt(max(lower**2 - taken, 0.0))
    steep = proof.bound / (math.sqrt(alpha) * size) if size > 0 else math.inf
    relative, steep = (0.0, 0.0) if proof.bound <= nothing else (proof.relative, steep)
    return Certificate(proof.bound, lower, relative, steep, proof.oscillation, difference, mesh, flux)


class _quadratic:  # noqa: N801, a function with its number of unknowns
    """Gradient of quadratic elements for u at points (m, Q, d) of the cells."""

    def __init__(self, mesh: fem.Mesh, K: Callable, q: Callable, e: np.ndarray):
        V, nodal = quadratic.solve(mesh, K, q, direction=e, tol=fluxes.TOLERANCE)
        self.unknowns, self.centre = V.points, mesh.points[mesh.cells].mean(axis=1)
        self.slope, self.bend = quadratic.gradients(V, nodal)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.slope[:, None] + (points - self.centre[:, None]) @ self.bend


def _lower(field: fem.EnergyBound, best: fem.EnergyBound) -> float:
    """A lower bound of the error: J(v, τ) − J(w, τ), less what the oscillation of the source may change."""
    square = field.gap**2 - 2 * field.oscillation * field.bound - best.gap**2 - best.oscillation**2
    return math.sqrt(max(square, 0.0))


def _uniform(problem: Problem, cells: int | None) -> Iterator[fem.Mesh]:
    """Uniform meshes of the domain, each with four times the cells of the one before; lines on edges of pixels and jumps."""
    if cells is not None:
        whole("cells", cells, 1, "pass the cells a unit length of the first mesh")
    medium = problem.medium
    line, unit = problem.domain.dimension == 1, problem.domain.unit
    length = (period(problem) or pixel(problem) or unit) / unit
    cells = cells or max(16, min(math.ceil((64 if line else 4) / length - 1e-9), 8192 if line else 128))
    cells = cells if medium.pixels is None else medium.pixels.cells(cells, problem.domain.box, unit)
    fit = fitting(problem)
    while True:
        yield fit(problem.domain.mesh(cells))
        cells *= 4 if line else 2


def _halved(mesh: fem.Mesh) -> Iterator[fem.Mesh]:
    """The mesh and its refinements."""
    while True:
        yield mesh
        mesh = fem.refine(mesh)


def _require_zero(at: Any, mesh: fem.Mesh) -> None:
    """Refuse a field that is not zero at points of the boundary."""
    edge = along(mesh)
    inside = np.abs(at(mesh.points[mesh.cells].mean(axis=1))[0]).max()
    value = np.abs(at(edge)[0])
    worst = int(np.argmax(value))
    if value[worst] > ROUNDING * at.eps * inside:
        raise _not_zero(edge[worst], value[worst])


def _require_zero_at_nodes(known: Nodal) -> None:
    """The same for linear elements."""
    mesh, nodes = known.mesh, known.mesh.boundary_nodes
    value = np.abs(known.values[nodes])
    worst = int(np.argmax(value))
    if not value[worst] <= ROUNDING * known.eps * np.abs(known.values).max():
        raise _not_zero(mesh.points[nodes[worst]], value[worst])


def _not_zero(x: np.ndarray, value: float) -> InputError:
    """What to say of a field with other values on the boundary."""
    remedy = "pass u = w − e·x, not w; train with boundary=hard"
    return InputError("field", "zero on the boundary", f"{rounded(value)} at {x.round(6).tolist()}", remedy)
