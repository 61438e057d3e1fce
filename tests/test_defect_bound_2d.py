"""The bound of the error by residual and defect in the plane: constants, splitting, inequality, where it is sharp or fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.optimize import brentq
from scipy.sparse.linalg import splu

from hybrid_lib import fem
from hybrid_lib.multiscale import coarse, dual_norm
from hybrid_lib.multiscale.defect import cell_flux, coarse_residual, defect, projection_constant
from hybrid_lib.multiscale.upscaling import parts_of

MU = brentq(lambda t: np.sin(t) + t * np.cos(t), np.pi / 2, np.pi)  # tan μ = −μ


def shape_constant(mesh):
    """max over the triangles of σ₁²/(μσ₂), edges from the best corner of each."""
    corners = mesh.points[mesh.cells]
    turned = [np.roll(corners, k, axis=1) for k in range(3)]
    sizes = [np.linalg.svd(c[:, 1:] - c[:, :1], compute_uv=False) for c in turned]
    return np.min([s[:, 0] ** 2 / s[:, 1] for s in sizes], axis=0).max() / MU


def refined(mesh, levels):
    for _ in range(levels):
        mesh = fem.refine(mesh)
    return mesh


class Spaces:
    """Dense matrices of a coarse space in a fine one: prolongation E, stiffness A for K = 1, mass M, coarse matrix B."""

    def __init__(self, mesh, levels):
        self.mesh, self.fine = mesh, refined(mesh, levels)
        i, j = self.inner, kept = self.fine.interior_nodes, mesh.interior_nodes
        self.E = fem.interpolation_matrix(mesh, self.fine.points).toarray()[np.ix_(i, j)]
        self.A = self.restricted(fem.stiffness(self.fine, 1.0))
        self.M = self.restricted(fem.mass(self.fine))
        self.B = self.E.T @ self.A @ self.E
        assert self.B.shape == (len(kept),) * 2

    def restricted(self, matrix):
        return matrix.toarray()[np.ix_(self.inner, self.inner)]

    def projected(self, v):
        return self.E @ np.linalg.solve(self.B, self.E.T @ self.A @ v)

    def unseen(self):
        """C_h among the fine functions, and the one that attains it."""
        inverse = cho_solve(cho_factor(self.A), np.eye(len(self.A)))
        form = self.M @ (inverse - self.E @ np.linalg.solve(self.B, self.E.T)) @ self.M
        values, vectors = eigh(form, self.M, subset_by_index=[len(form) - 1] * 2)
        return np.sqrt(values[0]), vectors[:, 0]


def skewed_square(n):
    """The square's mesh with its inner nodes moved: convex, triangles of many shapes."""
    mesh = fem.unit_square(n)
    points = mesh.points.copy()
    moves = np.random.default_rng(0).uniform(-0.3, 0.3, points.shape) / n
    points[mesh.interior_nodes] += moves[mesh.interior_nodes]
    return fem.from_simplices(points, mesh.cells)


def parallelogram(n):
    mesh = fem.unit_square(n)
    return fem.from_simplices(mesh.points @ np.array([[1.0, 0.0], [0.5, 0.8]]), mesh.cells)


MESHES = {"square": fem.unit_square(4), "skewed": skewed_square(4), "parallelogram": parallelogram(3)}
each_mesh = pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)


def test_shape_constant_of_right_angled_triangles_is_the_leg_over_mu():
    assert pytest.approx(2.028757838110434, abs=1e-12) == MU
    for n in (1, 5):
        assert n * shape_constant(fem.unit_square(n)) == pytest.approx(1 / MU, rel=1e-12)
    assert 1 / MU < 0.493


@pytest.mark.parametrize("mesh", [fem.unit_square(5), skewed_square(4)])
def test_the_library_s_constant_is_that_of_the_shape(mesh):
    assert projection_constant(mesh) == pytest.approx(shape_constant(mesh), rel=1e-13)


def test_mu_squared_is_the_smallest_eigenvalue_of_the_triangle_with_mean_zero_on_a_leg():
    """P1 values are above it and tend to it with the square of the width."""
    off = []
    for levels in (3, 4):
        mesh = refined(fem.from_simplices([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 2]]), levels)
        A, M = fem.stiffness(mesh, 1.0).toarray(), fem.mass(mesh).toarray()
        leg = np.flatnonzero(mesh.points[:, 1] == 0)
        weights = np.zeros(len(mesh.points))
        weights[leg] = np.where(np.isin(mesh.points[leg, 0], (0, 1)), 0.5, 1.0)
        free = np.linalg.svd(weights[None])[2][1:].T  # the functions with mean zero on the leg
        off.append(eigh(free.T @ A @ free, free.T @ M @ free, eigvals_only=True)[0] / MU**2 - 1)
    assert 0 < off[1] < 0.002
    assert off[0] / off[1] == pytest.approx(4, abs=0.2)


def interpolation_quotient(corners, H):
    """|q - Iq|_{H1} / |q|_{H2} of q = x.Hx/2 on one triangle, by a rule that is exact for it; and the mesh."""
    mesh = fem.from_simplices(corners, [[0, 1, 2]])
    barycentric, w = fem.rule(2, 2)
    slope = np.einsum("ia,ab,ib->i", corners, H, corners) / 2 @ mesh.basis_gradients[0]
    rest = (barycentric @ corners) @ H - slope
    return np.sqrt(np.sum(w @ rest**2) / np.sum(w) / np.sum(H**2)), mesh


def test_interpolation_bound_on_triangles():
    right = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    known, _ = interpolation_quotient(right, np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert known == pytest.approx(np.sqrt(5 / 24))  # by hand; 0.456 of at most 0.493
    random = np.random.default_rng(1)
    for _ in range(60):
        corners, H = random.standard_normal((3, 2)), random.standard_normal((2, 2))
        if np.linalg.det(corners[1:] - corners[0]) < 0:
            corners = corners[[0, 2, 1]]
        found, mesh = interpolation_quotient(corners, H + H.T)
        assert found <= shape_constant(mesh)


def test_in_one_dimension_the_constant_is_the_cell_over_pi():
    points = np.array([[0.0], [0.15], [0.4], [0.6], [1.0]])
    mesh = fem.from_simplices(points, [[i, i + 1] for i in range(4)])
    assert Spaces(mesh, 5).unseen()[0] == pytest.approx(0.4 / np.pi, rel=1e-3)


@each_mesh
def test_constant_is_enclosed_and_below_the_bound_by_the_shape(mesh):
    """C_{h,H} grows with the refinement, C_{h,H}² + C_H² falls: between them lies C_h."""
    values = [(Spaces(mesh, k).unseen()[0], shape_constant(refined(mesh, k))) for k in (1, 2)]
    low = [v for v, _ in values]
    high = [np.hypot(*v) for v in values]
    assert low[0] < low[1] < high[1] < high[0]
    assert high[1] < shape_constant(mesh)


@each_mesh
def test_the_splitting_is_orthogonal(mesh):
    spaces = Spaces(mesh, 2)
    constant = spaces.unseen()[0]
    v = np.random.default_rng(2).standard_normal((len(spaces.A), 20))
    seen = spaces.projected(v)
    energy = lambda f: np.sum(f * (spaces.A @ f), axis=0)  # noqa: E731
    np.testing.assert_allclose(energy(v), energy(seen) + energy(v - seen), rtol=1e-12)
    np.testing.assert_allclose(spaces.projected(seen), seen, atol=1e-11)
    assert np.all(np.sum((v - seen) * (spaces.M @ (v - seen)), axis=0) <= constant**2 * energy(v - seen))


def norms_of_the_theorem(spaces, K, K_hat, e):
    """|e|², ‖r‖², D and ∫K∇e·∇e for errors e (k, N) in the fine space, where r is the residual's representative in L2."""
    stiff = spaces.restricted(fem.stiffness(spaces.fine, K))
    applied = stiff @ e
    rho = -spaces.E.T @ applied
    kept = spaces.mesh.interior_nodes
    B = fem.stiffness(spaces.mesh, K_hat).toarray()[np.ix_(kept, kept)]
    squared = lambda f, g: np.sum(f * g, axis=0)  # noqa: E731
    return (
        squared(e, spaces.A @ e),
        squared(applied, np.linalg.solve(spaces.M, applied)),
        squared(rho, np.linalg.solve(B, rho)),
        squared(e, applied),
    )


@each_mesh
@pytest.mark.parametrize("is_tensor", [False, True])
def test_the_bound_holds_for_rough_media_and_random_errors(mesh, is_tensor):
    """The theorem in the fine space, where no quadrature is needed and K may jump from cell to cell."""
    spaces, random = Spaces(mesh, 2), np.random.default_rng(3)
    K, K_hat = (10 ** random.uniform(-1, 1, len(m.cells)) for m in (spaces.fine, mesh))
    alpha, largest = K.min(), K_hat.max()
    if is_tensor:
        turned = np.array([[1.5, 0.5], [0.5, 1.5]])  # eigenvalues 1 and 2
        K, K_hat, largest = K[:, None, None] * turned, K_hat[:, None, None] * turned, 2 * largest
    constant, worst = spaces.unseen()
    smooth = np.linalg.solve(spaces.A, spaces.M @ random.standard_normal((len(worst), 100)))
    e = np.column_stack([random.standard_normal((len(worst), 100)), smooth, worst])
    error, strong, seen, energy = norms_of_the_theorem(spaces, K, K_hat, e)
    bracket = constant**2 * strong + largest * seen
    assert np.all(alpha**2 * error <= bracket)
    assert np.all(alpha * energy <= bracket)


@each_mesh
def test_both_sides_are_equal_for_the_error_that_the_worst_residual_causes(mesh):
    spaces = Spaces(mesh, 2)
    constant, worst = spaces.unseen()
    e = np.linalg.solve(spaces.A, spaces.M @ worst)[:, None]
    ones = np.ones(len(spaces.fine.cells)), np.ones(len(mesh.cells))
    error, strong, seen, _ = norms_of_the_theorem(spaces, *ones, e)
    assert float((constant**2 * strong + seen)[0]) == pytest.approx(float(error[0]), rel=1e-10)


def test_without_convexity_the_bound_by_the_shape_is_false():
    """Every Rayleigh quotient is a lower bound of C_h: power iterations on an L-shape, in sparse matrices."""
    mesh, fine = fem.lshape(8), fem.lshape(32)
    i, j = fine.interior_nodes, mesh.interior_nodes
    P = fem.interpolation_matrix(mesh, fine.points).tocsc()[i][:, j]
    A, M = (matrix.tocsc()[i][:, i] for matrix in (fem.stiffness(fine, 1.0), fem.mass(fine)))
    solve, coarse_solve = splu(A).solve, splu((P.T @ A @ P).tocsc()).solve
    f = np.exp(-30 * np.sum(fine.points[i] ** 2, axis=1))
    for _ in range(10):
        g = M @ f
        f = solve(g) - P @ coarse_solve(P.T @ g)
    assert np.abs(P.T @ (A @ f)).max() < 1e-12 * np.abs(A @ f).max()
    assert np.sqrt((f @ (M @ f)) / (f @ (A @ f))) > shape_constant(mesh)


def medium(x):
    """A smooth conductivity of period 1/5, between 1 and 3."""
    return 2 + jnp.sin(10 * jnp.pi * x[0])


def sine_sums(x, coefficients):
    """∇e (m, Q, 2) and Δe (m, Q) of Σ c_jk sin(jπx₁) sin(kπx₂) / √(j² + k²)."""
    j = np.pi * np.arange(1, len(coefficients) + 1)
    c = coefficients / np.hypot(j[:, None], j)
    (s1, s2), (c1, c2) = ([f(x[..., i, None] * j) for i in range(2)] for f in (np.sin, np.cos))
    form = lambda a, b, factor: np.einsum("mqj,jk,mqk->mq", a, c * factor, b, optimize=True)  # noqa: E731
    gradient = np.stack([form(c1, s2, j[:, None]), form(s1, c2, j[None, :])], axis=-1)
    return gradient, -form(s1, s2, j[:, None] ** 2 + j[None, :] ** 2)


@pytest.mark.parametrize("kind", ["scalar", "tensors"])
def test_the_librarys_defect_obeys_the_bound(kind):
    """Sums of waves as errors of the solution u = 0 of q = −∂₁K, by the quadrature and the dual norm of the library."""
    mesh = fem.unit_square(4)
    if kind == "scalar":
        problem, K_hat, largest = coarse.coarse_problem(mesh, isotropic_constant=True), jnp.asarray(1.7), 1.7
    else:
        parts = parts_of(mesh.points[mesh.cells].mean(axis=1), 2)
        problem = coarse.coarse_problem(mesh, parts=parts)
        K_hat = jnp.stack([jnp.asarray([[2.0 + p, 0.5], [0.5, 1.0]]) for p in range(problem.n_parts)])
        largest = float(np.linalg.eigvalsh(K_hat).max())
    rule = defect(problem, mesh, medium, lambda x: -10 * jnp.pi * jnp.cos(10 * jnp.pi * x[0]), pieces=8)
    x, w = np.asarray(rule.points), np.asarray(rule.weights)
    K, slope = 2 + np.sin(10 * np.pi * x[..., 0]), 10 * np.pi * np.cos(10 * np.pi * x[..., 0])

    @jax.jit
    def energy(gradient):
        rho = coarse_residual(problem, rule, jax.vmap(cell_flux)(rule.weighted_conductivity, gradient))
        return dual_norm.norm_squared(problem, K_hat, rho)

    random, ratios = np.random.default_rng(4), []
    for decay in np.linspace(0, 3, 20):
        j = np.arange(1, 9)
        gradient, laplacian = sine_sums(x, random.standard_normal((8, 8)) / np.hypot(j[:, None], j) ** decay)
        strong = np.sum(w * (K * laplacian + slope * gradient[..., 0]) ** 2)
        bracket = strong * shape_constant(mesh) ** 2 + largest * float(energy(jnp.asarray(gradient)))
        ratios.append(np.sqrt(bracket / np.sum(w * np.sum(gradient**2, axis=-1))))  # α = 1
    assert min(ratios) > 1 and max(ratios) < 20
