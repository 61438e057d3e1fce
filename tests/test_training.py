"""Algorithm 3.1: slices equal the whole, seeds are independent, the gate, the balance, the stops."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hybrid_lib import training
from hybrid_lib.errors import InputError
from hybrid_lib.pinn import networks
from hybrid_lib.pinn.ansatz import Ansatz
from hybrid_lib.training import LoopOptions, fit, loop

OPTIONS = LoopOptions(gate_every=3, balance_every=4, record_every=2)
SEEDS = (0, 1, 2)


def coarse_model(scale=1.0):
    """A stand-in with the protocol of the real one: K̂ is a mean, the state 1/K̂."""
    return training.CoarseModel(
        upscale=lambda fields, data: 2 + scale * jnp.mean(fields["collocation"].gradient[0]),
        refresh=lambda K: {"K": jax.lax.stop_gradient(K), "y": jax.lax.stop_gradient(1 / K)},
        distance=lambda coarse, K: jnp.abs(K - coarse["K"]),
        usable=lambda K: K > 0,
    )


OPTIMISERS = {
    "adam": lambda: training.adam(1e-2, decay_every=10),
    "gauss-newton": training.gauss_newton,
    "lbfgs": lambda: training.lbfgs(5),
}
every_optimiser = pytest.mark.parametrize("optimiser", list(OPTIMISERS))


@functools.lru_cache  # the compiled programs are the cost of this file
def build(
    hybrid=True, scale=1.0, dtype=jnp.float64, seeds=SEEDS, optimiser="adam", options=OPTIONS, initial=None
):
    ansatz = Ansatz(networks.mlp((6,), dtype=dtype), 1)
    x = jnp.linspace(0, 1, 9, dtype=dtype)[:, None]
    blocks = {"pde": training.pde_block(1.0), "boundary": training.boundary_block(2.0)}
    model = None
    if hybrid:
        model = coarse_model(scale)
        blocks["coupling"] = lambda fields, data, coarse: (fields["collocation"].value - coarse["y"]) / 3
    objective = training.Objective(training.evaluate_fields(ansatz), blocks, model)
    optimiser = OPTIMISERS[optimiser]()
    init = jax.jit(lambda theta, data: training.init_member(objective, optimiser, theta, data, {}))
    datas, members = [], []
    for seed in seeds:
        theta, fixed = ansatz.init(jax.random.key(seed))
        theta = theta if initial is None else initial(theta)
        data = {
            "fixed": fixed,
            "points": {"collocation": x, "boundary": x[jnp.array([0, -1])]},
            "conductivity": jnp.ones(9, dtype),
            "divergence": jnp.zeros((9, 1), dtype),
            "source": jnp.ones(9, dtype),
        }
        datas.append(data)
        members.append(init(theta, data))
    program = training.program(objective, optimiser, options, len(seeds))
    return program, training.init_state(members, jax.random.key(0)), training.stack(datas), objective


def identical(a, b):
    leaves_a, leaves_b = jax.tree.leaves(a), jax.tree.leaves(b)
    assert len(leaves_a) == len(leaves_b)
    for x, y in zip(leaves_a, leaves_b, strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@every_optimiser
def test_ten_steps_equal_five_a_restore_and_five(tmp_path, optimiser):
    program, state, data, _ = build(optimiser=optimiser)
    whole = fit(program, state, data, 10, report_every=2)
    half = fit(program, state, data, 5, report_every=2)
    training.save(tmp_path / "state.npz", half, "abc")
    restored = training.restore(tmp_path / "state.npz", state, "abc")
    identical(restored.state, half.state)
    again = fit(program, restored.state, data, 10, report_every=2, previous=restored)
    identical(again.state, whole.state)
    assert set(again.history) == set(whole.history)
    for name, column in whole.history.items():
        np.testing.assert_array_equal(again.history[name], column)
    np.testing.assert_array_equal(whole.history["step"], [0, 2, 4, 6, 8])


@every_optimiser
def test_an_ensemble_equals_its_members(optimiser):
    together = fit(*build(optimiser=optimiser)[:3], 12)
    for index, seed in enumerate(SEEDS[:2]):
        alone = fit(*build(seeds=(seed,), optimiser=optimiser)[:3], 12)
        for a, b in zip(
            jax.tree.leaves(training.member(together.state.members, index)),
            jax.tree.leaves(training.member(alone.state.members, 0)),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_first_steps_equal_plain_optax():
    program, state, data, objective = build(
        hybrid=False, options=dataclasses.replace(OPTIONS, balance_every=0)
    )
    result = fit(program, state, data, 3)
    theta, own = training.member(state.members.params, 0), training.member(data, 0)
    optimiser = optax.adam(optax.exponential_decay(1e-2, 10, 0.75))
    opt_state = optimiser.init(theta)
    for _ in range(3):
        gradient = jax.grad(lambda t: sum(training.terms(objective, t, own, ()).values()))(theta)
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimiser.update(gradient, opt_state)
        theta = optax.apply_updates(theta, updates)
    for a, b in zip(
        jax.tree.leaves(theta), jax.tree.leaves(training.member(result.state.members.params, 0)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_best_is_the_smallest_pde_term():
    program, state, data, objective = build(options=dataclasses.replace(OPTIONS, record_every=1))
    result = fit(program, state, data, 40)
    best = result.state.members.best
    np.testing.assert_allclose(best.value, result.history["loss/pde"].min(axis=0))
    np.testing.assert_array_equal(best.step, result.history["loss/pde"].argmin(axis=0))
    theta, own = training.member(best.params, 1), training.member(data, 1)
    coarse = training.member(result.state.members.coarse, 1)
    assert float(training.terms(objective, theta, own, coarse)["pde"]) == pytest.approx(
        float(best.value[1]), rel=1e-12
    )


def test_gate_refreshes_only_when_upscaled_tensor_moved():
    shut = dataclasses.replace(OPTIONS, gate_tolerance=1e6)
    program, state, data, _ = build(options=shut)
    identical(fit(program, state, data, 30).state.members.coarse, state.members.coarse)
    program, state, data, objective = build(options=dataclasses.replace(OPTIONS, gate_tolerance=0.0))
    result = fit(program, state, data, 7)  # the last test of the gate is at step 6
    before = fit(program, state, data, 6).state.members
    own = training.member(data, 0)
    K = objective.coarse.upscale(objective.fields(training.member(before.params, 0), own), own)
    assert float(result.state.members.coarse["K"][0]) == pytest.approx(float(K), rel=1e-12)


def test_an_unusable_upscaled_tensor_is_never_adopted():
    program, state, data, _ = build(scale=1e4, options=dataclasses.replace(OPTIONS, gate_tolerance=0.0))
    assert np.all(np.asarray(fit(program, state, data, 20).state.members.coarse["K"]) > 0)
    assert np.all(np.asarray(state.members.coarse["K"]) > 0)


def test_balance_equalises_gradient_norms():
    _, state, data, objective = build()
    theta, own = training.member(state.members.params, 0), training.member(data, 0)
    coarse = training.member(state.members.coarse, 0)
    norms = training.gradient_norms(objective, theta, own, coarse)
    for name in objective.blocks:
        gradient = jax.grad(lambda t, n=name: training.terms(objective, t, own, coarse)[n])(theta)
        size = np.sqrt(sum(float(jnp.vdot(g, g)) for g in jax.tree.leaves(gradient)))
        assert float(norms[name]) == pytest.approx(size, rel=1e-12)
    weights = training.balance({name: jnp.ones(()) for name in norms}, norms, 0.0)
    pulls = [float(weights[name] * norms[name]) for name in norms]
    np.testing.assert_allclose(pulls, pulls[0], rtol=1e-12)


def test_readings_of_the_balancing():
    """Each reading at steps 0 and 1 from the norms, by hand; the defaults are the plain rule, to the last bit."""
    _, state, data, objective = build()
    member, own = training.member(state.members, 0), training.member(data, 0)
    norms = training.gradient_norms(objective, member.params, own, member.coarse)
    g = {name: float(v) for name, v in norms.items()}

    def updated(step=0, weights=None, **options):
        options = LoopOptions(gate_every=100, balance_every=1, gate_tolerance=1e9, **options)
        single = loop.iteration(objective, OPTIMISERS["adam"](), options)
        start = member if weights is None else member._replace(weights=weights)
        return single.prepare(jnp.asarray(step), start, own).weights

    plain, total = updated(), sum(norms.values())
    identical(plain, {name: 0.9 * member.weights[name] + (1 - jnp.asarray(0.9)) * (total / norms[name]) for name in g})
    newer = training.balance(member.weights, norms, 0.1)
    assert float(newer["coupling"]) == pytest.approx(0.1 + 0.9 * sum(g.values()) / g["coupling"])
    weights = {"pde": jnp.asarray(1.0), "boundary": jnp.asarray(5.0), "coupling": jnp.asarray(7.0)}
    options = {"balance_kept": ("coupling",), "balance_reference": "residual", "balance_start": "balanced"}
    first, later = updated(0, weights, **options), updated(1, weights, **options)
    assert (float(first["pde"]), float(first["coupling"])) == (1.0, 7.0)
    assert float(first["boundary"]) == pytest.approx(g["pde"] / g["boundary"])
    assert float(later["boundary"]) == pytest.approx(0.9 * 5.0 + 0.1 * g["pde"] / g["boundary"])
    alone = updated(0, weights, balance_kept=("coupling", "boundary"))
    assert alone == weights


def test_balancing_holds_one_block_at_a_time():
    """Its temporary memory is that of the largest gradient of one block: nothing is kept from one block to the next."""
    _, state, data, objective = build()
    theta, own = training.member(state.members.params, 0), training.member(data, 0)
    many = lambda a: jnp.repeat(a, 100, axis=0) if a.shape[:1] == (9,) else a  # noqa: E731
    own = jax.tree.map(many, own)
    coarse = jax.tree.map(many, training.member(state.members.coarse, 0))

    def temporary(program):
        return jax.jit(program).lower(theta, own).compile().memory_analysis().temp_size_in_bytes

    def block(name):
        return lambda t, d: jax.grad(lambda s: training.terms(objective, s, d, coarse)[name])(t)

    largest = max(temporary(block(name)) for name in objective.blocks)
    assert temporary(lambda t, d: training.gradient_norms(objective, t, d, coarse)) < 1.05 * largest


def test_tolerance_stops_a_seed():
    program, state, data, _ = build(options=dataclasses.replace(OPTIONS, tolerance=1e9))
    result = fit(program, state, data, 50)
    assert int(result.state.step) == 1 and result.finished
    assert [training.STATUS[int(s)] for s in result.state.members.status] == ["converged"] * 3


@every_optimiser
def test_nan_stops_with_its_cause_and_keeps_the_last_good_state(optimiser):
    program, state, data, _ = build(optimiser=optimiser)
    data = data | {"source": data["source"].at[1].set(jnp.nan)}
    result = fit(program, state, data, 10)
    status = [training.STATUS[int(s)] for s in result.state.members.status]
    assert status == ["running", "diverged", "running"]
    assert int(result.state.members.cause[1]) == 0  # the first block, pde
    identical(training.member(result.state.members.params, 1), training.member(state.members.params, 1))
    assert all(
        bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(result.state.members.best.params)
    )


class Clock:
    """A clock that only moves when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("limit", [1.0, 3.0, 11.0, 50.0, 137.0])
def test_time_limit_cuts_the_slices_that_do_not_fit(monkeypatch, limit):
    """Steps of one second, evaluations of two, a report every 20 steps: the first slice is cut like any other."""
    program, state, data, _ = build()
    clock, seen = Clock(), []
    monkeypatch.setattr(training.fitting.time, "perf_counter", clock)

    def advance(state, data, end):
        out = program.advance(state, data, end)
        clock.now += float(int(out[0].step) - int(state.step))
        return out

    def evaluate(params, data):
        clock.now += 2.0 if seen else 0.0  # the first one compiles
        return {"size": jnp.zeros(3)}

    def note(result):
        seen.append(int(result.state.step))

    slow = program._replace(advance=advance)
    result = fit(slow, state, data, 10**6, report_every=20, time_limit=limit, evaluate=evaluate, callbacks=(note,))
    whole = fit(program, state, data, int(result.state.step), report_every=20)
    identical(result.state, whole.state)
    assert not result.finished and limit - 5 <= clock.now <= limit
    assert [step for step in range(20, seen[-1] + 1, 20) if step not in seen] == []


def test_evaluations_at_reports_and_ends():
    program, state, data, _ = build()
    norm = jax.jit(
        lambda params, data: {"size": jax.vmap(lambda t: sum(jnp.sum(v) for v in jax.tree.leaves(t)))(params)}
    )
    result = fit(program, state, data, 7, report_every=4, evaluate=norm)
    np.testing.assert_array_equal(result.evaluations["step"], [0, 4, 7])
    assert result.evaluations["size"].shape == (3, 3)


def test_resampling_is_a_function_of_the_step():
    program, state, data, _ = build()

    def resample(step):
        return data | {"source": data["source"] + step}

    whole = fit(program, state, data, 9, resample=resample, resample_every=3)
    part = fit(program, state, data, 4, resample=resample, resample_every=3)
    again = fit(program, part.state, data, 9, resample=resample, resample_every=3, previous=part)
    identical(again.state, whole.state)


def test_transfer_starts_from_given_parameters():
    _program, state, _data, _ = build(initial=lambda theta: jax.tree.map(lambda v: v * 0 + 0.5, theta))
    assert all(bool(jnp.all(leaf == 0.5)) for leaf in jax.tree.leaves(state.members.params))


def test_float32_stays_float32():
    program, state, data, _ = build(dtype=jnp.float32)
    result = fit(program, state, data, 5)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(result.state.members.params)} == {"float32"}
    assert result.state.members.weights["pde"].dtype == jnp.float32


@pytest.mark.parametrize(
    "options, message",
    [
        ({"learning_rate": 0.0}, "learning_rate: expected a number > 0; received 0.0"),
        ({"learning_rate": 1.0, "decay_rate": 1.5}, "decay_rate: expected a number in (0, 1]; received 1.5"),
        ({"learning_rate": 1.0, "decay_every": 0}, "decay_every: expected an integer >= 1; received 0"),
    ],
)
def test_optimiser_errors(options, message):
    with pytest.raises(InputError, match="^" + message.replace("(", r"\(").replace("]", r"\]")):
        training.adam(**options)


def test_checkpoint_errors(tmp_path):
    program, state, data, _ = build()
    path = tmp_path / "checkpoint" / "state.npz"
    with pytest.raises(InputError, match="start without resume=True"):
        training.restore(path, state, "abc")
    training.save(path, fit(program, state, data, 2), "abc")
    with pytest.raises(InputError, match="use the same settings"):
        training.restore(path, state, "other")
    with pytest.raises(InputError, match="same library version"):
        training.restore(path, build(hybrid=False)[1], "abc")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="a file written by this library"):
        training.restore(path, state, "abc")


def test_program_errors():
    with pytest.raises(InputError, match="record_every: expected an integer >= 1; received 0"):
        build(options=dataclasses.replace(OPTIONS, record_every=0))


def test_points_in_chunks_give_the_same_values_and_gradients(key):
    """Chunks that do and do not divide the number of points; under vmap over seeds too."""
    ansatz = Ansatz(networks.multiscale_fourier((1.0, 4.0), (6, 5), 3, dtype=jnp.float64), 1)
    x = jax.random.uniform(key, (23, 1), jnp.float64)
    theta, fixed = ansatz.init(key)
    data = {"fixed": fixed, "points": {"collocation": x, "boundary": x[:2]}, "conductivity": 1 + x[:, 0]}
    plain = training.evaluate_fields(ansatz)

    def loss(fields, theta):
        found = fields(theta, data)
        jet = found["collocation"]
        return jnp.sum(jet.value**2 + jet.gradient[0] * jet.laplacian) + jnp.sum(found["boundary"] ** 3)

    whole = jax.value_and_grad(functools.partial(loss, plain))(theta)
    for size in (5, 23):
        parts = jax.value_and_grad(functools.partial(loss, dataclasses.replace(plain, chunk=size)))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), whole, jax.jit(parts)(theta))
    both = jax.vmap(parts)(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), theta))
    np.testing.assert_allclose(both[0], [whole[0]] * 2, rtol=1e-12)
