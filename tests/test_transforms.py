"""Sine transforms as preconditioner: the direct solution, in a number of iterations that knows neither ε nor h."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.fem import quadratic, transforms


def system(n, K, e=(1.0, -0.5)):
    mesh = fem.unit_square(n)
    return mesh, fem.stiffness(mesh, K, 4), fem.load(mesh, 1.0) - fem.flux_load(mesh, K, e, 4)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 40), seed=st.integers(0, 1000), spread=st.floats(0, 2), boundary=st.booleans())
def test_equal_to_the_direct_solve(n, seed, spread, boundary):
    rng = np.random.default_rng(seed)
    mesh, A, b = system(n, np.exp(spread * rng.uniform(-1, 1, size=2 * n * n)))
    values = rng.normal(size=len(mesh.boundary_nodes)) if boundary else 0.0
    right = np.stack([b, rng.normal(size=len(b))], axis=1)
    values = np.stack([values, 0 * values], axis=1) if boundary else 0.0
    direct, sine = (fem.solve_dirichlet(A, right, mesh.boundary_nodes, values, method) for method in ("direct", "sine"))
    np.testing.assert_allclose(sine, direct, rtol=0, atol=1e-12 * np.abs(direct).max())


@pytest.mark.parametrize(("inverse", "n"), [(4, 64), (4, 128), (16, 128), (16, 256), (64, 512)])
def test_iterations_know_neither_the_period_nor_the_mesh(inverse, n, monkeypatch):
    mesh, A, b = system(n, media.paper_2d(1 / inverse).conductivity)
    inner = mesh.interior_nodes
    calls, plain = [], transforms.dstn
    monkeypatch.setattr(transforms, "dstn", lambda *a, **k: calls.append(1) or plain(*a, **k))
    A_inner = A[inner][:, inner]
    found = transforms.solve(A_inner, b[inner], transforms.sines(n - 1), 1e-6, transforms.contrast(A_inner, n - 1))
    assert found is not None and 11 <= len(calls) / 2 <= 18
    residual = A_inner @ found - b[inner]
    assert np.linalg.norm(residual) < 1e-4 * np.linalg.norm(b[inner])


def test_chosen_on_big_uniform_squares_of_moderate_contrast_and_not_elsewhere(monkeypatch):
    taken, plain = [], transforms.solve
    monkeypatch.setattr(transforms, "solve", lambda *a: taken.append(1) or plain(*a))

    def used(mesh, K, nodes=None):
        taken.clear()
        fem.solve_dirichlet(fem.stiffness(mesh, K), fem.load(mesh, 1.0), mesh.boundary_nodes if nodes is None else nodes)
        return bool(taken)

    big = fem.unit_square(102)
    assert used(big, 1.0)
    assert not used(fem.unit_square(100), 1.0)  # 9,801 unknowns
    assert not used(big, np.where(np.arange(2 * 102**2) % 7 < 3, 1.0, 80.0))
    assert not used(big, 1.0, np.flatnonzero(big.points[:, 0] == 0.0))
    assert not used(fem.lshape(60), 1.0)
    assert not used(fem.interval(20_000), 1.0)


def test_a_tensor_or_a_stretched_medium_is_solved_as_well():
    n, turn = 102, np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    for K in (np.diag([1.0, 30.0]), turn @ np.diag([1.0, 4.0]) @ turn.T, lambda x: jnp.diag(jnp.array([2 + x[0], 1.0]))):
        mesh, A, b = system(n, K)
        direct, auto = (fem.solve_dirichlet(A, b, mesh.boundary_nodes, 0.0, method) for method in ("direct", "auto"))
        np.testing.assert_allclose(auto, direct, rtol=0, atol=2e-12 * np.abs(direct).max())


@pytest.mark.parametrize("K", [media.paper_2d(0.25).conductivity, lambda x: (2 + x[0]) * jnp.array([[2.0, 0.5], [0.5, 1.0]])])
def test_quadratic_elements_and_natural_boundary_values_are_solved_as_well(K):
    mesh, e = fem.unit_square(52), np.array([1.0, -0.5])
    V = quadratic.space(mesh)  # 10,609 inner unknowns
    A = quadratic.stiffness(V, K)
    b = quadratic.load(V, 1.0) - A @ (V.points @ e)
    direct, sine = (fem.solve_dirichlet(A, b, V.boundary, 0.0, m, points=V.points) for m in ("direct", "sine"))
    np.testing.assert_allclose(sine, direct, rtol=0, atol=2e-12 * np.abs(direct).max())
    np.testing.assert_array_equal(quadratic.solve(mesh, K, 1.0, direction=e)[1], sine)
    b = A @ (V.points @ e)  # compatible: its sum is zero
    natural = transforms.without_boundary(A, b, V.points, 1e-12)
    assert np.ptp(natural - V.points @ e) < 1e-10
    assert transforms.without_boundary(A, b, V.points + 0.1, 1e-12) is None


def test_a_bound_is_the_same_by_cosines_and_by_factors(monkeypatch):
    mesh, K = fem.unit_square(100), media.paper_2d(0.25).conductivity
    fast = [fem.certified_solve(mesh, K, 1.0, direction=[1.0, 0.0], degree=degree).proof.bound for degree in (1, 2)]
    monkeypatch.setattr(transforms, "LEAST", 10**9)
    slow = [fem.certified_solve(mesh, K, 1.0, direction=[1.0, 0.0], degree=degree).proof.bound for degree in (1, 2)]
    np.testing.assert_allclose(fast, slow, rtol=1e-12)


def test_a_matrix_of_another_kind_is_refused_where_sines_are_asked_for():
    mesh = fem.lshape(4)
    with pytest.raises(InputError, match=r"method: expected the inner nodes of fem.unit_square"):
        fem.solve_dirichlet(fem.stiffness(mesh, 1.0), fem.load(mesh, 1.0), mesh.boundary_nodes, method="sine")
    mesh, A, b = system(40, np.exp(20 * np.random.default_rng(0).random(3200)))
    with pytest.raises(InputError, match="solve: expected a relative error in energy <= 1e-12; received 200 iterations"):
        fem.solve_dirichlet(A, b, mesh.boundary_nodes, method="sine")
