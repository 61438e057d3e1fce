r"""Fluxes that balance a source exactly: what a guaranteed bound of an error is made of.

.. math:: \tau = \sigma_p + (\partial_2\psi, -\partial_1\psi), \qquad \nabla\cdot\tau = -\Pi_0 f, \qquad n\cdot\tau = 0
          \text{ on insulated sides},

with a σ_p that balances the means of f and flows along a tree from cell to cell, and ψ from a second solve with K^{−1},
turned if it is a tensor. With ψ of linear elements τ is the best flux in the lowest Raviart-Thomas space, with quadratic ones the
best in that of Brezzi, Douglas and Marini (1985); each hole with given values on it has a flux from there to the outside, a
number and a solve more. In one dimension ψ is one number, and τ = c − ∫f. A σ_p that integrates f itself along lines was tried in
place of the tree: with linear ψ it is never sharper (1.51 and 1.51 times the error for waves, 2.3 against 1.3 under a narrow
source).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from hybrid_lib.errors import InputError
from hybrid_lib.fem import quadratic, transforms
from hybrid_lib.fem.assembly import cell_gradients, stiffness
from hybrid_lib.fem.contact import Contact, exchanged, normal_part, outward_normals
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import evaluate
from hybrid_lib.fem.solve import solve_dirichlet
from hybrid_lib.fem.topology import facets_of, outer_facets, unique_pairs

TOLERANCE = 1e-8
"""Relative error of ψ in energy; any ψ gives a bound, and this changes it by less than its square."""
TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])
"""∇ψ to (∂₂ψ, −∂₁ψ)."""


class Flux(NamedTuple):
    """A flux with ∇·τ = −f_T on each cell T, continuous across facets: τ(x) = mean_T + (B_T − f_T/d)(x − x_T), x_T the centroid.

    Attributes
    ----------
    mean : (m, d) float64
    source : (m,) float64
        f_T, the means of the source.
    bend : (m, d, d) float64 or None
        B_T, without trace; None for zero.
    """

    mean: np.ndarray
    source: np.ndarray
    bend: np.ndarray | None = None

    def at(self, mesh: Mesh, points: np.ndarray) -> np.ndarray:
        """Values at points (m, q, d) of the cells."""
        values, centre = np.empty(points.shape), mesh.points[mesh.cells].mean(axis=1)
        away = [points[..., i] - centre[:, i, None] for i in range(mesh.dimension)]  # (m, q) each: faster than rows of two
        for i, own in enumerate(away):
            values[..., i] = self.mean[:, i, None] - self.source[:, None] / mesh.dimension * own
            if self.bend is not None:
                values[..., i] += sum(self.bend[:, i, j, None] * other for j, other in enumerate(away))
        return values


class Rule(NamedTuple):
    """Values of K⁻¹, (m or 1, q or 1) or with (d, d) after it, at the points of a barycentric rule."""

    inverse: np.ndarray
    barycentric: np.ndarray
    weights: np.ndarray


def means(values: np.ndarray, weights: np.ndarray, m: int) -> np.ndarray:
    """Means over m cells of values (m or 1, q or 1, ...) at the points of a rule, (m, ...).

    >>> means(np.array([[1.0, 3.0]]), np.array([0.5, 0.5]), 2).tolist()
    [2.0, 2.0]
    """
    found = np.tensordot(values, weights, axes=(1, 0)) if values.shape[1] > 1 else values[:, 0]
    return np.broadcast_to(found, (m, *found.shape[1:]))


def times(K: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """K at points, scalar (m or 1, q or 1) or tensor, times vectors (m, q, d)."""
    return K[..., None] * vectors if K.ndim == 2 else np.matmul(K, vectors[..., None])[..., 0]


def eigenvalues(K: np.ndarray) -> np.ndarray:
    """Of K at points, scalar (m or 1, q or 1) or tensor, ascending on a last axis."""
    return K[..., None] if K.ndim == 2 else np.linalg.eigvalsh(K)


def balanced_flux(
    mesh: Mesh,
    rule: Rule,
    source: np.ndarray,
    slope: np.ndarray,
    insulated: np.ndarray,
    degree: int = 1,
    inflow: np.ndarray | None = None,
    contact: Contact | None = None,
) -> Flux:
    """The flux that balances `source` and is closest, in the norm of K⁻¹, to that of the solution with given boundary values.

    Parameters
    ----------
    mesh : Mesh
    rule : Rule
    source : (m,) array
        Means of f over cells.
    slope : (m, d) array
        ∇v + e of any piecewise linear v with the boundary values; others give the same flux.
    insulated : (m, d+1) bool array
        From :func:`insulated_facets`: facets with a given ∫n·τ.
    degree : 1 or 2
        Of the elements for ψ.
    inflow : (m, d+1) array, optional
        ∫n·τ along those facets; zero by default. If all of the boundary has one, they balance the source.
    contact : Contact, optional
        Facets with an exchange: ∫(n·τ − c(a − v))²/c along them is added to what is made small.

    Raises
    ------
    InputError
        If a connected part is insulated all around.
    """
    d, m = mesh.dimension, len(mesh.cells)
    facet = unique_pairs(*facets_of(mesh.cells), len(mesh.points))[2].reshape(m, d + 1)
    if d == 1:  # constants, one for each connected part that has no insulated end
        mean, inverse = _particular(mesh, facet, source, insulated, inflow), _inverse_means(mesh, rule)
        part = connected_components(stiffness(mesh, 1.0), directed=False)[1][mesh.cells[:, 0]]
        miss = slope - np.einsum("mij,mj->mi", inverse, mean)
        top, bottom, held = (np.bincount(part, mesh.volumes * v) for v in (miss[:, 0], inverse[:, 0, 0], insulated.any(axis=1)))
        if contact is not None:
            outward = outward_normals(mesh, contact.cell, contact.local)[:, 0]
            np.add.at(top, part[contact.cell], outward * contact.pull(mesh, Flux(mean, source)).sum(axis=1))
            np.add.at(bottom, part[contact.cell], contact.resistance.sum(axis=1))
        return Flux(mean + (np.where(held > 0, 0.0, top) / bottom)[part][:, None], source)
    shut, entries = _entries(mesh, insulated)
    flux = _closest(mesh, rule, _particular(mesh, facet, source, shut, inflow), source, slope, insulated, degree, contact)
    around, zero = [], np.zeros(m)
    touch = None if contact is None else contact.without_gap()
    for cell, local in entries:  # in through one facet of the hole, and out along the tree
        one = zero.copy()
        one[cell] = 1 / mesh.volumes[cell]
        mean, corners = _particular(mesh, facet, one, shut), mesh.points[mesh.cells[cell]]
        mean[cell] += (corners.mean(axis=0) - corners[local]) / (d * mesh.volumes[cell])
        around.append(_closest(mesh, rule, mean, zero, np.zeros((m, d)), insulated, degree, touch))
    return _combined(mesh, rule, flux, around, slope, contact) if around else flux


def _inverse_means(mesh: Mesh, rule: Rule) -> np.ndarray:
    """Means of K⁻¹ over cells, (m, d, d)."""
    found = means(rule.inverse, rule.weights, len(mesh.cells))
    return found[:, None, None] * np.eye(mesh.dimension) if found.ndim == 1 else found


def _closest(
    mesh: Mesh,
    rule: Rule,
    mean: np.ndarray,
    source: np.ndarray,
    slope: np.ndarray,
    insulated: np.ndarray,
    degree: int,
    contact: Contact | None = None,
) -> Flux:
    """Of a particular flux and turned gradients the sum that is closest to K `slope`, in the plane."""
    if degree == 1:
        inverse = _inverse_means(mesh, rule)
        miss = slope - np.einsum("mij,mj->mi", inverse, mean)  # ∫ miss·η = ∫ K^{-1} η̂·η for all η without divergence
        hats = np.einsum("mai,m,mi->ma", mesh.basis_gradients, mesh.volumes, miss @ TURN)  # ∫ miss·turn∇φ
        turned = TURN.T @ inverse @ TURN
        matrix = stiffness(mesh, (turned + turned.mT) / 2)
        if contact is not None:
            more, right = exchanged(mesh, Flux(mean, source), contact, mesh.cells, len(mesh.points))
            matrix, hats = csr_array(matrix + more), hats + right
        psi = _stream(mesh.points, matrix, hats, mesh.cells, insulated)
        return Flux(mean + cell_gradients(mesh, psi) @ TURN.T, source)
    V = quadratic.space(mesh)
    values = rule.inverse if rule.inverse.ndim == 2 else TURN.T @ rule.inverse @ TURN
    plain = Flux(mean, source).at(mesh, rule.barycentric @ mesh.points[mesh.cells])
    miss = slope[:, None] - times(rule.inverse, plain)
    moments = np.einsum("m,q,qc,mqi->mci", mesh.volumes, rule.weights, rule.barycentric, miss, optimize=True) @ TURN
    hats = np.einsum("kac,mci,mai->mk", quadratic.slopes(3), moments, mesh.basis_gradients, optimize=True)
    matrix = quadratic.weighted_stiffness(V, values, rule.barycentric, rule.weights)
    if contact is not None:
        more, right = exchanged(mesh, Flux(mean, source), contact, V.unknowns, len(V.points))
        matrix, hats = csr_array(matrix + more), hats + right
    psi = _stream(V.points, matrix, hats, V.unknowns, insulated)
    gradient, bend = quadratic.gradients(V, psi)
    return Flux(mean + gradient @ TURN.T, source, TURN @ bend)


def _entries(mesh: Mesh, insulated: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Facets (m, d+1) that the tree leaves alone, and one facet (cell, local) of each hole that is not insulated all around.

    In each connected part one closed piece of the boundary is the outside, where the tree begins; the others are holes, whatever
    they look like.
    """
    n = len(mesh.points)
    outer, lower, upper = outer_facets(mesh.cells, n)
    loop = connected_components(coo_array((np.ones(len(outer)), (lower, upper)), shape=(n, n)), directed=False)[1][lower]
    part = connected_components(stiffness(mesh, 1.0), directed=False)[1][lower]
    open_ = np.flatnonzero(~insulated.ravel()[outer])
    number, first = np.unique(loop[open_], return_index=True)  # of each piece with an open facet, and that facet
    first = open_[first]
    outside = number[np.unique(part[first], return_index=True)[1]]
    holes = [place for place, piece in zip(first, number, strict=True) if piece not in outside]
    shut = insulated.ravel().copy()
    shut[outer[~np.isin(loop, outside)]] = True
    return shut.reshape(insulated.shape), [divmod(int(outer[place]), insulated.shape[1]) for place in holes]


def _combined(
    mesh: Mesh, rule: Rule, flux: Flux, around: list[Flux], slope: np.ndarray, contact: Contact | None = None
) -> Flux:
    """`flux` and the multiples of fluxes around holes that are closest to K `slope`."""
    points = rule.barycentric @ mesh.points[mesh.cells]
    values = np.stack([one.at(mesh, points) for one in around])  # (holes, m, q, d)
    weight = mesh.volumes[:, None] * rule.weights
    gram = np.einsum("mq,hmqi,kmqi->hk", weight, values, np.stack([times(rule.inverse, v) for v in values]))
    miss = slope[:, None] - times(rule.inverse, flux.at(mesh, points))
    right = np.einsum("mq,hmqi,mqi->h", weight, values, miss)
    if contact is not None:
        through = np.stack([normal_part(mesh, one, contact.cell, contact.local, contact.points) for one in around])  # (h, k, q)
        gram += np.einsum("hkq,kq,jkq->hj", through, contact.resistance, through)
        right += np.einsum("hkq,kq->h", through, contact.pull(mesh, flux))
    factors = np.linalg.solve(gram, right)
    for factor, one in zip(factors, around, strict=True):
        bend = flux.bend if one.bend is None else flux.bend + factor * one.bend
        flux = Flux(flux.mean + factor * one.mean, flux.source, bend)
    return flux


def insulated_facets(mesh: Mesh, insulated: Callable | np.ndarray | None) -> np.ndarray:
    """Which local facets (m, d+1) are insulated sides, facet i opposite to vertex i.

    Parameters
    ----------
    mesh : Mesh
    insulated : callable x (d,) -> bool, (k, d) int array, or None
        Asked at the middle of each facet of the boundary; or the facets' nodes; or no side.

    Raises
    ------
    InputError
        If an array names what is no facet of the boundary.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> insulated_facets(unit_square(1), lambda x: x[1] == 0.0).tolist()
    [[False, False, True], [False, False, False]]
    """
    m, d = len(mesh.cells), mesh.dimension
    found = np.zeros(m * (d + 1), bool)
    if insulated is None:
        return found.reshape(m, d + 1)
    outer, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    if callable(insulated):
        middle = (mesh.points[lower] + mesh.points[upper]) / 2
        found[outer] = evaluate(insulated, middle).reshape(len(outer), -1)[:, 0] != 0
        return found.reshape(m, d + 1)
    nodes = np.asarray(insulated)
    if nodes.ndim != 2 or nodes.shape[1] != d or not np.issubdtype(nodes.dtype, np.integer):
        expected = f"a function of x, or node numbers of shape (k, {d})"
        raise InputError("insulated", expected, f"{nodes.dtype} of shape {nodes.shape}", "one row a facet of the boundary")
    where = dict(zip(zip(lower.tolist(), upper.tolist(), strict=True), outer.tolist(), strict=True))
    for row in nodes.tolist():
        pair = (min(row), max(row))
        if pair not in where:
            raise InputError("insulated", "facets of the boundary", f"nodes {row}", "leave inner facets out")
        found[where[pair]] = True
    return found.reshape(m, d + 1)


def nodes_held(mesh: Mesh, insulated: np.ndarray) -> np.ndarray:
    """Nodes with given values: those of the boundary facets that are not insulated, sorted."""
    outer, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    held = ~insulated.ravel()[outer]
    if not held.any():
        raise _shut(0)
    return np.unique(np.concatenate([lower[held], upper[held]]))


def _shut(cell: int) -> InputError:
    """What to say where a part of the mesh is insulated all around."""
    expected = "a side with given values in each connected part"
    return InputError("insulated", expected, f"none around cell {cell}", "leave one side open")


def _stream(
    points: np.ndarray, matrix: csr_array, hats: np.ndarray, unknowns: np.ndarray, insulated: np.ndarray
) -> np.ndarray:
    """ψ at all unknowns: constant on each connected piece of insulated sides, one value fixed in each part of the mesh."""
    n = matrix.shape[0]
    rhs = np.bincount(unknowns.ravel(), hats.ravel(), minlength=n)
    label = np.arange(n)
    if not insulated.any() and (psi := transforms.without_boundary(matrix, rhs, points, TOLERANCE)) is not None:
        return psi
    if insulated.any():
        cell, opposite = np.nonzero(insulated)
        a, b = unknowns[cell, (opposite + 1) % 3], unknowns[cell, (opposite + 2) % 3]
        pairs = [(a, b)] if unknowns.shape[1] == 3 else [(a, b), (a, unknowns[cell, 3 + (opposite + 1) % 3])]  # the edge's middle
        rows, columns = (np.concatenate(v) for v in zip(*pairs, strict=True))
        label = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n)), directed=False)[1]
        tie = csr_array((np.ones(n), (np.arange(n), label)))
        matrix, rhs = csr_array(tie.T @ matrix @ tie), tie.T @ rhs
    fixed = np.unique(connected_components(matrix, directed=False)[1], return_index=True)[1]
    return solve_dirichlet(matrix, rhs, fixed)[label]


def _particular(
    mesh: Mesh, facet: np.ndarray, source: np.ndarray, insulated: np.ndarray, inflow: np.ndarray | None = None
) -> np.ndarray:
    """Means over cells of one flux that balances `source`: the sources flow out along a tree from cell to cell."""
    m, d = len(mesh.cells), mesh.dimension
    owner = np.repeat(np.arange(m), d + 1)
    sums = np.bincount(facet.ravel(), owner)[facet]  # of the cells at a facet
    inside = np.bincount(facet.ravel())[facet] == 2
    neighbour = np.where(inside, sums - np.arange(m)[:, None], m)  # m: outside
    neighbour[insulated] = -1
    open_ = neighbour.ravel() >= 0
    graph = csr_array((np.ones(open_.sum()), (owner[open_], neighbour.ravel()[open_])), shape=(m + 1, m + 1))
    floating = inflow is not None and not np.any(neighbour == m)  # balanced: what reaches the first cell is rounding
    order, parent = breadth_first_order(graph, 0 if floating else m, directed=False)
    if len(order) <= m - floating:
        raise _shut(int(np.setdiff1d(np.arange(m), order)[0]))
    total = [*(mesh.volumes * source + (0.0 if inflow is None else inflow.sum(axis=1))).tolist(), 0.0]
    up = parent.tolist()
    for cell in order[:0:-1].tolist():  # from the leaves to the outside
        total[up[cell]] += total[cell]
    way = np.argmax(neighbour == parent[:m, None], axis=1)  # local number of the facet to the parent
    outward = np.zeros((m, d + 1)) if inflow is None else inflow.copy()
    outflow = -np.asarray(total[:m])  # ∫ τ·n over the facets of what drains through it
    above = parent[:m]
    child = np.flatnonzero(above >= 0)
    outward[child, way[child]] = outflow[child]
    entry = facet[np.arange(m), way]
    inner = np.flatnonzero((above >= 0) & (above < m))
    local = np.argmax(facet[above[inner]] == entry[inner, None], axis=1)
    np.add.at(outward, (above[inner], local), -outflow[inner])
    corners = mesh.points[mesh.cells]  # (m, d+1, d)
    away = corners.mean(axis=1, keepdims=True) - corners
    return np.einsum("ma,mad->md", outward, away) / (d * mesh.volumes)[:, None]
