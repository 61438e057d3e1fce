r"""How a run lies on several devices: its seeds along one axis of a mesh, its points along the other.

Members of different seeds know nothing of each other: along the axis ``seeds`` nothing is sent but whether anyone still runs.
Along ``points`` every device has a share of the rows of the residual (collocation points, boundary points, quadrature cells) and
a copy of θ. What is a sum over points is then an all-reduce: the gradient (P numbers), JᵀJ with Jᵀr (the lower triangle and P),
each product Jᵀv of conjugate gradients (P), the Gram matrix of Woodbury's solver (N²). The solve that follows is done by every
device for itself.

:meth:`Layout.over_points` tells the compiler what it would not find by itself: that the network is evaluated where the points
are, and that what concerns θ comes back as one vector. Couplings and sums it partitions on its own. On one device there is no
layout, and programs are traced as if this module did not exist.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from hybrid_lib.errors import InputError

Tree = Any
SEEDS, POINTS = "seeds", "points"


@dataclass(frozen=True)
class Layout:
    """A mesh of ``seeds`` × ``points`` devices, the first of those that JAX sees; made by :func:`layout`.

    Attributes
    ----------
    seeds, points : int
        Devices along each axis.
    """

    seeds: int
    points: int

    @property
    def devices(self) -> int:
        """How many."""
        return self.seeds * self.points

    @property
    def mesh(self) -> Mesh:
        """The mesh, with axes that are the compiler's to use."""
        return _mesh(self.seeds, self.points)

    def over_seeds(self, function: Callable) -> Callable:
        """`function` (step, members, data) with each device's share of the seeds."""
        if self.seeds == 1:
            return function
        split = Spec(SEEDS)
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=(Spec(), split, split), out_specs=split, axis_names={SEEDS}, check_vma=False
        )

    def over_points(self, function: Callable, theta: Tree, points: dict[str, Tree]) -> tuple[dict[str, Tree], Tree]:
        """`function` with each device's share of the points; its derivative in θ, and its sums, are an all-reduce each.

        Parameters
        ----------
        function : callable (θ, points, real) -> (rows, sums)
            ``points[name]`` are the device's; ``real[name]`` is 1 for them and 0 for those that fill up the last shares.
        theta : tree
        points : dict of str to trees
            Leaves with the points on their leading axis.

        Returns
        -------
        rows : dict of str to trees
            Of the points as they came.
        sums : tree
            Over all devices.
        """
        flat, unravel = ravel_pytree(theta)
        counts = {name: len(jax.tree.leaves(tree)[0]) for name, tree in points.items()}
        real = {name: jnp.ones(count, flat.dtype) for name, count in counts.items()}

        def share(flat: Array, points: dict[str, Tree], real: dict[str, Array]) -> tuple[dict[str, Tree], Tree]:
            rows, sums = function(unravel(flat), points, real)
            return rows, lax.psum(sums, POINTS)

        rows, sums = jax.shard_map(
            share, mesh=None if _inside() else self.mesh, in_specs=(Spec(), Spec(POINTS), Spec(POINTS)),
            out_specs=(Spec(POINTS), Spec()), axis_names={POINTS}, check_vma=False,
        )(flat, self._filled(points, "edge"), self._filled(real, "constant"))  # fmt: skip
        return {name: jax.tree.map(lambda leaf, k=counts[name]: leaf[:k], tree) for name, tree in rows.items()}, sums

    def split(self, array: Array, axis: int | None) -> Array:
        """`array`, inside a program, with the devices of the points along one of its axes, or copied to all of them."""
        spec = Spec(*[POINTS if k == axis else None for k in range(array.ndim)])
        return lax.with_sharding_constraint(array, NamedSharding(_inside() or self.mesh, spec))

    def whole(self, tree: Tree) -> Tree:
        """`tree`, at the end of a program, with a copy on every device."""
        return lax.with_sharding_constraint(tree, NamedSharding(self.mesh, Spec()))

    def copied(self, tree: Tree) -> Tree:
        """A copy of arrays, the same in all processes, on every device."""
        return jax.tree.map(lambda leaf: _placed(leaf, NamedSharding(self.mesh, Spec())), tree)

    def placed(self, data: Tree, counts: set[int]) -> Tree:
        """The members' data, the same in all processes, with each device's share of them.

        Parameters
        ----------
        data : tree
            Leading axis seeds.
        counts : set of int
            Lengths of a second axis that is one of points; those that do not divide evenly are copied.
        """
        even = {count for count in counts if count % self.points == 0}

        def at(leaf: Array) -> Array:
            spec = Spec(SEEDS, POINTS) if leaf.ndim > 1 and leaf.shape[1] in even else Spec(SEEDS)
            return _placed(leaf, NamedSharding(self.mesh, spec))

        return jax.tree.map(at, data)

    def words(self, seeds: int, points: int) -> str:
        """The layout in a line.

        Examples
        --------
        >>> Layout(2, 4).words(6, 1001)
        '8 devices: 3 of 6 seeds and 251 of 1,001 points on each, filled up to 1,004'
        """
        share = -(-points // self.points)
        more = f", filled up to {share * self.points:,}" if share * self.points > points else ""
        whose = f"{seeds // self.seeds} of {seeds} seeds and " if seeds > 1 else ""
        return f"{self.devices} devices: {whose}{share:,} of {points:,} points on each{more}"

    def _filled(self, tree: Tree, mode: str) -> Tree:
        """Rows up to a multiple of the devices."""

        def fill(leaf: Array) -> Array:
            missing = -len(leaf) % self.points
            return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1), mode=mode) if missing else leaf

        return jax.tree.map(fill, tree)


def layout(seeds: int, devices: int | None = None) -> Layout | None:
    """The layout of a run: as many devices along ``seeds`` as divide both numbers, the others along ``points``.

    Parameters
    ----------
    seeds : int
    devices : int, optional
        How many, the first of ``jax.devices()``; default all.

    Returns
    -------
    Layout or None
        Nothing for one device.

    Raises
    ------
    InputError
        For more devices than there are, or fewer than all with several processes.

    Examples
    --------
    >>> layout(5, 1) is None
    True
    """
    there = jax.device_count()
    devices = there if devices is None else devices
    if not 1 <= devices <= there:
        raise InputError("devices", f"1 to {there}, those that JAX sees", devices, "leave it out to use all")
    if jax.process_count() > 1 and devices < there:
        raise InputError("devices", f"all {there} of the processes", devices, "leave it out")
    if devices == 1:
        return None
    first = math.gcd(seeds, devices)
    return Layout(first, devices // first)


def local(tree: Tree) -> Tree:
    """Arrays of which every device has a copy, as arrays of this process's first device."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0) if isinstance(leaf, Array) else leaf, tree)


@functools.cache
def _mesh(seeds: int, points: int) -> Mesh:
    devices = jax.devices()[: seeds * points]
    return jax.make_mesh((seeds, points), (SEEDS, POINTS), axis_types=(AxisType.Auto,) * 2, devices=devices)


def _inside() -> Any:
    """The mesh of the program that is being traced, if it is one over the seeds."""
    ambient = jax.sharding.get_abstract_mesh()
    return None if ambient.empty else ambient


def _placed(leaf: Array, sharding: NamedSharding) -> Array:
    """One array; every process takes its part of what it has."""
    if getattr(leaf, "sharding", None) == sharding:
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        kind = jax.random.key_impl(leaf)
        return jax.random.wrap_key_data(_placed(jax.random.key_data(leaf), sharding), impl=kind)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda part: values[part])
