r"""The defect coupling, its right-hand side: the residual of the fine field on the coarse test functions.

.. math:: z \in Y_h: \quad \int \hat K \nabla z\cdot\nabla v = \int q\,v - \int K^\varepsilon(\nabla u + e)\cdot\nabla v
          \quad \text{for all } v \in Y_h, \qquad R(u) = \int \hat K \nabla z\cdot\nabla z

It takes the place of the couplings (2.10), (2.16) and asks for something else: not that an average of u be the coarse
state, which the solution itself does not satisfy, but that the coarse test functions do not see a residual. At the solution
of the fine problem z = 0, for every period and every coarse mesh. For u zero on the boundary and a square integrable residual

.. math:: \alpha^2 |u - u^\varepsilon|_{H^1}^2 \le C_h^2 \|A^\varepsilon u - f^\varepsilon\|_{L^2}^2 + \hat\beta R(u), \qquad
          C_h = \sup_{w \perp Y_h} \frac{\|w\|_{L^2}}{|w|_{H^1}},

with α the lower bound of :math:`K^\varepsilon`, :math:`\hat\beta` the largest eigenvalue of :math:`\hat K` and w orthogonal in
:math:`H^1_0`: split the error into its projection on Y_h and a rest. On an interval :math:`C_h = h/\pi` with the longest
cell h. On a convex polygon :math:`C_h \le \max_T \sigma_1^2/(\mu\sigma_2)` with the singular values of two edges of T from
one corner and μ = 2.0287..., tan μ = −μ; for right angles with legs h that is 0.493 h. The strong residual alone has the
constant of Poincaré in the place of C_h. The weight of R that makes ‖r‖² + τR the bound is :math:`\tau = \hat\beta/C_h^2`.

The integral of the fine flux is all that is needed of u. A hat function has a constant gradient on a cell, so the flux is
integrated over each coarse cell first, :math:`\Phi_T(u) = \int_T K^\varepsilon\nabla u`, by a rule that resolves the
period, and the d numbers of each cell are then scattered to its corners: no matrix with a column a quadrature point.
Norm, residual vector and adjoint are in :mod:`hybrid_lib.multiscale.dual_norm`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array
from hybrid_lib.fem import Mesh
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale._coarse_problem import CoarseProblem, hat_integrals

ORDER = {1: 7, 2: 5}
"""Default order of the rule on a part of a coarse cell, by dimension; 4 points in 1-D, 7 in 2-D."""
INTERPOLATION_ROOT = 2.028757838110434
"""The number μ between π/2 and π with tan μ = −μ; 1/μ bounds linear interpolation on the right triangle with legs 1."""
PARTS_A_PERIOD = 4
"""Parts of coarse cells are at most a period divided by this long."""


class Defect(NamedTuple):
    r"""Quadrature of the defect on m coarse cells with Q points each; a pytree of arrays.

    Attributes
    ----------
    points : (m, Q, d)
        Quadrature points.
    weights : (m, Q)
        Their weights, with the volumes of the cells in them.
    weighted_conductivity : (m, Q) or (m, Q, d, d)
        Weight times :math:`K^\varepsilon`.
    drop_flux : (m, d)
        :math:`\int_T K^\varepsilon e` by the same rule.
    load : (k,)
        :math:`\int q\varphi_i` at the interior nodes by the same rule.
    """

    points: jax.Array
    weights: jax.Array
    weighted_conductivity: jax.Array
    drop_flux: jax.Array
    load: jax.Array

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # by identity: arrays have no truth


def parts_of_an_edge(mesh: Mesh, period: float | None) -> int:
    """Into how many pieces the edges of the coarse cells are cut so that the parts resolve a period.

    The side s of a cell is that of a cell of the same volume with right angles, `(d! |T|)^(1/d)`, the largest of the
    mesh. With pieces of s/n ≤ period/4 the rules of order 7 (d = 1) and 5 (d = 2) integrate a wave of that period
    to about 1e-8 and 1e-5 of its amplitude, its second harmonic to 1e-5 and 1e-3.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> parts_of_an_edge(interval(10), 0.1), parts_of_an_edge(interval(10), None)
    (4, 1)
    """
    if period is None:
        return 1
    return max(1, int(np.ceil(PARTS_A_PERIOD * cell_side(mesh) / period - 1e-9)))


def cell_side(mesh: Mesh) -> float:
    """Side of the right-angled cell that has the volume of the mesh's largest one, `(d! |T|)^(1/d)`.

    Examples
    --------
    >>> from hybrid_lib.fem import unit_square
    >>> round(cell_side(unit_square(25)), 12)
    0.04
    """
    d = mesh.dimension
    return float((d * np.max(mesh.volumes)) ** (1 / d))  # d! = d for d = 1, 2


def projection_constant(mesh: Mesh) -> float:
    r"""Bound of :math:`C_h = \sup \|w\|_{L^2}/|w|_{H^1}` over the w in H¹₀ orthogonal to the linear elements, :math:`P_h w = 0`.

    .. math:: C_h = h/\pi \;\; (d = 1), \qquad C_h \le \max_T \sigma_1(E_T)^2 / (\mu\, \sigma_2(E_T)) \;\; (d = 2),

    with the longest cell h, or as columns of E_T the edges of a triangle T from its best corner, singular values σ₁ ≥ σ₂, and
    μ = 2.0287… between π/2 and π with tan μ = −μ. Right angles with legs h have the bound 0.493 h.

    Parameters
    ----------
    mesh : Mesh
        Of an interval or of a convex polygon; on another polygon the number is no bound.

    Examples
    --------
    >>> from hybrid_lib.fem import unit_square
    >>> round(10 * projection_constant(unit_square(10)), 3)
    0.493
    """
    if mesh.dimension == 1:
        return float(mesh.volumes.max() / np.pi)
    corners = mesh.points[mesh.cells]  # (m, 3, 2)
    shapes = []
    for turned in (np.roll(corners, k, axis=1) for k in range(3)):
        values = np.linalg.svd(turned[:, 1:] - turned[:, :1], compute_uv=False)  # (m, 2), the larger first
        shapes.append(values[:, 0] ** 2 / values[:, 1])
    return float(np.max(np.min(shapes, axis=0)) / INTERPOLATION_ROOT)


def defect(
    problem: CoarseProblem,
    mesh: Mesh,
    conductivity: Callable | float,
    source: Callable | float = 0.0,
    pieces: int = 1,
    order: int | None = None,
) -> Defect:
    r"""Prepare the defect on the host, in float64, rounded to the dtype of the coarse problem.

    Parameters
    ----------
    problem : CoarseProblem
        Of `mesh`; gives the direction e, the numbers of the unknowns and the dtype.
    mesh : Mesh
        Coarse mesh, m cells.
    conductivity : callable x (d,) -> () or (d, d), or float
        :math:`K^\varepsilon`.
    source : callable x (d,) -> () or float
        *q*.
    pieces : int
        Pieces of each edge of a coarse cell, see :func:`parts_of_an_edge`.
    order : int, optional
        Of the rule on each of the pieces^d parts; default 7 in 1-D, 5 in 2-D.

    Returns
    -------
    Defect

    Raises
    ------
    InputError
        For pieces or an order that cannot be, or coefficients that are not finite or of another shape.

    Notes
    -----
    O(m Q).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> mesh = interval(4)
    >>> problem = coarse_problem(mesh, 1.0, isotropic_constant=True)
    >>> d = defect(problem, mesh, 3.0, 1.0)
    >>> d.points.shape, d.load.round(6).tolist(), d.drop_flux.ravel().round(6).tolist()
    ((4, 4, 1), [0.25, 0.25, 0.25], [0.75, 0.75, 0.75, 0.75])
    """
    d = mesh.dimension
    if problem.unknowns.shape != mesh.cells.shape:
        raise InputError(
            "mesh", f"{problem.unknowns.shape[0]} cells, those of the coarse problem", len(mesh.cells),
            "pass the mesh the problem was made with",
        )  # fmt: skip
    barycentric, weights = fem.composite_rule(d, pieces, ORDER[d] if order is None else order)
    points = np.einsum("qi,mia->mqa", barycentric, mesh.points[mesh.cells])  # (m, Q, d)
    weights = mesh.volumes[:, None] * weights  # (m, Q)
    K = _values(conductivity, points, "conductivity", ((), (d, d)))
    q = _values(source, points, "source", ((),))
    weighted = weights * K if K.ndim == 2 else weights[..., None, None] * K
    e = np.asarray(problem.direction, float)
    drop = weighted.sum(axis=1)[:, None] * e if K.ndim == 2 else weighted.sum(axis=1) @ e  # (m, d)
    nodal = np.zeros(problem.interior_nodes.shape[0] + 1)
    np.add.at(nodal, np.asarray(problem.unknowns), (weights * q) @ barycentric)  # (m, d+1) to (k+1,)
    dtype = problem.source.dtype

    def real(a: np.ndarray) -> jax.Array:
        return jnp.asarray(np.asarray(a).astype(dtype))

    return Defect(real(points), real(weights), real(weighted), real(drop), real(nodal[:-1]))


def cell_flux(weighted_conductivity: jax.Array, gradient: jax.Array) -> jax.Array:
    r"""Flux of the fine field integrated over one coarse cell, :math:`\Phi_T = \int_T K^\varepsilon\nabla u`.

    Parameters
    ----------
    weighted_conductivity : (Q,) or (Q, d, d)
        One row of :class:`Defect`.
    gradient : (Q, d)
        ∇u at the quadrature points of the cell.

    Returns
    -------
    (d,) array
        Linear in the gradient; vmap it over the cells.

    Examples
    --------
    >>> cell_flux(jnp.array([1.0, 2.0]), jnp.array([[1.0, 0.0], [1.0, 1.0]])).tolist()
    [3.0, 2.0]
    """
    if weighted_conductivity.ndim == 1:
        return jnp.sum(weighted_conductivity[:, None] * gradient, axis=0)
    return jnp.sum(weighted_conductivity * gradient[:, None, :], axis=(0, 2))


def coarse_residual(problem: CoarseProblem, defect: Defect, fluxes: jax.Array) -> jax.Array:
    r"""Residual of the fine field on the coarse test functions.

    .. math:: \rho_i = \int q\,\varphi_i - \sum_T \bigl(\Phi_T + \textstyle\int_T K^\varepsilon e\bigr)\cdot
              \nabla\varphi_i|_T, \qquad i \text{ an interior node}

    Parameters
    ----------
    problem : CoarseProblem
    defect : Defect
    fluxes : (m, d)
        From :func:`cell_flux`.

    Returns
    -------
    (k,) array
        Affine in the fluxes; O(m d²).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> problem = coarse_problem(interval(2), 2.0, isotropic_constant=True)
    >>> d = defect(problem, interval(2), 1.0, 2.0)
    >>> coarse_residual(problem, d, jnp.array([[0.25], [-0.25]])).round(6).tolist()  # u = x (1 - x)
    [0.0]
    """
    return defect.load - hat_integrals(problem, fluxes + defect.drop_flux)


def upscaled(
    problem: CoarseProblem, defect: Defect, fluxes: jax.Array, mean_slopes: jax.Array | None = None
) -> jax.Array:
    r"""The upscaled conductivity (4.10) of each part from the same quadrature as the defect.

    .. math:: \hat K = \frac{\int_V e\cdot K^\varepsilon(\nabla u + e)}{\int_V e\cdot(\nabla u + e)}

    Parameters
    ----------
    problem : CoarseProblem
    defect : Defect
    fluxes : (m, d)
        From :func:`cell_flux`.
    mean_slopes : (m, d), optional
        :math:`\int_T \nabla u`. For one part V is the whole domain, u vanishes on its boundary, and they are not needed.

    Returns
    -------
    () or (P, d, d) array
        In the shape the problem takes: a scalar, or isotropic tensors. O(m d).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> problem = coarse_problem(interval(2), isotropic_constant=True)
    >>> float(upscaled(problem, defect(problem, interval(2), 3.0), jnp.zeros((2, 1))))
    3.0
    """
    e = problem.direction

    def over_parts(cells: jax.Array) -> jax.Array:
        along = jnp.sum(cells * e[None, :], axis=1)  # (m,)
        return jax.ops.segment_sum(along, problem.parts, num_segments=problem.n_parts)

    drop = over_parts(problem.volumes[:, None] * e[None, :])  # (P,)
    if problem.n_parts > 1:
        drop = drop + over_parts(mean_slopes)
    K = over_parts(fluxes + defect.drop_flux) / drop  # (P,)
    return K[0] if problem.isotropic_constant else K[:, None, None] * jnp.eye(len(e), dtype=K.dtype)[None]


class QuadratureError(NamedTuple):
    r"""Sizes in the norm :math:`\sqrt R`: of the `defect` itself, and of its change (`error`) under a finer rule."""

    defect: float
    error: float


def quadrature_error(
    problem: CoarseProblem, coarser: Defect, finer: Defect, K_hat: jax.Array, gradient: Callable
) -> QuadratureError:
    r"""How far the quadrature of the defect is off for a given field: the same residual by a second, finer rule.

    Parameters
    ----------
    problem : CoarseProblem
    coarser, finer : Defect
        Of the same coarse mesh; more pieces or a higher order for the second.
    K_hat : () or (P, d, d)
        Tensor of the norm.
    gradient : callable x (d,) -> (d,)
        ∇u at one point.

    Returns
    -------
    QuadratureError
        An `error` that is not well below `defect` says that the training fits the rule: use more pieces.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale.coarse import coarse_problem
    >>> mesh = interval(4)
    >>> problem = coarse_problem(mesh, isotropic_constant=True)
    >>> rules = [defect(problem, mesh, lambda x: 1 + x[0] ** 2, order=order) for order in (1, 3)]
    >>> off = quadrature_error(problem, *rules, jnp.asarray(1.0), lambda x: x)
    >>> off.error < 0.01 * off.defect
    True
    """

    def residual(rule: Defect) -> jax.Array:
        gradients = jax.vmap(jax.vmap(gradient))(rule.points)  # (m, Q, d)
        return coarse_residual(problem, rule, jax.vmap(cell_flux)(rule.weighted_conductivity, gradients))

    here, there = residual(coarser), residual(finer)
    sizes = [jnp.sqrt(dual_norm.norm_squared(problem, K_hat, rho)) for rho in (here, there - here)]
    return QuadratureError(*map(float, sizes))


def _values(field: Callable | float, points: np.ndarray, name: str, shapes: tuple) -> np.ndarray:
    """A constant or a function of one point at all quadrature points, (m, Q, ...)."""
    values = fem.evaluate(field, points) if callable(field) else real_array(name, field)
    if not callable(field):
        values = np.broadcast_to(values, points.shape[:2] + values.shape)
    if values.shape[2:] not in shapes:
        expected = " or ".join(str(shape) for shape in shapes)
        raise InputError(name, f"values of shape {expected}", f"shape {values.shape[2:]}", "one value for one point")
    if not np.all(np.isfinite(values)):
        raise InputError(name, "finite values", "nan or inf", "correct the field")
    return values
