r"""Objectives as lists of residual blocks, the paper's (2.8), (3.1), (3.24), (3.25).

.. math:: \mathfrak J(\theta) = \sum_k w_k \|r_k(\theta)\|^2,

r_k already scaled by the square root of its quadrature weights.

Every optimiser sees the same blocks: Adam their sum, least-squares methods the vectors. Loss balancing changes w alone.
The network is evaluated once a step, on named sets of points, and the blocks share the result. Two marks tell
least-squares methods what is local: :class:`PointFields` evaluates the network point by point, and entry i of a
:class:`PointwiseBlock` uses the fields at point i alone. A block without the mark may use all points, as a coupling does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hybrid_lib.pinn.ansatz import Ansatz, Embedding
from hybrid_lib.pinn.jets import Jet
from hybrid_lib.pinn.residuals import strong_residual
from hybrid_lib.training.layout import Layout

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
        How far K̂ has moved from the one in `coarse`, as a part of a scale of K; the gate of Algorithm 3.1 compares it with a
        tolerance.
    usable : callable (K̂) -> () bool
        Whether the coarse problem makes sense with K̂ (elliptic); where it does not, the gate stays shut.
    """

    upscale: Callable[[Fields, Tree], Array]
    refresh: Callable[[Array], Tree]
    distance: Callable[[Tree, Array], Array]
    usable: Callable[[Array], Array]


@dataclass(frozen=True)
class PointFields:
    """Evaluation of u_θ on named point sets, one point at a time; called with (theta, data) it evaluates all of them.

    Attributes
    ----------
    inputs : callable (data) -> dict of trees
        What `at` needs of each set, leaves with the points on their leading axis.
    at : callable (theta, data, name, point) -> tree
        The fields at one point of the set `name`; `point` is one row of its inputs.
    chunk : int or None
        Evaluate so many points at a time, and anew in the reverse pass: a third more arithmetic, on arrays that stay in a
        processor's cache. None: all points at once.
    layout : Layout or None
        Where the points lie; None on one device.
    """

    inputs: Callable[[Tree], dict[str, Tree]]
    at: Callable[[Tree, Tree, str, Tree], Any]
    chunk: int | None = None
    layout: Layout | None = None

    def __call__(self, theta: Tree, data: Tree) -> Fields:
        """The fields on every set, leaves with the points on their leading axis."""

        def rows(theta: Tree, inputs: dict[str, Tree]) -> Fields:
            return {name: self._on(theta, data, name, points) for name, points in inputs.items()}

        if self.layout is None:
            return rows(theta, self.inputs(data))
        return self.layout.over_points(lambda t, inputs, _: (rows(t, inputs), ()), theta, self.inputs(data))[0]

    def _on(self, theta: Tree, data: Tree, name: str, points: Tree) -> Any:
        def one(point: Tree) -> Any:
            return self.at(theta, data, name, point)

        if self.chunk is None or len(jax.tree.leaves(points)[0]) <= self.chunk:
            return jax.vmap(one)(points)
        return jax.lax.map(jax.checkpoint(one), points, batch_size=self.chunk)


@dataclass(frozen=True)
class PointwiseBlock:
    """A block whose entry i depends on the fields at point i of one set alone, so that its Jacobian is a row a point.

    Attributes
    ----------
    points : str
        Name of the set.
    residual : callable (fields, data, coarse) -> (M,)
        Uses ``fields[points]`` only; M is the number of its points.
    """

    points: str
    residual: Residual

    def __call__(self, fields: Fields, data: Tree, coarse: Tree) -> Array:
        """The residual vector."""
        return self.residual(fields, data, coarse)


@dataclass(frozen=True, eq=False)
class Objective:
    """Residual blocks over a shared evaluation of the network.

    Attributes
    ----------
    fields : callable (theta, data) -> dict of jets and values
        Evaluation of u_θ on the named point sets of `data`: :class:`PointFields`, or any function, for which
        least-squares methods are slower.
    blocks : dict of str to callable (fields, data, coarse) -> vector
        The residual vectors r_k, in a fixed order.
    coarse : CoarseModel or None
        Present when a block depends on the coarse problem.
    selection : tuple of str
        The blocks whose terms ‖r_k‖² add up to the number that selects the best iterate; empty for the first block alone.
    """

    fields: Callable[[Tree, Tree], Fields]
    blocks: dict[str, Residual]
    coarse: CoarseModel | None = None
    selection: tuple[str, ...] = ()

    def selected(self, parts: dict[str, Array]) -> Array:
        """The number that selects the best iterate, from the terms by name."""
        return sum(parts[name] for name in self.selection or tuple(self.blocks)[:1])

    def over(self, whole: Callable[[Tree], Tree]) -> Objective:
        """The objective as a function of a part of θ, from which `whole` makes all of it."""
        fields = self.fields
        if isinstance(fields, PointFields):
            alone = replace(fields, at=lambda part, data, points, point: fields.at(whole(part), data, points, point))
        else:
            alone = lambda part, data: fields(whole(part), data)  # noqa: E731
        return replace(self, fields=alone)


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


def reduced_loss(
    objective: Objective, theta: Tree, weights: dict[str, Array], data: Tree, stored: Tree
) -> tuple[Array, Terms, Tree]:
    """The loss with the coarse data of θ itself, refreshed at K̂[u_θ]: the reduced functional of (3.13), without a lag.

    Parameters
    ----------
    stored : tree
        Coarse data for a K̂ that is not usable.

    Returns
    -------
    total, terms, coarse
        As :func:`loss`, and the coarse data, with which the derivative of :func:`loss` at θ is exact.
    """
    coarse = stored
    if objective.coarse is not None:
        model = objective.coarse
        K_hat = model.upscale(objective.fields(theta, data), data)
        usable, fresh = model.usable(K_hat), model.refresh(K_hat)
        coarse = jax.lax.stop_gradient(jax.tree.map(lambda a, b: jnp.where(usable, a, b), fresh, stored))
    return *loss(objective, theta, weights, data, coarse), coarse


def evaluate_fields(ansatz: Ansatz, tensor: bool = False, gradients: tuple[str, ...] = ()) -> PointFields:
    """Evaluation of `ansatz` on ``data["points"]``: jets at ``"collocation"``, values on every other set.

    Parameters
    ----------
    ansatz : Ansatz
    tensor : bool
        True when ``data["conductivity"]`` holds tensors (M, d, d): the jets then carry tr(K∇²u) for K at their point.
    gradients : tuple of str
        Sets, apart from ``"collocation"``, where the gradient is wanted too: jets without a second-order term.

    Returns
    -------
    PointFields
        A callable (theta, data) -> dict.
    """

    def inputs(data: Tree) -> dict[str, Tree]:
        embedding = data.get("embedding")
        if embedding is None:
            embedding = embed_points(ansatz, data, tensor)
        metric = data["conductivity"] if tensor else None
        others = {name: points for name, points in data["points"].items() if name != "collocation"}
        return {"collocation": (embedding, metric)} | others

    def at(theta: Tree, data: Tree, name: str, point: Tree) -> Jet | Array:
        if name == "collocation":
            return ansatz.jet_of(theta, *point)._replace(metric=None)
        if name in gradients:
            return ansatz.jet(theta, data["fixed"], point)._replace(laplacian=None, metric=None)
        return ansatz.value(theta, data["fixed"], point)

    return PointFields(inputs, at)


def embed_points(ansatz: Ansatz, data: Tree, tensor: bool = False) -> Embedding:
    """What the jets at the collocation points need and θ does not touch; store it as ``data["embedding"]``."""
    points, fixed = data["points"]["collocation"], data["fixed"]
    if tensor:
        return jax.vmap(lambda x, a: ansatz.embed(fixed, x, a))(points, data["conductivity"])
    return jax.vmap(lambda x: ansatz.embed(fixed, x))(points)


def pde_block(measure: float) -> PointwiseBlock:
    r"""Block `√(|Ω|/M) (A u_θ − f)(x_i)` of (3.24), from ``data["conductivity"]``, ``["divergence"]`` and ``["source"]``."""

    def block(fields: Fields, data: Tree, coarse: Tree) -> Array:
        jet = fields["collocation"]
        r = jax.vmap(strong_residual)(jet, data["conductivity"], data["divergence"], data["source"])  # (M,)
        return r * _root(measure / r.shape[0], r)

    return PointwiseBlock("collocation", block)


def boundary_block(boundary_measure: float) -> PointwiseBlock:
    r"""Block `√(|∂Ω|/M_∂Ω) u_θ(x_i)` on the boundary points: soft boundary conditions of (3.24)."""

    def block(fields: Fields, data: Tree, coarse: Tree) -> Array:
        u = fields["boundary"]  # (M_∂Ω,)
        return u * _root(boundary_measure / u.shape[0], u)

    return PointwiseBlock("boundary", block)


def _root(value: float, like: Array) -> Array:
    return jnp.asarray(value**0.5, like.dtype)
