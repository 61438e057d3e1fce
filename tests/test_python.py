"""Errors, problems and results cross processes; records compare; nothing is cut off to be real; nan stays out."""

import copy
import dataclasses
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_experiments import tiny

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.errors import InputError, real_array
from hybrid_lib.experiments import folder, with_settings
from hybrid_lib.pinn import domains
from hybrid_lib.replication import artefacts, runs
from hybrid_lib.training.solvers import nystrom

DEFECT = {"coarse.coupling": "defect", "coarse.pieces": 2, "training.balance_every": "auto"}


@pytest.fixture(scope="module")
def drawn():
    """A run of two seeds whose points are drawn anew, with every iteration in its history."""
    settings = {"sampling.resample_every": 2, "training.record_every": 1, "training.steps": 5}
    return experiments.run(with_settings(tiny("heat1d-eps15"), settings), (0, 1))


@pytest.fixture(scope="module")
def defect():
    return experiments.run(with_settings(tiny("heat1d-eps15"), DEFECT), (0,))


@pytest.mark.parametrize("kind", [InputError, folder.InUseError])
def test_errors_come_back_from_another_process(kind):
    error = kind("eps", "a number > 0", -1, "pass the period")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind and str(again) == str(error) and vars(again) == vars(error)


IMAGE = np.arange(1.0, 10.0).reshape(3, 3)
MEDIA = [
    lambda: media.paper_1d(0.1),
    lambda: media.paper_2d(0.1),
    lambda: media.constant(2.0, 2),
    lambda: media.layered([1, 10], (1, 0), 0.5, 2),
    lambda: media.tensor((1, 2), 0.3),
    lambda: media.raster(IMAGE),
    lambda: media.raster(IMAGE, smoothing="cubic"),
    lambda: media.random_smooth(jax.random.key(0), 2, 0.2),
    lambda: media.from_function(cosh, 1),
    lambda: dataclasses.replace(media.paper_2d(0.1), period=None, name="other"),
]


def cosh(x):
    return jnp.cosh(x[0])


@pytest.mark.parametrize("make", MEDIA)
def test_media_cross_processes(make):
    medium = make()
    again, x = pickle.loads(pickle.dumps(medium)), np.full((1, medium.dimension), 0.3)
    np.testing.assert_array_equal(fem.evaluate(again.conductivity, x), fem.evaluate(medium.conductivity, x))
    for item in dataclasses.fields(medium):
        if isinstance(value := getattr(medium, item.name), int | float | str | None):
            assert getattr(again, item.name) == value
    assert copy.deepcopy(medium) is medium


def test_a_medium_keeps_the_image_that_it_was_made_of():
    image = IMAGE.copy()
    medium = media.raster(image)
    image[:] = 1.0
    again, x = pickle.loads(pickle.dumps(medium)), np.array([[0.9, 0.9]])
    np.testing.assert_array_equal(fem.evaluate(again.conductivity, x), [9.0])


def test_functions_without_a_name_are_one_line():
    for make, what in [
        (lambda: media.from_function(lambda x: 2 + x[0], 1), "medium"),
        (lambda: experiments.own_problem(media.paper_1d(0.1), lambda x: x[0]), "source"),
    ]:
        with pytest.raises(InputError, match=f"^{what}: expected functions defined at the top of a module; .* out=") as error:
            pickle.dumps(make())
        assert "\n" not in str(error.value)


def test_results_cross_processes(drawn):
    again = pickle.loads(pickle.dumps(drawn))
    assert again.summary == drawn.summary and again.setup.config == drawn.setup.config
    np.testing.assert_array_equal(jax.random.key_data(again.fit.state.key), jax.random.key_data(drawn.fit.state.key))
    for k in range(2):
        np.testing.assert_array_equal(again.solution([[0.3]], k)[0], drawn.solution([[0.3]], k)[0])
        assert again.coarse(k)["upscaled"] == drawn.coarse(k)["upscaled"]
    copied = copy.deepcopy(drawn)
    copied.fit.history["step"][:] = -1
    copied.summary["seeds"][0]["rel_l2"] = None
    assert drawn.fit.history["step"][0] == 0 and drawn.summary["seeds"][0]["rel_l2"] is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"medium": media.paper_1d(0.1)}, "medium: expected dimension 2, as the domain"),
        ({"medium": lambda x: 1.0}, "medium: expected a Medium; received function"),
        ({"medium": dataclasses.replace(media.paper_2d(0.1), is_tensor=True)}, "medium: expected a value of shape (2, 2)"),
        ({"domain": "unit_square"}, "domain: expected a Domain; received str"),
        ({"source": lambda x: x}, "source: expected a number at one point x; received shape (2,)"),
        ({"source": "3"}, "source"),
        ({"source": lambda x: None}, "source: expected a function of one point x (2,)"),
        ({"source": lambda x, y: y}, "source: expected a function of one point x (2,)"),
        ({"source": lambda x: 1j * x[0]}, "source: expected real values"),
        ({"source": lambda x: float(x[0])}, "source: expected a function that JAX can trace"),
        ({"direction": (1.0,)}, "direction: expected 2 finite numbers"),
        ({"direction": 1.0}, "direction: expected 2 finite numbers"),
        ({"direction": (np.nan, 0.0)}, "direction: expected 2 finite numbers"),
        ({"direction": (1j, 0.0)}, "direction: expected real numbers"),
        ({"name": 3}, "name: expected a str"),
    ],
)
def test_a_wrong_problem_cannot_be_made(change, message):
    right = {"name": "own", "domain": domains.unit_square(), "medium": media.paper_2d(0.1), "source": lambda x: x[0]}
    problem = experiments.Problem(**right, direction=np.array([1, 0]))
    assert problem.direction == (1.0, 0.0) and copy.deepcopy(problem) is problem
    with pytest.raises(InputError) as error:
        dataclasses.replace(problem, **change)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_coarse_view_is_of_the_draw_that_the_iterate_saw(drawn, which):
    """Row n of the history is of the iterate before step n, which for the best one is the iterate itself."""
    members, history = drawn.fit.state.members, drawn.fit.history
    first = training.member(drawn.setup.data, 1)["points"]["collocation"]
    for k in range(2):
        seen = drawn.coarse(k, which)["upscaled"]
        if which == "best":
            np.testing.assert_allclose(seen, history["upscaled"][int(members.best.step[k]), k], rtol=1e-5)
        else:
            data = training.member(drawn.setup.resample(4), k)
            fields = drawn.setup.objective.fields(drawn.parameters(k, "last"), data)
            np.testing.assert_allclose(seen, drawn.setup.objective.coarse.upscale(fields, data), rtol=1e-5)
    assert not np.array_equal(drawn.data(1, "last")["points"]["collocation"], first)


def test_without_draws_the_data_are_those_of_the_setup(defect):
    assert defect.setup.data_at(5) is defect.setup.data
    assert np.array_equal(defect.data()["points"]["collocation"], defect.setup.data["points"]["collocation"][0])


def test_a_defect_run_leaves_an_artefact(defect, tmp_path):
    spec = dataclasses.replace(runs.RUNS["heat1d-eps15-hybrid-ms"], id="defect", seeds=(0,))
    artefacts.export(spec, defect, tmp_path)
    found = artefacts.load("defect", tmp_path).arrays
    np.testing.assert_allclose(found["coarse:defect"][0], defect.coarse()["defect"], rtol=1e-6)
    assert "coarse:averaged" not in found


def test_records_with_arrays_compare_and_hash(drawn):
    again = dataclasses.replace(drawn, fit=drawn.fit._replace(seconds=0.0))
    for one, other in [
        (drawn, again),
        (drawn.reference, dataclasses.replace(drawn.reference)),
        (drawn.setup, dataclasses.replace(drawn.setup)),
        (drawn.setup.coarse_problem, dataclasses.replace(drawn.setup.coarse_problem)),
        (drawn.setup.objective, dataclasses.replace(drawn.setup.objective)),
        (drawn.fit, again.fit),
        (drawn.fit.state, drawn.fit.state._replace()),
        (drawn.fit.state.members.coarse, drawn.fit.state.members.coarse._replace()),
    ]:
        assert one == one and one != other and len({one, other}) == 2


@pytest.mark.parametrize(
    "function",
    [lambda x: x[0] + 1j, lambda x: 1j * np.sin(x[0]), lambda x: None, lambda x: {"K": 1.0}, lambda x: jnp.exp(1j * x)],
)
def test_fields_that_are_not_real_are_refused(function):
    with pytest.raises(InputError, match=r"expected real numbers; received"):
        fem.evaluate(function, np.array([[0.25], [0.5]]))


@pytest.mark.parametrize("function", [lambda x: x[0] > 0.3, lambda x: int(x[0] > 0.3), lambda x: jnp.float32(x[0] > 0.3)])
def test_whole_and_single_precision_values_are_numbers(function):
    assert fem.evaluate(function, np.array([[0.25], [0.5]])).tolist() == [0.0, 1.0]


def test_a_field_has_one_shape():
    with pytest.raises(InputError, match=r"one shape at all points; received \(1,\) and \(2,\)"):
        fem.evaluate(lambda x: [1.0] * (1 + int(x[0] > 0.3)), np.array([[0.25], [0.5]]))


MASKED = np.ma.masked_array([1.0, 2.0], [0, 1])


@pytest.mark.parametrize(
    "value", [1j, np.array([1j, 2.0]), "a", None, MASKED, np.datetime64("2020"), [[1], [2, 3]]], ids=str
)
def test_arrays_that_are_not_real_are_refused(value):
    mesh = fem.interval(2)
    for call in (
        lambda: real_array("values", value),
        lambda: fem.load(mesh, value),
        lambda: fem.solve_diffusion(mesh, value, 1.0),
        lambda: fem.solve_dirichlet(fem.stiffness(mesh, 1.0), fem.load(mesh, 1.0), [0, 2], value),
        lambda: fem.l2_norm(mesh, value),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_nystrom_of_zero_is_zero(dtype):
    U, values = nystrom(lambda v: 0 * v, jnp.ones(7, dtype), 3)
    assert values.tolist() == [0.0] * 3 and values.dtype == dtype
    np.testing.assert_allclose(U.T @ U, np.eye(3), atol=1e-5)


@pytest.mark.parametrize(
    ("choices", "settings"),
    [({}, {}), ({}, DEFECT), ({"optimiser": "gauss-newton"}, DEFECT)],
    ids=["averaged", "defect", "gauss-newton"],
)
def test_a_healthy_run_makes_no_nan(choices, settings):
    small = {"network.widths": 4, "network.frequencies": 2, "coarse.cells": 8, "training.steps": 2}
    with jax.debug_nans(True), jax.debug_infs(True):
        result = experiments.run(with_settings(tiny("heat1d-eps15", **choices), settings | small))
    assert result.summary["seeds"][0]["status"] == "completed"


@pytest.mark.parametrize("dimension", [1, 2])
def test_relative_errors_of_the_zero_solution_are_not_numbers(dimension, tmp_path, monkeypatch):
    """A constant medium without a source: u = 0, and rounding is no solution."""
    monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path))
    problem = experiments.own_problem(media.constant(3.0, dimension))
    known = experiments.reference(problem, cells=20, **({"mesh_cells": 16} if dimension == 2 else {}))
    assert known.norms() == (0.0, 0.0) and known.error == np.inf and known.upscaled == pytest.approx(3.0)
    if dimension == 1:
        result = experiments.train(problem, with_settings(tiny("heat1d-eps15", method="pinn"), {"training.steps": 2}))
        row = json.loads(json.dumps(result.summary))["seeds"][0]
        assert row["rel_l2"] is None and row["rel_h1"] is None and row["residual"] > 0
