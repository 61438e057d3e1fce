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
    curves,
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
from hybrid_lib.replication import table as table_module
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
    readings = [name for name in CLAIMS if name.endswith(("-printed", "-trained", "-net", "-tau100"))]
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
    # no spread of ours excuses failures
    assert judge(verdicts.MEAN, 1.42e-2, 27.0, 28.0, 1.0, 30.0, 5.0, spread=1e-3) == "differs"
    assert judge(verdicts.MEAN, 1.42e-2, 1.4e-2, 1.3e-2, 27.0) == "differs"
    assert verdicts.MEAN.judge(Measurement((1.4e-2,), failed=(0,)), 1.42e-2, 1e-3)[0] == "partly"
    assert [judge(verdicts.MORE, 1.11, v) for v in (1.2, 0.99, 1.0, 1.5, 3.0)] == [
        "replicated",
        "differs",
        "differs",
        "partly",
        "differs",
    ]
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
    assert check(copy) == ["kstar-1d: no row, run `hybrid ledger --update`", "stranger.json: belongs to no claim"]


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
    assert curves.plateau([[artefact]]).mean > 0


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


def _errors(*columns: list[float], first: int = 0, planned: int = 0) -> artefacts.Artefact:
    """An artefact of a run with these relative L² errors at iterations 0, 100, …, a column a seed, from `first` on.

    Its selected iterate is the last; with more iterations `planned` than there are it is not finished.
    """
    values = np.array(columns, float).T
    arrays = {"evaluations:step": np.arange(len(values)) * 100, "evaluations:rel_l2": values}
    steps = (len(values) - 1) * 100
    seeds = [
        {"seed": first + k, "rel_l2": error, "rel_h1": error, "iterations": steps} for k, error in enumerate(values[-1])
    ]
    return artefacts.Artefact("run", {"seeds": seeds, "steps": steps, "planned_steps": planned}, arrays)


NEVER, SOON, LATE = [1.0, 1.0, 1.0], [1.0, 0.05, 0.05], [1.0, 1.0, 0.05]


def test_seeds_that_say_nothing_are_left_out():
    sooner = curves.sooner({"rel_l2": 0.1})
    assert sooner([[_errors(SOON, NEVER)], [_errors(LATE, NEVER)]]).values == (1.0,)
    assert sooner([[_errors(NEVER)], [_errors(SOON)]]).values == (0.0,)
    assert curves.escape(0.5)([[_errors(NEVER, SOON)]]).values == (np.inf, 100.0)
    nothing = curves.escape(0.5)([[_errors(NEVER, planned=900)]])
    assert nothing.values == () and np.isnan(nothing.mean) and not nothing.decided
    assert verdicts.HOLDS.judge(nothing, 1.0, 0.0) == ("differs", "no seed gets that far")


def test_who_is_sooner_is_decided_once_the_slower_run_has_come_far_enough():
    sooner, slow = curves.sooner({"rel_l2": 0.1}), [1.0] * 20
    found = sooner([[_errors(SOON)], [_errors(slow, planned=9000)]])
    assert found.values == (1.0,) and found.decided and "none by 1,900" in found.text
    waiting = sooner([[_errors(SOON)], [_errors([1.0, 1.0], planned=9000)]])  # it might still get there at 105
    assert waiting.values == () and not waiting.decided
    assert not sooner([[_errors(slow, planned=9000)], [_errors(slow, planned=9000)]]).decided
    level = [1.0] * 20 + [0.05]
    assert sooner([[_errors([1.0] * 19 + [0.05])], [_errors(level)]]).values == (0.0,)  # by less than a tenth


def test_of_two_failures_none_is_the_better():
    order = measures.lower_selected("rel_l2")
    assert order([[_errors([26.0])], [_errors([28.0])]]).values == ()
    assert order([[_errors([0.05])], [_errors([28.0])]]).values == (1.0,)
    assert order([[_errors([0.05])], [_errors([0.052])]]).values == (0.0,)


def test_the_one_realisation_that_succeeded_is_presented():
    """Table 1 prints the plain perceptron's one success; a spread is judged where some succeed and some fail."""
    paper, traps = _errors([0.0171], [27.0], [26.0], [22.0], [28.0]), _errors(*[[27.0 + k] for k in range(5)])
    found = measures.selected_of_successes("rel_l2")([[paper]])
    assert found.values == (0.0171,) and found.failed == () and "1 of 5" in found.text
    assert measures.selected_of_successes("rel_l2")([[traps]]).values == ()
    assert measures.spread_of("rel_l2")([[traps]]).values == () and measures.spread_of("rel_l2")([[paper]]).values


def _coarse(values, residual=None):
    """An artefact of a run whose averages over the nodes are these, or whose residuals are."""
    arrays = {"coarse:nodes": np.linspace(0, 1, len(values))[:, None], "coarse:averaged": np.asarray(values)[None]}
    if residual is not None:
        column = np.asarray(residual)[:, None]
        arrays = {"history:loss/pde": column, "evaluations:step": np.arange(len(column))}
        arrays |= {f"evaluations:rel_{norm}": np.geomspace(1, 0.1, len(column))[:, None] for norm in ("l2", "h1")}
    return artefacts.Artefact("run", {"seeds": [{"seed": 0}]}, arrays)


def test_overfitting_has_a_place_and_can_be_seen():
    x = np.linspace(0, 1, 41)
    exact = x * (1 - x)
    bumps = np.exp(-(((x - 0.2) / 0.05) ** 2)) + np.exp(-(((x - 0.8) / 0.05) ** 2))
    gap = artefacts.Artefact("gap", {"it": {"state": list(exact), "averaged": list(exact)}}, {})
    seen = measures.overfitted_near("it", (0.2, 0.8), within=0.05, visible=0.05)
    assert seen([[_coarse(exact + 0.03 * bumps)], [gap]]).values == (1.0,)
    assert seen([[_coarse(exact + 0.003 * bumps)], [gap]]).values == (0.0,)  # too small
    assert seen([[_coarse(1.2 * exact)], [gap]]).values == (0.0,)  # in the middle


def test_steady_means_from_the_start():
    falling = np.geomspace(100, 1, 400)
    assert curves.steady([[_coarse([0.0], falling)]]).values == (1.0,)
    rising = curves.steady([[_coarse([0.0], np.r_[0.01, 0.01, 0.01, 0.01, falling])]])
    assert rising.values == (0.0,) and "residual" in rising.text


def test_seed_is_compared_with_seed_across_artefacts():
    """One artefact a seed or one with several: the same; a seed that only one run has is left out."""
    apart = [_errors(SOON), _errors(NEVER, first=1), _errors(LATE, first=4)]
    plain = [_errors(LATE, SOON)]
    assert curves.sooner({"rel_l2": 0.1})([apart, plain]).values == (1.0, 0.0)
    assert curves.lower(0.1)([apart, plain]).values == (0.0, 0.0)
    assert len(curves.plateau([apart]).values) == 3


def test_a_curve_that_falls_is_no_plateau():
    shapes = [0.3] * 20, np.geomspace(1, 0.1, 20), np.geomspace(0.2, 0.4, 20)
    flat, falling, rising = (curves.plateau([[_errors(shape)]]).flaw for shape in shapes)
    assert flat == "" and "still falling" in falling and "still rising" in rising


def test_the_coupling_saves_less_in_the_second_pair():
    slow = [1.0] * 8 + [0.05]
    groups = [[_errors(LATE)], [_errors(slow)], [_errors(LATE)], [_errors([1.0, 1.0, 1.0, 0.05])]]
    assert curves.less_pronounced(0.1)(groups).values == (1.0,)
    assert curves.less_pronounced(0.1)([[_errors(NEVER)]] * 4).values == ()


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
    record = json.loads((copy / f"{spec.id}.json").read_text()) | {"finished": False, "planned_steps": 150_000}
    (copy / f"{spec.id}.json").write_text(json.dumps(record))
    table = {row["id"]: row for row in rows(copy)}
    assert table["table1-pinn-mlp-seconds"]["verdict"] == "not comparable"  # however far it comes
    assert table["fig3e-trapped"]["ours"]["text"] == "–" and table["fig3e-trapped"]["verdict"] == "pending"


def test_runs_without_a_seed_in_common_or_an_evaluation_say_nothing(made):
    one, other, claim = _errors(SOON), _errors(LATE, first=1), CLAIMS["fig2c-lower"]
    groups = [[one], [other]]
    assert table_module._verdict(claim, claim.measure(groups), groups) == ("pending", "no seed in common")
    record = {"seeds": [{"seed": 0, "rel_l2": 2.0, "iterations": 3}], "steps": 3, "planned_steps": 9}
    empty = artefacts.Artefact("run", record, {})
    for name in ("fig3e-trapped", "fig3e-faster", "table1-hybrid-mlp-l2", "fig1c-hybrid"):
        claim = CLAIMS[name]
        groups = [[empty] for _ in claim.needs]
        assert table_module._verdict(claim, claim.measure(groups), groups)[0] == "pending"


def test_one_that_diverged_is_worse_and_one_that_never_escapes_says_so():
    good, lost = _errors([0.05]), _errors([float("nan")])
    assert measures.lower_selected("rel_l2")([[good], [lost]]).values == (1.0,)
    assert curves.lower(1.0)([[good], [lost]]).values == (1.0,)
    claim, runs_ = CLAIMS["fig3e-trapped"], [[_errors(NEVER, SOON)]]
    ours = claim.measure(runs_)
    assert table_module._figures(claim, ours)["text"] == "never, 100"
    assert "never" in table_module._verdict(claim, ours, runs_)[1]


def test_a_few_of_the_seeds_are_partly_at_best(made):
    claim, good = CLAIMS["table1-robust"], _errors([0.014])
    assert table_module._verdict(claim, claim.measure([[good]]), [[good]])[0] == "partly"
    five = _errors(*[[0.014]] * 5)
    assert table_module._verdict(claim, claim.measure([[five]]), [[five]])[0] == "replicated"


def test_factors_are_told_with_two_digits():
    assert [verdicts.times(v) for v in (1.0432, 9.94, 9.96, 126.4)] == ["1", "9.9", "10", "126"]
