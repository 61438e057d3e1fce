"""Jumps of a conductivity: nodes where they are on a line, and bounds that do not miss them."""

import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import experiments, fem, media
from hybrid_lib.experiments.fitted import fitted, jumps_on_lines
from hybrid_lib.experiments.solve import solve_on
from hybrid_lib.fem import bounds
from hybrid_lib.fem.quadrature import composite_rule
from hybrid_lib.fem.slivers import slivers
from hybrid_lib.pinn import domains

ENDS = {"left": hl.Dirichlet(0.0), "right": hl.Dirichlet(1.0)}


def step(s, d=1, high=50.0):
    return media.from_function(lambda x: jnp.where(x[0] < s, 1.0, high), d, alpha=1.0, beta=high)


def energy_error(found, s, high=50.0):
    """Relative energy error where K goes from 1 to `high` at x = s, with w = 0 on the left, 1 on the right, and nothing else."""
    x = np.sort(found.mesh.points[found.mesh.cells, 0], axis=1)
    if found.mesh.dimension == 1:
        low = np.clip((s - x[:, 0]) / (x[:, 1] - x[:, 0]), 0, 1)
    else:  # part of a triangle to the left of a line
        a, b, c = x.T
        with np.errstate(all="ignore"):
            parts = [(s - a) ** 2 / ((b - a) * (c - a)), 1 - (c - s) ** 2 / ((c - a) * (c - b))]
        low = np.select([s <= a, s >= c, s <= b], [0.0, 1.0, parts[0]], parts[1])
    slopes = fem.cell_gradients(found.mesh, found.w)
    flux = np.eye(found.mesh.dimension)[0] / (s + (1 - s) / high)
    shares = [(low, 1.0), (1 - low, high)]
    error = sum(found.mesh.volumes * part * K @ np.sum((slopes - flux / K) ** 2, axis=1) for part, K in shares)
    energy = sum(found.mesh.volumes * part * K @ np.sum(slopes**2, axis=1) for part, K in shares)
    return np.sqrt(error / energy)


def places(K, start=0.0, end=1.0):
    return start + (end - start) * jumps_on_lines(K, np.array([[start]]), np.array([[end]]))[1]


def test_jumps_are_found_to_rounding():
    assert places(lambda x: jnp.where(x[0] < 0.3, 1.0, 4.0)).tolist() == [0.3]
    found = places(lambda x: jnp.where(jnp.mod(x[0], 0.01) < 0.004, 1.0, 2.0 + x[0]), -1.0, 1.0)
    expected = np.sort(np.concatenate([np.arange(-99, 100) * 0.01, 0.004 + np.arange(-100, 100) * 0.01]))
    assert found == pytest.approx(expected, abs=1e-14)
    assert places(lambda x: jnp.where(x[0] < 0.0, 1.0, 2.0), -1.0, 1.0) == pytest.approx([0.0], abs=1e-15)
    assert places(lambda x: jnp.where(x[0] < 0.7, 1.0, 2.0) * jnp.eye(1)).tolist() == [0.7]


@pytest.mark.parametrize("K", [lambda x: 1.0, lambda x: 2 + jnp.sin(3e4 * x[0]), lambda x: 2 + jnp.tanh(1e9 * (x[0] - 0.3))])
def test_what_is_only_steep_has_no_jump(K):
    assert places(K).size == 0


def test_a_mesh_gets_the_jumps_and_keeps_what_it_has():
    mesh = fem.interval(10)
    problem = hl.Problem(medium=step(0.42), boundary=ENDS)
    assert fitted(problem, mesh).points.ravel() == pytest.approx([0, 0.1, 0.2, 0.3, 0.42, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
    assert fitted(hl.Problem(medium=step(0.45), boundary=ENDS), mesh).points.size == 12
    assert fitted(hl.Problem(medium=step(0.5), boundary=ENDS), mesh) is mesh
    assert fitted(hl.Problem(medium=media.paper_1d(0.1)), mesh) is mesh
    near_the_end = fitted(hl.Problem(medium=step(0.999), boundary=ENDS), mesh).points.ravel()
    assert near_the_end[[-3, -2, -1]] == pytest.approx([0.9, 0.999, 1.0])


def test_lines_of_jumps_are_lines_of_the_mesh():
    square = fem.unit_square(10)

    def lines(function, mesh=square, domain=None):
        medium = media.from_function(function, 2)
        given = {} if domain is None else {"domain": domain}
        found = fitted(hl.Problem(medium=medium, **given), mesh)
        return found if found is mesh else [np.unique(along).round(12).tolist() for along in found.points.T]

    tenths = np.arange(11) / 10
    assert lines(lambda x: jnp.where(x[0] < 0.333, 1.0, 9.0)) == [[0, 0.1, 0.2, 0.3, 0.333, *tenths[4:]], tenths.tolist()]
    x, y = lines(lambda x: jnp.where((jnp.abs(x[0] - 0.5) < 0.201) & (jnp.abs(x[1] - 0.4) < 0.15), 1.0, 9.0))
    assert {0.299, 0.701} <= set(x) and 0.3 not in x and {0.25, 0.55} <= set(y)
    assert lines(lambda x: jnp.where((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2 < 0.1, 1.0, 9.0)) is square
    assert lines(lambda x: jnp.where(x[0] + 0.3 * x[1] < 0.6, 1.0, 9.0)) is square
    assert lines(lambda x: jnp.where(jnp.all(jnp.mod(x, 2e-3) < 8e-4), 1.0, 9.0)) is square  # too many lines
    assert lines(lambda x: jnp.where(x[0] < 0.3, 1.0, 9.0)) is square
    for period in (1 / 2, 1 / 3, 1 / 4, 0.2):
        discs = lines(lambda x, p=period: jnp.where(jnp.sum((jnp.mod(x, p) / p - 0.5) ** 2) < 0.1, 1.0, 9.0))
        assert discs is square, "lines at equal distances would meet the discs at the same places"
    plate = domains.box((0.0, 0.0), (2.0, 1.0))
    x, y = lines(lambda x: jnp.where(x[1] < 0.77, 1.0, 9.0), plate.mesh(4), plate)
    assert x == (np.arange(9) / 4).tolist() and y == [0.0, 0.25, 0.5, 0.77, 1.0]
    notched = domains.lshape()
    mesh = notched.mesh(2)
    assert lines(lambda x: jnp.where(x[1] < 0.77, 1.0, 9.0), mesh, notched) is mesh


@pytest.mark.parametrize("s", [0.3017, 0.58218, 0.75018])
def test_elements_on_a_line_are_exact_whatever_the_jump(s):
    found = hl.solve(hl.Problem(medium=step(s), boundary=ENDS), n=64)
    assert energy_error(found, s) < 1e-12 and found.bound < 1e-12
    assert found.heat_through("right") == pytest.approx(1 / (s + (1 - s) / 50), rel=1e-12)
    rod = domains.box((10.0,), (12.0,))
    moved = media.from_function(
        lambda x: jnp.where(x[0] < 10 + 2 * s, 1.0, 50.0), 1, alpha=1.0, beta=50.0, box=(10.0, 12.0)
    )
    other = hl.solve(hl.Problem(medium=moved, domain=rod, boundary=ENDS), n=64)
    assert other.bound < 1e-6 and other.heat_through("right") == pytest.approx(found.heat_through("right") / 2, rel=1e-11)


@pytest.mark.parametrize("s", [0.224, 0.2503, 0.58218, 0.7501, 0.7507])
def test_a_bound_on_a_mesh_that_cuts_a_jump_is_not_below_the_error(s):
    line = solve_on(*_on_a_mesh(s, 1, 64))
    assert line.proof.relative < 1.05 * energy_error(line, s) <= 1.05 * line.bound
    plane = solve_on(*_on_a_mesh(s, 2, 12))
    assert energy_error(plane, s) <= plane.bound < 1.5 * energy_error(plane, s)
    fine = hl.solve(plane.problem, n=12)
    assert fine.bound < 1e-11 and energy_error(fine, s) < 1e-11


def test_fine_meshes_are_fitted_too():
    problem = hl.Problem(medium=step(1 / 3), boundary=ENDS)
    assert len(fitted(problem, fem.interval(65_536)).points) == 65_538
    assert 1 / 3 in fitted(problem, fem.interval(65_536)).points


def test_a_film_at_the_end_is_found():
    film = media.from_function(lambda x: jnp.where(x[0] < 2e-6, 1e-6, 1.0), 1, alpha=1e-6, beta=1.0)
    found = hl.solve(hl.Problem(medium=film, boundary=ENDS), tolerance=0.01)
    assert found.bound < 1e-6 and found.heat_through("right") == pytest.approx(1 / 3, rel=1e-5)
    problem = found.problem
    coarse = solve_on(problem, problem.domain.labelled(problem.domain.mesh(4)))  # a bound of zero, but for the film
    assert coarse.bound > 1.4 and coarse.heat_bound("right") > 2 / 3
    proof = fem.energy_bound(fem.interval(64), film.conductivity, 0.0, np.linspace(0, 1, 65))
    assert proof.relative == pytest.approx(2**0.5, rel=0.01) and proof.gap == proof.bound


@pytest.mark.parametrize("high", [1.2, 2.0, 50.0])
def test_the_heat_is_within_its_bound_beside_a_mesh_line(high):
    s = 0.75 + 2e-6
    problem = hl.Problem(medium=step(s, high=high), boundary=ENDS)
    found = solve_on(problem, problem.domain.labelled(problem.domain.mesh(64)))
    off = abs(found.heat_through("right") - 1 / (s + (1 - s) / high))
    assert 1e-8 < off <= found.heat_bound("right") < 3 * off


def test_far_from_the_origin_no_slivers_appear():
    rod = domains.box((1e6,), (1e6 + 1,))
    medium = media.from_function(lambda x: jnp.where(x[0] < 1e6 + 0.3, 1.0, 50.0), 1, alpha=1.0, beta=50.0, box=rod.box)
    assert hl.solve(hl.Problem(medium=medium, domain=rod, boundary=ENDS), n=64).bound < 1e-7


def test_values_at_nodes_of_a_fitted_mesh_need_it():
    found = hl.solve(hl.Problem(medium=step(0.42), boundary=ENDS), n=10)
    with pytest.raises(hl.InputError, match="mesh: expected the mesh of the values where K jumps between the nodes"):
        hl.certify(found.problem, found.w)
    assert hl.certify(found.problem, found.w, mesh=found.mesh).relative < 1e-12


@pytest.mark.parametrize("share", [0.05, 0.95])
def test_a_lower_bound_is_not_above_the_error_beside_a_jump(share):
    """A rule that takes K for too large in a sliver has too much of the energy of a bump there."""
    n = 20_000
    h, k = 1 / n, 10_000
    s = (k + share) * h
    mesh = fem.interval(n)
    problem = experiments.own_problem(step(s), 0.0)
    c = 1 / (s + (1 - s) / 50)
    x = mesh.points[:, 0]
    u = np.where(x < s, c * x, 1 - c * (1 - x) / 50) - x
    u[k] += 1e-3
    found = experiments.certify(problem, u, mesh=mesh, most_unknowns=1)
    total = np.diff(u) / h + 1
    low = np.clip((s - x[:-1]) / h, 0, 1)
    error = np.sqrt(h * np.sum(low * (total - c) ** 2 + (1 - low) * 50 * (total - c / 50) ** 2))
    assert found.lower <= error * (1 + 1e-6) and error <= found.bound * (1 + 1e-6)


@pytest.mark.parametrize("s", [0.7501, 0.7507])
def test_a_certificate_sees_slivers_too(s):
    given = solve_on(*_on_a_mesh(s, 2, 12))  # mesh lines at 0.75
    truth = energy_error(given, s)
    found = experiments.certify(given.problem, given.w, mesh=given.mesh)
    assert truth <= found.relative < 1.5 * truth and found.lower <= found.bound
    plain = experiments.own_problem(step(s, 2), 0.0)  # w = x on all sides
    u = solve_on(plain, plain.domain.labelled(plain.domain.mesh(12)))
    near = experiments.certify(plain, u.w - u.mesh.points[:, 0], mesh=u.mesh)
    fine = hl.solve(plain, tolerance=0.02)
    points = np.random.default_rng(0).uniform(size=(20_000, 2))
    K = np.where(points[:, 0] < s, 1.0, 50.0)
    off = np.sqrt(np.mean(K * np.sum((u.gradient(points) - fine.gradient(points)) ** 2, axis=1)))
    assert near.lower <= off * 1.1 + fine.energy_bound and off - fine.energy_bound <= 1.1 * near.bound


def _on_a_mesh(s, d, n):
    sides = ENDS | ({} if d == 1 else dict.fromkeys(("bottom", "top"), hl.Neumann()))
    problem = hl.Problem(medium=step(s, d), domain=domains.interval() if d == 1 else domains.unit_square(), boundary=sides)
    return problem, problem.domain.labelled(problem.domain.mesh(n))


def test_a_certificate_of_a_formula_across_a_jump():
    s, high = 0.5821813, 50.0
    c = 1 / (s + (1 - s) / high)

    def exact(x):  # u = w - x
        w = jnp.where(x[0] < s, c * x[0], 1 - c * (1 - x[0]) / high)
        return w - x[0]

    def off(x):
        return exact(x) + 1e-3 * jnp.sin(jnp.pi * x[0])

    problem = experiments.own_problem(step(s), 0.0)
    found = experiments.certify(problem, off)
    x = (np.arange(1 << 20) + 0.5) / (1 << 20)
    truth = np.sqrt(np.mean(np.where(x < s, 1.0, high) * (1e-3 * np.pi * np.cos(np.pi * x)) ** 2))
    assert truth <= found.bound * (1 + 1e-7) and found.bound == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("inside", [1000.0, 0.02])
def test_a_curved_interface_is_in_the_bound(inside):
    """A disc in a uniform field: w = x (1 + b R²/r²) around it, (1 + b) x in it, with b = (1 − K)/(1 + K)."""
    centre, R, b = np.array([0.47, 0.53]), 0.23, (1 - inside) / (1 + inside)

    def w(x):
        y = x - centre
        r2 = jnp.maximum(jnp.sum(y**2), 1e-30)
        return jnp.where(r2 < R**2, (1 + b) * y[0], y[0] * (1 + b * R**2 / r2))

    low, high = min(1.0, inside), max(1.0, inside)
    disc = media.from_function(lambda x: jnp.where(jnp.sum((x - centre) ** 2) < R**2, inside, 1.0), 2, alpha=low, beta=high)
    found = hl.solve(hl.Problem(medium=disc, boundary=hl.Dirichlet(w)), n=40)
    barycentric, weights = fem.composite_rule(2, 24, 5)
    error = energy = 0.0
    slopes = fem.cell_gradients(found.mesh, found.w)
    for cells in np.array_split(np.arange(len(found.mesh.cells)), 8):
        y = barycentric @ found.mesh.points[found.mesh.cells[cells]] - centre
        r2, slope = np.sum(y**2, axis=-1), slopes[cells, None]
        within, p = r2 < R**2, b * R**2 / r2
        along = np.where(within, 1 + b, 1 + p - 2 * p * y[..., 0] ** 2 / r2)
        exact = np.stack([along, np.where(within, 0, -2 * p * y[..., 0] * y[..., 1] / r2)], axis=-1)
        K = np.where(within, inside, 1.0) * weights
        error += found.mesh.volumes[cells] @ np.sum(K * np.sum((slope - exact) ** 2, axis=-1), axis=1)
        energy += found.mesh.volumes[cells] @ np.sum(K * np.sum(slope**2, axis=-1), axis=1)
    true = np.sqrt(error / energy)
    assert true <= found.bound and (inside < 1 or found.bound < 1.1 * true)


def film(t, start=0.5):
    """K = 1 but for a film of thickness t on the right of `start` with a drop of three tenths, and the energy error of u = 0.

    Of −(K(u' + 1))' = 0 with u = 0 at both ends.
    """
    low = t / 0.3
    flux = 1 / (1 - t + 0.3)
    return lambda x: jnp.where((x[0] > start) & (x[0] < start + t), low, 1.0), np.sqrt(1 - t + low * t - flux)


@pytest.mark.parametrize("pieces", [0.1, 0.5, 0.78, 0.79, 1.2, 2.4])
def test_a_film_as_thin_as_the_distance_of_the_points_is_weighed_rightly(pieces):
    """On a mesh line; the rule alone was off by a third of it."""
    line = fem.interval(4)
    points = len(bounds.sampled(line, lambda x: 1.0, 0.0).weights)
    K, error = film(pieces / (2 * points))  # two points on each piece of a cell of a quarter
    assert error < fem.energy_bound(line, K, 0.0, np.zeros(5), [1.0]).bound * (1 + 1e-9) < 1.25 * error
    plane = fem.unit_square(16)
    points = len(bounds.sampled(plane, lambda x: 1.0, 0.0).weights)
    K, error = film(pieces / 16 / np.sqrt(points / 3))
    shut = lambda x: (x[1] < 1e-9) | (x[1] > 1 - 1e-9)  # noqa: E731
    found = fem.energy_bound(plane, K, 0.0, np.zeros(289), [1.0, 0.0], shut).bound
    least = 0.97 if pieces > 2 else 1 - 1e-9  # so deep the rule is off by a twentieth of the square
    assert least * error < found < 1.25 * error


@pytest.mark.parametrize("part", [0.03, 0.066, 0.15])
def test_a_film_of_a_part_of_a_cell_is_in_the_bound_where_a_cell_has_few_points(part):
    """Lines that start near the ends of a neighbouring facet must not count it back."""
    n = 120
    mesh = fem.unit_square(n)
    assert len(bounds.sampled(mesh, lambda x: 1.0, 0.0).weights) < 30
    K, error = film(part / n)
    shut = lambda x: (x[1] < 1e-9) | (x[1] > 1 - 1e-9)  # noqa: E731
    found = fem.energy_bound(mesh, K, 0.0, np.zeros(len(mesh.points)), [1.0, 0.0], shut).bound
    assert error < found < 1.25 * error


def test_an_oblique_interface_adds_little():
    """What the outermost points miss there is a small part of the error; a rule of eight times the points is the oracle."""
    K = lambda x: jnp.where(jnp.sum((x - jnp.array([0.5123, 0.4891])) ** 2) < 0.09, 0.01, 1.0)  # noqa: E731
    mesh = fem.unit_square(120)
    found = fem.certified_solve(mesh, K, 1.0)
    data, slope = bounds.sampled(mesh, K, 1.0, 1 << 22), fem.cell_gradients(mesh, found.nodal)[:, None]
    better = bounds.bound_by(mesh, data, found.proof.flux, slope).relative
    assert 0.98 * better < found.proof.relative < 1.1 * better


@pytest.mark.parametrize(("shape", "area"), [("y", 0.5), ("1 - y", 0.5), ("max(y - 0.25, 0)/0.75", 0.375)])
@pytest.mark.parametrize("n", [2, 3])
def test_a_wedge_is_measured(shape, area, n):
    thickness = media.from_formula(f"1e-4*({shape}) + 1", 2).conductivity
    mesh, rule = fem.unit_square(n), composite_rule(2, 5, 2)
    K = lambda x: jnp.where((x[0] > 1 / n) & (x[0] - 1 / n < thickness(x) - 1), 5.0, 1.0)  # noqa: E731
    assert slivers(mesh, K, *rule).volume.sum() == pytest.approx(1e-4 * area, rel=0.02)


def test_a_film_in_a_table_and_pixels_off_the_mesh_are_on_lines():
    x = [0.0, 0.3, 0.3000001, 0.300005, 0.3000051, 1.0]
    K = np.array([1, 1, 1e-4, 1e-4, 1, 1.0])
    steps = zip(np.diff(x), K[:-1], K[1:], strict=True)
    resistance = sum(h / a if a == b else h * np.log(b / a) / (b - a) for h, a, b in steps)
    thin = hl.Problem(medium=media.table([x], K), boundary={"left": hl.Dirichlet(3.0), "right": hl.Robin(2.0, 1.0)})
    found = hl.solve(thin)
    exact = 2 / (resistance + 0.5)
    off = abs(found.heat_through("left") - exact)  # up to the quadrature of 1/K, which falls by 10⁴ in one cell
    assert found.bound < 0.01 and off <= 1.02 * found.heat_bound("left") < 1e-4
    plane = media.table([x, [0.0, 1.0]], np.tile(K[:, None], 2))
    assert set(x) <= set(np.unique(fitted(hl.Problem(medium=plane), fem.unit_square(8)).points[:, 0]))
    smooth = media.table([np.linspace(0, 1, 9)] * 2, np.ones((9, 9)))
    mesh = fem.unit_square(16)
    assert fitted(hl.Problem(medium=smooth), mesh) is mesh
    columns = media.raster(np.array([1.0, 1e4, 1.0, 1e-2])[:, None].repeat(2, 1))
    start = 1 / (10 * np.pi)
    plate = domains.box((start, 0.0), (1.0, 0.7))
    sides = ENDS | {"bottom": hl.Neumann(0.0), "top": hl.Neumann(0.0)}
    found = hl.solve(hl.Problem(medium=columns, domain=plate, boundary=sides), n=8)
    assert found.bound < 1e-10
    assert found.heat_through("right") == pytest.approx(0.7 / (0.25 - start + 0.25e-4 + 0.25 + 25), rel=1e-10)
