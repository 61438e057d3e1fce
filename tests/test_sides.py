"""Conditions on the sides of a domain: what is accepted, and linear elements for them."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import solve
from hybrid_lib.experiments.galerkin import sample_of
from hybrid_lib.experiments.solve import first_cells, solve_on
from hybrid_lib.fem import sided, sides
from hybrid_lib.pinn import domains

ONE, TWO = hl.media.constant(1.0, 1), hl.media.constant(1.0, 2)
SQUARE = ("left", "right", "bottom", "top")


def all_around(**given):
    return dict.fromkeys(SQUARE, hl.Neumann()) | given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"boundary": {"left": hl.Dirichlet(1.0)}}, "a condition for each side: left, right; received none for right"),
        ({"boundary": {"left": hl.Dirichlet(1.0), "rihgt": hl.Neumann()}}, "names of sides: left, right; received 'rihgt'"),
        ({"boundary": {"left": 1.0, "right": hl.Neumann()}}, "Dirichlet, Neumann or Robin; received 1.0"),
        ({"boundary": 1.0}, "a condition, or a dict of side names"),
        ({"boundary": hl.Dirichlet(0.0), "direction": (1.0,)}, "direction: expected none beside boundary="),
        ({"boundary": hl.Dirichlet(lambda x: x)}, "boundary 'left', value: expected a number at one point x; received shape"),
        ({"boundary": hl.Dirichlet(lambda x: x[1])}, "expected coordinates of a point with 1: x[0]"),
        ({"boundary": hl.Neumann(1.0)}, "fluxes that balance the source where no side has a temperature"),
        ({"boundary": hl.Neumann(), "source": 1.0}, "∫q + ∫flux = 1"),
        ({"boundary": hl.Robin(0.0, 3.0), "source": 1.0}, "fluxes that balance"),
        ({"boundary": hl.Robin(lambda x: 0 * x[0], 3.0), "source": 1.0}, "fluxes that balance"),
    ],
)
def test_a_bad_condition_is_refused_in_a_line(given, said):
    with pytest.raises(hl.InputError) as caught:
        hl.Problem(medium=ONE, **given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make", [lambda: hl.Robin(-1.0, 0.0), lambda: hl.Dirichlet("1"), lambda: hl.Neumann(np.nan), lambda: hl.Robin([1.0], 0.0)]
)
def test_a_bad_value_is_refused_where_it_is_written(make):
    with pytest.raises(hl.InputError):
        make()


@pytest.mark.parametrize("others", [{}, {"left": hl.Dirichlet(0.0)}], ids=["insulated", "one temperature"])
def test_an_exchange_that_turns_negative_is_refused(others):
    with pytest.raises(hl.InputError, match="boundary 'top', coefficient: expected values >= 0"):
        hl.Problem(medium=TWO, boundary=all_around(top=hl.Robin(lambda x: x[0] - 0.5, 1.0), **others))


@pytest.mark.parametrize("door", ["train", "reference"])
@pytest.mark.parametrize("own", [{"boundary": hl.Dirichlet(0.0)}, {"domain": domains.box((0.0, 0.0), (2.0, 1.0))}])
def test_other_doors_say_which_one_solves_it(door, own):
    problem = hl.Problem(medium=hl.media.paper_2d(0.5), **own)
    arguments = {"train": (hl.configuration("heat2d"),)}
    with pytest.raises(hl.InputError, match="solve it by elements"):
        getattr(hl, door)(problem, *arguments.get(door, ()))
    assert hl.own_configuration(problem).method == "pinn"  # the network alone knows it


def test_a_problem_with_conditions_is_a_value():
    problem = hl.Problem(medium=TWO, boundary=all_around(left=hl.Dirichlet(np.float32(2.0))))
    again = pickle.loads(pickle.dumps(problem))
    assert again.boundary == problem.boundary and again.boundary["left"].value == 2.0
    assert problem.direction == (0.0, 0.0) and [*problem.boundary] == [*problem.domain.sides]
    with pytest.raises(hl.InputError, match="boundary: "):
        pickle.dumps(hl.Problem(medium=TWO, boundary=hl.Dirichlet(lambda x: x[0])))


def test_the_drop_of_the_paper_is_solved_with_means_over_cells():
    problem = hl.Problem(medium=hl.media.paper_2d(0.5), source=1.0, direction=(1.0, -2.0))
    found = solve(problem, n=12)
    sample = sample_of(problem, found.mesh)
    u = fem.solve_diffusion(found.mesh, sample.K @ sample.weights, 1.0, lambda x: x[0] - 2 * x[1])
    assert np.abs(found.w - u).max() < 1e-12


CASES = {
    "temperature": {name: "value" for name in SQUARE},
    "insulated and temperature": {"left": "value", "right": "value", "bottom": "flux", "top": "flux"},
    "flux and temperature": {"left": "flux", "right": "value", "bottom": "value", "top": "flux"},
    "exchange": {name: "exchange" for name in SQUARE},
    "all three": {"left": "value", "right": "exchange", "bottom": "flux", "top": "exchange"},
    "fluxes alone": {name: "flux" for name in SQUARE},
}
BOXES = {"square": domains.unit_square(), "box": domains.box((-1.0, 0.5), (0.5, 1.1))}


def exact(x):
    return jnp.sin(1.3 * x[0] + 0.2) * jnp.exp(0.7 * x[1]) + x[0]


def slope(x):
    s, c, e = jnp.sin(1.3 * x[0] + 0.2), jnp.cos(1.3 * x[0] + 0.2), jnp.exp(0.7 * x[1])
    return 1.3 * c * e + 1.0, 0.7 * s * e


def conductivity(x):
    return 2.0 + jnp.cos(x[0]) * x[1]


def manufactured(kinds, domain):
    """The problem whose solution is `exact`, with K = 2 + cos(x) y."""
    normal = {"left": (-1, 0), "right": (1, 0), "bottom": (0, -1), "top": (0, 1)}

    def source(x):
        s, e = jnp.sin(1.3 * x[0] + 0.2), jnp.exp(0.7 * x[1])
        gx, gy = slope(x)
        laplacian = (-1.69 + 0.49) * s * e
        return -(conductivity(x) * laplacian - jnp.sin(x[0]) * x[1] * gx + jnp.cos(x[0]) * gy)

    def through(name):
        n = normal[name]
        return lambda x: conductivity(x) * (n[0] * slope(x)[0] + n[1] * slope(x)[1])

    def condition(name, kind):
        if kind == "value":
            return hl.Dirichlet(exact)
        if kind == "flux":
            return hl.Neumann(through(name))
        coefficient = lambda x: 1.0 + x[0] ** 2  # noqa: E731
        return hl.Robin(coefficient, lambda x: exact(x) + through(name)(x) / coefficient(x))

    medium = hl.media.from_function(conductivity, 2, alpha=0.5, beta=4.0)
    boundary = {name: condition(name, kind) for name, kind in kinds.items()}
    return hl.Problem(medium=medium, domain=domain, source=source, boundary=boundary)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("case", CASES)
def test_errors_fall_as_they_should(case, box):
    problem = manufactured(CASES[case], BOXES[box])
    errors = []
    for n in (4, 8, 16):
        found = solve(problem, n=n)
        w = found.w
        if case == "fluxes alone":  # up to a constant
            w = w + fem.evaluate(exact, found.mesh.points[:1])[0] - w[0]
            points, weights = fem.quadrature_points(found.mesh, 6)
            w = w - float((weights * (fem.interpolate(found.mesh, w, points.reshape(-1, 2)).reshape(weights.shape)
                                      - fem.evaluate(exact, points))).sum() / weights.sum())  # fmt: skip
        gradient = lambda x: jnp.stack(slope(x))  # noqa: E731
        errors.append([fem.l2_error(found.mesh, w, exact), fem.h1_error(found.mesh, w, gradient)])
        heat = [found.heat_through(name) for name in SQUARE]
        right = fem.load(found.mesh, problem.source, order=12).sum()
        assert abs(sum(heat) + right) < (1e-6 if case == "fluxes alone" else 1e-10)
    orders = np.log2(np.array(errors[1]) / np.array(errors[2]))
    assert orders[0] > 1.9 and orders[1] > 0.95, orders


def energy_error(found, w):
    """‖K^{1/2}∇(w_h − w)‖² + ∫c(w_h − w)², its root."""
    points, weights = fem.quadrature_points(found.mesh, 6)
    gradient = fem.evaluate(lambda x: jnp.stack(slope(x)), points)
    off = fem.cell_gradients(found.mesh, w)[:, None] - gradient
    square = float((weights * fem.evaluate(conductivity, points) * (off**2).sum(axis=-1)).sum())
    for one in found.data.exchanges:
        along = w[one.facets.nodes] @ one.facets.barycentric.T
        gap = one.coefficient * (along - fem.evaluate(exact, one.facets.points)) ** 2
        square += sides.side_integral(one.facets, gap)
    return np.sqrt(square)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("case", CASES)
def test_the_bound_is_one_and_near_the_error(case, box):
    problem = manufactured(CASES[case], BOXES[box])
    for n in (3, 12):
        found = solve(problem, n=n)
        assert 1 <= found.proof.bound / energy_error(found, found.w) < (2 if n > 3 else 3)
        linear = sided.sided_bound(found.mesh, conductivity, problem.source, found.w, found.data)
        assert 1 <= linear.bound / energy_error(found, found.w) < 3
    # and of values that are no solution, with the same ones on the boundary
    w = found.w + 0.03 * np.random.default_rng(0).normal(size=len(found.w))
    w[found.data.held] = found.data.values
    bound = sided.sided_bound(found.mesh, conductivity, problem.source, w, found.data).bound
    assert 1 <= bound / energy_error(found, w) < 2


@pytest.mark.parametrize("case", ["all three"])
def test_any_field_is_certified(case):
    problem = manufactured(CASES[case], BOXES["box"])
    low, high = (jnp.array(corner) for corner in BOXES["box"].box)

    def bump(x):  # zero all around
        return jnp.prod((x - low) * (high - x))

    found = hl.certify(problem, lambda x: exact(x) + 0.8 * bump(x), most_unknowns=6_000)
    points, weights = fem.quadrature_points(BOXES["box"].mesh(8), 8)
    gradient = fem.evaluate(jax.grad(bump), points)
    error = 0.8 * np.sqrt((weights * fem.evaluate(conductivity, points) * (gradient**2).sum(axis=-1)).sum())
    assert found.lower <= error <= found.bound < 1.2 * error and found.difference < 0.01
    with pytest.raises(hl.InputError, match=r"the temperature of (left|bottom); received"):
        hl.certify(problem, lambda x: exact(x) + 0.1)


def test_without_conditions_the_bound_is_the_one_that_was():
    problem = hl.Problem(medium=hl.media.paper_2d(0.5), source=1.0)
    found = solve(problem, n=8)
    old = fem.energy_bound(found.mesh, problem.medium.conductivity, problem.source, found.w, degree=2)
    assert abs(found.proof.bound - old.bound) < 1e-12 * old.bound


def test_an_exchange_that_is_zero_in_places_has_no_bound():
    problem = hl.Problem(medium=TWO, boundary=all_around(top=hl.Robin(lambda x: jnp.maximum(x[0] - 0.5, 0.0), 1.0)))
    found = solve(problem, n=4)
    assert found.bound is None and "zero in places" in found.reason and np.abs(found.w - 1).max() < 1e-12


def test_the_heat_through_a_side_converges_twice_as_fast():
    problem = manufactured(CASES["all three"] | {"top": "value"}, BOXES["box"])
    y = np.polynomial.legendre.leggauss(20)
    (x0, y0), (_, y1) = BOXES["box"].box
    along = y0 + (y1 - y0) * (y[0] + 1) / 2
    points = np.stack([np.full(20, x0), along], axis=1)
    exact_heat = -float((fem.evaluate(lambda x: conductivity(x) * slope(x)[0], points) * y[1]).sum() * (y1 - y0) / 2)
    errors = [abs(solve(problem, n=n).heat_through("left") - exact_heat) for n in (4, 8, 16)]
    assert np.log2(errors[0] / errors[2]) / 2 > 1.6, errors


@pytest.mark.parametrize("kind", [hl.Neumann, lambda value: hl.Robin(2.0, value)], ids=["flux", "exchange"])
def test_data_that_jump_within_a_facet_are_in_the_bound_of_the_heat(kind):
    problem = hl.Problem(medium=TWO, boundary=all_around(left=hl.Dirichlet(0.0), right=kind(lambda x: x[1] > 0.3)))
    exact = 0.7 if kind is hl.Neumann else 1.4 / 3  # the mean across is that of a rod
    found = solve(problem, n=4)
    assert found.heat_through("right") == pytest.approx(exact, abs=1e-4)
    for side, heat in (("left", -exact), ("right", exact)):
        assert abs(found.heat_through(side) - heat) <= found.heat_bound(side) < 1e-4


def test_sides_that_share_a_condition_have_a_bound_of_the_heat_each():
    """Also where none is given: w = e·x on all sides, whose heat has no bound, as the sides touch."""
    air, log = hl.Robin(3.0, 1.0), np.log(2)
    steep = hl.media.from_function(lambda x: 1 + x[0], 1)
    found = solve(hl.Problem(medium=steep, source=1.0, boundary={"left": air, "right": air}), n=2)
    exact = (3 * log - 4) / (2 + 3 * log)
    assert 1e-4 < abs(found.heat_through("left") - exact) <= found.heat_bound("left")
    assert solve(hl.Problem(medium=TWO, source=1.0), n=2).heat_bound("left") is None


def test_the_second_rule_of_a_certificate_looks_along_the_sides_too():
    jump = lambda x: jnp.where(x[1] > 0.50007, 1.0, 0.0)  # noqa: E731
    problem = hl.Problem(medium=TWO, boundary=all_around(left=hl.Dirichlet(0.0), right=hl.Neumann(jump)))
    assert 0 < hl.certify(problem, lambda x: x[0], most_unknowns=2_000).difference < 0.01


def test_a_narrow_flux_between_the_nodes_is_seen():
    width, peak = 1e-3, lambda x: 1 + jnp.exp(-(((x[1] - 0.539) / 1e-3) ** 2)) / 1e-3
    found = solve(hl.Problem(medium=TWO, boundary=all_around(left=hl.Dirichlet(0.0), right=hl.Neumann(peak))), n=4)
    assert found.heat_through("right") == pytest.approx(1 + np.sqrt(np.pi), rel=1e-9) and found.bound > 0.1
    steep = hl.Dirichlet(lambda x: width * peak(x))
    held = solve(hl.Problem(medium=TWO, boundary=all_around(left=hl.Dirichlet(0.0), right=steep)), n=4)
    assert held.bound > 1, "an energy that no field has without the peak"


def test_the_bound_of_the_heat_has_the_rounding_of_large_temperatures():
    sides = {"left": hl.Dirichlet(300.0), "right": hl.Neumann(1e-3)}
    problem = hl.Problem(medium=hl.media.constant(3e-8, 1), domain=domains.interval(0.0, 1e-6), source=2e5, boundary=sides)
    found = solve(problem, n=64)
    assert 0 < abs(found.heat_through("left") + 0.201) <= found.heat_bound("left") < 1e-9


@pytest.mark.parametrize("case", [name for name in CASES if name != "fluxes alone"])
def test_the_same_as_scikit_fem(case):
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import dot, grad

    problem = manufactured(CASES[case], BOXES["box"])
    found = solve(problem, n=5)
    mesh = found.mesh
    other = skfem.MeshTri(mesh.points.T.copy(), mesh.cells.T.astype(np.int64))
    element = skfem.ElementTriP1()
    basis = skfem.Basis(other, element, intorder=12)
    values = lambda f, x: fem.evaluate(f, np.moveaxis(x, 0, -1))  # noqa: E731
    matrix = skfem.BilinearForm(lambda u, v, w: values(conductivity, w.x) * dot(grad(u), grad(v))).assemble(basis)
    right = skfem.LinearForm(lambda v, w: values(problem.source, w.x) * v).assemble(basis)
    held = {}
    for name, (kind, value, *rest) in problem.conditions().items():
        (x0, y0), (x1, y1) = problem.domain.box
        axis, at = {"left": (0, x0), "right": (0, x1), "bottom": (1, y0), "top": (1, y1)}[name]
        ends = other.facets_satisfying(lambda x, axis=axis, at=at: np.abs(x[axis] - at) < 1e-12)
        edge = skfem.FacetBasis(other, element, facets=ends, intorder=12)
        if kind == "value":
            held |= {int(i): True for i in np.unique(other.facets[:, ends])}
            continue
        c = (lambda x, rest=rest: values(rest[0], x)) if rest else (lambda x: 1.0)
        right += skfem.LinearForm(lambda v, w, c=c, value=value: c(w.x) * values(value, w.x) * v).assemble(edge)
        if rest:
            matrix += skfem.BilinearForm(lambda u, v, w, c=c: c(w.x) * u * v).assemble(edge)
    nodes = np.array(sorted(held), dtype=int)
    if nodes.size:
        start = np.zeros(len(mesh.points))
        start[nodes] = fem.evaluate(exact, mesh.points[nodes])
        w = skfem.solve(*skfem.condense(matrix, right, x=start, D=nodes))
    else:
        w = skfem.solve(matrix, right)
    assert np.abs(found.w - w).max() < 1e-10


def test_intervals_of_any_size_are_exact_at_the_nodes():
    domain = domains.interval(-2.0, 3.0)  # K = 2, q = 1: w = a + b x − x²/4
    w = lambda x: 1.0 + 0.5 * x - x**2 / 4  # noqa: E731
    through = 2 * (0.5 - 1.5)
    around = {"left": hl.Dirichlet(w(-2.0)), "right": hl.Robin(3.0, w(3.0) + through / 3)}
    found = solve(hl.Problem(medium=hl.media.constant(2.0, 1), domain=domain, source=1.0, boundary=around), n=3)
    x = found.mesh.points[:, 0]
    assert np.abs(found.w - w(x)).max() < 1e-12
    assert abs(found.heat_through("right") - through) < 1e-12 and abs(found.heat_through("left") + 2 * 1.5) < 1e-12
    assert abs(found.mean("right") - w(3.0)) < 1e-12
    assert abs(found.mean(lambda x: x[0] < 0.5) - found([[0.0]])[0]) < 1.0


def test_fluxes_that_balance_a_source_that_jumps_are_solved():
    """The rule does not see where it jumps, so that what it leaves of the balance is its own."""
    heater = {"medium": ONE, "source": lambda x: jnp.where(x[0] > 0.777, 1.0, 0.0)}
    found = solve(hl.Problem(**heater, boundary={"left": hl.Neumann(-0.223), "right": hl.Neumann()}), n=50)
    x = found.mesh.points[:, 0]
    assert np.ptp(found.w - 0.223 * x + np.maximum(x - 0.777, 0) ** 2 / 2) < 1e-5
    with pytest.raises(hl.InputError, match="fluxes that balance"):
        hl.Problem(**heater, boundary={"left": hl.Neumann(-0.2), "right": hl.Neumann()})


def test_fluxes_alone_have_mean_zero():
    around = {"left": hl.Neumann(-3.0), "right": hl.Neumann(2.0)}
    found = solve(hl.Problem(medium=ONE, source=1.0, boundary=around), n=8)
    assert abs(found.mean()) < 1e-14
    assert [found.heat_through(name) for name in ("left", "right")] == [-3.0, 2.0]


def test_two_temperatures_at_a_corner_have_no_energy():
    found = solve(hl.Problem(medium=TWO, boundary=all_around(left=hl.Dirichlet(0.0), top=hl.Dirichlet(1.0))), n=4)
    assert found.bound is None and "left" in found.reason and "top" in found.reason
    assert found([[0.0, 1.0]])[0] == 0.5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.heat_through("middle"), "side: expected one of left, right; received 'middle'"),
        (lambda s: s.heat_through(["left"]), "side: expected one of left, right"),
        (lambda s: s.mean("middle"), "part: expected one of left, right; received 'middle'"),
        (lambda s: s.mean(side="middle"), "side: expected one of left, right; received 'middle'"),
        (lambda s: s.mean(material="left"), "material: expected one of none; received 'left'"),
        (lambda s: s.mean("left", side="left"), "mean: expected one of part, side and material; received more"),
        (lambda s: s.mean(lambda x: x[0] > 2), "false at all centres"),
        (lambda s: s([[2.0]]), "a point in the mesh"),
    ],
)
def test_a_bad_question_is_refused_in_a_line(call, said):
    found = solve(hl.Problem(medium=ONE, boundary=hl.Dirichlet(0.0)), n=4)
    with pytest.raises(hl.InputError) as caught:
        call(found)
    assert said in str(caught.value)


def test_a_thin_layer_leaves_unknowns_to_refine():
    sides = dict.fromkeys(("bottom", "top"), hl.Neumann()) | {"left": hl.Robin(1e3, 300.0), "right": hl.Dirichlet(280.0)}
    film = hl.Problem(medium=TWO, domain=domains.box((0.0, 0.0), (1.0, 1e-3)), source=1e2, boundary=sides)
    assert first_cells(film) == 7
    found = solve(film, n=1)
    assert len(found.w) == 2002 and found([[1.0, 0.0]])[0] == 280
    assert found.heat_through("left") == pytest.approx(-0.1 / 2 + 0.02, rel=0.01)  # 1/c is 1e-3 of the rest


def test_names_stay_when_a_mesh_is_refined():
    domain = domains.lshape()
    mesh = domain.labelled(domain.mesh(2))
    fine = fem.refine(mesh)
    length = {name: sides.facets(fine, nodes).measure.sum() for name, nodes in fine.sides.items()}
    assert {name: round(float(value), 12) for name, value in length.items()} == {
        "bottom": 1.0, "notch": 2.0, "right": 1.0, "top": 2.0, "left": 2.0
    }  # fmt: skip
    boundary = dict.fromkeys(domain.sides, hl.Neumann()) | {"top": hl.Dirichlet(1.0)}
    problem = hl.Problem(medium=TWO, domain=domain, boundary=boundary)
    assert np.abs(solve_on(problem, fine).w - 1).max() < 1e-12


def test_each_part_of_a_mesh_needs_a_temperature():
    square = fem.unit_square(1)
    cells = np.concatenate([square.cells, 4 + square.cells])
    apart = fem.from_simplices(np.concatenate([square.points, 3 + square.points]), cells)
    edges = {"left": [[0, 2]], "far": [[4, 6]]}
    domain = domains.from_mesh(dataclasses.replace(apart, sides={name: np.array(one) for name, one in edges.items()}))
    rest = dict.fromkeys(set(domain.sides) - {"left", "far"}, hl.Neumann())
    warm = hl.Problem(medium=TWO, domain=domain, boundary=rest | {"left": hl.Dirichlet(1.0), "far": hl.Robin(2.0, 5.0)})
    assert solve(warm, n=1).mean(lambda x: x[0] > 2) == pytest.approx(5.0)
    alone = hl.Problem(medium=TWO, domain=domain, boundary=rest | {"left": hl.Dirichlet(1.0), "far": hl.Neumann()})
    with pytest.raises(hl.InputError, match=r"of each connected part.*around the part at \[3.0, 3.0\]; give one of its"):
        solve(alone, n=1)


@pytest.mark.parametrize("exchange", [1e-7, 1e-8])
def test_a_weak_exchange_keeps_the_best_mesh(exchange):
    """Rounding grows with refinement: the mesh with the least bound is returned, and what is beyond it is not a missing side."""
    ends = {"left": hl.Robin(exchange, 0.0), "right": hl.Robin(exchange, 1.0)}
    found = hl.solve(hl.Problem(medium=media.constant(1.0, 1), source=1.0, boundary=ends))
    assert found.bound < 0.03 and (found.bound <= 0.01) == (not found.reason)
    lost = hl.Problem(medium=media.constant(1.0, 1), source=1.0, boundary={side: hl.Robin(1e-14, 0.0) for side in ends})
    with pytest.raises(InputError, match="boundary: expected a stronger exchange; received one that is lost in the rounding"):
        hl.solve(lost)


def test_a_source_that_the_second_mesh_is_the_first_to_see_is_refined():
    """The bound rises then, and not by rounding."""
    spot = lambda x: 1 + 1e6 * jnp.exp(-jnp.sum((x - jnp.array([0.5317, 0.4713])) ** 2) / 2.4e-4**2)  # noqa: E731
    cold = {side: hl.Dirichlet(0.0) for side in ("left", "right", "bottom", "top")}
    seen: list[float] = []
    problem = hl.Problem(medium=TWO, source=spot, boundary=cold)
    found = hl.solve(problem, 0.1, announce=lambda one: seen.append(one.proof.relative))
    assert max(seen) > 4 * seen[0] and found.bound <= 0.1


def test_a_conductivity_that_reaches_zero_has_no_bound_of_the_heat():
    ends = {"left": hl.Dirichlet(3.0), "right": hl.Dirichlet(2.0)}
    found = hl.solve(hl.Problem(medium=media.from_function(lambda x: jnp.abs(x[0] - 0.503), 1), boundary=ends))
    assert "K falls to zero" in found.reason and found.heat_bound("left") is None
    valley = hl.solve(hl.Problem(medium=media.from_function(lambda x: (x[0] - 0.5) ** 2 + 1e-5, 1), boundary=ends))
    assert not valley.reason and valley.heat_bound("left") < 1e-5


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("boundary 'left', value", lambda bad: hl.Dirichlet(bad)),
        ("boundary 'left', flux", lambda bad: hl.Neumann(bad)),
        ("boundary 'left', coefficient", lambda bad: hl.Robin(bad, 1.0)),
        ("boundary 'left', exchange", lambda bad: hl.Robin(1.0, bad)),
    ],
)
def test_the_function_that_is_not_finite_is_named(name, condition):
    sides = {side: hl.Dirichlet(0.0) for side in ("right", "bottom", "top")} | {"left": condition(lambda x: jnp.log(x[1] - 0.5))}
    with pytest.raises(InputError, match=name + r" at \[0.0, .*expected a finite number"):
        hl.solve(hl.Problem(medium=media.constant(1.0, 2), boundary=sides))
    with pytest.raises(InputError, match=r"source f at .*expected a finite number"):
        hl.solve(hl.Problem(medium=media.constant(1.0, 1), source=lambda x: jnp.log(x[0] - 0.5)))


def test_materials_of_another_mesh_are_seen_within_cells():
    """A column of the mesh of the materials within a column of the solver's, between all corners and middles."""
    tagged = fem.unit_square(128)
    column = np.floor(128 * tagged.points[tagged.cells].mean(axis=1)[:, 0]) == 9
    tagged = dataclasses.replace(tagged, materials={"a": np.flatnonzero(~column), "b": np.flatnonzero(column)})
    ends = {"left": hl.Dirichlet(0.0), "right": hl.Dirichlet(1.0), "bottom": hl.Neumann(0.0), "top": hl.Neumann(0.0)}
    plate = domains.box((0.0, 0.0), (1.0, 1.0))
    medium = hl.media.by_tag(tagged, {"a": 1.0, "b": 0.01})
    found = hl.solve(hl.Problem(medium=medium, domain=plate, boundary=ends), 0.05)
    exact = 1 / (127 / 128 + 100 / 128)
    assert found.bound <= 0.05 and abs(found.heat_through("right") - exact) <= found.heat_bound("right") + 1e-12


def test_a_given_temperature_that_jumps_has_no_bound_and_one_that_rises_steeply_has():
    others = {"left": hl.Neumann(0.0), "right": hl.Neumann(0.0)}

    def solved(g):
        return hl.solve(hl.Problem(medium=TWO, boundary=others | {"bottom": hl.Dirichlet(g), "top": hl.Dirichlet(g)}), n=8)

    assert "the temperature of bottom jumps at [0.5, 0.0]" in solved(lambda x: 300 + x[0] + 5e-4 * (x[0] > 0.5)).reason
    assert solved(lambda x: 300 + jnp.tanh(1e4 * (x[0] - 0.5))).bound > 0
    assert solved(lambda x: jnp.abs(x[0] - 0.3)).bound > 0
    corner = others | {"bottom": hl.Dirichlet(1e6), "left": hl.Dirichlet(1e6), "top": hl.Dirichlet(1e6 + 5e-4)}
    assert "differ where they meet" in hl.solve(hl.Problem(medium=TWO, boundary=corner), n=4).reason


def test_temperatures_that_are_not_linear_between_nodes_have_no_bound_of_the_heat_whatever_their_offset():
    ends = {side: hl.Neumann(0.0) for side in ("left", "right")}
    ends |= {"bottom": hl.Dirichlet(1e6), "top": hl.Dirichlet(lambda x: 1e6 + x[0] ** 2)}
    assert hl.solve(hl.Problem(medium=TWO, boundary=ends), n=8).heat_bound("bottom") is None


def test_the_first_mesh_of_a_constant_medium_does_not_depend_on_the_unit():
    cold = {side: hl.Dirichlet(0.0) for side in ("left", "right", "bottom", "top")}
    counts = [
        len(hl.solve(hl.Problem(medium=TWO, source=1 / L**2, domain=domains.box((0.0, 0.0), (2 * L, L)), boundary=cold), 0.2).w)
        for L in (1.0, 1e-6, 1e6)
    ]
    assert counts[0] == counts[1] == counts[2]


def test_one_formula_on_all_sides_neither_jumps_nor_clashes_by_rounding():
    """Zero up to rounding on some of them: the size is that of the largest temperature of all."""
    plate = domains.box((0.3, 0.0), (1.3, 1.0))
    for g in (lambda x: (x[0] - 1.3) * x[1], lambda x: jnp.sin(jnp.pi * (x[0] - 0.3)) * x[1]):
        assert solve_on(*labelled(hl.Problem(medium=TWO, domain=plate, boundary=hl.Dirichlet(g)), 16)).bound > 0
    for name, g in {"right": lambda x: jnp.sin(jnp.pi * x[1]), "bottom": lambda x: jnp.sin(1000 * jnp.pi * x[0])}.items():
        sides = {side: hl.Dirichlet(0.0) for side in ("left", "right", "bottom", "top")} | {name: hl.Dirichlet(g)}
        for order in (sides, dict(reversed(sides.items()))):
            assert solve_on(*labelled(hl.Problem(medium=TWO, boundary=order), 16)).bound > 0


def labelled(problem, n):
    return problem, problem.domain.labelled(problem.domain.mesh(n))
