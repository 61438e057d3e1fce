r"""The hypercircle: a field and a flux that balances the source, and the sum of both squared errors as the objective.

Let w = u + e·x solve −∇·(K∇w) = q, u = 0 on ∂Ω, and σ = K∇w. For **every** v with v = 0 on ∂Ω and **every** τ with ∇·τ + q = 0

.. math:: J(v, \tau) := \|K^{-1/2}(\tau - K(\nabla v + e))\|^2
          = \|K^{1/2}\nabla(v - u)\|^2 + \|K^{-1/2}(\tau - \sigma)\|^2. \tag{1}

Proof. τ − K(∇v + e) = (τ − σ) − K∇(v − u), and the cross term of the square is −2∫(τ − σ)·∇(v − u) = 2∫(v − u)∇·(τ − σ) = 0,
since v − u vanishes on ∂Ω and the divergences agree. ∎ (Prager and Synge 1947)

So √J bounds the error of v in the energy norm and that of τ in its own, with the constant one, for every bounded K that is
bounded below: no ε, no ∇K, no constant of Poincaré. The mean flux μ = (τ + K(∇v + e))/2 has an error that is *known*: by the
parallelogram law ‖K^{−1/2}(μ − σ)‖ = √J/2. In the norms of (1) the least-squares problem has the condition number one, and its
normal equations fall apart: a change δv of v and a change δτ of τ meet in −2∫δτ·∇δv = 0 alone.

With conditions on the sides of a box the same holds for w itself (:mod:`hybrid_lib.methods.lifting`): v = g on Γ_D, n·τ = p on
Γ_N, and where n·K∇w = c(a − w) both sides of (1) get an integral along that side, of (n·τ − c(a − v))²/c on the left
(:mod:`hybrid_lib.fem.sided`).

Beside each network stand the cubic splines of a coarse mesh: the coarse problem of this method. Its unknowns and the output
layers of the networks are eliminated exactly, at the end of a run (:meth:`Hypercircle.finish`); no K̂ enters.

Trial fields are :mod:`hybrid_lib.pinn.hypercircle`'s. Training sums over points that are drawn anew in every step; the bound
that a run reports is an estimate of J by draws of its own, see :func:`sampled_bound`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import CoarseConfig, Config, SamplingConfig
from hybrid_lib.errors import InputError
from hybrid_lib.fem.contact import outward_normals
from hybrid_lib.fem.sides import ORDER, side_data
from hybrid_lib.methods import points
from hybrid_lib.methods.cells import Coarse
from hybrid_lib.methods.flux import FluxMethod, energy_error, integral_block
from hybrid_lib.methods.interfaces import kinks
from hybrid_lib.methods.lifting import balancing_flux, centre, lifting  # noqa: F401, the place of `centre` before
from hybrid_lib.methods.limits import margin
from hybrid_lib.methods.method import Counts, Data, Load, Tree
from hybrid_lib.methods.steps import second_order
from hybrid_lib.methods.trial import ansatz_of, of_stream, times, with_kinks, with_splines, with_terms
from hybrid_lib.pinn import phases, splines
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.hypercircle import FIELD, FLUX, HypercircleAnsatz
from hybrid_lib.pinn.residuals import flux_residual
from hybrid_lib.problems import Problem, argument
from hybrid_lib.training.ritz import RitzResult, linear_finish
from hybrid_lib.units import units

WIDTHS, SLOW_WIDTHS, STEPS, GROW_AFTER = (24, 24), (14, 14), 95, 60
"""Sizes of v in the plane, of its fast and its slow part, the steps, and those of them with the fewest points."""
WIDER = 1.25
"""Units a layer of the two-scale network of ψ over those of v; with equal sizes the flux is the worse of the two fields."""
DRAWS, DRAWN = 32, 8_192
"""Independent draws of :func:`sampled_bound`, and points of each."""
CONFIDENCE = 0.99
"""Of the sampled bound, one-sided."""
FINISH, FINISH_KEY = 2, 20_472
"""Points of the finish over those of the last step, and the key of its two draws; not the bound's, nor one of a seed."""
FINISH_ROWS = 8
"""At least so many points of the finish a coarse unknown."""
COARSE = 25
"""Cells of the coarse mesh a side, as many as the paper's coarse problem has in the plane."""
NODES = 40
"""Of the integrals along rays; the bound looks at twice as many."""
ALONG = 8_192
"""Points of the bound on a side whose exchange is a function, at least."""


@dataclass(frozen=True)
class Hypercircle(FluxMethod):
    """Blocks ``flux_0`` … whose squares add up to J; no ∇K, no coupling, and the weights stay."""

    name: str = "hypercircle"
    sharp = True
    own_sizes = splines = True
    admits_sides = True
    finishes, momentum = (1, 1), 0.7
    reports = ("bound", "bound_mean", "bound_source", "rel_energy", "efficiency")

    def check(self, config: Config) -> None:
        """As its kind, and with a period that the points know."""
        super().check(config)
        if config.eps > 1:
            raise InputError("eps", "at most 1 with hypercircle", config.eps, "pass the period of the medium, or 1")

    def recommended(self, config: Config) -> Config:
        """Points of two scales, drawn anew in every step; the same sizes for every period."""
        plane = config.sampling.sampler == "gauss"
        network, training_options = config.network, replace(config.training, momentum=self.momentum)
        if plane:
            if network.kind == "two-scale":
                network = replace(network, widths=WIDTHS, slow_widths=SLOW_WIDTHS)
            network = replace(network, coarse_cells=COARSE)
            training_options = replace(training_options, steps=STEPS, report_every=25, record_every=5)
        sampling = SamplingConfig(1024, sampler="two-scale", resample_every=1, grow_after=GROW_AFTER if plane else 0)
        return replace(
            config, method="pinn", formulation=self.name, network=network, sampling=sampling, training=training_options,
            coarse=CoarseConfig(),
        )  # fmt: skip

    def ansatz(self, problem: Problem, config: Config) -> HypercircleAnsatz:
        """Trial fields, each with the splines of a coarse mesh beside it where the configuration asks for them."""
        found, cells = self._trained(problem, config), config.network.coarse_cells
        beside = lambda own: own if own is None or cells is None else with_splines(own, cells, problem.domain.box)  # noqa: E731
        return replace(found, field=beside(found.field), stream=beside(found.stream))

    def _trained(self, problem: Problem, config: Config) -> HypercircleAnsatz:
        """v_θ, and a stream function from a network of the same kind without factors, where it has two scales a wider one."""
        bent = kinks(problem)
        field, lift = ansatz_of(problem, config, bent), lifting(problem)
        of = units(problem)
        own = lambda length: argument(problem, length * of.flux, config.dtype)  # noqa: E731, of the flux, or times a length
        if field.dimension == 1:
            return HypercircleAnsatz(field, None, own(0.0 if lift.fixed else 1.0))
        period, split = config.eps * problem.domain.unit, False
        factor = lift.stream
        if factor is not None and config.network.layer_factor:
            factor, split = (factor, lambda x: lift.stream_layer(x, period)), True
        network = of_stream(field.network, split, WIDER)
        if bent is not None:
            factor = with_kinks(factor, bent)
        if lift.stream_corners:
            network, factor = with_terms(network, factor, lift.stream_corners)
        stream = Ansatz(network, 2, times(factor, own(of.length)))
        if lift.flow is None:
            return HypercircleAnsatz(field, stream, own(of.length), around=lift.around)
        side = [b - a for a, b in zip(*problem.domain.box, strict=True)][lift.flow]
        return HypercircleAnsatz(field, stream, own(side), tuple(float(k == lift.flow) / side for k in (0, 1)))

    def sampler(
        self, problem: Problem, config: Config, ansatz: Any, seeds: Sequence[int], fixed: list[Tree], coarse: Coarse | None
    ) -> Callable[[int], list[Data]]:
        """Points with K and the particular flux."""
        beside = [{"exchange": _exchange(problem, config, ansatz, own)} for own in fixed] if _exchanged(problem) else None
        return points.sampler(problem, config, ansatz, seeds, fixed, coefficients(problem), constant=beside)

    def objective(self, problem: Problem, config: Config, ansatz: Any, coarse: Coarse | None) -> training.Objective:
        """In units of the energy norm."""
        return hypercircle_objective(problem, ansatz, argument(problem, self.unit(problem), config.dtype))

    def optimiser(self, config: Config, optimiser: training.Optimiser) -> training.Optimiser:
        """A step for the field and one for the flux: their normal equations do not meet."""
        if not second_order(config):
            return optimiser
        return training.alternating(optimiser, (FIELD, FLUX), splines.moving)

    def has_energy(self, config: Config) -> bool:
        """J is the sum of both energies."""
        return config.dtype == "float64"

    def finish(self, setup: Any, theta: Tree, fixed: Tree, steps: int, orders: tuple[int, int]) -> RitzResult:
        """The minimiser of J over coarse unknowns, output layers and numbers of both fields, on more points than a step has."""
        config, training_options = setup.config, setup.config.training
        unknowns = sum(leaf.size for part in theta.values() for leaf in jax.tree.leaves(splines.moving(part)[1]))
        most = config.sampling.points * points.growth(config.sampling.grow_after, training_options.steps - 1)
        sampling = replace(config.sampling, points=max(FINISH * most, FINISH_ROWS * unknowns), grow_after=0)
        draw = self.sampler(setup.problem, replace(config, sampling=sampling), setup.ansatz, (FINISH_KEY,), [fixed], None)
        objective = self.objective(setup.problem, config, splines.released(setup.ansatz), None)
        # linear in both fields
        last = ("output", f"layers_{len(config.network.widths)}", "numbers", "heat", "constant", splines.LEAF)
        return linear_finish(objective, theta, lambda name: bool({*name.split("/")} & {*last}), draw(0)[0], draw(1)[0])

    def flux(self, problem: Problem, ansatz: Any, theta: Tree, fixed: Tree, x: Array) -> Array:
        """(τ + K(∇v + e))/2, whose error in the norm ‖K^{−1/2}·‖ is ½√J, neither less nor more."""
        tau = ansatz.pair_of(theta, ansatz.embed(fixed, x)).flux + coefficients(problem)(x[None])["particular"][0]
        return (tau + super().flux(problem, ansatz, theta, fixed, x)) / 2

    def view(self, setup: Any, theta: Tree, data: Data) -> dict[str, np.ndarray]:
        """``upscaled``: two numbers around K̂ of the exact solution, (4.10) over the whole domain, see :class:`SampledBound`."""
        found = sampled_bound(setup.problem, setup.config, setup.ansatz, theta, data["fixed"])
        return {"upscaled": found.upscaled + found.radius * np.array([-1.0, 1.0])}

    def load(self, counts: Counts) -> Load:
        """A row of the flux an axis; in the plane field and flux have a step each."""
        return Load(rows=counts.dimension, parts=counts.dimension)

    def report(self, setup: Any, theta: Tree, data: Data, reference: Any = None) -> dict[str, float]:
        """The bound of the relative energy error, its two parts without limits, the error, and bound over error."""
        found = sampled_bound(setup.problem, setup.config, setup.ansatz, theta, data["fixed"])
        error = math.nan if reference is None else energy_error(setup.problem, setup.ansatz, theta, data["fixed"], reference)
        return {
            "bound": found.relative,
            "bound_mean": found.mean,
            "bound_source": found.source,
            "rel_energy": error,
            "efficiency": found.relative / error if error else math.inf,
        }


def hypercircle_objective(problem: Problem, ansatz: HypercircleAnsatz, unit: float | Array = 1.0) -> training.Objective:
    """Blocks ``flux_0`` … ``flux_{d−1}`` whose terms add up to J/unit².

    Parameters
    ----------
    problem : Problem
    ansatz : HypercircleAnsatz
    unit : float or ()
        Unit of the root of J.

    Returns
    -------
    Objective
        Over ``data["embedding"]``, ``["conductivity"]``, ``["particular"]`` and, for points with weights, ``["scale"]``.
    """

    measure, direction = problem.domain.measure, problem.direction

    def block(k: int) -> training.PointwiseBlock:
        return integral_block(lambda at, data: _residual(direction, at, data)[:, k], measure, unit)

    blocks: dict[str, Any] = {f"flux_{k}": block(k) for k in range(ansatz.dimension)}
    sides = ("exchange",) if _exchanged(problem) else ()

    def exchange(fields: Tree, data: Tree, coarse: Tree) -> Array:
        return _exchange_residual(fields["exchange"], data["exchange"]) / jnp.asarray(unit, data["exchange"]["root"].dtype)

    if sides:
        blocks["exchange"] = training.PointwiseBlock("exchange", exchange)
    fields = training.PointFields(
        lambda data: {"collocation": data["embedding"]} | {name: data[name]["embedding"] for name in sides},
        lambda theta, data, name, embedding: (ansatz.side_of if name in sides else ansatz.pair_of)(theta, embedding),
    )
    return training.Objective(fields, blocks, selection=tuple(blocks))


def _exchanged(problem: Problem) -> bool:
    """Whether a side has an exchange with its surroundings."""
    return any(kind == "exchange" and rest[-1] != 0.0 for kind, *rest in problem.conditions().values())


def _exchange(problem: Problem, config: Config, ansatz: HypercircleAnsatz, fixed: Tree, finer: int = 1) -> Tree:
    """Gauss points on the sides with an exchange, four a period, and what their block reads there; a finer rule also sees
    narrow functions."""
    dtype, domain = ansatz.network.dtype, problem.domain
    pieces = 1 if domain.dimension == 1 else finer * min(max(16, math.ceil(4 / config.eps)), 512)
    order = ORDER if domain.corners else min(max(ORDER, 2 * pieces // 8), 64) - 1  # more points on the facets of fewer cells
    mesh = domain.labelled(domain.mesh(pieces if domain.corners else 16))
    kinds = {name: one for name, one in problem.conditions().items() if one[0] == "exchange"}
    data = side_data(mesh, kinds, order, 0 if finer == 1 else ALONG)
    rows = [
        (one.facets.points, one.facets.measure[:, None] * one.facets.weights, one.coefficient, one.value,
         np.repeat(outward_normals(mesh, one.facets.cell, one.facets.local)[:, None], one.value.shape[1], axis=1))
        for one in data.exchanges
    ]  # fmt: skip
    x, weight, c, ambient, normal = (np.concatenate([part.reshape(-1, *part.shape[2:]) for part in column])
                                     for column in zip(*rows, strict=True))  # fmt: skip
    if c.min() <= 1e-12 * c.max():
        remedy = "make these places a side of their own, insulated, or solve it by elements, hybrid_lib.solve"
        raise InputError("boundary", "coefficients of an exchange above zero everywhere", f"{c.min():g}", remedy)
    x = jnp.asarray(x, dtype)
    found = {"root": np.sqrt(weight / c), "coefficient": c, "ambient": ambient, "normal": normal}
    found = {name: jnp.asarray(value, dtype) for name, value in found.items()}
    flux = balancing_flux(problem, NODES * finer)
    at = fem.shared(lambda fixed, x: jax.vmap(lambda p: {"particular": flux(p), "embedding": ansatz.embed(fixed, p)})(x))
    return found | at(fixed, x)


def _exchange_residual(at: tuple[Array, Array], data: Tree) -> Array:
    """(n·τ − c(a − v))/√c times roots of weights, (M,)."""
    value, flux = at
    through = jnp.sum((flux + data["particular"]) * data["normal"], axis=1)
    return (through - data["coefficient"] * (data["ambient"] - value)) * data["root"]


def coefficients(problem: Problem, nodes: int = NODES) -> Callable[[Array], dict[str, Array]]:
    """Points (M, d) ↦ K and σ_p there."""
    flux = balancing_flux(problem, nodes)
    return lambda x: {
        "conductivity": jax.vmap(problem.medium.conductivity)(x),
        "particular": jax.vmap(flux)(x),
    }


class SampledBound(NamedTuple):
    """What independent draws say of ‖K^{1/2}∇(v − u)‖ ≤ √J.

    Attributes
    ----------
    value : float
        √(mean + margin) of J over the draws, and that of the particular flux's error on top: an upper limit of √J
        with a confidence of 99 % for each run, by Student's law with Hall's correction for the skewness of the draws; where
        few draws meet what counts, a sharp peak, it can still be too low. The part of the particular flux is an estimate.
    relative : float
        The bound of ‖K^{1/2}∇(v − u)‖ / ‖K^{1/2}∇u‖: `value` over what u's norm must at least be, the lower limit of
        `norm` less `value`; inf if that is not positive.
    mean : float
        √(mean of J) over `norm`, without a limit and without `source`.
    source : float
        ‖K^{−1/2}(σ_p − σ_2)‖ over `norm`, with σ_2 from twice as many nodes along the rays.
    norm : float
        ‖K^{1/2}∇v‖.
    upscaled, radius : float
        The upscaled coefficient ⟨e·σ⟩/(e·e) of the whole domain, the paper's (4.10), lies within `radius` of `upscaled` with the
        same confidence: by the theorem ∫e·(μ − σ) is at most ½√J ‖K^{1/2}e‖ in size. nan without a drop e.
    """

    value: float
    relative: float
    mean: float
    source: float
    norm: float
    upscaled: float = math.nan
    radius: float = math.nan


def sampled_bound(
    problem: Problem,
    config: Config,
    ansatz: HypercircleAnsatz,
    theta: Tree,
    fixed: Tree,
    draws: int = DRAWS,
    count: int = DRAWN,
    key: int = 20_471,
) -> SampledBound:
    """√J of one seed from draws that had no part in training, with a one-sided confidence limit of 99 %.

    Each draw is an unbiased estimate of J, a randomly shifted Sobol sequence on two scales; the limit for their mean
    is that of :func:`hybrid_lib.methods.limits.margin`.

    Parameters
    ----------
    problem, config, ansatz
    theta, fixed : trees
        Of one seed.
    draws, count : int
        Number of independent draws, and points of each.
    key : int
        Of the draws; not one of the seeds of the points of training.
    """
    dtype = ansatz.network.dtype
    finer = coefficients(problem, 2 * NODES)
    coarser, e = balancing_flux(problem, NODES), jnp.asarray(problem.direction, dtype)

    @fem.shared
    def squares(theta: Tree, fixed: Tree, x: Array, weights: Array) -> Array:
        def one(point: tuple[Array, Array]) -> Array:
            x, weight = point
            data = {name: value[0] for name, value in finer(x[None]).items()}
            pair = ansatz.pair_of(theta, ansatz.embed(fixed, x))
            own = jax.tree.map(lambda a: a[None], (pair, data))
            r = _residual(problem.direction, *own)[0]
            K = data["conductivity"]
            slope = pair.gradient
            flux = (pair.flux + data["particular"] + (K @ (slope + e) if K.ndim else K * (slope + e))) / 2
            energy, drop = (g @ (K @ g) if K.ndim else K * (g @ g) for g in (slope, e))
            off = flux_residual(coarser(x) - data["particular"], jnp.zeros_like(slope), K)
            return weight * jnp.stack([r @ r, energy, off @ off, e @ flux, drop])

        parts = jax.lax.map(one, (x, weights), batch_size=2048)
        return jnp.sum(parts, axis=0) * jnp.asarray(problem.domain.measure / len(x), parts.dtype)

    rows = []
    for k in range(draws):
        shift = jax.random.fold_in(jax.random.key(key), k)
        x, weights = phases.two_scale(shift, problem.domain, count, dtype, config.eps)
        rows.append(np.asarray(squares(theta, fixed, x, weights), float))
    J, energy, off, flux, drop = np.array(rows).T
    if _exchanged(problem):  # by a finer rule than that of training
        side = _exchange(problem, config, ansatz, fixed, 3)
        r = _exchange_residual(jax.vmap(lambda e: ansatz.side_of(theta, e))(side["embedding"]), side)
        J = J + float(r @ r)

    def limit(values: np.ndarray, sign: int = 1, limits: int = 3) -> float:
        """One of so many limits that hold together with the confidence."""
        return math.sqrt(max(values.mean() + sign * margin(sign * values, 1 - (1 - CONFIDENCE) / limits), 0.0))

    value, norm = limit(J) + limit(off), math.sqrt(energy.mean())
    least, size = limit(energy, -1) - value, problem.domain.measure * sum(float(one) ** 2 for one in problem.direction)
    radius = (limit(J, limits=5) / 2 + limit(off, limits=5)) * limit(drop, limits=5)
    radius += max(margin(sign * flux, 1 - (1 - CONFIDENCE) / 5) for sign in (1, -1))
    return SampledBound(
        value,
        value / least if least > 0 else math.inf,
        math.sqrt(J.mean()) / norm if norm > 0 else math.inf,
        math.sqrt(off.mean()) / norm if norm > 0 else math.inf,
        norm,
        *((flux.mean() / size, radius / size) if size else ()),
    )


def _residual(direction: tuple[float, ...], pair: Any, data: Tree) -> Array:
    """K^{−1/2}(τ − K(∇v + e)) at points, (M, d)."""
    total = pair.gradient + jnp.asarray(direction, pair.gradient.dtype)[None]
    return jax.vmap(flux_residual)(pair.flux + data["particular"], total, data["conductivity"])
