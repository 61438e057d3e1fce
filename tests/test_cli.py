"""The command line: answers, exit statuses, and one clear line for every bad input."""

import json
import os
import subprocess
import sys

import pytest

from hybrid_lib.cli import main

SMALL = [
    "--set",
    "training.steps=4",
    "--set",
    "sampling.points=64",
    "--set",
    "coarse.cells=10",
    "--set",
    "network.widths=4,4",
    "--set",
    "network.frequencies=3",
]


def test_list(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(
        name in text
        for name in ("heat1d-eps15", "heat1d-eps100", "heat2d", "hybrid", "averaged-both", "first-order", "adam")
    )
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scales"] == ["quick", "laptop", "paper"]


def test_run_json(capsys, tmp_path):
    arguments = ["run", "heat1d-eps15", "--seed", "0", "2", "--out", str(tmp_path / "a"), *SMALL]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert [row["seed"] for row in summary["seeds"]] == [0, 2] and err == ""
    assert [row["doubtful"] for row in summary["seeds"]] == [[], []]
    assert 0 < summary["reference"]["rel_h1"] < 1e-9 and 0 < summary["reference"]["rel_l2"] < 1e-9
    assert set(summary["seeds"][0]) >= {
        "seed",
        "rel_l2",
        "rel_h1",
        "residual",
        "iterations",
        "seconds",
        "status",
    }
    assert main(arguments) == 2
    assert "--out: expected a new or empty directory" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert "completed" in capsys.readouterr().out


def test_time_limit_keeps_what_was_computed(capsys, tmp_path):
    out = tmp_path / "run"
    arguments = ["run", "heat1d-eps15", *SMALL, "--set", "training.steps=1000000", "--out", str(out)]
    assert main([*arguments, "--time-limit", "0.001", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["seeds"][0]["status"] == "time limit"
    assert (out / "checkpoint" / "state.npz").exists()


def test_diverged_run_says_why(capsys):
    assert main(["run", "heat1d-eps15", *SMALL, "--set", "training.learning_rate=1e30", "--json"]) == 1
    status = json.loads(capsys.readouterr().out)["seeds"][0]["status"]
    assert status.startswith("diverged: not finite in ")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["run", "heat3d"],
            "experiment: expected one of heat1d-eps15, heat1d-eps100, heat2d; received 'heat3d'",
        ),
        (["run", "heat2d", "--network", "cnn"], "network: expected one of ms, mlp, two-scale, windowed; received 'cnn'"),
        (["run", "heat2d", "--method", "fem"], "method: expected one of hybrid, pinn; received 'fem'"),
        (["run", "heat2d", "--coupling", "none"], "coarse.coupling: expected one of averaged, averaged-both"),
        (["run", "heat2d", "--optimiser", "sgd"], "optimiser: expected one of adam"),
        (["run", "heat2d", "--set", "traning.steps=5"], "--set traning.steps: expected one of eps, method"),
        (
            ["run", "heat2d", "--set", "training.steps=five"],
            "training.steps: expected an integer > 0; received 'five'",
        ),
        (
            ["run", "heat2d", "--set", "training.steps"],
            "--set: expected PATH=VALUE; received 'training.steps'",
        ),
        (["run", "heat1d-eps15", "--set", "eps=0"], "eps: expected a number > 0; received '0'"),
        (["run", "heat1d-eps15", "--set", "coarse.delta=1e-6"], "delta"),
        (["run", "heat2d", "--resume"], "--resume: expected an --out directory"),
        (["run", "heat2d", "--time-limit", "-1"], "--time-limit: expected seconds > 0"),
        (["run", "heat2d", "--seed", "one"], "command line: expected"),
        (["run", "heat2d", "--seed", "99999999999999999999"], "seeds: expected integers from 0 to 2**32 - 1"),
        (["run", "heat2d", "--optimizer", "adam"], "received --optimizer; did you mean --optimiser?"),
        (["list", "--verbose"], "command line: expected the options of `hybrid list --help`; received --verbose"),
        (["run", "heat2d", "--method", "pinn", "--coupling", "defect"], "--coupling: expected --method hybrid"),
        (["run", "heat2d", "--set", "eps=inf"], "eps: expected a finite number > 0; received 'inf'"),
        (["run", "heat2d", "--set", "training.tolerance=nan"], "training.tolerance: expected a finite number >= 0"),
        (["run", "heat2d", "--set", "training.balance_momentum=7"], "expected a number in [0, 1); received '7'"),
        (["run", "heat2d", "--set", "training.balance_every=-1"], "training.balance_every: expected an integer >= 0"),
        (["run", "heat2d", "--set", "coarse.order=0"], "coarse.order: expected an integer > 0"),
        (["run", "heat2d", "--set", "network.boundary_layers=true"], "network.boundary_layers: expected network.kind"),
        (["run", "heat1d-eps15", "--set", "network.widths=3000000,3000000"], "memory: expected sizes that fit"),
        (["fly"], "command line: expected"),
        ([], "command line: expected"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err and "Traceback" not in err


def test_a_folder_that_cannot_be_made_is_one_clear_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["run", "heat1d-eps15", *SMALL, "--out", str(tmp_path / "file" / "run")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--out: expected a directory that can be written" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ledger", "--update", "--results", "FILE"],
        ["ledger", "--check", "--results", "FILE/x"],
        ["reproduce", "kstar-1d", "--results", "FILE/x"],
        ["reproduce", "kstar-1d", "--results", "FOLDER", "--runs", "FILE"],
    ],
)
def test_a_file_in_the_place_of_a_folder_is_one_clear_line(arguments, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    places = {"FILE": str(tmp_path / "file"), "FILE/x": str(tmp_path / "file" / "x"), "FOLDER": str(tmp_path)}
    assert main([places.get(a, a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "expected a folder; received" in err


def test_resume_names_the_setting_that_differs(capsys, tmp_path):
    arguments = ["run", "heat1d-eps15", *SMALL, "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert main([*arguments, "--resume", "--set", "training.learning_rate=0.25"]) == 2
    assert "--resume, training.learning_rate: expected 0.005, as in" in capsys.readouterr().err
    (tmp_path / "run" / "environment.json").write_text("{")
    assert main([*arguments, "--resume"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "expected a JSON object written by this library" in err


def test_unknown_platform_is_one_clear_line():
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_lib", "run", "heat1d-eps15"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "abacus"},
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "device: expected a platform that JAX finds here" in done.stderr


def test_module_entry_point():
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_lib", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("hybrid_lib ")
