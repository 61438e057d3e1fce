"""Time before start: a run says what all its steps take, and what comes before the first one respects the time limit."""

import json
import math
import time

import jax
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import cli, experiments, training
from hybrid_lib.experiments import references, runner
from hybrid_lib.experiments.references import OutOfTimeError, richardson

SMALL = {"network.widths": "5", "sampling.points": "100", "coarse.cells": "5", "coarse.delta": "0.3", "training.steps": "40"}
PATHS = [word for path, value in SMALL.items() for word in ("--set", f"{path}={value}")]


def config(**changes):
    return experiments.with_settings(experiments.configuration("heat1d-eps15", "hybrid", "mlp"), SMALL | changes)


def test_a_run_is_announced_after_its_first_steps_and_its_history_is_the_same():
    told = []
    run = hl.run(config(), announce=told.append)
    assert len(told) == 1 and told[0].startswith("about ") and told[0].endswith(" for 40 steps")
    setup = run.setup
    state, _ = setup.program.advance(setup.state, setup.data, np.int32(40))  # one slice
    one, other = (jax.tree.leaves((s.members.params, s.members.opt_state)) for s in (state, run.fit.state))
    assert all(map(np.array_equal, one, other))
    assert run.summary["forecast_seconds"] == pytest.approx(40 * run.fit.step_seconds)


def test_the_step_that_is_timed_leaves_the_state_alone():
    setup = experiments.assemble(experiments.problem_of(config()), config(), (0,))
    assert training.step_seconds(setup.program, setup.state, setup.data, 40) > 0 and int(setup.state.step) == 0


def test_the_command_says_what_a_run_takes(capsys):
    assert cli.main(["run", "heat1d-eps15", "--network", "mlp", *PATHS, "--forecast", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 40 and found["memory_bytes"] > 0 and 0 < found["forecast_seconds"] < 60
    assert cli.main(["run", "heat1d-eps15", "--network", "mlp", *PATHS]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("about ") and err.endswith(" for 40 steps\n") and "completed" in out


def test_a_reference_ends_before_the_time_does(monkeypatch):
    now, meshes = [0.0], []
    monkeypatch.setattr(references.time, "perf_counter", lambda: now[0])

    def grid(problem, cells):
        meshes.append(cells)
        now[0] += cells**2 / 100.0
        return np.zeros((cells + 1, cells + 1))

    monkeypatch.setattr(references, "_grid", grid)
    problem = hl.Problem(medium=hl.media.paper_2d(0.5))
    with pytest.raises(OutOfTimeError, match=r"^reference: expected about 20 s more for its next mesh; received 11 s; raise the"):
        richardson(problem, 20, until=16.0)
    assert meshes == [10, 20][: len(meshes)] and now[0] <= 16.0
    with pytest.raises(OutOfTimeError, match=r"expected time for its next mesh; received 0 s"):
        hl.reference(problem, until=now[0])


def test_a_run_without_time_for_its_reference_says_so(monkeypatch, tmp_path, capsys):
    def late(problem, until=None):
        assert until is not None and math.isfinite(until)
        raise OutOfTimeError("reference", "about 9 s more for its next mesh", "1 s", "raise the time limit")

    whole = hl.run(config(), out=tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr("hybrid_lib.experiments.runner.solve_reference", late)
        part = hl.run(config(**{"training.steps": "60"}), out=tmp_path / "a", resume=True, time_limit=600.0)
    assert part.reference is None and part.summary["seeds"][0]["rel_l2"] is None
    assert "errors are left out: reference: expected about 9 s more" in repr(part)
    errors = part.fit.evaluations["rel_l2"]
    assert np.isfinite(errors[: len(whole.fit.evaluations["rel_l2"])]).all() and np.isnan(errors[-1]).all()
    more = hl.run(config(**{"training.steps": "80"}), out=tmp_path / "a", resume=True)
    assert np.isfinite(more.fit.evaluations["rel_l2"][-1]).all() and more.summary["seeds"][0]["rel_l2"] > 0


@pytest.mark.parametrize("what", ["assembly", "reference"])
def test_what_stands_still_before_the_first_step_is_ended_too(monkeypatch, what):
    seen = []
    monkeypatch.setattr(training.Watchdog, "_end", lambda self, what: seen.append((what, self.rescue())))
    monkeypatch.setenv("HYBRID_LIB_STANDSTILL", "0.5")
    name = {"assembly": "assemble", "reference": "solve_reference"}[what]
    real = getattr(experiments.runner, name)

    def slow(*given, **options):
        deadline = time.monotonic() + 20
        while not seen and time.monotonic() < deadline:
            time.sleep(0.1)
        return real(*given, **options)

    monkeypatch.setattr(experiments.runner, name, slow)
    hl.run(config())
    assert seen[0] == (what, "without a folder nothing was kept")


def test_the_announcement_says_how_many_steps_the_time_limit_holds(monkeypatch):
    monkeypatch.setattr(runner.time, "perf_counter", lambda: 100.0)
    assert runner._outlook(200, 200, 3.0, None) == runner._outlook(200, 200, 3.0, 701.0) == "about 10 min for 200 steps"
    said = runner._outlook(200, 200, 3.0, 400.0)
    assert said == (
        "about 10 min for 200 steps, past the time limit: about 100 of them fit; "
        "set training.steps=100, or give it a folder and resume"
    )
