"""`hybrid reproduce`: the path from claim to artefact, and that kills cost nothing but time."""

import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from hybrid_lib import training
from hybrid_lib.cli import main
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import folder
from hybrid_lib.replication import (
    RUNS,
    artefacts,
    check,
    missing,
    read,
    reproduce,
    results_folder,
    travel,
    wanted,
)

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


def test_a_run_goes_on_from_the_checkpoint_among_the_artefacts(tmp_path, capsys, monkeypatch):
    """A slice here, the rest where there is no run directory: the same bits as in one go, and no checkpoint is left."""

    def results(name):
        return artefacts.load(RUN, tmp_path / name)

    def go(runs, out, **options):
        paths = {"runs": tmp_path / runs, "results": tmp_path / out}
        return reproduce([RUN], smoke=True, checkpoint_every=0.0, **paths, **options)

    real, most = training.fit, {"steps": 20}
    monkeypatch.setattr(
        training, "fit",
        lambda *a, **k: real(*a[:3], min(a[3], most["steps"]), *a[4:], **k)._replace(finished=most["steps"] >= a[3]),
    )  # fmt: skip
    go("here", "carried")
    assert not results("carried").complete and (tmp_path / "carried" / travel.name_of(RUN)).is_file()
    files = artefacts.files_of(results("carried"))
    assert files == [f"{RUN}.json", f"{RUN}.npz", f"{RUN}.checkpoint.zip"]
    kept = {name: (tmp_path / "carried" / name).read_bytes() for name in files}
    most["steps"] = 10
    (tmp_path / "carried" / travel.name_of(RUN)).rename(tmp_path / "away")
    lost = f"artefact {travel.name_of(RUN)}: expected SHA-256"
    assert any(lost in line for line in check(tmp_path / "carried"))
    for option in ("--check", "--update"):
        assert main(["ledger", option, "--results", str(tmp_path / "carried")]) > 0
        assert lost in capsys.readouterr().err
    assert missing([RUN], tmp_path / "carried") == [RUN]
    (tmp_path / "away").rename(tmp_path / "carried" / travel.name_of(RUN))
    record = tmp_path / "carried" / f"{RUN}.json"
    record.write_text(json.dumps({k: v for k, v in json.loads(record.read_text()).items() if k != "checkpoint"}))
    assert go("shorter", "carried", say=print) == []  # a run that began anew and is not as far
    assert "the artefact of iteration 20 is kept" in capsys.readouterr().out
    record.write_bytes(kept[record.name])
    most["steps"] = 60
    go("there", "carried")
    go("whole", "whole")
    one, other = results("carried"), results("whole")
    assert one.complete and not (tmp_path / "carried" / travel.name_of(RUN)).exists()
    for key, values in other.arrays.items():
        assert np.array_equal(values, one.arrays[key], equal_nan=True), key
    assert one.record["seeds"] == other.record["seeds"]


def test_a_run_that_another_process_works_on_is_left_to_it(tmp_path, capsys):
    with folder.locked(tmp_path / "runs" / RUN):
        assert reproduce([RUN], runs=tmp_path / "runs", results=tmp_path / "results", smoke=True) == []
    assert f"{RUN}: another process works on it" in capsys.readouterr().out


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
