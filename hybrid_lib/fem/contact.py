"""Facets of sides with an exchange, as the flux of a bound sees them: what ∫(n·τ − c(a − v))²/c adds to its equations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from hybrid_lib.fem.mesh import Mesh


class Contact(NamedTuple):
    """Facets where n·τ = c(a − w) need not hold exactly.

    Attributes
    ----------
    cell, local : (k,) int
        The cell of each, and the vertex of it that is opposite.
    points : (k, q, d) float64
        Of a rule along the facet, whose weights and the length of the facet are in the others:
    resistance : (k, q) float64
        1/c.
    gap : (k, q) float64
        a − v.
    """

    cell: np.ndarray
    local: np.ndarray
    points: np.ndarray
    resistance: np.ndarray
    gap: np.ndarray

    def without_gap(self) -> Contact:
        """The same with a = v."""
        return self._replace(gap=np.zeros_like(self.gap))

    def pull(self, mesh: Mesh, flux: Any) -> np.ndarray:
        """a − v − n·τ/c, times the weights, (k, q)."""
        return self.gap - normal_part(mesh, flux, self.cell, self.local, self.points) * self.resistance


def outward_normals(mesh: Mesh, cell: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Unit normals of facets that point out of their cells, (k, d).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> outward_normals(interval(2), np.array([0, 1]), np.array([1, 0])).ravel().tolist()
    [-1.0, 1.0]
    """
    inward = mesh.basis_gradients[cell, local]
    return -inward / np.linalg.norm(inward, axis=1, keepdims=True)


def normal_part(mesh: Mesh, flux: Any, cell: np.ndarray, local: np.ndarray, points: np.ndarray) -> np.ndarray:
    """n·τ of a flux at points (k, q, d) of facets, (k, q)."""
    away = points - mesh.points[mesh.cells[cell]].mean(axis=1)[:, None]
    values = flux.mean[cell, None] - flux.source[cell, None, None] / mesh.dimension * away
    if flux.bend is not None:
        values = values + np.einsum("kij,kqj->kqi", flux.bend[cell], away)
    return np.einsum("kqd,kd->kq", values, outward_normals(mesh, cell, local))


def exchanged(mesh: Mesh, flux: Any, contact: Contact, unknowns: np.ndarray, n: int) -> tuple[csr_array, np.ndarray]:
    """What the exchange adds to the matrix (n, n) of a stream function, and to its right side by cells, as n·η = ∂ψ/∂t.

    Parameters
    ----------
    mesh : Mesh
    flux : Flux
        σ_p, to which the turned gradient η is added.
    contact : Contact
    unknowns : (m, 3) or (m, 6) int
        Of linear or quadratic elements.
    n : int
        Number of unknowns.
    """
    cell, local = contact.cell, contact.local
    ends = [(local + 1) % 3, (local + 2) % 3]  # anticlockwise: along the tangent
    start, last = (mesh.points[mesh.cells[cell, end]] for end in ends)
    length = np.linalg.norm(last - start, axis=1)[:, None]
    s = np.linalg.norm(contact.points - start[:, None], axis=2) / length  # (k, q)
    if unknowns.shape[1] == 3:
        slopes, columns = [-np.ones_like(s), np.ones_like(s)], ends
    else:
        slopes, columns = [4 * s - 3, 4 * s - 1, 4 - 8 * s], [*ends, 3 + (local + 1) % 3]
    rates = np.stack(slopes, axis=2) / length[:, :, None]  # (k, q, shapes)
    entries = np.einsum("kq,kqa,kqb->kab", contact.resistance, rates, rates)
    numbers = np.stack([unknowns[cell, column] for column in columns], axis=1)  # (k, shapes)
    width = numbers.shape[1]
    place = np.repeat(numbers, width, axis=1).ravel(), np.tile(numbers, (1, width)).ravel()
    right = np.zeros(unknowns.shape)
    for column, pull in zip(columns, np.einsum("kq,kqa->ak", contact.pull(mesh, flux), rates), strict=True):
        np.add.at(right, (cell, column), pull)
    return csr_array(coo_array((entries.ravel(), place), shape=(n, n))), right
