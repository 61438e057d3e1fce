"""Media: values, derivatives, bounds, periods, dtypes, and every error a user can meet."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_lib import media
from hybrid_lib.errors import InputError
from hybrid_lib.media.data import _frequencies

IMAGE = np.random.default_rng(5).uniform(1.0, 6.0, (7, 5))
KEY = jax.random.key(11)
GALLERY = {
    "paper-1d": media.paper_1d(1 / 15),
    "paper-2d": media.paper_2d(0.1),
    "constant": media.constant(2.5, 1),
    "constant-tensor": media.constant([[2.0, 0.5], [0.5, 1.0]], 2),
    "layered": media.layered([1.0, 10.0, 3.0], 1, 0.3, 2),
    "layered-smooth": media.layered([1.0, 10.0, 3.0], 0, 0.3, 2, smooth=0.1),
    "layered-slanted": media.layered([1.0, 10.0], (1.0, 2.0), 0.3, 2, smooth=0.05),
    "lognormal": media.random_smooth(KEY, 2, 0.2),
    "lognormal-periodic-1d": media.random_smooth(KEY, 1, 0.1, sigma=0.7, period=0.5),
    "bounded-periodic": media.random_smooth(KEY, 2, 0.1, sigma=2.0, bounds=(0.5, 8.0), period=0.5),
    "raster": media.raster(IMAGE),
    "raster-cubic": media.raster(IMAGE, smoothing="cubic"),
    "raster-linear": media.raster(IMAGE, smoothing="linear", lower=-1.0),
    "raster-width": media.raster(IMAGE, smoothing=0.1),
    "raster-periodic-1d": media.raster(IMAGE[0], period=0.5, smoothing="cubic"),
    "tensor": media.tensor([1.0, 20.0], 0.3, media.paper_2d(0.1)),
    "tensor-turning": media.tensor([1.0, 20.0], lambda x: 3.0 * x[0] + x[1] ** 2),
    "function-tensor": media.from_function(
        lambda x: jnp.array([[2.0, 0.0], [0.0, 1.0]], x.dtype) + jnp.outer(x, x), 2, box=(-1.0, 1.0)
    ),
}
PERIODIC = [name for name, medium in GALLERY.items() if medium.period is not None]
ANALYTIC = ["paper-1d", "paper-2d", "constant-tensor", "tensor"]
names = pytest.mark.parametrize("name", GALLERY)
# Compiling takes these tests' time, running none of it.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TWICE = ["layered-smooth", "lognormal", "raster-cubic", "raster-linear", "raster-width", "tensor-turning"]
SINGLE = ["paper-2d", "layered-slanted", "bounded-periodic", "raster", "raster-cubic", "tensor-turning"]
SMOOTH = [name for name, medium in GALLERY.items() if medium.is_lipschitz is not False]
N, STEP = 400, 1e-5


def draw(medium, dtype=jnp.float64):
    points = np.random.default_rng(0).uniform(-0.99, 0.99, (N, medium.dimension))
    return jnp.asarray(points, dtype)


def values(medium, points):
    return quick_jit(jax.vmap(medium.conductivity))(points)


def medium_value(medium, x):
    return float(values(medium, x[None, :])[0])


@functools.cache
def evaluated(name):
    """K, ∇·K and (for some) its Jacobian in one program, at x, x ± STEP e_i and x + period e_i, stacked."""
    medium = GALLERY[name]
    axes = np.eye(medium.dimension)
    shifts = [0.0 * axes[0], *(STEP * axes), *(-STEP * axes), *((medium.period or 0.0) * axes)]
    points = jnp.concatenate([draw(medium) + jnp.asarray(s)[None, :] for s in shifts])

    def everything(x):
        second = (jax.jacfwd(medium.divergence)(x),) if name in TWICE else ()
        divergence = medium.divergence(x) if name in SMOOTH else jnp.full_like(x, jnp.nan)
        return medium.conductivity(x), divergence, *second

    rows = quick_jit(jax.vmap(everything))(points)
    return [np.asarray(v).reshape(len(shifts), N, *v.shape[1:]) for v in rows]


@functools.cache
def evaluated_single(name):
    medium = GALLERY[name]
    return values(medium, draw(medium, jnp.float32))


@pytest.mark.parametrize("name", ANALYTIC)
def test_analytic_divergence_is_the_automatic_one(name):
    medium = GALLERY[name]
    jacobian = jax.jacrev(medium.conductivity)
    automatic = (lambda x: jnp.einsum("iji->j", jacobian(x))) if medium.is_tensor else jacobian
    reference = quick_jit(jax.vmap(automatic))(draw(medium))
    np.testing.assert_allclose(evaluated(name)[1][0], reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SMOOTH)
def test_divergence_agrees_with_central_differences(name):
    medium, d = GALLERY[name], GALLERY[name].dimension
    K, divergence = evaluated(name)[:2]
    partial = (K[1 : 1 + d] - K[1 + d : 1 + 2 * d]) / (2.0 * STEP)  # (d, n) or (d, n, d, d)
    reference = np.einsum("inij->nj", partial) if medium.is_tensor else partial.T
    error = np.abs(divergence[0] - reference).max(axis=1)
    # A difference quotient may straddle a kink of the bilinear raster.
    assert np.quantile(error, 0.98) < 1e-6 * medium.beta * (1.0 + np.abs(divergence[0]).max())


@names
def test_values_lie_within_the_bounds(name):
    medium = GALLERY[name]
    cases = [(evaluated(name)[0], 1e-12)] + ([(evaluated_single(name), 1e-5)] if name in SINGLE else [])
    for K, rounding in cases:
        eigenvalues = np.asarray(K, np.float64)
        if medium.is_tensor:
            np.testing.assert_array_equal(eigenvalues, eigenvalues.swapaxes(-1, -2))
            eigenvalues = np.linalg.eigvalsh(eigenvalues)
        assert eigenvalues.min() >= medium.alpha * (1.0 - rounding)
        assert eigenvalues.max() <= medium.beta * (1.0 + rounding)


@names
def test_dtype_and_shape_follow_the_point(name):
    medium, d = GALLERY[name], GALLERY[name].dimension
    for dtype in (jnp.float32, jnp.float64):
        x = jax.ShapeDtypeStruct((d,), dtype)
        K = jax.eval_shape(medium.conductivity, x)
        assert (K.dtype, K.shape) == (dtype, (d, d) if medium.is_tensor else ())
        if name in SMOOTH:
            divergence = jax.eval_shape(medium.divergence, x)
            assert (divergence.dtype, divergence.shape) == (dtype, (d,))


@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_agrees_with_double(name):
    K, reference = np.asarray(evaluated_single(name)), evaluated(name)[0][0]
    # Rounding a point may move it across a jump.
    error = np.abs(K - reference).reshape(N, -1).max(axis=1)
    assert np.quantile(error, 0.99) < 3e-5 * GALLERY[name].beta


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives_are_finite(name):
    d = GALLERY[name].dimension
    second = evaluated(name)[2]
    assert second.shape[2:] == (d, d)
    assert np.isfinite(second).all()


@pytest.mark.parametrize("name", PERIODIC)
def test_period(name):
    d = GALLERY[name].dimension
    K = evaluated(name)[0]
    error = np.abs(K[1 + 2 * d :] - K[0]).reshape(d, N, -1).max(axis=(0, 2))
    assert np.quantile(error, 0.99) < 1e-10 * GALLERY[name].beta


@pytest.mark.parametrize("name", ["paper-1d", "paper-2d", "layered-smooth", "constant-tensor", "tensor"])
def test_exact_bounds_are_attained(name):
    medium, K = GALLERY[name], evaluated(name)[0]
    eigenvalues = np.linalg.eigvalsh(K) if medium.is_tensor else K
    assert medium.bounds_exact
    assert eigenvalues.min() < medium.alpha * 1.15
    assert eigenvalues.max() > medium.beta * 0.97


def test_media_are_plain_frozen_records():
    medium = media.paper_2d(0.1)
    assert len(jax.tree.leaves(medium)) == 1  # a leaf, not a pytree
    with pytest.raises(dataclasses.FrozenInstanceError):
        medium.alpha = 0.0
    assert hash(medium) == hash(medium)


def test_paper_values():
    x = jnp.array([0.3 / 15.0])
    assert medium_value(media.paper_1d(1 / 15), x) == pytest.approx(2.0 + np.sin(0.6 * np.pi), abs=1e-14)
    x = jnp.array([0.013, 0.071])
    expected = 3.0 + np.sin(2 * np.pi * 0.13) + np.sin(2 * np.pi * 0.71)
    assert medium_value(media.paper_2d(0.1), x) == pytest.approx(expected, abs=1e-14)
    assert (media.paper_1d(0.1).alpha, media.paper_1d(0.1).beta) == (1.0, 3.0)
    assert (media.paper_2d(0.1).alpha, media.paper_2d(0.1).beta) == (1.0, 5.0)


def test_harmonic_mean_of_the_paper_is_the_square_root_of_three():
    x = jnp.arange(64.0)[:, None] / 64.0 * 0.1  # the rectangle rule converges geometrically for periodic 1/K
    K = values(media.paper_1d(0.1), x)
    assert 1.0 / np.mean(1.0 / K) == pytest.approx(np.sqrt(3.0), rel=1e-14)


def test_layers_stand_in_order_and_have_equal_thickness():
    medium = media.layered([1.0, 10.0, 3.0], 1, 0.3, 2)
    y = jnp.array([0.05, 0.15, 0.25, 0.35, -0.05])
    points = jnp.stack([jnp.zeros(5), y], axis=1)
    np.testing.assert_array_equal(values(medium, points), [1.0, 10.0, 3.0, 1.0, 3.0])
    assert medium.is_lipschitz is False


def test_smoothed_layers_tend_to_sharp_ones_and_keep_the_mean():
    x = (jnp.arange(4000.0)[:, None] + 0.5) / 4000.0
    sharp = values(media.layered([1.0, 10.0], 0, 0.5, 1), x)
    distances = []
    for width in (0.2, 0.1, 0.05):
        smooth = values(media.layered([1.0, 10.0], 0, 0.5, 1, smooth=width), x)
        distances.append(float(jnp.mean(jnp.abs(smooth - sharp))))
        assert float(jnp.mean(smooth)) == pytest.approx(5.5, rel=1e-9)  # the step is odd about the interface
    np.testing.assert_allclose(
        np.array(distances[:-1]) / distances[1:], 2.0, rtol=1e-2
    )  # first order in width


def test_smoothed_layers_are_twice_continuously_differentiable():
    medium = media.layered([1.0, 10.0], 0, 0.5, 1, smooth=0.1)
    second = quick_jit(jax.grad(lambda t: jax.grad(lambda s: medium.conductivity(s[None]))(t)))
    for edge in (0.2, 0.3):
        assert float(second(jnp.asarray(edge - 1e-9))) == pytest.approx(0.0, abs=1e-2)
        assert float(second(jnp.asarray(edge + 1e-9))) == pytest.approx(0.0, abs=1e-2)


def test_one_layer_is_a_constant():
    assert media.layered([4.0], 0, 0.1, 1).is_lipschitz


@pytest.mark.parametrize("period", [None, 1.0])
@pytest.mark.parametrize("dimension", [1, 2])
def test_random_modes_have_the_stated_covariance(dimension, period):
    length, modes = 0.15, 40000
    omega = _frequencies(KEY, modes, dimension, length, period)  # covariance(r) is the mean of cos(ω·r)
    if period is not None:
        wave_numbers = omega * period / (2.0 * np.pi)
        np.testing.assert_allclose(wave_numbers, np.round(wave_numbers), atol=1e-12)
        assert np.any(omega != 0.0, axis=1).all()
    r = np.linspace(0.0, 0.4, 9)
    covariance = np.cos(np.outer(r, omega[:, 0])).mean(axis=1)
    expected = np.exp(-(r**2) / (2.0 * length**2))
    if period is not None:  # without its mean over the period, and scaled back to variance 1
        mean = (np.sqrt(2.0 * np.pi) * length / period) ** dimension
        expected = (expected - mean) / (1.0 - mean) if dimension == 1 else covariance_2d(r, length, period)
    np.testing.assert_allclose(covariance, expected, atol=4.0 / np.sqrt(modes))


def covariance_2d(r, length, period):
    n = np.arange(-30, 31)
    weights = np.exp(-2.0 * (np.pi * length / period) ** 2 * (n[:, None] ** 2 + n[None, :] ** 2))
    weights[30, 30] = 0.0
    return (
        np.array([np.sum(weights * np.cos(2.0 * np.pi / period * s * n)[:, None]) for s in r]) / weights.sum()
    )


def test_random_field_has_variance_one():
    x = jnp.arange(64.0)[:, None] / 64.0
    field = media.random_smooth(KEY, 1, 0.2, period=1.0, modes=1)  # one mode: √2 cos(2πnx + φ)
    logs = np.log(values(field, x))
    assert logs.mean() == pytest.approx(0.0, abs=1e-12)
    assert logs.var() == pytest.approx(1.0, rel=1e-12)


def test_random_media_depend_on_the_key_alone():
    x = jnp.array([0.3, 0.6])
    first, same, other = (
        medium_value(media.random_smooth(key, 2, 0.2, bounds=(1.0, 2.0)), x)
        for key in (KEY, KEY, jax.random.key(12))
    )
    assert first == same != other


@pytest.mark.skipif(not hasattr(jax, "enable_x64"), reason="no context manager in this jax")
def test_random_media_are_the_same_without_x64():
    x = np.array([0.3, 0.6], np.float32)
    with jax.enable_x64(False):
        single = media.random_smooth(KEY, 2, 0.2, period=1.0)
        value = values(single, jnp.asarray(x)[None, :])
    double = media.random_smooth(KEY, 2, 0.2, period=1.0)
    assert value.dtype == jnp.float32
    assert float(value[0]) == pytest.approx(medium_value(double, jnp.asarray(x)), rel=1e-6)
    assert single.beta == pytest.approx(double.beta, rel=1e-4)


def test_linear_raster_passes_through_the_pixels():
    medium = media.raster(IMAGE, smoothing="linear")
    centres = np.stack(
        np.meshgrid((np.arange(7) + 0.5) / 7, (np.arange(5) + 0.5) / 5, indexing="ij"), axis=-1
    )
    centre_values = values(medium, jnp.asarray(centres.reshape(-1, 2)))
    np.testing.assert_allclose(centre_values, IMAGE.ravel(), rtol=1e-13)


def test_cubic_raster_against_scipy():
    from scipy.interpolate import BSpline

    pixels = IMAGE[0]
    n, period = pixels.size, 0.5
    knots = (np.arange(-4, n + 6) - 0.5 + 0.0) * period / n  # spline j is centred on pixel j − 2
    coefficients = pixels[np.mod(np.arange(-2, n + 4) - 0, n)]
    reference = BSpline(knots + period / n, coefficients, 3)
    x = np.linspace(0.0, period, 101)
    medium = media.raster(pixels, period=period, smoothing="cubic")
    np.testing.assert_allclose(values(medium, jnp.asarray(x)[:, None]), reference(x), rtol=1e-12)
    slopes = quick_jit(jax.vmap(medium.divergence))(jnp.asarray(x)[:, None])[:, 0]
    np.testing.assert_allclose(slopes, reference(x, 1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("smoothing", ["linear", "cubic"])
def test_smoothed_raster_reproduces_linear_images_and_constants(smoothing):
    i, j = np.meshgrid(np.arange(12), np.arange(8), indexing="ij")
    medium = media.raster(1.0 + (i + 0.5) / 12 + 2.0 * (j + 0.5) / 8, smoothing=smoothing)
    x = jnp.asarray(np.random.default_rng(0).uniform(0.3, 0.7, (50, 2)))  # away from the clamped edge
    np.testing.assert_allclose(values(medium, x), 1.0 + x[:, 0] + 2.0 * x[:, 1], rtol=1e-13)
    np.testing.assert_allclose(
        quick_jit(jax.vmap(medium.divergence))(x), np.broadcast_to([1.0, 2.0], (50, 2)), rtol=1e-11
    )
    flat = media.raster(np.full((3, 3), 7.0), smoothing=smoothing)
    assert medium_value(flat, jnp.array([0.9, -3.0])) == pytest.approx(7.0, rel=1e-15)


def test_grey_levels_are_mapped_onto_the_bounds():
    medium = media.raster(np.array([[0, 255], [51, 102]], np.uint8), alpha=1.0, beta=6.0)
    assert (medium.alpha, medium.beta) == (1.0, 6.0)
    assert medium_value(medium, jnp.array([0.75, 0.25])) == pytest.approx(2.0, rel=1e-14)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(0.01, 100.0),
    st.floats(0.01, 100.0),
    st.floats(-7.0, 7.0),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_rotation_keeps_the_principal_conductivities(first, second, angle, x):
    medium = media.tensor([first, second], angle, media.paper_2d(0.5))
    point = jnp.asarray(x)
    K = np.asarray(medium.conductivity(point))
    kappa = float(media.paper_2d(0.5).conductivity(point))
    axis = np.array([np.cos(angle), np.sin(angle)])
    scale = max(first, second) * kappa
    np.testing.assert_allclose(K @ axis, first * kappa * axis, atol=1e-12 * scale)
    np.testing.assert_allclose(np.linalg.det(K), first * second * kappa**2, atol=1e-12 * scale**2)


def test_bounds_of_a_function_are_flagged_when_sampled():
    sampled = media.from_function(lambda x: 2.0 + jnp.sin(40.0 * x[0]), 1)
    assert not sampled.bounds_exact
    assert sampled.alpha == pytest.approx(1.0 / media.SAFETY, rel=1e-3)
    assert sampled.beta == pytest.approx(3.0 * media.SAFETY, rel=1e-3)
    assert media.from_function(lambda x: 2.0 + jnp.sin(40.0 * x[0]), 1, 1.0, 3.0).bounds_exact
    assert not media.random_smooth(KEY, 1, 0.1).bounds_exact


def test_a_given_gradient_is_used():
    medium = media.from_function(lambda x: 1.0 + x[0], 1, gradient=lambda x: 42.0 * jnp.ones_like(x))
    assert medium.divergence(jnp.array([0.5])) == jnp.array([42.0])


def identity(x):
    return jnp.eye(2, dtype=x.dtype)


ERRORS = {
    "eps zero": (lambda: media.paper_1d(0.0), "eps: expected a number > 0; received 0.0; pass the period"),
    "eps negative": (lambda: media.paper_2d(-0.1), "eps: expected a number > 0; received -0.1"),
    "eps nan": (lambda: media.paper_2d(float("nan")), "eps: expected finite numbers; received nan"),
    "eps text": (lambda: media.paper_2d("small"), "eps: expected real numbers; received 'small'"),
    "constant": (lambda: media.constant(-1.0, 1), "value: expected a number > 0; received -1.0"),
    "constant shape": (lambda: media.constant(np.eye(2), 1), "value: expected a number or a (1, 1) matrix"),
    "constant indefinite": (lambda: media.constant([[1.0, 2.0], [2.0, 1.0]], 2), "smallest eigenvalue -1"),
    "constant skew": (lambda: media.constant([[1.0, 0.2], [0.0, 1.0]], 2), "expected a symmetric tensor"),
    "dimension": (lambda: media.constant(1.0, 3), "dimension: expected 1 or 2; received 3"),
    "layer": (lambda: media.layered([1.0, 0.0], 0, 0.1, 1), "values[1]: expected a number > 0; received 0.0"),
    "layers": (lambda: media.layered([], 0, 0.1, 1), "values: expected a list of conductivities"),
    "layer period": (lambda: media.layered([1.0], 0, 0.0, 1), "period: expected a number > 0"),
    "layer axis": (lambda: media.layered([1.0], 1, 0.1, 1), "direction: expected an axis 0 … 0; received 1"),
    "layer vector": (
        lambda: media.layered([1.0], (0.0, 0.0), 0.1, 2),
        "direction: expected an axis or a nonzero",
    ),
    "layer width": (
        lambda: media.layered([1, 2], 0, 0.2, 1, smooth=0.3),
        "smooth: expected a width ≤ a layer",
    ),
    "length": (lambda: media.random_smooth(KEY, 2, 0.0), "length: expected a number > 0"),
    "length tiny": (
        lambda: media.random_smooth(KEY, 1, 1e-5, period=1.0),
        "length: expected at least period/1250",
    ),
    "sigma": (lambda: media.random_smooth(KEY, 2, 0.1, sigma=-1.0), "sigma: expected a number > 0"),
    "modes": (
        lambda: media.random_smooth(KEY, 2, 0.1, modes=0),
        "modes: expected an integer ≥ 1; received 0",
    ),
    "bounds": (lambda: media.random_smooth(KEY, 2, 0.1, bounds=(2.0, 1.0)), "bounds: expected alpha < beta"),
    "bounds pair": (
        lambda: media.random_smooth(KEY, 2, 0.1, bounds=(1.0,)),
        "bounds: expected a pair (a, b)",
    ),
    "key": (
        lambda: media.random_smooth(3, 2, 0.1),
        "key: expected a random key; received 3; pass jax.random.key(3)",
    ),
    "raster nan": (
        lambda: media.raster([1.0, np.nan]),
        "image: expected finite numbers; received 1 of 2 values NaN or infinite, the first at [1]",
    ),
    "raster zero": (
        lambda: media.raster([[1.0, 2.0], [0.0, 1.0]]),
        "image[1, 0]: expected a conductivity > 0",
    ),
    "raster shape": (lambda: media.raster(np.ones((2, 2, 3))), "image: expected shape (n,), (n₁, n₂) or (n₁, n₂, 2, 2)"),
    "raster smoothing": (lambda: media.raster([1.0], smoothing="sinc"), 'smoothing: expected None, "linear"'),
    "raster width": (lambda: media.raster([1.0, 2.0], smoothing=0.6), "smoothing: expected a width ≤ a pixel's side 0.5"),
    "raster divergence": (
        lambda: media.raster([1.0, 2.0]).divergence(jnp.zeros(1)),
        "divergence: expected a conductivity without jumps; received 'raster'",
    ),
    "layered divergence": (
        lambda: media.layered([1.0, 2.0], 0, 0.1, 2).divergence(jnp.zeros(2)),
        "divergence: expected a conductivity without jumps; received 'layered'",
    ),
    "raster masked": (
        lambda: media.raster(np.ma.masked_greater([[1.0, 2.0]], 1.5)),
        "image: expected a value everywhere; received a masked array with 1 of 2 values masked; fill them",
    ),
    "raster complex": (
        lambda: media.raster([1.0 + 0j, 2.0]),
        "image: expected real numbers; received an array of dtype complex128; pass its real part",
    ),
    "raster dates": (
        lambda: media.raster(np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")),
        "image: expected real numbers; received an array of dtype datetime64[D]",
    ),
    "raster durations": (
        lambda: media.raster(np.array([1, 2], "timedelta64[s]")),
        "image: expected real numbers; received an array of dtype timedelta64[s]",
    ),
    "raster objects": (
        lambda: media.raster(np.array([1.0, None])),
        "image: expected real numbers; received an array of dtype object; convert it: array.astype(float)",
    ),
    "raster text": (lambda: media.raster(["1", "2"]), "image: expected real numbers; received an array of dtype <U1"),
    "raster file": (lambda: media.raster("image.png"), "image: expected real numbers; received 'image.png'"),
    "raster bool": (lambda: media.raster([True, True]), "image: expected numbers; received True and False; pass alpha"),
    "raster infinite": (lambda: media.raster([1.0, np.inf]), "1 of 2 values NaN or infinite"),
    "raster negative": (lambda: media.raster([1.0, -2.0]), "image[1]: expected a conductivity > 0; received -2"),
    "layers complex": (lambda: media.layered([1.0, 2.0j], 0, 0.1, 1), "values: expected real numbers"),
    "raster one bound": (
        lambda: media.raster([1.0, 2.0], alpha=1.0),
        "alpha and beta: expected both or none",
    ),
    "raster flat": (
        lambda: media.raster([3.0, 3.0], alpha=1.0, beta=2.0),
        "image: expected two different values",
    ),
    "raster extent": (lambda: media.raster([1.0], lower=1.0, upper=0.0), "extent: expected lower < upper"),
    "tensor value": (lambda: media.tensor([1.0, -2.0]), "principal[1]: expected a number > 0; received -2.0"),
    "tensor shape": (
        lambda: media.tensor([1.0]),
        "principal: expected two conductivities; received shape (1,)",
    ),
    "tensor field": (
        lambda: media.tensor([1, 2], 0.0, media.paper_1d(0.1)),
        "received a scalar medium of dimension 1",
    ),
    "tensor no field": (
        lambda: media.tensor([1, 2], 0.0, 3.0),
        "field: expected a scalar Medium of dimension 2",
    ),
    "tensor angle": (lambda: media.tensor([1, 2], [0.0, 1.0]), "angle: expected a number or a callable"),
    "tensor angle shape": (lambda: media.tensor([1, 2], lambda x: x), "angle: expected a value of shape ()"),
    "function sign": (lambda: media.from_function(lambda x: x[0] - 0.5, 1), "expected a positive (definite)"),
    "function nan": (
        lambda: media.from_function(lambda x: jnp.log(x[0] - 0.5), 1),
        "expected a finite value",
    ),
    "function shape": (
        lambda: media.from_function(lambda x: x, 2),
        "function: expected a value of shape () or (2, 2)",
    ),
    "function skew": (
        lambda: media.from_function(lambda x: identity(x) + jnp.outer(x, jnp.ones(2, x.dtype)), 2),
        "expected a symmetric tensor",
    ),
    "function indefinite": (
        lambda: media.from_function(lambda x: identity(x) - 1.0, 2),
        "smallest eigenvalue -1",
    ),
    "function bounds": (
        lambda: media.from_function(lambda x: 1.0 + x[0], 1, beta=1.5),
        "bounds: expected alpha ≤ 1",
    ),
    "function gradient": (
        lambda: media.from_function(lambda x: 1.0 + x[0], 1, gradient=lambda x: x[0]),
        "gradient: expected a value of shape (1,)",
    ),
    "function untraceable": (
        lambda: media.from_function(lambda x: 1.0 if x[0] > 0 else 2.0, 1),
        "function: expected a function that JAX can trace",
    ),
    "function box": (
        lambda: media.from_function(lambda x: 1.0, 1, box=(1.0, 0.0)),
        "box: expected (lower, upper)",
    ),
    "rows": (
        lambda: media.paper_2d(0.1).conductivity(jnp.zeros((5, 2))),
        "point: expected shape (2,); received shape",
    ),
    "wrong dimension": (lambda: media.paper_2d(0.1).divergence(jnp.zeros(1)), "received shape (1,)"),
    "integer point": (
        lambda: media.paper_1d(0.1).conductivity(jnp.array([1])),
        "expected floating-point coordinates",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_that_says_what_to_do(name):
    call, text = ERRORS[name]
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert text in message
    assert "\n" not in message
    assert message.count(";") >= 2


@pytest.mark.parametrize(
    ("function", "d", "bounds"),
    [
        (lambda x: 1 + 999999 * x[0], 1, (9, 1e6)),  # the bound is far above K(0) = 1, and a small part of K(1)
        (lambda x: jnp.exp(13.8155 * x[0]), 1, (9, 1e6)),
        (lambda x: 1 + 999999 * x[0] * x[1], 2, (9, 1e6)),
        (lambda x: jnp.diag(jnp.array([1.0, 1e6], x.dtype)) + 0 * x[0], 2, (9, 1e6)),
        (lambda x: 1e-9 * (2 + jnp.sin(x[0])), 1, (2.1e-9, 3e-9)),
        (lambda x: 1e9 * (2 + jnp.sin(x[0])), 1, (2e9, 2.5e9)),
    ],
)
def test_given_bounds_are_compared_each_with_its_own_size(function, d, bounds):
    with pytest.raises(InputError, match="bounds: expected alpha ≤"):
        media.from_function(function, d, *bounds)


def test_bounds_reach_to_the_edge_of_the_box():
    medium = media.from_function(lambda x: 1 + 999999 * x[0], 1)
    assert medium.alpha == pytest.approx(1 / 1.1)
    assert media.from_function(lambda x: 1 + 999999 * x[0], 1, 1.0, 1e6).bounds_exact


def test_a_tensor_that_is_singular_to_rounding_is_refused():
    with pytest.raises(InputError, match="positive"):
        media.constant([[1e-6, 1e-6], [1e-6, 1e-6 * (1 + 2e-16)]], 2)
