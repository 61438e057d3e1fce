"""Other PINN libraries: the record is well formed and says of the scripts what the scripts say. Needs none of the libraries."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
RECORD = ROOT / "book" / "results" / "beyond" / "peers.json"
LIBRARIES = ("ours", "deepxde", "jinns", "pina", "jno")
TIMED = LIBRARIES[:4]


@pytest.fixture(scope="module", autouse=True)
def peers_on_the_path():
    sys.path.insert(0, str(PEERS))
    yield
    sys.path.remove(str(PEERS))
    sys.modules.pop("run", None)  # both folders have one, and both tests may run in one process


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text())


@pytest.mark.parametrize("path", sorted(PEERS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_compile(path):
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_every_requirement_is_pinned():
    for peer in LIBRARIES[1:]:
        lines = (PEERS / f"requirements-{peer}.txt").read_text().splitlines()
        needs = [line for line in lines if line and not line.startswith("#")]
        assert needs and all(line.count("==") == 1 for line in needs)


def test_code_lines_leave_out_blanks_comments_and_docstrings():
    import facts

    source = '"""Two\nlines."""\n\nx = [  # a list\n    1,\n\n    2,\n]\n\n\n'
    source += 'def f():\n    """Doc."""\n    # why\n    return "s"\n'
    assert facts.code_lines(source) == {4, 5, 7, 8, 11, 14}


def test_record_counts_the_lines_of_the_scripts(record):
    import facts

    assert record["facts"]["lines"] == {peer: facts.user_lines(peer) for peer in LIBRARIES}
    assert all(0 < count["plain"] < 60 and count["features"] > 0 for count in record["facts"]["lines"].values())


def test_record_holds_the_table_of_abilities(record):
    import facts

    assert record["facts"]["abilities"] == facts.ABILITIES
    assert all(tuple(row) == LIBRARIES for row in facts.ABILITIES.values())


def test_speed_is_complete_and_positive(record):
    import run

    for table in record["speed"].values():
        assert {run.ROWS[row][0] for row in table} == set(TIMED)
        for row in table.values():
            assert 0 < row["ms_lowest"] <= row["ms"] <= row["ms_highest"]
            assert row["slices"] >= 3 and row["peak_mib"] > 0 and row["steps"] >= 1


def test_errors_are_histories_over_equal_times(record):
    for table in record["errors"].values():
        assert set(table) == {"ours", "ours, hybrid", "ours, uniform", "deepxde", "jinns", "pina"}
        times = {tuple(point["seconds"] for point in row["history"]) for row in table.values()}
        assert len(times) == 1
        for row in table.values():
            steps = [point["steps"] for point in row["history"]]
            assert steps == sorted(steps)
            for point in row["history"]:
                assert point["cpu"] >= point["seconds"]
                assert np.isfinite([point["rel_l2"], point["rel_h1"]]).all()


def test_second_order_is_a_history_over_equal_times_for_every_row(record):
    import run

    assert set(record["second"]["32"]) == set(run.SECOND)
    for table in record["second"].values():
        for row in table.values():
            assert [point["seconds"] for point in row] == sorted(point["seconds"] for point in row)
            assert all(point["cpu"] >= point["seconds"] and point["peak_mib"] > 0 for point in row)
            assert np.isfinite([[point["rel_l2"], point["rel_h1"]] for point in row]).all()


def test_versions_are_those_that_are_pinned(record):
    for part in ("speed", "errors"):
        packages = record["environment"][part]["packages"]
        for peer in TIMED[1:]:
            for line in (PEERS / f"requirements-{peer}.txt").read_text().splitlines():
                name, _, version = line.partition("==")
                if name in packages[peer]:
                    assert packages[peer][name].split("+")[0] == version


def test_newton_row_is_that_of_its_own_record(record):
    seeds = json.loads((ROOT / "book" / "results" / "beyond" / "defect-seeds.json").read_text())["heat2d"]["seeds"]
    assert record["facts"]["newton"]["rel_l2"] == pytest.approx(np.median([seed["rel_l2"] for seed in seeds]))


def test_meter_measures_the_reference_itself_as_exact(monkeypatch, tmp_path):
    import common

    rng = np.random.default_rng(0)
    known = {"points": rng.random((9, 2)), "weights": np.full(9, 1 / 9), "value": rng.random(9), "gradient": rng.random((9, 2))}
    np.savez(tmp_path / "reference.npz", **known)
    monkeypatch.setattr(common, "REFERENCE", tmp_path / "reference.npz")
    assert common.errors(known["value"], known["gradient"]) == {"rel_l2": 0.0, "rel_h1": 0.0}
    assert common.errors(0 * known["value"], 3 * known["gradient"]) == pytest.approx({"rel_l2": 1.0, "rel_h1": 2.0})


def test_a_slice_has_as_many_iterations_for_more_points_as_fit():
    import run

    assert [run.steps_of("pina", points) for points in (4096, 25_000, 10**7)] == [20, 3, 1]


def test_the_faster_mode_of_a_library_trains():
    import run

    table = {"jinns": {"ms": 5.0}, "jinns, loop": {"ms": 3.0}, "deepxde": {"ms": 1.0}, "deepxde, forward": {"ms": 2.0}}
    assert run.fastest(["ours", "ours, hybrid", *table], table) == ["ours", "ours, hybrid", "deepxde", "jinns, loop"]
