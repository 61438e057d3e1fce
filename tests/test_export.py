"""Fields in files are what other programs read, and a trained run is a function that needs JAX alone."""

import base64
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import export

DTYPES = {"Float64": "<f8", "Int32": "<i4", "Int64": "<i8", "UInt8": "u1"}


@pytest.fixture(scope="module")
def run():
    problem = hl.Problem(medium=hl.media.paper_1d(0.2), source=1.0, direction=(3.0,))
    return hl.train(problem, hl.own_configuration(problem, steps=3, widths=(4, 4)))


def made(mesh):
    """A scalar, a vector and a tensor at nodes and in cells, all different."""
    rng, n, m, d = np.random.default_rng(0), len(mesh.points), len(mesh.cells), mesh.dimension
    nodal = {"w": rng.normal(size=n), "slope": rng.normal(size=(n, d))}
    cellwise = {"K": rng.normal(size=(m, d, d)), "tag": np.arange(m)}
    return export.Fields(mesh, nodal, cellwise, {"w": "in kelvin, ε ≤ 1 -- as drawn", "bound": 0.25})


def vtu(path):
    """Arrays of a file of VTK by name, read without the code that wrote it."""
    found = {}
    for item in ET.parse(path).iter("DataArray"):
        blocks, size, last, small = np.frombuffer(base64.b64decode(item.text[:44]), "<u8")
        data = base64.b64decode(item.text[44:])
        array = np.frombuffer(zlib.decompress(data), DTYPES[item.get("type")])
        assert (blocks, size, last, small) == (1, array.nbytes, 0, len(data))
        found[item.get("Name")] = array.reshape(-1, int(item.get("NumberOfComponents", 1)))
    return found


@pytest.mark.parametrize("mesh", [fem.interval(5), fem.lshape(3)], ids=["line", "plane"])
def test_fields_come_back_as_they_were(mesh, tmp_path):
    fields, d, m = made(mesh), mesh.dimension, len(mesh.cells)
    found = vtu(export.write_fields(tmp_path / "a.vtu", fields))
    np.testing.assert_array_equal(found["w"][:, 0], fields.nodal["w"])
    np.testing.assert_array_equal(found["slope"], np.pad(fields.nodal["slope"], ((0, 0), (0, 3 - d))))
    np.testing.assert_array_equal(found["K"].reshape(m, 3, 3)[:, :d, :d], fields.cellwise["K"])
    np.testing.assert_array_equal(found["Points"][:, :d], mesh.points)
    np.testing.assert_array_equal(found["connectivity"].reshape(m, d + 1), mesh.cells)
    assert found["bound"] == 0.25 and set(found["types"].ravel()) == {(3, 5)[d - 1]}

    with np.load(export.write_fields(tmp_path / "a.npz", fields)) as kept:
        arrays = dict(kept)
    np.testing.assert_array_equal(arrays["cell:K"], fields.cellwise["K"])
    assert str(arrays["about:w"]) == fields.about["w"]

    path = export.write_fields(tmp_path / "a.csv", fields)
    table = np.genfromtxt(path, delimiter=",", names=True, skip_header=2)
    np.testing.assert_array_equal(table["slope_x"], fields.nodal["slope"][:, 0])
    assert path.read_text(encoding="utf-8").startswith("# w: in kelvin, ε ≤ 1 -- as drawn\n# bound: 0.25\nx,")


def test_grid_of_a_netcdf_file_interpolates_and_is_nothing_outside(tmp_path):
    from scipy.io import netcdf_file

    mesh = fem.lshape(2)
    fields = export.Fields(mesh, {"w": mesh.points @ [2.0, 3.0]}, {"cell": np.arange(len(mesh.cells))}, {"w": "in K"})
    path = export.write_fields(tmp_path / "a.nc", fields, n=8)
    with netcdf_file(path, mmap=False) as file:
        assert file.w == b"in K" and file.variables["w"].dimensions == ("y", "x")
        x, y, w = (file.variables[name][:].copy() for name in ("x", "y", "w"))
    outside = (x[None, :] > 0) & (y[:, None] < 0)
    np.testing.assert_array_equal(np.isnan(w), outside)
    np.testing.assert_allclose(w[~outside], (2 * x + 3 * y[:, None])[~outside], atol=1e-14)


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf"])
def test_meshio_reads_what_was_written(suffix, tmp_path):
    meshio = pytest.importorskip("meshio")
    fields = made(fem.lshape(2))
    found = meshio.read(export.write_fields(tmp_path / f"a{suffix}", fields))
    np.testing.assert_array_equal(found.point_data["w"], fields.nodal["w"])
    np.testing.assert_array_equal(found.cells[0].data, fields.mesh.cells)
    np.testing.assert_array_equal(found.cell_data["K"][0].reshape(-1, 3, 3)[:, :2, :2], fields.cellwise["K"])


@pytest.mark.parametrize("suffix", [".vtu", ".npz", ".csv", ".nc"])
def test_a_run_is_exported_with_what_it_solves(run, suffix, tmp_path):
    path = run.export(tmp_path / f"run{suffix}", n=50)
    assert path.stat().st_size > 1000
    if suffix == ".npz":
        with np.load(path) as kept:
            found, x = dict(kept), np.linspace(0, 1, 51)[:, None]
        u, slope = run.solution(x)
        np.testing.assert_allclose(found["node:w"], u + 3 * x[:, 0], atol=1e-12)
        np.testing.assert_allclose(found["node:gradient"], slope + 3, atol=1e-12)
        middle = (found["points"][1:] + found["points"][:-1]) / 2
        flux = -found["cell:K"] * (run.solution(middle)[1][:, 0] + 3)
        np.testing.assert_allclose(found["cell:heat_flux"][:, 0], flux, rtol=1e-9)
        K = fem.cell_coefficient(fem.interval(50), run.setup.problem.medium.conductivity)
        np.testing.assert_array_equal(found["cell:K"], K[:, 0, 0])


def test_a_run_is_a_function_without_the_library(run, tmp_path):
    pytest.importorskip("flatbuffers")
    path, points = run.export(tmp_path / "run.jax"), np.linspace(0.05, 0.95, 7)[:, None]
    program = f"""
import sys
sys.modules["hybrid_lib"] = None  # an import of it, or from it, fails
import json, pathlib, jax, numpy as np
jax.config.update("jax_enable_x64", True)
from jax import export
function = export.deserialize(bytearray(pathlib.Path({str(path)!r}).read_bytes()))
u, gradient = function.call(np.linspace(0.05, 0.95, 7)[:, None])
assert all(np.isnan(np.asarray(a)).ravel().tolist() == [False, True] for a in function.call(np.array([[1.0], [1.01]])))
assert not any(name.startswith("hybrid_lib.") for name in sys.modules)
print(json.dumps([np.asarray(u).tolist(), np.asarray(gradient).tolist()]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert ran.returncode == 0, ran.stderr
    for told, known in zip(json.loads(ran.stdout), run.solution(points), strict=True):
        np.testing.assert_allclose(told, known, rtol=1e-12, atol=1e-13)


def test_no_door_extrapolates(run, tmp_path):
    run.save(tmp_path / "run")
    problem, known = run.setup.problem, hl.reference(run.setup.problem)
    elements = hl.solve(problem, n=4)
    V = fem.quadratic.space(fem.interval(4))
    for at in (
        run.solution, run.flux, hl.load(tmp_path / "run").solution, hl.load(tmp_path / "run", problem).flux, known.solution,
        elements, elements.gradient, elements.flux, lambda x: fem.quadratic.at(V, V.points[:, 0], x),
    ):  # fmt: skip
        at([[0.0], [1.0 + 1e-12], [0.1 + 0.2]])
        at(np.float32([[0.0], [np.nextafter(np.float32(1), np.float32(2))]]))
        with pytest.raises(InputError, match=r"point 1: expected a point in the .*\(0, 1\); received \[1\.001\] outside it"):
            at([[0.5], [1.001], [-2.0]])


def test_what_cannot_be_written_is_one_line(run, tmp_path, monkeypatch):
    fields = made(fem.unit_square(2))
    monkeypatch.setitem(sys.modules, "meshio", None)
    (tmp_path / "file").write_text("")
    for write, words in (
        (lambda: run.export(tmp_path / "a.vtx"), "name of the file: expected one that ends in .vtu"),
        (lambda: run.export(tmp_path / "a"), "received no suffix in"),
        (lambda: run.export(tmp_path / "a.nc", n=0), "n: expected a whole number >= 1; received 0"),
        (lambda: run.export(tmp_path / "a.nc", seed_index=3), "seed_index: expected an index of the 1 seeds"),
        (lambda: run.export(tmp_path / "file" / "a.vtu"), "expected a file that can be written"),
        (
            lambda: export.write_fields(tmp_path / "a.xdmf", fields),
            'writing .xdmf: expected the package meshio; received none; pip install "hybrid-lib[files]"',
        ),
        (
            lambda: export.write_fields(tmp_path / "a.vtu", fields._replace(nodal={"w": np.zeros(3)})),
            "field 'w': expected one value, vector or tensor a node: shape (9,) or (9, 2) or (9, 2, 2); received shape (3,)",
        ),
    ):
        with pytest.raises(InputError) as caught:
            write()
        assert words in str(caught.value) and "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
