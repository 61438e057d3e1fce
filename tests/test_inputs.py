"""Inputs that used to be served silently wrong: other drops, settings changed by hand, other setups, seeds that are not there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.coarse import coarse_problem
from hybrid_lib.multiscale.compression import average, compression, pad
from hybrid_lib.multiscale.homogenisation import harmonic_mean, homogenised_tensor
from hybrid_lib.multiscale.upscaling import upscale, upscaled_scalar, upscaled_tensor


@pytest.mark.parametrize("drop", [0.5, 1.0, 3.0])
def test_the_upscaled_coefficient_does_not_depend_on_the_size_of_the_drop(drop):
    problem = experiments.own_problem(media.paper_1d(0.1), 0.0, direction=(drop,))
    known = experiments.reference(problem)
    K = jax.vmap(problem.medium.conductivity)(jnp.asarray(known.points))
    computed = upscaled_scalar(K, jnp.asarray(known.gradient), jnp.array([drop]), jnp.asarray(known.weights))
    np.testing.assert_allclose([known.upscaled, computed[0]], np.sqrt(3), rtol=1e-9)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (2.0, 0.0), (1.0, 1.0)])
def test_a_constant_in_the_plane_is_its_own_upscaled_coefficient(direction):
    problem = experiments.own_problem(media.constant(3.0, 2), 1.0, direction=direction)
    assert experiments.reference(problem, mesh_cells=16).upscaled == pytest.approx(3.0, rel=1e-9)


def test_tensor_conductivities_give_the_entry_along_the_drop():
    rng = np.random.default_rng(0)
    K = rng.normal(size=(40, 2, 2))
    K = jnp.asarray(K @ np.swapaxes(K, 1, 2) + np.eye(2))
    weights, gradient = rng.uniform(1, 2, 40), rng.normal(size=(40, 2))
    gradient = gradient - weights @ gradient / weights.sum()  # as of a function that vanishes on the boundary
    e = np.array([1.0, 0.0])
    fields = np.stack([gradient + e, np.tile(e[::-1], (40, 1))])
    whole = upscaled_tensor(K, jnp.asarray(fields), jnp.asarray(weights))
    along = upscaled_scalar(K, jnp.asarray(gradient), jnp.asarray(e), jnp.asarray(weights))
    np.testing.assert_allclose(along[0], whole[0, 0, 0], rtol=1e-12)


def trained(**options):
    config = experiments.configuration("heat1d-eps15")
    return experiments.run(config, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fem.solve_diffusion(fem.unit_square(2), media.paper_2d(0.5), 1.0), "received Medium; pass one of"),
        (lambda: coarse_problem(fem.interval(4), direction=0.0), "direction: expected an integer below 1"),
        (lambda: upscale(np.ones(2), np.ones((1, 2, 1)), np.zeros(2)), "weights of part 0: expected one that is not 0"),
        (lambda: fem.from_simplices(np.eye(3)[:, :2] + 0j, [[0, 1, 2]]), "points: expected real numbers; received values of"),
        (lambda: trained(time_limit=float("nan")), "time_limit: expected seconds; received nan"),
        (lambda: trained(checkpoint_every="a"), "checkpoint_every: expected seconds >= 0"),
        (lambda: trained(callbacks=print), "callbacks: expected a tuple of functions"),
        (lambda: trained(resume=True), "out: expected the directory of the run that is resumed; received none"),
        (lambda: training.member({"a": jnp.zeros((2, 3))}, 2), "seed index: expected an index of 2 seeds; received 2"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (None, "method", "Hybrid"),
        (None, "boundary", "Hard"),
        (None, "formulation", "first_order"),
        ("training", "optimiser", "gauss_newton"),
        ("training", "steps", 2.5),
        ("training", "report_every", 0),
        ("sampling", "sampler", "Sobol"),
        ("network", "kind", "two_scale"),
    ],
)
def test_settings_changed_by_hand_are_checked(section, name, value):
    config = experiments.configuration("heat1d-eps15")
    owner = config if section is None else getattr(config, section)
    with pytest.raises(InputError, match=name):
        dataclasses.replace(owner, **{name: value})


@pytest.mark.parametrize("seeds", [0, (1.5,), (-1,), (2**32,)])
def test_seeds_are_whole_numbers_in_a_sequence(seeds):
    config = experiments.configuration("heat1d-eps15")
    with pytest.raises(InputError, match="seeds"):
        experiments.train(experiments.problem_of(config), config, seeds)


def test_a_network_that_a_scale_does_not_have_is_refused():
    with pytest.raises(InputError, match="two-scale"):
        experiments.configuration("heat2d", network="two-scale")


@pytest.fixture(scope="module")
def two():
    """A tiny run of two seeds; numpy integers are seeds, too."""
    settings = {
        "network.widths": "4", "network.frequencies": "2", "sampling.points": "256", "coarse.cells": "10",
        "coarse.delta": "0.2", "training.steps": "2",
    }  # fmt: skip
    config = experiments.with_settings(experiments.configuration("heat1d-eps15"), settings)
    return config, experiments.run(config, np.arange(2))


def test_a_seed_or_an_iterate_that_is_not_there_is_refused(two):
    _, run = two
    for call in (run.solution, lambda _, **k: run.coarse(**k)):
        with pytest.raises(InputError, match="seed_index"):
            call([[0.3]], seed_index=2)
    with pytest.raises(InputError, match="which"):
        run.parameters(which="Best")


def test_a_setup_of_another_run_is_refused(two):
    config, run = two
    problem, other = experiments.problem_of(config), experiments.with_settings(config, {"sampling.points": "300"})
    elsewhere = dataclasses.replace(problem, source=lambda x: 2 * x[0])
    for solved, changed, seeds, more in (
        (problem, other, (0, 1), {}),
        (problem, config, (0,), {}),
        (elsewhere, config, (0, 1), {}),
        (problem, config, (0, 1), {"initial": (run.fit.state.members.params, run.setup.data["fixed"])}),
    ):
        with pytest.raises(InputError, match="setup"):
            experiments.train(solved, changed, seeds, setup=run.setup, **more)
    assert experiments.train(problem, config, (0, 1), setup=run.setup).summary["steps"] == 2


def test_media_of_small_numbers_do_not_share_a_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path))
    first = media.from_function(lambda x: 1e-12 * (3 + jnp.sin(2 * jnp.pi * x[0])), 2)
    second = media.from_function(lambda x: 1e-12 * (1 + 9 * x[0] ** 2), 2)
    sizes = [experiments.reference(experiments.own_problem(m), mesh_cells=16).norms()[0] for m in (first, second)]
    assert abs(sizes[0] / sizes[1] - 1) > 0.1
    assert len(list(tmp_path.glob("*.npz"))) == 2
    damaged = next(iter(tmp_path.glob("*.npz")))
    damaged.write_bytes(b"")  # computed anew
    again = [experiments.reference(experiments.own_problem(m), mesh_cells=16).norms()[0] for m in (first, second)]
    assert again == sizes


def test_references_refuse_what_they_cannot_nest():
    problem = experiments.heat2d_problem(0.5)
    for cells in (33, 4):
        with pytest.raises(InputError, match="mesh_cells"):
            experiments.reference(problem, mesh_cells=cells)


def test_functions_that_index_are_called_point_by_point():
    table = [1.0, 2.0, 3.0, 4.0]
    found = fem.cell_coefficient(fem.interval(4), lambda x: table[(4 * x[0]).astype(int)], order=1)
    np.testing.assert_allclose(np.ravel(found)[:4], table)


def test_a_damaged_checkpoint_is_told_before_anything_runs(tmp_path):
    path = tmp_path / "state.npz"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="checkpoint"):
        training.steps_done(path)


def test_draws_of_points_give_averages_of_one_length():
    nodes, lengths, values = np.array([[0.3], [0.7]]), set(), []
    for n in (45, 50, 60):
        points = (np.arange(n)[:, None] + 0.5) / n
        padded = pad([compression(nodes, points, 0.4, np.array([0.3, 0.3]))])
        lengths.add(padded.rows.shape[1])
        one = jax.tree.map(lambda leaf: leaf[0], padded)
        values.append(average(one, jnp.ones(n), jnp.zeros(0)))
    assert lengths == {64}  # of 36, 40 and 48 neighbours or so: one compiled program
    np.testing.assert_allclose(values, 1.0, rtol=1e-12)


@pytest.mark.parametrize("count", [0, -3, 2.5, "9", True, np.nan, None])
def test_numbers_of_cells_and_unknowns_are_whole_numbers_at_every_door(count):
    medium, plane = media.paper_1d(0.2), media.paper_2d(0.25)
    problem = experiments.own_problem(medium, 1.0)
    doors = {
        "most_unknowns": [
            lambda: experiments.mean_flux(medium, most_unknowns=count),
            lambda: experiments.certify(problem, lambda x: x[0] * (1 - x[0]), most_unknowns=count),
            lambda: experiments.element_cost(problem, most_unknowns=count),
        ],
        "n": [
            lambda: experiments.fine_solution(problem, count),
            lambda: harmonic_mean(medium, count, 0.2),
            lambda: homogenised_tensor(plane, 2, count, 0.25),
        ],
        "cells": [lambda: experiments.reference(problem, count)] * (count is not None),
        "mesh_cells": [lambda: experiments.reference(problem, mesh_cells=count)] * (count is not None),
    }
    for name, calls in doors.items():
        for call in calls:
            with pytest.raises(InputError, match=rf"^{name}: expected a whole number >= \d; received "):
                call()


def test_bounds_and_means_refuse_what_they_cannot_mean():
    medium, pixels = media.paper_2d(1 / 100), media.raster([1.0, 3.0], period=0.5)
    for call, words in (
        (lambda: experiments.mean_flux(medium, direction=(0, 0)), "direction: expected 2 finite numbers, not all zero"),
        (lambda: experiments.mean_flux(medium, tolerance="9"), "tolerance: expected a number >= 0"),
        (lambda: experiments.mean_flux(medium, most_unknowns=900), "most_unknowns: .* received 900, for 40,401 on the first"),
        (lambda: harmonic_mean(pixels, period=0.4), "period along axis 0"),
        (lambda: fem.from_simplices([[0.0], [1.0]], np.ma.masked_equal([[0, 1]], 1)), "cells: .* received a masked"),
        (lambda: experiments.run(experiments.configuration("heat2d"), (True,)), "seeds: expected a sequence of integers"),
        (lambda: experiments.run(experiments.configuration("heat2d"), setup=4), "setup: expected what experiments.assemble"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            call()
    assert harmonic_mean(pixels) == pytest.approx(1.5, rel=1e-14)
