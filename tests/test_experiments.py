"""Experiments: references, configurations, data, and runs that resume bit for bit."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.config import fingerprint
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import configuration, references, with_settings
from hybrid_lib.methods import balance_every
from hybrid_lib.pinn import domains

TINY = {
    "training.steps": "6",
    "training.report_every": "2",
    "training.record_every": "2",
    "training.gate_every": "2",
    "training.balance_every": "2",
    "network.widths": "4,4",
    "network.frequencies": "3",
}
TINY_1D = TINY | {"sampling.points": "128", "coarse.cells": "10"}
TINY_2D = TINY | {"sampling.points": "1024", "sampling.boundary_points": "16", "coarse.cells": "6"}


def tiny(experiment, **choices):
    return with_settings(configuration(experiment, **choices), TINY_2D if experiment == "heat2d" else TINY_1D)


def leaves(state):
    return [
        jax.random.key_data(v) if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else v
        for v in jax.tree.leaves(state)
    ]


@pytest.mark.parametrize("eps, upscaled", [(1 / 15, 1.733), (0.01, 1.732)])
def test_reference_1d_solves_the_equation(eps, upscaled):
    problem = experiments.heat1d_problem(eps)
    r = experiments.reference(problem)
    assert r.upscaled == pytest.approx(upscaled, abs=1e-3)  # the paper's printed values
    K = 2 + np.sin(2 * np.pi * r.points[:, 0] / eps)
    flux, x = K * (r.gradient[:, 0] + 1), r.points[:, 0]
    q_integral = -3 * x**2 + 3 * x
    np.testing.assert_allclose(flux + q_integral, (flux + q_integral)[0], atol=1e-10)
    assert float(np.sum(r.weights * r.gradient[:, 0])) == pytest.approx(0, abs=1e-12)
    finer = experiments.reference(problem, cells=3 * len(x) // 8)
    np.testing.assert_allclose(r.norms(), finer.norms(), rtol=1e-9)


def test_reference_1d_against_finite_elements():
    problem = experiments.heat1d_problem(0.2)
    exact = experiments.reference(problem)
    errors = []
    for cells in (200, 400):
        nodal = experiments.fine_solution(problem, cells)
        u = fem.interpolate(fem.interval(cells), nodal, exact.points)
        errors.append(np.sqrt(np.sum(exact.weights * (u - exact.value) ** 2)) / exact.norms()[0])
    assert errors[1] < 1e-3 and errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_reference_2d_against_an_independent_high_order_solution():
    """Tensor-product elements of degree 5 from scikit-fem; also the published digits of this project's notes."""
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import dot, grad

    problem = experiments.heat2d_problem(0.1)
    ours = experiments.reference(problem)
    assert ours.error < 1e-4
    assert ours.norms() == pytest.approx((0.01022, 0.2616), rel=1e-3)
    assert ours.upscaled == pytest.approx(2.8297, abs=1e-3)

    line = np.linspace(0, 1, 41)
    mesh = skfem.MeshQuad.init_tensor(line, line)
    basis = skfem.Basis(mesh, skfem.ElementQuadP(5), intorder=12)

    def K(x):
        return 3 + np.sin(20 * np.pi * x[0]) + np.sin(20 * np.pi * x[1])

    stiffness = skfem.BilinearForm(lambda u, v, w: K(w.x) * dot(grad(u), grad(v))).assemble(basis)
    load = skfem.LinearForm(
        lambda v, w: 10 * np.exp(-100 * ((w.x[0] - 0.5) ** 2 + (w.x[1] - 0.5) ** 2)) * v - K(w.x) * grad(v)[0]
    ).assemble(basis)
    solution = skfem.solve(*skfem.condense(stiffness, load, D=basis.get_dofs()))
    sample = slice(None, None, 37)
    other = basis.probes(ours.points[sample].T) @ solution
    difference = np.linalg.norm(other - ours.value[sample]) / np.linalg.norm(ours.value[sample])
    assert difference < 1e-4


def test_reference_cache_is_keyed_by_the_problem_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path))
    first = references.reference(experiments.heat2d_problem(0.5), cells=4, mesh_cells=16)
    references.reference(experiments.heat2d_problem(0.25), cells=4, mesh_cells=16)
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"damaged")
    again = references.reference(experiments.heat2d_problem(0.5), cells=4, mesh_cells=16)
    np.testing.assert_array_equal(first.value, again.value)


# The two in one dimension differ by their period, so that one network stands for all at the smaller one.
PAPER = [(e, m, n) for e in ("heat1d-eps15", "heat2d") for m in experiments.METHODS for n in experiments.NETWORKS]
PAPER += [("heat1d-eps100", method, "two-scale") for method in experiments.METHODS]


@pytest.mark.parametrize(("experiment", "method", "network"), PAPER)
def test_every_run_of_the_paper_answers(experiment, method, network):
    if network == "windowed" or (experiment, network) == ("heat2d", "two-scale"):  # with gauss-newton only
        with pytest.raises(InputError, match=network):
            tiny(experiment, method=method, network=network)
        return
    result = experiments.run(tiny(experiment, method=method, network=network), (3,))
    row = result.summary["seeds"][0]
    assert row["status"] == "completed" and row["seed"] == 3
    assert all(np.isfinite(row[name]) for name in ("rel_l2", "rel_h1", "residual", "seconds"))
    keys = {"experiment", "method", "network", "optimiser", "scale", "dtype", "device", "run_dir", "seeds"}
    assert keys <= set(result.summary)
    json.dumps(result.summary)
    u, gradient = result.solution(np.full((5, result.setup.problem.domain.dimension), 0.5))
    assert u.shape == (5,) and gradient.shape == (5, result.setup.problem.domain.dimension)
    if method == "hybrid":
        coarse = result.coarse()
        assert coarse["state"].shape == coarse["averaged"].shape == (len(coarse["nodes"]),)
    else:
        with pytest.raises(InputError, match="hybrid"):
            result.coarse()


def test_paper_scale_is_the_papers():
    one = configuration("heat1d-eps100", scale="paper")
    assert (one.sampling.points, one.training.steps, one.network.widths, one.boundary) == (
        5000,
        200_000,
        (128, 128),
        "hard",
    )
    two = configuration("heat2d", network="mlp", scale="paper")
    assert (two.sampling.points, two.sampling.boundary_points, two.training.learning_rate) == (
        25_000,
        2_500,
        1e-3,
    )
    assert two.boundary == "soft" and two.coarse.cells == 25


def test_an_interrupt_saves_what_was_reported(tmp_path):
    config = tiny("heat1d-eps15")
    whole = experiments.run(config, (0,))

    def interrupt(result):
        if int(result.state.step) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiments.run(config, (0,), out=tmp_path / "cut", callbacks=(interrupt,), checkpoint_every=1e9)
    assert training.steps_done(tmp_path / "cut" / "checkpoint" / "state.npz") == 2  # the report before
    again = experiments.run(config, (0,), out=tmp_path / "cut", resume=True)
    for a, b in zip(leaves(whole.fit.state), leaves(again.fit.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_resume_is_bitwise(tmp_path):
    config = tiny("heat1d-eps15")
    whole = experiments.run(config, (0, 1))
    short = with_settings(config, {"training.steps": "2"})
    experiments.run(short, (0, 1), out=tmp_path / "run")
    again = experiments.run(config, (0, 1), out=tmp_path / "run", resume=True)
    for a, b in zip(leaves(whole.fit.state), leaves(again.fit.state), strict=True):
        np.testing.assert_array_equal(a, b)
    files = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    names = {"config.json", "environment.json", "problem.npz", "history.npz", "summary.json", "checkpoint/state.npz"}
    assert files == names
    with pytest.raises(InputError, match="add resume=True"):
        experiments.run(config, (0, 1), out=tmp_path / "run")
    with pytest.raises(InputError, match="resume with the same options"):
        experiments.run(
            with_settings(config, {"coarse.delta": "0.2"}), (0, 1), out=tmp_path / "run", resume=True
        )


def test_transfer_from_another_run():
    config = tiny("heat1d-eps15")
    first = experiments.run(config, (0,))
    start = (first.fit.state.members.params, first.setup.data["fixed"])
    second = experiments.assemble(first.setup.problem, config, (5,), initial=start)
    for a, b in zip(jax.tree.leaves(start[0]), jax.tree.leaves(second.state.members.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "coupling, parts, experiment",
    [
        ("averaged", "2", "heat1d-eps15"),
        ("averaged-both", "1", "heat1d-eps15"),
        ("averaged-both", "2", "heat2d"),
        ("defect", "1", "heat1d-eps15"),
        ("defect", "2", "heat2d"),
    ],
)
def test_couplings_and_parts(coupling, parts, experiment):
    settings = {"coarse.coupling": coupling, "coarse.parts": parts, "dtype": "float64", "training.steps": "2"}
    result = experiments.run(with_settings(tiny(experiment), settings), (0, 1))
    assert [row["status"] for row in result.summary["seeds"]] == ["completed"] * 2


def test_defect_runs_report_the_defect_and_its_quadrature():
    settings = {"coarse.coupling": "defect", "dtype": "float64", "training.steps": "2", "sampling.sampler": "gauss"}
    result = experiments.run(with_settings(tiny("heat1d-eps15", network="two-scale"), settings), (0,))
    coarse, data = result.coarse(), result.setup.data
    assert coarse["defect"].shape == coarse["state"].shape == (11,)
    points, scale = data["points"]["collocation"][0], data["scale"][0]
    assert points.shape == (data["coupling"].points[0].size, 1)  # the quadrature points of the defect, with their weights
    assert float(jnp.mean(scale**2 * points[:, 0] ** 4)) == pytest.approx(1 / 5, rel=1e-12)
    off, finer = result.quadrature_error(), result.quadrature_error(pieces=4)
    assert off.defect == finer.defect > off.error > 0
    assert off.error < 1e-2 * off.defect
    # Twice as many pieces tell how far the rule is off; the fourth harmonic of the untrained network is left: a few per cent.
    assert off.error == pytest.approx(finer.error, rel=0.05)
    with pytest.raises(InputError, match="defect"):
        experiments.run(tiny("heat1d-eps15"), (0,)).quadrature_error()


def test_defaults_that_depend_on_the_coupling():
    config = tiny("heat1d-eps15")
    defect = with_settings(config, {"coarse.coupling": "defect", "training.balance_every": "auto"})
    assert (balance_every(config), balance_every(defect)) == (2, 0)
    assert balance_every(with_settings(config, {"training.balance_every": "auto"})) == 100
    setup = experiments.assemble(experiments.problem_of(defect), defect, (0,))
    rule = np.pi**2 * 2 * 10**2  # π² K̄/h²: the mean of the medium is 2, ten cells
    assert float(setup.state.members.weights["coupling"][0]) == pytest.approx(rule, rel=1e-3)
    given = with_settings(defect, {"coarse.weight": "3"})
    setup = experiments.assemble(experiments.problem_of(given), given, (0,))
    assert float(setup.state.members.weights["coupling"][0]) == 3
    layers = with_settings(config, {"network.kind": "two-scale", "network.boundary_layers": "true"})
    assert layers.network.boundary_layers is True


def test_readings_of_the_balancing_reach_the_loop_and_the_fingerprint():
    config = tiny("heat2d", method="hybrid", network="mlp")
    same = {"balance_terms": "all", "balance_reference": "sum", "balance_start": "given"}
    same = with_settings(config, {f"training.{k}": v for k, v in same.items()})
    assert fingerprint(same, (0,)) == fingerprint(config, (0,))
    other = with_settings(config, {"training.balance_terms": "without-coupling", "coarse.weight": "100"})
    assert fingerprint(other, (0,)) != fingerprint(config, (0,))
    setup = experiments.assemble(experiments.problem_of(other), other, (0,))
    assert setup.program.options.balance_kept == ("coupling",)
    assert float(setup.state.members.weights["coupling"][0]) == 100.0
    with pytest.raises(InputError, match="balance_terms: expected one of all, without-coupling"):
        with_settings(config, {"training.balance_terms": "some"})


def test_resampling_changes_points_with_the_step_only():
    setup = experiments.assemble(
        experiments.heat1d_problem(1 / 15),
        with_settings(tiny("heat1d-eps15"), {"sampling.resample_every": "2"}),
        (0,),
    )
    first, again, later = setup.resample(2), setup.resample(2), setup.resample(4)
    np.testing.assert_array_equal(first["points"]["collocation"], again["points"]["collocation"])
    assert not np.array_equal(first["points"]["collocation"], later["points"]["collocation"])


@pytest.mark.parametrize("sampler", ["uniform", "sobol", "graded"])
def test_new_points_compile_nothing(sampler, caplog):
    """A program a draw cost 0.2 s a step: fifty times what the draw itself takes."""
    settings = {"sampling.resample_every": "1", "sampling.sampler": sampler}
    setup = experiments.assemble(
        experiments.heat1d_problem(1 / 15), with_settings(tiny("heat1d-eps15", method="pinn"), settings), (0,)
    )
    setup.resample(1)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        setup.resample(2)
    assert not [record for record in caplog.records if "ompiling" in record.getMessage()]


def test_momentum_is_for_gauss_newton_alone():
    with pytest.raises(InputError, match=r"^training\.momentum: expected 0 but for gauss-newton; received 0\.5 with"):
        with_settings(tiny("heat1d-eps15"), {"training.momentum": "0.5"})


def test_a_tensor_medium_of_ones_own():
    medium = media.constant(np.array([[2.0, 0.5], [0.5, 1.0]]), 2)
    problem = experiments.Problem("own", domains.unit_square(), medium, lambda x: 1 + 0 * x[0], (1.0, 0.0))
    config = dataclasses.replace(tiny("heat2d", method="pinn"), experiment="own", eps=0.5)
    result = experiments.train(problem, config, (0,), reference=experiments.reference(problem))
    assert np.isfinite(result.summary["seeds"][0]["rel_l2"])


def test_the_loss_of_the_exact_solution_is_its_consistency_gap():
    """At the exact u the PDE term vanishes and the coupling does not: the paper's point about ε that is not small."""
    from hybrid_lib.multiscale.coarse import coarse_problem, state
    from hybrid_lib.multiscale.compression import average, compression

    gaps = []
    for eps in (1 / 15, 0.01):
        problem, mesh = experiments.heat1d_problem(eps), fem.interval(250)
        r = experiments.reference(problem)
        balls = compression(mesh.points, r.points, eps, problem.domain.distance)
        near = np.interp(mesh.points[np.asarray(balls.pointwise_nodes), 0], r.points[:, 0], r.value)
        averaged = average(balls, jnp.asarray(r.value), jnp.asarray(near))
        y = state(coarse_problem(mesh, problem.source, isotropic_constant=True), jnp.asarray(r.upscaled))
        gaps.append(float(jnp.linalg.norm(averaged - y) / jnp.linalg.norm(y)))
    assert gaps[0] > 5 * gaps[1] > 0


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"traning.steps": "5"}, "setting traning.steps: expected one of eps, "),
        ({"training.steps": "many"}, "training.steps: expected an integer > 0; received 'many'"),
        ({"network.boundary_layers": "maybe"}, "network.boundary_layers: expected true or false; received 'maybe'"),
        ({"coarse.pieces": "0"}, "coarse.pieces: expected an integer > 0 or none; received '0'"),
        ({"training.steps": "2.5"}, "training.steps: expected an integer > 0; received '2.5'"),
        ({"eps": "-1"}, "eps: expected a number > 0; received '-1'"),
        ({"eps": "nan"}, "eps: expected a finite number > 0; received 'nan'"),
        ({"network.widths": "a"}, "network.widths: expected integers > 0, separated by commas"),
        ({"network.widths": ""}, "network.widths: expected integers > 0, separated by commas; received ''"),
        ({"dtype": "float16"}, "dtype: expected one of float32, float64; received 'float16'"),
        ({"boundary": "soft"}, "sampling.boundary_points: expected at least 1"),
    ],
)
def test_setting_errors(settings, message):
    with pytest.raises(InputError) as caught:
        with_settings(configuration("heat1d-eps15"), settings)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_other_errors():
    with pytest.raises(
        InputError, match="experiment: expected one of heat1d-eps15, heat1d-eps100, heat2d; received 'heat3d'"
    ):
        configuration("heat3d")
    with pytest.raises(InputError, match="seeds: expected one or more different integers"):
        experiments.run(tiny("heat1d-eps15"), (1, 1))
    with pytest.raises(InputError, match="delta"):  # balls too small for the points
        experiments.run(with_settings(tiny("heat1d-eps15"), {"coarse.delta": "1e-5"}), (0,))
    with pytest.raises(InputError, match="solve with fem"):
        experiments.reference(
            experiments.Problem("L", domains.lshape(), media.constant(1.0, 2), lambda x: x[0], (1.0, 0.0))
        )


def test_float64_needs_x64():
    config = with_settings(tiny("heat1d-eps15"), {"dtype": "float64"})
    switch = jax.enable_x64(False) if hasattr(jax, "enable_x64") else jax.experimental.disable_x64()
    with switch, pytest.raises(InputError, match="enable_float64"):
        experiments.run(config, (0,))


def test_checkpoints_appear_during_a_run(tmp_path):
    seen = []

    def stop(result):
        seen.append(training.steps_done(tmp_path / "checkpoint" / "state.npz"))
        if len(seen) == 2:
            raise KeyboardInterrupt

    config = tiny("heat1d-eps15")
    with pytest.raises(KeyboardInterrupt):
        experiments.run(config, (0,), out=tmp_path, callbacks=(stop,), checkpoint_every=0)
    assert seen == [0, 2]
    again = experiments.run(config, (0,), out=tmp_path, resume=True)
    whole = experiments.run(config, (0,))
    for a, b in zip(leaves(again.fit.state), leaves(whole.fit.state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert training.STATUS[int(again.fit.state.members.status[0])] == "running"


def test_gate_and_balancing_do_not_add_to_the_memory_of_a_step():
    """What is due now and then runs before the step, not beside it: it may not hold its arrays at the same time."""

    def temporary(balance_every: str) -> int:
        settings = {
            "network.widths": "32,32", "sampling.points": "4096", "training.balance_every": balance_every,
        }  # fmt: skip
        config = with_settings(configuration("heat1d-eps15", "hybrid", scale="quick"), settings)
        setup = experiments.assemble(experiments.problem_of(config), config, (0,))
        lowered = setup.program.advance.lower(setup.state, setup.data, jnp.asarray(0, jnp.int32))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary("100") < 1.3 * temporary("0")
