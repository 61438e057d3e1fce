"""Gauss-Newton: rows of the Jacobian against AD, solvers against each other, Newton on a linear model, damping, memory."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, training
from hybrid_lib.errors import InputError
from hybrid_lib.training import LoopOptions, PointFields, PointwiseBlock, fit, jacobians, solvers

ONE = {"model": jnp.ones(()), "sum": jnp.ones(())}


def of(config, **changes):
    """`config` with changed settings, ``section.name`` written as ``section_name``."""
    for path, value in changes.items():
        section, _, name = path.partition("_")
        config = dataclasses.replace(
            config,
            **{section: dataclasses.replace(getattr(config, section), **{name: value}) if name else value},
        )
    return config


@functools.lru_cache
def case(name):
    """(objective, theta, weights, data, coarse) of a small run of the library's own experiments."""
    if name == "1-D":
        config = of(
            experiments.configuration("heat1d-eps15", "hybrid", "mlp", "quick"),
            dtype="float64", sampling_points=150, network_widths=(5, 4), coarse_cells=6, coarse_weight=50.0,
        )  # fmt: skip
    else:  # soft boundary, full tensors on four parts
        config = of(
            experiments.configuration("heat2d", "hybrid", "ms", "quick"),
            dtype="float64", sampling_points=400, sampling_boundary_points=30, network_widths=(5,),
            network_frequencies=3, coarse_cells=4, coarse_parts=2, coarse_delta=0.3, coarse_weight=20.0,
        )  # fmt: skip
    setup = experiments.assemble(experiments.problem_of(config), config, (0,))
    member, data = training.member(setup.state.members, 0), training.member(setup.data, 0)
    return setup.objective, member.params, member.weights, data, member.coarse


def by_ad(args):
    """r and J of the stacked residual by plain reverse-mode AD, column order of ``ravel``."""
    objective, theta, weights, data, coarse = args
    unravel = jacobians.unraveller(theta)
    residual = jax.jit(
        lambda flat: jacobians.weighted_residual(objective, unravel(flat), weights, data, coarse)
    )
    flat = jacobians.ravel(theta)
    return residual(flat), jax.jit(jax.jacrev(residual))(flat)


def close(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(np.max(np.abs(b))))


@pytest.mark.parametrize("name", ["1-D", "2-D"])
def test_rows_equal_ad_coupling_and_its_upscaled_tensor_included(name):
    args = case(name)
    r, J = by_ad(args)
    rows, residual = jax.jit(lambda: jacobians.jacobian(*args, 64))()  # 64 divides neither number of points
    close(residual, r, 1e-14)
    close(rows, J, 1e-13)
    normal = jax.jit(lambda: jacobians.normal_equations(*args, 64))()
    close(normal.matrix, J.T @ J, 1e-13)
    close(normal.gradient, J.T @ r, 1e-13)
    np.testing.assert_array_equal(normal.matrix, normal.matrix.T)


def test_coupling_rows_contain_the_sensitivity_of_the_coarse_state():
    objective, theta, weights, data, coarse = case("1-D")
    block = objective.blocks["coupling"]

    def rows(used):
        changed = training.Objective(objective.fields, {"coupling": used}, objective.coarse)
        return jacobians.jacobian(changed, theta, weights, data, coarse)[0]

    def fixed_state(
        fields, data, coarse
    ):  # u enters the coarse state through K̂ and so through the gradient alone
        jet = fields["collocation"]
        jet = jet._replace(gradient=jax.lax.stop_gradient(jet.gradient))
        return block(fields | {"collocation": jet}, data, coarse)

    def upscaled(theta):
        return objective.coarse.upscale(objective.fields(theta, data), data)

    slope = jacobians.ravel(jax.jit(jax.grad(upscaled))(theta))  # dK̂/dθ
    by_state = coarse.state / coarse.K_hat  # −dy/dK̂ of y = y₁/K̂
    # √w √ω_i (−dy_i/dK̂) dK̂/dθ with w = 50 and ω_i = 1/6 at the inner nodes, where alone y is not zero
    close(rows(block) - rows(fixed_state), jnp.sqrt(50 / 6) * by_state[:, None] * slope[None, :], 1e-12)


def test_fields_without_points_are_differentiated_row_by_row():
    objective, *rest = case("1-D")
    plain = dataclasses.replace(objective, fields=lambda theta, data: objective.fields(theta, data))
    J, r = jax.jit(lambda: jacobians.jacobian(plain, *rest))()
    r_ad, J_ad = by_ad((objective, *rest))
    close(J, J_ad, 1e-13)
    close(r, r_ad, 1e-14)


def test_a_wide_matrix_is_summed_in_tiles(key, monkeypatch):
    monkeypatch.setattr(jacobians, "TILE", 5)
    columns = jax.random.normal(key, (23, 7))
    tiles = jacobians._rank_k(jacobians._tiles(23, columns.dtype), columns)
    assert len(tiles) > 1
    close(jacobians._symmetric(tiles), columns @ columns.T, 1e-14)


def test_components_that_no_coupling_reads_are_left_out():
    objective, theta, _, data, coarse = case("1-D")
    fields = objective.fields(theta, data)  # value, gradient, laplacian at the points; values at the nodes
    read = jacobians._read(lambda f: objective.blocks["coupling"](f, data, coarse), fields)
    assert read == {"collocation": {0, 1}, "nodes": {0}}


@functools.lru_cache
def linear(points=40, parameters=7, seed=0):
    """Least squares with a matrix: a pointwise block and a block that adds up over all points."""
    keys = jax.random.split(jax.random.key(seed), 3)
    data = {
        "rows": jax.random.normal(keys[0], (points, parameters)),
        "target": jax.random.normal(keys[1], (points,)),
    }
    objective = training.Objective(
        PointFields(lambda data: {"all": data["rows"]}, lambda theta, data, name, row: row @ theta["c"]),
        {
            "model": PointwiseBlock("all", lambda fields, data, coarse: fields["all"] - data["target"]),
            "sum": lambda fields, data, coarse: jnp.stack([jnp.sum(fields["all"]) - 1.0]),
        },
    )
    return objective, {"c": jax.random.normal(keys[2], (parameters,))}, data


def advance(objective, optimiser, theta, data, steps, weights=None, **options):
    """`steps` steps of the one loop for one member."""
    member = training.init_member(objective, optimiser, theta, data, weights or {})
    program = training.program(
        objective, optimiser, LoopOptions(balance_every=0, record_every=1, **options), 1
    )
    state = training.init_state([member], jax.random.key(0))
    return fit(program, state, training.stack([data]), steps)


def test_one_step_on_a_linear_model_is_newton():
    objective, theta, data = linear()
    result = advance(objective, training.gauss_newton(damping=0.0), theta, data, 1, {"sum": 3.0})
    weights = {"model": jnp.asarray(1.0), "sum": jnp.asarray(3.0)}
    total = lambda c: training.loss(objective, {"c": c}, weights, data, ())[0]  # noqa: E731
    c = theta["c"]
    newton = c - jnp.linalg.solve(jax.hessian(total)(c), jax.grad(total)(c))
    close(result.state.members.params["c"][0], newton, 1e-13)
    assert float(jnp.linalg.norm(jax.grad(total)(newton))) < 1e-11


def test_solvers_agree():
    args = case("1-D")
    _, J = by_ad(args)
    options = solvers.SolverOptions(rank=30, iterations=400, tolerance=1e-12)
    largest = float(jnp.linalg.norm(J, 2)) ** 2

    @functools.partial(jax.jit, static_argnums=0)
    def step(solver, damping):
        model = solvers.SOLVERS[solver](*args, options)
        r = jacobians.weighted_residual(*args)
        other = model.correct(damping, jnp.cos(r))
        return model.solve(damping), model.gradient, model.product(model.gradient), other

    for damping, tolerance in ((1e-3, 1e-10), (1e-6, 1e-8)):
        dense = step("dense", damping * largest)
        for solver, accepted in (("woodbury", tolerance), ("cg", 1e-6)):
            for a, b in zip(step(solver, damping * largest), dense, strict=True):
                assert float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b)) < accepted, (solver, damping)


def test_correction_for_the_residual_itself_is_the_step():
    args = case("1-D")
    for solver in ("dense", "woodbury"):
        model = solvers.SOLVERS[solver](*args, solvers.SolverOptions())
        close(model.correct(jnp.asarray(0.1), jacobians.weighted_residual(*args)), model.solve(0.1), 1e-10)


def test_nystrom_is_exact_for_a_matrix_of_small_rank(key):
    factor = jax.random.normal(key, (30, 4))
    U, values = solvers.nystrom(lambda v: factor @ (factor.T @ v), jnp.zeros(30), 6)
    close((U * values[None, :]) @ U.T, factor @ factor.T, 1e-12)
    close(U.T @ U, jnp.eye(6), 1e-12)


def rosenbrock():
    """r = (10 (y − x²), 1 − x), the curved valley."""
    residual = lambda fields, data, coarse: jnp.stack(  # noqa: E731
        [10 * (fields["xy"][1] - fields["xy"][0] ** 2), 1 - fields["xy"][0]]
    )
    return training.Objective(lambda theta, data: {"xy": theta["xy"]}, {"valley": residual})


@pytest.mark.parametrize("solver", ["dense", "woodbury", "cg"])
def test_damping_walks_down_the_valley(solver):
    start, data = {"xy": jnp.array([-1.2, 1.0])}, {"none": jnp.zeros(1)}
    result = advance(rosenbrock(), training.gauss_newton(1e-3, solver), start, data, 40)
    values = result.history["loss/valley"][:, 0]
    assert np.all(np.diff(values) <= 0) and values[0] == pytest.approx(24.2)
    close(result.state.members.params["xy"][0], jnp.ones(2), 1e-9)


def test_acceleration_leaves_a_linear_model_alone():
    objective, theta, data = linear()
    ends = [
        advance(objective, training.gauss_newton(1e-3, acceleration=bound), theta, data, 3)
        for bound in (0.0, 0.75)
    ]
    np.testing.assert_array_equal(*[end.state.members.params["c"] for end in ends])


def test_accelerated_step_follows_the_curve_of_the_residual():
    """For r = (10 (y − x²), 1 − x) the undamped step to x = 1 has r″[δ, δ] = (−20 δ_x², 0), and the bent one ends at (1, 1)."""
    start, data = {"xy": jnp.array([0.5, 1.0])}, {"none": jnp.zeros(1)}
    step = training.gauss_newton(0.0, "dense", acceleration=10.0)
    end = advance(rosenbrock(), step, start, data, 1).state.members.params["xy"][0]
    close(end, jnp.ones(2), 1e-12)


def test_acceleration_is_left_out_where_it_is_not_small():
    start, data = {"xy": jnp.array([-1.2, 1.0])}, {"none": jnp.zeros(1)}
    ends = [
        advance(rosenbrock(), training.gauss_newton(1e-3, "dense", acceleration=bound), start, data, 1)
        for bound in (0.0, 1e-3)
    ]
    np.testing.assert_array_equal(*[end.state.members.params["xy"] for end in ends])


def test_acceleration_takes_fewer_steps_down_the_valley():
    start, data = {"xy": jnp.array([-1.2, 1.0])}, {"none": jnp.zeros(1)}

    def steps(bound):
        run = advance(rosenbrock(), training.gauss_newton(1e-3, acceleration=bound), start, data, 40)
        return int(np.argmax(run.history["loss/valley"][:, 0] < 1e-12))

    assert 0 < steps(0.75) < steps(0.0)


@pytest.mark.parametrize("solver", ["dense", "woodbury", "cg"])
def test_momentum_draws_the_step_towards_the_last_one(solver):
    """δ minimises ‖r + Jδ‖² + λ‖δ − μv‖², here by a QR of the stacked rows."""
    objective, theta, data = linear()
    optimiser = training.gauss_newton(1e-2, solver, momentum=0.8, tolerance=1e-14)
    first = advance(objective, optimiser, theta, data, 1)
    c, state = first.state.members.params["c"][0], first.state.members.opt_state
    close(state.velocity[0], c - theta["c"], 1e-14)
    member = training.member(first.state.members, 0)
    new, after, *_ = optimiser.step(objective, member, data)
    lam = float(state.damping[0])
    J = jnp.vstack([data["rows"], jnp.sum(data["rows"], axis=0)])
    r = J @ c - jnp.append(data["target"], 1.0)
    rows = jnp.vstack([J, jnp.sqrt(lam) * jnp.eye(7)])
    target = jnp.append(-r, jnp.sqrt(lam) * 0.8 * state.velocity[0])
    close(new["c"] - c, jnp.linalg.lstsq(rows, target)[0], 1e-9)
    close(after.velocity, new["c"] - c, 1e-14)


def test_momentum_is_dropped_when_its_trial_fails():
    objective, theta, data = linear()
    optimiser = training.gauss_newton(1e-2, momentum=0.9)
    member = training.member(advance(objective, optimiser, theta, data, 1).state.members, 0)
    wrong = member.opt_state._replace(velocity=1e3 * jnp.ones(7), damping=jnp.asarray(1e3))
    new, *_ = optimiser.step(objective, member._replace(opt_state=wrong), data)
    plain = training.gauss_newton(1e-2)
    still = wrong._replace(velocity=None, damping=jnp.asarray(2e3))  # λ of the second trial
    expected, *_ = plain.step(objective, member._replace(opt_state=still), data)
    close(new["c"], expected["c"], 1e-12)


def test_lbfgs_reaches_the_minimum():
    objective, theta, data = linear()
    result = advance(objective, training.lbfgs(), theta, data, 40)
    rows = jnp.concatenate([data["rows"], jnp.sum(data["rows"], axis=0)[None]])
    target = jnp.append(data["target"], 1.0)
    close(result.state.members.params["c"][0], jnp.linalg.lstsq(rows, target)[0], 1e-6)


def test_lbfgs_starts_from_a_state_that_needs_no_second_compilation():
    state = training.lbfgs().init({"c": jnp.ones(3)})
    assert not [leaf for leaf in jax.tree.leaves(state) if leaf.weak_type]


def test_monotone_on_the_coupled_problem():
    objective, theta, weights, data, _ = case("1-D")
    weights = {name: float(w) for name, w in weights.items()}
    result = advance(
        objective, training.gauss_newton(1e-3), theta, data, 25, weights, gate_every=1, gate_tolerance=0.0
    )
    total = sum(weights[name] * result.history[f"loss/{name}"][:, 0] for name in objective.blocks)
    assert np.all(np.diff(total) <= 0)
    assert total[-1] < 0.7 * total[0]  # 0.61: nine units cannot fit fifteen periods


def test_when_every_trial_fails_the_parameters_stay_and_the_damping_grows():
    data = {"none": jnp.zeros(1)}
    uphill = lambda fields, data, coarse: jnp.stack([jnp.abs(fields["x"][0]) + 1.0])  # noqa: E731
    objective = training.Objective(lambda theta, data: {"x": theta["x"]}, {"kink": uphill})
    start = {"x": jnp.array([1e-12])}  # the kink at 0: every step of any size beyond 2e-12 goes up
    result = advance(objective, training.gauss_newton(1e-3, trials=3), start, data, 1)
    members = result.state.members
    assert float(members.params["x"][0, 0]) == 1e-12
    assert float(members.opt_state.damping[0]) == pytest.approx(1e-3 * 2 * 4 * 8)


def test_a_gradient_that_is_not_finite_stops_the_seed():
    data = {"none": jnp.zeros(1)}
    root = lambda fields, data, coarse: jnp.sqrt(fields["x"]) + 1.0  # noqa: E731
    objective = training.Objective(lambda theta, data: {"x": theta["x"]}, {"root": root})
    members = advance(objective, training.gauss_newton(), {"x": jnp.zeros(1)}, data, 3).state.members
    assert training.STATUS[int(members.status[0])] == "diverged"
    assert int(members.cause[0]) == 1  # after the only block: the gradient
    assert float(members.params["x"][0, 0]) == 0.0


def test_memory_does_not_grow_with_the_number_of_points():
    def temporary(points, parameters, rows):
        shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float64)  # noqa: E731
        data = {"x": shape(points, 2), "couple": shape(rows, points)}

        def at(theta, data, name, x):
            return theta["v"] @ jnp.tanh(theta["W"] @ x)

        objective = training.Objective(
            PointFields(lambda data: {"all": data["x"]}, at),
            {
                "model": PointwiseBlock("all", lambda fields, data, coarse: fields["all"]),
                "sum": lambda fields, data, coarse: data["couple"] @ fields["all"],
            },
        )
        width = parameters // 3
        theta = {"W": shape(width, 2), "v": shape(width)}
        run = jax.jit(lambda theta, data: jacobians.normal_equations(objective, theta, ONE, data, ()))
        return run.lower(theta, data).compile().memory_analysis().temp_size_in_bytes

    small, large = temporary(5_000, 3_000, 100), temporary(25_000, 3_000, 100)
    assert large - small < 10 * 8 * 20_000 * 100  # a few copies of ∂r/∂F, none of J
    assert temporary(25_000, 5_001, 676) < 4 * 2**30


def test_auto_chooses_by_the_smaller_side():
    assert [solvers.choose(n, p) for n, p in ((10, 20), (20, 10), (10**5, 10**4), (7000, 10**4))] == [
        "woodbury", "dense", "cg", "cg",
    ]  # fmt: skip


@pytest.mark.parametrize("solver", ["dense", "woodbury"])
def test_an_ensemble_factors_one_member_at_a_time(solver):
    """Two batched factorisations at once can wait for each other for ever: the program of three seeds must hold none."""
    objective, theta, weights, data, coarse = case("1-D")

    def step(theta):
        model = solvers.SOLVERS[solver](objective, theta, weights, data, coarse, solvers.SolverOptions())
        return model.solve(jnp.asarray(1e-3))

    three = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), theta)
    text = jax.jit(jax.vmap(step)).lower(three).as_text()
    factored = re.findall(r"lapack_dpotrf.*?: \(tensor<([0-9x]+)xf64>", text)
    assert factored and all(len(shape.split("x")) == 2 for shape in factored)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"damping": -1.0}, "damping: expected a number >= 0; received -1.0"),
        ({"solver": "qr"}, "solver: expected one of dense, woodbury, cg, auto; received 'qr'"),
        ({"trials": 0}, "trials: expected an integer >= 1; received 0"),
        ({"rank": -1}, "rank: expected an integer >= 0; received -1"),
        ({"iterations": 0}, "iterations: expected an integer >= 1; received 0"),
        ({"acceleration": -0.1}, "acceleration: expected a number >= 0; received -0.1"),
        ({"momentum": 1.0}, r"momentum: expected a number in \[0, 1\); received 1.0"),
        ({"chunk": 0}, "chunk: expected an integer >= 1; received 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError, match="^" + message):
        training.gauss_newton(**options)


def test_float32_is_refused():
    with pytest.raises(InputError, match=r"^gauss-newton: expected float64 parameters"):
        training.gauss_newton().init({"c": jnp.zeros(3, jnp.float32)})


@pytest.mark.parametrize("name", ["memory", "line_search_steps"])
def test_lbfgs_errors(name):
    with pytest.raises(InputError, match=f"^{name}: expected an integer >= 1; received 0"):
        training.lbfgs(**{name: 0})
