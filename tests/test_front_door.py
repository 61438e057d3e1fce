"""The front door: a dozen names, loaded when used; runs that are kept, read and shown."""

import contextlib
import copy
import io
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import cli, experiments
from hybrid_lib.config import as_dict
from hybrid_lib.experiments import reopen

ROOT = Path(__file__).resolve().parents[1]
TINY = {"network.widths": "5", "sampling.points": "100", "coarse.cells": "5", "training.steps": "4", "coarse.delta": "0.3"}
TINY |= {"training.record_every": "1", "training.report_every": "2"}


def test_the_names_are_there_and_load_nothing():
    code = """
import sys, time
began = time.process_time()
import hybrid_lib as hl
assert time.process_time() - began < 0.3
assert {*hl.__all__} <= {*dir(hl)} and not {"jax", "numpy"} & {*sys.modules}
try:
    hl.trian
except AttributeError as error:
    print(error)
assert hl.InputError.__name__ == "InputError" and "jax" not in sys.modules
for name in hl.__all__:
    getattr(hl, name)
assert hl.domains.interval().dimension == 1 and hl.media.constant and hl.fem.norms
import jax
assert not jax.config.jax_enable_x64
hl.enable_float64()
assert jax.config.jax_enable_x64
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "module 'hybrid_lib' has no attribute 'trian'\n"


def test_type_checkers_see_the_names():
    text = (ROOT / "hybrid_lib" / "__init__.py").read_text(encoding="utf-8")
    seen = text.split("if TYPE_CHECKING:")[1].split("__version__")[0]
    assert {*hl._HOMES} - {"experiments"} <= {*re.findall(r"\w+", seen)}


def test_the_five_lines_of_the_readme(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(import hybrid_lib as hl.*?)```\n+```text\n(.*?)```", readme, flags=re.DOTALL)
    assert len(blocks) == 1
    code, shown = blocks[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 7
    assert not re.search(r"hl\.\w+\.\w+\.|from|import (?!hybrid_lib)", code), "nothing deeper"
    out = io.StringIO()
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue() == shown


def trained(problem=None, seeds=(0,), out=None, **changes):
    config = experiments.with_settings(experiments.configuration("heat1d-eps15", "hybrid", "mlp"), TINY | changes)
    if problem is None:
        return hl.run(config, seeds, out=out)
    return hl.train(problem, config, seeds, out=out)


POINTS = np.linspace(0.1, 0.9, 5)[:, None]


def same(one, other, seed=0):
    for a, b in zip(one.solution(POINTS, seed), other.solution(POINTS, seed), strict=True):
        np.testing.assert_array_equal(a, b)
    for name, column in one.history.items():
        np.testing.assert_array_equal(column, other.history[name])
    assert one.summary | {"run_dir": None} == other.summary | {"run_dir": None}


def test_a_run_of_the_paper_comes_back_with_its_coarse_state(tmp_path, monkeypatch):
    result = trained(seeds=(0, 3), out=tmp_path / "a")
    for name in ("training.fit", "experiments.references.reference", "training.loop.program"):
        monkeypatch.setattr(f"hybrid_lib.{name}", None)
    again = hl.load(tmp_path / "a")
    for seed in (0, 1):
        same(result, again, seed)
    assert "_whole" not in vars(again.setup), "nothing was assembled for that"
    assert again.reference is None and again.summary["seeds"][1]["rel_l2"] == result.summary["seeds"][1]["rel_l2"]


def test_coarse_data_are_assembled_when_asked_for(tmp_path):
    result = trained(out=tmp_path / "a")
    for name, values in hl.load(tmp_path / "a").coarse().items():
        np.testing.assert_array_equal(values, result.coarse()[name])


def test_a_problem_of_ones_own_is_saved_and_read_with_and_without_it(tmp_path):
    problem = hl.Problem(medium=hl.media.paper_1d(0.2), source=3.0, direction=(2.0,))
    result = trained(problem)
    result.save(tmp_path / "b")
    with pytest.raises(hl.InputError, match=r"^out: expected a new or empty directory; received \S+; choose another out=$"):
        result.save(tmp_path / "b")
    alone, whole = hl.load(tmp_path / "b"), hl.load(tmp_path / "b", problem=problem)
    same(result, alone)
    with pytest.raises(hl.InputError, match=r"^load: expected the problem of the run; .* problem=\.\.\.\)$"):
        alone.coarse()
    np.testing.assert_array_equal(whole.coarse()["state"], result.coarse()["state"])
    with pytest.raises(hl.InputError, match=r"^load, source: expected that of the run in .*; pass the problem of the run$"):
        hl.load(tmp_path / "b", problem=hl.Problem(medium=hl.media.paper_1d(0.2), source=3.1, direction=(2.0,)))
    for other in (pickle.loads(pickle.dumps(whole)), copy.deepcopy(whole)):
        same(result, other)
    alone.save(tmp_path / "c")
    same(result, hl.load(tmp_path / "c"))
    longer = experiments.with_settings(result.setup.config, {"training.steps": 6})
    more = hl.train(problem, longer, out=tmp_path / "c", resume=True)
    straight = hl.train(problem, longer)
    np.testing.assert_array_equal(more.history["loss/pde"], straight.history["loss/pde"])


def test_a_killed_run_has_solution_and_history_and_says_so(tmp_path, capsys):
    whole = trained(out=tmp_path / "a")
    for name in ("summary.json", "history.npz"):
        (tmp_path / "a" / name).unlink()
    with pytest.warns(UserWarning, match="it is missing"):  # killed between the last step and the end
        result = hl.load(tmp_path / "a")
    assert result.summary["seeds"][0]["status"] == "interrupted" and result.summary["steps"] == 4
    assert result.summary["seeds"][0]["residual"] == pytest.approx(whole.summary["seeds"][0]["residual"])
    np.testing.assert_array_equal(result.history["loss/pde"], whole.history["loss/pde"])
    assert cli.main(["show", str(tmp_path / "a")]) == 0
    assert "interrupted" in capsys.readouterr().out
    assert cli.main(["show", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4


def test_the_finish_is_kept(tmp_path):
    config = experiments.configuration("heat1d-eps15", optimiser="gauss-newton")
    small = {"network.widths": "3", "sampling.points": "40", "coarse.cells": "4", "training.steps": "2", "coarse.pieces": "2"}
    config = experiments.with_settings(config, small | {"training.finish": "1", "coarse.coupling": "defect"})
    result = hl.run(config, out=tmp_path / "a")
    again = hl.load(tmp_path / "a")
    same(result, again)
    assert again.finished[0].reason == result.finished[0].reason
    with np.load(tmp_path / "a" / "finish.npz") as file:
        stored = {name: file[name] for name in file.files} | {"step": np.asarray(1)}
    np.savez(tmp_path / "a" / "finish.npz", **stored)
    assert hl.load(tmp_path / "a").finished == (), "those of an earlier state are not those of this one"


def test_a_run_resumed_without_a_finish_has_none(tmp_path):
    config = experiments.configuration("heat1d-eps15", optimiser="gauss-newton")
    small = {"network.widths": "3", "sampling.points": "40", "coarse.cells": "4", "training.steps": "2", "coarse.pieces": "2"}
    config = experiments.with_settings(config, small | {"training.finish": "1", "coarse.coupling": "defect"})
    assert hl.run(config, out=tmp_path / "a").finished
    resumed = hl.run(experiments.with_settings(config, {"training.finish": "0"}), out=tmp_path / "a", resume=True)
    assert resumed.finished == () and resumed.summary["forecast_seconds"] is not None
    again = hl.load(tmp_path / "a")
    assert again.finished == ()
    same(resumed, again)


def test_a_run_whose_folder_has_gone_is_not_saved_as_nothing(tmp_path):
    trained(out=tmp_path / "a")
    again = hl.load(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(hl.InputError, match="save: expected the folder that the run was read from; received none"):
        again.save(tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "load: expected the folder of a run, with config.json"),
        (lambda folder: (folder / "checkpoint" / "state.npz").unlink(), "load: expected a run that has begun"),
        (lambda folder: (folder / "checkpoint" / "state.npz").write_text("no"), "checkpoint: expected a file written by this"),
        (lambda folder: (folder / "config.json").write_text("{}"), "expected the settings of a run"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, spoil, message):
    trained(out=tmp_path / "a")
    spoil(tmp_path / "a")
    with pytest.raises(hl.InputError, match=message):
        hl.load(tmp_path / "a")


def test_settings_of_another_version(tmp_path):
    config = experiments.configuration("heat2d", optimiser="gauss-newton")
    stored = json.loads(json.dumps({"config": as_dict(config), "seeds": [0]}))
    assert reopen.config_of(stored, tmp_path) == config
    del stored["config"]["training"]["momentum"]
    assert reopen.config_of(stored, tmp_path) == config
    stored["config"]["coarse"]["colour"] = 3
    with pytest.raises(hl.InputError, match=r"settings of this version; received coarse.colour"):
        reopen.config_of(stored, tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "medium: expected a Medium; received none"),
        ({"medium": 3.0}, "medium: expected a Medium; received float"),
        ({"source": "q"}, "source: expected a finite number or a function of one point"),
        ({"direction": (1.0, 2.0)}, "direction: expected 1 finite numbers"),
        ({"domain": "interval"}, "domain: expected a Domain; received str"),
    ],
)
def test_a_problem_by_name_is_checked(given, message):
    known = {} if not given else {"medium": hl.media.constant(1.0, 1)}
    with pytest.raises(hl.InputError, match=message):
        hl.Problem(**known | given)
