"""Local refinement, and elements that are refined until a guaranteed bound is met."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
from fem_meshes import MESHES
from hypothesis import given, settings
from hypothesis import strategies as st

import hybrid_lib as hl
from hybrid_lib import fem
from hybrid_lib.fem import sides
from hybrid_lib.pinn import domains


def smallest_angle(mesh):
    corners = mesh.points[mesh.cells]
    found = np.inf
    for i in range(3):
        u, v = corners[:, i - 1] - corners[:, i], corners[:, i - 2] - corners[:, i]
        cosine = np.einsum("ij,ij->i", u, v) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        found = min(found, np.degrees(np.arccos(cosine)).min())
    return found


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(MESHES)), st.integers(0, 2**31), st.floats(0.02, 0.6))
def test_bisection_keeps_what_it_should(name, seed, share):
    random, first = np.random.default_rng(seed), MESHES[name]
    outer = fem.topology.outer_facets(first.cells, len(first.points))
    nodes = np.stack(outer[1:], axis=1)[:, : first.dimension]
    half = len(nodes) // 2
    half_of_cells = np.arange(len(first.cells) // 2)
    mesh = fem.Mesh(
        first.points, first.cells, first.boundary_nodes, {"one": nodes[:half], "two": nodes[half:]}, {"iron": half_of_cells}
    )
    length = {side: sides.facets(mesh, mesh.sides[side]).measure.sum() for side in mesh.sides}
    for _ in range(3):
        fine = fem.bisect(mesh, random.random(len(mesh.cells)) < share)
        again = fem.from_simplices(fine.points, fine.cells)  # no hanging node, nothing twice
        assert np.array_equal(again.cells, fine.cells), "orientation"
        assert np.array_equal(fine.points[: len(mesh.points)], mesh.points)
        mesh = fine
    assert abs(mesh.volumes.sum() - first.volumes.sum()) < 1e-12
    assert abs(mesh.volumes[mesh.materials["iron"]].sum() - first.volumes[half_of_cells].sum()) < 1e-12
    for side, nodes in mesh.sides.items():
        assert abs(sides.facets(mesh, nodes).measure.sum() - length[side]) < 1e-12
    if mesh.dimension == 2:
        assert smallest_angle(mesh) > smallest_angle(first) / 2 - 1e-9


def test_nothing_marked_changes_nothing():
    mesh = fem.lshape(2)
    assert np.array_equal(fem.bisect(mesh, []).cells, mesh.cells)
    with pytest.raises(hl.InputError, match="marked: expected numbers of cells below 24"):
        fem.bisect(mesh, [24])


def test_the_mesh_is_fine_where_the_corner_is():
    domain = domains.lshape()
    problem = hl.Problem(medium=hl.media.constant(1.0, 2), domain=domain, source=1.0, boundary=hl.Dirichlet(0.0))
    found = hl.solve(problem, tolerance=0.03, n=4)
    near = np.linalg.norm(found.mesh.points[found.mesh.cells].mean(axis=1), axis=1) < 0.2
    assert found.bound <= 0.03 and not found.reason
    assert found.mesh.diameters[near].min() < found.mesh.diameters[~near].max() / 7


def test_a_tolerance_that_is_out_of_reach_is_told(monkeypatch):
    monkeypatch.setattr(importlib.import_module("hybrid_lib.experiments.solve"), "UNKNOWNS", 500)
    found = hl.solve(hl.Problem(medium=hl.media.paper_2d(0.2), source=1.0), tolerance=1e-3)
    assert found.bound > 1e-3 and "a finer mesh would have over 500" in found.reason


def test_a_temperature_that_jumps_is_told():
    around = dict.fromkeys(("right", "bottom", "top"), hl.Neumann()) | {"left": hl.Dirichlet(lambda x: 1.0 * (x[1] > 0.4))}
    found = hl.solve(hl.Problem(medium=hl.media.constant(1.0, 2), boundary=around))
    assert found.bound is None and "the temperature of left jumps at [0.0, 0.4]" in found.reason


def test_a_field_without_energy_needs_no_refinement():
    found = hl.solve(hl.Problem(medium=hl.media.constant(2.0, 2), boundary=hl.Dirichlet(20.0)))
    assert found.bound == 0.0 and np.abs(found.w - 20).max() < 1e-12


@pytest.mark.parametrize("tolerance", [0.0, -1.0, "0.1", True, np.nan])
def test_a_bad_tolerance_is_refused(tolerance):
    with pytest.raises(hl.InputError, match="tolerance"):
        hl.solve(hl.Problem(medium=hl.media.constant(1.0, 1)), tolerance=tolerance)


def test_a_line_with_a_layer():
    problem = hl.Problem(medium=hl.media.constant(1.0, 1), source=lambda x: 1e4 * jnp.exp(-1e4 * (x[0] - 0.3) ** 2))
    found = hl.solve(problem, tolerance=0.01)
    assert found.bound <= 0.01 and len(found.mesh.cells) < 600
