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
from typing import TYPE_CHECKING

import jax
import numpy as np

from hybrid_lib import fem, training
from hybrid_lib.config import (
    CoarseConfig,
    Config,
    NetworkConfig,
    SamplingConfig,
    TrainingConfig,
)
from hybrid_lib.errors import InputError, real_array
from hybrid_lib.experiments.jumps import require_no_jumps
from hybrid_lib.experiments.price import small_length
from hybrid_lib.methods import method_of, recommended_method, require_form
from hybrid_lib.methods.defect import ErrorEstimate
from hybrid_lib.problems import Problem, require_drop

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
        On any domain; with formulation="hypercircle" with any conditions on its sides, else with temperatures.
    length : float, optional
        The small length that the two-scale network and the quadrature are told, in units of the shortest side as `eps` of the
        configuration. Default: the period of the medium. Without a period it is the smallest feature; the network then repeats a
        pattern that the medium does not have.
    widths : tuple of int, optional
        Hidden layers of each of the two networks; default (16, 16) in one dimension, (20, 20) in two.
    steps : int, optional
        Gauss-Newton steps; default 300 in one dimension, 120 in two.
    formulation : "strong", "first-order" or "hypercircle"
        The first one trains the network alone where the coupling does not know domain or sides. The second has no coupling
        and no ∇K, so that K may jump: method pinn on the quadrature points of the cells. Judge
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
    method = recommended_method(formulation, problem)
    require_form(problem, method)
    if not method.admits_jumps:
        require_no_jumps(problem)
    d = problem.domain.dimension
    length = small_length(problem, length)
    cells = max(4, math.ceil(CELLS_A_LENGTH[d] / length - 1e-9))
    repeats = round(1 / length)
    while repeats > 1 and math.gcd(cells, repeats) > 1:
        cells += 1
    config = method.recommended(
        Config(
            problem.name,
            length,
            dtype="float64",
            network=NetworkConfig(
                "two-scale", {1: (16, 16), 2: (20, 20)}[d] if widths is None else widths, boundary_layers=True, layer_factor=True
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
    if config.sampling.sampler == "two-scale":  # no cells; sizes of its own, but for those that are asked for
        network, sampling, options = config.network, config.sampling, config.training
        if widths is not None:
            network = dataclasses.replace(network, widths=widths, slow_widths=None)
        if steps is not None:
            sampling = dataclasses.replace(sampling, grow_after=round(0.6 * steps) if sampling.grow_after else 0)
            options = dataclasses.replace(options, steps=steps)
        return dataclasses.replace(config, network=network, sampling=sampling, training=options)
    points = {1: 4 * cells, 2: 14 * cells**2}[
        d
    ]  # of one piece: 4 Gauss points, or 7 in each of two triangles
    wanted = POINTS_A_PARAMETER * parameters_of(problem, config)
    pieces = max({1: 2, 2: 1}[d], math.ceil((wanted / points) ** (1 / d)))
    return dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, pieces=pieces))


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
    require_drop(problem, "field_energy")
    points, weights = fem.quadrature_points(problem.domain.mesh(cells), order)
    x, w = points.reshape(-1, points.shape[-1]), weights.reshape(-1)
    value, gradient = (real_array("field", a) for a in field(x))
    K, slope = fem.evaluate(problem.medium.conductivity, x), gradient + np.asarray(problem.direction)
    flux = K[:, None] * slope if K.ndim == 1 else np.einsum("kij,kj->ki", K, slope)
    return float(w @ (np.sum(slope * flux, axis=1) / 2 - fem.evaluate(problem.source, x) * value))


def error_estimate(
    result: RunResult, seed_index: int = 0, which: str | None = None, pieces: int = 2
) -> ErrorEstimate:
    """Error of a run with the defect coupling as the run itself can tell it, by two quadrature rules.

    A bound, up to quadrature, if K ≥ α everywhere and the domain is an interval or convex; elsewhere an indicator. C_h is that of
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
    setup, theta = result.setup, result.parameters(seed_index, which)
    return setup.method.estimate(setup, theta, training.member(setup.data, seed_index), pieces)


def parameters_of(problem: Problem, config: Config) -> int:
    """Number of the networks' parameters; nothing is computed."""
    ansatz = method_of(config).ansatz(problem, dataclasses.replace(config, dtype="float32"))
    theta, _ = jax.eval_shape(ansatz.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(theta))
