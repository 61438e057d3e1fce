r"""A medium of one's own: sizes for the solver, the price of finite elements, and error estimates without a reference.

The energy of a field u that vanishes on ∂Ω,

.. math:: \mathcal E(u) = \tfrac12\int (\nabla u + e)\cdot K(\nabla u + e) - \int q\,u, \qquad
          \mathcal E(u) - \mathcal E(u^\varepsilon) = \tfrac12 \int \nabla(u - u^\varepsilon)\cdot K\nabla(u - u^\varepsilon),

says which of two fields is closer to the solution without knowing it: the one with less energy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem, training
from hybrid_lib.errors import InputError, real_array
from hybrid_lib.experiments.assemble import ansatz_of
from hybrid_lib.experiments.config import (
    CoarseConfig,
    Config,
    NetworkConfig,
    SamplingConfig,
    TrainingConfig,
    has_defect,
    validated,
)
from hybrid_lib.experiments.data import defect_of
from hybrid_lib.experiments.jumps import require_no_jumps
from hybrid_lib.experiments.price import small_length
from hybrid_lib.experiments.problems import Problem
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale.defect import Defect, coarse_residual, projection_constant, upscaled
from hybrid_lib.pinn.residuals import lifted_source, strong_residual

if TYPE_CHECKING:
    from hybrid_lib.experiments.result import RunResult

CELLS_A_LENGTH = {1: 10 / 3, 2: 5 / 2}
"""Coarse cells in one small length, by dimension: as in the paper's problems with Gauss-Newton."""
POINTS_A_PARAMETER = 3
"""Quadrature points a parameter of the network, at least."""



def own_configuration(
    problem: Problem,
    length: float | None = None,
    *,
    widths: tuple[int, ...] | None = None,
    steps: int | None = None,
    formulation: str = "strong",
) -> Config:
    """Sizes for :func:`hybrid_lib.experiments.train` on a problem of one's own: defect coupling, Gauss-Newton, float64.

    About 10/3 coarse cells a small length in one dimension, 5/2 in two; their number has no common factor with the number
    of periods, so that the quadrature points meet the medium in many phases. The cells are cut in pieces until there are at
    least three quadrature points a parameter. In one dimension the residual has 2,048 points graded towards the ends.

    Parameters
    ----------
    problem : Problem
        On the interval or the unit square.
    length : float, optional
        The small length that the two-scale network and the quadrature are told. Default: the period of the medium. Without a
        period it is the smallest feature; the network then repeats a pattern that the medium does not have.
    widths : tuple of int, optional
        Hidden layers of each of the two networks; default (16, 16) in one dimension, (20, 20) in two.
    steps : int, optional
        Gauss-Newton steps; default 300 in one dimension, 120 in two.
    formulation : "strong" or "first-order"
        The second has no coupling and no ∇K, so that K may jump: method pinn on the quadrature points of the cells. Judge
        it by :func:`hybrid_lib.experiments.objective_value` with a finer rule.

    Raises
    ------
    InputError
        For a medium with jumps in the strong formulation, one without a period when no length is given, or a length outside
        (0, 1].

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.experiments import own_problem
    >>> config = own_configuration(own_problem(media.paper_1d(1 / 12)))
    >>> config.coarse.cells, config.coarse.pieces, config.training.steps
    (41, 13, 300)
    """
    if formulation == "strong":
        require_no_jumps(problem)
    d = problem.domain.dimension
    length = small_length(problem, length)
    cells = max(4, math.ceil(CELLS_A_LENGTH[d] / length - 1e-9))
    repeats = round(1 / length)
    while repeats > 1 and math.gcd(cells, repeats) > 1:
        cells += 1
    config = validated(
        Config(
            problem.name,
            length,
            dtype="float64",
            network=NetworkConfig(
                "two-scale", widths or {1: (16, 16), 2: (20, 20)}[d], boundary_layers=True, layer_factor=True
            ),
            sampling=SamplingConfig(points=2048, sampler="graded") if d == 1 else SamplingConfig(sampler="gauss"),
            coarse=CoarseConfig(cells=cells, coupling="defect"),
            training=TrainingConfig(
                optimiser="gauss-newton",
                steps={1: 300, 2: 120}[d] if steps is None else steps,
                record_every=10,
                report_every={1: 50, 2: 20}[d],
                select="last",
            ),
        )
    )
    points = {1: 4 * cells, 2: 14 * cells**2}[
        d
    ]  # of one piece: 4 Gauss points, or 7 in each of two triangles
    networks = 1 if formulation == "strong" else {1: 2, 2: 4}[d]
    wanted = POINTS_A_PARAMETER * networks * _parameters(problem, config)
    pieces = max({1: 2, 2: 1}[d], math.ceil((wanted / points) ** (1 / d)))
    config = dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, pieces=pieces))
    if formulation == "strong":
        return config
    gauss = SamplingConfig(sampler="gauss")
    return validated(dataclasses.replace(config, method="pinn", formulation=formulation, sampling=gauss))


def field_energy(
    problem: Problem, field: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], cells: int, order: int = 9
) -> float:
    """Energy 𝓔(u) of a field by quadrature; of two fields that vanish on ∂Ω the one with less is closer to the solution.

    Parameters
    ----------
    problem : Problem
    field : callable (k, d) -> ((k,), (k, d))
        u and ∇u at points, for instance ``RunResult.solution``.
    cells : int
        Cells a side that the rule of this `order` is put on; they should resolve K and the field. For pixels take a number
        that puts the lines of the cells on their edges, ``problem.medium.pixels.cells(least)``: the rule is exact about K there.
    order : int

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.experiments import own_problem
    >>> zero = lambda x: (np.zeros(len(x)), np.zeros(x.shape))
    >>> round(field_energy(own_problem(media.constant(3.0, 1)), zero, 4), 12)
    1.5
    """
    points, weights = fem.quadrature_points(problem.domain.mesh(cells), order)
    x, w = points.reshape(-1, points.shape[-1]), weights.reshape(-1)
    value, gradient = (real_array("field", a) for a in field(x))
    K, slope = fem.evaluate(problem.medium.conductivity, x), gradient + np.asarray(problem.direction)
    flux = K[:, None] * slope if K.ndim == 1 else np.einsum("kij,kj->ki", K, slope)
    return float(w @ (np.sum(slope * flux, axis=1) / 2 - fem.evaluate(problem.source, x) * value))


class ErrorEstimate(NamedTuple):
    """Right side of the bound `|u_θ − u|²_{H¹} ≤ α⁻²(K̂D + C_h² ‖r‖²)`, relative to `|u_θ|_{H¹}`.

    Attributes
    ----------
    bound : float
        By the rule of the training.
    second : float
        By a finer rule: the number to believe. Far above `bound` it says that the training fits its points.
    defect, residual : float
        The two parts of `second`: root of K̂D and C_h ‖r‖.
    """

    bound: float
    second: float
    defect: float
    residual: float


def error_estimate(
    result: RunResult, seed_index: int = 0, which: str | None = None, pieces: int = 2
) -> ErrorEstimate:
    """Error of a run with the defect coupling as the run itself can tell it, by two quadrature rules.

    A bound, up to quadrature, if α is one and the domain an interval or convex; elsewhere an indicator. C_h is that of
    :func:`hybrid_lib.multiscale.defect.projection_constant`. Infinite where K̂ of the network is not positive.

    Parameters
    ----------
    result : RunResult
    seed_index, which
        As in ``RunResult.parameters``.
    pieces : int
        The second rule has this many times the pieces of each edge.

    Raises
    ------
    InputError
        For a run without the defect coupling or with soft boundary conditions.
    """
    if not hasattr(result, "setup"):
        raise InputError("result", "what experiments.train returns", type(result).__name__, "train first")
    setup, config = result.setup, result.setup.config
    if not has_defect(config) or config.boundary != "hard":
        raise InputError(
            "error_estimate", "a hybrid run with coarse.coupling=defect and boundary=hard",
            f"method {config.method}, coarse.coupling={config.coarse.coupling}, boundary={config.boundary}", "run with these",
        )  # fmt: skip
    theta, fixed = result.parameters(seed_index, which), training.member(setup.data["fixed"], seed_index)
    first = training.member(setup.data["coupling"], seed_index)
    finer = defect_of(setup.problem, config, setup.coarse_problem, setup.coarse_mesh, pieces)
    at = _point_fields(setup, len(first.points) * first.points.shape[1])
    sizes = [_bound_parts(setup, lambda x: at(theta, fixed, x), rule) for rule in (first, finer)]
    return ErrorEstimate(*(math.hypot(*parts) for parts in sizes), *sizes[1])


def _point_fields(setup: Any, block: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(θ, fixed, points (k·block, d)) ↦ ∇u_θ (k·block, d) and the strong residual (k·block,), compiled for one block."""
    ansatz, medium = setup.ansatz, setup.problem.medium
    source = lifted_source(setup.problem.source, medium.divergence, setup.problem.direction)

    @fem.shared
    def one_block(theta: Any, fixed: Any, points: jax.Array) -> tuple[jax.Array, jax.Array]:
        def at(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            K = medium.conductivity(x)
            jet = ansatz.jet(theta, fixed, x, K if medium.is_tensor else None)
            return jnp.stack(jet.gradient), strong_residual(jet, K, medium.divergence(x), source(x))

        return jax.vmap(at)(points)

    def at(theta: Any, fixed: Any, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [one_block(theta, fixed, part) for part in points.reshape(-1, block, points.shape[-1])]
        return tuple(np.concatenate([np.asarray(f[k], float) for f in found]) for k in (0, 1))

    return at


def _bound_parts(setup: Any, fields: Callable, rule: Defect) -> tuple[float, float]:
    """√(β̂D), with the largest eigenvalue β̂ of K̂, and C_h ‖r‖ by one rule, both over α |u_θ|.

    The first is inf where K̂ is not positive and D is no norm.
    """
    coarse, weights = setup.coarse_problem, np.asarray(rule.weights, float)  # (m, Q)
    gradient, r = fields(np.asarray(rule.points).reshape(-1, rule.points.shape[-1]))
    gradient, r = gradient.reshape(*weights.shape, -1), r.reshape(weights.shape)
    K = np.asarray(rule.weighted_conductivity, float)
    flux = np.einsum("mq,mqd->md" if K.ndim == 2 else "mqde,mqe->md", K, gradient)
    means = [jnp.asarray(a, rule.load.dtype) for a in (flux, np.einsum("mq,mqd->md", weights, gradient))]

    @fem.shared
    def defect_energy(rule: Defect, flux: jax.Array, slopes: jax.Array) -> jax.Array:
        K_hat = upscaled(coarse, rule, flux, slopes)
        largest = K_hat if K_hat.ndim == 0 else jnp.max(fem.tensor_eigenvalues(K_hat)[1])
        return largest * dual_norm.norm_squared(coarse, K_hat, coarse_residual(coarse, rule, flux))

    product = float(
        defect_energy(rule._replace(points=None, weights=None, weighted_conductivity=None), *means)
    )
    scale = setup.problem.medium.alpha * max(
        math.sqrt(np.sum(weights * np.sum(gradient**2, axis=-1))), np.finfo(float).tiny
    )
    residual = math.sqrt(np.sum(weights * r**2)) * projection_constant(setup.coarse_mesh)
    return (math.sqrt(product) if product >= 0 else math.inf) / scale, residual / scale


def _parameters(problem: Problem, config: Config) -> int:
    """Number of the network's parameters; nothing is computed."""
    ansatz = ansatz_of(problem, dataclasses.replace(config, dtype="float32"))
    theta, _ = jax.eval_shape(ansatz.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(theta))
