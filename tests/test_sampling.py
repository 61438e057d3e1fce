"""Sampling: purity in the key, dtypes, moments, and the even coverage that Sobol points promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib.errors import InputError
from hybrid_lib.pinn import sampling
from hybrid_lib.pinn.domains import interval, lshape, unit_square

DOMAINS = {d.name: d for d in (interval(), unit_square(), lshape())}
INTERIOR = [sampling.uniform, sampling.sobol]
BOUNDARY = [sampling.boundary_uniform]
names = pytest.mark.parametrize("name", DOMAINS)
samplers = pytest.mark.parametrize("sampler", INTERIOR + BOUNDARY, ids=lambda s: s.__name__)
N = 768  # 3·2^8: one program for each sampler, domain and dtype serves most tests
# Compiling takes these tests' time, running none of it.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
programs = {s: quick_jit(s, static_argnums=(1, 2, 3)) for s in INTERIOR + BOUNDARY}


def draw(sampler, name, seed=4, dtype=jnp.float32):
    return np.asarray(programs[sampler](jax.random.key(seed), DOMAINS[name], N, dtype))


def draws(sampler, name, seeds):
    return np.stack([draw(sampler, name, seed) for seed in range(seeds)]).astype(np.float64)


@names
@samplers
def test_points_depend_on_the_key_alone(sampler, name):
    first = draw(sampler, name)
    assert first.shape == (N, DOMAINS[name].dimension)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(draw(sampler, name), first)
    fixed = sampler in BOUNDARY and name == "interval"
    assert np.array_equal(draw(sampler, name, seed=5), first) is fixed


distance = {name: quick_jit(jax.vmap(domain.distance)) for name, domain in DOMAINS.items()}
contains = {name: quick_jit(jax.vmap(domain.contains)) for name, domain in DOMAINS.items()}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, jnp.float32) for name in DOMAINS), ("lshape", jnp.float64)]
)
@samplers
def test_points_lie_strictly_inside_or_exactly_on_the_boundary(sampler, name, dtype):
    points = draw(sampler, name, dtype=dtype)
    assert points.dtype == dtype
    if sampler in BOUNDARY:
        np.testing.assert_array_equal(distance[name](jnp.asarray(points)), 0.0)
    else:
        assert contains[name](jnp.asarray(points)).all()


@samplers
def test_float32_points_are_the_same_without_x64(sampler):
    if not hasattr(jax, "enable_x64"):
        pytest.skip("no context manager in this jax")
    with jax.enable_x64(False):
        without = draw(sampler, "lshape")
    assert without.dtype == np.float32
    np.testing.assert_array_equal(without, draw(sampler, "lshape"))


@names
@pytest.mark.parametrize("sampler", INTERIOR, ids=lambda s: s.__name__)
def test_interior_moments(sampler, name):
    """Means of x_i and x_i x_j over Ω against exact integrals, within about five standard errors."""
    domain, seeds = DOMAINS[name], 8
    points = draws(sampler, name, seeds).reshape(-1, domain.dimension)
    corners, d = np.array(domain.corners), domain.dimension
    mean = (corners + 0.5).mean(axis=0)
    second = np.mean([np.outer(c + 0.5, c + 0.5) + np.eye(d) / 12.0 for c in corners], axis=0)
    bound = 3.0 / np.sqrt(seeds * N) if sampler is sampling.uniform else 2.0 / N
    np.testing.assert_allclose(points.mean(axis=0), mean, atol=bound)
    np.testing.assert_allclose(points.T @ points / len(points), second, atol=bound)


@pytest.mark.parametrize("sampler", INTERIOR, ids=lambda s: s.__name__)
def test_cubes_of_the_lshape_get_their_share(sampler):
    points = draw(sampler, "lshape")[:700]
    left, low = points[:, 0] < 0.0, points[:, 1] < 0.0
    counts = np.array([np.sum(left & low), np.sum(left & ~low), np.sum(~left & ~low)])
    assert counts.sum() == 700
    assert np.ptp(counts) <= (1 if sampler is sampling.sobol else 110)


def test_the_first_sobol_point_goes_to_a_random_cube():
    right = draws(sampling.sobol, "lshape", 60)[:, 0, 0] > 0.0
    assert 8 <= right.sum() <= 34  # one third of the keys


def boxes(points, counts):
    """Number of points in each cell of a grid with counts[i] cells along axis i."""
    index = [np.floor(p * c).astype(int) for p, c in zip(points.T, counts, strict=True)]
    return np.bincount(np.ravel_multi_index(index, counts), minlength=np.prod(counts))


def test_shifted_sobol_points_stay_a_net():
    for seed in range(3):
        points = draw(sampling.sobol, "unit_square", seed)[:256]
        for level in range(9):  # each elementary box of area 1/256 holds exactly one point
            np.testing.assert_array_equal(boxes(points, (2**level, 2 ** (8 - level))), 1)


def test_sobol_on_the_lshape_is_a_net_in_each_square():
    points = draw(sampling.sobol, "lshape")[: 3 * 64]
    for corner in lshape().corners:
        local = points - np.array(corner)
        local = local[((local > 0.0) & (local < 1.0)).all(axis=1)]
        assert len(local) == 64
        np.testing.assert_array_equal(boxes(local, (8, 8)), 1)


def test_sobol_dtypes_agree():
    single, double = (draw(sampling.sobol, "lshape", dtype=t) for t in (jnp.float32, jnp.float64))
    np.testing.assert_allclose(single, double, atol=2.0**-23)


def test_a_shorter_sobol_draw_is_the_start_of_a_longer_one():
    short = programs[sampling.sobol](jax.random.key(4), lshape(), 100, jnp.float32)
    np.testing.assert_array_equal(short, draw(sampling.sobol, "lshape")[:100])


def star_discrepancy(points, n_boxes=4000):
    """Largest |share of points in [0, c) − volume of [0, c)| over random corners c."""
    c = np.random.default_rng(0).uniform(0.0, 1.0, (n_boxes, points.shape[1]))
    share = (points[None, :, :] < c[:, None, :]).all(axis=2).mean(axis=1)
    return np.abs(share - c.prod(axis=1)).max()


@pytest.mark.parametrize("name", ["interval", "unit_square"])
def test_sobol_covers_more_evenly_than_uniform(name):
    n = 512
    sobol, uniform = (
        np.mean([star_discrepancy(points[:n]) for points in draws(s, name, 4)])
        for s in (sampling.sobol, sampling.uniform)
    )
    assert 0.5 / np.sqrt(n) < uniform < 2.0 / np.sqrt(n)
    assert sobol < uniform / 3.0


def test_shifts_are_uniform():
    """The first Sobol point alone is uniform over keys: chi-square over 4 × 4 boxes."""
    keys = jax.random.split(jax.random.key(0), 3200)
    points = quick_jit(jax.vmap(lambda k: sampling.sobol(k, unit_square(), 1, jnp.float32)[0]))(keys)
    counts = boxes(np.asarray(points), (4, 4))
    assert np.sum((counts - 200.0) ** 2 / 200.0) < 37.7  # 0.1 % quantile, 15 degrees of freedom


@samplers
def test_error_of_a_mean_over_many_keys(sampler):
    """Mean of exp(x₁ + x₂) over the square or its boundary: unbiased, with the stated order of the error."""
    e, seeds, short = np.e - 1.0, 64, N // 8
    exact = e * (1.0 + np.e) / 2.0 if sampler in BOUNDARY else e**2
    long = draws(sampler, "unit_square", seeds)
    points = long[:, :short]
    errors = [np.exp(x.sum(axis=2, dtype=np.float64)).mean(axis=1) - exact for x in (points, long)]
    assert all(abs(error.mean()) < 4.0 * error.std() / np.sqrt(seeds) for error in errors)
    rms = [np.sqrt(np.mean(error**2)) for error in errors]
    low, high = {
        sampling.uniform: (0.3, 0.7),
        sampling.boundary_uniform: (0.3, 0.7),
        sampling.sobol: (0.8, 1.7),
    }[sampler]
    assert low < np.log(rms[0] / rms[1]) / np.log(8.0) < high


@pytest.mark.parametrize("sampler", BOUNDARY, ids=lambda s: s.__name__)
def test_boundary_points_are_spread_by_arc_length(sampler):
    seeds = 6
    points = draws(sampler, "lshape", seeds).reshape(-1, 2)
    on_edge = [
        (points[:, 1] == -1.0).mean(),
        ((points[:, 0] == 0.0) & (points[:, 1] < 0.0)).mean(),
        ((points[:, 1] == 0.0) & (points[:, 0] > 0.0)).mean(),
        (points[:, 0] == 1.0).mean(),
        (points[:, 1] == 1.0).mean(),
        (points[:, 0] == -1.0).mean(),
    ]
    np.testing.assert_allclose(on_edge, np.array([1, 1, 1, 1, 2, 2]) / 8.0, atol=2.0 / np.sqrt(seeds * N))


@pytest.mark.parametrize("sampler", BOUNDARY, ids=lambda s: s.__name__)
def test_both_ends_of_the_interval_count_alike(sampler):
    assert sorted(draw(sampler, "interval")[:, 0].tolist()) == [0.0] * (N // 2) + [1.0] * (N // 2)


ERRORS = {
    "key": (
        lambda s: s(0, unit_square(), 4, jnp.float32),
        "key: expected a random key; received 0; pass jax.random",
    ),
    "zero points": (
        lambda s: s(jax.random.key(0), unit_square(), 0, jnp.float32),
        "n: expected a number of points",
    ),
    "float n": (
        lambda s: s(jax.random.key(0), unit_square(), 4.0, jnp.float32),
        "an integer ≥ 1; received 4.0",
    ),
    "dtype": (
        lambda s: s(jax.random.key(0), unit_square(), 4, jnp.int32),
        "dtype: expected float32 or float64",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
@samplers
def test_errors_are_one_line_that_says_what_to_do(sampler, name):
    call, text = ERRORS[name]
    with pytest.raises(InputError) as caught:
        call(sampler)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sampler", BOUNDARY, ids=lambda s: s.__name__)
def test_odd_number_of_end_points_is_an_error(sampler):
    with pytest.raises(
        InputError, match=r"^n: expected an even number of boundary points in 1-D; received 3; pass 2"
    ):
        sampler(jax.random.key(0), interval(), 3, jnp.float32)


def test_float64_without_x64_is_an_error_not_a_silent_float32():
    if not hasattr(jax, "enable_x64"):
        pytest.skip("no context manager in this jax")
    with (
        jax.enable_x64(False),
        pytest.raises(
            InputError, match=r"^dtype: expected float32 while x64 is off; received float64; call hybrid_lib.enable_float64"
        ),
    ):
        sampling.uniform(jax.random.key(0), unit_square(), 4, jnp.float64)
