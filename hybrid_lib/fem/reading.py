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
from hybrid_lib.fem.mesh import Mesh, from_simplices
from hybrid_lib.fem.topology import outer_facets

CORNERS = {"triangle": 3, "triangle6": 3, "triangle7": 3, "line": 2, "line3": 2, "vertex": 1}
"""Kinds of cells that are understood, and how many of their nodes are corners; quadrilaterals are cut in two triangles."""
CUT = ((0, 1, 2), (0, 2, 3))
TAGS = ("gmsh:physical", "medit:ref", "cell_tags", "abaqus:elset", "ugrid:ref", "CellEntityIds")
"""Where numbers of groups are looked for first; after these, any data of whole numbers."""


def read_mesh(file: Any) -> Mesh:
    """Read a mesh of triangles, or of lines in one dimension.

    Of triangles the lines that lie on the boundary give the sides, and the groups of triangles the materials; in one dimension
    it is vertices and lines. Nodes in no cell go, and so does a coordinate that is constant; clockwise cells are turned, second
    order is left out, quadrilaterals are cut in two.

    Parameters
    ----------
    file : path
        In a format that meshio knows by the suffix: ``.msh``, ``.inp``, ``.mesh``, ``.vtu``, ``.vtk``, ``.xdmf`` and more. Text
        of gmsh's version 2.2 is read without meshio.

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
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(str(path), "a mesh of gmsh", str(error)[:80], "export it again, as version 2.2") from None
        if given is not None:
            return _mesh_of(given, str(path))
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
    return _mesh_of(given, str(path))


def _mesh_of(given: Any, path: str) -> Mesh:
    """The mesh of what meshio read."""
    kinds = [block.type for block in given.cells]
    known = [kind for kind in kinds if kind in CORNERS or kind == "quad"]
    solid = [kind for kind in kinds if kind.startswith(("tetra", "hexa", "wedge", "pyramid"))]
    plane = any(kind.startswith(("triangle", "quad")) for kind in known)
    if solid or not (plane or any(kind.startswith("line") for kind in known)):
        received = ", ".join(dict.fromkeys(kinds)) or "no cells"
        raise InputError(path, "triangles, or lines in one dimension", received, "export the cells of a plane or a line")
    width = 3 if plane else 2
    cells, groups = _blocks(given, width)
    facets, names = _blocks(given, width - 1)
    used, number = np.unique(cells, return_inverse=True)
    points = _flattened(np.asarray(given.points, float)[used], width - 1, path)
    mesh = from_simplices(points, number.reshape(cells.shape))
    return replace(mesh, sides=_sides(mesh, used, facets, names), materials=groups)


def _blocks(given: Any, width: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All cells with so many corners, and the numbers of those in each group."""
    parts, groups, count = [np.zeros((0, width), int)], {}, 0
    for k, block in enumerate(given.cells):
        quad = block.type == "quad" and width == 3
        if not (quad or CORNERS.get(block.type) == width):
            continue
        rows = np.asarray(block.data, int)
        copies = 2 if quad else 1
        rows = rows[:, CUT].reshape(-1, 3) if quad else rows[:, :width]
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


def _sides(mesh: Mesh, used: np.ndarray, facets: np.ndarray, names: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the facets in groups those on the boundary, by the mesh's numbers of nodes."""
    _, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    outer = set(zip(lower.tolist(), upper.tolist(), strict=True))
    sides = {}
    for name, members in names.items():
        nodes = facets[members]
        nodes = nodes[np.isin(nodes, used).all(axis=1)]
        number = np.searchsorted(used, nodes)
        kept = [pair in outer for pair in zip(number.min(axis=1).tolist(), number.max(axis=1).tolist(), strict=True)]
        if any(kept):
            sides[name] = number[kept]
    return sides
