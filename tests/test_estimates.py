"""Estimates that have to be on the right side of the truth: references, the price of elements, homogenised tensors."""

import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, media
from hybrid_lib.errors import InputError
from hybrid_lib.experiments import own_problem, references
from hybrid_lib.experiments.summary import doubtful, table

PI = np.pi


def pixels(image):
    """A medium that is constant on each pixel of the unit square."""
    image = jnp.asarray(image, float)
    n = len(image)

    def K(x):
        i = jnp.clip((x * n).astype(int), 0, n - 1)
        return image[i[0], i[1]]

    return media.from_function(K, 2, alpha=float(image.min()), beta=float(image.max()))


def bump(width, centre):
    """Gaussian of integral one in the plane."""
    return lambda x: jnp.exp(-((x[0] - centre[0]) ** 2 + (x[1] - centre[1]) ** 2) / width**2) / (PI * width**2)


BOARD = np.where(np.indices((4, 4)).sum(0) % 2, 1.0, 100.0)
RANDOM = np.where(np.random.default_rng(3).random((8, 8)) < 0.5, 1.0, 100.0)
PLANE = {
    "resolved": lambda: experiments.heat2d_problem(1 / 2),
    "hardly resolved": lambda: experiments.heat2d_problem(1 / 8),
    "not resolved": lambda: experiments.heat2d_problem(1 / 10),
    "board": lambda: own_problem(pixels(BOARD), 1.0),
    "random": lambda: own_problem(pixels(RANDOM)),
    "locally periodic": lambda: own_problem(
        media.from_function(lambda x: (1 + x[0]) * (2 + jnp.sin(12 * PI * (x[0] + x[0] ** 2)) * jnp.sin(14 * PI * x[1])), 2), 1.0
    ),
    "narrow": lambda: own_problem(media.paper_2d(1 / 2), bump(0.05, (0.37, 0.61))),
    "jump between nodes": lambda: own_problem(
        media.from_function(lambda x: jnp.where(x[0] > 0.317, 1.0, 50.0), 2, alpha=1.0, beta=50.0), 1.0
    ),
}


@pytest.mark.parametrize("name", PLANE)
def test_reference_in_the_plane_is_no_better_than_it_says(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path))
    problem = PLANE[name]()
    known = experiments.reference(problem, cells=24, mesh_cells=20)
    better = experiments.reference(problem, cells=24, mesh_cells=80)
    l2, h1 = (
        np.sqrt(known.weights @ off) / size
        for off, size in zip(
            ((known.value - better.value) ** 2, np.sum((known.gradient - better.gradient) ** 2, axis=1)),
            better.norms(),
            strict=True,
        )
    )
    assert l2 < known.error < 50 * l2 + 1e-3
    assert h1 < known.error_h1 < 50 * h1 + 1e-3
    assert experiments.reference(problem, cells=24, mesh_cells=20).error_h1 == known.error_h1  # from the cache


def test_reference_of_a_period_that_no_mesh_resolves_is_refused():
    with pytest.raises(InputError, match=r"reference: expected a period of at least 1/80.*pass mesh_cells=1280"):
        experiments.reference(experiments.heat2d_problem(1 / 160))


def test_reference_in_one_dimension_sees_what_lies_between_its_points():
    """-(K(u' + 1))' = q with a jump at 0.3172 and a bump of width 1e-4, by hand."""
    width, place = 1e-4, 0.61803
    medium = media.from_function(lambda x: jnp.where(x[0] > 0.3172, 1.0, 50.0), 1, alpha=1.0, beta=50.0)
    source = lambda x: jnp.exp(-((x[0] - place) ** 2) / width**2) / (jnp.sqrt(PI) * width)  # noqa: E731
    problem = own_problem(medium, source)
    # K(u' + 1) = c - H(x - place), and ∫ (c - H)/K = 1
    c = (1 + (1 - place)) / (0.3172 / 50 + (1 - 0.3172))
    for cells in (10, 100, 1000):
        known = experiments.reference(problem, cells=cells)
        x = known.points[:, 0]
        slope = (c - (x > place)) / np.where(x > 0.3172, 1.0, 50.0) - 1
        exact = (c / 50 - 1) * np.minimum(x, 0.3172) + (c - 1) * np.maximum(x - 0.3172, 0) - np.maximum(x - place, 0)
        true = np.sqrt(known.weights @ (known.value - exact) ** 2 / (known.weights @ exact**2))
        steep = np.sqrt(known.weights @ (known.gradient[:, 0] - slope) ** 2 / (known.weights @ slope**2))
        assert 0.8 * true - 1e-4 < known.error < 3 * true + 1e-3
        assert known.error_h1 > 0.5 * steep - 0.02  # the exact slope jumps, that of the bump does not


def test_a_mesh_with_fewer_than_four_cells_a_period_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path))
    known = experiments.reference(experiments.heat2d_problem(1 / 32), cells=4, mesh_cells=20)
    assert known.error == known.error_h1 == np.inf


@pytest.mark.parametrize(
    ("off", "marks", "says"),
    [
        ((1e-3, 1e-3), [], "reference itself: L2 1.0e-03, H1 1.0e-03\n"),
        ((1e-3, 3e-2), ["rel_h1"], "reference itself: L2 1.0e-03, H1 3.0e-02; errors of seed 7 are not well above these\n"),
        ((1e-3, None), ["rel_h1"], "reference itself: L2 1.0e-03, H1 not known; errors of seed 7 are not well above these\n"),
    ],
)
def test_errors_not_well_above_those_of_the_reference_are_marked(off, marks, says):
    config = experiments.configuration("heat1d-eps15")
    known, row = dict(zip(("rel_l2", "rel_h1"), off, strict=True)), {"rel_l2": 1e-2, "rel_h1": 1e-1}
    row |= {"seed": 7, "residual": None, "iterations": 1, "seconds": 1.0, "status": "diverged", "doubtful": doubtful(row, known)}
    assert row["doubtful"] == marks and doubtful({"rel_l2": None}, {"rel_l2": 1.0}) == []
    told = dict.fromkeys(("experiment", "method", "network", "scale", "dtype", "device"), "-")
    text = table(told | {"seeds": [row], "reference": known, "steps": config.training.steps}, config)
    assert f"{text}\n".endswith(says)


THIN = media.from_function(lambda x: jnp.where(jnp.abs(x[0] - 0.4142) < 5e-4, 1 / 50, 1.0), 1, alpha=0.02, beta=1.0)
LINE = {  # problem, the length that is claimed
    "narrow source": (lambda: own_problem(media.constant(1.0, 1), narrow), 1.0),
    "narrow source, a period": (lambda: own_problem(media.paper_1d(1 / 4), narrow), 1 / 4),
    "a little of it": (lambda: own_problem(media.paper_1d(1 / 4), lambda x: 1 + 0.05 * narrow(x)), 1 / 4),
    "mostly narrow": (lambda: own_problem(media.paper_1d(1 / 4), lambda x: 1 + 0.3 * narrow(x)), 1 / 4),
    "nearly all of it": (lambda: own_problem(media.constant(1.0, 1), lambda x: 1 + 2 * narrow(x)), 1 / 4),
    "thin insulation": (lambda: own_problem(THIN, 1.0), 1.0),
    "period 1/64, not told": (lambda: own_problem(media.paper_1d(1 / 64), 1.0), 1.0),
    "high contrast": (
        lambda: own_problem(media.from_function(lambda x: jnp.exp(3.4 * jnp.sin(16 * PI * x[0])), 1, period=1 / 8), 1.0), 1 / 8,
    ),
}  # fmt: skip


def narrow(x):
    """Gaussian of width 1e-3 and integral one."""
    return 1e3 / jnp.sqrt(PI) * jnp.exp(-((x[0] - 0.618) ** 2) * 1e6)


@pytest.mark.parametrize("name", LINE)
def test_price_of_elements_is_not_fooled_by_what_two_meshes_miss(name):
    """Truth from the reference, which is a quadrature in one dimension and has been judged above."""
    problem, length = LINE[name][0](), LINE[name][1]
    exact = experiments.reference(problem, cells=5000)
    rows = experiments.element_cost(problem, 0.01, length)
    for row in rows[1:]:
        nodal = experiments.fine_solution(problem, row.cells, 9)
        values = np.interp(exact.points[:, 0], np.linspace(0, 1, row.cells + 1), nodal)
        true = np.sqrt(exact.weights @ (values - exact.value) ** 2) / exact.norms()[0]
        assert row.error > 0.8 * true - 1e-4
    assert true < 0.01 and rows[-1].reached and not rows[-2].reached


def test_price_in_the_plane_with_a_source_between_the_points():
    problem = own_problem(media.constant(1.0, 2), bump(0.004, (0.37, 0.61)))
    with pytest.warns(UserWarning, match="element_cost: stopped at 64 cells a side with an estimated error of"):
        rows = experiments.element_cost(problem, 0.01, 1.0, most_unknowns=5000)
    assert [row.cells for row in rows] == [4, 8, 16, 32, 64]
    assert min(row.error for row in rows[1:]) > 0.05


def test_estimate_in_the_plane_against_a_solution_by_hand():
    problem = own_problem(media.constant(2.0, 2), lambda x: 4 * PI**2 * jnp.sin(PI * x[0]) * jnp.sin(PI * x[1]))
    nodal, error, error_h1 = references.richardson(problem, 20)
    x = np.linspace(0, 1, 21)
    exact = np.sin(PI * x)[:, None] * np.sin(PI * x)
    assert np.linalg.norm(nodal - exact) / np.linalg.norm(exact) < error < error_h1 < 1e-3


def test_a_reference_is_not_that_of_another_problem(tmp_path, monkeypatch):
    """A source between the centroids of a mesh, and a period, are in the name of the file."""
    monkeypatch.setenv("HYBRID_LIB_CACHE", str(tmp_path))
    spot = lambda x: jnp.where(jnp.sum((x - 0.5) ** 2) < 0.02**2, 1e4, 1.0)  # noqa: E731
    plain, hot = (
        experiments.reference(experiments.own_problem(media.constant(1.0, 2), q), mesh_cells=16) for q in (1.0, spot)
    )
    assert hot.norms()[0] > 1.001 * plain.norms()[0]
    K = lambda x: 2 + jnp.sin(20 * jnp.pi * x[0])  # noqa: E731
    errors = [
        experiments.reference(experiments.own_problem(media.from_function(K, 2, period=p), 1.0), mesh_cells=10).error
        for p in (None, 0.1)
    ]
    assert np.isfinite(errors[0]) and errors[1] == np.inf
