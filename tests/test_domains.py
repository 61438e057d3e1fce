"""Domains: measures, distances, factors of hard boundary conditions, boundary parametrisation, meshes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib.errors import InputError
from hybrid_lib.pinn.domains import interval, lshape, unit_square

DOMAINS = {d.name: d for d in (interval(), unit_square(), lshape())}
names = pytest.mark.parametrize("name", DOMAINS)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
N = 512
# Compiling takes these tests' time, running none of it.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def sets(name, dtype="float64"):
    """N points each: in and around the domain, on its boundary (corners too), just inside the boundary."""
    domain = DOMAINS[name]
    lower, upper = (np.array(c) for c in domain.box)
    cloud = np.random.default_rng(3).uniform(lower - 0.3, upper + 0.3, (N, domain.dimension))
    edge = quick_jit(jax.vmap(domain.boundary_point))(jnp.arange(N, dtype=dtype) / N)
    star = {"interval": [0.5], "unit_square": [0.5, 0.5], "lshape": [-0.5, 0.5]}[name]  # sees all of Ω
    inner = np.asarray(edge, np.float64) * (1.0 - 1e-4) + 1e-4 * np.array(star)
    return jnp.asarray(cloud, dtype), edge, jnp.asarray(inner, dtype)


@functools.cache
def evaluated(name, dtype="float64"):
    """Everything a domain says about the three sets, in one program."""
    domain = DOMAINS[name]

    def everything(x):
        values = {
            "contains": domain.contains(x),
            "distance": domain.distance(x),
            "l": domain.vanishing(x),
        }
        derivatives = {
            "distance slope": lambda: jax.grad(domain.distance)(x),
            "l slope": lambda: jax.grad(domain.vanishing)(x),
            "l hessian": lambda: jax.hessian(domain.vanishing)(x),
        }
        return values | ({key: f() for key, f in derivatives.items()} if dtype == "float64" else {})

    values = quick_jit(jax.vmap(everything))(jnp.concatenate(sets(name, dtype)))
    return {key: np.asarray(v).reshape(3, N, *v.shape[1:]) for key, v in values.items()}


def inside(name, points):
    """Membership written out by hand."""
    x = np.asarray(points)
    if name == "lshape":
        return (np.abs(x) < 1.0).all(axis=1) & ((x[:, 0] < 0.0) | (x[:, 1] > 0.0))
    return ((x > 0.0) & (x < 1.0)).all(axis=1)


def test_measures():
    assert [(d.dimension, d.measure, d.boundary_measure) for d in DOMAINS.values()] == [
        (1, 1.0, 2.0),
        (2, 1.0, 4.0),
        (2, 3.0, 8.0),
    ]
    assert lshape().box == ((-1.0, -1.0), (1.0, 1.0))


@names
def test_domains_are_values(name):
    maker = {"interval": interval, "unit_square": unit_square, "lshape": lshape}[name]
    assert maker() == DOMAINS[name]
    assert hash(maker()) == hash(DOMAINS[name])  # so they can be static arguments of jit


@names
def test_contains(name):
    cloud, edge, inner = evaluated(name)["contains"]
    np.testing.assert_array_equal(cloud, inside(name, sets(name)[0]))
    assert 50 < cloud.sum() < N - 50
    assert not edge.any()
    assert inner.all()


@names
@dtypes
def test_distance_is_that_to_the_nearest_of_many_boundary_points(name, dtype):
    domain = DOMAINS[name]
    cloud = np.asarray(sets(name, dtype)[0], np.float64)
    distances = evaluated(name, dtype)["distance"][0].astype(np.float64)
    brute = np.linalg.norm(cloud[:, None] - np.asarray(sets(name)[1])[None], axis=2).min(axis=1)
    # The nearest sample is at most half a spacing h from the nearest point: d ≤ brute ≤ √(d² + h²/4).
    h = domain.boundary_measure / N if domain.dimension == 2 else 0.0
    assert (distances <= brute + 1e-6).all()
    assert (brute <= np.hypot(distances, h / 2.0) + 1e-6).all()


def test_distances_known_exactly():
    for domain, points, expected in (
        (interval(), [[0.75], [-1.0]], [0.25, 1.0]),
        (unit_square(), [[0.5, 0.125], [2.0, 2.0]], [0.125, np.sqrt(2.0)]),
        (lshape(), [[-0.375, 0.5], [-0.25, -0.5], [-0.3, 0.4]], [0.5, 0.25, 0.5]),  # last: the inward corner
    ):
        distances = quick_jit(jax.vmap(domain.distance))(jnp.array(points))
        np.testing.assert_allclose(distances, expected, rtol=1e-15)


@names
def test_distance_has_slope_one_off_the_boundary_and_a_finite_slope_on_it(name):
    slopes = evaluated(name)["distance slope"]
    np.testing.assert_allclose(np.linalg.norm(slopes[0], axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(slopes[1], 0.0)


@names
@dtypes
def test_boundary_points_lie_on_the_boundary_exactly(name, dtype):
    domain, values = DOMAINS[name], evaluated(name, dtype)
    np.testing.assert_array_equal(values["distance"][1], 0.0)
    np.testing.assert_array_equal(values["l"][1], 0.0)
    s = jnp.asarray(np.random.default_rng(1).uniform(0.0, 1.0, N), dtype)
    distances = quick_jit(jax.vmap(lambda t: domain.distance(domain.boundary_point(t))))(s)
    np.testing.assert_array_equal(distances, 0.0)


@names
@dtypes
def test_values_follow_the_dtype(name, dtype):
    values = evaluated(name, dtype)
    assert values["contains"].dtype == bool
    assert {values[key].dtype.name for key in values if key != "contains"} == {dtype}
    assert sets(name, dtype)[1].dtype == dtype


@pytest.mark.parametrize("name", ["unit_square", "lshape"])
def test_boundary_is_walked_at_constant_speed_and_anticlockwise(name):
    domain = DOMAINS[name]
    points = np.asarray(sets(name)[1])
    steps = np.roll(points, -1, axis=0) - points
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), domain.boundary_measure / N, rtol=1e-12)
    area = 0.5 * np.sum(
        points[:, 0] * steps[:, 1] - points[:, 1] * steps[:, 0]
    )  # Gauss: positive orientation
    assert area == pytest.approx(domain.measure, rel=1e-12)


def test_boundary_of_the_interval_is_two_points():
    s = jnp.array([0.0, 0.499, 0.5, 0.999, 1.0])
    np.testing.assert_array_equal(
        quick_jit(jax.vmap(interval().boundary_point))(s)[:, 0], [0.0, 0.0, 1.0, 1.0, 1.0]
    )


@names
@dtypes
def test_vanishing_is_positive_inside_even_next_to_the_boundary(name, dtype):
    cloud, _, inner = evaluated(name, dtype)["l"]
    cloud = cloud[inside(name, sets(name, dtype)[0])]
    assert (cloud > 0.0).all()
    assert (inner > 0.0).all()
    assert 0.6 < cloud.max() <= 1.0


def test_vanishing_of_the_paper():
    x = jnp.linspace(0.0, 1.0, 11)[:, None]
    values = quick_jit(jax.vmap(interval().vanishing))(x)
    np.testing.assert_allclose(values, 4.0 * np.asarray(x * (1.0 - x))[:, 0], rtol=1e-15)
    assert quick_jit(unit_square().vanishing)(jnp.array([0.5, 0.25])) == 0.75


def naive_lshape(x):
    a, b = -x[0], x[1]
    return (1.0 - x[0] ** 2) * (1.0 - x[1] ** 2) * (a + b + jnp.sqrt(a**2 + b**2))


def test_vanishing_of_the_lshape_is_the_formula_with_its_derivatives():
    def everything(x):
        return naive_lshape(x), jax.grad(naive_lshape)(x), jax.hessian(naive_lshape)(x)

    reference = quick_jit(jax.vmap(everything))(sets("lshape")[0])
    for key, expected in zip(("l", "l slope", "l hessian"), reference, strict=True):
        np.testing.assert_allclose(evaluated("lshape")[key][0], expected, rtol=1e-9, atol=1e-9)


def test_vanishing_of_the_lshape_keeps_its_digits_near_the_inward_edges():
    x = np.array([0.5, 1e-6])
    a, b = -x[0], x[1]
    exact = (1 - x[0] ** 2) * (1 - x[1] ** 2) * (2 * a * b / (a + b - np.hypot(a, b)))
    assert float(quick_jit(lshape().vanishing)(jnp.asarray(x, jnp.float32))) == pytest.approx(exact, rel=1e-6)


@names
def test_vanishing_grows_linearly_from_every_edge(name):
    """The normal derivative is nonzero but at corners, so l·net can have any flux across the boundary."""
    slopes = np.linalg.norm(evaluated(name)["l slope"][1], axis=1)
    assert np.sum(slopes < 1e-3) <= 6
    assert np.median(slopes) > 0.3


@names
def test_vanishing_has_finite_derivatives_up_to_the_boundary_and_its_corners(name):
    assert np.isfinite(evaluated(name)["l slope"]).all()
    assert np.isfinite(evaluated(name)["l hessian"]).all()


@names
def test_meshes_fill_the_domain(name):
    pytest.importorskip("hybrid_lib.fem")
    domain = DOMAINS[name]
    mesh = domain.mesh(4)
    assert mesh.dimension == domain.dimension
    assert mesh.volumes.sum() == pytest.approx(domain.measure, rel=1e-12)
    on_boundary = np.asarray(quick_jit(jax.vmap(domain.distance))(jnp.asarray(mesh.points))) == 0.0
    np.testing.assert_array_equal(np.flatnonzero(on_boundary), mesh.boundary_nodes)


ERRORS = {
    "distance": (
        lambda: unit_square().distance(jnp.zeros(1)),
        "point of unit_square: expected floating-point coordinates of shape (2,); received float64 of shape",
    ),
    "rows": (
        lambda: interval().vanishing(jnp.zeros((5, 1))),
        "received float64 of shape (5, 1); map over rows",
    ),
    "integers": (lambda: lshape().contains(jnp.array([0, 1])), "received int64 of shape (2,)"),
    "parameter": (
        lambda: lshape().boundary_point(jnp.zeros(3)),
        "s: expected one floating-point number; received",
    ),
    "mesh": (lambda: unit_square().mesh(0), "received 0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_that_says_what_to_do(name):
    call, text = ERRORS[name]
    with pytest.raises(InputError) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
