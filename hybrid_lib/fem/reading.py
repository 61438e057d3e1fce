"""Meshes from files, by way of meshio: gmsh, Abaqus, Medit, VTK, XDMF and whatever else it reads."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_lib.errors import InputError, require_package
from hybrid_lib.fem import gmsh
from hybrid_lib.fem.conformity import merged
from hybrid_lib.fem.mesh import Mesh, from_simplices
from hybrid_lib.fem.topology import checked_arrays, outer_facets

CORNERS = {
    "vertex": 1, "line": 2, "line3": 2, "triangle": 3, "triangle6": 3, "triangle7": 3, "quad": 4, "quad8": 4, "quad9": 4,
}  # fmt: skip
"""Kinds of cells that are understood, and how many of their nodes, the first ones, are corners."""
CUT = ((0, 1, 2), (0, 2, 3))
"""Two triangles of a quadrilateral."""
TAGS = ("gmsh:physical", "medit:ref", "cell_tags", "abaqus:elset", "ugrid:ref", "CellEntityIds")
"""Where numbers of groups are looked for first; after these, any data of whole numbers."""


def read_mesh(file: Any, *, merge: bool | float = False, crack: bool = False) -> Mesh:
    """Read a mesh of triangles, or of lines in one dimension.

    Of triangles the lines that lie on the boundary give the sides, and the groups of triangles the materials; in one dimension
    it is vertices and lines. Nodes in no cell go, and so does a coordinate that is constant; clockwise cells are turned, second
    order is left out, quadrilaterals are cut in two. Other kinds of cells are refused.

    Parameters
    ----------
    file : path
        In a format that meshio knows by the suffix: ``.msh``, ``.inp``, ``.mesh``, ``.vtu``, ``.vtk``, ``.xdmf`` and more.
        Gmsh's versions 2.2 and 4.1 are read without meshio.
    merge : bool or float
        Glue nodes that are there twice, as :func:`.from_simplices` does; sides and materials stay what they are, and a side
        that lies between glued parts goes.
    crack : bool
        Let parts touch without sharing nodes, as :func:`.from_simplices` does.

    Returns
    -------
    Mesh
        Its ``sides`` and ``materials`` have the names of the groups in the file, or their numbers as text.

    Raises
    ------
    InputError
        If meshio is missing, the file is not there or cannot be read, or holds no mesh of a line or a plane.

    Examples
    --------
    >>> read_mesh("none.msh")  # doctest: +SKIP
    Traceback (most recent call last):
    ...
    hybrid_lib.errors.InputError: none.msh: expected a file that exists; received none; correct the path
    """
    if not isinstance(file, str | os.PathLike):
        raise InputError("mesh file", "a path", type(file).__name__, 'for example "part.msh"')
    path = Path(file)
    if not path.is_file():
        raise InputError(str(path), "a file that exists", "none", "correct the path")
    if path.suffix.lower() == ".msh":
        try:
            given = gmsh.read(path)
        except OSError as error:
            raise InputError(str(path), "a file that can be read", error.strerror or error, "see to it that it can be") from None
        if given is not None:
            return _mesh_of(given, str(path), merge, crack)
    meshio = require_package("meshio", "reading meshes", "hybrid-lib[files]")
    try:  # a reader that fails prints, and may leave the program
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            given = meshio.read(path)
    except ModuleNotFoundError as error:
        package = f"the package {error.name}"
        raise InputError(str(path), f"{package}, to read {path.suffix}", "none", f"pip install {error.name}") from None
    except (Exception, SystemExit) as error:
        reason = str(error).strip().partition("\n")[0][:120]
        received = reason if isinstance(error, Exception) and reason else f"none that reads {path.suffix or 'it'}"
        raise InputError(str(path), "a mesh in a format that meshio reads", received, "write it as .msh or .vtu") from None
    return _mesh_of(given, str(path), merge, crack)


def _mesh_of(given: Any, path: str, merge: bool | float, crack: bool) -> Mesh:
    """The mesh of what meshio read."""
    kinds = list(dict.fromkeys(block.type for block in given.cells))
    unknown = [kind for kind in kinds if kind not in CORNERS]
    if unknown and all(kind.startswith(("line", "triangle", "quad", "VTK_LAGRANGE")) for kind in unknown):
        expected, remedy = "cells of first or second order", "export them in first order; in gmsh with Mesh.ElementOrder = 1"
        raise InputError(path, expected, ", ".join(unknown), remedy)
    width = min(max((CORNERS.get(kind, 0) for kind in kinds), default=0), 3)
    if unknown or width < 2:
        received = ", ".join(kinds) or "no cells"
        raise InputError(path, "triangles, or lines in one dimension", received, "export the cells of a plane or a line")
    cells, groups = _blocks(given, width)
    facets, names = _blocks(given, width - 1)
    used, number = np.unique(cells, return_inverse=True)
    points = _flattened(np.asarray(given.points, float)[used], width - 1, path)
    points, cells = checked_arrays(points, number.reshape(cells.shape))
    place = np.full(len(given.points), -1)  # of the file's nodes in the mesh
    place[used] = np.arange(len(used))
    if merge is not False:
        points, glued = merged(points, cells, merge)
        place[used[cells]], cells = glued, glued
    mesh = from_simplices(points, cells, crack=crack)
    return replace(mesh, sides=_sides(mesh, place[facets], names), materials=groups)


def _blocks(given: Any, width: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All cells with so many corners, and the numbers of those in each group."""
    parts, groups, count = [np.zeros((0, width), int)], {}, 0
    for k, block in enumerate(given.cells):
        corners = CORNERS[block.type]
        if min(corners, 3) != width:
            continue
        rows = np.asarray(block.data, int)[:, :corners]
        copies = corners - width + 1
        rows = rows[:, CUT].reshape(-1, 3) if copies == 2 else rows
        for name, members in _groups(given, k, width - 1).items():
            numbers = (copies * members[:, None] + np.arange(copies)).ravel() + count
            groups[name] = np.concatenate([groups[name], numbers]) if name in groups else numbers
        parts.append(rows)
        count += len(rows)
    return np.concatenate(parts), groups


def _groups(given: Any, k: int, dimension: int) -> dict[str, np.ndarray]:
    """Members of each group of block k: of its sets, else of the numbers that its cells have."""
    sets = {name: np.asarray(of[k], int) for name, of in given.cell_sets.items() if not name.startswith("gmsh:")}
    sets = {name: members for name, members in sets.items() if members.size}
    if sets:
        return sets
    whole = [name for name, data in given.cell_data.items() if np.asarray(data[k]).ndim == 1 and _is_whole(data[k])]
    key = next((name for name in (*TAGS, *whole) if name in whole and "geometrical" not in name), None)
    if key is None:
        return {}
    numbers = np.asarray(given.cell_data[key][k]).astype(int)
    texts = {(int(tag), int(dim)): name for name, (tag, dim) in _pairs(given.field_data)}
    if key == "gmsh:physical":
        numbers = np.abs(numbers)  # those with a minus are turned in their group
    return {
        texts.get((tag, dimension), str(tag)): np.flatnonzero(numbers == tag) for tag in np.unique(numbers).tolist() if tag
    }


def _is_whole(values: Any) -> bool:
    values = np.asarray(values)
    return values.dtype.kind in "iu" or (values.dtype.kind == "f" and np.array_equal(values, np.round(values)))


def _pairs(field_data: Any) -> list[tuple[str, tuple[int, int]]]:
    """Names of groups with number and dimension, as gmsh has them."""
    return [(name, tuple(value)) for name, value in (field_data or {}).items() if np.size(value) == 2]


def _flattened(points: np.ndarray, d: int, path: str) -> np.ndarray:
    """The points without their constant coordinates."""
    spread = np.ptp(points, axis=0)
    kept = np.flatnonzero(spread > 1e-9 * spread.max())
    if len(kept) < d:
        kept = np.union1d(kept, np.arange(points.shape[1])[:d])[:d]
    if len(kept) > d:
        shape, free = {1: "a straight line along an axis", 2: "a plane across an axis"}[d], "".join("xyz"[i] for i in kept)
        raise InputError(path, f"cells in {shape}", f"coordinates {free} that all vary", "turn the mesh")
    return points[:, kept]


def _sides(mesh: Mesh, facets: np.ndarray, names: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the facets in groups those on the boundary."""
    _, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    outer = set(zip(lower.tolist(), upper.tolist(), strict=True))
    sides = {}
    for name, members in names.items():
        nodes = facets[members]
        kept = [pair in outer for pair in zip(nodes.min(axis=1).tolist(), nodes.max(axis=1).tolist(), strict=True)]
        if any(kept):
            sides[name] = nodes[kept]
    return sides
