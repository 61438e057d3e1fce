"""Compiled once: a second run of the same shapes compiles nothing, and no problem is served another's program."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hybrid_lib as hl
from hybrid_lib import experiments, fem, media, training
from hybrid_lib.fem.identity import identity

COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: COMPILED.append(event) if event.endswith("backend_compile_duration") else None
)
FACTOR = 1.0


@contextlib.contextmanager
def compilations():
    """The list of compilations within."""
    before = len(COMPILED)
    found = []
    yield found
    found += COMPILED[before:]


@functools.cache
def medium(amplitude):
    return media.from_function(lambda x: 2.0 + amplitude * jnp.sin(6 * x[0]), 1)


def solved(amplitude, seed, delta=None, weight=None, source=1.0, **changes):
    """A short run of the averaged coupling on a medium and a source of one's own."""
    problem = experiments.own_problem(medium(amplitude), source)
    config = experiments.with_settings(
        experiments.configuration("heat1d-eps15", "hybrid", "mlp"),
        {"network.widths": "5", "sampling.points": "300", "coarse.cells": "6", "training.steps": "4"}
        | {"coarse.delta": delta or 0.1} | ({} if weight is None else {"coarse.weight": weight}) | changes,
    )  # fmt: skip
    return experiments.train(problem, config, (seed,), reference=None)


def numbers(run):
    return jax.tree.leaves((run.fit.state.members, run.fit.history))


def test_a_second_run_of_the_same_shapes_compiles_nothing():
    run = solved(0.5, 0)
    for points, words in (([[0.5j]], "points: expected real numbers"), ([[float("nan")]], "point 0: expected finite")):
        with pytest.raises(hl.InputError, match=words):
            run.solution(points)
    with compilations() as found:
        solved(0.5, 0, weight=3.0)
    assert found == []
    solved(0.5, 0, method="pinn")
    with compilations() as found:
        solved(0.5, 1, method="pinn")  # another seed
    assert found == []


def test_problems_that_differ_do_not_share_results():
    changed = [{"amplitude": 0.9}, {"source": 2.0}, {"source": lambda x: x[0]}, {"delta": 0.12}, {"weight": 2.0}]
    base = {"amplitude": 0.5, "seed": 0}
    after = [numbers(solved(**base | change)) for change in [{}, *changed]]
    for index, change in enumerate([{}, *changed]):
        if index in (0, 2, 3):
            fem.reuse._programs.clear()
            fem.reuse._traced.clear()
            fresh = numbers(solved(**base | change))
            assert all(np.array_equal(a, b) for a, b in zip(after[index], fresh, strict=True)), change
    for other in after[1:]:
        assert any(not np.array_equal(a, b) for a, b in zip(after[0], other, strict=True))


@contextlib.contextmanager
def traces():
    """How often a function is traced within."""
    found, bind = [], fem.reuse._bind
    fem.reuse._bind = lambda function, arguments: found.append(function.__qualname__) or bind(function, arguments)
    yield found
    fem.reuse._bind = bind


def test_another_seed_does_not_trace_training_anew_and_its_numbers_are_the_same():
    solved(0.5, 0)
    with traces() as found:
        second = numbers(solved(0.5, 4))
    assert not [name for name in found if "advance" in name or "assemble" in name]
    fem.reuse._programs.clear()
    fem.reuse._traced.clear()
    assert all(np.array_equal(a, b) for a, b in zip(second, numbers(solved(0.5, 4)), strict=True))


@pytest.mark.parametrize("change", [{}, {"coarse.coupling": "defect"}, {"method": "pinn", "formulation": "hypercircle"}])
def test_sources_and_media_share_a_training_program(change):
    solved(0.5, 0, **change)
    with traces() as found:
        solved(0.9, 1, delta=0.12, weight=2.0, source=lambda x: 3.0 * x[0], **change)  # another alpha, another unit
    assert found and not [name for name in found if "advance" in name]


def test_what_is_given_is_an_argument_and_no_constant():
    def made(a, b):
        a, b = fem.given(a), fem.given(b)
        return fem.shared(lambda x: jnp.stack([a, b, x]))

    for a, b in ((1.0, 2.0), (5.0, 7.0)):
        with compilations() as found:
            assert made(a, b)(jnp.ones(())).tolist() == [a, b, 1.0]
    assert not found
    within = [jax.jit(functools.partial(jnp.multiply, fem.given(c))) for c in (3.0, 4.0)]  # a constant of a program within
    assert [float(fem.shared(lambda x, f=f: f(x))(jnp.ones(()))) for f in within] == [3.0, 4.0]
    one = fem.given(2.0)
    both = [fem.shared(lambda x, p=p: p[0] - p[1] + x)(jnp.ones(())) for p in ((one, one), (one, fem.given(3.0)))]
    assert [float(value) for value in both] == [1.0, 0.0]


def test_identities_tell_values_apart_and_users_have_none():
    one, same, other = (media.paper_1d(eps).conductivity for eps in (0.1, 0.1, 0.2))
    assert identity(one) == identity(same) != identity(other)
    assert identity(lambda x: x) is None and identity(media.from_function(lambda x: 1.0 + x[0], 1).conductivity) is None
    pixels = [media.raster(np.array([1.0, 2.0, value])).conductivity for value in (3.0, 3.0, 4.0)]
    told = [identity(function) for function in pixels]
    assert told[0] == told[1] != told[2]
    domains = [hl.domains.unit_square().vanishing, hl.domains.unit_square().distance, hl.domains.lshape().vanishing]
    assert len({identity(function) for function in domains}) == 3


def test_an_identity_follows_the_numbers_and_functions_that_the_code_reads(monkeypatch):
    told = [identity(training.gauss_newton(solver="dense").step) for _ in range(2)]
    assert told[0] == told[1] is not None and told[0] != identity(training.gauss_newton(solver="cg").step)
    monkeypatch.setattr(training.jacobians, "TILE", 5)
    assert identity(training.gauss_newton(solver="dense").step) != told[0]


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.booleans())
def test_identities_are_those_of_numbers_bit_for_bit(a, b, single):
    kind = np.float32 if single else np.float64
    values = [np.asarray([x], kind) for x in (a, b)]
    bits = [value.tobytes() for value in values]
    told = [identity(functools.partial(hl.domains.interval().layer, value)) for value in values]
    assert (told[0] == told[1]) == (bits[0] == bits[1]) and None not in told


def test_evaluation_at_many_points_compiles_once_and_follows_a_changed_variable():
    global FACTOR
    points = np.linspace(0, 1, 140_000)[:, None]
    table = jnp.arange(1.0, 3.0)

    def field(x):
        return FACTOR * x[0] * table[1]

    assert np.allclose(fem.evaluate(field, points), 2 * points[:, 0])
    with compilations() as found:
        assert np.allclose(fem.evaluate(field, points), 2 * points[:, 0])
    assert found == []
    table = table * 3
    assert np.allclose(fem.evaluate(field, points), 6 * points[:, 0])
    FACTOR = 5.0
    assert np.allclose(fem.evaluate(field, points), 30 * points[:, 0])


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 3), st.booleans(),
    st.lists(st.floats(-5, 5), min_size=2, max_size=2),
)  # fmt: skip
def test_shared_is_jit(a, b, power, nested, table):
    """Constants, branches taken at tracing, and arrays inside a jitted function inside."""
    held = jnp.asarray(table)

    def function(x):
        inner = (lambda y: a * y**power + held) if not nested else jax.jit(lambda y: a * y**power + held)
        return inner(x) + b

    x = jnp.asarray([0.5, -2.0])
    np.testing.assert_array_equal(fem.shared(function)(x), jax.jit(function)(x))


def test_random_keys_trees_and_other_shapes():
    def function(key, tree):
        return jax.random.normal(key, (2,)) * tree["a"], key

    made = fem.shared(function)
    for size in (2, 1):
        value, key = made(jax.random.key(3), {"a": jnp.ones(size)})
        np.testing.assert_array_equal(value, function(jax.random.key(3), {"a": jnp.ones(size)})[0])
        assert jax.random.key_data(key).tolist() == jax.random.key_data(jax.random.key(3)).tolist()
    compiled = fem.shared(lambda x: (x, 2 * x)).compile(jax.ShapeDtypeStruct((2,), jnp.float64))
    assert compiled(jnp.ones(2))[1].tolist() == [2.0, 2.0]


def test_a_callback_belongs_to_its_function():
    out = [fem.shared(lambda x, n=n: jax.pure_callback(lambda y: np.asarray(y) + n, x, x))(jnp.ones(())) for n in (1.0, 2.0)]
    assert [float(value) for value in out] == [2.0, 3.0]


def test_the_oldest_programs_go_first(monkeypatch):
    monkeypatch.setattr(fem.reuse, "KEPT", 3)
    for n in range(6):
        fem.shared(lambda x, n=n: x * n)(jnp.ones(3))
    assert len(fem.reuse._programs) <= 3


@pytest.fixture(autouse=True)
def _reset():
    yield
    globals()["FACTOR"] = 1.0


def test_functions_with_derivatives_of_their_own_share_no_program():
    def made(slope):
        f = jax.custom_jvp(lambda x: x**2)
        f.defjvp(lambda x, t: (f(*x), slope * x[0] * t[0]))
        return fem.shared(f)

    assert [float(jax.grad(made(slope))(0.3)) for slope in (2.0, 3.0)] == pytest.approx([0.6, 0.9])
