"""Certificates of fields: the error is between the two sides, for networks, elements and formulas."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import experiments, fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import certify, nodal, own_problem
from hybrid_lib.experiments.certificate import sampled
from hybrid_lib.experiments.galerkin import SAFETY
from hybrid_lib.experiments.solve import solve_on
from hybrid_lib.fem import bounds, quadratic
from hybrid_lib.pinn import domains
from hybrid_lib.sides import Dirichlet, Neumann, Robin


@pytest.fixture(scope="module", autouse=True)
def few_points():
    """Fields of these tests are smooth: few points see them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "PROBES", {1: 1 << 10, 2: 1 << 13})
        yield


def bubble(x):
    return jnp.prod(x * (1 - x))


class Known:
    """A problem with a smooth conductivity whose solution is known, all of it compiled."""

    def __init__(self, d, e):
        self.e = jnp.asarray(e)
        self.solution = lambda x: bubble(x) * jnp.sin(3 * x[0] + jnp.sum(x))
        flux = lambda x: self.K(x) * (jax.grad(self.solution)(x) + self.e)  # noqa: E731
        source = jax.jit(lambda x: -jnp.trace(jax.jacfwd(flux)(x)))
        self.problem = own_problem(media.from_function(jax.jit(self.K), d), source, e)
        pair = jax.vmap(jax.value_and_grad(lambda x, a, k: self.solution(x) + self.off(x, a, k)), (0, None, None))
        self.field = jax.jit(pair)
        x, w = fem.quadrature_points(self.problem.domain.mesh(24), 6)
        x, self.w = jnp.asarray(x.reshape(-1, d)), w.ravel()
        square = lambda x, a, k: self.K(x) * jnp.sum(jax.grad(self.off)(x, a, k) ** 2)  # noqa: E731
        squares = jax.jit(jax.vmap(square, (0, None, None)))
        self.profile = jax.jit(jax.vmap(lambda x: (self.K(x), jax.grad(self.solution)(x))))
        self.error = lambda a, k: float(np.sqrt(self.w @ np.asarray(squares(x, a, k))))

    @staticmethod
    def K(x):
        return jnp.exp(0.8 * jnp.sin(2 * jnp.pi * jnp.sum(x)) - 0.5 * jnp.cos(2 * jnp.pi * x[0]))

    @staticmethod
    def off(x, a, k):
        return a * bubble(x) * jnp.cos(k * jnp.sum(x))


@pytest.fixture(scope="module")
def known():
    return {1: Known(1, (1.0,)), 2: Known(2, (0.6, -0.8))}


@settings(max_examples=60, deadline=None)
@given(d=st.sampled_from([1, 2]), size=st.floats(-3, 0.5), wave=st.floats(0, 12))
def test_the_error_of_a_smooth_field_lies_between_the_sides(known, d, size, wave):
    case, a = known[d], 10.0**size
    found = certify(case.problem, lambda x: case.field(jnp.asarray(x), a, wave), most_unknowns=1500)
    error = case.error(a, wave)
    slack = 1e-3 if d == 2 else 1e-6  # of rules with few points, which differ by more than that
    assert found.difference < 1e-2
    assert found.lower * (1 - slack) <= error <= found.bound * (1 + slack)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), contrast=st.floats(0, 4), size=st.floats(0, 1), cells=st.sampled_from([4, 8]))
def test_never_below_the_error_of_linear_elements_on_pixels(seed, contrast, size, cells):
    """K constant on cells, so that nothing depends on a rule; a solution on a finer mesh stands for u."""
    rng = np.random.default_rng(seed)
    pixels = np.exp(contrast * rng.uniform(size=(4, 4)))
    problem = own_problem(media.raster(pixels), float(rng.normal()), tuple(rng.normal(size=2)))
    mesh, fine = fem.unit_square(cells), fem.unit_square(24 if cells == 4 else 32)
    nodal = experiments.fine_solution(problem, cells)
    nodal[mesh.interior_nodes] += size * rng.normal(size=len(mesh.interior_nodes)) * np.abs(nodal).max()
    found = certify(problem, nodal, most_unknowns=700)
    K = fem.cell_coefficient(fine, problem.medium.conductivity)
    rhs = fem.load(fine, problem.source) - fem.flux_load(fine, K, problem.direction)
    best = fem.solve_dirichlet(fem.stiffness(fine, K), rhs, fine.boundary_nodes)
    slope = fem.cell_gradients(fine, fem.interpolation_matrix(mesh, fine.points) @ nodal - best)
    error = np.sqrt(np.einsum("m,mi,mij,mj->", fine.volumes, slope, K, slope))  # a little below the true one
    assert error * (1 - 1e-9) <= found.bound
    assert found.lower <= found.bound
    assert found.difference < 1e-9 and found.oscillation < 1e-9


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), cells=st.integers(2, 12), size=st.floats(0, 3))
def test_never_below_the_error_of_any_values_on_any_mesh_of_the_line(known, seed, cells, size):
    case, rng = known[1], np.random.default_rng(seed)
    points = np.concatenate([[0.0], np.sort(rng.uniform(0.02, 0.98, size=cells - 1)), [1.0]])
    mesh = fem.from_simplices(points[:, None], np.stack([np.arange(cells), np.arange(1, cells + 1)], axis=1))
    nodal = np.zeros(cells + 1)
    nodal[mesh.interior_nodes] = size * rng.normal(size=cells - 1)
    found = certify(case.problem, nodal, mesh=mesh, most_unknowns=40)
    x, w = fem.quadrature_points(mesh, 24)
    K, exact = (np.asarray(v).ravel()[: w.size].reshape(w.shape) for v in case.profile(np.resize(x, (12 * 13, 1))))
    error = np.sqrt(np.sum(w * K * (fem.cell_gradients(mesh, nodal) - exact) ** 2))
    assert found.lower * (1 - 1e-6) <= error <= found.bound * (1 + 1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cells=st.sampled_from([4, 8]))
def test_never_below_the_error_with_tensors_on_the_l_shape(seed, cells):
    """Fields of linear elements that vanish on ∂Ω; quadratic elements on a finer mesh stand for u."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, 2))
    A = jnp.asarray(root @ root.T + 0.2 * np.eye(2))
    medium = media.from_function(lambda x: (2 + x[0]) * A, 2, box=(-1.0, 1.0))
    problem = experiments.Problem("l", domains.lshape(), medium, lambda x: 1 + x[1], tuple(rng.normal(size=2)))
    mesh, fine = problem.domain.mesh(cells), problem.domain.mesh(16)
    nodal = np.zeros(len(mesh.points))
    nodal[mesh.interior_nodes] = 0.1 * rng.normal(size=len(mesh.interior_nodes))
    found = certify(problem, nodal, mesh=mesh, most_unknowns=1000)
    V, u = quadratic.solve(fine, medium.conductivity, problem.source, direction=problem.direction)
    off = fem.interpolate(mesh, nodal, V.points) - u  # the fine mesh is nested in the coarse one
    error = np.sqrt(off @ quadratic.stiffness(V, medium.conductivity) @ off)
    assert error * (1 - 1e-6) <= found.bound and found.lower <= error * (1 + 1e-2)  # u is not exact: a corner


def test_a_source_that_few_points_miss_is_balanced_all_the_same():
    """A bump as wide as a hundredth of a cell: its mean is in the flux, by the same rule that integrates it."""
    source = lambda x: jnp.exp(-((x[0] - 0.618) ** 2) / 1e-6) / (1e-3 * jnp.sqrt(jnp.pi))  # noqa: E731
    problem = own_problem(media.constant(1.0, 1), source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "PROBES", {1: 1 << 16, 2: 1 << 19})
        found = certify(problem, lambda x: 0 * x[0], cells=16, most_unknowns=10)
    assert found.lower <= np.sqrt(0.618 * 0.382) * 1.001 and 0.999 * np.sqrt(0.618 * 0.382) <= found.bound


LINE = own_problem(media.paper_1d(0.25), lambda x: 6 * x[0])


def test_a_field_is_the_same_however_it_is_written():
    fields = {
        "one point": (lambda x: jnp.sin(jnp.pi * x[0]),),
        "many points": (lambda x: jnp.sin(jnp.pi * x[:, 0]),),
        "with gradient": (lambda x: (np.sin(np.pi * x[:, 0]), np.pi * np.cos(np.pi * x)),),
        "its gradient beside it": (lambda x: np.sin(np.pi * x[:, 0]), lambda x: np.pi * np.cos(np.pi * x)),
        "one point, and gradient": (lambda x: jnp.sin(jnp.pi * x[0]), lambda x: jnp.pi * jnp.cos(jnp.pi * x)),
        "a run": (SimpleNamespace(solution=lambda x: (np.sin(np.pi * x[:, 0]), np.pi * np.cos(np.pi * x))),),
    }
    found = [certify(LINE, *field).bound for field in fields.values()]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_references_are_certified():
    """In one dimension to the oscillation of the source, in the plane to what the flux allows."""
    one = experiments.reference(LINE)
    x = np.linspace(0, 1, 7)[:, None]
    back = experiments.reference(LINE, cells=300).solution(x)
    np.testing.assert_allclose(one.solution(x)[0], back[0], atol=1e-12)
    np.testing.assert_allclose(one.solution(one.points)[1], one.gradient, atol=1e-11)
    found = certify(LINE, one)
    assert found.gradient < 1e-6 and found.lower == 0.0
    problem = experiments.heat2d_problem(0.5)
    known = experiments.reference(problem, mesh_cells=32)
    found = certify(problem, known, most_unknowns=20_000)
    assert known.error_h1 < found.gradient < 0.02
    with pytest.raises(InputError, match=r"reference: expected one that experiments\.reference made"):
        experiments.Reference(x, x[:, 0], x[:, 0], x, 0.0, 1.0).solution(x)


def test_elements_need_no_mesh_of_their_own_but_a_known_number_of_nodes():
    nodal = experiments.fine_solution(LINE, 16)
    assert certify(LINE, nodal).bound == certify(LINE, nodal, mesh=fem.interval(16)).bound


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda x: x[0],), r"field: expected zero on the boundary; received 1 at \[1.0\]; pass u = w − e·x"),
        ((np.ones(9),), "field: expected zero on the boundary"),
        ((lambda x: np.sin(np.pi * x[:, 0]),), "gradient: expected a function, or a field that JAX can differentiate"),
        ((lambda x: x * (1 - x),), r"field: expected values \(k,\) and gradients"),
        ((lambda x: jnp.where(x[0] > 0.4, jnp.nan, 0.0),), "finite"),
        (("u",), "field: expected real numbers"),
        ((np.full(9, np.nan),), "field: expected finite values; received nan at node 0"),
        ((np.zeros(9), None, "m"), "mesh: expected a fem.Mesh; received str"),
        ((lambda x, y: x * y,), r"field: expected a function of one point x; received one of \(x, y\)"),
        ((lambda x: 1j * x[0] * (1 - x[0]),), "field: expected real values; received complex ones"),
        ((np.zeros((9, 2)),), r"field: expected values at nodes \(n,\), a function or a run; received shape \(9, 2\)"),
        ((lambda x: float(np.sin(np.pi * x[0])),), "gradient: expected a function, or a field that JAX can differentiate"),
        ((np.zeros(9), None, fem.interval(3)), "nodal: expected 4 values"),
        ((lambda x: 0.0 * x[0], None, None, 0), "cells: expected a whole number >= 1"),
        ((lambda x: x[0] * (1 - x[0]) + (abs(x[0] - 0.4) < 0.1),), r"field: .* from 0.21 to 1.21 at x = \[0.3\]"),
        ((lambda x: x[:, 0] * (1 - x[:, 0]), lambda x: 1 + 2 * x), r"gradient: expected that of the field, \[0.4.*\] at x"),
    ],
)
def test_a_field_that_cannot_be_certified_is_refused_in_one_line(arguments, message):
    names = dict(zip(("field", "gradient", "mesh", "cells"), arguments, strict=False))
    with pytest.raises(InputError, match=message) as found:
        certify(LINE, **names)
    assert "\n" not in str(found.value)


def test_no_error_is_none():
    found = certify(own_problem(media.constant(1e6, 1), 0.0), lambda x: 0 * x[0])
    assert found.bound < 1e-9 and found.relative == found.gradient == found.lower == 0.0
    assert certify(own_problem(media.constant(1.0, 1), 1.0), lambda x: 0 * x[0]).gradient == np.inf


def test_the_number_of_nodes_of_no_uniform_mesh_is_refused():
    with pytest.raises(InputError, match="mesh: expected the mesh of the values at nodes"):
        certify(own_problem(media.constant(1.0, 2)), np.zeros(10))
    with pytest.raises(InputError, match="problem: expected a Problem"):
        certify(np.zeros(10), np.zeros(10))


L = domains.polygon([(-1, -1), (0, -1), (0, 0), (1, 0), (1, 1), (-1, 1)])
TRIANGLE = domains.polygon([(0, 0), (2, 0), (0, 1)], sides={"warm": [0]}, holes=[[(0.3, 0.2), (0.6, 0.2), (0.3, 0.4)]])
SIDES = {"warm": Dirichlet(lambda x: jnp.sin(2 * x[0])), "outer": Neumann(1.0), "hole_0": Robin(2.0, 1.0)}
PLACES = {
    "box": (domains.box((0, 0), (2, 1)), None, None),
    "interval": (domains.interval(-1.0, 2.0), {"left": Dirichlet(1.0), "right": Robin(2.0)}, None),
    "polygon": (L, None, fem.lshape(4)),
    "mesh": (domains.from_mesh(fem.lshape(2)), Dirichlet(lambda x: x[0]), fem.lshape(2)),
    "sides": (TRIANGLE, SIDES, TRIANGLE.mesh(8)),
}


@pytest.mark.parametrize("place", PLACES)
def test_values_at_nodes_of_any_domain_lie_between_the_sides(place):
    """Two levels of linear elements stand for u; on the boundary the values between nodes are those of the elements."""
    domain, boundary, mesh = PLACES[place]
    e = (0.5, -1.0)[: domain.dimension] if boundary is None else None
    medium = media.constant(2.0, domain.dimension)
    problem = experiments.Problem(domain=domain, medium=medium, source=3.0, direction=e, boundary=boundary)
    on = domain.labelled(domain.mesh(6)) if mesh is None else nodal.covering(domain, mesh)
    best = solve_on(problem, on)
    w = best.w + 0.2 * np.random.default_rng(0).normal(size=len(best.w))
    w[best.data.held] = best.data.values
    given = w if boundary is not None else w - on.points @ np.array(e)
    mesh = None if place == "interval" else fem.from_simplices(on.points, on.cells)  # without the names of sides
    found = certify(problem, given, mesh=mesh, most_unknowns=1500)
    fine = on
    for _ in range(3):
        w, fine = nodal.prolonged(fine, w), fem.refine(fine)
    slope = fem.cell_gradients(fine, w - solve_on(problem, fine).w)
    error = np.sqrt(2 * fine.volumes @ (slope**2).sum(axis=1))
    assert found.lower * (1 - 0.01) <= error <= found.bound < 1.3 * error


def test_a_grid_of_values_is_along_x_and_then_y():
    domain = domains.box((0.0, 0.0), (2.0, 1.0))
    problem = experiments.Problem(domain=domain, medium=media.constant(1.0, 2), direction=(0.0, 0.0), source=1.0)
    x, y = np.meshgrid(np.linspace(0, 2, 7), np.linspace(0, 1, 5), indexing="ij")
    given, on = x * (2 - x) ** 2 * y * (1 - y), fem.box(*domain.box, (6, 4))
    ways = (given, None), (given.T.ravel(), on), (given, on)
    found = [certify(problem, values, mesh=mesh, most_unknowns=10).bound for values, mesh in ways]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)
    square = own_problem(media.constant(1.0, 2), 1.0)
    given = nodal.nodal(square.domain, np.arange(9.0).reshape(3, 3))
    assert given.values.tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8] and np.array_equal(given.mesh.points, fem.unit_square(2).points)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (fem.unit_square(2), r"mesh: expected one of the domain, within \(0, 2\) × \(0, 1\); received \(0, 1\) × \(0, 1\)"),
        (fem.interval(2), "mesh: expected one of the domain, of dimension 2"),
        (fem.polygon([(0, 0), (2, 0), (2, 0.5), (1, 1), (0, 1)]), "of area 2; received area 1.75"),
        (fem.polygon([(0, 0), (2, 0), (2, 1), (0, 1)], [[(0.5, 0.5), (0.6, 0.5), (0.5, 0.6)]]), "of area 2; received area 1.995"),
        (8, "mesh: expected a fem.Mesh; received int"),
    ],
)
def test_a_mesh_that_does_not_cover_the_domain_is_refused(mesh, message):
    problem = experiments.Problem(domain=domains.box((0, 0), (2, 1)), medium=media.constant(1.0, 2), boundary=Dirichlet(0.0))
    with pytest.raises(InputError, match=message):
        certify(problem, np.zeros(len(getattr(mesh, "points", [0]))), mesh=mesh)


def test_values_at_nodes_have_the_given_temperatures():
    domain = domains.box((0, 0), (2, 1))
    problem = experiments.Problem(domain=domain, medium=media.constant(1.0, 2), boundary=Dirichlet(lambda x: x[0]))
    on = fem.box(*domain.box, (4, 2))
    assert certify(problem, on.points[:, 0].astype(np.float32), mesh=on).bound < 1e-5
    with pytest.raises(InputError, match=r"field: expected the temperature 0.5 at \[0.5, 0.0\]; received 0 at node 1"):
        certify(problem, np.where(np.arange(15) == 1, 0, on.points[:, 0]), mesh=on)
    plain = experiments.Problem(domain=domain, medium=media.constant(1.0, 2))
    with pytest.raises(InputError, match="field: expected zero on the boundary; received 1 at node 0"):
        certify(plain, np.ones(15), mesh=on)


def test_the_second_rule_has_its_own_means():
    """A source of which the first rule sees nothing, and all is seen by the second one: the bound is that of what it weighs."""
    problem = own_problem(media.constant(1.0, 1), lambda x: jnp.cos(2 * jnp.pi * 16 * x[0]), (1.0,))
    mesh, nothing = fem.interval(4), np.zeros((4, 1))
    one, two = (bounds.sampled(mesh, 1.0, problem.source, 1, order) for order in (1, 12))
    flux = bounds.flux_for(mesh, one, nothing)
    drift = np.sqrt(mesh.volumes @ (two.f @ two.weights - flux.source) ** 2)
    plain, found = (bounds.bound_by(mesh, two, flux, nothing[:, None], constant=c) for c in (0.0, 1 / np.pi))
    assert drift > 0.5 and abs(found.bound - plain.bound - drift / np.pi) < 1e-12 * drift
    assert abs(found.oscillation - plain.oscillation - drift / np.pi) < 1e-12 * drift
    exact = 1 / (32 * np.pi) / np.sqrt(2)  # ‖u'‖ with u' = −sin(32πx)/(32π)
    assert found.bound >= exact


def test_a_field_off_at_one_point_of_the_boundary_is_refused():
    spike = lambda x: bubble(x) + jnp.exp(-1e8 * (x[0] ** 2 + (x[1] - 0.4142) ** 2))  # noqa: E731
    for boundary in (None, Dirichlet(0.0)):
        with pytest.raises(InputError, match=r"field: .* at \[0.0, 0.414"):
            certify(experiments.Problem(medium=media.constant(1.0, 2), source=1.0, boundary=boundary), spike)


def test_an_exact_field_ends_at_the_tolerance(known):
    case = known[2]
    loose, fine = (certify(case.problem, lambda x: case.field(jnp.asarray(x), 0.0, 0.0), tolerance=t) for t in (0.1, 0.01))
    assert loose.lower == 0 and len(loose.mesh.points) < len(fine.mesh.points) < 5000
    assert 0.01 < loose.relative <= 0.1 and fine.relative <= 0.01
    with pytest.raises(InputError, match="tolerance: expected a number > 0"):
        certify(case.problem, bubble, tolerance=0)


@pytest.mark.parametrize("boundary", [None, Dirichlet(0.0)], ids=["drop", "sides"])
def test_a_narrow_valley_of_the_conductivity_is_in_the_bound_of_the_gradient(boundary):
    """The medium's own lower bound is of 4,096 points, and misses it."""
    place = jnp.array([0.327, 0.861])
    medium = media.from_function(lambda x: 1 - 0.99 * jnp.exp(-jnp.sum((x - place) ** 2) / 0.007**2), 2)
    problem = experiments.Problem(medium=medium, source=1.0, boundary=boundary)
    field = lambda x: jnp.prod(x * (1 - x))  # noqa: E731
    found = certify(problem, field, cells=16, most_unknowns=2000)
    assert medium.alpha > 0.5
    assert found.gradient > 0.4 * found.bound / np.sqrt(0.01 / 45), "least K 0.01, up to the points; ‖∇v‖² = 1/45"


@pytest.mark.parametrize("d", [1, 2])
def test_the_lower_bound_has_the_exchange(d):
    """w + 0.1 has no gradient of its own, but loses 0.1 c more along the sides: the error is 0.1 (2 + 3)^{1/2}."""
    sides = {"left": Robin(2.0, 0.0), "right": Robin(3.0, 1.0)}
    sides |= {} if d == 1 else dict.fromkeys(("bottom", "top"), Neumann())
    problem = experiments.Problem(medium=media.constant(1.0, d), boundary=sides)
    flux = 1 / (1 / 2 + 1 + 1 / 3)
    found = certify(problem, lambda x: flux * (x[0] + 1 / 2) + 0.1)
    error = 0.1 * np.sqrt(5)
    assert 0.999 * error < found.lower <= error * (1 + 1e-9) and error <= found.bound * (1 + 1e-9) < 1.001 * error


@pytest.mark.parametrize("medium", [media.table([np.linspace(0, 1, 101)] * 2, np.ones((101, 101))), media.raster(np.eye(3) + 1)])
def test_values_on_a_grid_need_no_mesh_for_tables_and_pixels(medium):
    assert certify(own_problem(medium, 1.0), np.zeros((9, 9))).bound > 0


def test_the_two_rules_of_a_certificate_are_two(monkeypatch):
    """On fine meshes, too, where each has a piece a cell; and what the second has for the means of the source is in the bound."""
    for mesh in (fem.interval(65_536), fem.interval(300), fem.unit_square(300)):
        one, two = (sampled(mesh, lambda x: 1.0, lambda x: 0.0, number).weights for number in (0, 1))
        assert len(one) != len(two)
    monkeypatch.setattr(bounds, "PROBES", {1: 1, 2: 1})
    problem = own_problem(media.constant(1.0, 1), lambda x: jnp.cos(2 * jnp.pi * 16 * x[0]))
    found = certify(problem, lambda x: 0.0 * x[0], mesh=fem.interval(16), most_unknowns=1)
    data, nothing = sampled(found.mesh, problem.medium.conductivity, problem.source, 1), np.zeros((16, 1, 1))
    drift = np.sqrt(found.mesh.volumes @ (data.f @ data.weights - found.flux.source) ** 2)
    plain = bounds.bound_by(found.mesh, data, found.flux, nothing, np.asarray(problem.direction), constant=0.0)
    assert drift > 0.01 and found.bound == pytest.approx(plain.bound + SAFETY * drift / np.pi, rel=1e-9)


def test_values_in_single_precision_are_off_on_the_boundary_too():
    """A slope of 0.997 for 1 at 300 K: what the nodes of the sides are off by is within the rounding that is accepted."""
    ends = {"left": Dirichlet(300.0), "right": Dirichlet(301.0), "bottom": Neumann(0.0), "top": Neumann(0.0)}
    problem, mesh = experiments.Problem(medium=media.constant(1.0, 2), boundary=ends), fem.unit_square(8)
    found = certify(problem, (300.003 + 0.997 * mesh.points[:, 0]).astype(np.float32), mesh=mesh)
    assert found.lower <= 0.003 <= found.bound < 0.1


def test_a_gradient_that_is_wrong_on_a_part_is_refused():
    ends = {"left": Dirichlet(300.0), "right": Dirichlet(301.0), "bottom": Neumann(0.0), "top": Neumann(0.0)}
    problem = experiments.Problem(medium=media.constant(1.0, 2), boundary=ends)
    wave = lambda x: 300 + x[:, 0] + np.where(x[:, 0] < 0.4, 50 * np.sin(np.pi * x[:, 0] / 0.4) ** 2, 0.0)  # noqa: E731
    with pytest.raises(InputError, match="gradient: expected that of the field"):
        certify(problem, wave, lambda x: np.tile([1.0, 0.0], (len(x), 1)))


def test_the_exchange_is_in_what_single_precision_is_off_by():
    ends = {"left": Dirichlet(0.0), "right": Dirichlet(1.0), "bottom": Neumann(0.0), "top": Robin(1e6, lambda x: x[0])}
    problem, mesh = experiments.Problem(medium=media.constant(1.0, 2), boundary=ends), fem.unit_square(4)
    w = mesh.points[:, 0].copy()
    w[np.argmin(np.abs(mesh.points - [0.0, 1.0]).sum(axis=1))] += 1e-5
    assert certify(problem, w.astype(np.float32), mesh=mesh).bound >= 2.88e-3
    layered = own_problem(media.layered([1.0, 4.0], direction=0, period=0.25, dimension=1), 0.0, (1.0,))
    line = fem.interval(8)
    u = experiments.fine_solution(layered, 8)
    off = 8e-6 * np.abs(u).max() * np.array([-1.0, *np.zeros(7), 1.0])
    K = np.array([1.0, 4.0] * 4)
    error = np.sqrt(line.volumes @ (K * fem.cell_gradients(line, off)[:, 0] ** 2))
    assert certify(layered, (u + off).astype(np.float32), mesh=line).bound >= error


@pytest.mark.parametrize("n", [32, 48, 64])
def test_a_piecewise_linear_field_with_its_own_gradient_is_taken(n):
    X = np.linspace(0, 1, n + 1)
    U = np.sin(np.pi * X) / np.pi**2
    slope = np.diff(U) * n
    field = lambda x: np.interp(x[:, 0], X, U)  # noqa: E731
    gradient = lambda x: slope[np.clip((x[:, 0] * n).astype(int), 0, n - 1)][:, None]  # noqa: E731
    problem = own_problem(media.constant(1.0, 1), lambda x: jnp.sin(jnp.pi * x[0]))
    found = certify(problem, field, gradient, tolerance=0.1)
    assert found.lower <= found.bound < 0.1
