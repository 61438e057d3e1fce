r"""A guaranteed bound of the energy error with conditions on sides: the hypercircle with fluxes and exchange.

For w of :mod:`hybrid_lib.fem.sides`, every v with v = g on Γ_D and every τ with ∇·τ = −f and n·τ = p on Γ_N,

.. math:: \|K^{1/2}\nabla(v - w)\|^2 + \int_{\Gamma_R} c\,(v - w)^2
          \le \|K^{-1/2}(\tau - K\nabla v)\|^2 + \int_{\Gamma_R} \frac{(n\cdot\tau - c(a - v))^2}{c},

and the difference of the two sides is the same of τ − K∇w. Three parts are added for data that elements do not have: the source
within cells (:mod:`hybrid_lib.fem.bounds`), a flux within facets, by the inequality of the trace

.. math:: \|v - \bar v\|_F^2 \le \frac{|F|\,h_T^2}{|T|}\Big(\frac1{\pi^2} + \frac1\pi\Big)\|\nabla v\|_T^2,

and a temperature g that is not linear between nodes, by the energy of one extension of the difference: on the cells at Γ_D it is
linear along each line to the opposite vertex.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.fem.assembly import cell_gradients
from hybrid_lib.fem.bounds import EnergyBound, Rest, Sampled, bound_by, gained, sampled, unseen
from hybrid_lib.fem.contact import Contact, normal_part
from hybrid_lib.fem.fluxes import Flux, Rule, balanced_flux, eigenvalues, means
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.sides import Exchange, Facets, SideData

Field = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Value = Callable[[Facets], np.ndarray]

NOTHING = 1e-13
"""Below this share of the energy of the largest value over a cell the bound of a constant temperature is rounding, and zero."""
ROUNDING = 8 * np.finfo(float).eps
"""Below this share of the largest one a given temperature between nodes is rounding, and linear."""


def sided_bound(
    mesh: Mesh, K: Any, f: Any, nodal: np.ndarray, data: SideData, degree: int = 1, field: Field | None = None,
    sample: Sampled | None = None,
) -> EnergyBound:  # fmt: skip
    """Bound the energy error of linear elements, or of any field, with conditions on sides.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    f : see :func:`hybrid_lib.fem.assembly.load`
    nodal : (n,) array
        Any values with those of `data` at its nodes.
    data : SideData
        Without a clash, and with coefficients above zero.
    degree : 1 or 2
        Of the elements for the stream function of the flux.
    field : callable points (k, d) -> values (k,) and gradients (k, d), optional
        v, with the given values everywhere on Γ_D; `nodal` are its values at the nodes. By default v is linear between them.
    sample : Sampled, optional
        K and f at the points of a rule, from :func:`hybrid_lib.fem.bounds.sampled`.

    Returns
    -------
    EnergyBound
        `relative` is over ‖K^{1/2}∇v‖, without the exchange.

    Raises
    ------
    InputError
        If a coefficient is zero in places, or two temperatures meet.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> from hybrid_lib.fem.sides import side_data
    >>> from dataclasses import replace
    >>> mesh = replace(interval(4), sides={"left": np.array([[0]]), "right": np.array([[4]])})
    >>> data = side_data(mesh, {"left": ("value", 0.0), "right": ("exchange", 0.0, 2.0)})
    >>> round(sided_bound(mesh, 1.0, 0.0, np.linspace(0, 1, 5), data).bound ** 2, 9)  # w = 0: ∫ v'² + 2 v(1)²
    3.0
    """
    if (reason := no_bound(data)) is not None:
        raise InputError("sides", "conditions that have a bound", reason, "change the conditions")
    sample = sampled(mesh, K, f) if sample is None else sample
    m, d = len(mesh.cells), mesh.dimension
    alpha = np.broadcast_to(eigenvalues(sample.K)[..., 0].min(axis=1), m)
    shut, inflow, within = np.zeros((m, d + 1), bool), np.zeros((m, d + 1)), np.zeros(m)
    for one in data.fluxes:
        facets, weights = one.facets, one.facets.weights
        mean = one.value @ weights
        shut[facets.cell, facets.local] = True
        inflow[facets.cell, facets.local] = mean * facets.measure
        rest = facets.measure * ((one.value - mean[:, None]) ** 2 @ weights)
        trace = facets.measure * mesh.diameters[facets.cell] ** 2 / mesh.volumes[facets.cell] * (np.pi**-2 + 1 / np.pi)
        np.add.at(within, facets.cell, np.sqrt(trace * rest / alpha[facets.cell]))
    slope, source = cell_gradients(mesh, nodal), means(sample.f, sample.weights, m)
    if not (data.held.size or data.exchanges):  # fluxes all around: what the quadrature leaves of their balance
        source = source - (mesh.volumes @ source + inflow.sum()) / mesh.volumes.sum()

    def linear(side: Facets) -> np.ndarray:
        return nodal[side.nodes] @ side.barycentric.T

    def given(side: Facets) -> np.ndarray:
        return field(side.points.reshape(-1, d))[0].reshape(side.points.shape[:2])

    rule = Rule(sample.inverse, sample.barycentric, sample.weights)
    contact = _contact(mesh, linear, data.exchanges)
    flux = balanced_flux(mesh, rule, source, slope, shut, degree, inflow if data.fluxes else None, contact)
    gap = _exchange_gap(mesh, linear if field is None else given, flux, data.exchanges)
    parts = Rest(within, gap, between_nodes(mesh, nodal, sample, data) if field is None else 0.0)
    steep = slope[:, None] if field is None else _slopes(field, sample.points)
    strips, near = unseen(mesh, K, sample), slope[:, None]
    if strips is not None and field is not None:
        near = _slopes(field, strips.points)
    extra = gained(strips, mesh, flux, near)
    found = bound_by(mesh, sample, flux, steep, more=parts, extra=extra)
    rounding = NOTHING * np.abs(nodal).max() * np.sqrt(sample.K.max() * mesh.volumes.sum()) / mesh.diameters.min()
    return found._replace(relative=0.0) if found.bound <= rounding and _constant(sample, data) else found


def _slopes(field: Field, points: np.ndarray) -> np.ndarray:
    """∇v at points (..., d)."""
    return field(points.reshape(-1, points.shape[-1]))[1].reshape(points.shape)


def _constant(sample: Sampled, data: SideData) -> bool:
    """Whether the temperature has to be a constant, whose energy is zero: one given value and neither source nor flux."""
    given = [data.values, *(values for _, values in data.fixed), *(one.value for one in data.exchanges)]
    given = np.concatenate([np.zeros(0), *(np.ravel(values) for values in given)])
    driven = np.any(sample.f) or any(np.any(one.value) for one in data.fluxes)
    return not driven and (given.size == 0 or np.ptp(given) <= NOTHING * np.abs(given).max())


def no_bound(data: SideData) -> str | None:
    """Why conditions have no bound; None if they have one.

    Examples
    --------
    >>> no_bound(SideData(np.array([0]), np.zeros(1), (), (), (), ("left", "top")))
    'the temperatures of left and top differ where they meet: the energy is infinite'
    """
    if data.clash is not None:
        return f"the temperatures of {data.clash[0]} and {data.clash[1]} differ where they meet: the energy is infinite"
    if data.broken:
        return data.broken
    if any(one.coefficient.min() <= 1e-12 * one.coefficient.max() for one in data.exchanges):
        return "the coefficient of an exchange is zero in places: make them a side of their own, insulated"
    return None


def _contact(mesh: Mesh, value: Value, exchanges: tuple[Exchange, ...]) -> Contact | None:
    """The facets with an exchange, for the flux."""
    if not exchanges:
        return None
    rows, count = [], math.gcd(*(one.value.shape[1] for one in exchanges))  # of points a row: a facet may have many rows
    for one in exchanges:
        side, measure = one.facets, one.facets.measure[:, None] * one.facets.weights
        times = one.value.shape[1] // count
        known = side.points, measure / one.coefficient, measure * (one.value - value(side))
        known = (part.reshape(-1, count, *part.shape[2:]) for part in known)
        rows.append((np.repeat(side.cell, times), np.repeat(side.local, times), *known))
    return Contact(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _exchange_gap(mesh: Mesh, value: Value, flux: Flux, exchanges: tuple[Exchange, ...]) -> float:
    """Root of ∫(n·τ − c(a − v))²/c along the sides with an exchange."""
    total = 0.0
    for one in exchanges:
        through = normal_part(mesh, flux, one.facets.cell, one.facets.local, one.facets.points)
        off = through - one.coefficient * (one.value - value(one.facets))
        total += float(one.facets.measure @ (off**2 / one.coefficient @ one.facets.weights))
    return float(np.sqrt(total))


def between_nodes(mesh: Mesh, nodal: np.ndarray, sample: Sampled, data: SideData) -> float:
    """‖K^{1/2}∇E‖ of an extension E of g − v: on a cell ρδ(s) with the distance ρ from the opposite vertex, 1 at the side."""
    largest = np.broadcast_to(eigenvalues(sample.K)[..., -1].max(axis=1), len(mesh.cells))
    norm = np.zeros(len(mesh.cells))
    for facets, values in data.fixed:
        pieces = values.shape[1] - 1
        t = np.linspace(0, 1, pieces + 1)
        a, b = (mesh.points[facets.nodes[:, i]] for i in (0, 1))
        apex = mesh.points[mesh.cells[facets.cell, facets.local]]
        off = values - (1 - t) * nodal[facets.nodes[:, :1]] - t * nodal[facets.nodes[:, 1:]]  # δ
        off[np.abs(off) <= ROUNDING * np.abs(values).max()] = 0.0
        step = facets.measure / pieces
        rate = np.diff(off, axis=1) / step[:, None]  # δ' along the facet
        along = (b - a) / facets.measure[:, None]
        height = 2 * mesh.volumes[facets.cell] / facets.measure
        start = np.einsum("kd,kd->k", a - apex, along)[:, None] + step[:, None] * np.arange(pieces)
        across = (off[:, :-1] - start * rate) / height[:, None]  # ∂E/∂n, constant on each piece
        square = height / 2 * step * np.sum(rate**2 + across**2, axis=1)
        np.add.at(norm, facets.cell, np.sqrt(largest[facets.cell] * square))
    return float(np.linalg.norm(norm))
