r"""Jacobians of residual blocks, for least-squares methods: rows point by point, normal equations chunk by chunk.

The stacked residual is r(θ) = (√w_1 r_1, …, √w_K r_K) with N entries, J = ∂r/∂θ is N × P. All blocks read θ through the
fields F (the network at the points), so J = (∂r/∂F)(∂F/∂θ), and the two factors have different shapes:

* ∂F/∂θ is local: one reverse pass through the network for each field component of each point, for a chunk of points at a time.
* ∂r/∂F is cheap: no network. A :class:`.PointwiseBlock` has a row that touches one point, and a single pull-back of ones
  gives all its rows; its rows of J then cost *one* reverse pass a point. Another block (a coupling, with C entries) is
  pulled back row by row, and its rows of J are the matrix product (C × components)(components × P), summed over the chunks.
  The sensitivity of the coarse state through K̂[u_θ] is part of ∂r/∂F, by the coarse problem's own derivative.

So the memory is P² + C·P + C·(components of the fields it reads) + one chunk, whatever N; the time is N P² for JᵀJ (half of a
full product, the triangle alone), C M P for the coupling rows, and a reverse pass a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from hybrid_lib.training.objectives import Objective, PointFields, PointwiseBlock

Tree = Any
CHUNK_BYTES = 2**22
"""Default size of one block's rows of one chunk, small enough for the cache, large enough for matrix products."""
TILE = 256
"""Side of a tile of JᵀJ."""


class NormalEquations(NamedTuple):
    """What one Gauss-Newton step needs of J and r.

    Attributes
    ----------
    matrix : (P, P)
        JᵀJ, symmetric.
    gradient : (P,)
        Jᵀr, half the gradient of ‖r‖².
    """

    matrix: Array
    gradient: Array


def weighted_residual(
    objective: Objective, theta: Tree, weights: dict[str, Array], data: Tree, coarse: Tree
) -> Array:
    """r(θ) = (√w_k r_k) as one vector (N,), blocks in their order; ‖r‖² is the loss."""
    fields = objective.fields(theta, data)
    return jnp.concatenate(
        [jnp.sqrt(weights[name]) * block(fields, data, coarse) for name, block in objective.blocks.items()]
    )


def ravel(tree: Tree) -> Array:
    """All leaves of a tree in one vector."""
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(tree)])


def unraveller(like: Tree) -> Callable[[Array], Tree]:
    """The inverse of :func:`ravel` for trees shaped like `like`."""
    leaves, structure = jax.tree.flatten(like)
    ends = [sum(leaf.size for leaf in leaves[: k + 1]) for k in range(len(leaves))]

    def unravel(vector: Array) -> Tree:
        parts = [
            vector[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    return unravel


def normal_equations(
    objective: Objective,
    theta: Tree,
    weights: dict[str, Array],
    data: Tree,
    coarse: Tree,
    chunk: int | None = None,
) -> NormalEquations:
    r"""JᵀJ and Jᵀr without ever holding J.

    Parameters
    ----------
    objective : Objective
        With :class:`.PointFields`; for other fields J is formed row by row, all of it.
    theta : tree
        P numbers.
    weights : dict of str to ()
    data, coarse : trees
    chunk : int, optional
        Points a chunk; by default so many that a block's rows take `CHUNK_BYTES`, but at least 200.

    Returns
    -------
    NormalEquations
        O(N P²/2 + C M P) operations, see the module for the memory.
    """
    if not isinstance(objective.fields, PointFields):
        rows, r = jacobian(objective, theta, weights, data, coarse, chunk)
        return NormalEquations(rows.T @ rows, r @ rows)
    sets, coupled = _plan(objective, theta, weights, data, coarse)
    size, dtype = _size(theta)

    def sums(theta: Tree, sets: list[_Points]) -> tuple[dict, Any]:
        tiles, gradient = _tiles(size, dtype), jnp.zeros(size, dtype)
        J_c = jnp.zeros((coupled.shape[0], size), dtype)  # (C, P)
        for points in sets:

            def add(carry, start, fresh, columns, points=points):
                tiles, gradient = carry
                r = lax.dynamic_slice_in_dim(points.residual, start, len(fresh)) * fresh[:, None]  # (chunk, L)
                for k, block in enumerate(columns):
                    tiles, gradient = _rank_k(tiles, block * fresh[None, :]), gradient + block @ r[:, k]
                return tiles, gradient

            (tiles, gradient), J_c = _sweep(objective, theta, data, points, chunk, (tiles, gradient), J_c, add)
        return {}, (tiles, gradient, J_c)

    _, (tiles, gradient, J_c) = _over_devices(objective, sums, theta, sets)
    if len(coupled):
        tiles, gradient = _rank_k(tiles, J_c.T), gradient + coupled @ J_c
    return NormalEquations(_symmetric(tiles), gradient)


def jacobian(
    objective: Objective,
    theta: Tree,
    weights: dict[str, Array],
    data: Tree,
    coarse: Tree,
    chunk: int | None = None,
) -> tuple[Array, Array]:
    """J (N, P) and r (N,), the pointwise blocks' rows first; the arguments are those of :func:`normal_equations`.

    For fields that are not :class:`.PointFields`, J by one reverse pass of everything for each of the N rows.
    """
    if not isinstance(objective.fields, PointFields):
        r, pull = jax.vjp(lambda t: weighted_residual(objective, t, weights, data, coarse), theta)
        batch = min(chunk or 64, len(r))
        return lax.map(lambda row: ravel(pull(row)[0]), jnp.eye(len(r), dtype=r.dtype), batch_size=batch), r
    sets, coupled = _plan(objective, theta, weights, data, coarse)
    size, dtype = _size(theta)

    def rows(theta: Tree, sets: list[_Points]) -> tuple[dict[str, list[Array]], Array]:
        J_c = jnp.zeros((coupled.shape[0], size), dtype)  # (C, P)
        parts = {}
        for points in sets:
            M, L = points.residual.shape

            def put(J, start, fresh, columns):
                return [
                    lax.dynamic_update_slice_in_dim(a, b.T, start, axis=0)
                    for a, b in zip(J, columns, strict=True)
                ]

            J = [jnp.zeros((M, size), dtype) for _ in range(L)]
            parts[points.name], J_c = _sweep(objective, theta, data, points, chunk, J, J_c, put)
        return parts, J_c

    parts, J_c = _over_devices(objective, rows, theta, sets)
    residuals = [points.residual.T.reshape(-1) for points in sets]
    J = jnp.concatenate([*(block for points in sets for block in parts[points.name]), J_c])
    layout = objective.fields.layout
    J = J if layout is None else layout.split(J, 1)  # columns: what follows is products of all rows
    return J, jnp.concatenate([*residuals, coupled])


class _Points(NamedTuple):
    """∂r/∂F on one set of M points: L pointwise blocks, C rows of the other blocks, which read the components `read`."""

    name: str
    inputs: Tree
    local: Array  # (M, L, n), a row of ∂r/∂F for each block and point
    residual: Array  # (M, L)
    coupled: Array  # (C, M, U)
    read: tuple[int, ...]  # U of the n components
    real: Array | None = None  # (M,), 0 for points that fill up a device's share


def _over_devices(objective: Objective, function: Callable, theta: Tree, sets: list[_Points]) -> tuple[dict[str, Tree], Tree]:
    """`function` (θ, sets) -> (rows of each set, sums) over the devices among which the points are shared."""
    layout = objective.fields.layout
    if layout is None:
        return function(theta, sets)

    def share(theta: Tree, arrays: dict[str, Tree], real: dict[str, Array]) -> tuple[dict[str, Tree], Tree]:
        own = []
        for points in sets:
            inputs, local, residual, coupled = arrays[points.name]
            coupled = jnp.moveaxis(coupled, 0, 1)
            own.append(_Points(points.name, inputs, local, residual, coupled, points.read, real[points.name]))
        return function(theta, own)

    arrays = {p.name: (p.inputs, p.local, p.residual, jnp.moveaxis(p.coupled, 1, 0)) for p in sets}
    return layout.over_points(share, theta, arrays)


def _plan(
    objective: Objective, theta: Tree, weights, data: Tree, coarse: Tree
) -> tuple[list[_Points], Array]:
    """The factor ∂r/∂F on every set that is read, and the residual (C,) of the blocks that are not pointwise."""
    fields = objective.fields(theta, data)
    inputs = objective.fields.inputs(data)
    local: dict[str, list] = {name: [] for name in fields}
    rows: list[dict[str, Array]] = []
    residuals = []
    read = {name: set() for name in fields}
    for name, block in objective.blocks.items():
        root = jnp.sqrt(weights[name])
        if isinstance(block, PointwiseBlock):
            at = block.points
            r, pull = jax.vjp(lambda f, b=block, s=at: b(fields | {s: f}, data, coarse), fields[at])
            local[at].append((root * r, root * _columns(pull(jnp.ones_like(r))[0])))
        else:
            for at, columns in _read(lambda f, b=block: b(f, data, coarse), fields).items():
                read[at] |= columns
            r, pull = jax.vjp(lambda f, b=block: b(f, data, coarse), fields)
            cotangents = jax.vmap(lambda e, p=pull: p(e)[0])(root * jnp.eye(len(r), dtype=r.dtype))
            rows.append({at: jax.vmap(_columns)(tree) for at, tree in cotangents.items()})  # (C_k, M, n)
            residuals.append(root * r)
    sets = []
    for at in fields:
        chosen = tuple(sorted(read[at]))
        if not local[at] and not chosen:
            continue
        columns = _columns(fields[at])  # (M, n)
        empty = jnp.zeros((columns.shape[0], 0), columns.dtype)
        index = jnp.asarray(chosen, jnp.int32)
        sets.append(
            _Points(
                at,
                inputs[at],
                jnp.stack([g for _, g in local[at]], axis=1)
                if local[at]
                else empty[:, :, None] * columns[:, None],
                jnp.stack([r for r, _ in local[at]], axis=1) if local[at] else empty,
                jnp.concatenate([row[at][:, :, index] for row in rows])
                if chosen
                else jnp.zeros((0, columns.shape[0], 0), columns.dtype),
                chosen,
            )
        )
    dtype = _size(theta)[1]
    return sets, jnp.concatenate(residuals) if residuals else jnp.zeros(0, dtype)


def _sweep(objective, theta, data, points: _Points, chunk, carry, J_c, update):
    """Run over the points in chunks: `update` (carry, start, fresh, rows) for the pointwise rows, sums for the coupling's.

    The last chunk ends at the last point and overlaps the one before; `fresh` (chunk,) is 1 where a point is new and 0 elsewhere.
    """
    size, dtype = _size(theta)
    M, L, n = points.local.shape
    U = len(points.read)
    if chunk is None:
        chunk = max(CHUNK_BYTES // (dtype.itemsize * size), 200)
    chunk = -(
        -M // -(-M // chunk)
    )  # equal chunks: the overlap of the last is then less than one point a chunk
    units = jnp.eye(n, dtype=dtype)

    def at(point, local):
        """L + U rows (P,) of one point: the pointwise blocks', then those of the components that are read."""
        _, pull = jax.vjp(lambda t: ravel(objective.fields.at(t, data, points.name, point)), theta)
        cotangents = [local[k] for k in range(L)] + [units[k] for k in points.read]
        return [ravel(pull(cotangent)[0]) for cotangent in cotangents]  # unrolled: a batch of them is slower

    def body(k, carry):
        carry, J_c = carry
        start = jnp.minimum(k * chunk, M - chunk)
        fresh = (start + jnp.arange(chunk) >= k * chunk).astype(dtype)
        cut = lambda tree, axis=0: jax.tree.map(  # noqa: E731
            lambda leaf: lax.dynamic_slice_in_dim(leaf, start, chunk, axis), tree
        )
        if points.real is not None:
            fresh = fresh * cut(points.real)
        columns = jax.vmap(at, out_axes=1)(cut(points.inputs), cut(points.local))  # L + U arrays (P, chunk)
        carry = update(carry, start, fresh, columns[:L])
        if U:
            sensitivity = cut(points.coupled, 1) * fresh[None, :, None]  # (C, chunk, U)
            J_c = J_c + sum(sensitivity[:, :, k] @ columns[L + k].T for k in range(U))
        return carry, J_c

    return lax.fori_loop(0, -(-M // chunk), body, (carry, J_c))


def _read(function: Callable, fields: Tree) -> dict[str, set[int]]:
    """Components of each set that `function` reads: the others' derivatives are zero and need no reverse pass."""
    program = jax.make_jaxpr(function)(fields).jaxpr
    used = {id(v) for equation in program.eqns for v in equation.invars} | {id(v) for v in program.outvars}
    flags = jax.tree.unflatten(jax.tree.structure(fields), [id(v) in used for v in program.invars])
    out: dict[str, set[int]] = {}
    for name in fields:
        columns, first = set(), 0
        for leaf, flag in zip(jax.tree.leaves(fields[name]), jax.tree.leaves(flags[name]), strict=True):
            width = leaf.size // leaf.shape[0]
            columns |= set(range(first, first + width)) if flag else set()
            first += width
        out[name] = columns
    return out


def _columns(tree: Tree) -> Array:
    """Leaves (M, …) side by side as (M, n)."""
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)], axis=1)


def _size(theta: Tree) -> tuple[int, Any]:
    leaves = jax.tree.leaves(theta)
    return sum(leaf.size for leaf in leaves), leaves[0].dtype


def _bounds(size: int) -> list[tuple[int, int]]:
    count = max(1, round(size / TILE))
    return [(size * k // count, size * (k + 1) // count) for k in range(count)]


def _tiles(size: int, dtype) -> tuple[Array, ...]:
    """Block rows of the lower triangle of a zero matrix: columns up to the end of the diagonal tile."""
    return tuple(jnp.zeros((b - a, b), dtype) for a, b in _bounds(size))


def _rank_k(tiles: tuple[Array, ...], columns: Array) -> tuple[Array, ...]:
    """Add columns·columnsᵀ, for `columns` (P, k), to the lower triangle: about half the operations of the full product."""
    bounds = _bounds(columns.shape[0])
    return tuple(tile + columns[a:b] @ columns[:b].T for tile, (a, b) in zip(tiles, bounds, strict=True))


def _symmetric(tiles: tuple[Array, ...]) -> Array:
    size = tiles[-1].shape[1]
    lower = jnp.concatenate([jnp.pad(tile, ((0, 0), (0, size - tile.shape[1]))) for tile in tiles])
    return jnp.tril(lower) + jnp.tril(lower, -1).T
