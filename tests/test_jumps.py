"""The strong form asks at every door whether K jumps, also where automatic differentiation does not see it."""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import experiments, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import assemble, own_configuration, own_problem, train
from hybrid_lib.experiments.jumps import find_jump, require_continuous, require_no_jumps, warn_of_layers
from hybrid_lib.pinn import domains
from hybrid_lib.sides import Dirichlet, Neumann

LINE = {
    "floor": (lambda x: 1 + jnp.floor(2 * x[0]), [0.5]),
    "round": (lambda x: 1 + 0.5 * jnp.round(x[0]) + x[0], [0.5]),
    "where": (lambda x: jnp.where(x[0] < 0.3, 1.0, 1.01) + jnp.sin(200 * x[0]) ** 2, [0.3]),
    "comparison": (lambda x: 2.0 + (x[0] > 0.7) + jnp.sin(2 * jnp.pi * x[0] / 0.01), [0.7]),
    "remainder": (lambda x: 1 + jnp.mod(x[0], 0.6), [0.6]),
    "sign": (lambda x: 2 + jnp.sign(x[0] - 0.123), [0.123]),
    "thin": (lambda x: 1 + 9.0 * (jnp.abs(x[0] - 0.4321) < 1e-3), [0.4311, 0.4331]),
    "integer": (lambda x: 1 + (2 * x[0]).astype(jnp.int32), [0.5]),
    "select": (lambda x: jnp.select([x[0] < 0.25], [1.0], 3.0), [0.25]),
    "searchsorted": (lambda x: jnp.array([1.0, 5.0, 5.0])[jnp.searchsorted(jnp.array([0.2, 0.9]), x[0])], [0.2, 0.9]),
    "small units": (lambda x: 1e-9 * jnp.where(x[0] < 0.3, 1.0, 2.0), [0.3]),
}
CONTINUOUS = {
    "steep": lambda x: 2 + jnp.tanh((x[0] - 0.5) / 1e-4),
    "steeper": lambda x: 2 + jnp.tanh((x[0] - 0.5) / 1e-7),
    "kink": lambda x: 1 + 100 * jnp.abs(x[0] - 0.3333),
    "clip": lambda x: jnp.clip(100 * x[0], 1, 50),
    "maximum": lambda x: jnp.maximum(x[0], 0.5),
    "fast": lambda x: 2 + jnp.sin(2 * jnp.pi * x[0] / 1e-3),
    "faster than the points": lambda x: 2 + jnp.sin(2 * jnp.pi * x[0] / 1e-4),
    "contrast": lambda x: jnp.exp(6 * jnp.sin(2 * jnp.pi * x[0] / 0.01)),
    "root": lambda x: 1 + jnp.sqrt(jnp.abs(x[0] - 0.5)),
    "spike": lambda x: 1 + 1e6 * jnp.exp(-(((x[0] - 0.5) / 1e-3) ** 2)),
    "single precision": lambda x: jnp.exp(1.2 * jnp.sin(75 * x[0].astype(jnp.float32))),
    "glued": lambda x: jnp.where(x[0] < 0.5, x[0] + 1, 2.0 - x[0]),
    "table": lambda x: jnp.interp(x[0], jnp.array([0.0, 0.3, 1.0]), jnp.array([1.0, 9.0, 2.0])),
}
SQUARE = {
    "disc": (
        lambda x: jnp.where(jnp.hypot(x[0] - 0.3, x[1] - 0.6) < 0.03, 50.0, 1.0),
        lambda x: np.hypot(x[0] - 0.3, x[1] - 0.6) - 0.03,
    ),
    "slanted": (lambda x: 1 + jnp.floor(x[0] + x[1]), lambda x: x[0] + x[1] - 1),
    "diagonal": (lambda x: jnp.where(x[0] > x[1], 1.0, 2.0), lambda x: x[0] - x[1]),
    "corner": (lambda x: 1.0 + (x[0] > 0.7) * (x[1] > 0.7), lambda x: min(x) - 0.7),
    "tensor": (lambda x: jnp.where(x[0] > 0.4, 2.0, 1.0) * jnp.eye(2, dtype=x.dtype), lambda x: x[0] - 0.4),
    "waves": (lambda x: 3 + jnp.sum(jnp.sin(200 * jnp.pi * x)) + (x[0] > 0.3), lambda x: x[0] - 0.3),
}  # fmt: skip
SMOOTH_SQUARE = {
    "hills": lambda x: jnp.exp(1.5 * jnp.sin(8 * jnp.pi * x[0]) * jnp.sin(8 * jnp.pi * x[1])),
    "crease": lambda x: 1 + 100 * jnp.abs(x[0] - x[1]),
    "tensor": lambda x: (2 + jnp.sin(30 * x[0])) * jnp.eye(2, dtype=x.dtype),
}


@pytest.fixture(autouse=True)
def users_mix_dtypes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("name", LINE)
def test_hidden_jumps_are_found_at_their_place(name):
    function, places = LINE[name]
    jump = find_jump(media.from_function(function, 1), domains.interval())
    assert min(abs(jump.point[0] - place) for place in places) < 1e-12
    before, after = (float(function(jnp.array([jump.point[0] + s]))) for s in (-1e-9, 1e-9))
    assert (float(jump.below), float(jump.above)) == pytest.approx((before, after), rel=1e-5)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_steep_and_kinked_functions_do_not_jump(name):
    assert find_jump(media.from_function(CONTINUOUS[name], 1), domains.interval()) is None


@pytest.mark.parametrize("name", SQUARE)
def test_hidden_jumps_in_the_plane(name):
    function, distance = SQUARE[name]
    jump = find_jump(media.from_function(function, 2), domains.unit_square())
    assert abs(distance(jump.point)) < 1e-12
    assert np.linalg.norm(np.subtract(jump.above, jump.below)) > 0.9


@pytest.mark.parametrize("name", SMOOTH_SQUARE)
def test_smooth_media_in_the_plane(name):
    assert find_jump(media.from_function(SMOOTH_SQUARE[name], 2), domains.unit_square()) is None


@settings(max_examples=6, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(-2, 2).filter(lambda s: abs(s) > 0.01), st.floats(1e-6, 1e6))
def test_a_jump_anywhere_of_any_size_in_any_unit(place, size, unit):
    def function(x):
        return unit * (jnp.exp(jnp.sin(20 * x[0])) + jnp.where(x[0] > place, max(size, 0.0), max(-size, 0.0)))

    jump = find_jump(media.from_function(function, 1), domains.interval())
    assert jump.point[0] == pytest.approx(place, abs=1e-12)
    assert jump.above - jump.below == pytest.approx(size * unit, rel=1e-6)


def test_jumps_within_a_small_period_and_off_the_square():
    eps = 1 / 128
    dots = media.from_function(
        lambda x: jnp.where(jnp.sum(jnp.mod(x / eps, 1) < 0.2) == 2, 9.0, 1.0), 2, period=eps
    )
    assert find_jump(dots, domains.unit_square()) is not None
    ell = media.from_function(lambda x: jnp.where((x[0] > 0.1) & (x[1] < -0.1), 2.0, 1.0), 2, box=(-1, 1))
    assert find_jump(ell, domains.lshape()) is None  # it jumps in the missing quarter alone


def test_the_search_is_quick_and_the_papers_media_are_not_searched():
    medium = media.from_function(SMOOTH_SQUARE["hills"], 2, period=0.25)
    find_jump(medium, domains.unit_square())
    began = time.process_time()
    find_jump(dataclasses.replace(medium, conductivity=functools.partial(medium.conductivity)), domains.unit_square())
    assert time.process_time() - began < 2.0  # 0.2 s where nothing else runs
    for known in (media.paper_1d(0.1), media.paper_2d(0.1), media.constant(1.0, 2), media.layered([1, 2], 0, 0.1, 1, 0.05)):
        assert known.is_lipschitz is True


def strong(problem):
    """The paper's configuration of the strong form for this dimension, at its smallest."""
    name = "heat1d-eps15" if problem.domain.dimension == 1 else "heat2d"
    config = experiments.configuration(name, method="pinn", network="mlp")
    return experiments.with_settings(config, {"network.widths": "4", "sampling.points": "8"})


JUMPING = {
    "layers": (media.layered([1.0, 10.0], 0, 0.5, 1), "'layered', which jumps from 1 to 10 at x = (0.25,)"),
    "slanted layers": (media.layered([1.0, 10.0], (1.0, 2.0), 0.5, 2), "'layered', which jumps from"),
    "pixels": (media.raster([[1.0, 2.0], [1.0, 5.0]]), "'raster', which jumps from 2 to 5 at x = (0.5, "),
    "tensor": (media.tensor([1.0, 2.0], 0.1, media.raster([[1.0], [2.0]])), "'tensor(raster)', which jumps from"),
    "turning": (media.tensor([1.0, 2.0], lambda x: jnp.where(x[0] > 0.5, 1.0, 0.0)), "which jumps from"),
    "hidden": (media.from_function(LINE["floor"][0], 1), "'function', which jumps from 1 to 2 at x = (0.5,)"),
    "by word": (media.from_function(lambda x: 1 + x[0], 1, is_lipschitz=False), "'function', which jumps;"),
}


@pytest.mark.parametrize("name", JUMPING)
def test_every_door_of_the_strong_form_refuses_jumps_in_one_line(name):
    medium, text = JUMPING[name]
    problem = own_problem(medium)
    config = strong(problem)
    doors = [lambda: require_no_jumps(problem), lambda: assemble(problem, config, (0,)), lambda: train(problem, config)]
    for door in [*doors, lambda: own_configuration(problem, length=0.5)]:
        with pytest.raises(InputError) as caught:
            door()
        message = str(caught.value)
        assert message.startswith("medium: expected a conductivity without jumps") and text in message
        assert "finite elements" in message and "formulation='first-order'" in message and "\n" not in message


def test_run_asks_too(monkeypatch):
    jumping = own_problem(media.layered([1.0, 10.0], 0, 0.5, 1))
    monkeypatch.setattr("hybrid_lib.experiments.runner.problem_of", lambda config: jumping)
    with pytest.raises(InputError, match="medium: expected a conductivity without jumps"):
        experiments.run(experiments.configuration("heat1d-eps15"))


def test_a_derivative_that_is_not_that_of_the_medium_is_refused():
    def waves(x):
        return 2 + jnp.sin(6 * x[0])

    wrong = {
        "sign": media.from_function(waves, 1, gradient=lambda x: -6 * jnp.cos(6 * x)),
        "factor": media.from_function(waves, 1, gradient=lambda x: jnp.cos(6 * x)),
        "stopped": media.from_function(lambda x: waves(jax.lax.stop_gradient(x)), 1),
    }
    for medium in wrong.values():
        with pytest.raises(InputError, match=r"divergence of the medium: expected the gradient of K, \[[\d.-]+\] at x"):
            require_no_jumps(own_problem(medium))
    require_no_jumps(own_problem(media.from_function(waves, 1, gradient=lambda x: 6 * jnp.cos(6 * x))))
    for function in (*CONTINUOUS.values(), lambda x: 3.0 + 0 * x[0]):
        require_no_jumps(own_problem(media.from_function(function, 1)))
    for function in SMOOTH_SQUARE.values():
        require_no_jumps(own_problem(media.from_function(function, 2)))


def test_the_first_order_system_and_the_callers_word_pass():
    medium = media.layered([1.0, 10.0], 0, 0.5, 1)
    first = own_configuration(own_problem(medium), widths=(3, 3), formulation="first-order")
    setup = assemble(own_problem(medium), first, (0,))
    assert np.isfinite(setup.data["conductivity"]).all()
    function = LINE["floor"][0]
    require_no_jumps(own_problem(media.from_function(function, 1, is_lipschitz=True)))
    with pytest.raises(InputError, match="jumps from 1 to 2"):
        require_no_jumps(own_problem(media.from_function(function, 1)))
    require_no_jumps(own_problem(media.raster([1.0, 9.0], smoothing="linear")))


@pytest.mark.parametrize("size", [1e6, 1e-6])
def test_jumps_are_found_on_domains_of_any_size(size):
    def layer(x):
        return jnp.where(x[0] < 0.3 * size, 1.0, 4.0)

    def smooth(x):
        return 2 + jnp.sin(30 * x[0] / size)

    one, other = (find_jump(media.from_function(K, 1, box=(0.0, size)), domains.interval(0.0, size)) for K in (layer, smooth))
    assert one.point[0] == pytest.approx(0.3 * size, rel=1e-12) and other is None


@pytest.mark.parametrize("width, seen", [(1e-6, False), (1e-2, True)])
def test_a_layer_between_the_points_of_training_is_told(width, seen, recwarn):
    problem = own_problem(media.from_function(lambda x: 2 + jnp.tanh((x[0] - 0.4) / width), 1))
    require_no_jumps(problem)
    warn_of_layers(problem, 2048)
    if seen:
        assert not recwarn.list
    else:
        assert str(recwarn.pop().message).startswith("medium: 'function' goes from 1 to 3 within 0.00012 at x = (0.4),")


def test_temperatures_that_jump_are_refused_for_every_formulation():
    square, triangle = domains.unit_square(), domains.polygon([(0, 0), (1, 0), (0, 1)])
    step, ramp = (lambda x: jnp.where(x[1] < 0.3, 0.0, 5.0)), (lambda x: jnp.clip(9 * x[1], 0.0, 5.0))
    zero = {name: Dirichlet(0.0) for name in square.sides}
    patch = Dirichlet(lambda x: 5.0 * ((x[1] > 0.3) & (x[1] < 0.6)))
    for domain, sides in ((square, Dirichlet(step)), (triangle, Dirichlet(step)), (square, zero | {"left": patch})):
        problem = experiments.Problem(domain=domain, medium=media.constant(1.0, 2), boundary=sides)
        config = own_configuration(problem, widths=(4, 4), formulation="hypercircle", length=0.5)
        with pytest.raises(InputError, match=r"boundary: expected temperatures without jumps, .* a jump from .* through x = "):
            assemble(problem, config, (0,))
    for sides in (Dirichlet(ramp), zero | {"left": Neumann(step)}, zero | {"left": Dirichlet(lambda x: x[1] * (1 - x[1]))}):
        require_continuous(experiments.Problem(domain=square, medium=media.constant(1.0, 2), boundary=sides))
