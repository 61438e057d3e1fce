"""No run may stand still: jaxlib's batched LAPACK calls wait on the pool of threads that they run on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.errors import InputError
from hybrid_lib.experiments.assemble import assemble
from hybrid_lib.experiments.registry import problem_of

CALL = re.compile(r"custom_call @(lapack_\w+).*?: \(tensor<([0-9x]*)x[a-z]\w*>")
SIZES = {"network.widths": "8", "sampling.points": "300", "training.steps": "2"}


def calls(program, *arguments) -> list[tuple[str, int]]:
    """Name and number of matrices of every LAPACK call of a program."""
    found = CALL.findall(jax.jit(program).lower(*arguments).as_text())
    shapes = [(name, [int(n) for n in shape.split("x")]) for name, shape in found]
    return [(name, int(np.prod(shape[:-2], dtype=int))) for name, shape in shapes]


def alone(program, *arguments) -> list[str]:
    """Names of the LAPACK calls of a program, none of which may take a batch."""
    found = calls(program, *arguments)
    assert not [call for call in found if call[1] != 1], found
    return [name for name, _ in found]


OPTIMISERS = {"adam": training.adam(1e-3)}
OPTIMISERS |= {name: training.gauss_newton(solver=name, rank=5) for name in ("dense", "woodbury", "cg")}
# Each coupling meets each way to take a step, and so do one and two dimensions and one and several parts.
CASES = [
    ("heat1d-eps15", {}, "woodbury cg"),
    ("heat1d-eps15", {"coarse.coupling": "averaged-both"}, "adam cg"),
    ("heat1d-eps15", {"coarse.coupling": "defect"}, "adam dense"),
    ("heat1d-eps15", {"coarse.coupling": "averaged", "coarse.parts": "3"}, "adam dense"),
    ("heat1d-eps15", {"coarse.coupling": "defect", "coarse.parts": "3"}, "woodbury cg"),
    ("heat2d", {"coarse.coupling": "averaged-both", "coarse.parts": "2"}, "dense woodbury"),
    ("heat2d", {"coarse.coupling": "defect", "coarse.parts": "2"}, "adam cg"),
    ("heat1d-eps15", {"method": "pinn"}, "adam woodbury"),
    ("heat2d", {"method": "pinn", "formulation": "first-order"}, "dense cg"),
]


@pytest.mark.parametrize("experiment, settings, steps", CASES)
def test_a_step_of_several_seeds_calls_lapack_for_one_matrix_at_a_time(experiment, settings, steps):
    config = experiments.configuration(experiment, settings.get("method", "hybrid"), None, "quick", "gauss-newton")
    cells = {} if "method" in settings else {"coarse.cells": "6"}
    setup = assemble(problem_of(config), experiments.with_settings(config, SIZES | cells | settings), (0, 1))
    for name in steps.split():
        optimiser = OPTIMISERS[name]
        program = training.program(setup.objective, optimiser, setup.program.options, 2)
        members = setup.state.members._replace(opt_state=jax.vmap(optimiser.init)(setup.state.members.params))
        names = alone(program.advance, setup.state._replace(members=members), setup.data, jnp.asarray(0, jnp.int32))
        assert name == "adam" or "lapack_dpotrf_ffi" in names


@pytest.mark.parametrize("formulation", ["strong", "first-order"])
def test_a_tensor_at_every_point_needs_no_lapack(formulation):
    K = media.from_function(lambda x: jnp.array([[2.0, 0.5], [0.5, 1.0]]) * (1 + x[0]), 2, alpha=0.5, beta=5.0)
    problem = experiments.own_problem(K, 1.0)
    config = experiments.own_configuration(problem, 0.5, widths=(6,), steps=1)
    method = "hybrid" if formulation == "strong" else "pinn"
    config = experiments.with_settings(config, {"formulation": formulation, "method": method})
    setup = assemble(problem, config, (0, 1))
    alone(setup.program.advance, setup.state, setup.data, jnp.asarray(0, jnp.int32))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize("columns", [(), (3,)])
def test_solves_of_a_batch_are_those_of_its_members(axes, columns):
    """Values, Jacobians both ways, and rows pulled back under a second vmap, for each of the three triangular solves."""
    key = jax.random.key(0)
    root = jax.random.normal(key, (4, 5, 5))
    L = jnp.tril(root) + 5.0 * jnp.eye(5)[None]
    b = jax.random.normal(key, (4, 5, *columns))
    arguments = [whole if axis == 0 else whole[0] for whole, axis in zip((L, b), axes, strict=True)]

    def everything(L, b):
        def solve(L, b):
            factor = fem.SymmetricFactor(L)
            return fem.half_solve(factor, b), fem.half_solve(factor, b, transposed=True), fem.factor_solve(factor, b)

        return solve(L, b), jax.jacrev(solve, (0, 1))(L, b), jax.jacfwd(solve, (0, 1))(L, b)

    def plain(L, b):
        def solve(L, b):
            return jnp.linalg.solve(L, b), jnp.linalg.solve(L.T, b), jnp.linalg.solve(L @ L.T, b)

        both = jax.jacfwd(solve, (0, 1))(L, b)
        return solve(L, b), both, both

    batched = jax.vmap(everything, axes)
    assert set(alone(batched, *arguments)) == {"lapack_dtrsm_ffi"}
    expected = jax.vmap(plain, axes)(*arguments)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), jax.jit(batched)(*arguments), expected)


def test_the_plain_command_ends_on_all_cores():
    """It stood still for ever, five times in five, while the coarse solves of the seeds were one batch."""
    command = [sys.executable, "-m", "hybrid_lib", "run", "heat1d-eps100", "--coupling", "defect", "--optimiser", "gauss-newton"]
    command += ["--seed", "11", "12", "13", "14", "15", "--set", "training.steps=6", "--set", "training.finish=0"]
    plain = {name: value for name, value in os.environ.items() if "THREADS" not in name and name not in ("NPROC", "XLA_FLAGS")}
    plain["PYTHONPATH"] = str(Path(experiments.__file__).parents[2])
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("completed") == 5


WATCHED = """
import os, signal, sys, threading, time
from pathlib import Path
from hybrid_lib.training import Watchdog

def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

with Watchdog(lambda: "runs/x continues with --resume") as watchdog:
    time.sleep(1.7)  # nobody watches
    with watchdog.watched("steps 0 to 1"):
        busy(1.7)
    with watchdog.watched("steps 1 to 2"):
        print("ready", flush=True)
        busy(0.3)
        {then}
print("done", flush=True)
"""


def watched(then: str, **environment: str) -> subprocess.Popen:
    env = os.environ | {"HYBRID_LIB_STANDSTILL": "1"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED.format(then=then)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def waiting():
    """Processes that mostly wait, started together: of a watched one, of a rescue, of one that nobody watches."""
    rescue = "from hybrid_lib.training import watchdog as own\n        own.RESCUE = 1\n        "
    rescue += "watchdog.rescue = lambda: time.sleep(1000)\n        time.sleep(1000)"
    started = {
        "idle": watched("time.sleep(1000)"),
        "rescue": watched(rescue),
        "unlimited": watched("time.sleep(1.7)", HYBRID_LIB_STANDSTILL="0"),
    }
    yield started
    for process in started.values():
        process.kill()


def test_a_run_that_uses_no_processor_time_ends_in_one_line(waiting):
    out, err = waiting["idle"].communicate(timeout=120)
    assert out == "ready\n"
    assert err == (
        "hybrid: steps 1 to 2: expected processor time; received none for 1 s; run it again with NPROC=1, one thread; "
        "runs/x continues with --resume\n"
    )


def test_a_rescue_that_stands_still_too_does_not_keep_the_process(waiting):
    process = waiting["rescue"]
    assert "nothing was kept" in process.communicate(timeout=120)[1] and process.returncode == 1


def test_a_stopped_process_lives_and_so_does_an_idle_one_that_nobody_watches(waiting):
    stopped = watched("busy(0.3)")
    assert stopped.stdout.readline() == "ready\n"
    os.kill(stopped.pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(stopped.pid, signal.SIGCONT)
    for process in (waiting["unlimited"], stopped):
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err, out[-5:]) == (0, "", "done\n")


def test_the_limit_is_a_number(monkeypatch):
    monkeypatch.setenv("HYBRID_LIB_STANDSTILL", "soon")
    with pytest.raises(InputError, match=r"^HYBRID_LIB_STANDSTILL: expected seconds >= 0; received 'soon'; 0 watches nothing"):
        training.Watchdog(str)


STUCK = """
import time
import jax
from hybrid_lib import cli, training
advance = training.program
calls = []
def program(*args, **kwargs):
    made = advance(*args, **kwargs)
    def stuck(state, data, end):
        calls.append(int(end))
        return time.sleep(1000) if int(end) > 4 else made.advance(state, data, end)
    return made._replace(advance=stuck)
training.program = program
settings = "network.widths=4 sampling.points=100 coarse.cells=5 training.steps=8 training.report_every=2 training.record_every=2"
arguments = [word for setting in settings.split() for word in ("--set", setting)]
raise SystemExit(cli.main(["run", "heat1d-eps15", "--out", {out!r}, *arguments]))
"""


def test_a_command_that_stands_still_leaves_its_checkpoint(tmp_path):
    out = tmp_path / "run"
    env = os.environ | {"HYBRID_LIB_STANDSTILL": "2"}
    program = STUCK.format(out=str(out))
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=300)
    forecast, line = done.stderr.splitlines()
    assert done.returncode == 1 and forecast.endswith("for 8 steps")
    assert line.startswith("hybrid: steps 4 to 6: expected processor time") and f"{out} can be resumed" in line
    assert training.steps_done(out / "checkpoint" / "state.npz") == 4
