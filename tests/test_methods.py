"""One file a method: one that is added here trains, reports and is refused like the others, and nobody else asks which it is."""

import dataclasses
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import cli, experiments, media, training
from hybrid_lib import config as configs
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import with_settings
from hybrid_lib.methods import BY_NAME, balance_every, finish_steps, method_of, recommended_method
from hybrid_lib.methods.steps import OPTIMISERS
from hybrid_lib.methods.strong import Strong, blocks, point_fields
from hybrid_lib.methods.trial import NETWORKS
from hybrid_lib.pinn.domains import interval
from hybrid_lib.problems import Problem

LIBRARY = Path(__file__).resolve().parents[1] / "hybrid_lib"
SMALL = {
    "method": "pinn", "network.widths": (8,), "sampling.points": 64, "training.steps": 6,
    "training.record_every": 1, "training.report_every": 3,
}  # fmt: skip
COUPLED = {name: value for name, value in SMALL.items() if name != "method"} | {"coarse.cells": 4}


@dataclass(frozen=True)
class Weighted(Strong):
    """The strong residual over √K: all that a new method of this kind takes."""

    name: str = "weighted"
    balanced = False
    reports = ("points", "not_known")

    def check(self, config):
        if config.method != "pinn":
            raise InputError("formulation", "method pinn with weighted", config.method, "choose it")

    def objective(self, problem, config, ansatz, coarse):
        pde = blocks(problem, config)["pde"]

        def weighted(fields, data, state):
            return pde(fields, data, state) / jnp.sqrt(data["conductivity"])

        block = training.PointwiseBlock("collocation", weighted)
        return training.Objective(point_fields(problem, config, ansatz), {"pde": block})

    def report(self, setup, theta, data, reference=None):
        return {"points": float(len(data["points"]["collocation"])), "not_known": float("nan")}


@pytest.fixture
def weighted(monkeypatch):
    """What CONTRIBUTING.md says: a line in BY_NAME and a choice of the setting."""
    monkeypatch.setitem(BY_NAME, "weighted", Weighted())
    item = configs.FIELDS["formulation"]
    choices = (*item.metadata["choices"], "weighted")
    monkeypatch.setattr(item, "metadata", {**item.metadata, "choices": choices})
    monkeypatch.setitem(configs.CHOICES, "formulation", choices)


def test_a_method_in_one_file_trains_and_reports(weighted):
    config = with_settings(experiments.configuration("heat1d-eps15", "pinn", "mlp"), SMALL | {"formulation": "weighted"})
    assert method_of(config).name == "weighted" and balance_every(config) == 0
    problem = experiments.problem_of(config)
    result = experiments.train(problem, config, (0, 1), reference=None)
    loss = result.fit.history["loss/pde"]
    assert np.all(loss[-1] < loss[0])
    row = result.summary["seeds"][1]
    assert row["status"] == "completed" and row["points"] == 64 and row["not_known"] is None
    header, *rows = str(result).splitlines()[-3:]
    assert header.split()[-5:] == ["points", "not_known", "iteration", "seconds", "status"] and "6.40e+01" in rows[0]
    assert experiments.forecast(problem, config).total > 0
    assert np.all(np.isfinite(result.solution(np.array([[0.3]]))[0]))
    for question in (result.coarse, result.quadrature_error, lambda: experiments.error_estimate(result)):
        with pytest.raises(InputError, match="hybrid"):
            question()


def test_a_method_refuses_settings_when_a_configuration_is_made(weighted):
    config = with_settings(experiments.configuration("heat1d-eps15", "pinn"), {"formulation": "weighted"})
    with pytest.raises(InputError, match="method pinn with weighted; received hybrid"):
        dataclasses.replace(config, method="hybrid")
    assert experiments.own_configuration.__doc__ and recommended_method("weighted").name == "weighted"


def test_each_configuration_has_one_method():
    plain = experiments.configuration("heat2d", "pinn", optimiser="gauss-newton")
    names = {method_of(plain).name}
    for coupling in configs.CHOICES["coarse.coupling"]:
        names.add(method_of(with_settings(plain, {"method": "hybrid", "coarse.coupling": coupling})).name)
    names |= {method_of(with_settings(plain, {"formulation": f})).name for f in configs.CHOICES["formulation"]}
    assert names == set(BY_NAME)
    assert all(name == method.name and hash(method) == hash(dataclasses.replace(method)) for name, method in BY_NAME.items())
    with pytest.raises(InputError, match="formulation: expected one of strong, first-order"):
        recommended_method("weak")
    assert finish_steps(plain, 2) == 2 and finish_steps(with_settings(plain, {"formulation": "first-order"}), 2) == 0


def test_nobody_outside_the_package_asks_which_method_it_is():
    question = re.compile(r"has_defect|is_first_order|config\.(?:method|formulation|coarse\.coupling)\b\s*(?:==|!=|in\b|not\b)")
    asked = {
        f"{path.relative_to(LIBRARY)}: {line.strip()}"
        for path in LIBRARY.rglob("*.py")
        if path.parent.name != "methods"
        for line in path.read_text(encoding="utf-8").splitlines()
        if question.search(line)
    }
    assert asked == set()


def test_a_wrong_configuration_cannot_be_made_whatever_was_imported():
    program = "from hybrid_lib.config import Config; Config('heat1d-eps15', 0.1, formulation='hypercircle', method='hybrid')"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 1 and "InputError: formulation: expected method pinn" in found.stderr


def test_without_a_drop_a_run_has_no_upscaled_coefficient_and_no_coupling():
    still = Problem("still", interval(), media.paper_1d(0.2), 1.0, (0.0,))
    assert recommended_method("strong", still).name == "strong"
    for coupling in ("averaged", "defect"):
        with pytest.raises(InputError, match=rf"{coupling}: expected a temperature drop; received direction \(0.0,\)"):
            experiments.train(still, with_settings(configs.Config("still", 0.2), {**COUPLED, "coarse.coupling": coupling}))


def test_each_choice_of_network_and_optimiser_is_made_by_name():
    assert set(NETWORKS) == set(configs.CHOICES["network.kind"])
    assert set(OPTIMISERS) == set(configs.CHOICES["training.optimiser"])
    for name in ("heat1d-eps15", "heat2d"):
        for optimiser in OPTIMISERS:
            assert experiments.configuration(name, optimiser=optimiser).training.optimiser == optimiser
    with pytest.raises(InputError, match="ms or mlp or two-scale for heat1d-eps15 at scale quick; received 'windowed'"):
        experiments.configuration("heat1d-eps15", network="windowed")


@pytest.mark.parametrize("name", ["network.kind", "training.optimiser", "coarse.coupling", "scale", "method"])
def test_the_command_line_names_every_choice(name, capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    page = (LIBRARY.parent / "book" / "api" / "cli.md").read_text(encoding="utf-8")
    told = " ".join(capsys.readouterr().out.split())
    assert all(choice in told and choice in page for choice in configs.CHOICES[name])


def test_another_optimiser_is_not_taken_for_adam(monkeypatch):
    made = []
    kind = OPTIMISERS["adam"]._replace(make=lambda options: made.append(options) or OPTIMISERS["adam"].make(options))
    item = configs.FIELDS["training.optimiser"]
    monkeypatch.setitem(OPTIMISERS, "other", kind)
    monkeypatch.setattr(item, "metadata", {**item.metadata, "choices": (*item.metadata["choices"], "other")})
    monkeypatch.setitem(configs.CHOICES, "training.optimiser", (*configs.CHOICES["training.optimiser"], "other"))
    config = with_settings(experiments.configuration("heat1d-eps15", "pinn", "mlp", optimiser="other"), SMALL)
    assert config.training.optimiser == "other"
    experiments.train(experiments.problem_of(config), config, reference=None)
    assert len(made) == 1
