"""Memory before start: a run that will not fit is refused at once, with sizes that do; errors without a reference are null."""

import dataclasses
import re
import time

import jax
import jax.numpy as jnp
import pytest

from hybrid_lib import experiments, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.sizes import check_memory, forecast, free_memory
from hybrid_lib.experiments.summary import summary

GB = 1e9
SMALL = {"network.widths": "6", "sampling.points": "200", "coarse.cells": "6", "training.steps": "2"}


def plane(length):
    problem = experiments.own_problem(media.paper_2d(length), 1.0)
    return problem, experiments.own_configuration(problem)


def with_free(monkeypatch, size):
    monkeypatch.setattr("hybrid_lib.experiments.sizes.free_memory", lambda: size)


@pytest.mark.parametrize("inverse", [40, 50, 80])
def test_a_small_period_in_the_plane_is_refused_at_once_and_the_advice_fits(monkeypatch, inverse):
    problem, config = plane(1 / inverse)
    with_free(monkeypatch, 8 * GB)
    began = time.process_time()
    with pytest.raises(InputError, match=r"^memory: expected sizes that fit into 7.2 GB; received about \d+ GB, most") as caught:
        experiments.train(problem, config)
    assert time.process_time() - began < 10
    settings = dict(re.findall(r"([a-z]+\.[a-z]+)=([\d,]+)", str(caught.value)))
    assert {"coarse.cells", "coarse.pieces"} <= set(settings)
    advised = experiments.with_settings(config, settings)
    check_memory(problem, advised)
    fine = config.coarse.cells * config.coarse.pieces
    assert advised.coarse.cells * advised.coarse.pieces >= fine  # the quadrature is as fine as before


@pytest.mark.parametrize(
    "experiment, optimiser, settings, seeds, advice",
    [
        ("heat2d", "gauss-newton", {"coarse.coupling": "defect"}, 40, "set one seed at a time"),
        ("heat1d-eps15", "adam", {"method": "pinn", "sampling.points": "9000000"}, 1, r"set sampling\.points=\d+"),
        ("heat1d-eps15", "adam", {"method": "pinn", "sampling.points": 9, "network.widths": "90000,90000"}, 1, "for parameters;"),
        ("heat2d", "gauss-newton", {"network.widths": "9000,9000"}, 1, "; use a machine with more memory$"),
    ],
)
def test_other_sizes(monkeypatch, experiment, optimiser, settings, seeds, advice):
    config = experiments.with_settings(experiments.configuration(experiment, "hybrid", None, "quick", optimiser), settings)
    with_free(monkeypatch, 1 * GB)
    with pytest.raises(InputError, match=advice):
        experiments.run(config, tuple(range(seeds)))


def test_the_settings_of_the_experiments_fit_an_ordinary_machine(monkeypatch):
    with_free(monkeypatch, 4 * GB)
    for name in experiments.EXPERIMENTS:
        for optimiser in ("adam", "gauss-newton"):
            config = experiments.configuration(name, optimiser=optimiser)
            check_memory(experiments.problem_of(config), config)


@pytest.mark.parametrize("optimiser, coupling", [("gauss-newton", "defect"), ("adam", "averaged")])
def test_the_forecast_is_what_the_compiled_program_asks_for(optimiser, coupling):
    config = experiments.configuration("heat2d", "hybrid", None, "quick", optimiser)
    config = experiments.with_settings(config, {"coarse.coupling": coupling, "network.widths": "10", "coarse.cells": "14"})
    problem = experiments.problem_of(config)
    setup = experiments.assemble(problem, config, (0,))
    program = jax.jit(lambda *a: setup.program.advance(*a))
    memory = program.lower(setup.state, setup.data, jnp.asarray(0, jnp.int32)).compile().memory_analysis()
    ratio = forecast(problem, config).total / (memory.temp_size_in_bytes + memory.argument_size_in_bytes)
    assert 0.4 < ratio < 4, ratio


def test_memory_grows_with_every_size():
    problem, config = plane(1 / 10)
    base = forecast(problem, config).total
    coarse = dataclasses.replace(config.coarse, cells=2 * config.coarse.cells)
    assert forecast(problem, dataclasses.replace(config, coarse=coarse)).total > base
    assert forecast(problem, config, 3).total == pytest.approx(3 * base)
    assert free_memory() > 1e6


def test_a_problem_of_ones_own_needs_no_reference(monkeypatch):
    problem = experiments.own_problem(media.paper_1d(1 / 3), 1.0)
    config = experiments.own_configuration(problem, widths=(4,), steps=2)
    known = experiments.reference(problem)
    monkeypatch.setattr("hybrid_lib.experiments.runner.solve_reference", None)  # not even asked for
    result = experiments.train(problem, config)
    row = result.summary["seeds"][0]
    assert result.reference is None and result.summary["reference"] is None
    assert row["rel_l2"] is row["rel_h1"] is row["last_rel_l2"] is row["best_rel_h1"] is None
    assert row["status"] == "completed" and row["residual"] > 0 and list(result.fit.evaluations) == ["step"]
    given = experiments.train(problem, config, reference=known)
    assert given.summary["seeds"][0]["rel_l2"] > 0
    assert given.summary["seeds"][0]["residual"] == row["residual"]
    with pytest.raises(InputError, match=r"^reference: expected a Reference, None or \"auto\"; received True"):
        experiments.train(problem, config, reference=True)


def test_a_run_that_was_stopped_says_what_all_its_steps_take():
    config = experiments.with_settings(experiments.configuration("heat1d-eps15"), SMALL)
    stopped = experiments.run(config, reference=None, time_limit=1e-9)
    assert stopped.summary["steps"] == 0 and stopped.summary["forecast_seconds"] is None
    result = experiments.run(config, reference=None)
    longer = dataclasses.replace(result.setup, config=experiments.with_settings(config, {"training.steps": 500}))
    told = summary(longer, result.fit._replace(finished=False, seconds=3.0), lambda theta, data: {}, None)
    assert (told["forecast_seconds"], told["seeds"][0]["status"]) == (750.0, "time limit")
