"""Mesh files of gmsh are read and written without a package, as meshio reads them; the shipped ones are what the script makes."""

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.fem import gmsh

EXAMPLES = Path(__file__).parents[1] / "examples"


def named():
    mesh = fem.unit_square(3)
    left = mesh.points[mesh.cells].mean(axis=1)[:, 0] < 0.5
    sides = {"cold wall": np.array([[0, 4], [4, 8]]), "floor": np.array([[0, 1]])}
    return dataclasses.replace(mesh, sides=sides, materials={"ice": np.flatnonzero(left), "air": np.flatnonzero(~left)})


def edges(nodes):
    return {tuple(sorted(pair)) for pair in nodes.tolist()}


@pytest.mark.parametrize(("reader", "name"), [("own", "a.msh"), ("own", "A.MSH"), ("meshio", "a.msh")])
def test_a_mesh_comes_back_with_its_names(reader, name, tmp_path, monkeypatch):
    if reader == "meshio":
        pytest.importorskip("meshio")
        monkeypatch.setattr(gmsh, "read", lambda path: None)
    else:
        monkeypatch.setitem(sys.modules, "meshio", None)
    mesh, path = named(), tmp_path / name
    gmsh.write(path, mesh)
    found = fem.read_mesh(path)
    np.testing.assert_allclose(found.points, mesh.points, rtol=1e-9)
    np.testing.assert_array_equal(found.cells, mesh.cells)
    assert {name: edges(nodes) for name, nodes in found.sides.items()} == {k: edges(v) for k, v in mesh.sides.items()}
    for name, cells in mesh.materials.items():
        np.testing.assert_array_equal(np.sort(found.materials[name]), cells)


def test_shipped_files_are_what_their_script_makes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    spec = importlib.util.spec_from_file_location("make", EXAMPLES / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    with image.open(EXAMPLES / "rock.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), make.rock())
    marked = tmp_path / "plate.msh"
    marked.write_bytes(b"\xef\xbb\xbf" + (EXAMPLES / "plate.msh").read_bytes())
    mesh, shipped = make.plate(), fem.read_mesh(marked)
    assert set(shipped.sides) == {"hole", "left", "right", "rim"} and set(shipped.materials) == {"steel", "foam"}
    assert shipped.volumes.sum() == pytest.approx(0.2 * 0.1 - 12 * 0.02**2 * np.sin(2 * np.pi / 24), rel=1e-8)
    assert mesh.volumes.sum() == pytest.approx(shipped.volumes.sum(), rel=1e-8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("$Nodes\n16", "$Nodes\n17"), "a mesh of gmsh; received fewer nodes than it says"),
        (lambda text: text.partition("$Elements")[0], "received no section Nodes or Elements"),
        (lambda text: text.replace("4 2 2", "4 4 2", 1), "received cells of gmsh's kind 4"),
        (lambda text: text.replace("1.0", "one") if "1.0" in text else text.replace(" 1 ", " one ", 1), "a mesh of gmsh"),
        (lambda text: text.replace("2.2 0 8", "4.1 0 8"), "reading meshes: expected the package meshio; received none"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(change, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "meshio", None)
    path = tmp_path / "a.msh"
    gmsh.write(path, named())
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError) as caught:
        fem.read_mesh(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_elements_without_all_their_nodes_are_refused(tmp_path):
    path = tmp_path / "short.msh"
    nodes, elements = "3\n1 0 0 0\n2 1 0 0\n3 0 1 0", "1\n1 2 3 1 1 1 2 3"  # three tags where there are two
    parts = {"MeshFormat": "2.2 0 8", "Nodes": nodes, "Elements": elements}
    path.write_text("".join(f"${name}\n{text}\n$End{name}\n" for name, text in parts.items()))
    with pytest.raises(InputError, match="2 nodes in a triangle"):
        fem.read_mesh(path)
