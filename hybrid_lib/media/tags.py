"""Media by material: one conductivity for each tag of the cells of a mesh."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.media.formulas import constant
from hybrid_lib.media.medium import Medium, known_within, make_medium, recorded

try:
    from jax import enable_x64
except ImportError:  # before jax 0.8
    from jax.experimental import enable_x64

BLOCK = 1 << 14
"""Points that are located at a time."""


@recorded
def by_tag(mesh: Any, conductivities: Mapping[str, Any]) -> Medium:
    """A medium that is given on each material of a mesh: K(x) is that of the cell which holds x.

    Finite elements on the mesh, and on its refinements, are exact about the interfaces. A point outside takes the cell that is
    nearest in its neighbourhood.

    Parameters
    ----------
    mesh : fem.Mesh
        With `materials`: each cell in exactly one; :func:`hybrid_lib.fem.read_mesh` makes one from a file.
    conductivities : mapping of str to number, (d, d) matrix or Medium
        K of each material, all in one unit, for instance W/(m K) with lengths in m. A tensor by its principal values and
        angle is ``media.tensor([k1, k2], angle)``.

    Raises
    ------
    InputError
        For a mesh without materials, a cell without or with two, an unknown material, one without a conductivity, or a
        conductivity that is none.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from hybrid_lib import fem
    >>> mesh = replace(fem.interval(4), materials={"steel": np.array([0, 1]), "air": np.array([2, 3])})
    >>> medium = by_tag(mesh, {"steel": 50, "air": 0.025})
    >>> float(medium.conductivity(jnp.array([0.3]))), medium.alpha
    (50.0, 0.025)
    """
    names, tag = _tags(mesh)
    if not isinstance(conductivities, Mapping):
        remedy = f"the materials are {', '.join(names)}"
        raise InputError("conductivities", "a dict of materials and numbers", type(conductivities).__name__, remedy)
    d, given = mesh.points.shape[1], dict(conductivities)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            remedy = f"did you mean {near[0]}?" if near else "correct the name"
            raise InputError("material", f"one of {', '.join(names)}", repr(name), remedy)
    if missing := [name for name in names if name not in given]:
        raise InputError(
            "materials", f"a conductivity for each of {', '.join(names)}", f"none for {missing[0]}", "add it"
        )
    parts = []
    for name in names:
        try:
            part = given[name] if isinstance(given[name], Medium) else constant(given[name], d)
        except InputError as error:
            raise InputError(
                f"conductivity of {name}", error.expected, error.received, error.remedy
            ) from None
        if part.dimension != d:
            raise InputError(
                f"conductivity of {name}",
                f"dimension {d}",
                f"a medium of dimension {part.dimension}",
                "match the mesh",
            )
        parts.append(part)
    tensor = any(part.is_tensor for part in parts)
    locate = _locator(mesh)

    @jax.jit
    def cells(points):
        return jax.vmap(locate)(points)

    def _cells(points):
        """The cells of the mesh at points (m, k, d)."""
        flat = points.reshape(-1, d)
        padded = np.concatenate([flat, np.repeat(flat[-1:], -len(flat) % BLOCK, axis=0)]).reshape(-1, BLOCK, d)
        with enable_x64(True):
            found = [np.asarray(cells(jnp.asarray(block))) for block in padded]
        return np.concatenate(found)[: len(flat)].reshape(points.shape[:-1])

    def conductivity(x):
        here, value = jnp.asarray(tag)[locate(x)], None
        for number, part in enumerate(parts):
            K = part.conductivity(x)
            K = K * jnp.eye(d, dtype=x.dtype) if tensor and not part.is_tensor else K
            value = K if value is None else jnp.where(here == number, K, value)
        return value

    constants = [part.conductivity(jnp.zeros(d)) for part in parts if part.name == "constant"]

    def cell_values(corners):  # where each cell, a little shrunk, is within one of the mesh, which is convex
        middle = corners.mean(axis=1, keepdims=True)
        around = np.concatenate([corners, (corners + np.roll(corners, 1, axis=1)) / 2], axis=1)
        here = _cells(np.concatenate([middle, middle + 0.99 * (around - middle)], axis=1))  # (m, k)
        if len(constants) < len(parts) or np.any(here != here[:, :1]):
            return None
        values = np.array([K * np.eye(d) if tensor and np.ndim(K) == 0 else K for K in map(np.asarray, constants)], float)
        return values[tag[here[:, 0]]]

    flat = all(part.name == "constant" and part.alpha == part.beta == parts[0].alpha for part in parts)
    medium = make_medium(
        conductivity,
        d,
        min(part.alpha for part in parts),
        max(part.beta for part in parts),
        divergence=jnp.zeros_like if flat else None,
        bounds_exact=all(part.bounds_exact for part in parts),
        name="materials",
        is_tensor=tensor,
        is_lipschitz=parts[0].is_lipschitz if len(parts) == 1 else flat,
    )
    medium.conductivity.cell_values = cell_values
    if not flat:
        medium.conductivity.tagged = (mesh, tag, locate)
    return known_within(medium, (mesh.points.min(axis=0), mesh.points.max(axis=0)), True)


def _tags(mesh: Any) -> tuple[list[str], np.ndarray]:
    """The names of the materials, and the number of that of each cell."""
    materials = getattr(mesh, "materials", None)
    if not materials:
        received = "none" if materials is not None else type(mesh).__name__
        raise InputError(
            "mesh",
            "a mesh with materials",
            received,
            "name the physical groups of the cells, and save without Mesh.SaveAll; see fem.read_mesh",
        )
    tag, count = np.full(len(mesh.cells), -1, np.int32), np.zeros(len(mesh.cells), int)
    for number, cells in enumerate(materials.values()):
        tag[cells] = number
        np.add.at(count, np.asarray(cells), 1)
    if np.any(count != 1):
        cell = int(np.argmax(count != 1))
        received = "two materials" if count[cell] else "none"
        raise InputError(f"mesh cell {cell}", "one material", received, "put each cell in one physical group")
    return list(materials), tag


def _locator(mesh: Any):
    """x (d,) -> number of the cell that holds it, a JAX function: of the cells of its bucket the one it is deepest in."""
    buckets, d = mesh.buckets, mesh.points.shape[1]
    counts = np.diff(buckets.indptr)
    most = int(counts.max())
    table = np.zeros((len(counts), most), np.int32)  # cells of each bucket, the last one repeated
    for row in range(most):
        place = np.minimum(buckets.indptr[:-1] + row, buckets.indptr[1:] - 1)
        table[:, row] = buckets.cells[np.clip(place, 0, len(buckets.cells) - 1)]
    strides = np.concatenate([np.cumprod(buckets.shape[:0:-1])[::-1], [1]]).astype(np.int32)
    middle = mesh.points[mesh.cells].mean(axis=1)
    slopes = mesh.basis_gradients  # (m, d + 1, d)

    def locate(x):
        s = (x - jnp.asarray(buckets.origin, x.dtype)) / jnp.asarray(buckets.spacing, x.dtype)
        top = jnp.asarray(buckets.shape - 1, x.dtype)
        index = jnp.clip(jnp.floor(s), jnp.zeros((d,), x.dtype), top).astype(jnp.int32)
        cells = jnp.asarray(table)[jnp.sum(index * jnp.asarray(strides))]  # (most,)
        away = x[None] - jnp.asarray(middle, x.dtype)[cells]
        hats = jnp.einsum("cid,cd->ci", jnp.asarray(slopes, x.dtype)[cells], away, precision="highest")
        return cells[jnp.argmax(jnp.min(hats, axis=1))]

    return locate
