"""Assembly of P1 matrices and vectors: sparsity once, entries by whole-array operations, sums by counting.

The bilinear form is b(u, v) = ∫ K ∇u·∇v, the mass form ∫ u v. Gradients of P1 functions are constant on a
cell, so the stiffness needs only the mean of K there: `(B_h)_ij = Σ_T |T| ∇φ_i · K_T ∇φ_j`, equation (3.23) of
the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array, diags_array

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem.coefficients import cell_coefficient, direction_of
from hybrid_lib.fem.location import nodal_array
from hybrid_lib.fem.mesh import BLOCK, Mesh
from hybrid_lib.fem.quadrature import field_values, rule
from hybrid_lib.fem.topology import LOCAL_EDGES, edges_of, unique_pairs


class Pattern(NamedTuple):
    """Sparsity of a P1 matrix in CSR form, and where each entry of each element matrix goes.

    Attributes
    ----------
    indptr : (n+1,) int32
    indices : (nnz,) int32
        Sorted in each row.
    slots : (m, d+1, d+1) int32
        Position in the CSR data of entry (i, j) of each cell.
    """

    indptr: np.ndarray
    indices: np.ndarray
    slots: np.ndarray


def pattern(mesh: Mesh) -> Pattern:
    """Sparsity of the P1 matrices on a mesh; build it once and reuse it for every coefficient.

    Parameters
    ----------
    mesh : Mesh

    Notes
    -----
    Cost O(m + n), by counting sorts.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> pattern(interval(2)).indices.tolist()
    [0, 1, 0, 1, 2, 1, 2]
    """
    return _build_pattern(mesh)


def assemble(pattern: Pattern, element_matrices: np.ndarray) -> csr_array:
    """Sum element matrices into a sparse matrix, A_ij = Σ_T element_T,ij.

    Parameters
    ----------
    pattern : Pattern
    element_matrices : (m, d+1, d+1) float64

    Returns
    -------
    (n, n) csr_array
        Shares the index arrays of the pattern.

    Raises
    ------
    InputError
        If the element matrices do not fit the pattern.

    Notes
    -----
    Cost O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> assemble(pattern(interval(1)), np.ones((1, 2, 2))).toarray().tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    element_matrices = real_array("element_matrices", element_matrices)
    if element_matrices.shape != pattern.slots.shape:
        raise InputError(
            "element_matrices", f"shape {pattern.slots.shape}", f"shape {element_matrices.shape}",
            "pass one matrix a cell of the mesh that the pattern was built for",
        )  # fmt: skip
    n = len(pattern.indptr) - 1
    entries = element_matrices.ravel()
    data = np.bincount(pattern.slots.ravel(), weights=entries, minlength=len(pattern.indices))
    return csr_array((data, pattern.indices, pattern.indptr), shape=(n, n))


def element_stiffness(basis_gradients: Any, volumes: Any, K_cells: Any) -> Any:
    """Stiffness matrix of each cell, `|T| ∇φ_i · K_T ∇φ_j`.

    Pure array code for NumPy and JAX alike: usable under jit and vmap, differentiable in K_cells (in which it
    is linear).

    Parameters
    ----------
    basis_gradients : (m, d+1, d) array
    volumes : (m,) array
    K_cells : (m, d, d) array
        dtype as the others.

    Returns
    -------
    (m, d+1, d+1) array

    Notes
    -----
    Cost O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> mesh = interval(2)
    >>> element_stiffness(mesh.basis_gradients, mesh.volumes, np.full((2, 1, 1), 3.0))[0].tolist()
    [[6.0, -6.0], [-6.0, 6.0]]
    """
    arrays = basis_gradients, volumes, K_cells
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return _element_stiffness(*arrays, jnp)
    out = np.empty((*basis_gradients.shape[:2], basis_gradients.shape[1]), np.result_type(*arrays))
    for start in range(0, len(out), BLOCK):
        part = slice(start, start + BLOCK)
        out[part] = _element_stiffness(*(array[part] for array in arrays), np)
    return out


def _element_stiffness(basis_gradients: Any, volumes: Any, K_cells: Any, namespace: Any) -> Any:
    """Entries of the hats 1..d; the hats sum to one, so those of hat 0 are minus the sums of the others."""
    width, d = basis_gradients.shape[1:]

    # Written out in columns (m,): full precision on every device, where a matmul may round to fewer bits.
    def dot(x: list, y: list) -> Any:
        return sum((p * q for p, q in zip(x[1:], y[1:], strict=True)), start=x[0] * y[0])

    hats = [[basis_gradients[:, i, a] for a in range(d)] for i in range(1, width)]
    scaled = [[K_cells[:, a, b] * volumes for b in range(d)] for a in range(d)]
    flux = [[dot(row, hat) for row in scaled] for hat in hats]
    inner = [[dot(hat, flow) for flow in flux] for hat in hats]  # (d, d)
    column = [-sum(row[1:], start=row[0]) for row in inner]  # entries (i, 0)
    top = [-sum(part[1:], start=part[0]) for part in zip(*inner, strict=True)]  # entries (0, i)
    corner = -sum(top[1:], start=top[0])
    entries = [corner, *top, *(entry for i in range(d) for entry in (column[i], *inner[i]))]
    return namespace.stack(entries, axis=-1).reshape(-1, width, width)


def stiffness(mesh: Mesh, K: Any, order: int = 2, pattern: Pattern | None = None) -> csr_array:
    """Stiffness matrix B_ij = ∫ K ∇φ_j · ∇φ_i of all nodes, the boundary included; (3.23) of the paper.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`.cell_coefficient`
    order : int
        Quadrature order for a callable K.
    pattern : Pattern, optional
        From :func:`pattern`, to reuse it.

    Returns
    -------
    (n, n) csr_array
        Symmetric positive semidefinite, rows sum to zero.

    Raises
    ------
    InputError
        As :func:`.cell_coefficient`.

    Notes
    -----
    Cost O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> stiffness(interval(2), 1.0).toarray().tolist()
    [[2.0, -2.0, 0.0], [-2.0, 4.0, -2.0], [0.0, -2.0, 2.0]]
    """
    element_matrices = element_stiffness(mesh.basis_gradients, mesh.volumes, cell_coefficient(mesh, K, order))
    return assemble(_build_pattern(mesh) if pattern is None else pattern, element_matrices)


def load(mesh: Mesh, f: float | np.ndarray | Callable, order: int = 2) -> np.ndarray:
    """Load vector F_i = ∫ f φ_i of all nodes.

    Parameters
    ----------
    mesh : Mesh
    f : float, (m,) array or callable x (d,) -> scalar
    order : int
        Quadrature order, exact for polynomials f of degree order - 1.

    Returns
    -------
    (n,) float64

    Raises
    ------
    InputError
        If f has another shape or is not finite.

    Notes
    -----
    Cost O(m q). ``load(mesh, 1.0)`` is the lumped mass: the nodal quadrature weights.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> load(interval(2), 1.0).tolist()
    [0.25, 0.5, 0.25]
    """
    values = field_values(mesh, f, order, name="f")  # (m or 1, q or 1)
    barycentric, weights = rule(mesh.dimension, order)
    moments = (values * weights) @ barycentric  # (m or 1, d+1)
    return _sum_to_nodes(mesh, mesh.volumes[:, None] * moments)


def flux_load(mesh: Mesh, K: Any, direction: np.ndarray, order: int = 2) -> np.ndarray:
    """Vector ∫ K e·∇φ_i with e = direction: the lift's term, right-hand side of (4.18) with the sign changed.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`.cell_coefficient`
    direction : (d,) array
    order : int
        Quadrature order for a callable K.

    Returns
    -------
    (n,) float64
        Equals ``stiffness(mesh, K) @ (points @ direction)``.

    Raises
    ------
    InputError
        As :func:`.cell_coefficient`, or if the direction has another shape.

    Notes
    -----
    Cost O(m). Zero at interior nodes if K is constant.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> flux_load(interval(2), 3.0, [1.0]).tolist()
    [-3.0, 0.0, 3.0]
    """
    flux = cell_coefficient(mesh, K, order) @ direction_of(mesh, direction)  # (m, d)
    return _sum_to_nodes(mesh, mesh.volumes[:, None] * np.einsum("mia,ma->mi", mesh.basis_gradients, flux))


def mass(mesh: Mesh, lumped: bool = False, pattern: Pattern | None = None) -> csr_array:
    """Mass matrix M_ij = ∫ φ_i φ_j, or its lumped form, the diagonal of its row sums ∫ φ_i.

    Parameters
    ----------
    mesh : Mesh
    lumped : bool
        True for the diagonal matrix; ``load(mesh, 1.0)`` gives its diagonal as a vector.
    pattern : Pattern, optional
        From :func:`pattern`, to reuse it.

    Returns
    -------
    (n, n) csr_array

    Notes
    -----
    Cost O(m).

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> (6 * mass(interval(1))).toarray().round(12).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    width = mesh.dimension + 1
    if lumped:
        return csr_array(diags_array(load(mesh, 1.0, order=1)))
    local = (np.ones((width, width)) + np.eye(width)) / (width * (width + 1))
    element_matrices = mesh.volumes[:, None, None] * local
    return assemble(_build_pattern(mesh) if pattern is None else pattern, element_matrices)


def cell_gradients(mesh: Mesh, nodal: np.ndarray) -> np.ndarray:
    """Gradient of the piecewise linear function Σ_i nodal_i φ_i on each cell, (m, d).

    Parameters
    ----------
    mesh : Mesh
    nodal : (n,) array

    Raises
    ------
    InputError
        If nodal does not have n values.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> cell_gradients(interval(2), [0.0, 1.0, 0.0]).tolist()
    [[2.0], [-2.0]]
    """
    return np.einsum("mia,mi->ma", mesh.basis_gradients, nodal_array(mesh, nodal)[mesh.cells])


def _build_pattern(mesh: Mesh) -> Pattern:
    """Entries are the nodes' diagonals and each edge twice; sorted once, then looked up by the cells."""
    n, d = mesh.points.shape
    lower, upper, number = edges_of(mesh.cells, n)
    diagonal, e = np.arange(n, dtype=np.int32), len(lower)
    rows = np.concatenate([diagonal, lower, upper])  # (n + 2e,)
    columns = np.concatenate([diagonal, upper, lower])
    row, column, place = unique_pairs(rows, columns, n)
    slots = np.empty((len(mesh.cells), d + 1, d + 1), dtype=np.int32)
    for i in range(d + 1):
        slots[:, i, i] = place[mesh.cells[:, i]]
    for local, (i, j) in enumerate(LOCAL_EDGES[d]):
        above = place[n + number[:, local]]  # row of the lower node
        below = place[n + e + number[:, local]]
        ascending = mesh.cells[:, i] < mesh.cells[:, j]
        slots[:, i, j] = np.where(ascending, above, below)
        slots[:, j, i] = np.where(ascending, below, above)
    indptr = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(np.bincount(row, minlength=n), out=indptr[1:])
    for array in (indptr, column, slots):
        array.flags.writeable = False
    return Pattern(indptr, column, slots)


def _sum_to_nodes(mesh: Mesh, element_vectors: np.ndarray) -> np.ndarray:
    """Σ over the cells of their contributions (m, d+1) to their nodes, (n,)."""
    return np.bincount(mesh.cells.ravel(), weights=element_vectors.ravel(), minlength=len(mesh.points))
