r"""Fields as files of other programs, chosen by the suffix: VTK and XDMF for ParaView, NetCDF, NPZ, CSV; a network as a function.

- ``.vtu``: the mesh, fields at nodes and in cells, for ParaView, VTK and meshio;
- ``.vtk``, ``.xdmf``: the same, written by meshio, the second with h5py;
- ``.npz``: the same as arrays ``points``, ``cells``, ``node:NAME``, ``cell:NAME``, for ``numpy.load``;
- ``.csv``: a line a node, its coordinates and the fields at nodes;
- ``.nc``: all fields on a uniform grid of the bounding box, NaN outside, for and by xarray;
- ``.jax``: of runs only, u and ∇u, NaN outside, as a program for ``jax.export``, which needs flatbuffers and not this library.

The optional packages come with ``pip install "hybrid-lib[files]"``. Units are those of the problem; nothing is scaled.
"""

from __future__ import annotations

import base64
import csv
import io
import tempfile
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem, training
from hybrid_lib.errors import InputError, real_array, require_package, whole
from hybrid_lib.pinn.within import nan_outside

SUFFIXES = (".vtu", ".vtk", ".xdmf", ".npz", ".csv", ".nc")
"""Of files that hold fields."""
GRID = 200
"""Intervals along the longer side of the grid of a NetCDF file."""
EXTRA = "hybrid-lib[files]"
"""What brings the optional packages."""
_VTK = {"float64": "Float64", "int32": "Int32", "int64": "Int64", "uint8": "UInt8"}
_KIND = {1: ("line", 3), 2: ("triangle", 5)}
"""Name and VTK's number of a cell, by dimension."""


class Fields(NamedTuple):
    """Fields on a mesh.

    Attributes
    ----------
    mesh : fem.Mesh
    nodal : mapping of str to (n,), (n, d) or (n, d, d) array
        Continuous and piecewise linear.
    cellwise : mapping of str to (m,), (m, d) or (m, d, d) array
        Constant on cells.
    about : mapping of str to str or float
        What a reader should know: the meaning of each field, the bound of the error.
    """

    mesh: fem.Mesh
    nodal: Mapping[str, np.ndarray]
    cellwise: Mapping[str, np.ndarray]
    about: Mapping[str, str | float]


def write_fields(path: Path | str, fields: Fields, n: int = GRID) -> Path:
    """Write fields to a file of the kind that its suffix names; an existing one is replaced as a whole.

    Parameters
    ----------
    path : path
    fields : Fields
    n : int
        Intervals along the longer side of the grid, for `.nc`.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    InputError
        For an unknown suffix, a missing package, arrays that do not belong to the mesh, or a place that cannot be written.

    Examples
    --------
    >>> mesh, folder = fem.unit_square(2), tempfile.mkdtemp()
    >>> path = write_fields(f"{folder}/w.npz", Fields(mesh, {"w": mesh.points[:, 0]}, {}, {}))
    >>> np.load(path)["node:w"][:3].tolist()
    [0.0, 0.5, 1.0]
    """
    path = path_of(path, SUFFIXES)
    fields = _checked(fields)
    if path.suffix in (".vtk", ".xdmf"):
        content = _by_meshio(fields, path.suffix)
    elif path.suffix == ".nc":
        content = _netcdf(fields, n)
    else:
        content = {".vtu": _vtu, ".npz": _npz, ".csv": _csv}[path.suffix](fields)
    training.write_atomically(path, content)
    return path


def require_format(suffix: str) -> None:
    """Refuse, before anything is computed, a suffix whose files need a package that is missing."""
    for module in {".vtk": ("meshio",), ".xdmf": ("meshio", "h5py")}.get(suffix, ()):  # meshio imports it for any .xdmf
        require_package(module, f"writing {suffix}", EXTRA)


def path_of(path: Path | str, suffixes: tuple[str, ...]) -> Path:
    """The path, if its suffix is one of these."""
    if not isinstance(path, str | Path):
        raise InputError("name of the file", "a path", type(path).__name__, f"for example 'fields{suffixes[0]}'")
    path = Path(path)
    if path.suffix not in suffixes:
        received = f"{path.suffix or 'no suffix'} in {str(path)!r}"
        raise InputError("name of the file", f"one that ends in {', '.join(suffixes)}", received, "choose one of these")
    return path


def _checked(fields: Fields) -> Fields:
    """The same with float64 arrays, or an InputError that names the field which does not belong to the mesh."""
    mesh, d = fields.mesh, fields.mesh.dimension
    found = []
    for kind, count, table in (("node", len(mesh.points), fields.nodal), ("cell", len(mesh.cells), fields.cellwise)):
        arrays = {name: real_array(f"field {name!r}", value) for name, value in table.items()}
        for name, array in arrays.items():
            shapes = ((count,), (count, d), (count, d, d))
            if array.shape not in shapes:
                expected = f"one value, vector or tensor a {kind}: shape " + " or ".join(map(str, shapes))
                raise InputError(f"field {name!r}", expected, f"shape {array.shape}", "pass values on this mesh")
        found.append(arrays)
    return Fields(mesh, *found, {name: v if isinstance(v, str) else float(v) for name, v in fields.about.items()})


def _in_space(array: np.ndarray) -> np.ndarray:
    """Vectors with three components, tensors with nine, as VTK has them."""
    rest = [(0, 0), *((0, 3 - size) for size in array.shape[1:])]
    return np.pad(array, rest).reshape(len(array), -1) if array.ndim > 1 else array


def _vtu(fields: Fields) -> bytes:
    """VTK's own form for unstructured meshes, compressed."""
    mesh = fields.mesh
    (n, d), m = mesh.points.shape, len(mesh.cells)
    root = ET.Element("VTKFile", type="UnstructuredGrid", version="1.0", byte_order="LittleEndian", header_type="UInt64")
    root.set("compressor", "vtkZLibDataCompressor")
    grid = ET.SubElement(root, "UnstructuredGrid")
    data = ET.SubElement(grid, "FieldData")
    piece = ET.SubElement(grid, "Piece", NumberOfPoints=str(n), NumberOfCells=str(m))

    def add(parent: ET.Element, name: str, array: np.ndarray) -> None:
        width = {"NumberOfComponents": str(array.shape[1])} if array.ndim > 1 else {}
        item = ET.SubElement(parent, "DataArray", type=_VTK[array.dtype.name], Name=name, format="binary", **width)
        raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        small = zlib.compress(raw, 6)
        head = np.array([1, len(raw), 0, len(small)], "<u8").tobytes()  # one block
        item.text = (base64.b64encode(head) + base64.b64encode(small)).decode()

    for name, value in fields.about.items():  # numbers where ParaView shows them; meshio reads no texts
        if isinstance(value, str):
            root.insert(0, ET.Comment(f" {name}: {value} ".replace("--", "- -")))
        else:
            add(data, name, np.asarray([value]))
            data[-1].set("NumberOfTuples", "1")
    for title, table in (("PointData", fields.nodal), ("CellData", fields.cellwise)):
        data = ET.SubElement(piece, title)
        for name, array in table.items():
            add(data, name, _in_space(array))
    add(ET.SubElement(piece, "Points"), "Points", _in_space(mesh.points))
    cells = ET.SubElement(piece, "Cells")
    add(cells, "connectivity", mesh.cells.ravel())
    add(cells, "offsets", np.arange(1, m + 1, dtype=np.int64) * (d + 1))
    add(cells, "types", np.full(m, _KIND[d][1], np.uint8))
    return b'<?xml version="1.0"?>\n' + ET.tostring(root)


def _by_meshio(fields: Fields, suffix: str) -> bytes:
    require_format(suffix)
    import meshio

    mesh = fields.mesh
    made = meshio.Mesh(
        _in_space(mesh.points),
        [(_KIND[mesh.dimension][0], mesh.cells)],
        point_data={name: _in_space(array) for name, array in fields.nodal.items()},
        cell_data={name: [_in_space(array)] for name, array in fields.cellwise.items()},
    )
    options = {".vtk": {"file_format": "vtk42"}, ".xdmf": {"file_format": "xdmf", "data_format": "XML"}}[suffix]
    with tempfile.TemporaryDirectory() as folder:
        meshio.write(Path(folder) / f"fields{suffix}", made, **options)
        return (Path(folder) / f"fields{suffix}").read_bytes()


def _npz(fields: Fields) -> bytes:
    arrays = {"points": fields.mesh.points, "cells": fields.mesh.cells}
    arrays |= {f"node:{name}": array for name, array in fields.nodal.items()}
    arrays |= {f"cell:{name}": array for name, array in fields.cellwise.items()}
    arrays |= {f"about:{name}": np.asarray(text) for name, text in fields.about.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _columns(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """A column for each component: name, name_x …, name_xx …"""
    axes = "xyz"[: array.shape[1]] if array.ndim > 1 else ""
    ends = [""] if array.ndim == 1 else [f"_{a}" for a in axes] if array.ndim == 2 else [f"_{a}{b}" for a in axes for b in axes]
    return dict(zip((name + end for end in ends), array.reshape(len(array), -1).T, strict=True))


def _csv(fields: Fields) -> bytes:
    """A line a node, every number with all its digits; what is known of the fields in comment lines before."""
    table = dict(zip("xyz", fields.mesh.points.T, strict=False))
    for name, array in fields.nodal.items():
        table |= _columns(name, array)
    text = io.StringIO()
    for name, words in fields.about.items():
        if name not in fields.cellwise:
            text.write(f"# {name}: {' '.join(str(words).split())}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows([repr(float(value)) for value in row] for row in zip(*table.values(), strict=True))
    return text.getvalue().encode()


def _netcdf(fields: Fields, n: int) -> bytes:
    """NetCDF 3 on a grid with the lines (…, y, x); fields of cells too, as that of the cell which holds the point."""
    from scipy.io import netcdf_file

    whole("n", n, 1, "pass the intervals along the longer side")
    mesh = fields.mesh
    lower, upper = mesh.points.min(axis=0), mesh.points.max(axis=0)
    counts = np.maximum(1, np.rint(n * (upper - lower) / (upper - lower).max()).astype(int))
    axes = [np.linspace(a, b, k + 1) for a, b, k in zip(lower, upper, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    within = fem.inside(mesh, points)
    cell, barycentric = fem.locate(mesh, points[within])
    values = {}
    for name, array in fields.nodal.items():
        values |= _columns(name, np.einsum("ki,ki...->k...", barycentric, array[mesh.cells[cell]]))
    for name, array in fields.cellwise.items():
        values |= _columns(name, array[cell])
    buffer = io.BytesIO()
    with netcdf_file(buffer, "w") as file:
        file.Conventions = "CF-1.8"
        for name, words in fields.about.items():
            setattr(file, name.replace(" ", "_"), words.encode() if isinstance(words, str) else words)
        names = "xy"[: len(axes)]
        for name, axis in zip(names, axes, strict=True):
            file.createDimension(name, len(axis))
            file.createVariable(name, "d", (name,))[:] = axis
        for name, found in values.items():
            full = np.full(len(points), np.nan)
            full[within] = found
            file.createVariable(name, "d", tuple(names[::-1]))[:] = full.reshape([len(a) for a in axes]).T
        file.flush()
        return buffer.getvalue()


def of_run(result: Any, seed_index: int, which: str | None, n: int | None) -> Fields:
    """Fields of a trained run on the uniform mesh with n cells a unit length: a hundred in the plane, a thousand on a line."""
    problem = result.setup.problem
    mesh = problem.domain.mesh((1000, 100)[problem.domain.dimension - 1] if n is None else n)
    e = np.asarray(problem.direction)
    u, slope = result.solution(mesh.points, seed_index, which)
    K = fem.cell_coefficient(mesh, problem.medium.conductivity)
    inner = result.solution(mesh.points[mesh.cells].mean(axis=1), seed_index, which)[1]
    nodal = {"w": u + mesh.points @ e, "gradient": slope + e}
    about = {"w": "temperature", "gradient": "of w"}
    if e.any():
        nodal, about = nodal | {"u": u}, about | {"w": "the solution u + e.x", "u": "its part that is zero on the boundary"}
    return Fields(mesh, nodal, *cells_of(K, inner + e), about | ABOUT)


def of_elements(solution: Any) -> Fields:
    """Fields of what :func:`hybrid_lib.solve` returns: temperature, conductivity, heat flux, the error's share, materials."""
    mesh = solution.mesh
    K = fem.cell_coefficient(mesh, solution.problem.medium.conductivity)
    (cellwise,) = cells_of(K, fem.cell_gradients(mesh, solution.w))
    about: dict[str, str | float] = {"w": "temperature"} | ABOUT
    if solution.proof is not None:
        cellwise["indicator"] = solution.proof.cells
        about |= {"indicator": "share of each cell in the bound of the energy error", "relative bound": solution.bound}
    if mesh.materials:
        tag = np.zeros(len(mesh.cells))
        for number, cells in enumerate(mesh.materials.values()):
            tag[cells] = number
        cellwise["material"] = tag
        about["material"] = ", ".join(f"{number} {name}" for number, name in enumerate(mesh.materials))
    return Fields(mesh, {"w": solution.w}, cellwise, about)


ABOUT = {"K": "conductivity, means over cells", "heat_flux": "-K grad w, the way that heat goes"}
"""What the fields of cells mean."""


def cells_of(K: np.ndarray, slope: np.ndarray) -> tuple[dict[str, np.ndarray]]:
    """K (m, d, d), as numbers where it is a multiple of the identity, and −K∇w of ∇w (m, d)."""
    scalar = np.array_equal(K, K[:, :1, :1] * np.eye(K.shape[-1]))
    return ({"K": K[:, 0, 0] if scalar else K, "heat_flux": -np.einsum("mij,mj->mi", K, slope)},)


def write_function(path: Path, result: Any, seed_index: int, which: str | None) -> None:
    """u and ∇u of a run at points (k, d), NaN outside, as a serialised program of `jax.export`: any k, on CPU, CUDA and TPU."""
    from jax import export

    require_package("flatbuffers", "writing .jax", EXTRA)
    theta, ansatz, domain = result.parameters(seed_index, which), result.setup.ansatz, result.setup.domain
    fixed = training.member(result.setup.fixed, seed_index)

    def function(points: jax.Array) -> tuple[jax.Array, jax.Array]:
        def at(x: jax.Array) -> Any:
            value, slope = ansatz.jet(theta, fixed, x)[:2]
            return nan_outside(domain, x, value), nan_outside(domain, x, jnp.stack(slope))

        return jax.vmap(at)(points)

    shape = export.symbolic_shape(f"k, {ansatz.dimension}")
    made = export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))
    training.write_atomically(path, bytes(made(jax.ShapeDtypeStruct(shape, ansatz.network.dtype)).serialize()))
