"""Quadratic elements: their orders, another library's values, and what they reproduce."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_sides as sided
from fem_meshes import MESHES

from hybrid_lib import fem
from hybrid_lib.errors import InputError
from hybrid_lib.fem import quadratic
from hybrid_lib.pinn import domains


def exact(x):
    return jnp.sin(3 * x[0]) * jnp.exp(x[-1])


def conductivity(x):
    return 2 + jnp.sin(5 * x[0]) * jnp.cos(3 * x[-1])


def tensor(x):
    return conductivity(x) * jnp.array([[2.0, 0.5], [0.5, 1.0]])


@pytest.mark.parametrize(("d", "K"), [(1, conductivity), (2, conductivity), (2, tensor)])
def test_slope_three_in_the_mean_square_and_two_in_the_gradient(d, K):
    flux = lambda x: (lambda k, g: k @ g if k.ndim else k * g)(K(x), jax.grad(exact)(x))  # noqa: E731
    source = lambda x: -jnp.trace(jax.jacfwd(flux)(x))  # noqa: E731
    errors = []
    for cells in (8, 16):
        mesh = fem.interval(cells) if d == 1 else fem.unit_square(cells)
        V, u = quadratic.solve(mesh, K, source, boundary=exact)
        x, w = fem.quadrature_points(mesh, 6)
        value, slope = quadratic.at(V, u, x.reshape(-1, d))
        off = value - fem.evaluate(exact, x).ravel(), slope - fem.evaluate(jax.grad(exact), x).reshape(-1, d)
        errors.append([np.sqrt(w.ravel() @ off[0] ** 2), np.sqrt(w.ravel() @ np.sum(off[1] ** 2, axis=1))])
    assert np.log2(np.divide(*errors)) == pytest.approx([3, 2], abs=0.1)


def test_equal_to_scikit_fem_with_a_tensor_and_a_direction():
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import grad

    direction = np.array([1.0, -2.0])
    V, u = quadratic.solve(MESHES["scrambled square"], tensor, lambda x: x[0] ** 2, direction=direction)
    basis = skfem.Basis(
        skfem.MeshTri(V.mesh.points.T.copy(), V.mesh.cells.T.copy()),
        skfem.ElementTriP2(),
        quadrature=(fem.rule(2, 4)[0][:, 1:].T.copy(), fem.rule(2, 4)[1] / 2),
    )

    def K(x):
        return (2 + np.sin(5 * x[0]) * np.cos(3 * x[1])) * np.array([[2.0, 0.5], [0.5, 1.0]])[:, :, None, None]

    form = skfem.BilinearForm(lambda u, v, w: np.einsum("ij...,j...,i...->...", K(w.x), grad(u), grad(v)))
    right = skfem.LinearForm(lambda v, w: w.x[0] ** 2 * v - np.einsum("ij...,j,i...->...", K(w.x), direction, grad(v)))
    theirs = skfem.solve(*skfem.condense(form.assemble(basis), right.assemble(basis), D=basis.get_dofs()))
    order = np.lexsort(np.round(V.points.T, 9)), np.lexsort(np.round(basis.doflocs, 9))
    np.testing.assert_allclose(u[order[0]], theirs[order[1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["scrambled interval", "scrambled lshape"])
def test_a_quadratic_is_reproduced_with_its_derivatives(name):
    mesh = MESHES[name]
    d = mesh.dimension
    A, b = np.array([[2.0, 0.5], [0.5, -1.0]])[:d, :d], np.arange(1.0, d + 1)
    V = quadratic.space(mesh)
    nodal = np.einsum("ki,ij,kj->k", V.points, A, V.points) / 2 + V.points @ b
    K = np.diag([3.0, 1.0])[:d, :d]
    function = lambda x: x @ jnp.asarray(A) @ x / 2 + x @ jnp.asarray(b)  # noqa: E731
    np.testing.assert_allclose(quadratic.solve(mesh, K, -np.trace(K @ A), boundary=function)[1], nodal, atol=1e-12)
    slope, bend = quadratic.gradients(V, nodal)
    centre = mesh.points[mesh.cells].mean(axis=1)
    np.testing.assert_allclose(slope, centre @ A + b, atol=1e-12)
    np.testing.assert_allclose(bend, np.broadcast_to(A, bend.shape), atol=1e-10)
    assert quadratic.load(V, 1.0).sum() == pytest.approx(mesh.volumes.sum())
    energy = nodal @ quadratic.stiffness(V, K) @ nodal  # ∫ K∇u·∇u, exactly
    x, w = fem.quadrature_points(mesh, 4)
    exact = np.einsum("mq,mqi,ij,mqj->", w, x @ A + b, K, x @ A + b)
    assert energy == pytest.approx(exact)


def test_values_of_a_linear_mesh_are_refused():
    V = quadratic.space(fem.unit_square(2))
    with pytest.raises(InputError, match="nodal: expected 25 values, one a vertex and one an edge"):
        quadratic.at(V, np.zeros(9), [[0.5, 0.5]])
    with pytest.raises(InputError, match=r"direction: expected a vector of shape \(2,\)"):
        quadratic.solve(V.mesh, 1.0, 1.0, direction=[1.0])


@pytest.mark.parametrize("case", ["all three", "fluxes alone"])
def test_slope_three_with_conditions_on_sides(case):
    problem, errors = sided.manufactured(sided.CASES[case], sided.BOXES["box"]), []
    for n in (4, 8):
        mesh = problem.domain.labelled(problem.domain.mesh(n))
        K, q = problem.medium.conductivity, problem.source
        V, nodal = quadratic.solve(mesh, K, q, order=6, conditions=problem.conditions())
        points, weights = fem.quadrature_points(mesh, 6)
        off = quadratic.at(V, nodal, points.reshape(-1, 2))[0] - fem.evaluate(sided.exact, points).ravel()
        off -= (weights.ravel() @ off / weights.sum()) * (case == "fluxes alone")
        errors.append(np.sqrt(weights.ravel() @ off**2))
    assert np.log2(errors[0] / errors[1]) > 2.8


def test_sides_on_an_interval_are_exact_for_a_parabola():
    mesh = domains.interval().labelled(fem.interval(2))
    V, nodal = quadratic.solve(mesh, 1.0, 2.0, conditions={"left": ("value", 1.0), "right": ("exchange", 4.0, 0.5)})
    x = V.points[:, 0]  # w = 1 + bx − x², b − 2 = (4 − b)/2
    assert np.abs(nodal - (1 + 8 / 3 * x - x**2)).max() < 1e-12
