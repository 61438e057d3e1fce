"""The ledger: rules, rows, and that a single changed byte or figure is noticed."""

import json
import shutil

import numpy as np
import pytest

from hybrid_lib import experiments
from hybrid_lib.cli import main
from hybrid_lib.errors import InputError
from hybrid_lib.replication import (
    CLAIMS,
    RUNS,
    artefacts,
    check,
    measures,
    read,
    readings_table,
    results_folder,
    rows,
    runs,
    statements,
    summary,
    verdicts,
    write,
)
from hybrid_lib.replication.verdicts import Measurement, Rule


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with one finished and one unfinished smoke run, two calculations, and the ledger."""
    folder = tmp_path_factory.mktemp("results")
    for name, finished in (("heat1d-eps15-hybrid-ms", True), ("heat1d-eps15-pinn-ms", False)):
        spec = RUNS[name]
        artefacts.export(spec, experiments.run(runs.configuration(spec, smoke=True), spec.seeds), folder)
        if not finished:
            path = folder / f"{name}.json"
            record = json.loads(path.read_text()) | {"finished": False, "planned_steps": 120}
            path.write_text(json.dumps(record))
    gap = {
        name: {"gap": value, "state": [1.0] * 21, "averaged": [0.5] * 21}
        for name, value in (("heat1d-eps15", 0.4), ("heat1d-eps100", 0.1))
    }
    artefacts.write_calculation("consistency-gap", gap, folder)
    write(folder)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "results")


def judge(rule: Rule, paper: float, *values: float, spread: float = 0.0) -> str:
    return rule.judge(Measurement(values), paper, spread)[0]


def test_a_reading_counts_with_its_claim():
    found = statements([{"id": name} for name in CLAIMS])
    readings = [name for name in CLAIMS if name.endswith(("-printed", "-trained"))]
    assert found == [name for name in CLAIMS if name not in readings]


def test_rules_judge_by_their_written_tolerances():
    assert judge(verdicts.digits(1e-3), 1.733, 1.7326) == "replicated"
    assert judge(verdicts.digits(1e-3), 1.733, 1.7321) == "partly"  # rounds to 1.732
    assert judge(verdicts.digits(1e-3), 1.733, 1.70) == "differs"
    assert [judge(verdicts.PLATEAU, 0.3, v) for v in (0.34, 0.7, 1.0)] == ["replicated", "partly", "differs"]
    assert [judge(verdicts.ORDER, 1e-2, v) for v in (4e-3, 2e-3, 0.2)] == ["replicated", "partly", "differs"]
    assert judge(verdicts.MEAN, 1.28e-2, 1.2e-2, 1.6e-2, 1.9e-2, spread=3e-3) == "replicated"
    assert judge(verdicts.MEAN, 1.28e-2, 3e-2, 3.1e-2) == "partly"
    assert judge(verdicts.MEAN, 1.28e-2, 3e-3, 3.1e-3, spread=3e-3) == "differs"  # better is different, too
    assert [judge(verdicts.AT_MOST, 1e-3, v) for v in (9e-4, 2e-3, 4e-3)] == [
        "replicated",
        "partly",
        "differs",
    ]
    assert [judge(verdicts.HOLDS, 1, *v) for v in ((1, 1), (1, 0), (0, 0))] == [
        "replicated",
        "partly",
        "differs",
    ]
    assert judge(verdicts.RATIO, 1.41, 1.03) == "differs"
    assert [judge(verdicts.CLOSE, 1.732, v) for v in (1.74, 1.77, 1.8)] == ["replicated", "partly", "differs"]


def test_every_rule_says_what_and_why():
    for claim in CLAIMS.values():
        assert "replicated" in claim.rule.text and claim.rule.why


def test_claims_rest_on_runs_and_calculations_that_exist():
    from hybrid_lib.replication.calculations import CALCULATIONS

    for claim in CLAIMS.values():
        assert set(claim.needs) <= set(RUNS) | set(CALCULATIONS)
        assert set(claim.provisional) <= set(RUNS)
        assert all(RUNS[name].scale == "laptop" for name in claim.provisional)
        assert all(RUNS[name].scale == "paper" for name in claim.needs if name in RUNS)


def test_table_one_has_its_sixteen_figures():
    keys = [name for name in CLAIMS if name.startswith("table1-") and not name.endswith("-printed") and "order" not in name]
    figures = [
        k
        for k in keys
        if k.rsplit("-", 1)[1] in ("l2", "h1", "seconds")
        or k.endswith("p-iterations")
        or k.endswith("s-iterations")
    ]
    assert len([k for k in figures if k != "table1-more-iterations"]) == 16


def test_rows_have_the_contract_keys(made):
    table = rows(made)
    assert [row["id"] for row in table] == list(CLAIMS)
    keys = {"id", "where", "statement", "paper", "ours", "tolerance", "verdict", "reason", "artefacts", "run"}
    assert all(keys <= set(row) for row in table)
    assert sum(summary(table).values()) == len(table)


def test_without_artefact_pending_and_unfinished_never_replicates(made):
    table = {row["id"]: row for row in rows(made)}
    assert (
        table["table1-hybrid-ms-l2"]["verdict"] == "pending" and table["table1-hybrid-ms-l2"]["ours"] is None
    )
    unfinished = table["fig1c-alone"]
    assert unfinished["verdict"] in ("pending", "partly") and "iteration" in unfinished["reason"]
    assert table["fig2b-gap"]["verdict"] == "replicated"


def test_fresh_ledger_holds(made):
    assert check(made) == []


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_one_byte_of_an_artefact_is_noticed(copy, suffix):
    path = copy / f"heat1d-eps15-hybrid-ms.{suffix}"
    content = bytearray(path.read_bytes())
    at = content.index(b'"rel_l2"') + 12 if suffix == "json" else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    assert any("heat1d-eps15-hybrid-ms" in line and "SHA-256" in line for line in check(copy))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("verdict", "replicated"),
        ("reason", "looks fine"),
        ("ours", {"value": 0.3}),
        ("statement", "something else"),
    ],
)
def test_an_edited_row_is_noticed(copy, key, value):
    path = copy / "ledger.json"
    content = json.loads(path.read_text())
    row = next(row for row in content["rows"] if row["id"] == "fig1c-alone")
    row[key] = value
    path.write_text(json.dumps(content))
    assert any(line.startswith(f"fig1c-alone: {key}") for line in check(copy))


def test_an_edited_figure_is_noticed(copy):
    path = copy / "ledger.json"
    content = json.loads(path.read_text())
    row = next(row for row in content["rows"] if row["id"] == "fig1c-hybrid")
    row["ours"]["value"] *= 1.0001
    path.write_text(json.dumps(content))
    assert any(line.startswith("fig1c-hybrid: ours") for line in check(copy))


def test_missing_rows_and_strays_are_noticed(copy):
    content = json.loads((copy / "ledger.json").read_text())
    content["rows"] = [row for row in content["rows"] if row["id"] != "kstar-1d"]
    (copy / "ledger.json").write_text(json.dumps(content))
    (copy / "stranger.json").write_text("{}")
    assert check(copy) == ["kstar-1d: no row", "stranger.json: belongs to no claim"]


def test_a_missing_file_is_noticed(copy):
    (copy / "heat1d-eps15-hybrid-ms.npz").unlink()
    assert "fig1c-hybrid: heat1d-eps15-hybrid-ms.npz is missing" in check(copy)


def test_command_line(copy, capsys):
    assert main(["ledger", "--check", "--results", str(copy)]) == 0
    assert f"{len(CLAIMS)} rows hold" in capsys.readouterr().out
    assert main(["ledger", "--results", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "fig1c-hybrid" in out and "pending" in out.splitlines()[-1]
    (copy / "consistency-gap.json").write_text("{}")
    assert main(["ledger", "--check", "--results", str(copy)]) == 1
    error = capsys.readouterr().err
    assert "consistency-gap.json is not the file that was judged" in error
    assert main(["ledger", "--check", "--results", str(copy / "nowhere")]) == 2


def test_ledger_file_errors(tmp_path):
    with pytest.raises(InputError, match="hybrid ledger --update"):
        read(tmp_path)
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(InputError, match="JSON with rows"):
        read(tmp_path)


def test_artefact_holds_histories_solution_and_passport(made):
    artefact = artefacts.load("heat1d-eps15-hybrid-ms", made)
    assert artefact.complete and artefact.arrays["solution"].shape == (1, artefacts.GRID_1D)
    assert {"source", "device", "packages"} <= set(artefact.record["environment"])
    assert artefact.record["schedule"] == "usable" and artefact.record["seconds"] > 0
    floats = {v.dtype for k, v in artefact.arrays.items() if not k.endswith(":step")}
    assert floats == {np.dtype("float32")}
    assert measures.plateau([[artefact]]).mean > 0


def test_readings_are_told_seed_by_seed(made):
    lines = readings_table(made, "heat1d-eps15").lines
    assert set(runs.READING_WORDS) == set(runs.READINGS)
    assert [line[0] for line in lines[::2]] == ["as printed", *runs.READING_WORDS.values()]
    assert lines[0][2] == "not run"
    book = readings_table(results_folder(), "heat1d-eps15").lines[0]
    assert book[1] == "L²" and len(book[2].split(", ")) >= 3


def test_thinning_keeps_both_ends():
    kept = artefacts.thin(1999)
    assert len(kept) == artefacts.HISTORY_ROWS and kept[0] == 0 and kept[-1] == 1998


def test_book_ledger_holds_and_stays_small():
    folder = results_folder()
    assert check(folder) == []
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) <= 2_000_000 and sum(sizes) <= 40_000_000


def _errors(*columns: list[float], first: int = 0) -> artefacts.Artefact:
    """An artefact of a run with these relative L² errors at iterations 0, 100, …, a column a seed, from `first` on."""
    values = np.array(columns, float).T
    arrays = {"evaluations:step": np.arange(len(values)) * 100, "evaluations:rel_l2": values}
    return artefacts.Artefact("run", {"seeds": [{"seed": first + k} for k in range(values.shape[1])]}, arrays)


NEVER, SOON, LATE = [1.0, 1.0, 1.0], [1.0, 0.05, 0.05], [1.0, 1.0, 0.05]


def test_seeds_that_say_nothing_are_left_out():
    assert measures.sooner(0.1)([[_errors(SOON, NEVER)], [_errors(LATE, NEVER)]]).values == (1.0,)
    assert measures.sooner(0.1)([[_errors(NEVER)], [_errors(SOON)]]).values == (0.0,)
    assert measures.trapped(0.5, 150)([[_errors(NEVER, SOON)]]).values == (1.0, 0.0)
    assert measures.trapped(0.5, 900)([[_errors(NEVER, SOON)]]).values == (0.0,)  # the first one ended at 200
    nothing = measures.trapped(0.5, 900)([[_errors(NEVER)]])
    assert nothing.values == () and np.isnan(nothing.mean)
    assert verdicts.HOLDS.judge(nothing, 1.0, 0.0) == ("differs", "no seed gets that far")


def test_seed_is_compared_with_seed_across_artefacts():
    """One artefact a seed or one with several: the same; a seed that only one run has is left out."""
    apart = [_errors(SOON), _errors(NEVER, first=1), _errors(LATE, first=4)]
    plain = [_errors(LATE, SOON)]
    assert measures.sooner(0.1)([apart, plain]).values == (1.0, 0.0)
    assert measures.lower(0.1)([apart, plain]).values == (0.0, 0.0)
    assert len(measures.plateau([apart]).values) == 3


def test_a_curve_that_falls_is_no_plateau():
    flat, falling = measures.plateau([[_errors([0.3] * 20)]]), measures.plateau([[_errors(np.geomspace(1, 0.1, 20))]])
    assert flat.flaw == "" and "still falling" in falling.flaw


def test_the_coupling_saves_less_in_the_second_pair():
    slow = [1.0] * 8 + [0.05]
    groups = [[_errors(LATE)], [_errors(slow)], [_errors(LATE)], [_errors([1.0, 1.0, 1.0, 0.05])]]
    assert measures.less_pronounced(0.1)(groups).values == (1.0,)
    assert measures.less_pronounced(0.1)([[_errors(NEVER)]] * 4).values == ()


def test_other_settings_and_few_seeds_are_said(copy):
    cost = {"ms": {"ratio": 1.0}, "mlp": {"ratio": 1.0}, "points": 5000, "environment": {"platform": "cpu"}}
    artefacts.write_calculation("coupling-cost", cost, copy)
    table = {row["id"]: row for row in rows(copy)}
    assert table["cost-ms"]["verdict"] == "not comparable" and "5,000 points" in table["cost-ms"]["reason"]
    spec = RUNS["heat2d-pinn-mlp"]
    artefacts.export(spec, experiments.run(runs.configuration(spec, smoke=True), spec.seeds), copy)
    table = {row["id"]: row for row in rows(copy)}
    assert "1 of 5 seeds" in table["table1-pinn-mlp-l2"]["reason"]
    assert table["table1-one-of-five"]["verdict"] == "pending" and table["table1-spread"]["verdict"] == "pending"
    assert table["table1-pinn-mlp-seconds"]["verdict"] == "not comparable"


def test_factors_are_told_with_two_digits():
    assert [verdicts.times(v) for v in (1.0432, 9.94, 9.96, 126.4)] == ["1", "9.9", "10", "126"]
