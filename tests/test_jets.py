"""Jets against nested AD and against folx, for scalar and tensor second-order terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib.errors import InputError
from hybrid_lib.pinn import jets, networks
from hybrid_lib.pinn.networks import Ansatz

METRIC = jnp.array([[2.0, 0.3], [0.3, 1.0]])


def network(kind, activation, dtype=jnp.float64):
    if kind == "mlp":
        return networks.mlp((9, 7), activation, dtype)
    return networks.multiscale_fourier((1.0, 5.0), (8, 6), 5, activation, dtype)


@pytest.mark.parametrize("kind", ["mlp", "ms"])
@pytest.mark.parametrize("activation", ["tanh", "swish"])
@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("tensor", [False, True])
def test_network_jet_equals_nested_ad(kind, activation, dimension, tensor, key):
    factor = (lambda x: 4 * x[0] * (1 - x[0])) if dimension == 1 else None
    ansatz = Ansatz(network(kind, activation), dimension, factor)
    theta, fixed = ansatz.init(key)
    metric = METRIC[:dimension, :dimension] if tensor else None
    points = jax.random.uniform(key, (3, dimension), jnp.float64)
    ours = jax.jit(jax.vmap(lambda x: ansatz.jet(theta, fixed, x, metric)[:3]))(points)
    exact = jax.jit(
        jax.vmap(lambda x: jets.from_function(lambda z: ansatz.value(theta, fixed, z), x, metric)[:3])
    )(points)
    np.testing.assert_allclose(ours[0], exact[0], rtol=1e-12)
    np.testing.assert_allclose(jnp.stack(ours[1]), jnp.stack(exact[1]), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours[2], exact[2], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ["mlp", "ms"])
def test_network_jet_equals_folx(kind, key):
    folx = pytest.importorskip("folx")
    ansatz = Ansatz(network(kind, "tanh"), 2)
    theta, fixed = ansatz.init(key)
    x = jnp.array([0.3, 0.8])
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # folx relies on both
        other = folx.forward_laplacian(lambda z: ansatz.value(theta, fixed, z))(x)
    ours = ansatz.jet(theta, fixed, x)
    np.testing.assert_allclose(ours.laplacian, other.laplacian, rtol=1e-10)
    np.testing.assert_allclose(jnp.stack(ours.gradient), other.jacobian.dense_array.reshape(-1), rtol=1e-10)


@pytest.mark.parametrize(
    "build, plain",
    [
        (lambda j: jets.sin(j), jnp.sin),
        (lambda j: jets.cos(j), jnp.cos),
        (lambda j: jets.swish(j), jax.nn.swish),
        (lambda j: jets.product(jets.sin(j), jets.tanh(j)), lambda x: jnp.sin(x) * jnp.tanh(x)),
        (lambda j: jets.product(j, j), lambda x: x * x),
        (lambda j: jets.add(jets.cos(j), j), lambda x: jnp.cos(x) + x),
        (lambda j: jets.chain(j, *(3 * [jnp.exp(j.value)])), jnp.exp),
    ],
)
def test_elementary_rules(build, plain):
    x = jnp.array([0.4, -1.1])
    for component in range(2):
        for metric in (None, METRIC):
            ours = build(jets.seed(x, metric))
            exact = jets.from_function(lambda z, c=component: plain(z)[c], x, metric)
            assert ours.value[component] == pytest.approx(float(exact.value))
            np.testing.assert_allclose([g[component] for g in ours.gradient], exact.gradient, atol=1e-14)
            laplacian = jnp.zeros(2) if ours.laplacian is None else ours.laplacian
            np.testing.assert_allclose(laplacian[component], exact.laplacian, atol=1e-13)


def test_concatenate_fills_exact_zeros():
    jet = jets.seed(jnp.array([0.5]))
    joined = jets.concatenate([jet, jets.sin(jet)])
    np.testing.assert_allclose(joined.laplacian, [0.0, -np.sin(0.5)])
    assert jets.concatenate([jet, jet]).laplacian is None


def test_gradient_in_parameters_equals_nested_ad(key):
    ansatz = Ansatz(network("ms", "tanh"), 2)
    theta, fixed = ansatz.init(key)
    x = jnp.array([0.2, 0.6])
    ours = jax.jit(jax.grad(lambda t: ansatz.jet(t, fixed, x).laplacian))(theta)
    exact = jax.jit(jax.grad(lambda t: jets.from_function(lambda z: ansatz.value(t, fixed, z), x).laplacian))(
        theta
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


def test_frequencies_are_not_parameters(key):
    ansatz = Ansatz(network("ms", "tanh"), 2)
    theta, fixed = ansatz.init(key)
    assert set(fixed) == {"features_0", "features_1"}
    assert "features" not in str(jax.tree.structure(theta))
    spread = [float(jnp.std(fixed[f"features_{k}"]["frequencies"])) for k in range(2)]
    assert 2 < spread[1] / spread[0] < 12  # drawn with deviations 1 and 5


def test_the_papers_networks_have_the_papers_sizes(key):
    theta, _ = Ansatz(networks.multiscale_fourier((1.0, 10.0)), 2).init(key)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(theta))
    assert shapes == [(1,), (128,), (128,), (128, 128), (128, 128), (256, 1)]
    theta, fixed = Ansatz(networks.mlp(), 2).init(key)
    assert len(jax.tree.leaves(theta)) == 18 and fixed == {}
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(theta))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: networks.mlp(()), "widths: expected a non-empty tuple of positive integers; received ()"),
        (
            lambda: networks.mlp((4,), "relu"),
            "activation: expected one of ['swish', 'tanh']; received 'relu'",
        ),
        (lambda: networks.multiscale_fourier((0.0,)), "scales: expected one or more numbers > 0"),
        (lambda: networks.multiscale_fourier((1.0,), frequencies=0), "frequencies: expected an integer >= 1"),
    ],
)
def test_errors(build, message):
    with pytest.raises(InputError) as caught:
        build()
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
