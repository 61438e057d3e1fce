"""Networks on polygons with holes, the L-shape and meshes: factors, blends, fluxes, the identity, runs."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import experiments, fem
from hybrid_lib.methods import interfaces, lifting
from hybrid_lib.methods.hypercircle import (
    Hypercircle,
    _exchange,
    _exchange_residual,
    coefficients,
    sampled_bound,
)
from hybrid_lib.pinn import domains, outlines, sampling

TWO = hl.media.constant(2.0, 2)
TENSOR = hl.media.tensor([3.0, 0.5], 0.4)
HOLE = [(1.0, 0.7), (1.6, 0.7), (1.6, 1.3), (1.0, 1.3)]


def ring():
    return domains.polygon([(0, 0), (3, 0), (3, 2), (0, 2)], [HOLE], sides={"left": [3], "right": [1]})


def exact(x):
    return jnp.sin(x[0]) * jnp.exp(0.5 * x[1])


def full(medium):
    """The matrix of a constant medium."""
    K = np.asarray(medium.conductivity(jnp.zeros(2)))
    return K if K.ndim else K * np.eye(2)


def manufactured(case):
    """A problem with the solution `exact` where K = 2 or a turned tensor, with all kinds of sides."""
    medium = TWO if case == "polygon" else TENSOR
    K = full(medium)
    source = lambda x: -jnp.sum(jnp.asarray(K, x.dtype) * jax.hessian(exact)(x))  # noqa: E731
    through = lambda *normal: lambda x: jnp.asarray(normal, x.dtype) @ jnp.asarray(K, x.dtype) @ jax.grad(exact)(x)  # noqa: E731
    if case == "polygon":
        domain = domains.polygon([(0, 0), (2, 0), (2, 1), (1, 1.5)], sides={"low": [0], "right": [1], "hot": [2, 3]})
        boundary = {"low": hl.Neumann(through(0.0, -1.0)), "right": hl.Robin(3.0, lambda x: exact(x) + through(1.0, 0.0)(x) / 3)}
        return hl.Problem(medium=medium, domain=domain, source=source, boundary=boundary | {"hot": hl.Dirichlet(exact)})
    domain = domains.from_mesh(ring().mesh(2))
    boundary = {name: hl.Dirichlet(exact) for name in domain.sides}
    boundary |= {"outer": hl.Neumann(lambda x: through(0.0, 1.0)(x) * jnp.sign(x[1] - 1.0))}
    boundary |= {"left": hl.Robin(1.0, lambda x: exact(x) + through(-1.0, 0.0)(x))}
    return hl.Problem(medium=medium, domain=domain, source=source, boundary=boundary)


def test_the_function_of_a_circle_is_the_parabola_and_its_slope_on_edges_is_one():
    t = 2 * np.pi * np.arange(48) / 48
    loops = outlines.loops_of(domains.polygon(np.stack([np.cos(t), np.sin(t)], axis=1)))
    (factor,) = outlines.vanishing(loops, loops)
    x = jnp.array([[0.3, 0.2], [0.0, 0.0], [-0.6, 0.5]])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(factor)))(x)
    assert np.abs(values - (1 - jnp.sum(x**2, axis=1)) / 2).max() < 2e-3
    loops = outlines.loops_of(ring())
    factor = outlines.vanishing(loops, loops)[-1]
    on = jnp.array([[1.3, 0.7], [1.0, 0.9], [1.6, 1.3], [1.3, 0.7 - 1e-9]])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(factor)))(on)
    assert np.abs(values[:3]).max() == 0.0 and abs(float(values[3]) - 1e-9) < 1e-14
    assert np.abs(slopes[:2] - jnp.array([[0.0, -1.0], [-1.0, 0.0]])).max() < 1e-12


def test_walks_have_the_domain_on_the_left_and_join_straight_pieces():
    mesh = domains.from_mesh(domains.lshape().labelled(fem.lshape(3)))
    for domain in (domains.lshape(), mesh):
        (loop,) = outlines.loops_of(domain)
        assert [edge.name for edge in loop] == ["bottom", "notch", "notch", "right", "top", "left"]
        (corner,) = outlines.corners_of((loop,), dict.fromkeys(domain.sides, "value"))
        assert corner.exponent == pytest.approx(2 / 3) and corner.radius == 1.0
    loops = outlines.loops_of(ring())
    assert [len(loop) for loop in loops] == [4, 4] and loops[1][0].start == (1.0, 0.7) and loops[1][0].end == (1.0, 1.3)
    kinds = {"left": "value", "right": "flux", "outer": "flux", "hole_0": "flux"}
    parts = outlines.runs(loops, kinds, "flux")
    assert [edge.name for edge in parts[0]] == ["outer", "right", "outer"] and outlines.is_closed(parts[1])
    kinds = {"left": "flux", "right": "value", "outer": "flux", "hole_0": "value"}
    assert [[edge.name for edge in part] for part in outlines.runs(loops, kinds, "flux")] == [["outer", "left", "outer"]]


@pytest.mark.parametrize("draw", [sampling.uniform, sampling.sobol])
def test_points_cover_a_polygon(draw):
    x = np.array(draw(jax.random.key(0), ring(), 1 << 12, jnp.float64))
    assert np.all(jax.vmap(ring().contains)(jnp.asarray(x)))
    assert np.abs(x.mean(axis=0) - np.array([6 * 1.5 - 0.36 * 1.3, 6 - 0.36]) / 5.64).max() < 0.03


def test_temperatures_of_an_outline_and_a_hole_are_blended():
    sides = dict.fromkeys(ring().sides, hl.Dirichlet(lambda x: 20 + x[0])) | {"hole_0": hl.Dirichlet(60.0)}
    lift = lifting.lifting(hl.Problem(medium=TWO, domain=ring(), boundary=sides))
    on = jnp.array([[0.0, 0.5], [2.2, 0.0], [3.0, 2.0], [1.3, 0.7], [1.0, 1.0], [0.5, 1.0]])
    found = jax.jit(jax.vmap(lift.base))(on)
    assert np.abs(found[:5] - jnp.array([20.0, 22.2, 23.0, 60.0, 60.0])).max() < 1e-12 and 21 < float(found[5]) < 60
    flux = lift.around(jnp.array([0.0, 1.0]))  # of the angle around the middle of the hole
    assert lift.stream is None and flux.shape == (1, 2) and abs(float(flux[0, 1]) + 1 / 1.3) < 0.02


def test_fluxes_are_given_on_insulated_holes_too():
    sides = {"left": hl.Dirichlet(0.0), "outer": hl.Neumann(0.5), "right": hl.Neumann()}
    sides |= {"hole_0": hl.Neumann(lambda x: x[0] * x[1])}
    problem = hl.Problem(medium=TWO, domain=ring(), source=lambda x: 1 + x[0], boundary=sides)
    sigma = jax.jit(jax.vmap(lifting.balancing_flux(problem, 8)))
    on = jnp.array([[0.4, 0.0], [3.0, 0.3], [2.9, 2.0], [1.3, 0.7], [1.0, 0.8], [1.6, 1.1], [1.1, 1.3]])
    normals = jnp.array([[0, -1], [1, 0], [0, 1], [0, 1], [1, 0], [-1, 0], [0, -1.0]])
    given = jnp.array([0.5, 0.0, 0.5, 1.3 * 0.7, 0.8, 1.6 * 1.1, 1.1 * 1.3])
    assert np.abs(jnp.sum(sigma(on) * normals, axis=1) - given).max() < 1e-10
    steps = 1e-4 * jnp.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    f = sigma(jnp.array([[0.6, 1.2]]) + steps)
    assert abs(float(f[0, 0] - f[2, 0] + f[1, 1] - f[3, 1]) / 2e-4 + 1.6) < 1e-5


@pytest.mark.parametrize("case", ["polygon", "ring"])
def test_the_identity_holds_on_polygons_for_any_parameters(case):
    problem = manufactured(case)
    config = experiments.own_configuration(problem, 1.0, formulation="hypercircle", widths=(3,))
    config = experiments.with_settings(config, {"network.coarse_cells": 2})  # the rule's mesh is coarse, too
    ansatz = Hypercircle().ansatz(problem, config)
    theta, fixed = ansatz.init(jax.random.key(3))
    rng = np.random.default_rng(4)
    theta = jax.tree.map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape), theta)
    for part in theta.values():  # singular functions are for finer rules
        if "numbers" in part:
            part["numbers"] = 0 * part["numbers"]
    assert case != "ring" or theta["flux"]["heat"].shape == (2,)  # between the insulated parts, and out of the hole
    mesh = problem.domain.labelled(problem.domain.mesh(8))
    points, weights = fem.quadrature_points(mesh, 9)
    x, w, K = jnp.asarray(points.reshape(-1, 2)), weights.ravel(), full(problem.medium)

    def at(p):
        pair = ansatz.pair_of(theta, ansatz.embed(fixed, p))
        return pair.gradient - jax.grad(exact)(p), pair.flux + known(p[None])["particular"][0] - K @ jax.grad(exact)(p)

    known = coefficients(problem, 12)
    field, flux = jax.jit(lambda x: jax.lax.map(at, x, batch_size=2048))(x)
    square = lambda v, A: float(w @ np.array(jnp.sum(v * (v @ A), axis=1)))  # noqa: E731
    inverse = np.linalg.inv(K)
    whole, parts = square(flux - field @ K, inverse), square(flux, inverse) + square(field, K)
    side = _exchange(problem, config, ansatz, fixed)
    there = jax.jit(jax.vmap(lambda e: ansatz.side_of(theta, e)))(side["embedding"])
    r = _exchange_residual(there, side)
    y, c, weight = side["embedding"]["field"].point, side["coefficient"], side["root"] ** 2 * side["coefficient"]
    normal = jnp.sum((there[1] + side["particular"]) * side["normal"], axis=1)
    missed = normal - jnp.sum(jax.vmap(jax.grad(exact))(y) @ K * side["normal"], axis=1)
    whole += float(r @ r)
    parts += float(weight @ (c * (there[0] - jax.vmap(exact)(y)) ** 2)) + float(weight @ (missed**2 / c))
    assert abs(whole - parts) < 1e-4 * parts, "J is the sum of both squared errors"


def test_domains_that_networks_cannot_have_say_what_can():
    square = fem.unit_square(1)
    points = np.concatenate([square.points, 1 + square.points[1:]])
    touching = fem.from_simplices(points, [[0, 1, 3], [0, 3, 2], [3, 4, 6], [3, 6, 5]])
    apart = fem.from_simplices(np.concatenate([square.points, 3 + square.points]), [[0, 1, 3], [0, 3, 2], [4, 5, 7], [4, 7, 6]])
    t = 2 * np.pi * np.arange(600) / 600
    for domain, said in (
        (domains.from_mesh(touching), "a boundary that does not touch itself"),
        (domains.from_mesh(apart), "one connected piece"),
        (domains.polygon(np.stack([np.cos(t), np.sin(t)], axis=1)), "at most 500 straight pieces"),
        (domains.from_mesh(fem.interval(4)), "an interval"),
    ):
        problem = hl.Problem(medium=hl.media.constant(1.0, domain.dimension), domain=domain, source=1.0, boundary=hl.Dirichlet())
        with pytest.raises(hl.InputError, match=said):
            experiments.own_configuration(problem, formulation="hypercircle")


def plate():
    """The shipped mesh from gmsh: steel and foam, a hole, an exchange, an insulated rim."""
    mesh = fem.read_mesh(Path(__file__).parents[1] / "examples" / "plate.msh")
    sides = {"hole": hl.Dirichlet(360.0), "left": hl.Robin(10.0, 290.0), "right": hl.Dirichlet(280.0), "rim": hl.Neumann()}
    medium = hl.media.by_tag(mesh, {"steel": 50.0, "foam": 0.04})
    return hl.Problem(domain=domains.from_mesh(mesh), medium=medium, boundary=sides)


def test_the_interface_of_two_materials_is_one_line_with_a_kink():
    mesh, tag, _ = plate().medium.conductivity.tagged
    (segment,) = interfaces._joined(interfaces._between(mesh, tag), plate().domain)
    assert np.allclose(segment, [(0.12, -0.2), (0.12, 0.3)]), "continued outside, from rim to rim"
    found = interfaces.kinks(plate())
    on, beside = jnp.array([[0.12, 0.0], [0.12, 0.05]]), jnp.array([[0.1199, 0.03], [0.1201, 0.03]])
    values, slopes = jax.jit(jax.vmap(lambda x: (found.values(x), jax.jacfwd(found.values)(x))))(jnp.concatenate([on, beside]))
    assert found.count == 2 and np.abs(values[:2]).max() == 0.0
    assert np.abs(values[2:] / values[2, 0] - np.eye(2)).max() < 1e-9, "each on its own material"
    assert slopes[2, 0, 0] < 0 < slopes[3, 1, 0] and np.abs(slopes[2:, :, 1]).max() < 1e-3 * float(slopes[3, 1, 0])
    config = experiments.own_configuration(plate(), 1.0, formulation="hypercircle", widths=(3,))
    ansatz = Hypercircle().ansatz(plate(), config)
    theta, fixed = ansatz.init(jax.random.key(1))
    theta = jax.tree.map(lambda leaf: leaf + 0.3, theta)
    by_ad = jax.jit(jax.vmap(lambda x: jax.grad(ansatz.value, 2)(theta, fixed, x)))(beside)
    found = jax.jit(jax.vmap(lambda x: ansatz.pair_of(theta, ansatz.embed(fixed, x)).gradient))(beside)
    assert np.abs(by_ad - found).max() < 1e-9 * np.abs(by_ad).max() and abs(by_ad[0, 0] / by_ad[1, 0] - 1) > 1e-3, "a kink"


@pytest.mark.slow
def test_the_bound_on_a_mesh_of_two_materials_is_above_the_error():
    problem = plate()
    config = experiments.own_configuration(problem, 1.0, formulation="hypercircle", widths=(8,), steps=1)
    small = {"sampling.grow_after": "0", "sampling.points": "256", "network.coarse_cells": "6"}
    config = experiments.with_settings(config, small)
    ansatz = Hypercircle().ansatz(problem, config)
    theta, fixed = ansatz.init(jax.random.key(0))
    setup = SimpleNamespace(problem=problem, config=config, ansatz=ansatz)
    theta = Hypercircle().finish(setup, theta, fixed, 1, (9, 11)).params  # output layers alone
    bound = sampled_bound(problem, config, ansatz, theta, fixed, draws=8, count=1024).relative
    w = hl.solve(problem, tolerance=0.05)
    x, v = w.mesh.points[w.mesh.cells].mean(axis=1), w.mesh.volumes
    gradient = lambda p: ansatz.pair_of(theta, ansatz.embed(fixed, p)).gradient  # noqa: E731
    slope = np.asarray(jax.jit(lambda x: jax.lax.map(gradient, x, batch_size=2048))(x))
    K = fem.evaluate(problem.medium.conductivity, x)
    square = lambda g: (v * K) @ np.sum(g**2, axis=1)  # noqa: E731
    error = np.sqrt(square(slope - w.gradient(x)) / square(w.gradient(x)))
    assert error - w.bound < bound < 1


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_a_run_around_an_inward_corner_has_a_bound_and_comes_near_elements():
    domain = domains.from_mesh(domains.lshape().labelled(fem.lshape(2)))
    sides = dict.fromkeys(("notch", "bottom", "right"), hl.Dirichlet(0.0)) | {"left": hl.Neumann(0.5)}
    sides |= {"top": hl.Dirichlet(lambda x: (1 - x[0]) * (1 + x[1]))}
    problem = hl.Problem(medium=TWO, domain=domain, source=1.0, boundary=sides)
    config = experiments.own_configuration(problem, formulation="hypercircle", widths=(5,), steps=10)
    changes = {"sampling.grow_after": "0", "sampling.points": "512", "training.report_every": "10", "training.record_every": "10"}
    changes |= {"network.coarse_cells": "6"}
    result, w = hl.train(problem, experiments.with_settings(config, changes)), hl.solve(problem, n=32)
    x = w.mesh.points[w.mesh.cells].mean(axis=1)
    off = np.sum((result.solution(x)[1] - fem.cell_gradients(w.mesh, w.w)) ** 2, axis=1)
    error = np.sqrt(w.mesh.volumes @ off / (w.mesh.volumes @ np.sum(w.gradient(x) ** 2, axis=1)))
    bound = result.summary["seeds"][0]["bound"]
    assert error - w.bound < bound < 0.1, "a bound, and a small one"


@pytest.mark.parametrize("form", ["strong", "first-order"])
def test_other_forms_train_with_temperatures_all_around(form):
    domain = domains.polygon([(0, 0), (2, 0), (2, 1), (1, 1.5)])
    problem = hl.Problem(medium=TWO, domain=domain, source=2.0, boundary=hl.Dirichlet(5.0))
    config = experiments.own_configuration(problem, formulation=form, widths=(6,), steps=12)
    assert config.method == "pinn"
    changes = {"training.report_every": "12", "training.record_every": "12", "training.finish": "0", "coarse.pieces": "1"}
    result, w = hl.train(problem, experiments.with_settings(config, changes)), hl.solve(problem, n=32)
    x = w.mesh.points[w.mesh.cells].mean(axis=1)
    assert np.abs(result.solution(x)[0] - w(x)).max() < 0.02 * np.ptp(w.w)
