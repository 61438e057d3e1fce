r"""Objective of a configuration: the network at its points, the residual blocks, and K̂ for the coarse problem."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib import training
from hybrid_lib.experiments.config import Config, has_defect
from hybrid_lib.experiments.problems import Problem, units
from hybrid_lib.multiscale import dual_norm
from hybrid_lib.multiscale.coarse import CoarseProblem, frozen_state, is_elliptic, refresh
from hybrid_lib.multiscale.coupling import FineValues, coupling
from hybrid_lib.multiscale.defect import cell_flux, coarse_residual, upscaled
from hybrid_lib.multiscale.upscaling import upscaled_scalar
from hybrid_lib.pinn.networks import Ansatz

Tree = Any
CHUNK, CACHE_BYTES = 250, 2_000_000
"""From ``benchmarks/point_chunks.py``: 0.5 to 0.8 of the time of a gradient from 2.5 MB a layer on, and more at 1 MB."""


class CellFields(NamedTuple):
    """Integrals over one coarse cell: `flux` ∫_T K∇u and `slope` ∫_T ∇u, each (d,)."""

    flux: Array
    slope: Array


def objective_of(
    problem: Problem, config: Config, ansatz: Ansatz, coarse: CoarseProblem | None
) -> training.Objective:
    """Blocks ``pde``, ``boundary`` (soft conditions) and ``coupling`` (hybrid method) over one evaluation of the network.

    The fields are those of the problem; the blocks are in its :func:`~hybrid_lib.experiments.problems.units`, so that weights,
    tolerances and optimisers meet the same numbers whatever the user's units.
    """
    of, fields = units(problem), _fields(ansatz, problem.medium.is_tensor, config)
    blocks = {"pde": _pde_block(problem, config, of.source)}
    if config.boundary == "soft":
        blocks["boundary"] = training.boundary_block(problem.domain.boundary_measure / of.field**2)
    if coarse is None:
        return training.Objective(fields, blocks)
    model = _coarse_model(problem, config, coarse)
    if has_defect(config):

        def coupling_block(fields, data, state):
            cells = fields["cells"]
            rho = coarse_residual(coarse, data["coupling"], cells.flux)
            r = dual_norm.residual(coarse, data["unit_factor"], state, model.upscale(fields, data), rho)
            return _in_units(r, of.energy)
    else:
        residual = coupling(config.coarse.coupling).residual

        def coupling_block(fields, data, state):
            y = frozen_state(coarse, state, model.upscale(fields, data))
            fine = FineValues(fields["collocation"].value, fields["nodes"])
            return _in_units(residual(coarse, data["coupling"], fine, y), of.field)

    return training.Objective(fields, blocks | {"coupling": coupling_block}, model)


def _coarse_model(problem: Problem, config: Config, coarse: CoarseProblem) -> training.CoarseModel:
    """K̂ by (4.10): a scalar on one part, an isotropic tensor on each of several parts."""
    n_parts, d = coarse.n_parts, problem.domain.dimension

    def from_points(fields, data):
        jet = fields["collocation"]
        gradient = jnp.stack(jet.gradient, axis=-1)  # (M, d)
        direction = jnp.asarray(problem.direction, gradient.dtype)
        weights = data["scale"] ** 2 if "scale" in data else None
        K = upscaled_scalar(
            data["conductivity"], gradient, direction, weights, data.get("parts"), n_parts
        )  # (P,)
        return K[0] if coarse.isotropic_constant else K[:, None, None] * jnp.eye(d, dtype=K.dtype)[None]

    def from_cells(fields, data):
        return upscaled(coarse, data["coupling"], fields["cells"].flux, fields["cells"].slope)

    return training.CoarseModel(
        upscale=from_cells if has_defect(config) else from_points,
        refresh=lambda K_hat: refresh(coarse, K_hat),
        distance=lambda state, K_hat: _in_units(jnp.max(jnp.abs(K_hat - state.K_hat)), problem.medium.alpha),
        usable=is_elliptic,
    )


def _fields(ansatz: Ansatz, tensor: bool, config: Config) -> training.PointFields:
    """The network at the points and, for the defect, its flux through the coarse cells: one "point" is then a cell."""
    points = dataclasses.replace(training.evaluate_fields(ansatz, tensor), chunk=_chunk(config))
    if not has_defect(config):
        return points

    def inputs(data: Tree) -> dict[str, Tree]:
        rule = data["coupling"]
        return points.inputs(data) | {"cells": (data["cells"], rule.weighted_conductivity, rule.weights)}

    def at(theta: Tree, data: Tree, name: str, point: Tree):
        if name != "cells":
            return points.at(theta, data, name, point)
        embedding, weighted, weights = point
        gradient = jax.vmap(lambda e: ansatz.gradient_of(theta, e))(embedding)  # (Q, d)
        return CellFields(cell_flux(weighted, gradient), jnp.sum(weights[:, None] * gradient, axis=0))

    return training.PointFields(inputs, at)


def _chunk(config: Config) -> int | None:
    """Points at a time, where the arrays of a layer outgrow the cache of a core: for gradients, on a CPU."""
    layer = config.sampling.points * max(config.network.widths) * jnp.dtype(config.dtype).itemsize
    slow = jax.default_backend() == "cpu" and config.training.optimiser == "adam"
    return CHUNK if slow and layer > CACHE_BYTES else None


def _in_units(values: Array, unit: float) -> Array:
    return values if unit == 1 else values / jnp.asarray(unit, values.dtype)


def _pde_block(problem: Problem, config: Config, unit: float) -> training.PointwiseBlock:
    block = training.pde_block(problem.domain.measure / unit**2)
    if config.sampling.sampler not in ("gauss", "graded"):
        return block
    return training.PointwiseBlock(
        "collocation", lambda fields, data, coarse: block(fields, data, coarse) * data["scale"]
    )
