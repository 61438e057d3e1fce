"""`hybrid reproduce`: the path from claim to artefact, and that kills cost nothing but time."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from hybrid_lib.cli import main
from hybrid_lib.errors import InputError
from hybrid_lib.ledger import RUNS, artefacts, missing, read, reproduce, results_folder, wanted

RUN = "heat1d-eps15-hybrid-ms"


def command(folder, *more: str) -> list[str]:
    options = [
        "--smoke",
        "--runs",
        str(folder / "runs"),
        "--results",
        str(folder / "results"),
        "--checkpoint-every",
        "0",
    ]
    return [sys.executable, "-m", "hybrid_lib", "reproduce", RUN, *options, *more]


def environment(cache) -> dict[str, str]:
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.0",
    }


def test_wanted_and_missing_name_runs_cheapest_first(tmp_path):
    assert wanted(["fig1b-overfit"]) == [RUN, "consistency-gap"]
    assert missing(wanted(["fig1b-overfit"]), tmp_path) == ["consistency-gap", RUN]
    everything = missing(wanted([]), tmp_path)
    assert set(RUNS) < set(everything) and everything[-1].startswith("heat2d-")
    assert {RUNS[n].scale for n in wanted([], "laptop") if n in RUNS} == {"laptop"}
    with pytest.raises(InputError, match=r"claim or run: expected one of .*received 'fig9'"):
        wanted(["fig9"])


def test_smoke_refuses_the_books_own_results(tmp_path):
    with pytest.raises(InputError, match="--results: expected a folder other than the book's"):
        reproduce([], runs=tmp_path, results=results_folder(), smoke=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["reproduce"], "reproduce: expected claims, or --pending"),
        (["reproduce", "--pending", "--time-limit", "0"], "--time-limit: expected seconds > 0"),
        (["reproduce", "--pending", "--smoke"], "--smoke: expected a --results folder"),
        (["reproduce", "nothing", "--list"], "claim or run: expected one of"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, says):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_two_dimensional_ensemble_takes_the_same_path(tmp_path, capsys):
    name = "heat2d-hybrid-ms-laptop"
    assert (
        main(["reproduce", name, "--smoke", "--runs", str(tmp_path / "r"), "--results", str(tmp_path / "a")])
        == 0
    )
    said = capsys.readouterr().err
    assert "ms an iteration for 3 seeds" in said and "relative L2 error" in said
    artefact = artefacts.load(name, tmp_path / "a")
    assert artefact.complete and artefact.arrays["solution"].shape == (3, 101 * 101)
    row = next(row for row in read(tmp_path / "a") if row["id"] == "table1-hybrid-ms-l2")
    assert row["verdict"] == "pending" and row["ours"] is None
    assert row["provisional"]["scale"] == "laptop" and len(row["provisional"]["values"]) == 3


def test_time_limit_leaves_the_rest_and_says_so(tmp_path, capsys):
    options = [
        "--smoke",
        "--runs",
        str(tmp_path / "r"),
        "--results",
        str(tmp_path / "a"),
        "--time-limit",
        "0.01",
    ]
    assert main(["reproduce", RUN, *options]) == 1
    assert "no time for an iteration" in capsys.readouterr().err
    assert artefacts.load(RUN, tmp_path / "a") is None


@pytest.mark.slow
def test_ten_kills_change_no_bit(tmp_path):
    """SIGKILL at random moments, ten times; then resume: the same bits as without."""
    cache, whole, killed = tmp_path / "cache", tmp_path / "whole", tmp_path / "killed"
    began = time.perf_counter()
    subprocess.run(command(whole), env=environment(cache), check=True, capture_output=True)
    usual = time.perf_counter() - began
    rng = random.Random(20)
    for _ in range(10):
        process = subprocess.Popen(command(killed), env=environment(cache), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.3, 0.8) * usual)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    subprocess.run(command(killed), env=environment(cache), check=True, capture_output=True)
    one, other = (artefacts.load(RUN, folder / "results") for folder in (whole, killed))
    assert one.arrays.keys() == other.arrays.keys()
    for key, values in one.arrays.items():
        assert np.array_equal(values, other.arrays[key], equal_nan=True), key
    same = ("seeds", "steps", "fingerprint", "config")
    assert [one.record[key] for key in same] == [other.record[key] for key in same]
