r"""Objectives as lists of residual blocks (decision 3 of the design; paper (2.8), (3.1), (3.24), (3.25)).

    𝔍(θ) = Σ_k w_k ‖r_k(θ)‖²,      r_k already scaled by the square root of its quadrature weights.

Every optimiser sees the same blocks: Adam their sum, least-squares methods the vectors. Loss balancing changes w alone.
The network is evaluated once a step, on named sets of points, and the blocks share the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib.pinn.jets import Jet
from hybrid_lib.pinn.networks import Ansatz, Embedding
from hybrid_lib.pinn.residuals import strong_residual

Tree = Any
Fields = dict[str, Jet | Array]
Residual = Callable[[Fields, Tree, Tree], Array]


@dataclass(frozen=True)
class CoarseModel:
    """What the loop must know of the coarse problem: how to compute K̂, and when and how to refresh the coarse data.

    Attributes
    ----------
    upscale : callable (fields, data) -> K̂
        The upscaled tensor of the current network (paper (4.5), (4.10)).
    refresh : callable (K̂) -> coarse
        Coarse data (K̂, state, factor) at K̂, a tree of fixed shapes.
    distance : callable (coarse, K̂) -> ()
        How far K̂ has moved from the one in `coarse`; the gate of Algorithm 3.1 compares it with a tolerance.
    usable : callable (K̂) -> () bool
        Whether the coarse problem makes sense with K̂ (elliptic); where it does not, the gate stays shut.
    """

    upscale: Callable[[Fields, Tree], Array]
    refresh: Callable[[Array], Tree]
    distance: Callable[[Tree, Array], Array]
    usable: Callable[[Array], Array]


@dataclass(frozen=True)
class Objective:
    """Residual blocks over a shared evaluation of the network.

    Attributes
    ----------
    fields : callable (theta, data) -> dict of jets and values
        Evaluation of u_θ on the named point sets of `data`.
    blocks : dict of str to callable (fields, data, coarse) -> vector
        The residual vectors r_k, in a fixed order; the first is the one that selects the best iterate.
    coarse : CoarseModel or None
        Present when a block depends on the coarse problem.
    """

    fields: Callable[[Tree, Tree], Fields]
    blocks: dict[str, Residual]
    coarse: CoarseModel | None = None


def residuals(objective: Objective, theta: Tree, data: Tree, coarse: Tree) -> dict[str, Array]:
    """The residual vectors r_k(θ), by name."""
    fields = objective.fields(theta, data)
    return {name: block(fields, data, coarse) for name, block in objective.blocks.items()}


def terms(objective: Objective, theta: Tree, data: Tree, coarse: Tree) -> dict[str, Array]:
    """The unweighted terms ‖r_k(θ)‖², by name."""
    return {name: jnp.vdot(r, r) for name, r in residuals(objective, theta, data, coarse).items()}


class Terms(NamedTuple):
    """What one evaluation of an objective tells: unweighted terms ‖r_k‖² by name, and K̂ (None without a coarse model)."""

    parts: dict[str, Array]
    upscaled: Array | None


def loss(
    objective: Objective, theta: Tree, weights: dict[str, Array], data: Tree, coarse: Tree
) -> tuple[Array, Terms]:
    """(Σ_k w_k‖r_k‖², Terms), all from one evaluation of the network."""
    fields = objective.fields(theta, data)
    vectors = {name: block(fields, data, coarse) for name, block in objective.blocks.items()}
    parts = {name: jnp.vdot(r, r) for name, r in vectors.items()}
    upscaled = None if objective.coarse is None else objective.coarse.upscale(fields, data)
    return sum(weights[name] * part for name, part in parts.items()), Terms(parts, upscaled)


def evaluate_fields(ansatz: Ansatz, tensor: bool = False) -> Callable[[Tree, Tree], Fields]:
    """Evaluation of `ansatz` on ``data["points"]``: jets at ``"collocation"``, values on every other set.

    Parameters
    ----------
    ansatz : Ansatz
    tensor : bool
        True when ``data["conductivity"]`` holds tensors (M, d, d): the jets then carry tr(K∇²u) for K at their point.

    Returns
    -------
    callable (theta, data) -> dict
    """

    def fields(theta: Tree, data: Tree) -> Fields:
        out: Fields = {"collocation": collocation(theta, data)}
        for name, points in data["points"].items():
            if name != "collocation":
                out[name] = jax.vmap(lambda x: ansatz.value(theta, data["fixed"], x))(points)
        return out

    def collocation(theta: Tree, data: Tree) -> Jet:
        embedding = data.get("embedding")
        if embedding is None:
            embedding = embed_points(ansatz, data, tensor)
        if tensor:
            jet = jax.vmap(lambda e, a: ansatz.jet_of(theta, e, a))(embedding, data["conductivity"])
        else:
            jet = jax.vmap(lambda e: ansatz.jet_of(theta, e))(embedding)
        return jet._replace(metric=None)

    return fields


def embed_points(ansatz: Ansatz, data: Tree, tensor: bool = False) -> Embedding:
    """What the jets at the collocation points need and θ does not touch; store it as ``data["embedding"]``."""
    points, fixed = data["points"]["collocation"], data["fixed"]
    if tensor:
        return jax.vmap(lambda x, a: ansatz.embed(fixed, x, a))(points, data["conductivity"])
    return jax.vmap(lambda x: ansatz.embed(fixed, x))(points)


def pde_block(measure: float) -> Residual:
    r"""Block √(|Ω|/M) (A u_θ − f)(x_i) of (3.24), from ``data["conductivity"]``, ``["divergence"]`` and ``["source"]``."""

    def block(fields: Fields, data: Tree, coarse: Tree) -> Array:
        jet = fields["collocation"]
        r = jax.vmap(strong_residual)(jet, data["conductivity"], data["divergence"], data["source"])  # (M,)
        return r * _root(measure / r.shape[0], r)

    return block


def boundary_block(boundary_measure: float) -> Residual:
    r"""Block √(|∂Ω|/M_∂Ω) u_θ(x_i) on the boundary points: soft boundary conditions of (3.24)."""

    def block(fields: Fields, data: Tree, coarse: Tree) -> Array:
        u = fields["boundary"]  # (M_∂Ω,)
        return u * _root(boundary_measure / u.shape[0], u)

    return block


def _root(value: float, like: Array) -> Array:
    return jnp.asarray(value**0.5, like.dtype)
