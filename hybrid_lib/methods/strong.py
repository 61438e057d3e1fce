r"""The physics-informed network alone, (3.24): strong residual at points, boundary conditions hard or by a penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.fem import Mesh
from hybrid_lib.methods import points
from hybrid_lib.methods.cells import Coarse, in_units
from hybrid_lib.methods.method import Data, Method, Tree
from hybrid_lib.methods.steps import second_order
from hybrid_lib.methods.trial import ansatz_of
from hybrid_lib.pinn.ansatz import Ansatz, Embedding
from hybrid_lib.pinn.residuals import lifted_source
from hybrid_lib.problems import Problem, argument
from hybrid_lib.training import ritz
from hybrid_lib.units import units

CHUNK, CACHE_BYTES = 250, 2_000_000
"""By ``benchmarks/point_chunks.py``, 0.5 to 0.8 of the time of a gradient from 2.5 MB a layer on, and more at 1 MB."""


@dataclass(frozen=True)
class Strong(Method):
    """Blocks ``pde`` and, with soft conditions, ``boundary``; the hybrid methods add theirs."""

    name: str = "strong"
    admits_temperatures = True

    def recommended(self, config: Config) -> Config:
        """Without the coupling, for the network alone."""
        return config if self.name != "strong" else dataclasses.replace(config, method="pinn")

    def ansatz(self, problem: Problem, config: Config) -> Ansatz:
        """u_θ; with given temperatures w_θ, which has them."""
        if problem.boundary is not None and config.boundary != "hard":
            raise InputError("boundary", "hard with given temperatures", config.boundary, "set boundary=hard")
        return ansatz_of(problem, config)

    def sampler(
        self, problem: Problem, config: Config, ansatz: Any, seeds: Sequence[int], fixed: list[Tree], coarse: Coarse | None
    ) -> Callable[[int], list[Data]]:
        """Points with K, ∇·K and f."""
        return points.sampler(problem, config, ansatz, seeds, fixed, coefficients(problem))

    def objective(self, problem: Problem, config: Config, ansatz: Any, coarse: Coarse | None) -> training.Objective:
        """Jets at the points, and the blocks."""
        return training.Objective(point_fields(problem, config, ansatz), blocks(problem, config))

    def has_energy(self, config: Config) -> bool:
        """In double precision, where the field vanishes on the boundary."""
        return (config.boundary, config.dtype) == ("hard", "float64")

    def energy(self, problem: Problem, ansatz: Any, fixed: Tree, mesh: Mesh, order: int) -> ritz.Energy:
        """𝓔(u_θ) by quadrature."""
        dtype = ansatz.network.dtype
        nodes, weights = fem.quadrature_points(mesh, order)
        x = jnp.asarray(nodes.reshape(-1, mesh.dimension), dtype)
        w = jnp.asarray(weights.reshape(-1), dtype)

        def evaluate(theta, embedding):
            jet = ansatz.jet_of(theta, embedding)
            return jet.value, jnp.stack(jet.gradient)

        embedding = fem.shared(jax.vmap(lambda p: first_order(ansatz, fixed, p)))(x)
        K = jax.vmap(problem.medium.conductivity)(x)
        q = jax.vmap(lambda p: jnp.asarray(problem.source(p), dtype))(x)
        return ritz.energy(evaluate, embedding, K, q, w, jnp.asarray(problem.direction, dtype))


def first_order(ansatz: Ansatz, fixed: Tree, x: Array) -> Embedding:
    """What value and gradient of the trial field at one point need: no second-order terms."""
    return ansatz.embed(fixed, x, second=False)


def coefficients(problem: Problem) -> Callable[[Array], dict[str, Array]]:
    """The function x (M, d) ↦ what the strong residual needs of the medium and the source."""
    medium = problem.medium
    source = lifted_source(problem.source, medium.divergence, problem.direction)

    def at(x: Array) -> dict[str, Array]:
        K = jax.vmap(medium.conductivity)(x)
        return {"conductivity": K, "divergence": jax.vmap(medium.divergence)(x), "source": jax.vmap(source)(x)}

    return at


def point_fields(problem: Problem, config: Config, ansatz: Ansatz) -> training.PointFields:
    """Jets at the points, in chunks where the arrays of a layer outgrow the cache of a core: for gradients, on a CPU."""
    layer = config.sampling.points * max(config.network.widths) * jnp.dtype(config.dtype).itemsize
    slow = jax.default_backend() == "cpu" and not second_order(config)
    chunk = CHUNK if slow and layer > CACHE_BYTES else None
    return dataclasses.replace(training.evaluate_fields(ansatz, problem.medium.is_tensor), chunk=chunk)


def blocks(problem: Problem, config: Config) -> dict[str, training.objectives.Residual]:
    """``pde`` and, with soft conditions, ``boundary``, in the units of the problem."""
    of, weighted = units(problem), config.sampling.sampler in ("gauss", "graded")
    found = {"pde": _in_units(training.pde_block(problem.domain.measure), argument(problem, of.residual, config.dtype), weighted)}
    if config.boundary == "soft":
        block = training.boundary_block(problem.domain.boundary_measure)
        found["boundary"] = _in_units(block, argument(problem, of.boundary, config.dtype))
    return found


def _in_units(block: training.PointwiseBlock, unit: float | Array, weighted: bool = False) -> training.PointwiseBlock:
    def residual(fields: Tree, data: Tree, coarse: Tree) -> Array:
        r = in_units(block(fields, data, coarse), unit)
        return r * data["scale"] if weighted else r

    return training.PointwiseBlock(block.points, residual)
