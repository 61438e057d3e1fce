"""The directory of a run: what it refuses to mix, who may write to it, and what it leaves behind when a run fails."""

import contextlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_experiments import leaves, tiny

from hybrid_lib import experiments, media, training
from hybrid_lib.cli import _in_options, main
from hybrid_lib.config import with_settings
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import folder as folders
from hybrid_lib.experiments import runner
from hybrid_lib.methods import points

CONFIG = with_settings(tiny("heat1d-eps15"), {"training.steps": "4"})
SHORT = with_settings(CONFIG, {"training.steps": "2"})
EPS = CONFIG.eps
TROUBLE = (Path(__file__).parents[1] / "book" / "troubleshooting.md").read_text(encoding="utf-8")


def problem(amplitude=1.0, source=1.0, direction=(1.0,)):
    medium = media.from_function(lambda x: 2 + amplitude * jnp.sin(2 * jnp.pi * x[0] / EPS), 1, period=EPS)
    return experiments.own_problem(medium, source, direction)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The directory of a run of two steps."""
    out = tmp_path_factory.mktemp("begun") / "run"
    experiments.train(problem(), SHORT, out=out)
    return out


@pytest.fixture
def run(begun, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("medium", {"amplitude": 1.001}),
        ("source", {"source": 1.001}),
        ("source", {"source": lambda x: x[0]}),
        ("direction", {"direction": (2.0,)}),
    ],
)
def test_resume_refuses_another_problem(name, other, run):
    before = {p.name: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(InputError) as error:
        experiments.train(problem(**other), CONFIG, out=run, resume=True)
    assert str(error.value).startswith(f"resume, {name}: ")
    said = str(_in_options(error.value)).replace(str(run), "runs/a")
    assert said.replace(f"--resume, {name}", "--resume, medium") in TROUBLE
    assert before == {p.name: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_resume_refuses_a_medium_that_differs_between_the_points(tmp_path):
    """A film that resists, so thin that the points of the run miss it, and the same one elsewhere."""

    def film(at):
        film = lambda x: jnp.where(jnp.abs(x[0] - at) < 4.5e-4, 1e-3, 2.0)  # noqa: E731
        medium = media.from_function(film, 1, is_lipschitz=True)
        return experiments.own_problem(medium, 1.0)

    experiments.train(film(0.30142), SHORT, out=tmp_path / "run")
    with pytest.raises(InputError, match="resume, medium"):
        experiments.train(film(0.60233), CONFIG, out=tmp_path / "run", resume=True)


def test_a_source_may_be_infinite_where_no_point_lies(tmp_path):
    singular = problem(source=lambda x: jnp.abs(x[0] - 0.5) ** -0.3)
    assert experiments.train(singular, SHORT, out=tmp_path / "run").summary["steps"] == 2


def test_a_problem_up_to_rounding_is_the_same(run):
    again = experiments.train(problem(amplitude=1 + 1e-13), CONFIG, out=run, resume=True)
    assert again.summary["steps"] == 4


def start(seed: int):
    """Parameters and frequencies that the seed of the run does not draw."""
    setup = experiments.assemble(problem(), CONFIG, (seed,))
    return setup.state.members.params, setup.data["fixed"]


@pytest.mark.parametrize("again", [True, False])
def test_a_run_from_given_parameters_resumes_with_their_frequencies(again, tmp_path):
    initial = start(7)
    whole = experiments.train(problem(), CONFIG, initial=initial)
    experiments.train(problem(), SHORT, out=tmp_path / "run", initial=initial)
    rest = experiments.train(problem(), CONFIG, out=tmp_path / "run", resume=True, initial=initial if again else None)
    for a, b in zip(leaves(whole.fit.state), leaves(rest.fit.state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.summary["seeds"][0]["rel_l2"] == rest.summary["seeds"][0]["rel_l2"]


def test_resume_refuses_another_start(run, tmp_path):
    with pytest.raises(InputError, match="initial: expected none: the run starts from what its seeds draw"):
        experiments.train(problem(), CONFIG, out=run, resume=True, initial=start(7))
    experiments.train(problem(), SHORT, out=tmp_path / "other", initial=start(7))
    with pytest.raises(InputError, match="initial: expected the parameters of the first call; received other"):
        experiments.train(problem(), CONFIG, out=tmp_path / "other", resume=True, initial=start(8))
    (tmp_path / "other" / "checkpoint" / "state.npz").unlink()  # as if killed before the first one
    with pytest.raises(InputError, match="received none; pass them again"):
        experiments.train(problem(), CONFIG, out=tmp_path / "other", resume=True)


def test_a_run_of_an_older_version_resumes_from_its_start(tmp_path):
    """Its directory says nothing of parameters that were given, and they are taken when they are given again."""
    initial, out = start(7), tmp_path / "run"
    whole = experiments.train(problem(), CONFIG, initial=initial)
    experiments.train(problem(), SHORT, out=out, initial=initial)
    (out / "problem.npz").unlink()
    content = json.loads((out / "config.json").read_text())
    del content["initial"]
    (out / "config.json").write_text(json.dumps(content))
    rest = experiments.train(problem(), CONFIG, out=out, resume=True, initial=initial)
    for a, b in zip(leaves(whole.fit.state), leaves(rest.fit.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_to_start_from_take_the_dtype_of_the_network(tmp_path):
    wide = [jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree) for tree in start(7)]
    experiments.train(problem(), SHORT, out=tmp_path / "run", initial=wide)
    for initial in (start(7), None):
        again = experiments.train(problem(), SHORT, out=tmp_path / "run", resume=True, initial=initial)
        assert {leaf.dtype for leaf in jax.tree.leaves(again.fit.state.members.params)} == {np.dtype("float32")}


@pytest.mark.parametrize("seeds", [(0, 1), (0,)])
def test_parameters_to_start_from_must_fit(seeds):
    params, fixed = start(7)
    if len(seeds) == 1:
        params = jax.tree.map(lambda leaf: leaf[..., :-1], params)
    with pytest.raises(InputError, match=r"initial: expected \(params, fixed\) of this network"):
        experiments.assemble(problem(), CONFIG, seeds, (params, fixed))


def _hold(out, ready, done):
    with folders.claimed(out, CONFIG, (0,), False):
        ready.set()
        done.wait(60)


@pytest.mark.skipif(folders.fcntl is None, reason="no locks on this system")
@pytest.mark.parametrize("resume", [False, True])
def test_one_process_at_a_time(resume, begun, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "busy", ready, done))
    process.start()
    try:
        assert ready.wait(60)
        if resume:
            shutil.copy(begun / "config.json", tmp_path / "busy")
        with pytest.raises(InputError) as error:
            experiments.train(problem(), CONFIG, out=tmp_path / "busy", resume=resume)
        assert str(_in_options(error.value)).replace(str(tmp_path / "busy"), "runs/a") in TROUBLE
    finally:
        done.set()
        process.join(60)
    with folders.claimed(tmp_path / "busy", CONFIG, (0,), resume):
        pass  # the other one has given it back


def test_a_run_that_fails_before_its_first_step_leaves_nothing(tmp_path):
    narrow = with_settings(CONFIG, {"coarse.delta": "1e-6"})
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(InputError, match="delta"):
            experiments.train(problem(), narrow, out=out)
    assert os.listdir(tmp_path) == ["empty"] and os.listdir(tmp_path / "empty") == []


def test_a_run_that_fails_later_keeps_what_it_reported(monkeypatch, tmp_path):
    def fail(*_):
        raise MemoryError

    def at_four(result):
        if int(result.state.step) == 4:
            raise RuntimeError

    config = with_settings(CONFIG, {"training.report_every": "2", "training.steps": "6"})
    with pytest.raises(RuntimeError):
        experiments.train(problem(), config, out=tmp_path / "callback", callbacks=(at_four,), checkpoint_every=1e9)
    assert training.steps_done(tmp_path / "callback" / "checkpoint" / "state.npz") == 2
    monkeypatch.setattr(runner, "finish_all", fail)
    with pytest.raises(MemoryError):
        experiments.train(problem(), config, out=tmp_path / "finish")
    assert training.steps_done(tmp_path / "finish" / "checkpoint" / "state.npz") == 6


def test_a_resume_to_fewer_steps_than_done_changes_nothing(run):
    before = {p.name: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=r"^resume, training\.steps: expected at least the 2 that are done; received 1; "):
        experiments.train(problem(), with_settings(CONFIG, {"training.steps": 1}), out=run, resume=True)
    assert before == {p.name: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert experiments.train(problem(), SHORT, out=run, resume=True).summary["steps"] == 2


def test_a_damaged_checkpoint_changes_nothing_else(run):
    (run / "checkpoint" / "state.npz").write_bytes(b"PK")
    before = (run / "config.json").read_bytes()
    with pytest.raises(InputError, match="checkpoint: expected a file written by this library"):
        experiments.train(problem(), CONFIG, out=run, resume=True)
    assert (run / "config.json").read_bytes() == before


@pytest.mark.parametrize("name", ["environment.json", "summary.json", "history.npz", "problem.npz"])
@pytest.mark.parametrize("halved", [False, True])
def test_a_run_is_read_without_a_file_and_a_line_names_it(name, halved, run, capsys):
    whole, content = experiments.load(run), (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2]) if halved else (run / name).unlink()
    if (name, halved) == ("problem.npz", True):
        with pytest.raises(InputError, match=r"problem\.npz: expected a record written by this library"):
            experiments.load(run)
        return
    with pytest.warns(UserWarning, match=f"{name}: it {'cannot be read' if halved else 'is missing'}: ") as told:
        found = experiments.load(run, problem() if name == "problem.npz" else None)
    assert len(told) == 1 and found.summary["steps"] == 2
    assert all(np.array_equal(column, whole.history[key]) for key, column in found.history.items())
    if name == "summary.json":
        assert main(["show", str(run)]) == 0 and capsys.readouterr().err.startswith(f"hybrid: {run / name}: it ")


def test_an_unknown_key_beside_the_settings_is_named(run):
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(content | {"nonsense": 1}))
    with pytest.warns(UserWarning, match="config.json: it holds 'nonsense'"):
        experiments.load(run)


def test_a_damaged_record_is_one_line(run):
    content = (run / "problem.npz").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 40):
        (run / "problem.npz").write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
        folder = folders.RunFolder(run, CONFIG, (0,))
        with contextlib.suppress(InputError):
            folder.frequencies({})


def test_an_interrupt_before_the_first_step_can_be_resumed(monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiments.train(problem(), CONFIG, out=tmp_path / "run")
    again = experiments.train(problem(), CONFIG, out=tmp_path / "run", resume=True)
    whole = experiments.train(problem(), CONFIG)
    for a, b in zip(leaves(whole.fit.state), leaves(again.fit.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_of_an_older_version_resumes(run):
    """Its directory has no record of the problem."""
    (run / "problem.npz").unlink()
    assert experiments.train(problem(), CONFIG, out=run, resume=True).summary["steps"] == 4
    assert (run / "problem.npz").exists()


def test_the_time_limit_counts_from_the_call(monkeypatch):
    """What assembly took is not there for training."""
    given = []

    def stop(*_, time_limit, **__):
        given.append(time_limit)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        experiments.train(problem(), SHORT, time_limit=1000.0)
    assert 0 < 1000.0 - given[0] < 600.0


def test_a_draw_without_points_in_a_ball_is_drawn_again(monkeypatch):
    """Balls so small that some draws leave one empty: the run goes on, and each draw is a function of seed and step."""
    sampling = {"sampling.sampler": "uniform", "sampling.resample_every": "1", "sampling.points": "60"}
    config = with_settings(CONFIG, sampling | {"coarse.delta": "0.06", "coarse.cells": "20"})
    setup = experiments.assemble(problem(), config, (1,))
    attempts = []
    real = points._drawn
    monkeypatch.setattr(points, "_drawn", lambda *a: attempts.append(a[4]) or real(*a))
    draws = {step: setup.resample(step) for step in range(1, 9)}
    assert max(attempts) > 0
    nodes = np.flatnonzero(np.asarray(setup.data["coupling"].counts[0]))
    assert all(np.array_equal(np.flatnonzero(np.asarray(d["coupling"].counts[0])), nodes) for d in draws.values())
    for a, b in zip(jax.tree.leaves(draws[7]), jax.tree.leaves(setup.resample(7)), strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(points, "REDRAWS", 0)
    with pytest.raises(InputError, match="delta"):
        for step in draws:
            setup.resample(step)


@pytest.mark.parametrize("select", ["last", "smallest-residual"])
def test_the_residual_in_a_summary_is_that_of_the_iterate_it_names(select):
    config = with_settings(CONFIG, {"training.select": select, "training.record_every": "3", "training.report_every": "3"})
    result = experiments.train(problem(), config, (0, 1))
    setup, members = result.setup, result.fit.state.members
    for k, row in enumerate(result.summary["seeds"]):
        theta = result.parameters(k)
        coarse = training.member(members.coarse, k)
        own = training.terms(setup.objective, theta, training.member(setup.data, k), coarse)
        root = float(np.sqrt(setup.objective.selected(own)))  # in the units of the problem; the summary's is in the user's
        assert row["residual"] == pytest.approx(root * experiments.units(setup.problem).residual, rel=1e-4)


def test_values_at_points_do_not_depend_on_how_many_there_are():
    result = experiments.train(problem(), SHORT)
    x = np.linspace(0, 1, 40)[:, None]
    u, slope = result.solution(x)
    assert u.shape == (40,) and slope.shape == (40, 1)
    for count in (1, 7, 32, 33):
        v, gradient = result.solution(x[:count])
        np.testing.assert_allclose(v, u[:count], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, slope[:count], rtol=1e-4, atol=1e-5)
    assert result.solution(x[:0])[0].shape == (0,)
