"""Solve sparse symmetric systems on the host, by sparse factors, multigrid or sine transforms: the large references.

The small dense systems of the coarse problem are solved inside the programs, see :mod:`hybrid_lib.fem.dense`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from hybrid_lib.errors import InputError, real_array, rounded
from hybrid_lib.fem import transforms
from hybrid_lib.fem.assembly import load, stiffness
from hybrid_lib.fem.mesh import Mesh
from hybrid_lib.fem.quadrature import evaluate

# Unknowns; beyond, method="auto" takes multigrid. From 50,000 on it is twice as fast where K is smooth, no faster where K jumps.
DIRECT_LIMIT = 200_000
AMG_ITERATIONS = 500  # a hierarchy that works needs about 20
Method = Literal["auto", "direct", "amg", "sine"]


def solve_dirichlet(
    matrix: csr_array,
    rhs: np.ndarray,
    nodes: np.ndarray,
    values: float | np.ndarray = 0.0,
    method: Method = "auto",
    tol: float = 1e-12,
    points: np.ndarray | None = None,
) -> np.ndarray:
    """Solve the symmetric positive definite system with given values at some nodes, by lifting.

    With g the given values and I the other nodes: u = g at the nodes, A_II u_I = rhs_I - A_IB g. The matrix
    stays symmetric.

    Parameters
    ----------
    matrix : (n, n) csr_array
        For example from :func:`hybrid_lib.fem.assembly.stiffness`; the rows of fixed nodes are not used.
    rhs : (n,) or (n, k) array
        One or several right-hand sides.
    nodes : (b,) integer array
        Fixed nodes.
    values : float, (b,) or (b, k) array
        Their values.
    method : {"auto", "direct", "amg", "sine"}
        Sparse LU in symmetric mode; or conjugate gradients with a preconditioner: smoothed-aggregation multigrid; or
        the fast sine transform, for the inner nodes of ``fem.unit_square`` (:mod:`.transforms`). "auto" takes that
        one from 10,000 unknowns on where neighbours are coupled with a contrast of at most 50; else it is direct up to
        200,000 unknowns, and for tridiagonal (1-D) systems of any size.
    points : (n, 2) array, optional
        Where the unknowns are, of quadratic elements: "sine" then knows their grid. Linear ones are known by their matrix.
    tol : float
        For "amg": stop when ‖b - A u‖₂ <= tol ‖b‖₂, measured by the iteration's residual; for "sine": bound of the
        relative error in energy, for a scalar conductivity.

    Returns
    -------
    (n,) or (n, k) float64

    Raises
    ------
    InputError
        If shapes, nodes or method are wrong, the matrix is singular (no node fixed in a connected part), or the iteration does
        not converge.

    Notes
    -----
    Cost in 2-D: direct O(n^1.5), multigrid O(n), sine transform O(n log n) with a constant a quarter of multigrid's.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import interval
    >>> mesh = interval(4)
    >>> solve_dirichlet(stiffness(mesh, 1.0), load(mesh, 2.0), mesh.boundary_nodes).round(12).tolist()
    [0.0, 0.1875, 0.25, 0.1875, 0.0]
    """
    matrix, rhs = csr_array(matrix), real_array("rhs", rhs)
    nodes, values = _checked_constraint(matrix, rhs, nodes, values)
    if method not in ("auto", "direct", "amg", "sine"):
        raise InputError("method", '"auto", "direct", "amg" or "sine"', repr(method), "choose one of them")
    solution = np.zeros_like(rhs)
    solution[nodes] = values
    free = np.ones(len(rhs), dtype=bool)
    free[nodes] = False
    free = np.flatnonzero(free)
    if not free.size:
        return solution
    rows = matrix[free]
    right = rhs[free] - rows @ solution  # solution holds the lift g here
    inner = rows[:, free]
    loose = part_without_fixed_node(matrix, nodes)
    if loose is not None:
        received = f"none in the part of node {loose}" if nodes.size else "none"
        remedy = f"fix a node, for example nodes=[{loose}], or add a mass matrix"
        expected = "at least one fixed node in each connected part, as the matrix is zero on constants"
        raise InputError("nodes", expected, received, remedy)
    if method == "sine" or (method == "auto" and len(free) >= transforms.LEAST and right.size <= 2 * len(free)):
        found = _solve_sine(inner, right, tol, method == "sine", None if points is None else points[free])
        if found is not None:
            solution[free] = found
            return solution
    if method == "auto":
        method = "direct" if len(free) <= DIRECT_LIMIT or inner.nnz <= 3 * len(free) else "amg"
    solution[free] = _solve_direct(inner, right) if method == "direct" else _solve_amg(inner, right, tol)
    return solution


def solve_diffusion(
    mesh: Mesh,
    K: Any,
    f: float | np.ndarray | Callable,
    boundary: float | np.ndarray | Callable = 0.0,
    order: int = 2,
    method: Method = "auto",
) -> np.ndarray:
    """P1 solution of -∇·(K∇u) = f with u = boundary on the boundary, (4.1) of the paper.

    Parameters
    ----------
    mesh : Mesh
    K : see :func:`hybrid_lib.fem.coefficients.cell_coefficient`
    f : see :func:`hybrid_lib.fem.assembly.load`
    boundary : float, (b,) array at mesh.boundary_nodes, or callable x (d,) -> scalar
    order : int
        Quadrature order for callables.
    method : see :func:`solve_dirichlet`

    Returns
    -------
    (n,) float64
        Nodal values.

    Raises
    ------
    InputError
        If an argument cannot be used.

    Examples
    --------
    >>> from hybrid_lib.fem.grids import unit_square
    >>> solve_diffusion(unit_square(2), 1.0, 0.0, boundary=lambda x: x[0])[4].round(12).item()
    0.5
    """
    values = evaluate(boundary, mesh.points[mesh.boundary_nodes]) if callable(boundary) else boundary
    matrix, rhs = stiffness(mesh, K, order), load(mesh, f, order)
    return solve_dirichlet(matrix, rhs, mesh.boundary_nodes, values, method)


def _checked_constraint(
    matrix: csr_array, rhs: np.ndarray, nodes: Any, values: Any
) -> tuple[np.ndarray, np.ndarray | float]:
    n = matrix.shape[0]
    if matrix.shape != (n, n):
        raise InputError("matrix", "a square matrix", f"shape {matrix.shape}", "pass a stiffness matrix")
    if rhs.ndim not in (1, 2) or len(rhs) != n:
        raise InputError("rhs", f"shape ({n},) or ({n}, k)", f"shape {rhs.shape}", "pass one value a node")
    nodes, values = np.asarray(nodes), real_array("values", values)
    nodes = nodes.astype(np.int64) if nodes.size == 0 else nodes
    if nodes.ndim != 1 or not np.issubdtype(nodes.dtype, np.integer):
        received = f"dtype {nodes.dtype}, shape {nodes.shape}"
        raise InputError("nodes", "a vector of node numbers", received, "pass integers")
    bad = nodes[(nodes < 0) | (nodes >= n)]
    if bad.size:
        raise InputError("nodes", f"numbers from 0 to {n - 1}", bad[0], "correct the numbers")
    if len(np.unique(nodes)) < len(nodes):
        raise InputError("nodes", "each node once", "a repeated node", "pass np.unique(nodes)")
    if values.shape not in [(), (len(nodes),), (len(nodes), *rhs.shape[1:])]:
        raise InputError(
            "values", f"a number or {len(nodes)} values, one a fixed node", f"shape {values.shape}",
            "pass them in the order of nodes",
        )  # fmt: skip
    for name, array in (("rhs", rhs), ("values", values)):
        if not np.isfinite(array).all():
            raise InputError(name, "finite values", "nan or inf", "correct the data they come from")
    if values.ndim == 1 and rhs.ndim == 2:
        values = values[:, None]
    return nodes, values


def part_without_fixed_node(matrix: csr_array, nodes: np.ndarray) -> int | None:
    """The first node of a connected part that has no fixed node and a matrix that is zero on constants; None if there is none."""
    count, parts = connected_components(matrix, directed=False)
    held = np.zeros(count, dtype=bool)
    held[parts[nodes]] = True
    if held.all():
        return None
    size = abs(matrix).sum(axis=1)
    loose = (np.abs(matrix.sum(axis=1)) <= 1e-13 * size) & (size > 0)  # to rounding of the sum
    singular = ~held & (np.bincount(parts, ~loose, count) == 0)
    return int(np.argmax(singular[parts])) if singular.any() else None


def factorised(matrix: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The solver of a symmetric positive definite sparse matrix: minimum degree, pivots on the diagonal, as Cholesky would do.

    The search for the order of elimination starts from that of Cuthill and McKee: from the numbers of a refined mesh it may take
    fifty times as long, and it fills more.

    Raises
    ------
    RuntimeError
        If the matrix is singular.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> factorised(csr_array(np.diag([2.0, 4.0])))(np.ones(2)).tolist()
    [0.5, 0.25]
    """
    order = reverse_cuthill_mckee(csr_array(matrix), symmetric_mode=True)[::-1]
    turned = csc_array(csr_array(matrix)[order][:, order])
    factors = splu(turned, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    back = np.argsort(order)
    return lambda right: factors.solve(np.ascontiguousarray(right[order]))[back]


def _solve_direct(matrix: csr_array, right: np.ndarray) -> np.ndarray:
    try:
        solve = factorised(matrix)
    except RuntimeError as error:
        remedy = "fix more nodes or check the mesh"
        raise InputError("matrix", "a positive definite matrix", str(error), remedy) from None
    return solve(right)


def _solve_sine(
    matrix: csr_array, right: np.ndarray, tol: float, required: bool, points: np.ndarray | None
) -> np.ndarray | None:
    """By sine transforms; None, or an error, where they are no help."""
    side, order, spread = transforms.square_side(matrix) if points is None else None, None, np.inf
    if side is not None:
        spread = transforms.contrast(matrix, side)
        mean = [float(part.mean()) for part in transforms.couplings(matrix, side)]
    elif points is not None and (order := transforms.lattice(points, inner=True)) is not None:
        spread, side, mean = transforms.diagonal_contrast(matrix, order), math.isqrt(len(order)), [1.0, 1.0]
    if spread <= (np.finfo(float).max if required else transforms.CONTRAST):
        found = transforms.solve(matrix, right, transforms.sines(side, *mean), tol, spread, order)
        if found is not None or not required:
            return found
        received = f"{transforms.MOST} iterations without it, at contrast {rounded(spread)}"
        raise InputError("solve", f"a relative error in energy <= {tol:g}", received, 'use method="direct"')
    if required:
        expected = "the inner nodes of fem.unit_square, with neighbours that are coupled"
        raise InputError("method", f"{expected}, for sine", f"{matrix.shape[0]} unknowns of another kind", 'use method="auto"')
    return None


def _solve_amg(matrix: csr_array, right: np.ndarray, tol: float) -> np.ndarray:
    import pyamg
    from scipy.sparse.linalg import cg

    # Right triangles couple the ends of their long sides by exact zeros, which aggregates must not follow.
    hierarchy = pyamg.smoothed_aggregation_solver(
        matrix, strength=("symmetric", {"theta": 0.05}), max_coarse=500
    )
    preconditioner = hierarchy.aspreconditioner(cycle="V")
    columns = []
    for b in right.reshape(len(right), -1).T:
        x, failed = cg(matrix, b, rtol=tol, atol=0.0, maxiter=AMG_ITERATIONS, M=preconditioner)
        if failed:
            reached = np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)
            raise InputError(
                "solve", f"a relative residual <= {tol:g} in {AMG_ITERATIONS} iterations", f"{reached:.1e}",
                'use method="direct" or a larger tol',
            )  # fmt: skip
        columns.append(x)
    return np.stack(columns, axis=1).reshape(right.shape)
