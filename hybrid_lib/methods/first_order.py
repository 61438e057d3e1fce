r"""First-order system least squares: the solution and its flux as two unknowns, first derivatives alone.

With w = u + e·x and σ* = K∇w the equation −∇·(K∇w) = q, u = 0 on ∂Ω, is a system of first order. A trial field u_θ that
vanishes on ∂Ω and a trial flux σ_θ, on which there is no boundary condition, minimise

.. math:: J = \|K^{-1/2} p\|^2 + w_{\mathrm{div}} \|g\|^2, \qquad p = \sigma_\theta - K(\nabla u_\theta + e), \qquad
          g = \nabla\cdot\sigma_\theta + q.

Stability
---------
Let v = u_θ − u, τ = σ_θ − σ*. Then p = τ − K∇v, g = ∇·τ, and the square expands to

.. math:: J = N^2 - 2\int\tau\cdot\nabla v, \quad N^2 := E^2 + w_{\mathrm{div}} \|\nabla\cdot\tau\|^2, \tag{1}

.. math:: E^2 := \|K^{1/2}\nabla v\|^2 + \|K^{-1/2}\tau\|^2.

As v = 0 on ∂Ω, ∫τ·∇v = −∫gv. Poincaré, ‖v‖ ≤ C_P‖∇v‖, and Cauchy-Schwarz bound it in two ways, with a = C_P/√α:

.. math:: \Bigl|\int\tau\cdot\nabla v\Bigr| \le \|K^{1/2}\nabla v\| \min\bigl(a\|g\|, \|K^{-1/2}\tau\|\bigr). \tag{2}

The square of the minimum is at most (‖K^{−1/2}τ‖² + w_div‖g‖²)/(1 + w_div/a²), so that `2|∫τ·∇v| ≤ sN²`:

.. math:: (1 - s)N^2 \le J \le (1 + s)N^2, \qquad s = (1 + w_{\mathrm{div}}/a^2)^{-1/2}. \tag{3}

For E alone: by (1) and (2), E² ≤ ‖K^{−1/2}p‖² + 2a‖g‖E ≤ ‖K^{−1/2}p‖² + 2a²‖g‖² + E²/2. With the rule w_div = 2a² = 2C_P²/α

.. math:: E^2 \le 2J, \quad\text{hence}\quad |v|^2_{H^1} \le 2J/\alpha, \quad \|\tau\|^2 \le 2\beta J,
          \quad\text{and in (3)}\quad s = 1/\sqrt 3. \tag{4}

No constant knows ε: in the norm N the problem has condition number at most (1 + s)/(1 − s) < 3.74 whatever the medium. The
strong residual has `|v|_{H¹} ≤ (C_P/α)‖Av‖` too, but nothing of the kind from above: ‖Av‖ sees ∇K ~ 1/ε. A smaller weight
makes s larger, a larger one makes N differ from E; 2a² is what (4) asks for. :func:`stability_range` computes
the best constants of (3) on a given trial space.

The integrals of J are sums over the collocation points, and (4) holds for a run as far as the sums are the integrals:
without second derivatives a spike of ∇u_θ between two points costs nothing. :func:`objective_value` tells, by a finer rule.

The trial flux is that of :mod:`hybrid_lib.pinn.flux`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import Config, SamplingConfig
from hybrid_lib.errors import InputError
from hybrid_lib.media import Medium
from hybrid_lib.methods import points
from hybrid_lib.methods.cells import Coarse
from hybrid_lib.methods.flux import FluxMethod, integral_block
from hybrid_lib.methods.method import Counts, Data, Load, Tree
from hybrid_lib.methods.trial import ansatz_of
from hybrid_lib.pinn.domains import Domain
from hybrid_lib.pinn.flux import FirstOrderAnsatz, FluxFields, first_order_ansatz
from hybrid_lib.pinn.residuals import balance_residual, flux_residual
from hybrid_lib.problems import Problem, argument, poincare_constant
from hybrid_lib.units import units


@dataclass(frozen=True)
class FirstOrder(FluxMethod):
    """Blocks ``flux_0`` … and ``divergence``; no ∇K, no coupling, and the weights stay."""

    name: str = "first-order"
    admits_temperatures = True

    def recommended(self, config: Config) -> Config:
        """On the quadrature points of the cells."""
        return replace(config, method="pinn", formulation=self.name, sampling=SamplingConfig(sampler="gauss"))

    def ansatz(self, problem: Problem, config: Config) -> FirstOrderAnsatz:
        """u_θ and σ_θ."""
        of = units(problem)
        return first_order_ansatz(ansatz_of(problem, config), argument(problem, of.flux, config.dtype), of.length)

    def sampler(
        self, problem: Problem, config: Config, ansatz: Any, seeds: Sequence[int], fixed: list[Tree], coarse: Coarse | None
    ) -> Callable[[int], list[Data]]:
        """Points with K and q itself."""
        dtype = jnp.dtype(config.dtype)

        def at(x: Array) -> dict[str, Array]:
            source = jax.vmap(lambda p: jnp.asarray(problem.source(p), dtype))(x)
            return {"conductivity": jax.vmap(problem.medium.conductivity)(x), "source": source}

        return points.sampler(problem, config, ansatz, seeds, fixed, at)

    def objective(self, problem: Problem, config: Config, ansatz: Any, coarse: Coarse | None) -> training.Objective:
        """In units of the energy norm."""
        return first_order_objective(problem, ansatz, argument(problem, self.unit(problem), config.dtype))

    def flux(self, problem: Problem, ansatz: Any, theta: Tree, fixed: Tree, x: Array) -> Array:
        """σ_θ."""
        return ansatz.fields(theta, fixed, x).flux

    def load(self, counts: Counts) -> Load:
        """A row of the flux an axis, and one of its divergence."""
        return Load(rows=counts.dimension + 1)


def first_order_objective(problem: Problem, ansatz: FirstOrderAnsatz, unit: float | Array = 1.0) -> training.Objective:
    r"""Blocks ``flux_0`` … ``flux_{d−1}`` and ``divergence``, whose terms add up to J; needs hard boundary conditions.

    The weight w_div is a part of the last block, and all weights are one: the sum of the terms is J, and the
    best iterate is the one with the smallest J. A row a block and point, so that Gauss-Newton takes its fast path.

    Parameters
    ----------
    problem : Problem
    ansatz : FirstOrderAnsatz
    unit : float or ()
        Unit of the root of J; training takes that of the problem, see :func:`hybrid_lib.units.units`.

    Returns
    -------
    Objective
        Over ``data["embedding"]``, ``["conductivity"]``, ``["source"]`` (q itself, not the lifted f) and, for a quadrature
        with weights, ``["scale"]``.
    """
    root = argument(problem, math.sqrt(divergence_weight(problem.medium, problem.domain)), ansatz.network.dtype)
    measure, direction = problem.domain.measure, problem.direction

    def flux_block(k: int) -> training.PointwiseBlock:
        def residual(at: FluxFields, data: Tree) -> Array:
            total = at.gradient + jnp.asarray(direction, at.gradient.dtype)[None, :]
            return jax.vmap(flux_residual)(at.flux, total, data["conductivity"])[:, k]

        return integral_block(residual, measure, unit)

    def divergence_residual(at: FluxFields, data: Tree) -> Array:
        return balance_residual(at.divergence, data["source"])

    blocks = {f"flux_{k}": flux_block(k) for k in range(ansatz.dimension)}
    blocks["divergence"] = integral_block(divergence_residual, measure, unit, root)
    fields = training.PointFields(
        lambda data: {"collocation": data["embedding"]},
        lambda theta, data, name, embedding: ansatz.fields_of(theta, embedding),
    )
    return training.Objective(fields, blocks, selection=tuple(blocks))


def divergence_weight(medium: Medium, domain: Domain) -> float:
    """w_div = 2C_P²/α, with which (4) gives E² ≤ 2J; known before training.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.pinn.domains import interval
    >>> round(divergence_weight(media.paper_1d(0.1), interval()) * math.pi**2, 12)  # 1 ≤ K ≤ 3
    2.0
    """
    return 2 * poincare_constant(domain) ** 2 / medium.alpha


class ErrorBounds(NamedTuple):
    """Bounds of `‖K^{1/2}∇(u_θ − u)‖` (`energy`), `|u_θ − u|_{H¹}` (`h1`), `‖u_θ − u‖` (`l2`), `‖σ_θ − σ*‖` (`flux`)."""

    energy: float
    h1: float
    l2: float
    flux: float


def error_bounds(value: float, medium: Medium, domain: Domain) -> ErrorBounds:
    """Bounds of the errors by the objective, from (4): √(2J), √(2J/α), C_P√(2J/α), √(2βJ).

    Parameters
    ----------
    value : float
        J, the square of the ``residual`` in a run's summary.
    medium, domain
        α, β and C_P. Unless ``medium.bounds_exact``, α and β are those at some thousand points, with a factor of safety.

    Examples
    --------
    >>> from hybrid_lib import media
    >>> from hybrid_lib.pinn.domains import interval
    >>> error_bounds(0.5, media.paper_1d(0.1), interval()).energy
    1.0
    """
    energy = math.sqrt(2 * float(value))
    h1 = energy / math.sqrt(medium.alpha)
    return ErrorBounds(energy, h1, poincare_constant(domain) * h1, energy * math.sqrt(medium.beta))


def objective_value(
    problem: Problem, ansatz: FirstOrderAnsatz, theta: Tree, fixed: Tree, points, weights
) -> float:
    """J of one θ by a quadrature rule of the caller's: with a finer rule than the run's, the test of the run's J.

    (4) is about integrals. A network that minimises a sum can be large between the points; J by another rule then is many
    times the run's own, and this one, not the run's, belongs into :func:`error_bounds`.

    Parameters
    ----------
    problem, ansatz
    theta, fixed : trees
        Of one seed.
    points : (M, d) array
    weights : (M,) array
        Quadrature weights, with sum `|Ω|`.
    """
    dtype = jax.tree.leaves(theta)[0].dtype
    x, weights = jnp.asarray(points, dtype), np.asarray(weights, float)
    objective = first_order_objective(problem, ansatz)

    @fem.shared
    def value(theta: Tree, fixed: Tree, x: Array, scale: Array) -> Array:
        data = {
            "embedding": jax.vmap(lambda p: ansatz.embed(fixed, p))(x),
            "conductivity": jax.vmap(problem.medium.conductivity)(x),
            "source": jax.vmap(lambda p: jnp.asarray(problem.source(p), dtype))(x),
            "scale": scale,
        }
        return objective.selected(training.terms(objective, theta, data, ()))

    return float(value(theta, fixed, x, jnp.asarray(np.sqrt(weights / weights.mean()), dtype)))


def stability_range(
    gradients, fluxes, divergences, conductivity, weights, divergence_weight
) -> tuple[float, float]:
    r"""Best constants c, C with c(E² + w‖∇·τ‖²) ≤ ‖K^{−1/2}(τ − K∇v)‖² + w‖∇·τ‖² ≤ C(E² + w‖∇·τ‖²) on a trial space.

    Parameters
    ----------
    gradients : (n, M, d) array
        ∇v_i at the quadrature points, for a basis v_i of potentials with v = 0 on ∂Ω.
    fluxes : (m, M, d) array
        τ_j there, for a basis of fluxes.
    divergences : (m, M) array
        ∇·τ_j.
    conductivity : (M,) or (M, d, d) array
    weights : (M,) array
        Quadrature weights.
    divergence_weight : float
        *w*.

    Returns
    -------
    smallest, largest : float
        Generalised eigenvalues 1 ∓ s', by (3) with s' ≤ 1/√3 for the rule w = 2C_P²/α. O((n + m)²(M + n + m)).

    Raises
    ------
    InputError
        For a basis whose fields are linearly dependent, to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = (np.arange(64) + 0.5) / 64, np.full(64, 1 / 64)
    >>> sine, slope = np.sin(np.pi * x), np.pi * np.cos(np.pi * x)  # v = sin πx, τ = cos πx; a = 1/π, w = 2/π²
    >>> tau = slope[None, :, None] / np.pi
    >>> low, high = stability_range(slope[None, :, None], tau, -np.pi * sine[None], 1 + 0 * x, w, 2 / np.pi**2)
    >>> round(low, 6), round(high, 6)  # 1 ∓ 1/√3: the bound is attained
    (0.42265, 1.57735)
    """
    K = np.asarray(conductivity, float)
    d = np.shape(gradients)[-1]
    K = K[:, None, None] * np.eye(d) if K.ndim == 1 else K
    lower = np.linalg.cholesky(K)  # (M, d, d), K = LLᵀ
    root = np.sqrt(np.asarray(weights, float))
    slope = np.einsum("m,mba,imb->ima", root, lower, gradients).reshape(len(gradients), -1)  # Lᵀ∇v
    flux = np.einsum("m,mab,jmb->jma", root, np.linalg.inv(lower), fluxes).reshape(len(fluxes), -1)  # L⁻¹τ
    balance = math.sqrt(divergence_weight) * root * np.asarray(divergences, float)
    energy, fluxes_squared, cross = slope @ slope.T, flux @ flux.T, slope @ flux.T
    sources = balance @ balance.T
    form = np.block([[energy, -cross], [-cross.T, fluxes_squared + sources]])
    norm = scipy.linalg.block_diag(energy, fluxes_squared + sources)
    try:
        values = scipy.linalg.eigh(form, norm, eigvals_only=True)
    except np.linalg.LinAlgError:
        raise InputError(
            "basis",
            "linearly independent fields",
            f"{len(gradients)} + {len(fluxes)} dependent ones",
            "drop some",
        ) from None
    return float(values[0]), float(values[-1])
