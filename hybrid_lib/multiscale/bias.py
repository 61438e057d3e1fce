r"""What the averaged coupling costs: the minimiser of :math:`\|A u - f\|^2 + \tau_2 R_\delta(y(u), u)` over all fields.

No network and no training: the residual r ranges over L². Then u = u^ε + A⁻¹r, and since A is self-adjoint a functional b of u
sees r through A⁻¹b. So r is a combination of as many functions as there are coarse nodes, and one for K̂.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.fem.solve import factorised
from hybrid_lib.multiscale.coarse import coarse_problem
from hybrid_lib.multiscale.compression import compression

_ITERATIONS, _TOLERANCE = 20, 1e-7  # of Gauss-Newton: only K̂ is not linear, two or three do


class Bias(NamedTuple):
    """The minimiser for each weight, arrays of the length of `weight`; errors are against the fine solution on the same mesh.

    Attributes
    ----------
    weight : ndarray
        τ₂ over the weight of the residual.
    rel_l2, rel_h1 : ndarray
        Relative error in L² and in the gradient.
    residual, coupling : ndarray
        ‖Au − f‖² and R_δ(y(u), u).
    upscaled : ndarray
        K̂[u].
    gap : float
        ‖Q_δu − y(u)‖ / ‖y(u)‖ at the fine solution, where the weight is 0.
    """

    weight: np.ndarray
    rel_l2: np.ndarray
    rel_h1: np.ndarray
    residual: np.ndarray
    coupling: np.ndarray
    upscaled: np.ndarray
    gap: float


def coupling_bias(
    fine: fem.Mesh,
    coarse: fem.Mesh,
    conductivity: Callable,
    source: float | Callable,
    delta: float,
    distance: Callable,
    weights: Sequence[float],
    direction: int = 0,
    radius: float | None = None,
) -> Bias:
    r"""Minimise :math:`\|A u - f\|^2 + \tau_2 \sum_i \omega_i ((Q_\delta u - y_h)(x_i))^2` for each τ₂, y_h the state of u.

    Parameters
    ----------
    fine, coarse : Mesh
        The fine one resolves the conductivity and the balls.
    conductivity, source : callable
        Scalar K and q of one point.
    delta, distance, radius
        As in :func:`~hybrid_lib.multiscale.compression.compression`.
    weights : sequence of float
        Effective weights τ₂ > 0.
    direction : int
        Of the drop.

    Returns
    -------
    Bias

    Raises
    ------
    InputError
        If a weight is not positive.

    Notes
    -----
    The fields vanish on the boundary. One sparse factorisation of the fine matrix and a solve a coarse node; linear elements, so
    everything is of second order in the fine mesh size. The averages are means over its quadrature points.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> K, near = lambda x: 2 + jnp.sin(10 * jnp.pi * x[0]), lambda x: jnp.minimum(x[0], 1 - x[0])
    >>> found = coupling_bias(fem.interval(200), fem.interval(10), K, 1.0, 0.2, near, (1e-3, 1e-2, 1e8))
    >>> round(float(found.rel_l2[1] / found.rel_l2[0]), 3), bool(found.coupling[2] < 1e-3 * found.coupling[0])
    (10.0, True)
    """
    weights = np.asarray(weights, float)
    if not np.all(weights > 0):
        raise InputError("weights", "numbers > 0", weights.tolist(), "the limit 0 is the fine solution itself")
    free, e = fine.interior_nodes, np.eye(fine.dimension)[direction]
    K = fem.cell_coefficient(fine, conductivity, order=4)  # (m, d, d)
    form, energy, mass = (m[free][:, free] for m in (fem.stiffness(fine, K), fem.stiffness(fine, 1.0), fem.mass(fine)))
    solve = factorised(form)
    pull, area = fem.flux_load(fine, K, e)[free], fine.volumes.sum()  # ∫ K e·∇φ
    u = solve(fem.load(fine, source, order=4)[free] - pull)
    slope, mean = pull / area, float(np.einsum("m,a,mab,b->", fine.volumes, e, K, e)) / area  # K̂ is a mean

    problem, inner = coarse_problem(coarse, source, e, isotropic_constant=True), coarse.interior_nodes
    root = np.sqrt(np.asarray(problem.weights, float)[inner])
    unit = root * np.asarray(problem.unit_state, float)[inner]
    Q = sp.diags_array(root) @ _averaging(fine, coarse, delta, distance, radius)[inner][:, free]
    X = solve(np.concatenate([Q.toarray(), slope[None]]).T)  # (n, k + 1): A⁻¹ of each functional
    M, seen, k = X.T @ (mass @ X), np.append(Q @ u, slope @ u), len(unit)

    def misfit(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ρ = Qu − y₁/K̂ from z = (Qu, K̂ − mean), and the last column j of its derivative (I, j)."""
        K_hat = mean + z[k]
        return z[:k] - unit / K_hat, unit / K_hat**2

    size = lambda matrix, v: float(np.sqrt(v @ (matrix @ v)))  # noqa: E731
    rows, a = [], np.zeros(k + 1)  # r = Xa
    for weight in weights:
        for _ in range(_ITERATIONS):
            moves = M @ a
            rho, j = misfit(seen + moves)
            half = M[:k] + np.outer(j, M[k])  # (I, j) M
            system = half[:, :k] + np.outer(half[:, k], j) + np.eye(k) / weight
            b = np.linalg.solve(system, moves[:k] + j * moves[k] - rho)
            new = np.append(b, j @ b)
            moved, a = np.linalg.norm(new - a), new
            if moved <= _TOLERANCE * np.linalg.norm(a):
                break
        rho, _ = misfit(seen + M @ a)
        off = solve(mass @ (X @ a))
        relative = [size(matrix, off) / size(matrix, u) for matrix in (mass, energy)]
        rows.append((*relative, a @ M @ a, rho @ rho, mean + (seen + M @ a)[k]))
    gap = np.linalg.norm(misfit(seen)[0]) * (mean + seen[k]) / np.linalg.norm(unit)
    return Bias(weights, *np.array(rows).reshape(-1, 5).T, float(gap))


def _averaging(fine: fem.Mesh, coarse: fem.Mesh, delta: float, distance: Callable, radius: float | None) -> sp.csr_array:
    """Q_δ as a matrix from the nodes of the fine mesh to those of the coarse one."""
    dots = fem.quadrature_points(fine, 4 if fine.dimension == 1 else 1)[0].reshape(-1, fine.dimension)
    Q = compression(coarse.points, dots, delta, distance, radius)
    near = np.asarray(Q.pointwise_nodes)
    entries = np.asarray(Q.weights, float), (np.asarray(Q.rows), np.asarray(Q.columns))
    means = sp.csr_array(entries, shape=(len(coarse.points), len(dots))) @ fem.interpolation_matrix(fine, dots)
    values = fem.interpolation_matrix(fine, coarse.points[near])
    place = sp.csr_array((np.ones(len(near)), (near, np.arange(len(near)))), shape=(len(coarse.points), len(near)))
    return sp.csr_array(means + place @ values)
