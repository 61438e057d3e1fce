r"""The hybrid method with the defect of :mod:`hybrid_lib.multiscale.defect`: the coarse test functions shall see no residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.fem import Mesh
from hybrid_lib.fem.fluxes import eigenvalues
from hybrid_lib.methods import points, strong
from hybrid_lib.methods.averaged import coarse_view
from hybrid_lib.methods.cells import Coarse, coarse_model, coarse_of, in_units, rule_of
from hybrid_lib.methods.method import Counts, Data, Load, Tree
from hybrid_lib.methods.strong import Strong
from hybrid_lib.multiscale import defect as rules
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale.coarse import CoarseProblem
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.pinn.residuals import lifted_source, strong_residual
from hybrid_lib.problems import Problem, argument
from hybrid_lib.units import units


class CellFields(NamedTuple):
    """Integrals over one coarse cell: `flux` ∫_T K∇u and `slope` ∫_T ∇u, each (d,)."""

    flux: jax.Array
    slope: jax.Array


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


@dataclass(frozen=True)
class Defect(Strong):
    """The strong blocks and ``coupling``, the defect in its dual norm; the weights stay."""

    name: str = "defect"
    admits_temperatures = False
    balanced = False

    def coarse(self, problem: Problem, config: Config) -> Coarse:
        """Mesh and problem."""
        return coarse_of(problem, config)

    def sampler(
        self, problem: Problem, config: Config, ansatz: Any, seeds: Sequence[int], fixed: list[Tree], coarse: Coarse
    ) -> Callable[[int], list[Data]]:
        """As for the network alone, with the rule in the cells, which stays."""
        rule = defect_of(problem, config, coarse.problem, coarse.mesh)
        cells = fem.shared(lambda f: jax.vmap(jax.vmap(lambda x: strong.first_order(ansatz, f, x)))(rule.points))
        known = {"coupling": rule, "unit_factor": dual_norm.unit_factor(coarse.problem)}
        constant = [known | {"cells": cells(frequencies)} for frequencies in fixed]
        at = strong.coefficients(problem)
        return points.sampler(problem, config, ansatz, seeds, fixed, at, constant=constant)

    def objective(self, problem: Problem, config: Config, ansatz: Any, coarse: Coarse) -> training.Objective:
        """The block is in units of the energy norm; K̂ is that of the rule in the cells."""
        of, unit = coarse.problem, argument(problem, units(problem).energy, config.dtype)

        def upscale(fields, data):
            return rules.upscaled(of, data["coupling"], fields["cells"].flux, fields["cells"].slope)

        def block(fields, data, state):
            rho = rules.coarse_residual(of, data["coupling"], fields["cells"].flux)
            return in_units(dual_norm.residual(of, data["unit_factor"], state, upscale(fields, data), rho), unit)

        fields = with_cells(strong.point_fields(problem, config, ansatz), ansatz)
        blocks = strong.blocks(problem, config) | {"coupling": block}
        return training.Objective(fields, blocks, coarse_model(problem, of, upscale))

    def weights(self, problem: Problem, config: Config, coarse: Coarse) -> dict[str, float]:
        """τ₂ as it is set, or by the rule of :func:`coupling_weight` over α."""
        tau = config.coarse.weight
        if tau is None:
            tau = coupling_weight(problem, config, coarse.mesh) / problem.medium.alpha
        return super().weights(problem, config, coarse) | {"coupling": tau}

    def load(self, counts: Counts) -> Load:
        """A coupling row an inner coarse node, which reads flux and slope of all cells."""
        n = counts.inner_nodes
        inner, read = counts.cells * counts.rule, counts.cells * 2 * counts.dimension
        return Load(inner=inner, coupling=n, sensitivity=read, factors=3.0 * n**2)

    def view(self, setup: Any, theta: Tree, data: Data) -> dict[str, np.ndarray]:
        """K̂[u_θ], y_h(u_θ) and the defect z at the coarse nodes."""
        fields, out = coarse_view(setup, theta, data)
        rho = rules.coarse_residual(setup.coarse_problem, data["coupling"], fields["cells"].flux)
        z = dual_norm.representative(setup.coarse_problem, jnp.asarray(out["upscaled"]), rho)
        return out | {"defect": np.asarray(z)}

    def quadrature_error(self, setup: Any, theta: Tree, data: Data, pieces: int) -> rules.QuadratureError:
        """Size of the defect, and how much a rule with `pieces` times as many pieces changes it."""
        finer = defect_of(setup.problem, setup.config, setup.coarse_problem, setup.coarse_mesh, pieces)
        K_hat = jnp.asarray(self.view(setup, theta, data)["upscaled"])

        def gradient(x: jax.Array) -> jax.Array:
            return jnp.stack(setup.ansatz.jet(theta, data["fixed"], x).gradient)

        return rules.quadrature_error(setup.coarse_problem, data["coupling"], finer, K_hat, gradient)

    def estimate(self, setup: Any, theta: Tree, data: Data, pieces: int) -> ErrorEstimate:
        """The bound of the error, by the rule of the training and by one with `pieces` times the pieces of each edge."""
        if setup.config.boundary != "hard":
            return super().estimate(setup, theta, data, pieces)
        first = data["coupling"]
        finer = defect_of(setup.problem, setup.config, setup.coarse_problem, setup.coarse_mesh, pieces)
        at = _point_fields(setup, len(first.points) * first.points.shape[1])
        sizes = [_bound_parts(setup, lambda x: at(theta, data["fixed"], x), rule) for rule in (first, finer)]
        return ErrorEstimate(*(math.hypot(*parts) for parts in sizes), *sizes[1])


def defect_of(problem: Problem, config: Config, coarse: CoarseProblem, mesh: Mesh, refined: int = 1) -> rules.Defect:
    """The defect of a configuration on `mesh`, with `refined` times as many pieces as it says."""
    pieces, order = rule_of(config, mesh)
    return rules.defect(coarse, mesh, problem.medium.conductivity, problem.source, refined * pieces, order)


def with_cells(at_points: training.PointFields, ansatz: Ansatz) -> training.PointFields:
    """`at_points`, and the flux through the coarse cells as a set ``cells``: one "point" is then a cell."""

    def inputs(data: Data) -> dict[str, Tree]:
        rule = data["coupling"]
        return at_points.inputs(data) | {"cells": (data["cells"], rule.weighted_conductivity, rule.weights)}

    def at(theta: Tree, data: Data, name: str, point: Tree):
        if name != "cells":
            return at_points.at(theta, data, name, point)
        embedding, weighted, weights = point
        gradient = jax.vmap(lambda e: ansatz.gradient_of(theta, e))(embedding)  # (Q, d)
        return CellFields(rules.cell_flux(weighted, gradient), jnp.sum(weights[:, None] * gradient, axis=0))

    return training.PointFields(inputs, at)


def coupling_weight(problem: Problem, config: Config, mesh: Mesh) -> float:
    r"""τ₂ = π² K̄ / h² for the defect coupling: a weight with which the objective bounds the error, known before training.

    In one dimension `|u_θ − u|²_{H¹} ≤ α⁻²(h²/π² ‖r‖² + K̂ D)` for linear elements on cells of length at most h, so that
    ‖r‖² + τ₂D is the bound itself up to a factor when τ₂ = π²K̂/h². K̄ is the mean of the conductivity along the drop, an upper
    bound of the homogenised coefficient; h is the length of the cells, in two dimensions ``cell_side``. There the bound has
    C_h ≤ 0.493 h in the place of h/π, and the weight is up to 2.4 times K̄/C_h²: heavier, which keeps it a bound.
    """
    e = np.asarray(problem.direction)
    means = fem.cell_coefficient(mesh, problem.medium.conductivity, order=4)  # (m, d, d)
    mean = float(np.einsum("m,a,mab,b->", mesh.volumes, e, means, e) / (mesh.volumes.sum() * (e @ e)))
    return np.pi**2 * mean / rules.cell_side(mesh) ** 2


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


def _bound_parts(setup: Any, fields: Callable, rule: rules.Defect) -> tuple[float, float]:
    """√(β̂D), with the largest eigenvalue β̂ of K̂, and C_h ‖r‖ by one rule, both over α |u_θ|; α is no more than K at its points.

    The first is inf where K̂ is not positive and D is no norm.
    """
    coarse, weights = setup.coarse_problem, np.asarray(rule.weights, float)  # (m, Q)
    gradient, r = fields(np.asarray(rule.points).reshape(-1, rule.points.shape[-1]))
    gradient, r = gradient.reshape(*weights.shape, -1), r.reshape(weights.shape)
    K = np.asarray(rule.weighted_conductivity, float)
    flux = np.einsum("mq,mqd->md" if K.ndim == 2 else "mqde,mqe->md", K, gradient)
    means = [jnp.asarray(a, rule.load.dtype) for a in (flux, np.einsum("mq,mqd->md", weights, gradient))]

    @fem.shared
    def defect_energy(rule: rules.Defect, flux: jax.Array, slopes: jax.Array) -> jax.Array:
        K_hat = rules.upscaled(coarse, rule, flux, slopes)
        largest = K_hat if K_hat.ndim == 0 else jnp.max(fem.tensor_eigenvalues(K_hat)[1])
        return largest * dual_norm.norm_squared(coarse, K_hat, rules.coarse_residual(coarse, rule, flux))

    product = float(
        defect_energy(rule._replace(points=None, weights=None, weighted_conductivity=None), *means)
    )
    at_points = K / weights.reshape(weights.shape + (1,) * (K.ndim - 2))
    scale = min(setup.problem.medium.alpha, float(eigenvalues(at_points).min())) * max(
        math.sqrt(np.sum(weights * np.sum(gradient**2, axis=-1))), np.finfo(float).tiny
    )
    residual = math.sqrt(np.sum(weights * r**2)) * rules.projection_constant(setup.coarse_mesh)
    return (math.sqrt(product) if product >= 0 else math.inf) / scale, residual / scale
