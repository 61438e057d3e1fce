"""Q_delta: identities first, then the discrete definition read off by brute force, then the errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib.errors import InputError
from hybrid_lib.fem import interpolate, interval, unit_square
from hybrid_lib.multiscale import compression as comp
from hybrid_lib.multiscale.compression import average, compression, compression_of_coarse, pad


def distance(x):
    return jnp.min(jnp.minimum(x, 1 - x))


def case(dimension, seed=0):
    """Mesh, points, compression and delta of a small problem."""
    mesh = interval(20) if dimension == 1 else unit_square(8)
    points = np.random.default_rng(seed).random((500 if dimension == 1 else 1500, dimension))
    delta = 0.11 if dimension == 1 else 0.2
    return mesh, points, compression(mesh.points, points, delta, distance), delta


@pytest.mark.parametrize("dimension", [1, 2])
def test_keeps_constants(dimension):
    _, points, Q, _ = case(dimension)
    means = average(Q, jnp.full(len(points), 3.0), jnp.full(Q.pointwise_nodes.shape, 3.0))
    np.testing.assert_allclose(means, 3.0, rtol=1e-14)


@pytest.mark.parametrize("dimension", [1, 2])
def test_equals_its_definition(dimension):
    mesh, points, Q, delta = case(dimension)

    def v(x):
        return np.sin(5 * x[..., 0]) + np.sum(x**2, axis=-1)

    values = v(points)
    means = np.asarray(average(Q, jnp.asarray(values), jnp.asarray(v(mesh.points[Q.pointwise_nodes]))))
    for i, x in enumerate(mesh.points):
        near = np.linalg.norm(points - x, axis=1) < delta / 2
        expected = np.mean(values[near]) if np.min(np.minimum(x, 1 - x)) > delta / 2 else v(x)
        np.testing.assert_allclose(means[i], expected, rtol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2])
def test_adjoint_identity(dimension):
    mesh, points, Q, _ = case(dimension)
    sizes = [len(points), len(Q.pointwise_nodes), len(mesh.points)]
    v, w, r = (jnp.asarray(np.random.default_rng(k).standard_normal(size)) for k, size in enumerate(sizes))
    forward, pull_back = jax.vjp(lambda a, b: average(Q, a, b), v, w)
    back_v, back_w = pull_back(r)
    np.testing.assert_allclose(forward @ r, v @ back_v + w @ back_w, rtol=1e-12)
    _, tangent = jax.jvp(lambda a, b: average(Q, a, b), (v, w), (v, w))
    np.testing.assert_allclose(tangent, forward, rtol=1e-14)


def test_boundary_nodes_are_pointwise():
    mesh, _, Q, delta = case(2)
    assert set(mesh.boundary_nodes) <= set(np.asarray(Q.pointwise_nodes))
    near = np.min(np.minimum(mesh.points, 1 - mesh.points), axis=1) <= delta / 2
    np.testing.assert_array_equal(np.flatnonzero(near), Q.pointwise_nodes)
    np.testing.assert_array_equal(Q.counts[Q.pointwise_nodes], 0)
    assert int(Q.counts.sum()) == int(Q.coverage.sum()) == Q.rows.shape[0]


def test_rounding_does_not_decide_on_edges():
    """A node at distance delta / 2 is pointwise, a point at distance delta / 2 is outside the open ball."""
    nodes = np.arange(11)[:, None] / 10
    points = np.arange(101)[:, None] / 100
    Q = compression(nodes, points, 0.2, np.minimum(nodes, 1 - nodes)[:, 0])
    assert Q.pointwise_nodes.tolist() == [0, 1, 9, 10]
    assert set(np.asarray(Q.counts)[2:9]) == {19}


def test_radius_option():
    nodes, points = np.array([[0.5]]), np.linspace(0, 1, 101)[:, None]
    assert int(compression(nodes, points, 0.2, np.array([0.5])).counts[0]) == 19
    assert int(compression(nodes, points, 0.2, np.array([0.5]), radius=0.2).counts[0]) == 39


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)])
def test_padded_seeds_equal_single_ones(dtype):
    cases = [case(2, seed) for seed in range(3)]
    compressions = [Q for _, _, Q, _ in cases]
    padded = pad(compressions)
    assert len({Q.rows.shape for Q in compressions}) > 1  # padding is needed
    values = jnp.asarray(np.stack([np.cos(points.sum(axis=1)) for _, points, _, _ in cases]), dtype)
    others = jnp.ones((3, *compressions[0].pointwise_nodes.shape), dtype)

    def energy(Q, v, w):
        means = average(Q, v, w)
        return jnp.sum(means**2), means

    evaluate = jax.value_and_grad(energy, argnums=1, has_aux=True)
    (_, means), slopes = jax.jit(jax.vmap(evaluate))(padded, values, others)
    assert means.dtype == slopes.dtype == dtype
    for k, Q in enumerate(compressions):
        (_, mean), slope = jax.jit(evaluate)(Q, values[k], others[k])
        rtol = 1e-5 if dtype == jnp.float32 else 1e-13
        np.testing.assert_allclose(means[k], mean, rtol=rtol)
        np.testing.assert_allclose(slopes[k], slope, rtol=rtol, atol=1e-16)


@pytest.mark.parametrize("dimension", [1, 2])
def test_of_coarse_functions(dimension):
    """The matrix does to nodal values what the operator does to the interpolated function."""
    mesh, points, Q, _ = case(dimension)
    matrix = compression_of_coarse(Q, mesh, points)
    nodal = np.random.default_rng(1).random(len(mesh.points))
    direct = average(Q, jnp.asarray(interpolate(mesh, nodal, points)), jnp.asarray(nodal)[Q.pointwise_nodes])
    np.testing.assert_allclose(matrix @ nodal, direct, rtol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)


def test_mean_converges_to_the_ball_mean():
    """The mean of |x|^2 over a disc of radius r is |centre|^2 + r^2 / 2; 5e4 random points lie in it."""
    points = np.random.default_rng(0).random((400_000, 2))
    Q = compression(np.array([[0.5, 0.5]]), points, 0.4, np.array([0.5]))
    mean = average(Q, jnp.sum(jnp.asarray(points) ** 2, axis=1), jnp.zeros(0))
    np.testing.assert_allclose(mean[0], 0.5 + 0.2**2 / 2, rtol=5e-3)


def test_empty_neighbourhood_says_what_would_do():
    mesh, points = interval(20), np.random.default_rng(0).random((60, 1))
    with pytest.raises(
        InputError, match=r"compression node \d+ .*a collocation point within .*use delta > .*points"
    ) as info:
        compression(mesh.points, points, 0.02, distance)
    delta = float(str(info.value).split("delta > ")[1].split(",")[0])
    compression(mesh.points, points, delta, distance)  # the remedy works
    with pytest.raises(InputError, match="use radius > "):
        compression(mesh.points, points, 0.02, distance, radius=0.005)


def test_errors():
    nodes, points = np.array([[0.5]]), np.array([[0.4], [0.6]])
    half = np.array([0.5])
    with pytest.raises(InputError, match="delta: expected a number > 0; received -1"):
        compression(nodes, points, -1, half)
    with pytest.raises(InputError, match="radius: expected a number > 0"):
        compression(nodes, points, 1.0, half, radius=0.0)
    with pytest.raises(InputError, match="nodes: expected finite points as rows"):
        compression(np.array([0.5]), points, 0.5, half)
    with pytest.raises(InputError, match=r"points: expected shape \(M, 1\)"):
        compression(nodes, np.zeros((3, 2)), 0.5, half)
    with pytest.raises(InputError, match="distance: expected one number per node"):
        compression(nodes, points, 0.5, lambda x: x * jnp.ones(2))
    Q = compression(nodes, points, 0.5, half)
    with pytest.raises(InputError, match=r"values_at_points: expected shape \(2,\); received \(3,\)"):
        average(Q, jnp.zeros(3), jnp.zeros(0))
    with pytest.raises(InputError, match="values_at_pointwise"):
        average(Q, jnp.zeros(2), jnp.zeros(1))
    with pytest.raises(InputError, match="compressions: expected at least one"):
        pad([])
    with pytest.raises(InputError, match="compressions: expected equal nodes"):
        pad([Q, compression(nodes, points[:1], 0.5, half)])
    with pytest.raises(InputError, match="mesh and points: expected 1 nodes and 2 points"):
        comp.compression_of_coarse(Q, interval(4), points)
