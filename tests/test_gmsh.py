"""Mesh files of gmsh are read and written without a package, as meshio reads them; the shipped ones are what the script makes."""

import dataclasses
import errno
import importlib.util
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_lib import fem, files
from hybrid_lib.errors import InputError
from hybrid_lib.fem import gmsh

EXAMPLES = Path(__file__).parents[1] / "examples"


def named():
    mesh = fem.unit_square(3)
    left = mesh.points[mesh.cells].mean(axis=1)[:, 0] < 0.5
    mesh = dataclasses.replace(mesh, points=mesh.points + 500000.123456)
    sides = {"cold wall": np.array([[0, 4], [4, 8]]), "floor": np.array([[0, 1]])}
    return dataclasses.replace(mesh, sides=sides, materials={"ice": np.flatnonzero(left), "air": np.flatnonzero(~left)})


def test_a_name_of_nothing_is_not_written(tmp_path):
    mesh = dataclasses.replace(fem.unit_square(2), sides={"none": np.zeros((0, 2), int)}, materials={"no cell": np.zeros(0, int)})
    gmsh.write(tmp_path / "a.msh", mesh)
    found = fem.read_mesh(tmp_path / "a.msh")
    assert found.sides == {} and found.materials == {} and len(found.cells) == 8


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
    np.testing.assert_array_equal(found.points, mesh.points)
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
        (lambda text: text.replace("2.2 0 8", "4 0 8"), "2.2 or 4.1; received version 4; save it as version 2.2 or 4.1"),
        (lambda text: text.replace("2.2 0 8", "4.0 0 8"), "2.2 or 4.1; received version 4.0; save it as version 2.2 or 4.1"),
        (lambda text: text.replace("2.2 0 8", "4.2 1 8"), "received version 4.2"),
        (lambda text: text.replace("$MeshFormat\n2.2 0 8\n$EndMeshFormat", ""), "received version 1"),
        (lambda text: text.replace(text.splitlines()[-2] + "\n", ""), "fewer elements than it says; it is cut short or damaged"),
        (lambda text: text.replace("$Elements\n21", "$Elements\n20"), "more elements than it says"),
        (lambda text: text[:-4], "a section Elements without its end"),
        (lambda text: text[: text.index("$EndNodes") + 5], "a section Nodes without its end"),
        (lambda text: text.replace(" 16\n", " 99\n"), "cells with nodes that are not there"),
        (lambda text: text.replace("\n16 ", "\n15 ", 1), "a node that is there twice"),
        (lambda text: text + "$PartitionedEntities\n$EndPartitionedEntities\n", "save it without partitions"),
        (lambda text: re.sub(r"(\n\d+ [12] 2) \d", r"\1 0", text), "elements in cold wall, floor, ice, air; received none"),
        (lambda text: re.sub(r"(\n\d+ [12] 2) \d", r"\1 0", text), "save it without Mesh.SaveAll, or as version 4.1"),
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


# --- files as gmsh writes them ----------------------------------------------------------------------------------------

POINTS = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
LINES = {(1, 1): ([1], 1, [[1, 2]]), (1, 2): ([-1], 1, [[3, 2]]), (1, 3): ([2, -4], 1, [[4, 1]]), (1, 4): ([7], 1, [[3, 6]])}
"""By dimension and entity: groups, kind and nodes; the second curve and one group of the third are turned."""
PLATE = LINES | {(1, 5): ([], 1, [[2, 5]]), (2, 1): ([1], 2, [[1, 2, 5], [1, 5, 4]]), (2, 2): ([-1], 3, [[2, 5, 6, 3]])}
NAMES = {(1, 1): "outer", (1, 2): "left wall", (1, 4): "cold", (2, 1): "outer"}
FORMS = pytest.mark.parametrize(("version", "binary"), [("2.2", False), ("2.2", True), ("4.1", False), ("4.1", True)])


def packed(binary, *parts):
    """Numbers after letters of struct, as text or bytes."""
    if binary:
        return b"".join(struct.pack(f"<{len(numbers)}{letter}", *numbers) for letter, numbers in parts)
    return " ".join(str(number) for _, numbers in parts for number in numbers).encode()


def saved(path, version="4.1", binary=False, cells=PLATE, points=POINTS, names=NAMES):
    """A file with these cells; version 2.2 has a cell once in each of its groups, and no cell in none."""
    n, points = len(points), [[float(x), float(y), 0.0] for x, y in points]
    lines = [f'{d} {tag} "{name}"' for (d, tag), name in names.items()]
    parts = {"PhysicalNames": "\n".join([str(len(lines)), *lines]).encode()}
    rows = [(kind, abs(group), e, row) for (_, e), (groups, kind, of) in cells.items() for group in groups for row in of]
    if version == "2.2":
        nodes = [packed(binary, ("i", [k + 1]), ("d", x)) for k, x in enumerate(points)]
        elements = [
            packed(binary, ("i", [kind, 1, 2, k + 1] if binary else [k + 1, kind, 2]), ("i", [group, e, *row]))
            for k, (kind, group, e, row) in enumerate(rows)
        ]
        between = b"" if binary else b"\n"
        parts["Nodes"], parts["Elements"] = (b"%d\n" % len(of) + between.join(of) for of in (nodes, elements))
    else:
        entities = [("Q", [sum(d == k for d, _ in cells) for k in range(4)])]
        elements = [("Q", [len(cells), sum(len(of) for _, _, of in cells.values()), 1, 99])]
        for (d, e), (groups, kind, of) in cells.items():
            entities += [("i", [e]), ("d", 6 * [0.0]), ("Q", [len(groups)]), ("i", groups), ("Q", [2]), ("i", [1, -2])]
            elements += [("i", [d, e, kind]), ("Q", [len(of)]), *(("Q", [1, *row]) for row in of)]
        halves = [("Q", [2, n, 1, n])]
        for d, numbers in ((1, range(2)), (2, range(2, n))):  # the first nodes with a parameter
            halves += [("i", [d, 1, 2 - d]), ("Q", [len(numbers)]), ("Q", [k + 1 for k in numbers])]
            halves += [("d", points[k] + [0.5] * (d == 1)) for k in numbers]
        parts |= {"Entities": packed(binary, *entities), "Nodes": packed(binary, *halves), "Elements": packed(binary, *elements)}
    header = f"{version} {int(binary)} 8".encode() + (b"\n\1\0\0\0" if binary else b"")
    content = {"Comments": b"$ 1", "MeshFormat": header} | parts
    path.write_bytes(b"".join(b"$%s\n%s\n$End%s\n" % (name.encode(), of, name.encode()) for name, of in content.items()))
    return path


@FORMS
def test_groups_have_their_names_whatever_their_sign_and_dimension(version, binary, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "meshio", None)
    mesh = fem.read_mesh(saved(tmp_path / "a.msh", version, binary))
    assert mesh.points.tolist() == [list(x) for x in POINTS] and mesh.volumes.tolist() == [0.5] * 4
    assert {name: edges(of) for name, of in mesh.sides.items()} == {
        "outer": {(0, 1), (1, 2)}, "left wall": {(0, 3)}, "cold": {(0, 3)}, "7": {(2, 5)},
    }  # fmt: skip
    assert {name: of.tolist() for name, of in mesh.materials.items()} == {"outer": [0, 1, 2, 3]}


@FORMS
def test_a_surface_may_be_in_two_groups(version, binary, tmp_path):
    cells = PLATE | {(2, 1): ([1, 5], *PLATE[2, 1][1:]), (2, 2): ([5], *PLATE[2, 2][1:])}
    mesh = fem.read_mesh(saved(tmp_path / "a.msh", version, binary, cells))
    assert mesh.volumes.tolist() == [0.5] * 4
    assert {name: of.tolist() for name, of in mesh.materials.items()} == {"outer": [0, 1], "5": [0, 1, 2, 3]}


def test_names_of_an_older_system_are_read(tmp_path):
    path = saved(tmp_path / "a.msh", names=NAMES | {(1, 4): "höhe"})
    path.write_bytes(path.read_bytes().replace("ö".encode(), "ö".encode("latin-1")))
    assert "höhe" in fem.read_mesh(path).sides


@FORMS
def test_cells_in_no_group_are_read(version, binary, tmp_path):
    cells = PLATE | {(2, 2): ([] if version == "4.1" else [0], *PLATE[2, 2][1:])}
    mesh = fem.read_mesh(saved(tmp_path / "a.msh", version, binary, cells))
    assert mesh.volumes.sum() == 2 and mesh.materials["outer"].tolist() == [0, 1] and set(mesh.materials) == {"outer"}


@FORMS
@pytest.mark.parametrize("kind", [16, 10])
def test_quadrilaterals_of_second_order_beside_triangles(kind, version, binary, tmp_path):
    middle = [7] * (4 if kind == 16 else 5)
    second = {(1, 2): ([-1], 8, [[3, 2, 7]]), (2, 1): ([1], 9, [[1, 2, 5, 7, 7, 7], [1, 5, 4, 7, 7, 7]])}
    second[2, 2] = [5], kind, [[2, 3, 6, 5, *middle]]
    mesh = fem.read_mesh(saved(tmp_path / "a.msh", version, binary, PLATE | second, [*POINTS, (1.5, 0.5)]))
    assert mesh.volumes.sum() == 2 and len(mesh.points) == 6 and mesh.materials["5"].tolist() == [2, 3]
    assert edges(mesh.sides["outer"]) == {(0, 1), (1, 2)}


@FORMS
@pytest.mark.parametrize(
    ("d", "kind", "nodes", "remedy"),
    [(1, 26, 4, "Mesh.ElementOrder = 1"), (2, 21, 10, "Mesh.ElementOrder = 1"), (2, 36, 16, "Mesh.ElementOrder = 1"),
     (3, 4, 4, "export the cells of a plane or a line")],
)  # fmt: skip
def test_no_cell_is_left_out(d, kind, nodes, remedy, version, binary, tmp_path):
    cells = PLATE | {(d, 9): ([1], kind, [[*range(1, 5), *[1] * (nodes - 4)]])}
    cells = dict(sorted(cells.items()))
    with pytest.raises(InputError, match=rf"a\.msh: expected lines, .* cells of gmsh's kind {kind}; .*{remedy}"):
        fem.read_mesh(saved(tmp_path / "a.msh", version, binary, cells))


@FORMS
@pytest.mark.parametrize("cut", ["end", "middle"])
def test_a_file_that_is_cut_short_is_refused(cut, version, binary, tmp_path):
    path = saved(tmp_path / "a.msh", version, binary)
    content = path.read_bytes()
    end = content.index(b"\n$EndElements")
    path.write_bytes(content[: end - 9] + (content[end:] if cut == "middle" else b""))
    with pytest.raises(InputError, match=r"a\.msh: expected a mesh of gmsh; received .*; it is cut short or damaged"):
        fem.read_mesh(path)


def test_a_count_of_blocks_that_is_too_small_is_refused(tmp_path):
    path = saved(tmp_path / "a.msh")
    path.write_text(path.read_text().replace("$Elements\n7 8", "$Elements\n6 8"))
    with pytest.raises(InputError, match="fewer elements than it says"):
        fem.read_mesh(path)


@FORMS
def test_nodes_that_are_there_twice_are_glued_or_left_apart(version, binary, tmp_path):
    seam = {(1, 5): ([7], 1, [[2, 5]]), (1, 6): ([7], 1, [[8, 7]])}
    cells = PLATE | seam | {(1, 2): ([-1], 1, [[7, 3]]), (2, 2): ([-5], 3, [[7, 8, 6, 3]])}
    path = saved(tmp_path / "a.msh", version, binary, dict(sorted(cells.items())), [*POINTS, (1, 0), (1, 1)])
    with pytest.raises(InputError, match="pass merge=True to glue the parts, or crack=True"):
        fem.read_mesh(path)
    mesh = fem.read_mesh(path, merge=True)
    assert mesh.points.tolist() == [list(x) for x in POINTS] and mesh.volumes.tolist() == [0.5] * 4
    assert {name: edges(of) for name, of in mesh.sides.items()} == {
        "outer": {(0, 1), (1, 2)}, "left wall": {(0, 3)}, "cold": {(0, 3)}, "7": {(2, 5)},
    }  # fmt: skip
    assert {name: of.tolist() for name, of in mesh.materials.items()} == {"outer": [0, 1], "5": [2, 3]}
    apart = fem.read_mesh(path, crack=True)
    assert len(apart.points) == 8 and edges(apart.sides["7"]) == {(1, 4), (6, 7), (2, 5)}
    with pytest.raises(InputError, match=r"merge: expected True, False or a number from 0 to 0\.5; received 'yes'"):
        fem.read_mesh(path, merge="yes")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path, mesh = tmp_path / "new folder" / "a.msh", named()
    gmsh.write(path, mesh)
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_synchronise", full)
    with pytest.raises(InputError, match=r"a\.msh: expected a file that can be written; received No space left on device"):
        gmsh.write(path, fem.unit_square(2))
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
