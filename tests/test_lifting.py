"""Networks on boxes of any size with conditions on their sides: blends, fluxes, points, the identity, a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sides import BOXES, CASES, conductivity, exact, manufactured, slope

import hybrid_lib as hl
from hybrid_lib import experiments, fem
from hybrid_lib.fem import sides
from hybrid_lib.methods import lifting
from hybrid_lib.methods.hypercircle import Hypercircle, _exchange, _exchange_residual, coefficients
from hybrid_lib.pinn import domains, phases, sampling

SQUARE = ("left", "right", "bottom", "top")
NORMAL = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "bottom": (0.0, -1.0), "top": (0.0, 1.0)}
TWO = hl.media.constant(1.0, 2)
TRIANGLE = domains.polygon([(0, 0), (1, 0), (0, 1)], sides={"hot": [0]})


def temperature(x):
    return jnp.sin(2 * x[0]) * x[1] + x[0]


def through(name):
    return {"left": lambda x: x[1] ** 2, "right": lambda x: jnp.cos(x[1]), "bottom": lambda x: 0.3 * x[0], "top": 2.0}[name]


@settings(max_examples=12, deadline=None)
@given(st.tuples(*[st.sampled_from("DNR")] * 4), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 5), st.floats(0.1, 5))
def test_blends_factors_and_fluxes_do_what_they_should(kinds, x0, y0, width, height):
    if set(kinds) == {"N"}:
        return
    domain = domains.box((x0, y0), (x0 + width, y0 + height))
    make = {"D": lambda _: hl.Dirichlet(temperature), "N": lambda k: hl.Neumann(through(k)), "R": lambda _: hl.Robin(1.0)}
    boundary = {name: make[kind](name) for name, kind in zip(SQUARE, kinds, strict=True)}
    problem = hl.Problem(medium=TWO, domain=domain, source=lambda x: jnp.sin(x[0] * x[1]), boundary=boundary)
    lift, sigma = lifting.lifting(problem), lifting.balancing_flux(problem, 30)
    middle = jnp.array([x0 + 0.3 * width, y0 + 0.6 * height])
    scale = 1 + width + height
    assert abs(float(jnp.trace(jax.jacfwd(sigma)(middle)) + problem.source(middle))) < 1e-8 * scale
    (low, high), ends = domain.box, {}
    for name, kind in zip(SQUARE, kinds, strict=True):
        axis, value = {"left": (0, low[0]), "right": (0, high[0]), "bottom": (1, low[1]), "top": (1, high[1])}[name]
        ends[name] = y = middle.at[axis].set(value)
        if kind == "D":
            assert abs(float(lift.base(y) - temperature(y))) < 1e-11 * scale**2
            assert abs(float(lift.factor(y))) < 1e-14 and abs(float(lift.layer(y, 0.1))) < 1e-12
        elif lift.factor is not None:
            assert float(lift.factor(y)) > 0 and float(lift.layer(y, 0.1)) > 0
        if kind == "N":
            p = through(name)
            assert abs(float(sigma(y) @ jnp.array(NORMAL[name])) - float(p(y) if callable(p) else p)) < 1e-10 * scale**2
            assert abs(float(lift.stream(y))) < 1e-14
        elif lift.stream is not None:
            assert float(lift.stream(y)) > 0
    opposite = [k for k in (0, 1) if kinds[2 * k] == kinds[2 * k + 1] == "N" and "N" not in kinds[2 - 2 * k : 4 - 2 * k]]
    assert lift.flow == (opposite[0] if opposite else None)


@pytest.mark.parametrize("draw", ["uniform", "sobol", "two-scale"])
@pytest.mark.parametrize("domain", [domains.box((1.0, -2.0), (1.4, 0.0)), domains.interval(-3.0, 2.0)], ids=["plane", "line"])
def test_points_cover_a_box(draw, domain):
    key, n = jax.random.key(0), 1 << 13
    if draw == "two-scale":
        x, w = phases.two_scale(key, domain, n, jnp.float64, 0.05)
    else:
        x, w = getattr(sampling, draw)(key, domain, n, jnp.float64), jnp.ones(n)
    (low, high) = (np.array(corner) for corner in domain.box)
    assert np.all((np.array(x) > low) & (np.array(x) < high))
    x = np.array(x)
    wave = np.prod(1 + np.cos(2 * np.pi * (x - low) / (0.05 * domain.unit)) * 0.5, axis=1) * x[:, 0]
    mean = float(np.mean(np.array(w) * wave)) - (low[0] + high[0]) / 2
    assert abs(mean) < (0.1 if draw == "uniform" else 0.01) * np.abs([*low, *high]).max()


@pytest.mark.parametrize("case", ["insulated and temperature", "all three"])
def test_the_identity_holds_for_any_parameters(case):
    problem = manufactured(CASES[case], BOXES["box"])
    config = experiments.own_configuration(problem, 1.0, formulation="hypercircle", widths=(4, 3))
    config = experiments.with_settings(config, {"network.coarse_cells": 2})  # whole cells of the rules' meshes
    ansatz = Hypercircle().ansatz(problem, config)
    theta, fixed = ansatz.init(jax.random.key(3))
    keys = iter(jax.random.split(jax.random.key(4), 100))
    theta = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape, leaf.dtype), theta)
    mesh = problem.domain.labelled(problem.domain.mesh(10))
    points, weights = fem.quadrature_points(mesh, 12)
    x, w = jnp.asarray(points.reshape(-1, 2)), weights.ravel()
    known = jax.jit(coefficients(problem))(x)
    pair = jax.jit(jax.vmap(lambda p: ansatz.pair_of(theta, ansatz.embed(fixed, p))))(x)
    gradient = jax.jit(jax.vmap(lambda p: jnp.stack(slope(p))))(x)
    K, flux = known["conductivity"], pair.flux + known["particular"]
    square = lambda v, k: float(w @ np.array(jnp.sum(v**2, axis=1) * k))  # noqa: E731
    whole = square(flux - K[:, None] * pair.gradient, 1 / K)
    parts = square(pair.gradient - gradient, K) + square(flux - K[:, None] * gradient, 1 / K)
    if "exchange" in CASES[case].values():
        side = _exchange(problem, config, ansatz, fixed, 2)
        at = jax.jit(jax.vmap(lambda e: ansatz.side_of(theta, e)))(side["embedding"])
        r = _exchange_residual(at, side)
        whole += float(r @ r)
        y, c, weight = side["embedding"]["field"].point, side["coefficient"], side["root"] ** 2 * side["coefficient"]
        off = at[0] - jax.vmap(exact)(y)
        normal = jnp.sum((at[1] + side["particular"]) * side["normal"], axis=1)
        sigma = jax.vmap(lambda p: conductivity(p) * jnp.stack(slope(p)))(y)
        missed = normal - jnp.sum(sigma * side["normal"], axis=1)
        parts += float(weight @ (c * off**2)) + float(weight @ (missed**2 / c))
    assert abs(whole - parts) < 1e-6 * parts, "J is the sum of both squared errors"
    ends = {name: one for name, one in problem.conditions().items() if one[0] == "value"}
    for one in sides.side_data(mesh, ends).fixed:
        y = jnp.asarray(one[0].points.reshape(-1, 2))
        assert np.abs(jax.vmap(lambda p: ansatz.value(theta, fixed, p))(y) - jax.vmap(exact)(y)).max() < 1e-12


@pytest.mark.parametrize(
    ("boundary", "domain", "said"),
    [
        ({name: hl.Neumann() for name in SQUARE}, None, "a side without a given flux; received fluxes all around"),
        (dict.fromkeys(SQUARE, hl.Neumann()) | {"left": hl.Dirichlet(0.0), "top": hl.Dirichlet(1.0)}, None,
         "equal temperatures where left and top meet; received 0 and 1 at [0.0, 1.0]"),
        ({"outer": hl.Dirichlet(0.0), "hot": hl.Dirichlet(1.0)}, TRIANGLE, "equal temperatures where outer and hot meet"),
        (hl.Neumann(), TRIANGLE, "fluxes all around"),
        (hl.Dirichlet(lambda x: 1 / jnp.maximum(1.5 - x[0] - x[1], 0.0)), TRIANGLE, "a finite number in all of the box around"),
    ],
)  # fmt: skip
def test_what_the_hypercircle_cannot_have_says_which_form_can(boundary, domain, said):
    problem = hl.Problem(medium=hl.media.paper_2d(0.5), domain=domain, boundary=boundary)
    changes = {"boundary": "hard", "formulation": "hypercircle"}
    config = experiments.with_settings(experiments.configuration("heat2d", method="pinn"), changes)
    with pytest.raises(hl.InputError) as caught:
        hl.train(problem, config)
    assert said in str(caught.value) and "hybrid_lib.solve" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "boundary"),
    [("hybrid", hl.Dirichlet(1.0)), ("pinn", dict.fromkeys(SQUARE, hl.Neumann()) | {"left": hl.Dirichlet()})],
)
def test_other_forms_name_the_one_that_can(method, boundary):
    problem = hl.Problem(medium=hl.media.paper_2d(0.5), boundary=boundary)
    with pytest.raises(hl.InputError, match="use formulation=hypercircle, or solve it by elements"):
        hl.train(problem, experiments.configuration("heat2d", method=method))


def test_the_network_alone_has_given_temperatures():
    around = {"left": hl.Dirichlet(1.0), "right": hl.Dirichlet(3.0)}
    problem = hl.Problem(medium=hl.media.constant(2.0, 1), source=4.0, boundary=around)
    changes = {"boundary": "hard", "dtype": "float64", "training.optimiser": "gauss-newton", "training.steps": "8"}
    changes |= {"network.widths": "6", "sampling.points": "40", "training.record_every": "4", "training.report_every": "8"}
    config = experiments.with_settings(experiments.configuration("heat1d-eps15", "pinn", "mlp"), changes)
    result, x = hl.train(problem, config), np.linspace(0, 1, 9)[:, None]
    assert np.abs(result.solution(x)[0] - (1 + 3 * x - x**2)[:, 0]).max() < 1e-3
    with pytest.raises(hl.InputError, match="boundary: expected hard with given temperatures"):
        hl.train(problem, experiments.with_settings(config, {"boundary": "soft", "sampling.boundary_points": "2"}))


def test_one_temperature_around_the_notch():
    domain = domains.lshape()
    problem = hl.Problem(medium=TWO, domain=domain, boundary=hl.Dirichlet(temperature))
    lift = lifting.lifting(problem)
    x = jnp.array([-0.3, 1.0])
    assert float(lift.base(x)) == float(temperature(x)) and float(lift.factor(x)) == 0.0


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_a_run_on_an_interval_is_bounded_kept_and_resumed(tmp_path):
    around = {"left": hl.Dirichlet(1.0), "right": hl.Robin(2.0, 5.0)}
    problem = hl.Problem(medium=hl.media.paper_1d(1.0), domain=domains.interval(0.0, 4.0), source=1.0, boundary=around)
    config = experiments.own_configuration(problem, formulation="hypercircle", widths=(5, 5), steps=10)
    assert config.eps == 0.25
    config = experiments.with_settings(config, {"sampling.points": "256"})
    result = hl.train(problem, config, out=tmp_path / "run")
    w = hl.solve(problem, n=400)
    x = np.linspace(0, 4, 41)[:, None]
    assert result.summary["seeds"][0]["bound"] < 0.1
    assert np.abs(result.solution(x)[0] - w(x)).max() < 0.05 * np.ptp(w.w)
    again = hl.load(tmp_path / "run", problem=problem)
    assert np.array_equal(again.solution(x)[0], result.solution(x)[0])
    around |= {"right": hl.Robin(2.0, 6.0)}
    other = hl.Problem(medium=problem.medium, domain=problem.domain, source=1.0, boundary=around)
    with pytest.raises(hl.InputError, match="values of right"):
        hl.load(tmp_path / "run", problem=other)
