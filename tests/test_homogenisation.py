"""Cell problems against closed forms: constants, layers, the harmonic mean, a known value in the plane."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import fem, media
from hybrid_lib.errors import InputError
from hybrid_lib.multiscale.homogenisation import (
    cell_problem,
    harmonic_mean,
    homogenised_bounds,
    homogenised_tensor,
    layered_tensor,
)

PI = np.pi


@pytest.mark.parametrize("dimension", [1, 2])
def test_constant_tensor_has_no_corrector(dimension):
    K = jnp.array([[2.0, 0.5], [0.5, 1.0]])[:dimension, :dimension]
    solution = cell_problem(lambda x: K, dimension, 6)
    np.testing.assert_allclose(solution.tensor, K, atol=1e-13)
    np.testing.assert_allclose(solution.correctors, 0, atol=1e-13)


def test_layers_are_exact():
    for direction in (0, 1):
        solution = cell_problem(lambda x, i=direction: jnp.where(x[i] < 0.25, 1.0, 3.0), 2, 8, sample=True)
        expected = layered_tensor([1.0, 3.0], [0.25, 0.75], direction)
        np.testing.assert_allclose(solution.tensor, expected, atol=1e-12)


def test_one_dimension_is_the_harmonic_mean():
    def K(x):
        return 2 + jnp.sin(2 * PI * x[0])

    assert harmonic_mean(K) == pytest.approx(np.sqrt(3), abs=1e-13)
    assert homogenised_tensor(K, 1, 64)[0, 0] == pytest.approx(np.sqrt(3), abs=1e-6)
    errors = [homogenised_tensor(K, 1, n, richardson=False)[0, 0] - np.sqrt(3) for n in (16, 32, 64)]
    assert min(errors) > 0  # from above
    assert abs(np.log2(errors[1] / errors[2]) - 2) < 0.1


def test_paper_medium():
    """K* = 2.82229 for 3 + sin(2 pi y_1) + sin(2 pi y_2), known to five decimals from two references."""

    def K(x):
        return 3 + jnp.sin(2 * PI * x[0] / 0.1) + jnp.sin(2 * PI * x[1] / 0.1)

    tensor = homogenised_tensor(K, 2, 32, period=0.1)
    np.testing.assert_allclose(np.diag(tensor), 2.82229, atol=1e-5)
    np.testing.assert_allclose(
        tensor[0, 1], 0, atol=1e-4
    )  # the mesh is not symmetric in the axes' reflections
    # Richardson agrees with a fine plain solve
    np.testing.assert_allclose(homogenised_tensor(K, 2, 96, period=0.1, richardson=False), tensor, atol=2e-3)


def test_correctors_are_periodic_and_mean_free():
    solution = cell_problem(lambda x: 2 + jnp.sin(2 * PI * (x[0] + x[1])), 2, 10)
    grid = solution.correctors.reshape(2, 11, 11)
    np.testing.assert_allclose(grid[:, 0], grid[:, -1], atol=1e-14)
    np.testing.assert_allclose(grid[:, :, 0], grid[:, :, -1], atol=1e-14)
    np.testing.assert_allclose(solution.correctors @ fem.load(solution.mesh, 1.0), 0, atol=1e-14)


def test_bounds_and_rotation():
    """Harmonic mean <= K* <= arithmetic mean, and layers at 45 degrees have the rotated tensor."""
    tensor = homogenised_tensor(lambda x: 2 + jnp.sin(2 * PI * (x[0] + x[1])), 2, 24)
    normal = np.array([1.0, 1.0]) / np.sqrt(2)
    expected = 2 * np.eye(2) + (np.sqrt(3) - 2) * np.outer(normal, normal)
    np.testing.assert_allclose(tensor, expected, atol=1e-3)
    eigenvalues = np.linalg.eigvalsh(tensor)
    assert np.sqrt(3) - 1e-3 < eigenvalues[0] < eigenvalues[1] < 2 + 1e-3


def board(x):
    """1 and 100 on the squares of a chess board: K* = 10."""
    return jnp.where((x[0] % 1 < 0.5) == (x[1] % 1 < 0.5), 1.0, 100.0)


def test_a_board_that_no_mesh_resolves_is_enclosed_and_told():
    for n in (8, 32):
        found = homogenised_bounds(board, 2, n)
        assert found.lower[0, 0] < 10 < found.upper[0, 0] and found.error > 0.5
        np.testing.assert_allclose(found.tensor, 10 * np.eye(2), rtol=1e-9, atol=1e-9)  # by duality
    with pytest.warns(UserWarning, match="homogenised_tensor: 64 cells a side leave eigenvalues between 5.4.* and 18"):
        homogenised_tensor(board, 2, 32)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), contrast=st.floats(1.5, 200.0))
def test_bounds_hold_on_random_pixels_and_shrink(seed, contrast):
    """The exact tensor lies between the bounds of a finer mesh, and these lie between those of the coarse one."""
    image = np.where(np.random.default_rng(seed).random((4, 4)) < 0.5, 1.0, contrast)
    K = media.raster(image, period=1.0).conductivity
    coarse, fine = (homogenised_bounds(K, 2, n) for n in (4, 16))
    for low, high in ((coarse.lower, fine.lower), (fine.lower, fine.upper), (fine.upper, coarse.upper)):
        assert np.linalg.eigvalsh(high - low)[0] > -1e-9 * contrast
    for tensor in (fine.tensor, fine.lower, fine.upper):  # within the error that the coarse mesh tells
        ratio = np.linalg.eigvals(np.linalg.solve(coarse.tensor, tensor))
        assert np.max(np.abs(np.log(ratio.real))) <= np.log1p(coarse.error) + 1e-9
    assert fine.error <= coarse.error + 1e-9


def test_bounds_of_what_is_known():
    layers = homogenised_bounds(lambda x: jnp.where(x[0] % 1 < 0.25, 1.0, 3.0), 2, 8)
    np.testing.assert_allclose(layers.tensor, layered_tensor([1.0, 3.0], [0.25, 0.75]), atol=1e-12)
    assert layers.error < 1e-12
    papers = homogenised_bounds(lambda x: 3 + jnp.sin(2 * PI * x[0]) + jnp.sin(2 * PI * x[1]), 2, 32)
    assert papers.lower[0, 0] < 2.82229 < papers.upper[0, 0] and papers.error < 1e-3
    line = homogenised_bounds(lambda x: 2 + jnp.sin(2 * PI * x[0] / 0.1), 1, 32, 0.1)
    assert line.lower[0, 0] == pytest.approx(np.sqrt(3), abs=1e-12) and line.upper[0, 0] > np.sqrt(3)
    turned = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
    K = homogenised_bounds(lambda x: jnp.asarray(turned) @ jnp.diag(2 + jnp.sin(2 * PI * x)) @ jnp.asarray(turned.T), 2, 16)
    assert np.linalg.eigvalsh(K.upper - K.lower)[0] > 0 and K.error < 0.01


def pixels(values):
    """K of one period with a number or a tensor on each pixel (r, r[, 2, 2])."""
    values = jnp.asarray(values)
    return lambda x: values[tuple(jnp.clip((len(values) * jnp.mod(x, 1.0)).astype(int), 0, len(values) - 1))]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(0.1, 10.0), contrast=st.floats(1.0, 100.0))
def test_a_polycrystal_has_the_determinant_of_its_crystals(seed, low, contrast):
    """Keller (1964), Dykhne (1971): where det K is the same everywhere, det K* is that, too; a board is the smallest case."""
    angle = np.random.default_rng(seed).uniform(0, np.pi, size=(4, 4))
    turn = np.moveaxis(np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), (0, 1), (2, 3))
    found = homogenised_bounds(pixels(turn @ np.diag([low, low * contrast]) @ turn.mT), 2, 16)
    exact = low**2 * contrast
    assert np.linalg.det(found.lower) <= exact * (1 + 1e-9) and exact * (1 - 1e-9) <= np.linalg.det(found.upper)
    assert np.linalg.det(found.tensor) == pytest.approx(exact, rel=1e-9)
    assert np.linalg.eigvalsh(found.upper - found.lower)[0] > -1e-9 * low * contrast


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.0, 2.0))
def test_layers_of_tensors_are_met_exactly_from_both_sides(seed, spread):
    """Normal along the first axis: harmonic mean across, arithmetic along, and what the shear between them leaves."""
    root = np.exp(spread * np.random.default_rng(seed).normal(size=(4, 2, 2)))
    K = root @ root.mT + 0.2 * np.eye(2)
    found = homogenised_bounds(pixels(np.broadcast_to(K[:, None], (4, 4, 2, 2))), 2, 8)
    across, shear = 1 / np.mean(1 / K[:, 0, 0]), np.mean(K[:, 0, 1] / K[:, 0, 0])
    along = np.mean(K[:, 1, 1] - K[:, 0, 1] ** 2 / K[:, 0, 0]) + shear**2 * across
    exact = np.array([[across, shear * across], [shear * across, along]])
    for side in (found.lower, found.upper, found.tensor):
        np.testing.assert_allclose(side, exact, rtol=1e-8, atol=1e-8 * along)


@pytest.mark.parametrize(("first", "second"), [(1.0, 9.0), (0.01, 400.0)])
def test_a_board_is_the_geometric_mean(first, second):
    found = homogenised_bounds(pixels([[first, second], [second, first]]), 2, 16)
    np.testing.assert_allclose(found.tensor, np.sqrt(first * second) * np.eye(2), rtol=1e-9, atol=1e-9)
    assert found.lower[0, 0] < np.sqrt(first * second) < found.upper[0, 0]


def test_a_period_that_the_medium_does_not_have_is_refused():
    waves = media.paper_2d(0.1).conductivity
    assert homogenised_tensor(waves, 2, 32, 0.3).shape == (2, 2)  # three periods are one
    for call in (homogenised_tensor, homogenised_bounds, cell_problem):
        with pytest.raises(InputError, match=r"period along axis 0: expected K\(x\) = K\(x \+ 0.15\)"):
            call(waves, 2, 16, 0.15)
        with pytest.raises(InputError, match=r"period along axis 1.*sample=True"):
            call(lambda x: 1 + 0.1 * x[1], 2, 16)
        assert call(lambda x: 1 + 0.1 * x[1], 2, 4, sample=True) is not None


def test_errors():
    with pytest.raises(InputError, match="dimension: expected 1 or 2; received 3"):
        cell_problem(lambda x: 1.0, 3, 4)
    with pytest.raises(InputError, match="n: expected a whole number >= 2"):
        cell_problem(lambda x: 1.0, 1, 1)
    with pytest.raises(InputError, match="period: expected a number > 0; received None"):
        cell_problem(lambda x: 1.0, 1, 4, period=None)
    with pytest.raises(InputError, match="conductivity: expected a positive number"):
        harmonic_mean(lambda x: x[0] - 0.5)
    with pytest.raises(InputError, match="values: expected positive conductivities"):
        layered_tensor([1.0, -1.0])
    with pytest.raises(InputError, match="fractions: expected 2 shares that sum to 1"):
        layered_tensor([1.0, 2.0], [0.5, 0.6])
    with pytest.raises(InputError, match="direction: expected an axis below 2"):
        layered_tensor([1.0, 2.0], direction=2)


def test_what_the_points_of_a_rule_do_not_see_is_told():
    thin = lambda x: jnp.where(jnp.abs(x[0] % 1 - 0.503) < 1e-3, 1e-3, 1.0)  # noqa: E731
    for call in (lambda: harmonic_mean(thin), lambda: homogenised_tensor(thin, 2, 8)):
        with pytest.warns(UserWarning, match="the mean of 1/K is 1 by its rule and 2.95"):
            call()
    assert harmonic_mean(thin, 20_000) == pytest.approx(1 / (0.998 + 2.0), rel=1e-3)
    with pytest.raises(InputError, match=r"period along axis 0: expected K\(x\) = K\(x \+ 0.7\)"):
        harmonic_mean(lambda x: 2 + jnp.sin(2 * jnp.pi * x[0]), period=0.7)
