"""Benchmarks at their smallest size: known facts, independent oracles, and records that are complete."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_lib import experiments
from hybrid_lib.multiscale.homogenisation import homogenised_tensor

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "results" / "beyond" / "classical-rivals.json"
ERRORS = {"rel_l2", "rel_h1", "rel_flux", "rel_l2_whole"}


@pytest.fixture(scope="module", autouse=True)
def benchmarks_on_the_path():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))
    sys.modules.pop("run", None)  # both folders have one, and both tests may run in one process


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    import classical_rivals

    path = tmp_path_factory.mktemp("rivals") / "record.json"
    classical_rivals.main(["--smoke", "--out", str(path)])
    return json.loads(path.read_text())


def rows_of(record, problem, method):
    return [row for row in record["problems"][problem]["rows"] if row["method"] == method]


def test_smoke_run_writes_every_part(smoke):
    assert set(smoke) == {"problems", "eps", "networks", "environment"}
    assert set(smoke["problems"]) == {"heat1d-eps15", "heat2d"}
    for problem in smoke["problems"].values():
        assert {"eps", "dimension", "reference", "rows"} == set(problem)
        methods = {row["method"] for row in problem["rows"]}
        assert methods == {
            "P1",
            "P2",
            "coarse P1",
            "homogenised",
            "corrected",
            "corrected, cut off",
            "FE-HMM",
        }
        for row in problem["rows"]:
            assert set(row) >= ERRORS | {"cells", "unknowns", "bytes", "seconds", "cpu_seconds"}
            assert all(np.isfinite(row[key]) and row[key] > 0 for key in (*ERRORS, "seconds", "bytes"))
    for part in ("interval", "square"):
        assert {"power", "factor", "fitted_rows"} == set(smoke["eps"][part]["fit"])
    assert all(smoke["environment"][part]["dtype"] == "float64" for part in ("problems", "eps"))


def test_linear_elements_have_slope_two_in_the_mean_square_and_one_in_the_gradient(smoke):
    coarse, fine = rows_of(smoke, "heat2d", "P1")
    assert fine["cells"] == 2 * coarse["cells"]
    assert np.log2(coarse["rel_l2"] / fine["rel_l2"]) == pytest.approx(2, abs=0.1)
    assert np.log2(coarse["rel_h1"] / fine["rel_h1"]) == pytest.approx(1, abs=0.1)


def test_homogenised_solution_of_the_plane_problem_is_half_wrong_and_its_temperature_is_not(smoke):
    (row,) = rows_of(smoke, "heat2d", "homogenised")
    assert row["rel_l2"] == pytest.approx(0.49, abs=0.01)
    assert row["rel_l2_whole"] < 0.01  # relative to w = u + x_1
    assert row["tensor"][0][0] == pytest.approx(2.82229, rel=5e-3)


@pytest.mark.parametrize("dimension", [1, 2])
def test_evaluation_reproduces_a_quadratic_with_all_its_derivatives(dimension):
    from classical_methods import at, grid, space

    V = space(grid(dimension, 3), 2)
    A = np.array([[2.0, 0.5], [0.5, -1.0]])[:dimension, :dimension]
    u = np.einsum("ki,ij,kj->k", V.points, A, V.points) / 2 + V.points[:, 0]
    x = np.random.default_rng(0).uniform(size=(50, dimension))
    value, slope, bend = at(V, u, x, hessian=True)
    np.testing.assert_allclose(value, np.einsum("ki,ij,kj->k", x, A, x) / 2 + x[:, 0], atol=1e-13)
    np.testing.assert_allclose(slope, x @ A + np.eye(dimension)[0], atol=1e-12)
    np.testing.assert_allclose(bend, np.broadcast_to(A, bend.shape), atol=1e-11)


def test_local_tensors_of_a_periodic_medium_are_all_the_homogenised_one():
    from classical_methods import local_tensors, vectorised

    medium = experiments.heat2d_problem(0.25).medium
    centres = np.array([[0.1, 0.7], [0.33, 0.5]])
    found = local_tensors(vectorised(medium.conductivity), centres, 0.25, 24)
    exact = homogenised_tensor(medium.conductivity, 2, 32, period=0.25)
    np.testing.assert_allclose(found, np.broadcast_to(exact, found.shape), atol=0.02)


def test_problems_have_the_tensors_and_the_contrast_they_claim():
    from classical_methods import vectorised
    from classical_problems import inclusions_problem, layers_problem

    layers = homogenised_tensor(layers_problem().medium.conductivity, 2, 16, period=1 / 16)
    np.testing.assert_allclose(layers, np.diag([20 / 11, 5.5]), atol=1e-9)
    x = (np.arange(1024) + 0.5) / 1024
    values = vectorised(inclusions_problem().medium.conductivity)(np.stack(np.meshgrid(x, x), axis=-1))
    assert sorted(np.unique(values)) == [1.0, 1000.0]
    assert np.mean(values == 1000.0) == 0.25


def test_the_gradient_of_the_expansion_is_its_derivative():
    from classical_methods import expand, homogenised, vectorised

    problem = experiments.heat2d_problem(0.2)
    q = vectorised(problem.source)
    found = homogenised(problem.medium.conductivity, q, problem.direction, 0.2, 8, 16)
    x, h = np.random.default_rng(1).uniform(0.1, 0.9, size=(40, 2)), 1e-6
    for corrector in ("none", "plain", "cut"):
        slope = expand(found, x, corrector)[1]
        for i, step in enumerate(h * np.eye(2)):
            difference = (expand(found, x + step, corrector)[0] - expand(found, x - step, corrector)[0]) / (
                2 * h
            )
            assert np.median(np.abs(difference - slope[:, i])) < 1e-8  # a kink of the elements may be between


def test_record_holds_the_networks_as_they_are_recorded_now():
    from classical_rivals import network_record

    text = RECORD.read_text()
    assert len(text) < 200_000
    kept, now = json.loads(text)["networks"], json.loads(json.dumps(network_record()))
    assert kept == now, (
        f"run: python benchmarks/classical_rivals.py --parts networks --out {RECORD.relative_to(ROOT)}"
    )


def test_window_of_the_plane_is_measured_at_its_smallest_and_the_record_is_whole(tmp_path):
    import window

    rows = window.main(["--smoke", "--out", str(tmp_path / "record.json")])["periods"]["4"]
    off = {(row["method"], row["cells"]): row["rel_h1"] for row in rows["resolved"]}
    assert off["P1", 32] == off["P1, sine", 32] == off["P1, proved", 32] < 0.6 * off["P1", 16]
    proved = next(row for row in rows["resolved"] if "bound" in row)
    assert proved["rel_energy"] < proved["bound"] < 1.8 * proved["rel_energy"]
    kept = json.loads((RECORD.parent / "window.json").read_text())["periods"]
    assert list(kept) == ["10", "20", "50", "100", "200"]
    corrected = [
        row["rel_h1"] for part in kept.values() for row in part["upscaled"] if (row["method"], row["micro"]) == ("corrected", 256)
    ]
    assert len(corrected) == 5 and all(0.55 < b / a < 0.8 for a, b in itertools.pairwise(corrected))  # about the root of ε
    for inverse, methods in window.MESHES.items():
        found = {(row["method"], row["cells"]) for row in kept[str(inverse)]["resolved"]}
        assert found == {(method, n) for method, sizes in methods.items() for n in sizes}


def test_record_of_the_optimisers_holds_every_row_after_equal_seconds():
    import optimisers

    runs = json.loads((RECORD.parent / "optimisers.json").read_text())["runs"]
    assert set(runs) == {f"{name}/{row}" for name in optimisers.LIMITS for row in optimisers.optimisers(name)}
    for key, rows in runs.items():
        assert tuple(row["seconds"] for row in rows) == optimisers.LIMITS[key.partition("/")[0]]
        assert all(row["cpu"] >= row["seconds"] for row in rows)


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    import run

    path = tmp_path_factory.mktemp("bench") / "record.json"
    run.main(["--smoke", "--out", str(path)])
    return json.loads(path.read_text())


@pytest.mark.slow
def test_smoke_run_of_make_bench_writes_every_part_and_says_it_is_one(timed):
    import run

    assert list(timed) == [name for name in run.PARTS if name not in run.ONCE]
    for part in timed.values():
        assert part["environment"]["smoke"] and part["environment"]["cores"] == 1
        assert part["environment"]["share_of_cores"] > 0 and part["took"] >= 0


@pytest.mark.slow
def test_competitors_of_the_residual_step_compute_the_same_loss(timed):
    part = timed["residual-ms"]
    assert set(part["steps"]) | set(part["skipped"]) == {
        "regression",
        "regression, features given",
        "jets",
        "hessian",
        "jacfwd of grad",
        "grad of grad",
        "jax.experimental.jet",
        "folx",
    }
    assert part["largest_difference"] < 1e-5  # float32
    assert part["steps"]["regression"]["ratio"] == 1.0


@pytest.mark.slow
def test_rivals_of_assembly_solution_and_steps_agree(timed):
    assert all(row["difference"] < 1e-14 for row in timed["assembly"]["sizes"])
    assert all(row["largest_difference"] < 1e-8 for row in timed["solution"]["sizes"])
    assert all(row["step_difference"] < 1e-6 for row in timed["gauss-newton"]["sizes"][0]["solvers"].values())
    assert timed["ensembles"]["cases"]["1-D, Adam"]["largest_difference"] < 1e-12
    near = 0.0736714 - 2 * (1 / 66) ** 2 / 4  # of -Laplace(u) = 1: the centre of 33 squares is no node
    assert timed["poisson"]["largest_value"] == pytest.approx(near, rel=1e-3)


def test_ratios_are_taken_within_a_round():
    import timing

    slow = [1.0, 10.0, 2.0]  # the machine
    both = {name: [{"wall": f * s, "cpu": f * s} for s in slow] for name, f in (("a", 1.0), ("b", 3.0))}
    row = timing.rows(both, "a")["b"]
    assert row["ratio"] == 3.0 and row["ratio_range"] == [3.0, 3.0]
    assert row["seconds"] == 6.0 and row["spread"] == 27.0
    assert timing.exponent([10, 100, 1000], [2e-3, 2e-2, 2e-1]) == pytest.approx(1.0)


def test_smoke_figures_cannot_replace_the_record(capsys):
    import run

    with pytest.raises(SystemExit):
        run.main(["--smoke"])
    assert "--out of its own" in capsys.readouterr().err


def test_record_of_make_bench_holds_every_part_at_full_size():
    import run

    text = run.RECORD.read_text()
    record = json.loads(text)
    assert len(text) < 200_000
    assert list(record) == list(run.PARTS), "run: make bench"
    assert not any(part["environment"]["smoke"] for part in record.values())
