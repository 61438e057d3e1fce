"""Several devices and processes: the same histories, one line at the end of all, and runs that go on in another layout."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from test_experiments import tiny

import hybrid_lib as hl
from hybrid_lib import experiments, processes, training
from hybrid_lib.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
ROUNDING = 1e-12
"""Relative difference of histories of the same run in two layouts."""


@pytest.fixture(scope="module")
def layouts():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import layouts

    yield layouts
    sys.path.remove(str(ROOT / "benchmarks"))


SHARED = ["averaged, dense", "defect, woodbury", "strong, cg", "hypercircle, adam"]
SEEDS = "defect, adam, two seeds"


@pytest.fixture(scope="module")
def alone(layouts):
    """Histories on one device; one process for all cases."""
    return layouts.launch("1 x 1", [*SHARED, SEEDS, "strong, adam"])


@pytest.fixture(scope="module")
def four(layouts):
    """The same on four devices."""
    return layouts.launch("1 x 4", [*SHARED, SEEDS])


@pytest.fixture(scope="module")
def undisturbed(layouts):
    return layouts.undisturbed()


def same(layouts, one, other, case):
    """Whether two layouts give the same history, one that moves."""
    rows = [values for name, values in one.items() if name.startswith(f"{case}|loss")]
    assert rows and all(len(np.unique(values)) > 5 for values in rows), "a history that moves"
    assert layouts.difference(one, other, case)["of_the_largest"] < ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize("case", [*SHARED, SEEDS])
def test_four_devices_give_the_history_of_one(layouts, alone, four, case):
    """Shares of fifty points, which divide evenly; two seeds by two shares: five coarse cells, which do not."""
    same(layouts, alone, four, case)


@pytest.mark.slow
def test_two_processes_of_slurm_give_the_history_of_one(layouts, alone):
    """Its variables set by hand."""
    same(layouts, alone, layouts.launch("2 x 1", ["strong, adam"], slurm=True), "strong, adam")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_process_ends_all_in_a_line_and_the_run_goes_on_in_another_layout(layouts, undisturbed, victim):
    found = layouts.lose(np.random.default_rng().uniform(0, 0.5), victim, ("1 x 4", "1 x 1")[victim])
    what = "the coordinator" if victim == 0 else "process 1"
    assert found["status"] == 1 and found["kept"] >= 20
    line = f"hybrid: process {victim} of 2: expected all processes up to the end; received {what} is lost; "
    assert found["said"].startswith(line)
    assert "resume" in found["said"] and "\n" not in found["said"]
    assert layouts.difference(undisturbed, found["history"])["of_the_largest"] < ROUNDING


def test_on_one_device_there_is_no_layout():
    setup = experiments.assemble(experiments.problem_of(tiny("heat1d-eps15")), tiny("heat1d-eps15"), (0,), devices=1)
    assert setup.layout is None and setup.program.layout is None and setup.objective.fields.layout is None
    assert training.layout(3, 1) is None and setup.devices == 1
    text = setup.program.advance.lower(setup.state, setup.data, jax.numpy.asarray(0)).as_text()
    assert "manual_computation" not in text and "all_reduce" not in text


def test_devices_that_are_not_there_are_refused():
    count = jax.device_count()
    for number in (0, -1, count + 1):
        with pytest.raises(InputError, match=f"devices: expected 1 to {count}, those that JAX sees; received {number}; "):
            training.layout(1, number)


@pytest.mark.parametrize(
    "given, message",
    [
        (("localhost", 2, 0), "coordinator: expected HOST:PORT; received 'localhost'"),
        (("localhost:port", 2, 0), "coordinator: expected HOST:PORT; received 'localhost:port'"),
        (("localhost:70000", 2, 0), "coordinator: expected HOST:PORT"),
        (("localhost:9911", 2, 2), "process: expected an integer from 0 to 1; received 2"),
        (("localhost:9911", 0, 0), "processes: expected an integer >= 1; received 0"),
        (("localhost:9911", 2, None), "distributed: expected coordinator, processes and process, or none of them"),
        (("no-such-host.invalid:9911", 2, 1), "coordinator: expected a host that is known here"),
    ],
)
def test_processes_that_cannot_be_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        hl.distributed(*given)


def test_a_process_that_meets_no_other_says_so_in_a_line():
    command = [sys.executable, "-c", "import hybrid_lib as hl; hl.distributed('localhost:9', 2, 1, wait=2)"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert out.returncode == 2 and out.stderr.count("\n") == 1
    line = "hybrid: distributed: expected all processes at localhost:9 within 2 s; received no answer; see "
    assert out.stderr.startswith(line)


def test_one_process_alone_agrees_with_itself():
    assert processes.is_coordinator() and processes.told(b"x") == b"x"
    assert processes.agreed(0.5) == 0.5 and processes.everyone(True) and not processes.everyone(False)
