"""Jets against nested AD and against folx, for scalar and tensor second-order terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shaken import shaken

from hybrid_lib.errors import InputError
from hybrid_lib.pinn import jets, networks, windows
from hybrid_lib.pinn.ansatz import Ansatz

BOX = ((0.0, 0.0), (1.0, 1.0))
METRIC = jnp.array([[2.0, 0.3], [0.3, 1.0]])


def network(kind, activation, dtype=jnp.float64):
    if kind == "mlp":
        return networks.mlp((9, 7), activation, dtype)
    if kind == "two-scale":
        return networks.two_scale(0.2, (6, 5), activation=activation, dtype=dtype)
    if kind == "layers":
        return networks.two_scale(0.2, (6, 5), BOX, activation, dtype)
    if kind == "windowed":
        return windows.windowed(4, ((-0.2, 0.0), (1.0, 2.0)), (6, 5), activation, dtype)
    if kind == "trained":
        return networks.multiscale_fourier((1.0, 5.0), (8, 6), 5, activation, dtype, factor=1.0, trainable=True)
    return networks.multiscale_fourier((1.0, 5.0), (8, 6), 5, activation, dtype)


# Every two of network, activation, dimension and kind of the second-order term meet.
CASES = [("mlp", "tanh", 1, 0), ("mlp", "swish", 1, 1), ("mlp", "tanh", 2, 1), ("mlp", "swish", 2, 0)]
CASES += [("ms", "tanh", 1, 1), ("ms", "swish", 1, 0), ("ms", "tanh", 2, 0), ("ms", "swish", 2, 1)]
CASES += [("two-scale", "tanh", 1, 0), ("two-scale", "swish", 2, 1), ("layers", "tanh", 2, 0), ("layers", "tanh", 2, 1)]
CASES += [("windowed", "tanh", 2, 0), ("windowed", "swish", 2, 1)]
CASES += [("trained", "tanh", 1, 0), ("trained", "tanh", 2, 1)]


@pytest.mark.parametrize(("kind", "activation", "dimension", "tensor"), CASES)
def test_network_jet_equals_nested_ad(kind, activation, dimension, tensor, key):
    factor = (lambda x: 4 * x[0] * (1 - x[0])) if dimension == 1 else None
    ansatz = Ansatz(network(kind, activation), dimension, factor)
    theta, fixed = ansatz.init(key)
    theta = shaken(theta, key)
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
        (lambda j: jets.exp(j), jnp.exp),
        (lambda j: jets.tanh(jets.affine(j, 3.0, jnp.array([0.5, 0.1]))), lambda x: jnp.tanh(3 * (x - jnp.array([0.5, 0.1])))),
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


def test_two_scale_network_is_its_formula(key):
    """u = l(x)·[M₁(x) + (ε/2π) M₂(x, cos 2πx/ε, sin 2πx/ε, layers)], zero on the boundary, with the stated sizes."""
    eps, factor = 0.2, lambda x: jnp.prod(4 * x * (1 - x))
    ansatz = Ansatz(networks.two_scale(eps, (6, 5), BOX, dtype=jnp.float64), 2, factor)
    theta, fixed = ansatz.init(key)
    assert float(ansatz.value(theta, fixed, jnp.array([0.3, 0.6]))) == 0  # it starts from the zero function
    theta = shaken(theta, key)
    assert fixed == {}
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(theta[part])) for part in ("slow", "fast")]
    assert sizes == [2 * 6 + 6 + 6 * 5 + 5 + 5 + 1, 10 * 6 + 6 + 6 * 5 + 5 + 5 + 1]

    def perceptron(layers, z):
        for name in ("stack_0", "stack_1"):
            z = jnp.tanh(z @ layers[name]["kernel"] + layers[name]["bias"])
        return (z @ layers["output"]["kernel"] + layers["output"]["bias"])[0]

    for x in jax.random.uniform(key, (3, 2), jnp.float64):
        angle = 2 * jnp.pi * x / eps
        layers = [jnp.exp(-angle), jnp.exp(-2 * jnp.pi * (1 - x) / eps)]
        features = jnp.concatenate([x, jnp.cos(angle), jnp.sin(angle), *layers])
        net = perceptron(theta["slow"], x) + eps / (2 * jnp.pi) * perceptron(theta["fast"], features)
        np.testing.assert_allclose(ansatz.value(theta, fixed, x), factor(x) * net, rtol=1e-12)
        np.testing.assert_allclose(
            ansatz.gradient_of(theta, ansatz.embed(fixed, x)), jax.grad(lambda z: ansatz.value(theta, fixed, z))(x),
            rtol=1e-10,
        )  # fmt: skip
    for x in ([0.0, 0.3], [1.0, 0.3], [0.7, 0.0], [0.7, 1.0]):
        assert float(ansatz.value(theta, fixed, jnp.array(x))) == 0 == float(ansatz.jet(theta, fixed, jnp.array(x)).value)


def test_embedding_is_all_that_does_not_depend_on_theta(key):
    """jet_of(theta, embed(x)) is the jet, and the embedding keeps no trace of theta."""
    for kind in ("mlp", "ms", "two-scale", "layers"):
        ansatz = Ansatz(network(kind, "tanh"), 2)
        (theta, fixed), x = ansatz.init(key), jnp.array([0.3, 0.8])
        theta = shaken(theta, key)
        embedding = ansatz.embed(fixed, x)
        assert len(embedding.features) == {"mlp": 0, "ms": 2}.get(kind, 1) and embedding.factor is None
        double = jax.tree.map(lambda leaf: 2 * leaf, theta)
        for t in (theta, double):
            np.testing.assert_array_equal(ansatz.jet_of(t, embedding).laplacian, ansatz.jet(t, fixed, x).laplacian)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: networks.two_scale(0.0), "period: expected a number > 0; received 0.0"),
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


def test_readings_of_the_features(key):
    """cos Bx is cos 2πB'x with B' = B/2π; trained frequencies are parameters, and no frequencies stay fixed."""
    x = jnp.array([0.3])
    printed, radians, trained = (
        networks.multiscale_fourier((1.0, 5.0), (8,), 3, dtype=jnp.float64, **options)
        for options in ({}, {"factor": 1.0}, {"trainable": True})
    )
    theta, fixed = Ansatz(printed, 1).init(key)
    larger = jax.tree.map(lambda B: 2 * jnp.pi * B, fixed)
    np.testing.assert_allclose(Ansatz(printed, 1).value(theta, fixed, x), Ansatz(radians, 1).value(theta, larger, x))
    inside, outside = Ansatz(trained, 1).init(key)
    assert outside == {} and inside["features_0"]["frequencies"].shape == (1, 3)
    moved = jax.grad(lambda p: Ansatz(trained, 1).value(p, {}, x))(inside)["features_1"]["frequencies"]
    assert float(jnp.abs(moved).max()) > 0
