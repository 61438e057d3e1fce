"""Polygons with holes, meshes from files, and elements on them."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adaptive import smallest_angle

import hybrid_lib as hl
from hybrid_lib import fem
from hybrid_lib.experiments.solve import solve_on
from hybrid_lib.fem import sides
from hybrid_lib.fem.topology import outer_facets
from hybrid_lib.pinn import domains

SQUARE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
TWO = hl.media.constant(1.0, 2)


def ring(centre, radius, n, turn=0.1):
    angle = turn + 2 * np.pi * np.arange(n) / n
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def area(loop):
    x, y = np.asarray(loop, float).T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


SHAPES = {
    "square": (SQUARE, ()),
    "clockwise and closed": ([*SQUARE[::-1], SQUARE[-1]], ()),
    "hole": (SQUARE, [ring((0.5, 0.5), 0.2, 24)]),
    "a small hole": (SQUARE, [ring((0.4, 0.6), 0.003, 8)]),
    "two holes that almost touch": (SQUARE, [ring((0.3, 0.5), 0.149, 20), ring((0.6, 0.5), 0.145, 20)]),
    "notch": ([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], ()),
    "slit": ([(0, 0), (1, 0), (1, 0.5), (0.505, 0.5), (0.505, 0.1), (0.495, 0.1), (0.495, 0.5), (0, 0.5)], ()),
    "far from the origin": ([(x + 1e4, y - 1e4) for x, y in SQUARE], ()),
    "tiny": ([(1e-5 * x, 1e-5 * y) for x, y in SQUARE], ()),
}


def check_mesh(mesh, loops):
    """Area, boundary, and the angles but for those at sharp corners."""
    exact = area(loops[0]) - sum(area(hole) for hole in loops[1:])
    assert abs(mesh.volumes.sum() - exact) < 1e-9 * exact
    _, lower, upper = outer_facets(mesh.cells, len(mesh.points))
    length = np.linalg.norm(mesh.points[lower] - mesh.points[upper], axis=1).sum()
    around = sum(np.linalg.norm(np.asarray(loop) - np.roll(loop, -1, axis=0), axis=1).sum() for loop in loops)
    assert abs(length - around) < 1e-9 * around, "the boundary is that of the polygon"
    for corner in np.concatenate(loops):
        assert np.linalg.norm(mesh.points - corner, axis=1).min() < 1e-12 * (1 + np.abs(corner).max())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("pieces", [4, 16])
def test_a_mesh_of_a_polygon(name, pieces):
    vertices, holes = SHAPES[name]
    h = np.ptp(np.asarray(vertices, float), axis=0).min() / pieces
    mesh = fem.polygon(vertices, holes, h)
    open_ = vertices[:-1] if vertices[0] == vertices[-1] else vertices
    check_mesh(mesh, [np.asarray(open_, float), *holes])
    assert smallest_angle(mesh) > 22.0
    assert mesh.h < 1.5 * h


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 12), st.integers(0, 2**31), st.booleans())
def test_a_mesh_of_any_star(n, seed, holed):
    random = np.random.default_rng(seed)
    angle = np.sort(2 * np.pi * (np.arange(n) + 0.8 * random.random(n)) / n)
    radius = 0.4 + 0.6 * random.random(n)
    loop = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.min([np.linalg.norm((1 - t) * loop + t * np.roll(loop, -1, axis=0), axis=1).min() for t in np.linspace(0, 1, 50)])
    holes = [ring((0.0, 0.0), 0.5 * inner, 7)] if holed and n > 3 and inner > 0.1 else []
    if n == 3 and np.any(np.diff(np.append(angle, angle[0] + 2 * np.pi)) > np.pi):
        holes = []
    mesh = fem.polygon(loop, holes, 0.15)
    check_mesh(mesh, [loop, *holes])
    ahead, back = np.roll(loop, -1, axis=0) - loop, np.roll(loop, 1, axis=0) - loop
    cosine = np.sum(ahead * back, axis=1) / np.linalg.norm(ahead, axis=1) / np.linalg.norm(back, axis=1)
    sharpest = np.degrees(np.arccos(cosine.max()))
    assert smallest_angle(mesh) > min(22.0, 0.5 * sharpest)


@pytest.mark.parametrize(
    ("vertices", "holes", "said"),
    [
        ([(0, 0), (1, 1)], (), "vertices: expected a closed outline of three corners or more; received 2 corners"),
        ([(0, 0), (1, 1), (0, 0)], (), "three corners or more"),
        ([(0, 0), (1, 0), (2, 0)], (), "corners on one line"),
        ([(0, 0), (1, 1), (1, 0), (0, 1)], (), "an outline that does not meet itself; received edges 0 and 2 that meet"),
        ([(0, 0), (2, 0), (2, 2), (1, 0), (0, 2)], (), "does not meet itself"),
        ([(0, 0), (1, 0), (1, 0), (0, 1)], (), "corner 1 at [1.0, 0.0] twice"),
        ([(0, 0), (2, 0), (1, 0), (1, 1)], (), "does not meet itself"),
        ([(0, 0), (1, 0), (np.nan, 1)], (), "finite points"),
        ([1.0, 2.0, 3.0], (), "shape (n, 2)"),
        (SQUARE, [ring((3, 3), 0.2, 6)], "hole 0: expected a hole inside the outline"),
        (SQUARE, [ring((1, 0.5), 0.2, 6)], "hole 0: expected an outline apart from vertices"),
        (SQUARE, [ring((0.5, 0.5), 0.3, 6), ring((0.5, 0.5), 0.1, 6)], "hole 1: expected a hole apart from hole 0"),
        (SQUARE, [ring((0.4, 0.5), 0.2, 6), ring((0.6, 0.5), 0.2, 6)], "hole 1: expected an outline apart from hole 0"),
        (SQUARE, ring((0.5, 0.5), 0.1, 6), "a list of outlines"),
        (SQUARE, None, "a list of outlines; received NoneType"),
    ],
)
@pytest.mark.parametrize("door", [fem.polygon, domains.polygon])
def test_a_bad_polygon_is_refused_in_a_line(door, vertices, holes, said):
    with pytest.raises(hl.InputError) as caught:
        door(vertices, holes)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "said"),
    [({"a": [9]}, "numbers of edges from 0"), ({"a": [1.5]}, "numbers of edges"), ({"a": [0, 1], "b": [1]}, "one side only"),
     ({"a": [True]}, "numbers of edges"), ([0], "a dict of names and numbers of edges; received list")],
)
def test_bad_sides_are_refused_in_a_line(given_, said):
    with pytest.raises(hl.InputError, match=said):
        domains.polygon(SQUARE, sides=given_)


@pytest.mark.parametrize("domain", [domains.polygon(SQUARE), domains.from_mesh(fem.unit_square(1))], ids=["polygon", "mesh"])
def test_a_mesh_beyond_the_memory_is_refused(domain):
    with pytest.raises(hl.InputError, match="a mesh that fits into"):
        domain.mesh(10**7)


def test_a_polygon_is_a_domain():
    domain = domains.polygon(SQUARE[::-1], [ring((0.5, 0.5), 0.25, 4, turn=np.pi / 4)], {"hot": [0], "cold": 2})
    assert domain.sides == ("hot", "outer", "cold", "hole_0") and domain.box == ((0.0, 0.0), (1.0, 1.0))
    assert abs(domain.measure - (1 - 0.125)) < 1e-12 and abs(domain.boundary_measure - (4 + 4 * np.sqrt(2) / 4)) < 1e-12
    points = np.random.default_rng(0).uniform(-0.2, 1.2, (200, 2))
    found = np.array(jax.vmap(domain.contains)(jnp.asarray(points)))
    half = 0.25 * np.sin(np.pi / 4)
    truth = np.all((points > 0) & (points < 1), axis=1) & ~np.all(np.abs(points - 0.5) < half, axis=1)
    assert np.array_equal(found, truth)
    assert abs(float(domain.distance(jnp.array([0.5, 0.5]))) - half) < 1e-12
    s = jax.vmap(domain.boundary_point)(jnp.linspace(0, 0.999, 50))
    assert np.abs(np.array(jax.vmap(domain.distance)(s))).max() < 1e-12
    mesh = domain.mesh(8)
    top = mesh.points[mesh.sides["hot"]]  # from (0, 1) to (1, 1)
    assert np.abs(top[..., 1] - 1).max() < 1e-12 and abs(sides.facets(mesh, mesh.sides["hot"]).measure.sum() - 1) < 1e-12


def test_a_mesh_is_a_domain():
    first = fem.lshape(2)
    _, lower, upper = outer_facets(first.cells, len(first.points))
    nodes = np.stack([lower, upper], axis=1)
    low = nodes[np.all(first.points[nodes][..., 1] == -1, axis=1)]
    mesh = fem.Mesh(first.points, first.cells, first.boundary_nodes, {"low": low}, {"iron": np.array([0, 3])})
    domain = domains.from_mesh(mesh)
    assert domain.sides == ("low", "rest") and domain.measure == 3.0
    fine = domain.mesh(32)
    assert fine.h <= np.sqrt(2) * 2 / 32 + 1e-12
    assert abs(fine.volumes[fine.materials["iron"]].sum() - 0.25) < 1e-12
    problem = hl.Problem(medium=TWO, domain=domain, boundary={"low": hl.Dirichlet(2.0), "rest": hl.Neumann()})
    found = hl.solve(problem, n=8)
    assert found.bound == 0.0 and abs(found.mean("iron") - 2) < 1e-12
    assert abs(found.mean(side="low") - 2) < 1e-12 and abs(found.mean(material="iron") - 2) < 1e-12
    for part in (3, lambda x: x):
        with pytest.raises(hl.InputError, match="part: expected the name of a side or a material, or a function"):
            found.mean(part)
    with pytest.raises(hl.InputError, match="each facet in one side"):
        domains.from_mesh(fem.Mesh(mesh.points, mesh.cells, mesh.boundary_nodes, {"a": low, "b": low[:1]}))
    with pytest.raises(hl.InputError, match="expected a fem"):
        domains.from_mesh(mesh.points)
    assert domains.from_mesh(fem.interval(3, -1.0, 2.0)).sides == ("left", "right")


def exact(x):
    return jnp.sin(x[0]) * jnp.cosh(x[1]) + x[1]


TENSOR = hl.media.tensor([2.0, 0.5], 0.4)
K = np.asarray(TENSOR.conductivity(jnp.zeros(2)))
ROOT = scipy.linalg.sqrtm(K)


PLATE = domains.polygon(
    [(0, 0), (2, 0), (2.5, 1), (1, 1.5), (0, 1)], [ring((0.9, 0.7), 0.25, 9)], {"base": [0], "slope": [1, 2]}
)


def plate(kinds):
    """−∇·(K∇w) = q with a turned tensor on a polygon with a hole."""

    def condition(name, kind):
        if kind == "value":
            return hl.Dirichlet(exact)
        faces = [face for face, owner in zip(PLATE.faces, PLATE.names, strict=True) if owner == name]
        signs = 1 if name != "hole_0" else -1  # both loops run anticlockwise
        starts = jnp.array([start for start, _, _ in faces])
        along = jnp.array([direction for _, direction, _ in faces])
        normals = signs * jnp.stack([along[:, 1], -along[:, 0]], axis=1)
        lengths = jnp.array([length for _, _, length in faces])

        def through(x):
            away = x[None] - starts
            t = jnp.clip(jnp.sum(away * along, axis=1), 0.0, lengths)
            nearest = jnp.argmin(jnp.sum((away - t[:, None] * along) ** 2, axis=1))
            return normals[nearest] @ jnp.asarray(K, x.dtype) @ jax.grad(exact)(x)

        return hl.Neumann(through) if kind == "flux" else hl.Robin(2.0, lambda x: exact(x) + through(x) / 2)

    boundary = {name: condition(name, kind) for name, kind in kinds.items()}
    source = lambda x: -jnp.sum(jnp.asarray(K, x.dtype) * jax.hessian(exact)(x))  # noqa: E731
    return hl.Problem(medium=TENSOR, domain=PLATE, source=source, boundary=boundary)


KINDS = {
    "temperature": dict.fromkeys(PLATE.sides, "value"),
    "temperature on the hole": dict.fromkeys(PLATE.sides, "flux") | {"hole_0": "value"},
    "exchange on the hole": dict.fromkeys(PLATE.sides, "value") | {"hole_0": "exchange"},
    "exchange around": dict.fromkeys(PLATE.sides, "exchange"),
    "flux on the hole": {"base": "value", "slope": "exchange", "outer": "flux", "hole_0": "flux"},
    "fluxes alone": dict.fromkeys(PLATE.sides, "flux"),
}


@pytest.mark.parametrize("case", KINDS)
def test_elements_on_a_polygon_with_a_hole(case):
    problem = plate(KINDS[case])
    stretched = lambda x: jnp.asarray(ROOT, x.dtype) @ jax.grad(exact)(x)  # noqa: E731
    mesh = PLATE.mesh(6)
    errors = []
    for _ in range(3):
        found = solve_on(problem, mesh)
        w = found.w
        if case == "fluxes alone":
            weight = fem.load(mesh, 1.0)
            w = w + weight @ (fem.evaluate(exact, mesh.points) - w) / weight.sum()
        error = fem.flux_error(mesh, ROOT, w, stretched)
        square = error**2
        for one in found.data.exchanges:
            along = w[one.facets.nodes] @ one.facets.barycentric.T
            square += sides.side_integral(one.facets, 2 * (along - fem.evaluate(exact, one.facets.points)) ** 2)
        assert 1 <= found.proof.bound / np.sqrt(square) < 3, "a bound, and near"
        errors.append([fem.l2_error(mesh, w, exact), error])
        mesh = fem.refine(mesh)
    orders = np.log2(np.array(errors[1]) / np.array(errors[2]))
    assert orders[0] > 1.85 and orders[1] > 0.95, orders


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def meshio():
    return pytest.importorskip("meshio")


FORMATS = {".msh": {"file_format": "gmsh22"}}


def written(meshio, path, **changes):
    """Two squares of copper and iron, an unused node, and lines around; the second one is clockwise."""
    points = np.array([[0, 0, 7], [1, 0, 7], [2, 0, 7], [0, 1, 7], [1, 1, 7], [2, 1, 7], [9, 9, 7]], float)
    triangles = np.array([[0, 1, 4], [0, 4, 3], [1, 5, 2], [1, 4, 5]])
    lines = np.array([[0, 1], [1, 2], [0, 3], [2, 5], [1, 4]])
    made = {
        "points": points,
        "cells": [("line", lines), ("triangle", triangles)],
        "cell_data": {"gmsh:physical": [np.array([1, 1, 2, 3, 4]), np.array([11, 11, 12, 12])],
                      "gmsh:geometrical": [np.array([1, 1, 2, 3, 4]), np.array([11, 11, 12, 12])]},
        "field_data": {"base": np.array([1, 1]), "left": np.array([2, 1]), "seam": np.array([4, 1]),
                       "copper": np.array([11, 2]), "iron": np.array([12, 2])},
    }  # fmt: skip
    meshio.write(path, meshio.Mesh(**(made | changes)), **FORMATS.get(path.suffix, {}))
    return path


def test_a_mesh_from_gmsh(meshio, tmp_path):
    mesh = fem.read_mesh(written(meshio, tmp_path / "a.msh"))
    assert mesh.points.shape == (6, 2) and mesh.volumes.tolist() == [0.5] * 4
    assert {name: len(nodes) for name, nodes in mesh.sides.items()} == {"base": 2, "left": 1, "3": 1}, "the seam is inside"
    assert {name: cells.tolist() for name, cells in mesh.materials.items()} == {"copper": [0, 1], "iron": [2, 3]}
    domain = domains.from_mesh(mesh)
    assert domain.sides == ("base", "left", "3", "rest")
    boundary = dict.fromkeys(domain.sides, hl.Neumann()) | {"left": hl.Dirichlet(0.0), "3": hl.Neumann(1.0)}
    found = hl.solve(hl.Problem(medium=TWO, domain=domain, boundary=boundary), n=2)
    assert np.abs(found.w - found.mesh.points[:, 0]).max() < 1e-12 and abs(found.mean("iron") - 1.5) < 1e-12


def test_a_part_that_is_turned_in_its_group_belongs_to_it(meshio, tmp_path):
    turned = {"gmsh:physical": [np.array([1, -1, 2, 3, 4]), np.array([11, -11, -12, 12])]}
    mesh = fem.read_mesh(written(meshio, tmp_path / "a.vtu", cell_data=turned, field_data={}))
    assert {name: len(nodes) for name, nodes in mesh.sides.items()} == {"1": 2, "2": 1, "3": 1}
    assert {name: cells.tolist() for name, cells in mesh.materials.items()} == {"11": [0, 1], "12": [2, 3]}


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".mesh", ".inp"])
def test_other_formats(meshio, tmp_path, suffix):
    changes = {"field_data": {}}
    if suffix == ".mesh":
        changes["cell_data"] = {"medit:ref": [np.array([1, 1, 2, 3, 4]), np.array([11, 11, 12, 12])]}
    elif suffix == ".inp":
        none, ends = np.zeros(0, int), {"1": np.array([0, 1]), "12": np.array([2, 3])}
        changes |= {"cell_data": {}, "cell_sets": {"1": [ends["1"], none], "12": [none, ends["12"]]}}
    mesh = fem.read_mesh(written(meshio, tmp_path / f"a{suffix}", **changes))
    assert len(mesh.sides["1"]) == 2 and mesh.materials["12"].tolist() == [2, 3] and mesh.points.shape == (6, 2)


@pytest.mark.parametrize(("kind", "middle"), [("quad", []), ("quad8", [4, 5, 6, 7]), ("quad9", [4, 5, 6, 7, 8])])
def test_second_order_and_quadrilaterals_are_reduced(kind, middle, meshio, tmp_path):
    x = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1], [1.5, 0.0], [2, 0.5], [1.5, 0.5]], float)
    cells = [(kind, [[0, 1, 2, 3, *middle]]), ("triangle6", [[1, 4, 5, 6, 7, 8]]), ("triangle", [[1, 5, 2]])]
    data = {"material": [np.array([3.0]), np.array([4.0]), np.array([4.0])]}
    path = tmp_path / "a.vtu"
    meshio.write(path, meshio.Mesh(np.c_[x, np.zeros(9)], cells, cell_data=data))
    mesh = fem.read_mesh(path)
    assert mesh.points.shape == (6, 2) and mesh.volumes.sum() == 2.0
    assert mesh.materials["3"].tolist() == [0, 1] and mesh.materials["4"].tolist() == [2, 3]


def test_a_line_from_a_file(meshio, tmp_path):
    points = np.array([[0.0, 5, 0], [0, 6, 0], [0, 8, 0]])
    cells = [("vertex", np.array([[0], [2]])), ("line", np.array([[1, 0], [1, 2]]))]
    path = tmp_path / "line.vtu"
    meshio.write(path, meshio.Mesh(points, cells, cell_data={"tag": [np.array([7, 8]), np.array([1, 2])]}))
    mesh = fem.read_mesh(path)
    assert mesh.points.ravel().tolist() == [5.0, 6.0, 8.0] and mesh.volumes.tolist() == [1.0, 2.0]
    assert mesh.sides["8"].tolist() == [[2]] and mesh.materials["2"].tolist() == [1]


def test_what_cannot_be_read_is_refused_in_a_line(meshio, tmp_path, monkeypatch, capfd):
    (tmp_path / "bad.msh").write_text("nothing\n")
    (tmp_path / "bad.xyz").write_text("nothing\n")
    solid = meshio.Mesh(np.eye(4, 3), [("tetra", np.array([[0, 1, 2, 3]]))])
    meshio.write(tmp_path / "solid.vtu", solid)
    tilted = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 2.0]])
    meshio.write(tmp_path / "tilted.vtu", meshio.Mesh(tilted, [("triangle", np.array([[0, 1, 2]]))]))
    meshio.write(tmp_path / "points.vtu", meshio.Mesh(tilted, [("vertex", np.array([[0], [1]]))]))
    flat = [("triangle", np.array([[0, 1, 2]])), ("VTK_LAGRANGE_TRIANGLE", np.array([[0, 1, 3]]))]
    meshio.write(tmp_path / "cubic.vtu", meshio.Mesh(np.eye(4, 2) @ np.eye(2, 3), flat))
    for name, said in {
        "none.msh": "a file that exists; received none",
        "bad.msh": "a mesh in a format that meshio reads",
        "bad.xyz": "a mesh in a format that meshio reads",
        "solid.vtu": "triangles, or lines in one dimension; received tetra",
        "tilted.vtu": "cells in a plane across an axis; received coordinates xyz that all vary",
        "points.vtu": "received vertex",
        "cubic.vtu": "of first or second order; received VTK_LAGRANGE_TRIANGLE; export them in first order",
    }.items():
        with pytest.raises(hl.InputError) as caught:
            fem.read_mesh(tmp_path / name)
        assert said in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "meshio", None)
    (tmp_path / "a.inp").write_text("")
    with pytest.raises(hl.InputError, match="mesh file: expected a path; received int"):
        fem.read_mesh(3)
    with pytest.raises(hl.InputError, match=r'reading meshes: expected the package meshio; .* pip install "hybrid-lib\[files\]"'):
        fem.read_mesh(tmp_path / "a.inp")
