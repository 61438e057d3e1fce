"""The guaranteed bound of the energy error: never below the truth, and equal to it where theory says so."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import fem
from hybrid_lib.errors import InputError

MESHES = {"interval": fem.interval(6), "square": fem.unit_square(4), "L": fem.lshape(2)}


def energy(mesh, K, nodal):
    slope = fem.cell_gradients(mesh, nodal)
    return np.sqrt(np.einsum("m,mi,mij,mj->", mesh.volumes, slope, fem.cell_coefficient(mesh, K, 4), slope))


def solution(mesh, K, f, e):
    rhs = fem.load(mesh, f, 4) - fem.flux_load(mesh, K, e, 4)
    return fem.solve_dirichlet(fem.stiffness(mesh, K, 4), rhs, mesh.boundary_nodes)


@pytest.mark.parametrize("name", MESHES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.0, 3.0), tensor=st.booleans())
def test_never_below_the_error_on_random_media_and_sources(name, seed, spread, tensor):
    rng, mesh = np.random.default_rng(seed), MESHES[name]
    m, d = len(mesh.cells), mesh.dimension
    K, f, e = np.exp(spread * rng.normal(size=m)), rng.normal(size=m), rng.normal(size=d)
    if tensor:
        root = rng.normal(size=(m, d, d)) * np.sqrt(K)[:, None, None]
        K = root @ root.mT + 0.1 * K[:, None, None] * np.eye(d)
    u = solution(mesh, K, f, e)
    fine, K_fine, f_fine = mesh, K, f
    for _ in range({1: 9, 2: 4}[d]):
        fine, K_fine, f_fine = fem.refine(fine), np.repeat(K_fine, 2**d, axis=0), np.repeat(f_fine, 2**d)
    there = fem.interpolation_matrix(mesh, fine.points) @ u
    error = energy(fine, K_fine, there - solution(fine, K_fine, f_fine, e))  # a little below the true one
    found = fem.energy_bound(mesh, K, f, u, e)
    assert error * (1 - 1e-9) <= found.bound <= 5 * error + 1e-9
    assert found.oscillation <= 1e-9
    assert found.relative == pytest.approx(found.bound / energy(mesh, K, u))
    # On the refined mesh the flux is nearly exact, and what is left is the error of u_h.
    finer = fem.energy_bound(fine, K_fine, f_fine, there, e)
    assert error * (1 - 1e-9) <= finer.bound <= found.bound * (1 + 1e-9)


def test_in_one_dimension_the_bound_is_the_error():
    """-(K(u' + 1))' = 6x: K(u' + 1) = c - 3x², K = 1 + x."""
    c = (1 + 3 * (0.5 - 1 + np.log(2))) / np.log(2)  # ∫ 3x²/(1 + x) = 3 (x²/2 - x + log(1 + x))

    def slope(x):
        return (c - 3 * x[0] ** 2) / (1 + x[0]) - 1

    errors = []
    for cells in (16, 32):
        mesh = fem.interval(cells)
        u = solution(mesh, lambda x: 1 + x[0], lambda x: 6 * x[0], [1.0])
        x, w = fem.quadrature_points(mesh, 20)
        gap = fem.cell_gradients(mesh, u) - fem.evaluate(slope, x)
        true = np.sqrt(np.sum(w * (1 + x[..., 0]) * gap**2))
        found = fem.energy_bound(mesh, lambda x: 1 + x[0], lambda x: 6 * x[0], u, [1.0])
        assert true < found.bound < true + 1.5 * found.oscillation
        errors.append(found.oscillation)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


def test_sum_of_both_errors_is_the_bound():
    """Prager and Synge on layers, where u and σ are known: any field with the right boundary values, the flux of the bound."""
    mesh = fem.unit_square(8)
    centre = mesh.points[mesh.cells].mean(axis=1)
    K = np.where(centre[:, 0] < 0.5, 1.0, 9.0)
    e = np.array([1.0, 0.3])
    # Boundary values of the layered profile p(x): slope of p + x is the flux over K.
    flux = 1 / (0.5 / 1 + 0.5 / 9)
    profile = np.interp(mesh.points[:, 0], [0, 0.5, 1], [0, flux / 2 - 0.5, 0])
    v = profile.copy()
    rng = np.random.default_rng(1)
    v[mesh.interior_nodes] += rng.normal(size=len(mesh.interior_nodes))
    found = fem.energy_bound(mesh, K, 0.0, v, e)
    sigma = K[:, None] * (fem.cell_gradients(mesh, profile) + e)
    assert np.ptp(sigma[:, 0]) < 1e-12  # the flux across is constant; along it jumps with K, which is no divergence
    x, w = fem.quadrature_points(mesh, 2)
    off = np.sum(w / K[:, None] * np.sum((found.flux.at(mesh, x) - sigma[:, None]) ** 2, axis=-1))
    assert found.bound**2 == pytest.approx(energy(mesh, K, v - profile) ** 2 + off, rel=1e-10)


def test_flux_balances_the_source_and_has_no_jumps_across_facets():
    mesh = MESHES["L"]
    rng = np.random.default_rng(2)
    f = rng.normal(size=len(mesh.cells))
    flux = fem.energy_bound(mesh, np.exp(rng.normal(size=len(mesh.cells))), f, np.zeros(len(mesh.points))).flux
    corners, seen = mesh.points[mesh.cells], {}
    for hat in range(3):  # the normal component at the middle of each facet, times its length
        a, b = corners[:, (hat + 1) % 3], corners[:, (hat + 2) % 3]
        normal = np.stack([(b - a)[:, 1], -(b - a)[:, 0]], axis=1)
        through = np.sum(flux.at(mesh, ((a + b) / 2)[:, None])[:, 0] * normal, axis=1)
        middle = [tuple(p) for p in np.round((a + b) / 2, 9)]
        for key, value in zip(middle, through, strict=True):
            seen.setdefault(key, []).append(value)
    assert max(abs(sum(pair)) for pair in seen.values() if len(pair) == 2) < 1e-12
    np.testing.assert_allclose(flux.source, f)


def test_against_quadratic_elements_of_another_library():
    """A smooth tensor and a bump as wide as a cell; scikit-fem solves on a finer mesh."""
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import dot, grad

    def conductivity(x, sin=np.sin):
        return 3 + sin(2 * np.pi * x[0] / 0.5) + sin(2 * np.pi * x[1] / 0.5)

    def bump(x, exp=np.exp):
        return 10 * exp(-((x[0] - 0.4) ** 2 + (x[1] - 0.6) ** 2) / 0.08**2)

    mesh = fem.unit_square(12)
    K, f = (lambda x: conductivity(x, jnp.sin)), (lambda x: bump(x, jnp.exp))
    u = solution(mesh, K, f, [1.0, 0.0])
    found = fem.energy_bound(mesh, K, f, u, [1.0, 0.0])
    fine = skfem.MeshTri(mesh.points.T.copy(), mesh.cells.T.copy()).refined(2)
    basis = skfem.Basis(fine, skfem.ElementTriP2(), intorder=6)
    stiffness = skfem.BilinearForm(lambda u, v, w: conductivity(w.x) * dot(grad(u), grad(v))).assemble(basis)
    load = skfem.LinearForm(lambda v, w: bump(w.x) * v - conductivity(w.x) * grad(v)[0]).assemble(basis)
    exact = skfem.solve(*skfem.condense(stiffness, load, D=basis.get_dofs()))
    there = fem.interpolation_matrix(mesh, basis.doflocs.T) @ u
    error = np.sqrt((exact - there) @ stiffness @ (exact - there))
    assert error < found.bound < 1.8 * error


@pytest.mark.parametrize("width", [0.1, 0.01, 0.001])
def test_a_source_narrower_than_a_cell_is_seen(width):
    mesh = fem.interval(4)
    f = lambda x: jnp.exp(-((x[0] - 0.618) ** 2) / width**2) / (width * jnp.sqrt(jnp.pi))  # noqa: E731
    u = solution(mesh, 1.0, f, [1.0])
    fine = fem.interval(4 * 4096)
    error = energy(fine, 1.0, fem.interpolation_matrix(mesh, fine.points) @ u - solution(fine, 1.0, f, [1.0]))
    assert error < fem.energy_bound(mesh, 1.0, f, u, [1.0]).bound


def test_around_a_hole_and_on_two_parts_it_is_still_a_bound():
    whole = fem.unit_square(9)
    centre = whole.points[whole.cells].mean(axis=1)
    for kept in (np.abs(centre - 0.5).max(axis=1) > 1 / 6, np.abs(centre[:, 0] - 0.5) > 1 / 6):
        used, cells = np.unique(whole.cells[kept], return_inverse=True)
        mesh = fem.from_simplices(whole.points[used], cells.reshape(-1, 3))
        u = solution(mesh, 1.0, 1.0, [0.0, 0.0])
        fine = fem.refine(fem.refine(fem.refine(mesh)))
        error = energy(fine, 1.0, fem.interpolation_matrix(mesh, fine.points) @ u - solution(fine, 1.0, 1.0, [0.0, 0.0]))
        assert error < fem.energy_bound(mesh, 1.0, 1.0, u).bound < 1.6 * error
        # On the refined mesh the flux is nearly exact, around the hole as well: at its corners errors fall like h^(2/3), so that
        # a sixteenth of the square is left of the flux and a sixteenth is missing in the error.
        there = fem.interpolation_matrix(mesh, fine.points) @ u
        assert error < fem.energy_bound(fine, 1.0, 1.0, there).bound < 1.07 * error
        assert error < fem.energy_bound(mesh, 1.0, 1.0, u, degree=2).bound < 1.35 * error


@pytest.mark.parametrize("degree", [1, 2])
def test_a_ring_between_two_temperatures_is_known(degree):
    """u = 1 - log r/log 2: all of the flux goes around no hole but from it to the outside."""
    angles, radii = np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(1, 2, 9)
    points = np.concatenate([r * np.stack([np.cos(angles), np.sin(angles)], axis=1) for r in radii])
    i, j = (a.ravel() for a in np.meshgrid(np.arange(48), np.arange(8)))
    a, b, c, e = 48 * j + i, 48 * j + (i + 1) % 48, 48 * (j + 1) + (i + 1) % 48, 48 * (j + 1) + i
    mesh = fem.from_simplices(points, np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, e], axis=1)]))
    found = fem.certified_solve(mesh, 1.0, 0.0, lambda x: jnp.where(jnp.hypot(x[0], x[1]) < 1.5, 1.0, 0.0), degree=degree)
    size = np.sqrt(2 * np.pi / np.log(2))
    assert found.proof.bound < {1: 0.09, 2: 0.06}[degree] * size
    through = found.proof.flux.mean @ np.array([1.0, 0.0])
    right = mesh.points[mesh.cells].mean(axis=1)[:, 0]
    assert np.corrcoef(through, -right / np.sum(mesh.points[mesh.cells].mean(axis=1) ** 2, axis=1))[0, 1] > 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, np.zeros(9)), "K in cell 0: expected a finite positive definite value"),
        ((lambda x: x[0] - 0.5, 1.0, np.zeros(9)), "K in cell 0"),
        ((1.0, [1.0, 2.0], np.zeros(9)), "f: expected shape"),
        ((1.0, 1.0, np.zeros(8)), "nodal"),
        ((1.0, 1.0, np.zeros(9), [1.0]), r"direction: expected a vector of shape \(2,\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        fem.energy_bound(fem.unit_square(2), *arguments)
